// Vector outputs: drawn on their charts with the pointer, or given as numbers.

class CurveEditor {
  constructor(parent, tools, changed) {
    this.changed = changed;
    this.charts = new Charts(parent, "Observation");
    this.numbers = element("textarea", { rows: 3, spellcheck: "false", "aria-describedby": "hint" });
    tools.append(element("label", { class: "numbers", text: `Numbers (${facts.output[0]})` }, this.numbers));
    this.numbers.addEventListener("change", () => {
      try {
        this.parse(this.numbers.value);
      } catch (error) {
        say(error.message);
      }
    });
    for (const chart of this.charts.list) this.listen(chart);
  }

  listen(chart) {
    let last;
    chart.root.classList.add("drawable");
    chart.root.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      capture(chart.root, event);
      this.x = Float32Array.from(this.x);
      last = chart.at(event);
      this.pull(chart, last, last);
    });
    chart.root.addEventListener("pointermove", (event) => {
      if (!last) return;
      const now = chart.at(event);
      this.pull(chart, last, now);
      last = now;
    });
    for (const name of ["pointerup", "pointercancel"]) {
      chart.root.addEventListener(name, () => {
        if (last) this.update(true);
        last = undefined;
      });
    }
  }

  // Sets the elements between two places.
  pull(chart, from, to) {
    const n = Math.abs(to.index - from.index);
    for (let i = 0; i <= n; i++) {
      const share = n === 0 ? 1 : i / n;
      this.x[chart.curve.first + Math.round(from.index + share * (to.index - from.index))] = from.value + share * (to.value - from.value);
    }
    this.update(false);
  }

  update(done) {
    this.show();
    this.changed(this.x, done);
  }

  show() {
    this.charts.show([{ output: this.x, class: "observed" }]);
    this.numbers.value = Array.from(this.x, (v) => +v.toPrecision(5)).join(", ");
  }

  // A text with the numbers; others in it are left out.
  parse(text) {
    const list = (text.match(/[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/gi) ?? []).map(Number), wanted = facts.output[0];
    const wrong = list.length !== wanted;
    this.numbers.setAttribute("aria-invalid", wrong);
    if (wrong) throw new Error(`An observation has ${wanted} numbers; this has ${list.length}.`);
    this.x = Float32Array.from(list);
    this.update(true);
  }

  set(x) {
    this.x = x;
    this.show();
  }

  chooseColours() {}

  clear() {
    const x = new Float32Array(facts.output[0]);
    for (const curve of facts.curves) x.fill((curve.low + curve.high) / 2, curve.first, curve.last);
    this.x = x;
    this.update(true);
  }
}
