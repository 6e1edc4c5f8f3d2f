/* Hold some shares of a secret, and try every secret that fits.
 *
 * In a page:  <div class="explorable" data-explorable="shamir">A sentence for readers without
 * scripts.</div>  then explorable.js and this file as classic scripts with `defer`.
 * The scheme is that of refimpl.smc.shamir, modulo 13.
 */
"use strict";
(() => {

/* ---- The mathematics, free of any page: tested against Python. ---- */

const P = 13;
const PARTIES = [1, 2, 3, 4, 5];
const SECRETS = Array.from({ length: P }, (_, s) => s);
const DEVIATION = 2; // of the coefficients over the reals

const reduce = (value) => ((value % P) + P) % P;
const inverse = (value) => SECRETS.find((other) => reduce(value * other) === 1);

/** Over the reals, and modulo 13: how to divide, and how to tidy a value up. */
const NUMBERS = {
  field: { name: "Modulo 13 (hides)", divide: (a, b) => reduce(reduce(a) * inverse(reduce(b))), tidy: reduce },
  reals: { name: "Real numbers (easy to see)", divide: (a, b) => a / b, tidy: (value) => value },
};

/** The value at x of the polynomial through the points [[x, y], …] (Lagrange). */
function interpolate(points, x, numbers) {
  const { divide, tidy } = NUMBERS[numbers];
  return tidy(points.reduce((sum, [xi, yi], i) => {
    const others = points.filter((_, j) => j !== i).map(([xj]) => xj);
    const over = others.reduce((product, xj) => product * (x - xj), 1);
    const under = others.reduce((product, xj) => product * (xi - xj), 1);
    return sum + yi * divide(over, under);
  }, 0));
}

/** Whether all points lie on one polynomial of degree threshold - 1. */
function agree(points, threshold, numbers) {
  const first = points.slice(0, threshold);
  return points.every(([x, y]) => Math.abs(interpolate(first, x, numbers) - y) < 1e-6);
}

/** The x without which the others agree; undefined where it cannot be told which it is. */
function wrongShare(points, threshold, numbers) {
  if (points.length < threshold + 2) return undefined;
  const without = (x) => points.filter(([other]) => other !== x);
  return points.map(([x]) => x).find((x) => agree(without(x), threshold, numbers));
}

/** How many polynomials of degree threshold - 1 modulo 13 go through the points and (0, secret). */
function fitting(points, threshold, secret) {
  const all = [[0, secret], ...points];
  if (all.length <= threshold) return P ** (threshold - all.length);
  return agree(all, threshold, "field") ? 1 : 0;
}

/** Over the reals: how likely each secret makes the points, as shares of 1, if the other
 * coefficients are drawn from a normal distribution. The covariance of the points is K. */
function likelihood(points, threshold) {
  if (!points.length) return SECRETS.map(() => 1 / P);
  if (points.length >= threshold) {
    const secret = interpolate(points.slice(0, threshold), 0, "reals");
    return SECRETS.map((s) => Number(Math.abs(s - secret) <= 0.5));
  }
  const covariance = points.map(([x]) => points.map(([z]) => {
    let sum = 0;
    for (let k = 1; k < threshold; k += 1) sum += (DEVIATION * x ** k) * (DEVIATION * z ** k);
    return sum;
  }));
  const logs = SECRETS.map((s) => {
    const rest = points.map(([, y]) => y - s);
    return -0.5 * solve(covariance, rest).reduce((sum, w, i) => sum + w * rest[i], 0);
  });
  const weights = logs.map((log) => Math.exp(log - Math.max(...logs)));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / total);
}

/** Solve a small positive definite system by elimination. */
function solve(matrix, right) {
  const rows = matrix.map((row, i) => [...row, right[i]]);
  rows.forEach((row, i) => {
    rows.forEach((other, j) => {
      if (i === j) return;
      const factor = other[i] / row[i];
      row.forEach((value, k) => { other[k] -= factor * value; });
    });
  });
  return rows.map((row, i) => row[row.length - 1] / row[i]);
}

/** The probability of each secret, given the points; all zero if the points contradict. */
function chances(points, threshold, numbers) {
  if (points.length > threshold && !agree(points, threshold, numbers)) return SECRETS.map(() => 0);
  if (numbers === "reals") return likelihood(points, threshold);
  const counts = SECRETS.map((secret) => fitting(points, threshold, secret));
  const total = counts.reduce((a, b) => a + b);
  return counts.map((count) => count / total);
}

/* ---- The page. ---- */

const { make, mount } = typeof document === "undefined" ? {} : window.explorable;

const shown = (value) => String(Math.round(value * 10) / 10 || 0);
const listed = (xs) => (xs.length < 2 ? xs.join("") : `${xs.slice(0, -1).join(", ")} and ${xs.at(-1)}`);
const [LEFT, RIGHT, TOP, BOTTOM] = [34, 342, 24, 252]; // of the charts
const HEIGHT = 284;

class Shamir {
  constructor(box) {
    this.held = new Set([1, 3]);
    this.buildControls();
    this.chart = make("svg", { viewBox: `0 0 360 ${HEIGHT}`, role: "group", "aria-label": "Shares and secret" });
    this.bars = make("svg", { viewBox: `0 0 360 ${HEIGHT}`, role: "img" });
    this.status = make("p", { class: "explorable-status", "aria-live": "polite" });
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Explorable: the secrets that fit the shares you hold");
    box.replaceChildren(this.controls, make("div", { class: "explorable-panels" }, this.chart, this.bars), this.status);
    this.reset();
  }

  buildControls() {
    const choice = (options, first) => {
      const select = make("select", {},
        ...Object.entries(options).map(([key, text]) => make("option", { value: key }, text)));
      select.value = first;
      select.addEventListener("change", () => this.reset());
      return select;
    };
    this.numbers = choice({ reals: NUMBERS.reals.name, field: NUMBERS.field.name }, "reals");
    this.thresholds = choice({ 2: "2 shares", 3: "3 shares", 4: "4 shares" }, "3");
    const boxes = PARTIES.map((x) => {
      const input = make("input", { type: "checkbox" });
      input.checked = this.held.has(x);
      input.addEventListener("change", () => {
        if (input.checked) this.held.add(x); else this.held.delete(x);
        this.shift.clear();
        this.update();
      });
      return make("label", { class: "explorable-tick" }, input, String(x));
    });
    const again = make("button", { type: "button" }, "Reset");
    again.addEventListener("click", () => this.reset());
    this.controls = make("div", { class: "explorable-controls" },
      make("label", {}, "Numbers", this.numbers),
      make("label", {}, "Threshold", this.thresholds),
      make("fieldset", { class: "explorable-ticks" }, make("legend", {}, "Shares you hold"), ...boxes),
      make("div", { class: "explorable-buttons" }, again));
  }

  reset() {
    this.threshold = Number(this.thresholds.value);
    this.inField = this.numbers.value === "field";
    this.shift = new Map(); // what a share was moved by, off the polynomial
    this.nodes = [[0, 7], [1, 4], [2, 3], [3, 5]].slice(0, this.threshold);
    this.update();
  }

  get points() { return [...this.held].sort().map((x) => [x, this.at(x)]); }

  get open() { return this.held.size < this.threshold; }

  /** The polynomial at x, with what a share was moved by. */
  at(x) {
    const value = interpolate(this.nodes, x, this.numbers.value) + (this.shift.get(x) || 0);
    return NUMBERS[this.numbers.value].tidy(value);
  }

  /** Move one point. The other shares you hold stay, and so does the secret while it is open. */
  move(x, to) {
    const y = this.inField ? reduce(Math.round(to)) : Math.min(15, Math.max(-3, to));
    if (this.held.size > this.threshold) {
      this.shift.set(x, (this.shift.get(x) || 0) + y - this.at(x));
    } else {
      const kept = [...(this.open ? [0] : []), ...[...this.held].sort()];
      const free = PARTIES.filter((other) => !kept.includes(other));
      const xs = [...kept, ...free].slice(0, this.threshold);
      this.nodes = xs.map((other) => [other, other === x ? y : this.at(other)]);
    }
    this.update(x);
  }

  update(focus) {
    this.drawChart(focus);
    this.drawBars();
    this.status.textContent = this.describe();
  }

  describe() {
    const [xs, t] = [[...this.held].sort(), this.threshold];
    const who = xs.length ? `You hold ${xs.length === 1 ? "share" : "shares"} ${listed(xs)}` : "You hold no share";
    if (this.open) {
      const tail = this.inField
        ? `All 13 secrets fit, each with ${fitting(this.points, t, 0).toLocaleString("en")} polynomial${xs.length === t - 1 ? "" : "s"}: nothing is learned.`
        : xs.length ? "Every secret fits, but they are not equally probable: some need steeper curves, and those are rare."
          : "Every secret fits, and all are equally probable.";
      const next = xs.length ? "Move the secret: your shares stay where they are." : "Tick a share.";
      return `${who} of the ${t} that are needed. ${tail} ${next}`;
    }
    if (agree(this.points, t, this.numbers.value)) {
      const spare = xs.length > t ? " They agree. Move one, and see whether it is noticed." : "";
      return `${who}: enough. The secret is ${shown(this.at(0))}, and no other fits.${spare}`;
    }
    const wrong = wrongShare(this.points, t, this.numbers.value);
    return `${who}, and they do not lie on one polynomial. `
      + (wrong ? `Without share ${wrong} the others agree: if only one is wrong, it is share ${wrong}.`
        : xs.length < t + 2 ? "At least one is wrong, but with so few it cannot be told which."
          : "More than one is wrong.");
  }

  /* Places in the chart. */
  x(value) { return LEFT + ((RIGHT - LEFT) * value) / (this.inField ? P - 1 : 5.4); }
  y(value) {
    const [low, high] = this.inField ? [0, P - 1] : [-3, 15];
    return BOTTOM - ((BOTTOM - TOP) * (value - low)) / (high - low);
  }

  valueAt(clientY) {
    const box = this.chart.getBoundingClientRect();
    const drawn = ((clientY - box.top) * HEIGHT) / box.height;
    const [low, high] = this.inField ? [0, P - 1] : [-3, 15];
    const value = low + ((BOTTOM - drawn) * (high - low)) / (BOTTOM - TOP);
    return Math.min(high, Math.max(low, value));
  }

  drawChart(focus) {
    const label = (text, x, y, anchor = "middle") =>
      make("text", { class: "axis", x, y, "text-anchor": anchor }, text);
    const rows = [0, 4, 8, 12].flatMap((value) => [
      make("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: this.y(value), y2: this.y(value) }),
      label(String(value), LEFT - 12, this.y(value) + 4, "end"),
    ]);
    const last = this.inField ? P - 1 : 5;
    const columns = Array.from({ length: last + 1 }, (_, x) => label(x ? String(x) : "secret", Math.max(this.x(x), 22), BOTTOM + 17));
    const faint = this.inField ? SECRETS.slice(6).map((x) =>
      make("circle", { class: "other", cx: this.x(x), cy: this.y(this.at(x)), r: 3 })) : [];
    this.chart.replaceChildren(...rows, ...columns, label("x", RIGHT, BOTTOM + 31),
      ...(this.inField ? [] : [this.curve()]), ...faint, ...PARTIES.map((x) => this.handle(x)), this.handle(0));
    if (focus !== undefined) this.chart.querySelector(`[data-x="${focus}"]`).focus();
  }

  curve() {
    const steps = Array.from({ length: 109 }, (_, i) => (5.4 * i) / 108);
    let pen = "M";
    const path = steps.map((x) => {
      const y = interpolate(this.nodes, x, "reals");
      if (y < -3 || y > 15) { pen = "M"; return ""; }
      const part = `${pen}${this.x(x)} ${this.y(y)}`;
      pen = "L";
      return part;
    }).join("");
    return make("path", { class: "measured", d: path });
  }

  /** A point: one that can be moved takes the focus, arrow keys and the pointer. */
  handle(x) {
    const value = this.at(x);
    const movable = x === 0 ? this.open : this.held.has(x);
    const known = x === 0 ? !this.open : this.held.has(x);
    const name = x === 0 ? "Secret" : `Share ${x}`;
    const inside = this.inField || (value >= -3 && value <= 15);
    const at = inside ? this.y(value) : value > 15 ? TOP - 4 : BOTTOM + 4;
    const kind = `${x === 0 ? "secret" : "share"}${known ? " known" : ""}${movable ? " movable" : ""}`;
    const mark = x === 0
      ? make("rect", { x: this.x(x) - 7, y: at - 7, width: 14, height: 14 })
      : make("circle", { cx: this.x(x), cy: at, r: 7 });
    const group = make("g", { class: `handle ${kind}`, "data-x": x }, mark,
      make("text", { class: "axis", x: this.x(x) + 11, y: at - 8 }, shown(value)));
    if (!inside) group.setAttribute("opacity", 0.45);
    if (!movable) return group;
    const limits = this.inField ? [0, P - 1] : [-3, 15];
    for (const [key, text] of Object.entries({
      tabindex: 0, role: "slider", "aria-label": name, "aria-orientation": "vertical",
      "aria-valuemin": limits[0], "aria-valuemax": limits[1], "aria-valuenow": shown(value),
    })) group.setAttribute(key, text);
    group.addEventListener("keydown", (event) => this.press(event, x, value));
    group.addEventListener("pointerdown", (event) => this.drag(event, x));
    return group;
  }

  press(event, x, value) {
    const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 4, PageDown: -4 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.move(x, value + step);
  }

  drag(event, x) {
    event.preventDefault();
    const follow = (moved) => this.move(x, this.valueAt(moved.clientY));
    const end = () => {
      document.removeEventListener("pointermove", follow);
      document.removeEventListener("pointerup", end);
      document.removeEventListener("pointercancel", end);
    };
    document.addEventListener("pointermove", follow);
    document.addEventListener("pointerup", end);
    document.addEventListener("pointercancel", end);
    this.chart.querySelector(`[data-x="${x}"]`).focus();
  }

  /** How probable each secret is to somebody who holds these shares. */
  drawBars() {
    const values = chances(this.points, this.threshold, this.numbers.value);
    const most = Math.max(...values, 1e-9);
    const width = (RIGHT - LEFT) / P;
    const text = (label, x, y, anchor = "middle") =>
      make("text", { class: "axis", x, y, "text-anchor": anchor }, label);
    this.bars.replaceChildren(
      text("How probable is each secret, given what you hold?", LEFT, TOP - 8, "start"),
      make("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: BOTTOM, y2: BOTTOM }),
      ...values.map((value, s) => {
        const height = ((BOTTOM - TOP - 8) * value) / Math.max(most, 0.2);
        return make("rect", { class: "bar", x: LEFT + s * width + 2, y: BOTTOM - height, width: width - 4, height });
      }),
      ...SECRETS.map((s) => text(String(s), LEFT + (s + 0.5) * width, BOTTOM + 17)),
      text("secret", RIGHT, BOTTOM + 31, "end"));
    const best = values.indexOf(most);
    const alike = most - Math.min(...values) < 1e-9;
    this.bars.setAttribute("aria-label", alike
      ? (values[0] ? "All secrets are equally probable." : "No secret fits these shares.")
      : `The most probable secret is ${best}, with probability ${most.toFixed(2)}.`);
  }
}

if (typeof document === "undefined") {
  module.exports = { P, NUMBERS, DEVIATION, interpolate, agree, wrongShare, fitting, likelihood, chances };
  return;
}
mount("shamir", (box) => new Shamir(box));
})();
