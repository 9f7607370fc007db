// The two videos on one canvas, divided by the wipe; zoom, and one row over time.

const AHEAD = 10; // frames decoded before they are shown
const SLICE_LINES = 240;
const MOST_BYTES = 512 * 2 ** 20; // of JPEGs kept to be played again

export class Stage {
  constructor(canvas, slice) {
    Object.assign(this, { canvas, slice });
    this.wipe = 0.5;
    this.zoom = 1;
    this.centre = [0.5, 0.5];
    this.row = 0.5;
    this.sliced = false;
    this.reset(192, 192);
  }

  /** Begin a clip of this size. */
  reset(width, height) {
    Object.assign(this, { width, height });
    this.canvas.parentElement.style.maxWidth = `min(40rem, ${(62 * width) / height}vh)`; // leaves room for the controls
    for (const pair of this.decoded?.values() ?? []) close(pair);
    this.frames = new Map(); // number -> [measured, restored], JPEGs
    this.decoded = new Map(); // number -> promise, then pair of bitmaps
    this.first = 0;
    this.bytes = 0;
    this.shown = -1;
    this.passed = 1;
    this.pair = null;
    this.generation = (this.generation ?? 0) + 1;
    this.strips = [0, 1].map(() => canvasOf(width, SLICE_LINES));
    this.resize();
  }

  resize() {
    const wide = Math.round((this.canvas.clientWidth || this.width) * (devicePixelRatio || 1));
    this.canvas.width = Math.max(this.width, Math.min(wide, 2048));
    this.canvas.height = Math.round((this.canvas.width * this.height) / this.width);
    this.draw();
  }

  /** @param pictures Uint8Arrays, measured and restored in turns; returns the number of the next frame. */
  add(begin, pictures) {
    for (let place = 0; place < pictures.length; place += 2) {
      const pair = [pictures[place], pictures[place + 1]].map((one) => new Blob([one], { type: "image/jpeg" }));
      this.frames.set(begin + place / 2, pair);
      this.bytes += pair[0].size + pair[1].size;
    }
    while (this.bytes > MOST_BYTES && this.first < this.shown) this.forget(this.first);
    return begin + pictures.length / 2;
  }

  forget(number) {
    const pair = this.frames.get(number);
    if (pair) this.bytes -= pair[0].size + pair[1].size;
    this.frames.delete(number);
    this.first = number + 1;
  }

  /** Show frame `number` as soon as it is decoded. */
  async show(number) {
    const { generation } = this;
    for (let next = number; next < number + AHEAD; next += 1) this.decode(next);
    for (const known of this.decoded.keys()) {
      if (known < number - 2 || known > number + 2 * AHEAD) {
        const gone = this.decoded.get(known);
        this.decoded.delete(known);
        gone.then((pair) => pair !== this.pair && close(pair), () => {});
      }
    }
    const wanted = this.decoded.get(number);
    if (!wanted || number === this.shown) return;
    const pair = await wanted;
    if (generation !== this.generation || !this.decoded.has(number)) return;
    this.pair = pair;
    this.passed = number > this.shown ? Math.min(number - this.shown, AHEAD) : 1; // frames that were too late, with this one
    this.shown = number;
    this.draw();
    this.onshown?.(number);
  }

  decode(number) {
    if (this.decoded.has(number) || !this.frames.has(number)) return;
    const pair = Promise.all(this.frames.get(number).map((blob) => createImageBitmap(blob)));
    pair.catch(() => {});
    this.decoded.set(number, pair);
  }

  /** Source rectangle of the zoomed view: left, top, width, height. */
  window() {
    const [width, height] = [this.width / this.zoom, this.height / this.zoom];
    const left = Math.max(0, Math.min(this.centre[0] * this.width - width / 2, this.width - width));
    const top = Math.max(0, Math.min(this.centre[1] * this.height - height / 2, this.height - height));
    return [left, top, width, height];
  }

  draw() {
    const context = this.canvas.getContext("2d");
    if (!this.pair) {
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      return;
    }
    const { width, height } = this.canvas;
    context.imageSmoothingEnabled = this.zoom < 2;
    context.imageSmoothingQuality = "high";
    const from = this.window();
    const edge = Math.round(this.wipe * width);
    context.drawImage(this.pair[1], ...from, 0, 0, width, height);
    context.save();
    context.beginPath();
    context.rect(0, 0, edge, height);
    context.clip();
    context.drawImage(this.pair[0], ...from, 0, 0, width, height);
    context.restore();
    context.fillStyle = "#fff";
    context.fillRect(edge - 1, 0, 2, height);
    this.drawSlice();
  }

  drawSlice() {
    const row = Math.min(this.height - 1, Math.floor(this.row * this.height));
    this.strips.forEach((strip, side) => {
      const context = strip.getContext("2d");
      for (let number = this.shown - this.passed + 1; number <= this.shown; number += 1) {
        context.drawImage(this.pair[side], 0, row, this.width, 1, 0, number % SLICE_LINES, this.width, 1);
      }
      context.clearRect(0, (this.shown + 1) % SLICE_LINES, this.width, 1); // where time goes on
    });
    if (!this.sliced) return;
    const edge = Math.round(this.wipe * this.width);
    this.slice.width = this.width;
    this.slice.height = SLICE_LINES;
    const context = this.slice.getContext("2d");
    context.drawImage(this.strips[1], 0, 0);
    context.clearRect(0, 0, edge, SLICE_LINES);
    if (edge) context.drawImage(this.strips[0], 0, 0, edge, SLICE_LINES, 0, 0, edge, SLICE_LINES);
  }

  setRow(share) {
    this.row = share;
    for (const strip of this.strips) strip.getContext("2d").clearRect(0, 0, this.width, SLICE_LINES);
    this.draw();
  }
}

function canvasOf(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

function close(pair) {
  Promise.resolve(pair).then((bitmaps) => bitmaps.forEach((bitmap) => bitmap.close()), () => {});
}
