// The page: a session's blocks onto the stage, at the input's rate.

import { Clock } from "./clock.js";
import { Controls, part } from "./controls.js";
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { Webcam } from "./webcam.js";

const KEPT = "lvis-session"; // in sessionStorage: what to go on with after a reload, or that it was a webcam
const WEBCAM_RATE = 10;
const ROOM = 256 * 2 ** 20; // bytes ahead of the shown frame; beyond, the server is not asked for more

const stage = new Stage(part("picture"), part("slice"));
stage.onshown = shown;
const labels = {
  click: "click to first picture",
  first: "first block restored after",
  rate: "restored, end to end",
  stages: "ms per frame",
  queue: "queue",
  dropped: "dropped frames",
  latency: "camera to picture",
  psnr: "PSNR, measured → restored",
};
let session = null;
let clock = null;
let webcam = null;
let run = null; // {began, received, facts, times}

const say = (sentence) => (part("status").textContent = sentence);

function fail(sentence) {
  part("error").hidden = !sentence;
  part("error").textContent = sentence?.replace(/^[a-z]+(?= )/, (word) => word[0].toUpperCase() + word.slice(1)) ?? "";
  if (sentence) say("");
}

function number(name, text) {
  let box = part(`number-${name}`);
  if (!box) {
    const [row, term] = [document.createElement("div"), document.createElement("dt")];
    box = Object.assign(document.createElement("dd"), { id: `number-${name}` });
    term.textContent = labels[name];
    row.append(term, box);
    part("numbers").append(row);
  }
  box.textContent = text;
}

function begin(message, live) {
  end();
  fail(null);
  part("numbers").replaceChildren();
  part("result").hidden = true;
  part("stop").hidden = false;
  clock = null;
  run = { began: performance.now(), received: 0, live, times: new Map(), waitingForRoom: [] };
  session = new Session(message, {
    started,
    block,
    waiting: ({ position, line }) => say(`Waiting in line: place ${position} of ${line}.`),
    ready: () => {
      say("The camera is on.");
      webcam.start(session, () => stopped("the camera was taken away; connect it and start again"));
    },
    done,
    failed: stopped,
    lost: (seconds) => say(`The connection was lost; trying again in ${seconds} s.`),
  });
  const { top, bottom } = part("picture").getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) part("view").scrollIntoView(); // below the form on a phone
  if (session.token) say("Going on after the reload.");
  else say("Starting.");
}

/** End what runs; the page keeps what it shows. */
function end() {
  session?.close();
  session = null;
  webcam?.stop();
  webcam = null;
  part("stop").hidden = true;
}

function stopped(sentence) {
  sessionStorage.removeItem(KEPT);
  end();
  if (clock) clock.complete = true;
  fail(sentence);
}

function started(message) {
  const again = clock !== null; // the connection broke and goes on
  if (!again) {
    clock = new Clock(message.rate, message.frames, run.live);
    stage.reset(message.width, message.height);
    part("position").max = 0;
    setPlaying(true);
  }
  sessionStorage.setItem(KEPT, JSON.stringify({ session: message.session, live: run.live }));
  say(message.whole ? `${message.solver} needs the whole clip: its answer comes at the end.` : "Restoring.");
}

function block(header, pictures) {
  const now = performance.now();
  run.received = stage.add(run.received, pictures);
  clock.arrived(pictures.length / 2, now / 1000);
  run.facts = header.facts;
  if (run.live) {
    header.times.forEach((time, place) => run.times.set(run.received - header.times.length + place, time));
  }
  part("position").max = run.received - 1;
  numbers();
  return new Promise((resolve) => {
    const share = (run.received - Math.max(0, stage.shown)) / Math.max(1, stage.frames.size);
    if (run.live || stage.bytes * share < ROOM) resolve();
    else run.waitingForRoom.push(resolve);
  });
}

function numbers() {
  const { facts } = run;
  if (facts.first !== null) number("first", `${facts.first.toFixed(2)} s`);
  number("rate", `${facts.rate.toFixed(1)} frames/s`);
  const stages = Object.entries(facts.stages).map(([name, spent]) => `${name} ${spent.toFixed(1)}`);
  if (stages.length) number("stages", stages.join(", "));
  const ahead = clock.available - 1 - Math.floor(clock.position);
  number("queue", `${ahead} frames to show` + (run.live ? `, ${facts.waiting ?? 0} to restore` : ""));
  if (run.live) {
    const lost = (facts.dropped ?? 0) + (webcam?.skipped ?? 0);
    number("dropped", `${lost} unrestored, ${clock.skipped} unshown`);
  } else {
    number("dropped", "0");
  }
  if (facts.psnr?.restored !== undefined) {
    number("psnr", `${facts.psnr.measured.toFixed(1)} → ${facts.psnr.restored.toFixed(1)} dB`);
  }
}

