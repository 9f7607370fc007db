// Painting what is missing on a clip's first frame.

const STEP = 4; // pixels that an arrow key moves the brush

export class Painter {
  constructor(dialog) {
    this.dialog = dialog;
    const part = (name) => dialog.querySelector(`#${name}`);
    this.canvas = part("paint");
    this.brush = part("brush");
    this.canvas.onpointerdown = (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.last = null;
      this.move(event);
    };
    this.canvas.onpointermove = (event) => event.buttons && this.move(event);
    this.canvas.onkeydown = (event) => this.key(event);
    part("paint-clear").onclick = () => this.clear();
    part("paint-cancel").onclick = () => this.answer(null);
    part("paint-use").onclick = () => this.mask.toBlob((blob) => this.answer(blob), "image/png");
    dialog.oncancel = () => this.answer(null);
  }

  /** A PNG, white where observed and black where painted; null where cancelled. */
  async paint(address) {
    const response = await fetch(address);
    if (!response.ok) throw new Error((await response.json()).sentence);
    this.picture = await createImageBitmap(await response.blob());
    const { width, height } = this.picture;
    Object.assign(this.canvas, { width, height });
    this.mask = Object.assign(document.createElement("canvas"), { width, height });
    this.cursor = [width / 2, height / 2];
    this.clear();
    this.dialog.showModal();
    this.canvas.focus();
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }

  answer(blob) {
    if (this.dialog.open) this.dialog.close();
    this.resolve?.(blob);
  }

  clear() {
    const context = this.mask.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, this.mask.width, this.mask.height);
    this.last = null;
    this.draw();
  }

  move(event) {
    const box = this.canvas.getBoundingClientRect();
    // object-fit: contain leaves bars beside the picture
    const scale = Math.min(box.width / this.mask.width, box.height / this.mask.height);
    const left = (box.width - scale * this.mask.width) / 2;
    const top = (box.height - scale * this.mask.height) / 2;
    this.cursor = [(event.clientX - box.left - left) / scale, (event.clientY - box.top - top) / scale];
    this.dab(this.last ?? this.cursor);
    this.last = this.cursor;
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    if (!way && event.key !== " ") return;
    event.preventDefault();
    if (way) this.cursor = this.cursor.map((place, axis) => place + STEP * way[axis]);
    if (event.key === " " || event.shiftKey) this.dab(this.cursor);
    this.draw();
  }

  dab(from) {
    const context = this.mask.getContext("2d");
    Object.assign(context, { strokeStyle: "#000", lineWidth: Number(this.brush.value), lineCap: "round" });
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(this.cursor[0] + 0.01, this.cursor[1]);
    context.stroke();
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    context.globalCompositeOperation = "source-over";
    context.drawImage(this.picture, 0, 0);
    context.globalCompositeOperation = "multiply";
    context.drawImage(this.mask, 0, 0);
    context.globalCompositeOperation = "source-over";
    context.strokeStyle = "#f80";
    context.beginPath();
    context.arc(...this.cursor, Number(this.brush.value) / 2, 0, 2 * Math.PI);
    context.stroke();
  }
}
