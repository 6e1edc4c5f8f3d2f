/* What all explorables share. A page loads this file before its explorable, both with `defer`;
 * explorable.css lies beside it. Nothing else is loaded, from no network either.
 */
"use strict";
(() => {

const here = document.currentScript.src;
const SVG = ["svg", "g", "line", "circle", "text", "path", "rect"];

/** An element: `make("p", { class: "x" }, "text", child)`. */
function make(tag, attributes = {}, ...children) {
  const element = SVG.includes(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Call `build(box)` for each `<div data-explorable="name">`, once the page is there. */
function mount(name, build) {
  const style = new URL("explorable.css", here).href;
  if (!document.querySelector(`link[href="${style}"]`)) {
    document.head.append(make("link", { rel: "stylesheet", href: style }));
  }
  const start = () => document.querySelectorAll(`[data-explorable="${name}"]`).forEach(build);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
}

window.explorable = { make, mount };
})();
