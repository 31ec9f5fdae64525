// Two videos on canvases that one frame index feeds: below a slider, side by side, as a difference.
import { el, fill, icon } from "./dom.js";
import { segments } from "./forms.js";

const MODES = [
  { value: "slider", text: "Slider" },
  { value: "side", text: "Side by side" },
  { value: "difference", text: "Difference" },
];

export class Board {
  #frames = null;
  #fps = 8;
  #index = 0;
  #playing = false;
  #due = 0;

  constructor() {
    const canvas = (name, kind = "") => el(`canvas.frames${kind}`, { role: "img", "aria-label": name });
    this.canvases = [
      canvas("Video A"),
      canvas("Video B"),
      canvas("Difference of A and B, four times as bright", ".difference"),
    ];
    this.cut = el("input.cut", {
      type: "range",
      min: 0,
      max: 100,
      value: 50,
      "aria-label": "Where A ends and B begins",
      oninput: () => this.#cut(),
    });
    this.seek = el("input", {
      type: "range",
      min: 0,
      value: 0,
      "aria-label": "Frame",
      oninput: () => this.#pauseAt(Number(this.seek.value)),
    });
    this.button = el("button.icon", { type: "button", onclick: () => this.#toggle() });
    this.at = el("output");
    this.screen = el(
      "div.screen.compare.slider",
      {},
      ...this.canvases,
      el("span.knife", { "aria-hidden": "true" }),
    );
    const modes = segments("View", MODES, "slider", (mode) => this.#view(mode));
    this.node = el(
      "div.card",
      { hidden: true },
      modes,
      this.screen,
      this.cut,
      el("div.row", {}, this.button, this.seek, this.at),
    );
    this.#cut();
    requestAnimationFrame((now) => this.#step(now));
  }

  // Takes the frames of both videos, which it closes when the next ones come.
  open(frames, fps) {
    this.close();
    [this.#frames, this.#fps, this.#playing] = [
      frames,
      fps,
      !matchMedia("(prefers-reduced-motion: reduce)").matches,
    ];
    const firsts = frames.map((each) => each[0]);
    const width = Math.max(...firsts.map((frame) => frame.width));
    const height = Math.max(...firsts.map((frame) => frame.height));
    for (const canvas of this.canvases) {
      Object.assign(canvas, { width, height });
      canvas.getContext("2d").imageSmoothingEnabled = false; // smaller frames get larger pixels
    }
    this.screen.style.setProperty("--ratio", `${width} / ${height}`);
    this.seek.max = Math.min(frames[0].length, frames[1].length) - 1;
    this.node.hidden = false;
    this.#show(0);
  }

  close() {
    this.#frames?.flat().forEach((frame) => frame.close());
    this.#frames = null;
    this.node.hidden = true;
  }

  #view(mode) {
    this.screen.className = `screen compare ${mode}`;
    this.cut.hidden = mode !== "slider";
  }

  #cut() {
    this.screen.style.setProperty("--cut", `${this.cut.value}%`);
  }

  #toggle() {
    this.#playing = !this.#playing;
    this.#show(this.#index);
  }

  #pauseAt(index) {
    this.#playing = false;
    this.#show(index);
  }

  #show(index) {
    if (!this.#frames) return;
    this.#index = index;
    const [a, b] = this.#frames.map((frames) => frames[index]);
    this.#draw(0, a);
    this.#draw(1, b);
    this.#draw(2, a);
    this.#draw(2, b, "difference");
    this.screen.dataset.index = index;
    this.seek.value = index;
    this.at.textContent = `${index + 1} / ${Number(this.seek.max) + 1}`;
    fill(this.button, this.#playing, () => icon(this.#playing ? "pause" : "play"));
    this.button.setAttribute("aria-label", this.#playing ? "Pause" : "Play");
  }

  #draw(canvas, frame, mode = "source-over") {
    const context = this.canvases[canvas].getContext("2d");
    context.globalCompositeOperation = mode;
    context.drawImage(frame, 0, 0, this.canvases[canvas].width, this.canvases[canvas].height);
  }

  #step(now) {
    requestAnimationFrame((next) => this.#step(next));
    if (!this.#playing || !this.#frames || now < this.#due || this.node.closest("[hidden]")) return;
    const period = 1000 / this.#fps;
    this.#due = now - this.#due > period ? now + period : this.#due + period;
    this.#show((this.#index + 1) % (Number(this.seek.max) + 1));
  }
}
