// Live: a video plays while it is made, and is steered while it plays.
import { api } from "./api.js";
import { lineChart } from "./charts.js";
import { about, el, fill, icon, number, toast } from "./dom.js";
import { facts, field, labelControls, modelSelect, seedField, slider } from "./forms.js";
import { FramePlayer, FrameStream } from "./player.js";
import { active, statusText, store, video } from "./store.js";

const CHANGE_DELAY_MS = 250;
const MOST_DRIFT = 2000;

const parts = {};
let player;
let stream = null;
let job = null; // the job on the stage
let model = null;
let lost = false;
let drift = [];
let changeTimer = 0;
let sent = 0;
let guided = false; // the slider was moved: else the model's own guidance holds
let busy = false; // a start, stop or continue is on its way

function mount(panel) {
  const labels = labelControls(changed);
  const guidance = slider("Guidance", { min: 1, max: 8, step: 0.5, value: 1 }, () => {
    guided = true;
    changed();
  });
  const prompt = el("input", {
    type: "text",
    placeholder: "What to show",
    autocomplete: "off",
    onchange: changed,
  });
  const select = modelSelect(choose, "live");
  const seed = seedField(started);
  Object.assign(parts, { labels, guidance, prompt, select, seed: seed.input });
  parts.facts = el("p.hint");
  parts.prompt = prompt;
  parts.promptField = field("Prompt", prompt, "Press Enter to send it.");
  parts.again = el("div.again");
  const controls = el(
    "form.card.controls",
    { "aria-label": "Controls of the live video", onsubmit: (event) => event.preventDefault() },
    el("div.stack.close", {}, field("Model", select), parts.facts),
    seed.node,
    parts.again,
    el("hr"),
    el("h2.small", {}, "Steer it"),
    parts.promptField,
    labels.node,
    guidance.node,
    (parts.effect = el("p.effect", { role: "status" })),
  );
  parts.drift = el("div.drift");
  panel.append(
    el("h2.sr", {}, "Live"),
    el("div.live-grid", {}, stage(), el("div.side-column", {}, controls, parts.drift)),
  );
  player = new FramePlayer(parts.canvas, parts.glow);
  player.addEventListener("frame", ({ detail }) => shown(detail));
  setInterval(readings, 500);
  store.onChange(update);
}

function stage() {
  parts.canvas = el("canvas.frames", { width: 64, height: 64, role: "img", "aria-label": "The live video" });
  parts.glow = el("canvas.glow", { width: 6, height: 6, "aria-hidden": "true" });
  parts.cover = el("div.cover");
  parts.step = el("div.step", { "aria-hidden": "true" }, el("span"));
  parts.bar = el("div.transport");
  parts.meters = el("dl.meters");
  parts.file = el("div.kept");
  const smooth = el("input", {
    type: "checkbox",
    onchange: () => parts.canvas.classList.toggle("smooth", smooth.checked),
  });
  parts.smooth = el("label.check", {}, smooth, "Smooth pixels");
  return el(
    "div.stage-column",
    {},
    el("div.stage", {}, parts.glow, el("div.screen", {}, parts.canvas, parts.cover, parts.step)),
    el("div.row.spread.wrap", {}, parts.bar, parts.smooth),
    parts.meters,
    parts.file,
  );
}

function choose() {
  const next = store.model(parts.select.value);
  if (!next) return;
  model = next;
  parts.facts.textContent = facts(next);
  parts.labels.show(next);
  parts.promptField.hidden = !next.prompt;
  parts.guidance.node.hidden = !canGuide(next);
  guided = false;
  parts.guidance.set(next.guidance_scale ?? 1);
  if (!job || !active(job)) {
    const [height, width] = next.size;
    parts.canvas.style.aspectRatio = `${width} / ${height}`;
  }
  update();
}

const canGuide = (each) => each.prompt || each.classes?.length || Object.keys(each.labels ?? {}).length;

function settings() {
  return { model: parts.select.value, frames: null, seed: Number(parts.seed.value) || 0, ...steering() };
}

function steering() {
  const found = { label: parts.labels.value() };
  if (model?.prompt) found.prompt = parts.prompt.value.trim() || null;
  if (guided) found.guidance_scale = Number(parts.guidance.input.value);
  return found;
}

const differs = () =>
  job && (job.settings.model !== parts.select.value || job.settings.seed !== settings().seed);

function started() {
  if (job && active(job)) update();
}

// A control was moved: while a video runs, the change is sent and its first frame is named.
function changed() {
  if (!job || !active(job) || job.settings.model !== parts.select.value) return;
  clearTimeout(changeTimer);
  changeTimer = setTimeout(() => {
    const values = Object.fromEntries(Object.entries(steering()).filter(([, value]) => value !== null));
    if (Object.keys(values).length) send(job.id, values);
  }, CHANGE_DELAY_MS);
}

