/* Watch a value spread over a graph you choose.
 *
 * In a page:  <div class="explorable" data-explorable="gossip">A sentence for readers without
 * scripts.</div>  then explorable.js and this file as classic scripts with `defer`.
 * The weights are those of refimpl.network.topology.
 */
"use strict";
(() => {

/* ---- The mathematics, free of any page: tested against numpy. ---- */

// Random 4-regular connected graphs, one for each size; an edge is two base-36 digits.
const RANDOM_EDGES = {
  6: "01 02 03 04 13 14 15 23 24 25 35 45",
  8: "03 04 05 06 12 15 16 17 23 24 27 34 35 47 56 67",
  9: "02 03 04 08 12 13 15 16 26 27 34 36 47 48 56 57 58 78",
  10: "02 05 07 09 12 13 15 19 24 28 34 36 38 46 47 56 59 68 78 79",
  12: "02 03 05 09 12 14 15 1a 26 2a 38 39 3b 46 47 4a 56 5b 67 78 79 89 8b ab",
  15: "01 02 04 09 13 1c 1d 25 26 29 3b 3d 3e 45 48 4a 59 5b 67 68 6e 78 7c 7d 8a 9b ab ac ce de",
  16: "02 04 06 07 14 16 19 1c 24 28 2b 38 3b 3e 3f 4b 59 5c 5d 5e 69 6b 7a 7c 7f 8d 8e 9a ac af de df",
  20: "03 04 06 0a 1d 1e 1i 1j 28 2b 2f 2g 37 39 3g 45 48 4b 56 5a 5d 68 6c 7b 7h 7j 8c 9a 9f 9i ag bf ce ci de dj eh fi gh hj",
  24: "03 04 0d 0e 1b 1c 1h 1l 28 29 2i 2n 3b 3e 3n 4f 4m 4n 56 5b 5d 5e 67 6l 6m 7a 7i 7k 8a 8h 8j 9d 9e 9f ac ag bj cf ck di fh gj gk gn hl im jm kl",
};
const SIZES = Object.keys(RANDOM_EDGES).map(Number);
const LAST_ROUND = 60;

const range = (n) => Array.from({ length: n }, (_, i) => i);

/** The most square grid of n nodes: [rows, columns]. */
function gridShape(n) {
  let rows = Math.floor(Math.sqrt(n));
  while (n % rows) rows -= 1;
  return [rows, n / rows];
}

function gridEdges(n) {
  const columns = gridShape(n)[1];
  return range(n).flatMap((i) => [
    ...((i + 1) % columns ? [[i, i + 1]] : []),
    ...(i + columns < n ? [[i, i + columns]] : []),
  ]);
}

const GRAPHS = {
  ring: { name: "Ring", edges: (n) => range(n).map((i) => [i, (i + 1) % n]) },
  "ring-without-self": {
    name: "Ring, no weight on oneself",
    edges: (n) => GRAPHS.ring.edges(n),
    selfless: true,
  },
  grid: { name: "Grid", edges: gridEdges },
  random: {
    name: "Random, four neighbours each",
    edges: (n) => RANDOM_EDGES[n].split(" ").map((edge) => [...edge].map((c) => parseInt(c, 36))),
  },
  complete: {
    name: "Complete",
    edges: (n) => range(n).flatMap((i) => range(i).map((j) => [j, i])),
  },
};

const STARTS = {
  one: { name: "One node holds everything", value: (i, n) => (i === 0 ? n : 0) },
  different: { name: "Every node differs", value: (i) => (0.31 + i * 0.618034) % 1 },
  alternating: { name: "Every second node", value: (i) => (i + 1) % 2 },
};

/** The start values, scaled so that their mean is 1. */
function startValues(start, n) {
  const values = range(n).map((i) => STARTS[start].value(i, n));
  return values.map((value) => value / mean(values));
}

/** Metropolis–Hastings: W_ij = 1 / (1 + max(d_i, d_j)), the rest stays with oneself.
 * On the ring without self-weight: the mean of the two neighbours alone. */
function mixingMatrix(graph, n) {
  const edges = GRAPHS[graph].edges(n);
  const degree = Array(n).fill(0);
  for (const node of edges.flat()) degree[node] += 1;
  const weights = range(n).map(() => Array(n).fill(0));
  for (const [i, j] of edges) {
    const most = Math.max(degree[i], degree[j]);
    weights[i][j] = weights[j][i] = 1 / (GRAPHS[graph].selfless ? most : 1 + most);
  }
  weights.forEach((row, i) => { row[i] = Math.max(0, 1 - row.reduce((a, b) => a + b)); });
  return weights;
}

/** One round, x ← W x: every node takes the weighted mean of what it holds and hears. */
const mix = (weights, values) =>
  weights.map((row) => row.reduce((sum, weight, j) => sum + weight * values[j], 0));

const mean = (values) => values.reduce((a, b) => a + b) / values.length;

/** The standard deviation between the nodes. */
function spread(values) {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
}

/** The second-largest modulus of the eigenvalues of a symmetric mixing matrix. */
function secondModulus(weights) {
  const moduli = eigenvalues(weights).map(Math.abs).sort((a, b) => b - a);
  return moduli[1] > 1 - 1e-12 ? 1 : moduli[1] < 1e-12 ? 0 : moduli[1];
}

/** Eigenvalues of a symmetric matrix by Jacobi's rotations (Golub and Van Loan, section 8.5). */
function eigenvalues(symmetric) {
  const a = symmetric.map((row) => [...row]);
  for (let sweep = 0; sweep < 30; sweep += 1) {
    for (let p = 0; p < a.length; p += 1) {
      for (let q = p + 1; q < a.length; q += 1) if (Math.abs(a[p][q]) > 1e-15) rotate(a, p, q);
    }
  }
  return a.map((row, i) => row[i]);
}

/** Make a[p][q] zero by turning the plane of p and q. */
function rotate(a, p, q) {
  const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
  const tangent = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const cosine = 1 / Math.hypot(tangent, 1);
  const sine = tangent * cosine;
  for (const row of a) {
    [row[p], row[q]] = [cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]];
  }
  for (let k = 0; k < a.length; k += 1) {
    const [up, down] = [a[p][k], a[q][k]];
    a[p][k] = cosine * up - sine * down;
    a[q][k] = sine * up + cosine * down;
  }
}

/** Where the nodes are drawn, in a square of 360: on a circle, a grid in rows. */
function positions(graph, n) {
  if (graph !== "grid") {
    return range(n).map((i) => {
      const angle = (2 * Math.PI * i) / n;
      return [180 + 158 * Math.sin(angle), 180 - 158 * Math.cos(angle)];
    });
  }
  const [rows, columns] = gridShape(n);
  const gap = Math.min(90, 316 / (columns - 1));
  return range(n).map((i) => [
    180 + gap * ((i % columns) - (columns - 1) / 2),
    180 + gap * (Math.floor(i / columns) - (rows - 1) / 2),
  ]);
}

/* ---- The page. ---- */

const { make, mount } = typeof document === "undefined" ? {} : window.explorable;

/** Three digits; what is left of rounding errors is zero. */
function digits(value) {
  if (value < 1e-14) return "0";
  return value < 1e-4 ? value.toExponential(1) : value.toPrecision(3);
}

class Gossip {
  constructor(box) {
    this.timer = null;
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.buildControls();
    this.buildOutputs();
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Explorable: watch a value spread over a graph");
    box.replaceChildren(this.controls, this.panels, this.status, this.details, this.live);
    this.reset();
  }

  buildControls() {
    const choice = (name, options) => {
      const select = make("select", {},
        ...Object.entries(options).map(([key, { name: text }]) => make("option", { value: key }, text)));
      select.addEventListener("change", () => this.reset());
      return [select, make("label", {}, name, select)];
    };
    const button = (text, action) => {
      const element = make("button", { type: "button" }, text);
      element.addEventListener("click", action);
      return element;
    };
    const [graph, graphLabel] = choice("Graph", GRAPHS);
    const [start, startLabel] = choice("Start", STARTS);
    this.size = make("input", { type: "range", min: 0, max: SIZES.length - 1, value: 4, step: 1 });
    this.size.addEventListener("input", () => this.reset());
    this.sizeText = make("span", {});
    this.playButton = button("", () => this.play());
    this.controls = make("div", { class: "explorable-controls" },
      graphLabel, make("label", {}, this.sizeText, this.size), startLabel,
      make("div", { class: "explorable-buttons" },
        button("Step", () => { this.stop(); this.step(); this.announce(); }),
        this.playButton, button("Reset", () => this.reset())));
    Object.assign(this, { graph, start });
  }

  buildOutputs() {
    this.drawing = make("svg", { viewBox: "0 0 360 360", role: "img" });
    this.chart = make("svg", { viewBox: "0 0 360 304", role: "img" });
    this.panels = make("div", { class: "explorable-panels" }, this.drawing, this.chart);
    this.status = make("p", { class: "explorable-status" });
    this.live = make("p", { class: "explorable-spoken", "aria-live": "polite" });
    this.rows = make("tbody");
    const heads = ["Round", "Standard deviation", "At most"];
    this.details = make("details", {}, make("summary", {}, "The numbers, round by round"),
      make("div", { class: "explorable-table", tabindex: 0, role: "group", "aria-label": "Numbers" },
        make("table", {}, make("thead", {}, make("tr", {},
          ...heads.map((head) => make("th", { scope: "col" }, head)))), this.rows)));
  }

  /** Back to round 0 of the chosen graph, size and start. */
  reset() {
    this.stop();
    this.n = SIZES[Number(this.size.value)];
    this.sizeText.textContent = `Nodes: ${this.n}`;
    this.size.setAttribute("aria-valuetext", `${this.n} nodes`);
    this.weights = mixingMatrix(this.graph.value, this.n);
    this.modulus = secondModulus(this.weights);
    this.values = startValues(this.start.value, this.n);
    this.spreads = [spread(this.values)];
    this.rows.replaceChildren();
    this.drawGraph();
    this.update();
    this.announce();
  }

  get round() { return this.spreads.length - 1; }

  bound(round) { return this.spreads[0] * this.modulus ** round; }

  step() {
    if (this.round >= LAST_ROUND) return;
    this.values = mix(this.weights, this.values);
    this.spreads.push(spread(this.values));
    this.update();
  }

  /** Play or pause; for a reader who wants no motion, ten rounds at once. */
  play() {
    if (this.calm) {
      for (let i = 0; i < 10; i += 1) this.step();
      this.announce();
    } else if (this.timer) {
      this.stop();
      this.announce();
    } else {
      this.timer = window.setInterval(() => this.tick(), 600);
      this.playButton.textContent = "Pause";
      this.tick();
    }
  }

  tick() {
    this.step();
    const done = this.round >= LAST_ROUND || this.spreads[this.round] < 1e-6;
    if (done) this.stop();
    // Spoken at every tenth round only: a reader of the screen must keep up.
    if (done || this.round % 10 === 0) this.announce();
  }

  stop() {
    window.clearInterval(this.timer);
    this.timer = null;
    this.playButton.textContent = this.calm ? "Run 10 rounds" : "Play";
  }

  announce() { this.live.textContent = this.status.textContent; }

  update() {
    this.paintNodes();
    this.drawChart();
    const now = this.spreads[this.round];
    const [round, bound] = [this.round, this.bound(this.round)];
    this.rows.append(make("tr", {}, ...[String(round), digits(now), digits(bound)].map(
      (text) => make("td", {}, text))));
    this.status.textContent = `Round ${round}${round === LAST_ROUND ? " (the last)" : ""}. `
      + `Standard deviation between the nodes: ${digits(now)}, at most ${digits(bound)}. `
      + (this.modulus === 1
        ? "Here |λ₂| = 1: this graph with these weights need never agree. "
        : `Each round multiplies it by at most |λ₂| = ${digits(this.modulus)}. `)
      + `One round takes ${2 * GRAPHS[this.graph.value].edges(this.n).length} messages.`;
  }

  drawGraph() {
    const where = positions(this.graph.value, this.n);
    const lines = GRAPHS[this.graph.value].edges(this.n).map(([i, j]) => make("line", {
      class: "edge", x1: where[i][0], y1: where[i][1], x2: where[j][0], y2: where[j][1],
    }));
    this.nodes = where.map(([x, y]) => {
      const circle = make("circle", { class: "node", cx: x, cy: y, r: 18 });
      const text = make("text", { class: "value", x, y, dy: "0.35em" });
      return { circle, text };
    });
    this.drawing.replaceChildren(...lines, ...this.nodes.flatMap((n) => [n.circle, n.text]));
  }

  /** White holds nothing, the middle tone holds the mean, the dark end twice the mean or more. */
  paintNodes() {
    this.nodes.forEach(({ circle, text }, i) => {
      const shade = Math.min(1, this.values[i] / 2);
      const mixed = [[247, 8], [251, 48], [255, 107]].map(([a, b]) => Math.round(a + shade * (b - a)));
      circle.style.fill = `rgb(${mixed})`;
      text.style.fill = shade > 0.66 ? "#fff" : "#000";
      text.textContent = this.values[i].toFixed(2).replace(/\.?0+$/, "") || "0";
    });
    const lowest = digits(Math.min(...this.values));
    this.drawing.setAttribute("aria-label", `${GRAPHS[this.graph.value].name} of ${this.n} nodes. `
      + `Values from ${lowest} to ${digits(Math.max(...this.values))}, their mean is 1.`);
  }

  /** Spread over rounds, relative to the first, on a logarithmic scale of four decades. */
  drawChart() {
    const last = Math.max(20, Math.ceil(this.round / 20) * 20);
    const x = (round) => 44 + (300 * round) / last;
    const y = (ratio) => 16 + 54 * Math.min(4, -Math.log10(Math.max(ratio, 1e-12)));
    const path = (ratios) => ratios.map((r, i) => `${i ? "L" : "M"}${x(i)} ${y(r)}`).join("");
    const label = (text, left, top, anchor) =>
      make("text", { class: "axis", x: left, y: top, "text-anchor": anchor }, text);
    const grid = range(5).flatMap((k) => [
      make("line", { class: "grid", x1: 44, x2: 344, y1: y(10 ** -k), y2: y(10 ** -k) }),
      label(k ? `10⁻${"⁰¹²³⁴"[k]}` : "1", 38, y(10 ** -k) + 4, "end"),
    ]);
    const ticks = range(5).map((k) => label(String((k * last) / 4), x((k * last) / 4), 250, "middle"));
    const measured = this.spreads.map((s) => s / this.spreads[0]);
    const theory = range(last + 1).map((t) => this.modulus ** t);
    this.chart.replaceChildren(...grid, ...ticks, label("round", 344, 267, "end"),
      make("path", { class: "theory", d: path(theory) }),
      make("path", { class: "measured", d: path(measured) }),
      ...measured.map((r, i) => make("circle", { class: "point", cx: x(i), cy: y(r), r: 2.5 })),
      ...this.legend());
    this.chart.setAttribute("aria-label", `Spread over rounds, as a share of the first: now `
      + `${digits(measured[this.round])}; the theory allows ${digits(this.modulus ** this.round)}.`);
  }

  legend() {
    const lines = [["measured", "spread, as a share of the first"],
      ["theory", "at most: |λ₂| to the power of the round"]];
    return lines.flatMap(([kind, text], i) => [
      make("path", { class: kind, d: `M44 ${279 + 16 * i}h22` }),
      make("text", { class: "axis", x: 72, y: 283 + 16 * i }, text),
    ]);
  }
}

if (typeof document === "undefined") {
  module.exports = { SIZES, GRAPHS, STARTS, startValues, mixingMatrix, mix, spread, secondModulus, positions };
  return;
}
mount("gossip", (box) => new Gossip(box));
})();
