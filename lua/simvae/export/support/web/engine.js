// The model: memory, constants, and its functions on arrays.

const facts = JSON.parse(document.getElementById("facts").textContent);

const decodeBase64 = (id) => {
  const text = atob(document.getElementById(id).textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
};

// Fills the memory with constants, which are digits of base 93 (simvae.export.support.web.memory).
const fillConstants = (buffer) => {
  const text = document.getElementById("constants").textContent, bits = new DataView(new ArrayBuffer(4));
  let at = 0;
  const whole = (count) => {
    let v = 0;
    for (const end = at + count; at < end; at++) {
      const c = text.charCodeAt(at);
      v = 93 * v + c - (c > 60 ? 34 : 33);
    }
    return v;
  };
  const float = () => {
    bits.setUint32(0, whole(5));
    return bits.getFloat32(0);
  };
  for (const [place, count, digits, numbers] of facts.constants) {
    if (numbers === 0) {
      const to = digits === 1 ? new Uint8Array(buffer, place, count) : new Float32Array(buffer, place, count);
      for (let i = 0; i < count; i++) to[i] = digits === 1 ? whole(1) : float();
      continue;
    }
    const to = new Float32Array(buffer, place, count), middle = Math.floor((93 ** (digits / numbers) - 1) / 2);
    for (let first = 0; first < count; first += 128) { // a group
      const scale = float(), end = Math.min(count, first + 128);
      for (let i = first; i < end; i += numbers) {
        let v = whole(digits);
        for (let k = i + numbers - 1; k >= i; k--) {
          const rest = Math.floor(v / (2 * middle + 1)), number = v - rest * (2 * middle + 1);
          if (k < end) to[k] = scale * (number - middle);
          v = rest;
        }
      }
    }
  }
};

const startEngine = async () => {
  const memory = new WebAssembly.Memory({ initial: facts.pages });
  const { exp, log, log1p, expm1, tanh, sin, cos } = Math;
  const { instance } = await WebAssembly.instantiate(decodeBase64("kernels"),
    { env: { memory, exp, log, log1p, expm1, tanh, sin, cos } });
  if (instance.exports.__heap_base.value > facts.start) throw new Error("the kernels' memory overlaps the model's");
  fillConstants(memory.buffer);
  const floats = new Float32Array(memory.buffer), graphs = makeGraphs(instance.exports, floats);
  // A function of a graph: from arrays, by the inputs' names, to an object of arrays.
  const run = (name, given, draws) => {
    const about = facts.graphs[name], places = [];
    const size = (value) => value.count * (value.draws ? draws : 1);
    if (draws > facts.draws) throw new RangeError(`at most ${facts.draws} draws; got ${draws}`);
    for (const value of about.inputs) {
      const numbers = given[value.name];
      if (!numbers || numbers.length !== size(value)) {
        throw new RangeError(`${name}: ${value.name} takes ${size(value)} numbers; got ${numbers ? numbers.length : numbers}`);
      }
      floats.set(numbers, value.at / 4);
      places.push(value.at / 4);
    }
    for (const value of about.outputs) places.push(value.at / 4);
    graphs[name](1, ...(about.draws ? [draws] : []), ...places, about.work / 4);
    const result = {};
    for (const value of about.outputs) result[value.name] = floats.slice(value.at / 4, value.at / 4 + size(value));
    return result;
  };
  return run;
};

// What scripts may call: simvae.decode(z), simvae.encode(x), simvae.sample(x, u), when simvae.ready is fulfilled.
// noise: the level of the measurement's noise, where the model has a range of them.
const simvae = window.simvae = {
  facts,
  decode: (z) => simvae.run("decode", { z }).x,
  encode: (x, noise) => simvae.run("encode", { x, noise: [noise] }),
  sample: (x, u, noise) => {
    const { count } = facts.graphs.sample.inputs.find((value) => value.draws);
    return simvae.run("sample", { x, u, noise: [noise] }, u.length / count).z;
  },
};
simvae.ready = startEngine().then((run) => { simvae.run = run; });