// The server answers when the next clip begins, with the first frame that shows the change.
async function send(id, values) {
  const mine = (sent += 1);
  parts.effect.className = "effect";
  parts.effect.textContent = "Sent; it takes effect with the next clip …";
  try {
    const { from_frame: from } = await api.change(id, values);
    if (mine !== sent) return;
    parts.effect.dataset.from = from;
    parts.effect.className = "effect pending";
    parts.effect.textContent = `From frame ${number(from)} on.`;
    store.refresh();
  } catch (error) {
    parts.effect.className = "effect bad";
    parts.effect.textContent = error.message;
  }
}

async function act(work) {
  busy = true;
  draw();
  try {
    await work();
    await store.refresh();
  } catch (error) {
    toast(error.message, "bad");
    parts.failed = error.message;
  }
  busy = false;
  update();
}

const play = () =>
  act(async () => {
    parts.failed = null;
    if (job && active(job)) await api.stop(job.id);
    const { id } = await api.create("live", settings());
    attach(await api.job(id));
  });

const stop = () => act(async () => attach(await api.stop(job.id)));

const goOn = () =>
  act(async () => {
    parts.failed = null;
    const next = await api.goOn(job.id);
    attach(next.id ? next : await api.job(job.id), true);
  });

// Puts a job on the stage; `again` connects anew to the same one.
function attach(next, again = false) {
  const other = job?.id !== next.id;
  job = next;
  if (other) {
    player.reset();
    drift = [];
    parts.effect.textContent = "";
    delete parts.effect.dataset.from;
  }
  if (!other && !again) return;
  stream?.close();
  stream = null;
  const made = store.model(job.settings.model);
  if (made) player.pace(made.fps, Math.max(made.clip_frames, made.grain ?? 0));
  if (active(job)) connect();
}

function connect() {
  stream = new FrameStream(job.id);
  const mine = stream;
  const listen = (name, work) =>
    stream.addEventListener(name, (event) => mine === stream && work(event.detail));
  listen("frame", ({ info, data }) => player.push(info, data));
  listen("message", message);
  listen("open", () => ((lost = false), draw()));
  listen("lost", () => ((lost = true), store.refresh(), draw()));
  listen("end", () => ((stream = null), store.refresh()));
}

function message(detail) {
  if (detail.event === "progress" && detail.total) {
    parts.step.firstChild.style.transform = `scaleX(${detail.done / detail.total})`;
  }
  if (detail.event === "status") store.refresh();
}

function shown(info) {
  parts.cover.hidden = true;
  const moved = info.drift?.drift ?? info.drift;
  if (Number.isFinite(moved)) drift.push([info.index, moved]);
  if (drift.length > MOST_DRIFT) drift = drift.filter((_, i) => i % 2 === 1);
  const from = Number(parts.effect.dataset.from);
  if (parts.effect.classList.contains("pending") && info.index >= from) {
    parts.effect.className = "effect now";
    parts.effect.textContent = `In effect since frame ${number(from)}.`;
  }
}

// Takes up the newest state of the job; on the first one, of a live job that runs already.
function update() {
  const running = (store.jobs ?? []).find((each) => each.kind === "live" && active(each));
  if (!job && running) {
    adopt(running);
  } else if (job) {
    const now = store.job(job.id);
    if (now) {
      const begins = active(now) && !stream;
      job = now;
      if (begins) connect();
    } else if (store.jobs && !busy) {
      job = null;
      stream?.close();
      stream = null;
      player.reset();
    }
  }
  draw();
}

function adopt(running) {
  attach(running);
  parts.select.value = running.settings.model;
  choose();
  parts.seed.value = running.settings.seed ?? 0;
  const now = { ...running.settings, ...Object.assign({}, ...(running.changes ?? [])) };
  parts.labels.set(now.label);
  if (now.prompt) parts.prompt.value = now.prompt;
  if (now.guidance_scale) {
    guided = true;
    parts.guidance.set(now.guidance_scale);
  }
}

function draw() {
  fill(parts.bar, [job?.status, job?.id, busy, !model, differs()], buttons);
  fill(parts.again, [job && active(job), differs()], () =>
    job && active(job) && differs()
      ? el(
          "button.wide",
          { type: "button", onclick: play, disabled: busy },
          "Stop this one and start with these",
        )
      : null,
  );
  cover();
  kept();
  readings();
}