function done(message) {
  clock.complete = true;
  run.facts = { ...run.facts, ...message.facts };
  numbers();
  say(`Done: ${message.facts.frames} frames.` + (run.live ? "" : " It plays in a loop."));
  const live = run.live;
  end();
  if (live) {
    sessionStorage.removeItem(KEPT);
    return;
  }
  part("result").hidden = false;
  part("download").href = message.result;
  part("download-clip").href = message.clip;
  part("download-mask").hidden = !message.mask;
  if (message.mask) part("download-mask").href = message.mask;
  part("command").textContent = message.command;
}

function setPlaying(playing) {
  if (clock) clock.playing = playing;
  part("play").textContent = playing ? "Pause" : "Play";
  part("play").setAttribute("aria-pressed", String(!playing));
}

function frame(now) {
  requestAnimationFrame(frame);
  if (!clock) return;
  const wanted = clock.tick(now / 1000);
  if (wanted < 0) return;
  stage.show(wanted).catch(() => stopped("a picture of the server could not be decoded; start again"));
}

function shown(frameNumber) {
  if (run.click === undefined) {
    run.click = (performance.now() - run.began) / 1000;
    number("click", `${run.click.toFixed(2)} s`);
  }
  if (document.activeElement !== part("position")) part("position").value = frameNumber;
  part("frame").value = frameNumber;
  if (run.times.has(frameNumber)) {
    number("latency", `${Math.round(performance.now() - run.times.get(frameNumber))} ms`);
    for (const old of run.times.keys()) if (old < frameNumber) run.times.delete(old);
  }
  if (run.live) while (stage.first < frameNumber - 60) stage.forget(stage.first);
  for (const resolve of run.waitingForRoom.splice(0)) resolve();
}

function listen(controls) {
  part("form").onsubmit = async (event) => {
    event.preventDefault();
    const request = controls.request();
    sessionStorage.removeItem(KEPT);
    if (request.clip !== null) {
      begin(request, false);
      return;
    }
    end();
    say("Waiting for the camera.");
    const camera = new Webcam(Number(part("side").value) || 160, WEBCAM_RATE);
    await controls.busy("", () => camera.open().catch((error) => {
      camera.stop();
      throw error;
    }));
    if (!camera.canvas) return;
    begin({ ...request, rate: WEBCAM_RATE }, true);
    webcam = camera;
  };
  part("stop").onclick = () => {
    sessionStorage.removeItem(KEPT);
    if (clock) clock.complete = true;
    end();
    say("Stopped.");
  };
  part("wipe").oninput = (event) => {
    stage.wipe = event.target.valueAsNumber / 100;
    stage.draw();
  };
  part("position").oninput = (event) => {
    setPlaying(false);
    clock?.seek(event.target.valueAsNumber);
  };
  part("play").onclick = () => setPlaying(!(clock?.playing ?? true));
  part("zoom-in").onclick = () => zoom(2);
  part("zoom-out").onclick = () => zoom(0.5);
  part("row").oninput = (event) => stage.setRow(event.target.valueAsNumber / 100);
  part("slice-toggle").onclick = () => {
    stage.sliced = !stage.sliced;
    part("slice-box").hidden = !stage.sliced;
    part("slice-toggle").setAttribute("aria-pressed", String(stage.sliced));
    stage.draw();
  };
  drag(part("picture"));
  addEventListener("resize", () => stage.resize());
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, button, dialog, a")) return;
    if (event.key === " ") part("play").click();
    else if (event.key === "+") zoom(2);
    else if (event.key === "-") zoom(0.5);
    else return;
    event.preventDefault();
  });
}

function zoom(factor) {
  stage.zoom = Math.max(1, Math.min(16, stage.zoom * factor));
  part("zoom").textContent = `${stage.zoom}×`;
  stage.draw();
}

/** Dragging moves the wipe, or the picture where it is zoomed. */
function drag(canvas) {
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (stage.zoom === 1) wipeTo(event);
  };
  canvas.onpointermove = (event) => {
    if (!event.buttons) return;
    if (stage.zoom === 1) {
      wipeTo(event);
      return;
    }
    const box = canvas.getBoundingClientRect();
    stage.centre[0] = clamp(stage.centre[0] - event.movementX / box.width / stage.zoom);
    stage.centre[1] = clamp(stage.centre[1] - event.movementY / box.height / stage.zoom);
    stage.draw();
  };
}

function wipeTo(event) {
  const box = part("picture").getBoundingClientRect();
  stage.wipe = clamp((event.clientX - box.left) / box.width);
  part("wipe").value = 100 * stage.wipe;
  stage.draw();
}

const clamp = (share) => Math.max(0, Math.min(1, share));

async function main() {
  const response = await fetch("/options").catch(() => null);
  if (!response?.ok) {
    fail("the server does not answer; check that it still runs and reload");
    return;
  }
  listen(new Controls(await response.json(), say, fail));
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  if (kept?.live) {
    sessionStorage.removeItem(KEPT);
    fail("a webcam's stream ends with a reload; press Restore to start it again");
  } else if (kept) {
    begin({ type: "resume", session: kept.session, next: 0 }, false);
  }
  requestAnimationFrame(frame);
}

main();
