import assert from "node:assert/strict";
import test from "node:test";
import { Clock } from "../../lvis/serve/static/clock.js";
import { Session } from "../../lvis/serve/static/session.js";
import { packFrame, unpack } from "../../lvis/serve/static/wire.js";

/** Frames shown every `step` seconds up to `end`, with blocks of 12 that arrive `pace` frames per second. */
function played(clock, pace, total, end, step = 1 / 120) {
  const shown = [];
  let arrived = 0;
  for (let now = 0; now < end; now += step) {
    while (arrived < total && now >= (arrived + 12) / pace) {
      clock.arrived(12, now);
      arrived += 12;
      if (arrived >= total) clock.complete = true;
    }
    shown.push([now, clock.tick(now)]);
  }
  return shown;
}

test("a fast solver plays at the input's rate", () => {
  const clock = new Clock(24, 120);
  const shown = played(clock, 240, 120, 4);
  const begin = shown.find(([, frame]) => frame >= 1)[0];
  for (const [now, frame] of shown) {
    if (frame > 1) assert.ok(Math.abs(frame - (now - begin) * 24 - 1) < 1.5, `${frame} at ${now}`);
  }
  assert.equal(clock.holds, 0);
});

test("a solver just slower than the input is waited for once, not at every block", () => {
  const clock = new Clock(24, 120);
  played(clock, 20, 120, 10);
  assert.equal(clock.holds, 0);
});

test("a slow solver's frames are shown in stretches of three seconds, each once and in order", () => {
  const clock = new Clock(24, 480);
  const frames = played(clock, 6, 480, 79).map(([, frame]) => frame);
  assert.ok(clock.holds <= 7, `${clock.holds} holds`);
  for (let place = 1; place < frames.length; place += 1) {
    assert.ok(frames[place] - frames[place - 1] <= 1 && frames[place] >= frames[place - 1]);
  }
});

test("a complete clip begins again", () => {
  const clock = new Clock(24, 24);
  const frames = played(clock, 1000, 24, 3).map(([, frame]) => frame);
  assert.ok(frames.lastIndexOf(0) > frames.indexOf(23));
});

test("pause holds the frame, seeking moves it", () => {
  const clock = new Clock(24, 48);
  played(clock, 1000, 48, 1);
  clock.playing = false;
  const frame = clock.tick(1);
  assert.equal(clock.tick(5), frame);
  clock.seek(7);
  assert.equal(clock.tick(6), 7);
  clock.seek(1000);
  assert.equal(clock.tick(6), 47);
});

test("a live picture is never far behind, and what was passed over is counted", () => {
  const clock = new Clock(10, null, true);
  clock.arrived(9, 0);
  clock.tick(0);
  clock.arrived(60, 0.1);
  clock.tick(0.2);
  assert.ok(clock.available - clock.position <= 16);
  assert.ok(clock.skipped > 30);
});

test("a block is taken apart as the server put it together", () => {
  const header = { block: 3, bytes: [2, 1] };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const message = new Uint8Array(4 + text.length + 3);
  new DataView(message.buffer).setUint32(0, text.length, true);
  message.set(text, 4);
  message.set([7, 8, 9], 4 + text.length);
  const found = unpack(message.buffer);
  assert.equal(found.header.block, 3);
  assert.deepEqual(found.pictures.map((one) => [...one]), [[7, 8], [9]]);
});

test("a webcam's frame has its number and its time in front", () => {
  const message = packFrame(5, 12.5, new Uint8Array([1, 2]).buffer);
  const view = new DataView(message);
  assert.equal(view.getUint32(0, true), 5);
  assert.equal(view.getFloat64(4, true), 12.5);
  assert.deepEqual([...new Uint8Array(message, 12)], [1, 2]);
});

/** A socket whose other end is the test. */
class Wire {
  static OPEN = 1;
  static all = [];
  constructor() {
    Object.assign(this, { readyState: Wire.OPEN, sent: [], bufferedAmount: 0 });
    Wire.all.push(this);
    queueMicrotask(() => this.onopen());
  }
  send(text) {
    this.sent.push(text);
  }
  close() {}
  gets(message) {
    this.onmessage({ data: message instanceof ArrayBuffer ? message : JSON.stringify(message) });
  }
}

function blockMessage(block) {
  const text = new TextEncoder().encode(JSON.stringify({ block, bytes: [] }));
  const message = new Uint8Array(4 + text.length);
  new DataView(message.buffer).setUint32(0, text.length, true);
  message.set(text, 4);
  return message.buffer;
}

async function connected(first) {
  Object.assign(globalThis, { WebSocket: Wire, location: { protocol: "http:", host: "here" } });
  Wire.all = [];
  const heard = [];
  const on = { block: (header) => heard.push(header.block), failed: (why) => heard.push(why), started() {}, lost() {} };
  const session = new Session(first, on);
  await null;
  return { session, heard };
}

test("a broken connection goes on after the last block, and a block that comes twice counts once", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { heard } = await connected({ type: "start", clip: "x" });
  Wire.all[0].gets({ type: "started", session: "token" });
  for (const block of [0, 1]) Wire.all[0].gets(blockMessage(block));
  Wire.all[0].onclose({ code: 1006 });
  context.mock.timers.tick(300);
  await null;
  assert.deepEqual(JSON.parse(Wire.all[1].sent[0]), { type: "resume", session: "token", next: 2 });
  for (const block of [1, 2]) Wire.all[1].gets(blockMessage(block));
  await new Promise(setImmediate);
  assert.deepEqual(heard, [0, 1, 2]);
  assert.equal(Wire.all[1].sent.at(-1), "ack 3");
});

test("what cannot go on says why", async () => {
  const webcam = await connected({ type: "start", clip: null });
  Wire.all[0].onclose({ code: 1006 });
  assert.match(webcam.heard[0], /a webcam's stream cannot go on/);
  const refused = await connected({ type: "start", clip: "x" });
  Wire.all[0].onclose({ code: 1008, reason: "this page needs its token" });
  assert.deepEqual(refused.heard, ["this page needs its token"]);
});
