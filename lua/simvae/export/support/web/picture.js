// Images: shown, and drawn with the pointer or the keyboard.

const imageSize = () => ({ channels: facts.output[0], height: facts.output[1], width: facts.output[2] });

// Fills pixels from an output: grey of one channel, else the first three.
const toPixels = (x, data) => {
  const { channels, height, width } = imageSize(), area = height * width;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) {
      data[4 * i + c] = channels === 1 ? 255 * x[i] + 0.5 : c < channels ? 255 * x[c * area + i] + 0.5 : 0;
    }
    data[4 * i + 3] = 255;
  }
};

const fromPixels = (data) => {
  const { channels, height, width } = imageSize(), area = height * width, x = new Float32Array(channels * area);
  for (let i = 0; i < area; i++) {
    const [r, g, b] = [data[4 * i] / 255, data[4 * i + 1] / 255, data[4 * i + 2] / 255];
    if (channels === 1) x[i] = 0.299 * r + 0.587 * g + 0.114 * b;
    else [r, g, b].slice(0, channels).forEach((v, c) => { x[c * area + i] = v; });
  }
  return x;
};

class Picture {
  constructor(parent, label) {
    const { height, width } = imageSize();
    this.canvas = element("canvas", { class: "pixels", width, height, role: "img", "aria-label": label });
    this.canvas.style.aspectRatio = `${width} / ${height}`;
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.image = this.context.createImageData(width, height);
    parent.append(this.canvas);
  }

  show(x) {
    toPixels(x, this.image.data);
    this.context.putImageData(this.image, 0, 0);
  }
}

const hex = (colour) => `#${colour.map((v) => Math.round(v).toString(16).padStart(2, "0")).join("")}`;

// The most frequent colour of pixels, and the one that differs most from it.
const coloursOf = (data) => {
  const counts = new Map();
  for (let i = 0; i < data.length; i += 4) {
    const key = (data[i] >> 5 << 6) | (data[i + 1] >> 5 << 3) | data[i + 2] >> 5;
    const one = counts.get(key) ?? { n: 0, at: i };
    one.n++;
    counts.set(key, one);
  }
  const ground = [...counts.values()].reduce((a, b) => (b.n > a.n ? b : a)).at;
  let far = ground, most = -1;
  for (let i = 0; i < data.length; i += 4) {
    const d = [0, 1, 2].reduce((sum, c) => sum + (data[i + c] - data[ground + c]) ** 2, 0);
    if (d > most) [far, most] = [i, d];
  }
  return [ground, far].map((at) => hex([data[at], data[at + 1], data[at + 2]]));
};

