// Which frame is shown when: the input's rate, not that of the blocks' arrival.

const LONGEST_HOLD = 3; // seconds of frames that are waited for before playing on
const LONGEST_DELAY = 1.5; // seconds that a live picture may be behind

export class Clock {
  /** @param rate frames per second; @param total frames of the clip, null where unknown; @param live a webcam */
  constructor(rate, total = null, live = false) {
    Object.assign(this, { rate, total, live });
    this.position = 0;
    this.available = 0; // frames that have arrived
    this.complete = false;
    this.playing = true;
    this.holding = true; // waits for frames
    this.holds = 0; // times it had to wait after it had begun
    this.skipped = 0; // live frames that were too late to be shown
    this.arrivals = [];
    this.last = null;
  }

  /** Frames have arrived at `now`, in seconds. */
  arrived(count, now) {
    this.available += count;
    this.arrivals.push([now, this.available]);
  }

  /** The frame to show at `now`, in seconds; -1 before the first has come. */
  tick(now) {
    const passed = this.last === null ? 0 : Math.min(now - this.last, 0.25);
    this.last = now;
    const end = this.available - 1;
    if (end < 0) return -1;
    if (this.playing && this.holding && this.enough()) this.holding = false;
    if (this.playing && !this.holding) this.advance(passed, end);
    return Math.floor(this.position);
  }

  advance(passed, end) {
    this.position += passed * this.rate;
    if (this.live && end - this.position > LONGEST_DELAY * this.rate) {
      const target = end - (LONGEST_DELAY / 3) * this.rate;
      this.skipped += Math.floor(target - this.position);
      this.position = target;
    }
    if (this.position < end + 1) return;
    if (this.complete && !this.live) {
      this.position = 0; // once more
    } else {
      this.position = end;
      this.holding = !this.complete;
      this.holds += 1;
    }
  }

  /** Whether what has arrived will last to the end at the pace of the arrivals, or for LONGEST_HOLD. */
  enough() {
    if (this.complete) return true;
    const ahead = this.available - 1 - this.position;
    if (this.live) return ahead > 0;
    const [first, latest] = [this.arrivals[0], this.arrivals.at(-1)];
    const seconds = latest[0] - first[0];
    if (seconds <= 0) return ahead >= LONGEST_HOLD * this.rate;
    const pace = (latest[1] - first[1]) / seconds;
    const left = this.total === null ? Infinity : Math.max(0, this.total - this.available);
    const slower = Math.max(0, this.rate / pace - 1);
    const needed = left * slower + latest[1] - this.arrivals.at(-2)[1]; // and they come in blocks
    return ahead >= Math.min(needed, LONGEST_HOLD * this.rate);
  }

  seek(frame) {
    this.position = Math.max(0, Math.min(frame, this.available - 1));
  }
}
