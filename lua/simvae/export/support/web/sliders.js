// A control for each parameter, with its estimate and draws of the posterior below.

const STEPS = 1000;

class Parameter {
  constructor(p, k, changed) {
    this.p = p;
    this.changed = changed;
    this.row = element("div", { class: "parameter", role: "group", "aria-label": p.name });
    this.output = element("output", { for: `p${k}` });
    this.row.append(element("div", { class: "label" }, element("label", p.levels ? { text: p.name, id: `l${k}` }
      : { for: `p${k}`, text: p.name }), this.output));
    if (p.levels && p.levels <= 8) this.makeChoices(k); else if (p.levels) this.makeSelect(k); else this.makeSlider(k);
    this.strip = svg("svg", { class: "strip", viewBox: `0 0 ${STEPS} 12`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.ticks = svg("path", { class: "ticks" });
    this.mark = svg("path", { class: "mark" });
    this.strip.append(this.ticks, this.mark);
    this.note = element("p", { class: "note" }, element("span", { text: p.doc ?? "" }), this.estimate = element("span"));
    if (!p.levels && (facts.graphs.encode || facts.graphs.sample)) this.row.append(this.strip);
    this.row.append(this.note);
    this.set(p.start);
  }

  makeSlider(k) {
    const { p } = this;
    this.circle = p.period && Math.abs(p.high - p.low - p.period) < 1e-6 * p.period;
    const steps = p.grid ? p.grid - 1 : STEPS;
    this.steps = steps;
    this.input = element("input", { type: "range", id: `p${k}`, min: 0, max: steps, step: p.grid ? 1 : "any" });
    this.input.addEventListener("input", () => {
      this.value = fromShare(p, +this.input.value / steps);
      this.describe();
      this.changed();
    });
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.row.append(this.input);
  }

  // Steps of a hundredth of the range, with Shift a thousandth; a circle goes on at its other end.
  key(event) {
    const sign = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!sign || this.p.grid && !this.circle) return;
    event.preventDefault();
    const by = this.p.grid ? 1 / this.steps : event.shiftKey ? 0.001 : 0.01;
    const share = toShare(this.p, this.value) + sign * by;
    this.set(fromShare(this.p, this.circle ? share - Math.floor(share) : Math.min(1, Math.max(0, share))));
    this.changed();
  }

  makeChoices(k) {
    const box = element("div", { class: "choices", role: "radiogroup", "aria-labelledby": `l${k}` });
    this.radios = Array.from({ length: this.p.levels }, (_, i) => {
      const radio = element("input", { type: "radio", name: `p${k}`, value: i + 1 });
      radio.addEventListener("change", () => this.choose(i + 1));
      box.append(element("label", {}, radio, element("span", { text: i + 1 })));
      return radio;
    });
    this.row.append(box);
  }

  makeSelect(k) {
    this.select = element("select", { "aria-labelledby": `l${k}` }, ...Array.from({ length: this.p.levels }, (_, i) =>
      element("option", { value: i + 1, text: i + 1 })));
    this.select.addEventListener("change", () => this.choose(+this.select.value));
    this.row.append(this.select);
  }

  choose(value) {
    this.value = value;
    this.describe();
    this.changed();
  }

  set(value) {
    const { p } = this;
    this.value = p.levels ? Math.min(p.levels, Math.max(1, Math.round(value))) : wrapped(p, value);
    if (p.grid) this.value = fromShare(p, Math.round(toShare(p, this.value) * this.steps) / this.steps);
    if (this.radios) this.radios[this.value - 1].checked = true;
    if (this.select) this.select.value = this.value;
    if (this.input) this.input.value = this.steps * toShare(p, this.value);
    this.describe();
  }

  describe() {
    const text = valueText(this.p, this.value);
    this.output.textContent = text;
    if (this.input) this.input.setAttribute("aria-valuetext", text);
  }

  // What the encoder inferred; nil: nothing.
  showEstimate(mean, std) {
    const { p } = this;
    this.estimate.textContent = mean === undefined ? "" : p.levels ? `inferred: ${Math.round(mean)}`
      : `inferred: ${estimateText(p, wrapped(p, mean), std)}`;
    const at = (v) => STEPS * toShare(p, wrapped(p, v));
    this.mark.setAttribute("d", mean === undefined || p.levels ? "" : `M${at(mean)} 0V12`);
  }

  showDraws(values) {
    const { p } = this;
    if (p.levels) {
      if (!values.length) return;
      const counts = new Map();
      for (const v of values) counts.set(Math.round(v), (counts.get(Math.round(v)) ?? 0) + 1);
      const sorted = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3);
      this.estimate.textContent = "inferred: " + sorted.map(([v, n]) => `${v} (${Math.round((100 * n) / values.length)} %)`).join(", ");
      return;
    }
    this.ticks.setAttribute("d", values.map((v) => `M${(STEPS * toShare(p, wrapped(p, v))).toFixed(1)} 1V11`).join(""));
  }
}
