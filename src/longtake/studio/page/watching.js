// Small players of videos that are being made in the queue, one a job, kept while cards are drawn again.
import { el } from "./dom.js";
import { FramePlayer, FrameStream } from "./player.js";
import { store } from "./store.js";

const watched = new Map(); // id of a job -> {node, player, stream}

// The canvas of a running job; empty until its first frames come.
export function watch(job) {
  if (!watched.has(job.id)) watched.set(job.id, begin(job));
  return watched.get(job.id).node;
}

// Ends the players of jobs that do not run any more.
export function unwatch(running) {
  for (const [id, { player, stream }] of watched) {
    if (running.has(id)) continue;
    stream.close();
    player.close();
    watched.delete(id);
  }
}

function begin(job) {
  const canvas = el("canvas.frames", { width: 1, height: 1, role: "img", "aria-label": "The video so far" });
  const node = el("div.screen", { hidden: true }, canvas);
  const player = new FramePlayer(canvas);
  const model = store.model(job.settings.model);
  if (model) player.pace(model.fps, Math.max(model.clip_frames, model.grain ?? 0));
  canvas.addEventListener("frameshown", () => (node.hidden = false), { once: true });
  const stream = new FrameStream(job.id);
  stream.addEventListener("frame", ({ detail }) => player.push(detail.info, detail.data));
  return { node, player, stream };
}
