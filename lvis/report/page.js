"use strict";

// a menu shows one of its choices
for (const choice of document.querySelectorAll(".choice")) {
  const menu = choice.querySelector("select");
  if (!menu) continue;
  const show = () => {
    for (const part of choice.querySelectorAll("[data-choice]")) part.hidden = part.dataset.choice !== menu.value;
  };
  menu.addEventListener("change", show);
  // a browser that reloads keeps the menu's value
  show();
}

// videos of one clip with one clock: the first one's, which the others follow
class Board {
  constructor(element) {
    this.element = element;
    this.frames = Number(element.dataset.frames);
    this.rate = Number(element.dataset.rate);
    this.slider = this.find(".time");
    this.button = this.find(".play");
    this.frame = 0;
    this.playing = false;
    this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    this.find(".back").addEventListener("click", () => this.step(-1));
    this.find(".next").addEventListener("click", () => this.step(1));
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    this.find(".zoom").addEventListener("input", (event) => {
      element.style.setProperty("--zoom", event.target.value);
      element.classList.toggle("zoomed", Number(event.target.value) > 1);
    });
    this.find(".wipe").addEventListener("change", (event) => this.wipe(event.target.checked));
    this.find(".cut").addEventListener("input", (event) => element.style.setProperty("--cut", `${event.target.value}%`));
    for (const side of ["left", "right"]) this.find(`.${side}`).addEventListener("change", () => this.wipe(true));
    for (const pane of element.querySelectorAll(".window")) {
      pane.addEventListener("pointermove", (event) => this.look(pane, event));
      pane.addEventListener("pointerdown", (event) => this.look(pane, event));
    }
    const details = element.closest("details");
    details.addEventListener("toggle", () => (details.open ? this.load() : this.pause()));
    if (details.open) this.load();
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  get videos() {
    return [...this.element.querySelectorAll("video")];
  }

  get clock() {
    return this.find(".players video");
  }

  load() {
    for (const video of this.videos) {
      if (video.preload !== "auto") {
        video.preload = "auto";
        video.load();
      }
    }
  }

  play() {
    this.load();
    this.playing = true;
    this.button.textContent = "❚❚";
    this.button.setAttribute("aria-label", "pause");
    if (this.frame >= this.frames - 1) this.seek(0, true);
    this.start();
    requestAnimationFrame(() => this.tick());
  }

  start() {
    // a play that a pause cuts short is no error
    for (const video of this.videos) video.play().catch(() => {});
  }

  pause() {
    this.playing = false;
    this.button.textContent = "▶";
    this.button.setAttribute("aria-label", "play");
    for (const video of this.videos) video.pause();
  }

  tick() {
    if (!this.playing) return;
    const clock = this.clock;
    if (clock.ended) {
      for (const video of this.videos) video.currentTime = 0;
      this.start();
    }
    for (const video of this.videos) {
      const apart = Math.abs(video.currentTime - clock.currentTime);
      if (video !== clock && !video.seeking && apart > 1.5 / this.rate) video.currentTime = clock.currentTime;
    }
    this.show(Math.floor(clock.currentTime * this.rate));
    requestAnimationFrame(() => this.tick());
  }

  step(by) {
    this.seek(this.frame + by);
  }

  seek(frame, keepPlaying = false) {
    if (!keepPlaying) this.pause();
    this.load();
    const wanted = Math.min(Math.max(frame, 0), this.frames - 1);
    // the middle of a frame, where rounding cannot show its neighbour
    for (const video of this.videos) video.currentTime = (wanted + 0.5) / this.rate;
    this.show(wanted);
  }

  show(frame) {
    this.frame = Math.min(frame, this.frames - 1);
    this.slider.value = this.frame;
    this.find("output").textContent = `${this.frame + 1} / ${this.frames}`;
    this.element.style.setProperty("--when", `${(100 * (this.frame + 0.5)) / this.frames}%`);
  }

  look(pane, event) {
    const box = pane.getBoundingClientRect();
    this.element.style.setProperty("--x", `${(100 * (event.clientX - box.left)) / box.width}%`);
    this.element.style.setProperty("--y", `${(100 * (event.clientY - box.top)) / box.height}%`);
  }

  wipe(on) {
    const pane = this.find(".wiping .window");
    this.find(".wiping").hidden = !on;
    pane.replaceChildren();
    if (!on) return;
    for (const side of ["left", "right"]) {
      const video = document.createElement("video");
      Object.assign(video, { muted: true, playsInline: true, preload: "auto", src: this.find(`.${side}`).value });
      const layer = document.createElement("div");
      layer.append(video);
      pane.append(layer);
      video.currentTime = this.clock.currentTime;
    }
    if (this.playing) this.start();
  }
}

for (const element of document.querySelectorAll(".board")) element.board = new Board(element);
