// What the stage of Live says: in place of a picture, in numbers, as a curve.
import { api } from "./api.js";
import { lineChart } from "./charts.js";
import { el, icon, number } from "./dom.js";
import { active, statusText, store, video } from "./store.js";

// Title and text in place of the picture; null while there is one. A state is {job, model, player,
// lost, busy, failed}.
export function coverText({ job, model, player, lost, busy, failed }) {
  if (failed) return ["That did not work", failed];
  if (lost && job && active(job)) return ["Connecting again …", "The video continues where it was."];
  if (!store.models) {
    if (store.error) return ["No connection", store.error.message];
    return ["One moment …", "The studio loads its models and measures how fast they are on this machine."];
  }
  if (!model)
    return ["There is no model yet", "Train one in the tab Train, or start the studio with a model folder."];
  if (busy && !job) return ["Starting …", ""];
  if (!job) return [model.title || model.name, "An endless video, made while it plays. Steer it as it goes."];
  if (job.status === "failed")
    return ["It failed", job.error || "The file worker.log in the studio's folder says more."];
  if (player.index !== null) return null;
  if (job.status === "queued")
    return [
      statusText(job),
      "It starts when the job before it has ended. You can stop that one in the Gallery.",
    ];
  if (job.status === "running") {
    const compiled =
      job.settings.backend === "openvino" && "OpenVINO compiles the networks first: minutes, but once.";
    return ["Making the first clip …", compiled || "The first one takes longest: the model is loaded."];
  }
  return ["Stopped", video(job) ? "The file is below." : "Stopped before the first clip was whole."];
}

// Names and values of the readings below the stage.
export function readings(state) {
  const { job, player } = state;
  const frame = player.index;
  const running = job && active(job);
  const rate = running ? player.rate() : 0;
  const made = Math.max(job?.frames_done ?? 0, (frame ?? -1) + 1);
  const ahead = Math.max(made - (frame ?? 0) - 1, player.waiting);
  return [
    ["Frame", frame === null ? "–" : number(frame)],
    ["Shown", rate ? `${rate.toFixed(1)} a second` : "–"],
    ["Ahead", frame === null || !running ? "–" : `${ahead} frames`],
    ["State", stateWord(state)],
  ];
}

function stateWord({ job, player, lost }) {
  if (!job) return "ready";
  if (!active(job)) return statusText(job).toLowerCase();
  if (lost) return "connecting";
  if (job.status === "queued") return "waiting";
  if (player.index === null) return "starting";
  if (player.waiting) return "playing";
  return "making a clip";
}

// The curve of drift, a point a clip, with a line for each change.
export function driftChart(drift, changes) {
  if (drift.length < 2) return null;
  const marks = changes
    .filter((each) => each.from_frame >= drift[0][0])
    .map((each) => ({ x: each.from_frame, text: `change from frame ${each.from_frame}` }));
  return [
    lineChart({
      title: "Drift from the first clip",
      lines: [{ name: "drift", points: drift }],
      unit: "frame",
      marks,
      zero: true,
    }),
    el(
      "p.hint",
      {},
      "Change of colour, contrast, sharpness and motion, a point a clip. It stays low in a stable video; a dashed line is where you steered.",
    ),
  ];
}

// The file of a video that has ended, and why it has ended if nobody stopped it.
export function keptFile(job) {
  const file = video(job);
  const why = job.status === "stopped" && job.error && el("div.problem", {}, el("p", {}, job.error));
  if (!file) return why;
  const link = el(
    "a.button",
    { href: api.file(job, file.name), download: file.name },
    icon("download"),
    "Download the video",
  );
  const hint = el("span.hint", {}, `${number(job.frames_done)} frames, kept in the Gallery, too.`);
  return [why, el("div.row.wrap", {}, link, hint)];
}
