// The webcam's pictures, scaled, at a fixed rate.

import { packFrame } from "./wire.js";

const FIRST_PICTURE = 10000; // ms that a camera may take
const MOST_QUEUED = 2 ** 20; // bytes on their way to the server

export class Webcam {
  /** @param side shorter side of the pictures; @param rate frames per second */
  constructor(side, rate) {
    Object.assign(this, { side, rate });
    this.number = 0;
    this.skipped = 0; // pictures that the connection had no room for
  }

  /** Ask for the camera and wait for its first picture; throws a sentence. */
  async open() {
    if (!navigator.mediaDevices) {
      throw new Error("the browser gives a camera to pages of this machine or over https only");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
      });
    } catch (error) {
      const reasons = {
        NotAllowedError: "the browser refused the camera; allow it for this page and start again",
        NotFoundError: "there is no camera; connect one and start again",
        NotReadableError: "another program has the camera; close it and start again",
      };
      throw new Error(reasons[error.name] ?? `the camera cannot be used (${error.message})`);
    }
    this.video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
    this.video.srcObject = this.stream;
    await this.video.play();
    await this.firstPicture();
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, this.side / Math.min(videoWidth, videoHeight));
    const size = [videoWidth, videoHeight].map((one) => Math.max(16, Math.round((one * scale) / 8) * 8));
    this.canvas = Object.assign(document.createElement("canvas"), { width: size[0], height: size[1] });
  }

  /** Before it, drawing the video gives black. */
  firstPicture() {
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error("the camera gives no picture; uncover or reconnect it and start again")),
        FIRST_PICTURE,
      );
      this.video.requestVideoFrameCallback(() => {
        clearTimeout(late);
        resolve();
      });
    });
  }

  /** Send pictures to a session until `stop`; `ended` is called when the camera is taken away. */
  start(session, ended) {
    this.stream.getVideoTracks()[0].onended = ended;
    this.timer = setInterval(() => this.send(session), 1000 / this.rate);
  }

  send(session) {
    const number = this.number;
    this.number += 1;
    if (session.queued > MOST_QUEUED) {
      this.skipped += 1;
      return;
    }
    const taken = performance.now();
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    this.canvas.toBlob(
      async (blob) => session.send(packFrame(number, taken, await blob.arrayBuffer())),
      "image/jpeg",
      0.92,
    );
  }

  stop() {
    clearInterval(this.timer);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
  }
}
