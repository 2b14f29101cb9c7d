// The page: parameters to the decoder's output, and an observation to parameters.

const isImage = facts.output.length === 3;
const byId = (id) => document.getElementById(id);
const still = window.matchMedia("(prefers-reduced-motion: reduce)");
const MOVE = 250;   // ms in which sliders go to an estimate
const SHOWN = 32;   // draws that are decoded
const BUDGET = 8;   // ms of a frame for them

const state = { z: [], observed: undefined, noise: undefined };

// ---- decoding --------------------------------------------------------------------------------------------

const makeView = (id, label) => isImage ? new Picture(byId(id), label) : new Charts(byId(id), label);

const start = () => {
  const views = { decoder: makeView("decoder-view", "The decoder's output at these parameters"), posterior: undefined };
  let wanted = false;
  const decodeNow = () => {
    wanted = false;
    state.z = parameters.map((one) => one.value);
    state.output = simvae.decode(state.z);
    if (isImage) views.decoder.show(state.output);
    else views.decoder.show([...state.observed ? [{ output: state.observed, class: "observed" }] : [], { output: state.output, class: "decoded" }]);
  };
  const decode = () => {
    if (!wanted) requestAnimationFrame(decodeNow);
    wanted = true;
  };
  const moved = () => {
    cancelAnimationFrame(motion);
    motion = 0;
    decode();
  };
  const parameters = facts.parameters.map((p, k) => new Parameter(p, k, moved));
  byId("parameters").append(...parameters.map((one) => one.row));
  state.parameters = parameters;

  // Moves the sliders to values, in MOVE ms or at once.
  let motion = 0;
  const moveTo = (values, slowly) => {
    cancelAnimationFrame(motion);
    const from = parameters.map((one) => one.value), begin = performance.now();
    const step = () => {
      const t = slowly && !still.matches ? Math.min(1, (performance.now() - begin) / MOVE) : 1, eased = t * (2 - t);
      parameters.forEach((one, k) => {
        const p = one.p;
        if (p.levels || t === 1) one.set(values[k]);
        else if (p.period) {
          const way = values[k] - from[k];
          one.set(from[k] + eased * (way - p.period * Math.round(way / p.period)));
        } else {
          const a = toShare(p, from[k]);
          one.set(fromShare(p, a + eased * (toShare(p, values[k]) - a)));
        }
      });
      motion = t < 1 ? requestAnimationFrame(step) : 0;
      decodeNow();
    };
    step();
  };

  // ---- encoding ------------------------------------------------------------------------------------------

  const { encode, sample } = facts.graphs;
  const inverse = encode || sample;
  byId("observation").hidden = !inverse;
  byId("posterior").hidden = !sample;
  document.body.classList.add(sample ? "with-posterior" : inverse ? "with-encoder" : "with-decoder");

  const input = sample && sample.inputs.find((value) => value.draws), columns = parameters.length;
  const numbers = input && uniforms(1, facts.draws * input.count);
  let posteriorJob = 0;
  const showPosterior = () => {
    cancelAnimationFrame(posteriorJob);
    const z = simvae.sample(state.observed, numbers, state.noise);
    state.draws = z;
    parameters.forEach((one, k) => one.showDraws(Array.from({ length: facts.draws }, (_, i) => z[i * columns + k])));
    views.posterior ??= makeView("posterior-view", "Draws of the posterior, through the decoder, one over the other");
    const outputs = [], mean = new Float32Array(state.observed.length);
    const step = () => {
      const begin = performance.now();
      while (outputs.length < SHOWN && performance.now() - begin < BUDGET) {
        const x = simvae.decode(z.subarray(outputs.length * columns, (outputs.length + 1) * columns));
        outputs.push(x);
        for (let i = 0; i < x.length; i++) mean[i] += (x[i] - mean[i]) / outputs.length;
      }
      if (isImage) views.posterior.show(mean);
      else views.posterior.show([...outputs.map((output) => ({ output, class: "draw" })), { output: state.observed, class: "observed" }]);
      posteriorJob = outputs.length < SHOWN ? requestAnimationFrame(step) : 0;
    };
    step();
    byId("posterior-note").textContent = `${SHOWN} draws, each translucent over the others. ${facts.note ?? ""}`;
  };

  const estimate = () => {
    const { mean, std } = simvae.encode(state.observed, state.noise);
    Object.assign(state, { mean, std });
    parameters.forEach((one, k) => one.showEstimate(mean[k], std[k]));
    return mean;
  };

  // The middle of the draws, where the page has no encoder.
  const medianDraw = () => parameters.map((_, k) => {
    const list = Array.from({ length: facts.draws }, (_, i) => state.draws[i * columns + k]).sort((a, b) => a - b);
    return list[list.length >> 1];
  });

  let pending;
  const encodeNow = () => {
    const { x, done } = pending;
    pending = undefined;
    state.observed = x;
    const mean = encode && estimate();
    if (sample && (done || !encode)) showPosterior();
    moveTo(encode ? mean : medianDraw(), done);
    if (done && encode) announce(parameters.map((one, k) => `${one.p.name} ${valueText(one.p, mean[k])}`).join(", "));
  };
  const observed = (x, done) => {
    if (!pending) requestAnimationFrame(encodeNow);
    pending = { x, done: done || pending?.done };
  };
  const announce = (text) => { byId("status").textContent = `Inferred: ${text}`; };
  state.observe = (x) => {
    state.editor.set(Float32Array.from(x));
    pending = { x: state.editor.x, done: true };
    encodeNow();
  };

  // Whether anything is still to be shown.
  state.busy = () => wanted || motion !== 0 || pending !== undefined || posteriorJob !== 0;

  decodeNow();
  if (inverse) makeObservation(observed);
};

