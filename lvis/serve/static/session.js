// One WebSocket, and another one that goes on where it broke.

import { unpack } from "./wire.js";

const RETRIES = [0.3, 1, 2, 4, 8]; // seconds

export class Session {
  /**
   * @param first the message that begins it: {type: "start", ...} or {type: "resume", session, next}
   * @param on handlers: started, block (returns a promise that is kept when there is room for another),
   *   waiting, ready, done, failed (a sentence), lost (seconds until the next try)
   */
  constructor(first, on) {
    Object.assign(this, { first, on });
    this.token = first.session ?? null;
    this.next = first.next ?? 0;
    this.over = false;
    this.tries = 0;
    this.connect(first);
  }

  connect(message) {
    const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/session`;
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.socket.send(JSON.stringify(message));
    this.socket.onmessage = (event) => this.receive(event.data);
    this.socket.onclose = (event) => this.closed(event);
  }

  receive(data) {
    this.tries = 0;
    if (typeof data !== "string") {
      const { header, pictures } = unpack(data);
      if (header.block !== this.next) return; // had it before
      this.next += 1;
      const { socket, next } = this;
      Promise.resolve(this.on.block(header, pictures)).then(() => {
        if (socket.readyState === WebSocket.OPEN) socket.send(`ack ${next}`);
      });
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "started") this.token = message.session;
    if (message.type === "done") this.over = true;
    if (message.type === "error") {
      this.over = true;
      this.on.failed(message.sentence);
    } else {
      this.on[message.type]?.(message);
    }
  }

  closed(event) {
    if (this.over) return;
    const wait = RETRIES[this.tries];
    if (event.code === 1008) {
      this.fail(event.reason || "this server refused the page; open the address that it printed");
    } else if (!this.token) {
      const webcam = this.first.clip === null;
      this.fail(
        webcam
          ? "the connection was lost, and a webcam's stream cannot go on; start again"
          : "the server did not answer; check that it still runs and start again",
      );
    } else if (wait === undefined) {
      this.fail("the connection was lost and the server does not answer; start again");
    } else {
      this.tries += 1;
      this.on.lost(wait);
      setTimeout(() => {
        if (!this.over) this.connect({ type: "resume", session: this.token, next: this.next });
      }, wait * 1000);
    }
  }

  fail(sentence) {
    this.over = true;
    this.on.failed(sentence);
  }

  send(data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  get queued() {
    return this.socket.bufferedAmount;
  }

  close() {
    this.over = true;
    this.socket.close();
  }
}
