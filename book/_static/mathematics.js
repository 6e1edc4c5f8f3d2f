/* Draw the formulas of the page with the vendored KaTeX. */
document.querySelectorAll(".math").forEach((formula) =>
  renderMathInElement(formula, { throwOnError: false }));