function buttons() {
  if (!model) return [];
  if (!job)
    return [el("button.primary", { type: "button", onclick: play, disabled: busy }, icon("play"), "Play")];
  if (active(job))
    return [el("button.primary", { type: "button", onclick: stop, disabled: busy }, icon("stop"), "Stop")];
  const more =
    job.status === "stopped" &&
    el("button.primary", { type: "button", onclick: goOn, disabled: busy }, icon("play"), "Continue");
  return [
    more,
    el(
      more ? "button" : "button.primary",
      { type: "button", onclick: play, disabled: busy },
      icon("play"),
      "New video",
    ),
  ].filter(Boolean);
}

// What stands on the stage while there is no picture.
function cover() {
  const empty = player.index === null;
  const say = coverText(empty);
  parts.cover.hidden = !say;
  parts.cover.classList.toggle("over", !empty);
  fill(parts.cover, [say, busy, parts.failed, !job && model?.name], () => {
    if (!say) return null;
    const start = !job && model && !parts.failed;
    return [
      start
        ? el(
            "button.big-play",
            { type: "button", onclick: play, "aria-label": `Play ${model.title || model.name}` },
            icon("play"),
          )
        : null,
      el("p.title", {}, say[0]),
      el("p", {}, say[1]),
    ];
  });
}

function coverText(empty) {
  if (parts.failed && (!job || !active(job))) return ["That did not work", parts.failed];
  if (lost && job && active(job)) return ["Connecting again …", "The video goes on where it was."];
  if (!store.models)
    return store.error ? ["No connection", store.error.message] : ["One moment …", "Looking for models."];
  if (!model)
    return ["There is no model yet", "Train one in the tab Train, or start the studio with a model folder."];
  if (busy && !job) return ["Starting …", ""];
  if (!job) return [model.title || model.name, "An endless video, made while it plays. Steer it as it goes."];
  if (job.status === "failed") return ["It failed", job.error ?? "The log of the server says more."];
  if (!empty) return null;
  if (job.status === "queued")
    return [
      statusText(job),
      "It starts when the job before it has ended. You can stop that one in the Gallery.",
    ];
  if (job.status === "running")
    return ["Making the first clip …", "The first one takes longest: the model is loaded."];
  return ["Stopped", video(job) ? "The file is below." : "Stopped before the first clip was whole."];
}

function kept() {
  const file = job && !active(job) ? video(job) : null;
  fill(parts.file, [file?.name, file?.bytes, job?.id], () => {
    if (!file) return null;
    const link = el(
      "a.button",
      { href: api.file(job, file.name), download: file.name },
      icon("download"),
      `Download ${file.name}`,
    );
    return el(
      "div.row.wrap",
      {},
      link,
      el("span.hint", {}, `${number(job.frames_done)} frames, kept in the Gallery, too.`),
    );
  });
}

function readings() {
  const frame = player.index;
  const running = job && active(job);
  const made = Math.max(job?.frames_done ?? 0, (frame ?? -1) + 1);
  const rate = running ? player.rate() : 0;
  const ahead = Math.max(made - (frame ?? 0) - 1, player.waiting);
  const rows = [
    ["Frame", frame === null ? "–" : number(frame)],
    ["Shown", rate ? `${rate.toFixed(1)} a second` : "–"],
    ["Ahead", frame === null || !running ? "–" : `${ahead} frames`],
    ["State", lost && running ? "connecting" : stateWord(running, frame)],
  ];
  fill(parts.meters, rows, () =>
    rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
  const changes = (job?.changes ?? []).filter((each) => each.from_frame > 0);
  const done = drift.at(-1)?.[0] ?? null;
  fill(parts.drift, [done === null ? null : Math.floor(done / 4), changes.length], () => driftChart(changes));
  parts.step.hidden = !running;
}

function stateWord(running, frame) {
  if (!job) return "ready";
  if (!running) return statusText(job).toLowerCase();
  if (job.status === "queued") return "waiting";
  if (frame === null) return "starting";
  return player.waiting
    ? "playing"
    : job.seconds_left
      ? `next clip ${about(job.seconds_left)}`
      : "making the next clip";
}

function driftChart(changes) {
  if (drift.length < 2) return null;
  const first = drift[0][0];
  const marks = changes
    .filter((each) => each.from_frame >= first)
    .map((each) => ({ x: each.from_frame, text: `change from frame ${each.from_frame}` }));
  return [
    lineChart({
      title: "Drift",
      lines: [{ name: "drift", points: drift }],
      unit: "frame",
      marks,
      zero: true,
    }),
    el(
      "p.hint",
      {},
      "How far the colours and sharpness of the frames have moved from those of the first clip. A flat line is a stable video.",
    ),
  ];
}

function open({ settings: from }) {
  if (!from?.model) return;
  parts.select.value = from.model;
  choose();
}

export const live = { mount, open };
