/* Three small numbers side by side in one large one: add hospitals until a slot runs over.
 *
 * In a page:  <div class="explorable" data-explorable="packing">A sentence for readers without
 * scripts.</div>  then explorable.js and this file as classic scripts with `defer`.
 */
"use strict";
(() => {

/* ---- The mathematics, free of any page: tested against refimpl. ---- */

const [SLOTS, MOST, CAPACITY, CIPHERTEXT] = [3, 20, 2047, 512]; // slots, hospitals; bits, bytes of Paillier

/** The encoding of 0, and half of the largest encoding. */
const offset = (bits) => 2 ** (bits - 1) - 1;

/** How many encodings of `bits` bits a slot of `width` bits holds the sum of, whatever they are. */
const room = (bits, width) => Math.floor((2 ** width - 1) / (2 ** bits - 1));

/** Σ v_i 2^(i width), whatever the v_i are. */
const pack = (values, width) => values.reduceRight((sum, v) => (sum << BigInt(width)) + BigInt(v), 0n);

/** What the slots of a packed number hold, lowest first, and last what lies past them. */
const unpack = (packed, width) => [...Array(SLOTS).keys()]
  .map((i) => Number((packed >> BigInt(i * width)) & ((1n << BigInt(width)) - 1n)))
  .concat(Number(packed >> BigInt(SLOTS * width)));

/** What a hospital, from 0, adds: an encoding for each slot. */
const KINDS = {
  mixed: ["values from −1 to 1", (hospital, slot, bits) => ((hospital + 2) * (7 + 4 * slot) * 31 + 13 * slot) % 97 % (2 * offset(bits) + 1)],
  zero: ["all values 0", (_, __, bits) => offset(bits)],
  largest: ["all values 1", (_, __, bits) => 2 * offset(bits)],
};

/** After so many hospitals: the true sums, the packed number, and what is read from its slots. */
function after(hospitals, kind, bits, width) {
  const [sums, last] = [Array(SLOTS).fill(0), Array(SLOTS).fill(0)];
  let packed = 0n;
  for (let k = 0; k < hospitals; k += 1) {
    for (let i = 0; i < SLOTS; i += 1) sums[i] += last[i] = KINDS[kind][1](k, i, bits);
    packed += pack(last, width); // all that who adds does: one sum of two large numbers
  }
  const read = unpack(packed, width);
  return { sums, last, packed: packed.toString(), read: read.slice(0, SLOTS), past: read[SLOTS] };
}

/** The real sum that a sum of encodings stands for; one real 1 is `offset` steps. */
const real = (sum, hospitals, bits) => (sum - hospitals * offset(bits)) / offset(bits);

/** Values in a plaintext of 2048-bit Paillier, and the bytes that each takes. */
const values = (width) => Math.floor(CAPACITY / width);
const bytes = (width) => CIPHERTEXT / values(width);

/* ---- The page. ---- */

const { make, mount } = typeof document === "undefined" ? {} : window.explorable;

const [LEFT, RIGHT] = [8, 352];
const SPILL = 5; // cells for what runs past the last slot
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const text = (content, x, y, anchor = "middle", kind = "axis") => make("text", { class: kind, x, y, "text-anchor": anchor }, content);
const show = (value) => value.toFixed(2).replace("-0.00", "0.00").replace("-", "−");

class Packing {
  constructor(box) {
    this.hospitals = 1;
    this.buildControls();
    this.bitsDrawing = make("svg", { class: "wide", viewBox: "0 0 360 170", role: "img" });
    this.bars = make("svg", { viewBox: "0 0 360 230", role: "img" });
    this.status = make("p", { class: "explorable-status", "aria-live": "polite" });
    this.table = make("table", {});
    this.price = make("p", { class: "explorable-status" });
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Explorable: bits, slots and headroom");
    box.replaceChildren(this.controls, make("div", { class: "explorable-panels" }, this.bitsDrawing, this.bars,
      make("div", { class: "explorable-table" }, this.table)), this.status, this.price);
    this.update();
  }

  buildControls() {
    const slider = (key, min, max, value) => {
      this[key] = make("input", { type: "range", min, max, step: 1, value });
      this[key].addEventListener("input", () => this.update());
      this[`${key}Text`] = make("span", {});
      return make("label", {}, this[`${key}Text`], this[key]);
    };
    const button = (label, action) => {
      const element = make("button", { type: "button" }, label);
      element.addEventListener("click", () => { action(); this.update(); });
      return element;
    };
    this.kind = make("select", {}, ...Object.entries(KINDS).map(([key, [name]]) => make("option", { value: key }, name)));
    this.kind.addEventListener("change", () => this.update());
    this.more = button("Add a hospital", () => { this.hospitals = Math.min(MOST, this.hospitals + 1); });
    this.controls = make("div", { class: "explorable-controls" },
      slider("bits", 3, 6, 4), slider("headroom", 0, 4, 2), make("label", {}, "Each adds", this.kind),
      make("div", { class: "explorable-buttons" }, this.more, button("Start over", () => { this.hospitals = 1; })));
  }

  update() {
    const [bits, headroom] = [Number(this.bits.value), Number(this.headroom.value)];
    const texts = { bits: `A value: ${bits} bits`, headroom: `Headroom: ${plural(headroom, "bit")}` };
    for (const [key, label] of Object.entries(texts)) {
      this[`${key}Text`].textContent = label;
      this[key].setAttribute("aria-valuetext", label);
    }
    // not `disabled`: that would take the focus from whoever presses it by keyboard
    this.more.setAttribute("aria-disabled", String(this.hospitals === MOST));
    const [width, hospitals] = [bits + headroom, this.hospitals];
    const at = { bits, headroom, width, hospitals, ...after(hospitals, this.kind.value, bits, width) };
    at.wrong = at.sums.map((sum, i) => sum !== at.read[i]);
    this.drawBits(at);
    this.drawBars(at);
    this.fillTable(at);
    this.status.textContent = this.describe(at);
    this.price.textContent = `Slots of ${plural(width, "bit")}: a 2048-bit Paillier plaintext holds ${values(width)} such values, `
      + `and one takes ${bytes(width).toFixed(2)} bytes of ciphertext.`;
  }

  describe({ bits, width, hospitals, sums, wrong, past }) {
    const enough = room(bits, width);
    const start = `${plural(hospitals, "hospital")} added; the slots have room for ${enough}, whatever the values are. `;
    const over = sums.map((sum, i) => (sum >= 2 ** width ? i : -1)).filter((i) => i >= 0);
    if (!over.length && !wrong.some(Boolean)) {
      return start + (hospitals > enough ? "More than that are added now, and by chance nothing has run over yet."
        : hospitals === enough ? "The next one may be one too many." : "All sums are right.");
    }
    const names = over.map((i) => `slot ${i}`).join(", ").replace(/, ([^,]*)$/, " and $1");
    return start + `${names[0].toUpperCase()}${names.slice(1)} ran over, and what carried over was added to the next on the left. `
      + `${plural(wrong.filter(Boolean).length, "sum")} of ${SLOTS} ${wrong.filter(Boolean).length === 1 ? "is" : "are"} read wrongly`
      + (past ? `, and ${past} has run past the last slot. ` : ". ") + "Nothing in the number says so.";
  }

  /** The last vector and the sum, bit by bit, the highest on the left. */
  drawBits({ width, hospitals, last, packed, wrong }) {
    const cells = SLOTS * width + SPILL;
    const cell = (RIGHT - LEFT) / cells;
    const x = (bit) => RIGHT - (bit + 1) * cell; // bit 0 on the right
    const row = (number, y) => Array.from({ length: cells }, (_, bit) => {
      const one = (number >> BigInt(bit)) & 1n;
      const spilt = bit >= SLOTS * width;
      return make("g", { class: `bit${one ? " one" : ""}${spilt ? " spill" : ""}` },
        make("rect", { x: x(bit) + 0.75, y, width: cell - 1.5, height: 24 }),
        ...(spilt && !one ? [] : [text(String(one), x(bit) + cell / 2, y + 16, "middle", "digit")]));
    });
    const slots = last.flatMap((_, i) => [
      make("line", { class: "threshold", x1: x((i + 1) * width - 1), x2: x((i + 1) * width - 1), y1: 22, y2: 146 }),
      text(`slot ${i}${wrong[i] ? " ✗" : ""}`, x((i + 0.5) * width - 0.5) + cell / 2, 164)]);
    this.bitsDrawing.replaceChildren(
      text(`hospital ${hospitals} adds`, RIGHT, 16, "end"), ...row(pack(last, width), 28),
      text(hospitals === 1 ? "sum" : `sum of ${hospitals}`, RIGHT, 86, "end"), ...row(BigInt(packed), 98),
      ...slots, text("past", LEFT + (SPILL * cell) / 2, 164));
    this.bitsDrawing.setAttribute("aria-label", `The sum as one binary number of ${SLOTS} slots of ${width} bits; `
      + `${wrong.some(Boolean) ? `wrong: ${wrong.flatMap((bad, i) => (bad ? [`slot ${i}`] : [])).join(", ")}` : "all slots right"}.`);
  }

  /** The true sums as bars, and the most that a slot holds as a wall. */
  drawBars({ width, sums, read }) {
    const [top, bottom, most] = [28, 196, 2 ** width - 1];
    const y = (value) => bottom - ((bottom - top) * value) / Math.max(1.25 * most, ...sums);
    const x = (slot) => RIGHT - 60 - 110 * slot; // slot 0 on the right, as in the number
    const bars = sums.flatMap((sum, i) => [
      make("rect", { class: "bar", x: x(i) - 26, y: y(Math.min(sum, most)), width: 52, height: bottom - y(Math.min(sum, most)) }),
      ...(sum > most ? [make("rect", { class: "over", x: x(i) - 26, y: y(sum), width: 52, height: y(most) - y(sum) })] : []),
      text(`slot ${i}: ${sum}`, x(i), bottom + 17), text(`reads ${read[i]}`, x(i), bottom + 31)]);
    this.bars.replaceChildren(...bars,
      make("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: bottom, y2: bottom }),
      make("path", { class: "theory", d: `M${LEFT} ${y(most)}H${RIGHT}` }),
      make("path", { class: "theory", d: `M${LEFT} 12h22` }), text(`a slot holds at most ${most}`, LEFT + 28, 16, "start"));
    this.bars.setAttribute("aria-label", `The true sums ${sums.map((sum, i) => `${sum} in slot ${i}`).join(", ")}, under or over `
      + `the ${most} that a slot holds.`);
  }

  fillTable({ bits, hospitals, sums, read, wrong }) {
    const cells = (kind, contents) => make("tr", {}, ...contents.map((content) => make(kind, {}, content)));
    const rows = sums.map((sum, i) => cells("td", [String(i), show(real(sum, hospitals, bits)), show(real(read[i], hospitals, bits)),
      wrong[i] ? "wrong" : "right"]));
    this.table.replaceChildren(make("thead", {}, cells("th", ["slot", "sum of the values", "as read", "it is"])), make("tbody", {}, ...rows));
  }
}

if (typeof document === "undefined") {
  module.exports = { MOST, KINDS, offset, room, pack: (v, w) => pack(v, w).toString(), unpack: (n, w) => unpack(BigInt(n), w),
    after, real, values, bytes };
  return;
}
mount("packing", (box) => new Packing(box));
})();
