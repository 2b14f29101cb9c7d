// Charts of curves with axes, in SVG.

const svgNamespace = "http://www.w3.org/2000/svg";

const svg = (name, attributes = {}, text) => {
  const e = document.createElementNS(svgNamespace, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (text !== undefined) e.textContent = text;
  return e;
};

const chartSize = { width: 360, height: 200, left: 46, right: 16, top: 8, bottom: 36 };

// A chart of one of the output's curves.
class Chart {
  constructor(curve, label) {
    this.curve = curve;
    this.count = curve.last - curve.first;
    const { width, height, left, right, top, bottom } = chartSize;
    this.x = (share) => left + share * (width - left - right);
    this.root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label });
    this.axes = svg("g", { class: "axes" });
    this.lines = svg("g");
    const clip = `clip${Chart.made++}`;
    const box = svg("clipPath", { id: clip });
    box.append(svg("rect", { x: left, y: top, width: width - left - right, height: height - top - bottom }));
    this.lines.setAttribute("clip-path", `url(#${clip})`);
    this.root.append(box, this.axes, this.lines);
    this.setRange(curve.low, curve.high);
  }

  setRange(low, high) {
    this.low = low;
    this.high = high;
    const { width, height, left, right, top, bottom } = chartSize, floor = height - bottom;
    this.axes.replaceChildren(svg("rect", { x: left, y: top, width: width - left - right, height: floor - top, class: "frame" }));
    for (const v of ticksOf({ low, high, scale: "linear" }, 4)) {
      const y = this.y(v);
      this.axes.append(svg("line", { x1: left, x2: width - right, y1: y, y2: y }),
        svg("text", { x: left - 5, y: y + 3.5, "text-anchor": "end" }, tickText(v)));
    }
    for (const v of ticksOf(facts.axis, 5)) {
      const x = this.x(toShare(facts.axis, v));
      this.axes.append(svg("line", { x1: x, x2: x, y1: top, y2: floor }),
        svg("text", { x, y: floor + 13, "text-anchor": "middle" }, tickText(v)));
    }
    this.axes.append(svg("text", { x: (left + width - right) / 2, y: height - 7, "text-anchor": "middle" }, titleOf(facts.axis)));
  }

  y(v) {
    const { height, top, bottom } = chartSize;
    return top + (height - top - bottom) * (1 - (v - this.low) / (this.high - this.low));
  }

  points(output) {
    const list = [];
    for (let i = 0; i < this.count; i++) {
      const v = output[this.curve.first + i];
      if (Number.isFinite(v)) list.push(`${this.x(this.count === 1 ? 0.5 : i / (this.count - 1)).toFixed(1)},${this.y(v).toFixed(1)}`);
    }
    return list.join(" ");
  }

  // Shows outputs: { output, class }, ….
  show(list) {
    while (this.lines.childNodes.length > list.length) this.lines.lastChild.remove();
    while (this.lines.childNodes.length < list.length) this.lines.append(svg("polyline"));
    list.forEach((one, i) => {
      const line = this.lines.childNodes[i];
      line.setAttribute("class", one.class);
      line.setAttribute("points", this.points(one.output));
      line.style.markerMid = this.count <= 40 ? "url(#dot)" : "";
    });
  }

  // The element and the value at a pointer's place.
  at(event) {
    const box = this.root.getBoundingClientRect(), { width, height, left, right, top, bottom } = chartSize;
    const x = ((event.clientX - box.left) * width) / box.width, y = ((event.clientY - box.top) * height) / box.height;
    const share = Math.min(1, Math.max(0, (x - left) / (width - left - right)));
    const up = 1 - Math.min(1, Math.max(0, (y - top) / (height - top - bottom)));
    return { index: Math.round(share * (this.count - 1)), value: this.low + up * (this.high - this.low) };
  }
}
Chart.made = 0;

// The charts of a vector output, one below the other.
class Charts {
  constructor(parent, label) {
    this.list = facts.curves.map((curve) => {
      const chart = new Chart(curve, `${label}: ${curve.name} against ${facts.axis.name}`);
      if (facts.curves.length > 1 || curve.unit) parent.append(element("h3", { text: titleOf(curve) }));
      parent.append(chart.root);
      return chart;
    });
  }

  show(list) { for (const chart of this.list) chart.show(list); }
}
