// Plays frames that arrive over a WebSocket on a canvas, at the video's rate.
//
// Frames come a clip at a time, so they wait in a queue and are drawn when due. A queue of more than
// two clips means that the page was in the background (browsers then draw once a second): all but
// the newest clip is dropped, as a viewer who returns wants to see what is being made.
import { api } from "./api.js";
import { store } from "./store.js";

const RATE_WINDOW_MS = 3000;
const MAX_WAIT_MS = 5000;
const SILENT_MS = 10000; // a worker says something at each step, which takes seconds at most
const REFUSED = new Set([1008, 1013, 4404]); // there is no such job, or there are too many viewers

// The canvas gets an event "frameshown" for each frame, with what the server said of it.
export class FramePlayer {
  index = null; // of the frame on the canvas
  #canvas;
  #context;
  #glow;
  #queue = [];
  #decoding = Promise.resolve();
  #due = 0;
  #fps = 8;
  #clip = 16;
  #times = [];
  #shown = 0;
  #dropped = 0;
  #newest = -1;
  #closed = false;

  constructor(canvas, glow) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#glow = glow?.getContext("2d", { alpha: false });
    const step = (now) => {
      if (this.#closed) return;
      this.#step(now);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  close() {
    this.#closed = true;
    this.reset();
  }

  // fps of the video; clip: number of frames that arrive at once.
  pace(fps, clip) {
    this.#fps = fps;
    this.#clip = clip;
  }

  reset() {
    this.#queue.splice(0).forEach((frame) => frame.picture.close());
    this.index = null;
    this.#newest = -1;
    this.#times = [];
  }

  get waiting() {
    return this.#queue.length;
  }

  // Frames drawn per second over the last three seconds.
  rate(now = performance.now()) {
    const recent = this.#times.filter((time) => now - time < RATE_WINDOW_MS);
    return recent.length < 2 ? 0 : ((recent.length - 1) * 1000) / (recent.at(-1) - recent[0]);
  }

  // Decoding is chained: promises of createImageBitmap end in any order, and frames would swap.
  push(info, data) {
    if (info.index <= this.#newest) return; // seen before a new connection
    this.#newest = info.index;
    const picture = createImageBitmap(new Blob([data], { type: "image/jpeg" }));
    this.#decoding = this.#decoding
      .then(async () => {
        this.#queue.push({ info, picture: await picture });
        if (this.#queue.length > 2 * this.#clip + 2) this.#dropOld();
      })
      .catch(() => {}); // a frame that cannot be decoded is left out
  }

  #dropOld() {
    const old = this.#queue.splice(0, this.#queue.length - this.#clip);
    this.#dropped += old.length;
    old.forEach((frame) => frame.picture.close());
  }

  #step(now) {
    if (!this.#queue.length || now < this.#due) return;
    // A little faster while more than one and a half clips wait; after a pause, not in a burst.
    const period = (this.#queue.length > 1.5 * this.#clip ? 900 : 1000) / this.#fps;
    this.#due = now - this.#due > period ? now + period : this.#due + period;
    const { info, picture } = this.#queue.shift();
    this.#draw(picture);
    picture.close();
    this.index = info.index;
    this.#shown += 1;
    this.#times.push(now);
    if (this.#times.length > 400) this.#times.splice(0, 200);
    Object.assign(this.#canvas.dataset, { index: info.index, shown: this.#shown, dropped: this.#dropped });
    this.#canvas.dispatchEvent(new CustomEvent("frameshown", { detail: info }));
  }

  #draw(picture) {
    const canvas = this.#canvas;
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
      canvas.style.aspectRatio = `${picture.width} / ${picture.height}`;
    }
    this.#context.drawImage(picture, 0, 0);
    this.#glow?.drawImage(picture, 0, 0, this.#glow.canvas.width, this.#glow.canvas.height);
  }
}

// Keeps a connection to the frames of a job, and connects again after the last frame received.
// Events: "frame" {info, data}, "message" {event, ...}, "lost", "open", "end", "refused" with the reason.
export class FrameStream extends EventTarget {
  #socket = null;
  #last = null;
  #wait = 400;
  #heard = performance.now();
  #timer = 0;
  #closed = false;

  constructor(id) {
    super();
    this.id = id;
    this.#connect();
    store.addEventListener("back", this.#again);
  }

  close() {
    this.#closed = true;
    store.removeEventListener("back", this.#again);
    this.#leave();
  }

  // After an outage: the browser does not notice that a connection is dead if it only listens to it.
  #again = () => {
    if (performance.now() - this.#heard < SILENT_MS) return;
    this.#socket.onclose = this.#socket.onmessage = null;
    this.#leave();
    this.#connect();
  };

  #leave() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    // The browser complains of a connection that is closed before it is open.
    if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket?.close();
  }

  #connect() {
    const socket = new WebSocket(api.frames(this.id, this.#last));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#wait = 400;
      this.dispatchEvent(new Event("open"));
    };
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code, reason }) => {
      if (this.#closed) return;
      if (REFUSED.has(code)) {
        this.dispatchEvent(new CustomEvent("refused", { detail: reason }));
        return;
      }
      this.dispatchEvent(new Event("lost"));
      this.#timer = setTimeout(() => this.#connect(), this.#wait);
      this.#wait = Math.min(2 * this.#wait, MAX_WAIT_MS);
    };
    this.#socket = socket;
  }

  #received(data) {
    this.#heard = performance.now();
    if (typeof data === "string") {
      const detail = JSON.parse(data);
      if (detail.event === "end") this.close();
      this.dispatchEvent(new CustomEvent(detail.event === "end" ? "end" : "message", { detail }));
      return;
    }
    const length = new DataView(data).getUint32(0);
    const info = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    this.#last = info.index;
    this.dispatchEvent(
      new CustomEvent("frame", { detail: { info, data: new Uint8Array(data, 4 + length) } }),
    );
  }
}