// An image that is drawn on; changed(x, done) gets it.
class PictureEditor {
  constructor(parent, tools, changed) {
    this.changed = changed;
    const frame = element("div", { class: "drawing" });
    parent.append(frame);
    this.picture = new Picture(frame, "Observation");
    const { canvas } = this.picture;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", "Drawing area. Arrow keys move the cross, the space bar draws; "
      + "of rectangles and ellipses it sets one corner, then the other.");
    this.cross = element("div", { class: "cross", "aria-hidden": "true" });
    frame.append(this.cross);
    this.cursor = { x: canvas.width / 2, y: canvas.height / 2 };
    this.makeTools(tools);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.finish());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.corner = undefined; });
  }

  makeTools(parent) {
    const { channels, width } = imageSize();
    this.tool = element("select", { "aria-label": "Tool" }, ...["brush", "rectangle", "ellipse"].map((name) =>
      element("option", { value: name, text: name })));
    this.size = element("input", { type: "range", min: 1, max: Math.max(2, Math.round(width / 4)), value: Math.max(1, Math.round(width / 20)) });
    this.colour = channels >= 3 ? element("input", { type: "color", value: "#000000" })
      : element("input", { type: "range", min: 0, max: 255, value: 255 });
    parent.append(element("label", { text: "Tool " }, this.tool), element("label", { text: "Brush " }, this.size),
      element("label", { text: channels >= 3 ? "Colour " : "Shade " }, this.colour));
  }

  ink() {
    return this.colour.type === "color" ? this.colour.value : hex([+this.colour.value, +this.colour.value, +this.colour.value]);
  }

  // Takes an output as it is.
  set(x) {
    this.x = x;
    this.picture.show(x);
  }

  // Colours for drawing from an output.
  chooseColours(x) {
    toPixels(x, this.picture.image.data);
    const [ground, far] = coloursOf(this.picture.image.data);
    this.ground = ground;
    this.colour.value = this.colour.type === "color" ? far : parseInt(far.slice(1, 3), 16);
  }

  clear() {
    const { context, canvas } = this.picture;
    context.fillStyle = this.ground;
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.read(true);
  }

  // An image of any size, as large as fits.
  load(image) {
    const { context, canvas } = this.picture;
    const by = Math.min(canvas.width / image.width, canvas.height / image.height);
    const width = image.width * by, height = image.height * by;
    context.fillStyle = this.ground;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
    this.read(true);
  }

  read(done) {
    const { context, canvas } = this.picture;
    this.x = fromPixels(context.getImageData(0, 0, canvas.width, canvas.height).data);
    this.changed(this.x, done);
  }

  place(event) {
    const { canvas } = this.picture, box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * canvas.width) / box.width, y: ((event.clientY - box.top) * canvas.height) / box.height };
  }

  // Draws from one place to another with the tool.
  draw(from, to) {
    const { context } = this.picture;
    context.fillStyle = context.strokeStyle = this.ink();
    context.lineWidth = +this.size.value;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    if (this.tool.value === "brush") {
      context.moveTo(from.x, from.y);
      context.lineTo(to.x + 1e-3, to.y);
      context.stroke();
      return;
    }
    const [x, y] = [Math.min(from.x, to.x), Math.min(from.y, to.y)], [w, h] = [Math.abs(to.x - from.x), Math.abs(to.y - from.y)];
    if (this.tool.value === "rectangle") context.rect(x, y, w, h);
    else context.ellipse(x + w / 2, y + h / 2, w / 2, h / 2, 0, 0, 2 * Math.PI);
    context.fill();
  }

  start(place) {
    const { context, canvas } = this.picture;
    this.before = context.getImageData(0, 0, canvas.width, canvas.height);
    this.from = place;
  }

  // The figure that began at `start` up to a place.
  extend(place) {
    if (this.tool.value !== "brush") this.picture.context.putImageData(this.before, 0, 0);
    this.draw(this.from, place);
    if (this.tool.value === "brush") this.from = place;
  }

  down(event) {
    event.preventDefault();
    this.picture.canvas.focus({ preventScroll: true });
    capture(this.picture.canvas, event);
    this.start(this.place(event));
    this.pressed = true;
    this.extend(this.from);
    this.read(false);
  }

  move(event) {
    if (!this.pressed) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length > 0 ? all : [event]) this.extend(this.place(one));
    this.read(false);
  }

  finish() {
    if (this.pressed) this.read(true);
    this.pressed = false;
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const { canvas } = this.picture, by = event.shiftKey ? 8 : 1;
    if (steps) {
      this.cursor.x = Math.min(canvas.width, Math.max(0, this.cursor.x + by * steps[0]));
      this.cursor.y = Math.min(canvas.height, Math.max(0, this.cursor.y + by * steps[1]));
      this.cross.style.left = `${(100 * this.cursor.x) / canvas.width}%`;
      this.cross.style.top = `${(100 * this.cursor.y) / canvas.height}%`;
      if (this.corner) {
        this.extend({ ...this.cursor });
        this.read(false);
      }
    } else if (event.key === " " || event.key === "Enter") {
      if (!this.corner) this.start({ ...this.cursor });
      this.extend({ ...this.cursor });
      this.corner = this.tool.value !== "brush" && !this.corner;
      this.read(!this.corner);
    } else {
      return;
    }
    event.preventDefault();
  }
}
