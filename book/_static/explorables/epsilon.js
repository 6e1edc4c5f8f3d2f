/* Two noisy answers, with one patient and without: tell them apart.
 *
 * In a page:  <div class="explorable" data-explorable="epsilon">A sentence for readers without
 * scripts.</div>  then explorable.js and this file as classic scripts with `defer`.
 * The answers are 17 and 18 plus noise; delta is that of refimpl.dp.
 */
"use strict";
(() => {

/* ---- The mathematics, free of any page: tested against scipy and refimpl.dp. ---- */

const [WITHOUT, WITH] = [17, 18]; // the count without and with the patient

/** 1 - Phi(z), accurate relative to itself: a series near 0, a continued fraction beyond. */
function normalTail(z) {
  if (z < 0) return 1 - normalTail(-z);
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z < 2.5) {
    let [term, sum] = [z, z];
    for (let k = 3; term > 1e-17 * sum; k += 2) sum += (term *= (z * z) / k);
    return 0.5 - density * sum;
  }
  let fraction = z;
  for (let k = 120; k > 0; k -= 1) fraction = z + k / fraction;
  return density / fraction;
}

/** Noise of mean 0 and standard deviation `deviation`. */
const NOISES = {
  laplace: {
    name: "Laplace",
    density: (x, deviation) => Math.exp((-Math.SQRT2 * Math.abs(x)) / deviation) / (Math.SQRT2 * deviation),
    tail(x, deviation) {
      const half = Math.exp((-Math.SQRT2 * Math.abs(x)) / deviation) / 2;
      return x < 0 ? 1 - half : half;
    },
    quantile: (u, deviation) => (u < 0.5 ? 1 : -1) * (deviation / Math.SQRT2) * Math.log(2 * Math.min(u, 1 - u)),
    delta: (epsilon, deviation) => Math.max(0, -Math.expm1((epsilon - Math.SQRT2 / deviation) / 2)),
  },
  gaussian: {
    name: "Gaussian",
    density: (x, deviation) => Math.exp(-((x / deviation) ** 2) / 2) / (Math.sqrt(2 * Math.PI) * deviation),
    tail: (x, deviation) => normalTail(x / deviation),
    delta: (epsilon, deviation) => Math.max(0, normalTail(epsilon * deviation - 0.5 / deviation)
      - Math.exp(epsilon) * normalTail(epsilon * deviation + 0.5 / deviation)),
  },
};

/** Guess "with" above the threshold: how often that is right with, and wrong without. */
const rates = (noise, deviation, threshold) => ({
  right: NOISES[noise].tail(threshold - WITH, deviation),
  wrong: NOISES[noise].tail(threshold - WITHOUT, deviation),
});

/** How many times as high the curve "with" is as the other, at x: the slope of the trade-off. */
const ratio = (noise, deviation, x) => {
  const logs = { laplace: Math.SQRT2 * (Math.abs(x - WITHOUT) - Math.abs(x - WITH)) / deviation,
    gaussian: ((x - WITHOUT) ** 2 - (x - WITH) ** 2) / (2 * deviation ** 2) };
  return Math.exp(logs[noise]);
};

/** The two lines that no guesser gets above: `right` at most, for this share of `wrong`. */
const promise = (epsilon, delta, wrong) => Math.min(1, delta + Math.exp(epsilon) * wrong,
  1 - Math.exp(-epsilon) * (1 - delta - wrong));

/* ---- The page. ---- */

const { make, mount } = typeof document === "undefined" ? {} : window.explorable;

const [LEFT, RIGHT, TOP, BOTTOM] = [40, 342, 16, 244]; // of the charts
const [LOW, HIGH] = [12, 23]; // answers shown
const percent = (share) => `${(100 * share).toFixed(share > 0.0995 && share < 0.9995 ? 0 : 1)}%`;
const small = (value) => (value === 0 ? "0" : value < 1e-3 ? value.toExponential(1) : value.toFixed(3));
const label = (text, x, y, anchor = "middle") => make("text", { class: "axis", x, y, "text-anchor": anchor }, text);
const line = (x1, y1, x2, y2, kind = "grid") => make("line", { class: kind, x1, y1, x2, y2 });

class Epsilon {
  constructor(box) {
    this.buildControls();
    this.curves = make("svg", { viewBox: "0 0 360 308", role: "img" });
    this.tradeOff = make("svg", { viewBox: "0 0 360 308", role: "img" });
    this.status = make("p", { class: "explorable-status", "aria-live": "polite" });
    this.buildGame();
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Explorable: tell two noisy answers apart");
    box.replaceChildren(this.controls, make("div", { class: "explorable-panels" }, this.curves, this.tradeOff),
      this.status, this.game);
    this.update();
    this.restart();
  }

  buildControls() {
    const slider = (key, min, max, step, value) => {
      this[key] = make("input", { type: "range", min, max, step, value });
      this[key].addEventListener("input", () => this.update());
      this[`${key}Text`] = make("span", {});
      return make("label", {}, this[`${key}Text`], this[key]);
    };
    this.noise = make("select", {},
      ...Object.entries(NOISES).map(([key, { name }]) => make("option", { value: key }, name)));
    this.noise.addEventListener("change", () => { this.update(); this.restart(); });
    this.controls = make("div", { class: "explorable-controls" },
      make("label", {}, "Noise", this.noise),
      slider("amount", -2, 2, 0.25, 0.5), // the deviation is 2 to this power
      slider("epsilon", 0, 5, 0.1, 1),
      slider("threshold", LOW, HIGH, 0.25, 17.5));
    this.amount.addEventListener("change", () => this.restart());
  }

  buildGame() {
    const button = (text, action) => {
      const element = make("button", { type: "button" }, text);
      element.addEventListener("click", action);
      return element;
    };
    this.question = make("p", { class: "explorable-status", "aria-live": "polite" });
    this.game = make("div", {}, this.question, make("div", { class: "explorable-buttons" },
      button("With", () => this.guess(true)), button("Without", () => this.guess(false))));
  }

  get deviation() { return 2 ** Number(this.amount.value); }

  update() {
    const [deviation, epsilon, threshold] = [this.deviation, Number(this.epsilon.value), Number(this.threshold.value)];
    const texts = { amount: `Standard deviation: ${deviation.toFixed(2)}`, epsilon: `Epsilon: ${epsilon.toFixed(1)}`,
      threshold: `Guess “with” from ${threshold.toFixed(2)} up` };
    for (const [key, text] of Object.entries(texts)) {
      this[`${key}Text`].textContent = text;
      this[key].setAttribute("aria-valuetext", text);
    }
    const at = { noise: this.noise.value, deviation, epsilon, threshold };
    at.delta = NOISES[at.noise].delta(epsilon, deviation);
    this.drawCurves(at);
    this.drawTradeOff(at);
    this.status.textContent = this.describe(at);
  }

  describe({ noise, deviation, epsilon, threshold, delta }) {
    const { right, wrong } = rates(noise, deviation, threshold);
    const slope = ratio(noise, deviation, threshold);
    const pure = Math.SQRT2 / deviation;
    return `Your threshold says “with” for ${percent(right)} of the answers with the patient, and for `
      + `${percent(wrong)} of those without. There the curve “with” is `
      + `${slope < 0.01 || slope >= 100 ? slope.toExponential(1) : slope.toFixed(2)} times as high as the other: the slope on the right. At epsilon ${epsilon.toFixed(1)} this noise promises delta = ${small(delta)}. `
      + (noise === "laplace" ? `No factor exceeds e^${pure.toFixed(2)}: from epsilon ${pure.toFixed(2)} on, delta is 0.`
        : "Far out the factor exceeds every bound, so delta is never 0.");
  }

  /** The two densities, what lies above the threshold shaded, and the threshold. */
  drawCurves({ noise, deviation, threshold }) {
    const x = (value) => LEFT + ((RIGHT - LEFT) * (value - LOW)) / (HIGH - LOW);
    const most = NOISES[noise].density(0, deviation);
    const y = (height) => BOTTOM - ((BOTTOM - TOP - 16) * height) / most;
    const places = Array.from({ length: 441 }, (_, i) => LOW + ((HIGH - LOW) * i) / 440);
    const path = (centre, from) => places.filter((v) => v >= from)
      .map((v) => `${x(v)} ${y(NOISES[noise].density(v - centre, deviation))}`).join("L");
    const area = (centre) => `M${x(threshold)} ${BOTTOM}L${path(centre, threshold)}L${x(HIGH)} ${BOTTOM}Z`;
    this.curves.replaceChildren(
      line(LEFT, BOTTOM, RIGHT, BOTTOM),
      ...[12, 14, 16, 18, 20, 22].map((value) => label(String(value), x(value), BOTTOM + 17)),
      label("published answer", RIGHT, BOTTOM + 30, "end"),
      make("path", { class: "shade with", d: area(WITH) }),
      make("path", { class: "shade without", d: area(WITHOUT) }),
      make("path", { class: "theory", d: `M${path(WITHOUT, LOW)}` }),
      make("path", { class: "measured", d: `M${path(WITH, LOW)}` }),
      line(x(threshold), TOP, x(threshold), BOTTOM, "threshold"),
      ...legend([["measured", "with the patient: 18"], ["theory", "without: 17"]]));
    this.curves.setAttribute("aria-label", `Two curves of ${NOISES[noise].name} noise of standard deviation `
      + `${deviation.toFixed(2)}, about 17 without the patient and 18 with; the threshold is ${threshold.toFixed(2)}.`);
  }

  /** All thresholds at once: right against wrong, under the two lines of the promise. */
  drawTradeOff({ noise, deviation, epsilon, threshold, delta }) {
    const x = (share) => LEFT + (RIGHT - LEFT) * share;
    const y = (share) => BOTTOM - (BOTTOM - TOP) * share;
    const reach = 60 * Math.max(1, deviation);
    const spots = Array.from({ length: 601 }, (_, i) => rates(noise, deviation, 17.5 + reach * ((i - 300) / 300) ** 3));
    const corners = Array.from({ length: 401 }, (_, i) => i / 400).map((wrong) => [wrong, promise(epsilon, delta, wrong)]);
    const join = (points) => `M${points.map(([a, b]) => `${x(a)} ${y(b)}`).join("L")}`;
    const here = rates(noise, deviation, threshold);
    this.tradeOff.replaceChildren(
      ...[0, 0.5, 1].flatMap((share) => [line(LEFT, y(share), RIGHT, y(share)), line(x(share), TOP, x(share), BOTTOM),
        label(percent(share).replace(".0", ""), LEFT - 4, y(share) + 4, "end"), label(percent(share).replace(".0", ""), x(share), BOTTOM + 17)]),
      label("“with”, though without", RIGHT, BOTTOM + 30, "end"),
      label("“with”, rightly", LEFT + 6, TOP + 12, "start"),
      make("path", { class: "theory", d: join(corners) }),
      make("path", { class: "measured", d: join(spots.map(({ right, wrong }) => [wrong, right])) }),
      make("circle", { class: "point", cx: x(here.wrong), cy: y(here.right), r: 6 }),
      ...legend([["measured", "all thresholds; the dot is yours"], ["theory", `the promise: slope e^${epsilon.toFixed(1)}, from ${small(delta)}`]]));
    this.tradeOff.setAttribute("aria-label", `Right guesses against wrong ones. Your threshold: ${percent(here.right)} right with, `
      + `${percent(here.wrong)} wrong without. The promise starts at ${small(delta)} and rises with slope e^${epsilon.toFixed(1)}.`);
  }

  restart() {
    [this.guesses, this.hits] = [0, 0];
    this.ask();
  }

  /** Toss a coin for the patient, and publish an answer. */
  ask(before = "") {
    this.present = Math.random() < 0.5; // only a game: this generator protects nobody
    const u = () => 1 - Math.random(); // in (0, 1]
    const noise = this.noise.value === "laplace"
      ? NOISES.laplace.quantile(Math.max(Math.min(u(), 1 - 1e-16), 1e-16), this.deviation)
      : this.deviation * Math.sqrt(-2 * Math.log(u())) * Math.cos(2 * Math.PI * u());
    const answer = (this.present ? WITH : WITHOUT) + noise;
    this.question.textContent = `${before}A coin has put the patient in or left them out. The published answer is `
      + `${answer.toFixed(2)}. With or without?`;
  }

  guess(saysWith) {
    this.guesses += 1;
    if (saysWith === this.present) this.hits += 1;
    const best = 0.5 + NOISES[this.noise.value].delta(0, this.deviation) / 2;
    this.ask(`It was ${this.present ? "with" : "without"}. You are right in ${this.hits} of ${this.guesses}; `
      + `at this noise nobody is right in more than ${percent(best)} on average. `);
  }
}

const legend = (lines) => lines.flatMap(([kind, text], i) => [
  make("path", { class: kind, d: `M${LEFT} ${286 + 16 * i}h22` }),
  make("text", { class: "axis", x: LEFT + 28, y: 290 + 16 * i }, text),
]);

if (typeof document === "undefined") {
  module.exports = { normalTail, NOISES, rates, ratio, promise };
  return;
}
mount("epsilon", (box) => new Epsilon(box));
})();