// ---- the observation ---------------------------------------------------------------------------------------

const say = (text) => { byId("problem").textContent = text; };

const makeObservation = (observed) => {
  const changed = (x, done) => {
    say("");
    observed(x, done);
  };
  const editor = isImage ? new PictureEditor(byId("observation-view"), byId("tools"), changed)
    : new CurveEditor(byId("observation-view"), byId("tools"), changed);
  state.editor = editor;
  editor.chooseColours(state.output);
  editor.set(Float32Array.from(state.output));
  const level = (facts.graphs.encode ?? facts.graphs.sample).inputs.find((value) => value.name === "noise");
  if (level) {
    const p = { name: "Noise of the measurement", unit: "", low: level.low, high: level.high, scale: "linear", start: level.low };
    const slider = new Parameter(p, "noise", () => {
      state.noise = slider.value;
      changed(editor.x, true);
    });
    state.noise = level.low;
    byId("tools").append(slider.row);
  }
  const load = async (file) => {
    try {
      if (isImage) editor.load(await createImageBitmap(file));
      else editor.parse(await file.text());
    } catch (error) {
      say(isImage ? `${file.name} is no image that this browser can read.` : `${file.name}: ${error.message}`);
    }
  };
  byId("hint").textContent = isImage ? "Draw on it, drop an image on it, or choose one: the parameters move to what the model infers."
    : "Draw on the chart, edit or paste the numbers, or drop a file with them: the parameters move to what the model infers.";
  const file = byId("file");
  file.accept = isImage ? "image/*" : ".csv,.txt,text/*";
  file.addEventListener("change", () => {
    if (file.files[0]) load(file.files[0]);
    file.value = "";
  });
  byId("take").addEventListener("click", () => state.observe(state.output));
  byId("clear").addEventListener("click", () => editor.clear());
  const card = byId("observation");
  for (const name of ["dragenter", "dragover"]) {
    card.addEventListener(name, (event) => {
      event.preventDefault();
      card.classList.add("target");
    });
  }
  for (const name of ["dragleave", "drop"]) card.addEventListener(name, () => card.classList.remove("target"));
  card.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) load(event.dataTransfer.files[0]);
  });
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  window.addEventListener("paste", (event) => {
    if (event.clipboardData.files[0]) load(event.clipboardData.files[0]);
  });
};

simvae.state = state;
simvae.ready = simvae.ready.then(start);
simvae.ready.catch((error) => {
  byId("failure").hidden = false;
  byId("failure").textContent = "This browser cannot run the model: it needs WebAssembly with SIMD, which browsers have "
    + `since 2023. (${error.message})`;
});
