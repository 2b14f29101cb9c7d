// Values on their scales, as text, and on axes.

// The value at a share of a range, and the share of a value.
const fromShare = (p, u) => {
  if (p.levels) return 1 + Math.round(u * (p.levels - 1));
  return p.scale === "log" ? p.low * (p.high / p.low) ** u : p.low + u * (p.high - p.low);
};
const toShare = (p, v) => {
  const u = p.scale === "log" ? Math.log(v / p.low) / Math.log(p.high / p.low) : (v - p.low) / (p.high - p.low);
  return Math.min(1, Math.max(0, u));
};

// A value of a period within the range.
const wrapped = (p, v) => p.period ? v - p.period * Math.floor((v - p.low) / p.period) : v;

// A number with `digits` significant ones, of a range whose width is given not more than it needs.
const numberText = (v, digits = 3, width = 0) => {
  if (!Number.isFinite(v)) return "–";
  const size = Math.max(Math.abs(v), width / 10);
  if (size === 0) return "0";
  if (size >= 1e5 || size < 1e-3) {
    const [mantissa, exponent] = v.toExponential(digits - 1).split("e");
    return `${mantissa.replace(/\.?0+$/, "").replace("-", "−")}e${exponent.replace("+", "").replace("-", "−")}`;
  }
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return v.toFixed(places).replace("-", "−");
};

const prefixes = { "-12": "p", "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G" };
const scaled = new Set(["H", "F", "Hz", "V", "A", "s", "W", "ohm", "Ω", "m", "g", "J", "N", "Pa"]);

const exponentOf = (p, v) => scaled.has(p.unit) && v !== 0
  ? Math.min(9, Math.max(-12, 3 * Math.floor(Math.log10(Math.abs(v)) / 3 + 1e-9))) : 0;

// A value with its unit, with a prefix where the unit is one of those that have them.
const valueText = (p, v, digits = 3) => {
  if (p.levels) return `${Math.round(v)}`;
  const exponent = exponentOf(p, v), width = p.scale === "log" ? 0 : (p.high - p.low) / 10 ** exponent;
  const text = numberText(v / 10 ** exponent, digits, width);
  if (p.unit === "rad") return `${text} rad (${Math.round((v * 180) / Math.PI)}°)`;
  return p.unit ? `${text} ${prefixes[exponent]}${p.unit}` : text;
};

// An estimate with its standard deviation.
const estimateText = (p, mean, std) => {
  const exponent = exponentOf(p, mean), power = 10 ** exponent, width = (p.high - p.low) / power;
  const unit = p.unit ? ` ${prefixes[exponent]}${p.unit}` : "";
  return `${numberText(mean / power, 3, p.scale === "log" ? 0 : width)} ± ${numberText(std / power, 2, width / 100)}${unit}`;
};

// "name (unit)"
const titleOf = (one) => one.unit ? `${one.name} (${one.unit})` : one.name;

// Round numbers within a range: of a linear axis about `wanted`, of a logarithmic one its decades.
const ticksOf = (axis, wanted) => {
  const list = [];
  if (axis.scale === "log") {
    const first = Math.ceil(Math.log10(axis.low) - 1e-9), last = Math.floor(Math.log10(axis.high) + 1e-9);
    const step = Math.max(1, Math.ceil((last - first + 1) / (wanted + 1)));
    for (let k = first; k <= last; k += step) list.push(10 ** k);
    if (list.length >= 2) return list;
    return [axis.low, Math.sqrt(axis.low * axis.high), axis.high];
  }
  const rough = (axis.high - axis.low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
  for (let k = Math.ceil(axis.low / step - 1e-9); k * step <= axis.high + 1e-9 * step; k++) list.push(k * step);
  return list;
};

const tickText = (v) => {
  if (v === 0) return "0";
  const size = Math.abs(v);
  if (size >= 1e3 && size < 1e12) {
    const exponent = 3 * Math.floor(Math.log10(size) / 3 + 1e-9);
    return `${+(v / 10 ** exponent).toPrecision(3)}${prefixes[exponent] ?? `e${exponent}`}`.replace("-", "−");
  }
  return `${+v.toPrecision(3)}`.replace("-", "−");
};

// Uniform random numbers in (0, 1), the same for a seed (mulberry32).
const uniforms = (seed, count) => Float32Array.from({ length: count }, () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return (((t ^ (t >>> 14)) >>> 8) + 0.5) / 16777216;
});

const element = (name, attributes = {}, ...children) => {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (key === "text") e.textContent = value; else e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children);
  return e;
};

// Lets an element get a pointer's events until it is released; events of scripts have no pointer.
const capture = (e, event) => { if (event.isTrusted) e.setPointerCapture(event.pointerId); };
