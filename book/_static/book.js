/* A box that scrolls sideways must be reachable by keyboard. */
const boxes = "div.pst-scrollable-table-container, .cell_output .output, .katex-display, pre";
const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
window.addEventListener("load", () =>
  document.querySelectorAll(boxes).forEach((box) => watcher.observe(box)));
