// What to restore: clip, task, solver. The server says what there is.

import { Painter } from "./mask.js";

const WEBCAM = "webcam";
const WEBCAM_SIDE = 160; // shorter side, pixels: what a laptop keeps up with
const CLIP_SIDE = 192;

export const part = (name) => document.getElementById(name);

/** POST a file; the JSON of the answer, or an Error with the server's sentence. */
export async function upload(path, file, name) {
  const response = await fetch(`${path}?name=${encodeURIComponent(name)}`, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: file,
  }).catch(() => {
    throw new Error("the upload was cut off: the server refused or ended it; try a smaller file");
  });
  const type = response.headers.get("content-type") ?? "";
  const answer = type.includes("json") ? await response.json() : {};
  if (!response.ok) throw new Error(answer.sentence ?? `the server refused it (${response.status})`);
  return answer;
}

export class Controls {
  /** @param options of GET /options; @param say shows a status; @param fail shows an error */
  constructor(options, say, fail) {
    Object.assign(this, { options, say, fail });
    this.clip = options.samples[0];
    this.mask = null;
    this.painter = new Painter(part("painter"));
    this.fillClips();
    fill(part("task"), options.tasks, (task) => `${task.title} (${task.name})`);
    part("task").value = options.tasks.some((task) => task.name === "deblur") ? "deblur" : options.tasks[0].name;
    fill(part("side"), [{ name: "" }, ...options.sides.map((name) => ({ name }))], (one) => one.name || "as it is");
    part("side").value = CLIP_SIDE;
    part("prompt").maxLength = options.longest_prompt;
    this.fillSolvers();
    this.listen();
    this.taskChanged();
    this.pick(this.clip);
  }

  listen() {
    part("task").onchange = () => this.taskChanged();
    part("solver").onchange = () => this.solverChanged();
    part("degrade").onchange = () => this.shape();
    part("side").onchange = () => this.shape();
    part("file").onchange = (event) => this.take(event.target.files[0]);
    part("mask-paint").onclick = () => this.paint();
    part("mask-none").onclick = () => this.setMask(null);
    part("mask-file").onchange = (event) => this.takeMask(event.target.files[0], event.target.files[0]?.name);
    document.ondragover = (event) => {
      event.preventDefault();
      part("drop").classList.add("over");
    };
    document.ondragleave = () => part("drop").classList.remove("over");
    document.ondrop = (event) => {
      event.preventDefault();
      part("drop").classList.remove("over");
      this.take(event.dataTransfer.files[0]);
    };
  }

  fillClips() {
    const choices = [...this.options.samples, { id: WEBCAM, name: "Webcam" }];
    part("choices").replaceChildren(
      ...choices.map((clip) => {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", onclick: () => this.pick(clip) });
        button.textContent = clip.id === WEBCAM ? "Webcam" : `Sample: ${clip.name.replace(/\.\w+$/, "")}`;
        button.dataset.clip = clip.id;
        return button;
      }),
    );
  }

  fillSolvers() {
    fill(part("solver"), this.options.solvers, (solver) => solver.name);
  }

  get live() {
    return this.clip?.id === WEBCAM;
  }

  get task() {
    return this.options.tasks.find((task) => task.name === part("task").value);
  }

  pick(clip) {
    this.clip = clip;
    for (const button of part("choices").children) button.ariaPressed = String(button.dataset.clip === clip.id);
    part("clip-facts").textContent = this.live
      ? "Ten pictures per second, scaled in this browser. Nothing of it is kept."
      : `${clip.name}: ${clip.width} × ${clip.height}, ${Number(clip.rate.toFixed(2))} frames/s` +
        (clip.frames ? `, ${clip.frames} frames` : "");
    part("prompt").value = clip.prompt ?? "";
    if (this.live) part("side").value = WEBCAM_SIDE;
    this.shape();
  }

  /** The size of the pictures may have changed: a mask for another one is of no use. */
  shape() {
    part("side-label").hidden = !this.live && !part("degrade").checked;
    part("mask-paint").hidden = this.live;
    this.setMask(null);
  }

  taskChanged() {
    const inputs = this.task.parameters.map((parameter) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "number", min: parameter.low, max: parameter.high, value: parameter.default });
      input.step = parameter.whole ? 1 : 0.01;
      input.dataset.key = parameter.key;
      input.required = true;
      label.append(capital(parameter.label), " ", input);
      return label;
    });
    part("parameters").replaceChildren(...inputs);
    part("mask-row").hidden = !this.task.masked;
    const names = this.options.solvers.map((solver) => solver.name);
    for (const option of part("solver").options) option.disabled = option.value === "student" && !this.task.student;
    if (part("solver").selectedOptions[0]?.disabled) {
      part("solver").value = names.find((name) => name.startsWith("avis")) ?? names.find((name) => name !== "student");
    }
    if (this.task.name === "unknown") part("degrade").checked = false; // nothing is known that could measure it
    this.shape();
    this.solverChanged();
  }

  solverChanged() {
    const { strength } = this.options.solvers.find((solver) => solver.name === part("solver").value);
    part("strength-label").hidden = !strength;
    if (!strength) return;
    part("strength-label").querySelector("span").textContent = capital(strength.label);
    Object.assign(part("strength"), { min: strength.low, max: strength.high, value: strength.default });
  }

  async take(file) {
    if (!file) return;
    part("file").value = "";
    if (file.size > this.options.limits.max_upload) {
      this.fail(`${file.name} is larger than ${Math.round(this.options.limits.max_upload / 1e6)} MB; cut it`);
      return;
    }
    await this.busy(`Uploading ${file.name}`, async () => {
      this.pick({ ...(await upload("/clips", file, file.name)), prompt: "" });
      this.say(`${this.clip.name} is ready: press Restore.`);
    });
  }

  async paint() {
    await this.busy("", async () => {
      const side = part("degrade").checked ? part("side").value : "";
      const blob = await this.painter.paint(`/clips/${this.clip.id}/first?side=${side || 0}`);
      if (blob) await this.takeMask(blob, "mask.png");
    });
  }

  async takeMask(file, name) {
    if (!file) return;
    part("mask-file").value = "";
    await this.busy("Uploading the mask", async () => {
      this.setMask(await upload("/masks", file, name));
      this.say("The mask is ready: press Restore.");
    });
  }

  setMask(mask) {
    this.mask = mask;
    const given = part("degrade").checked ? "Mask: random" : "Mask: needed";
    part("mask-state").textContent = mask ? `Mask: ${mask.name}` : given;
    part("mask-none").hidden = !mask;
  }

  /** Do it with the start button off, and its error on the page. */
  async busy(what, work) {
    part("start").disabled = true;
    if (what) this.say(what);
    this.fail(null);
    try {
      await work();
    } catch (error) {
      this.fail(error.message);
    } finally {
      part("start").disabled = false;
    }
  }

  /** The message that begins a session. */
  request() {
    const parameters = {};
    for (const input of part("parameters").querySelectorAll("input")) {
      parameters[input.dataset.key] = input.valueAsNumber;
    }
    const strength = part("strength-label").hidden ? null : part("strength").valueAsNumber;
    return {
      type: "start",
      clip: this.live ? null : this.clip.id,
      task: part("task").value,
      parameters,
      solver: part("solver").value,
      strength,
      prompt: part("prompt").value,
      degrade: part("degrade").checked,
      side: this.live ? null : Number(part("side").value) || null,
      mask: this.task.masked ? (this.mask?.id ?? null) : null,
    };
  }
}

function fill(select, items, text) {
  select.replaceChildren(...items.map((item) => new Option(text(item), item.name)));
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
