// Live: a video plays while it is made, and is steered while it plays.
import { api } from "./api.js";
import { el, fill, focusIn, icon, number, toast } from "./dom.js";
import {
  backends,
  decoders,
  facts,
  field,
  fileField,
  labelControls,
  modelSelect,
  seedField,
  slider,
  words,
} from "./forms.js";
import { FramePlayer, FrameStream } from "./player.js";
import { coverText, driftChart, keptFile, readings } from "./stage.js";
import { active, canContinue, store } from "./store.js";

const CHANGE_DELAY_MS = 250;
const MOST_DRIFT = 2000;

const parts = {};
const files = {}; // frames that a new video begins with
let player;
let stream = null;
let job = null; // the job on the stage
let model = null;
let lost = false;
let drift = [];
let changeTimer = 0;
let sent = 0;
let unanswered = 0; // changes that were sent
let followed = null; // number of the changes that the controls show
const moved = new Set(); // settings whose controls were moved since the last change was sent
let guided = false; // the slider was moved: else the model's own guidance holds
let failed = null; // why the last start or stop did not work
let busy = false; // a start, stop or continue is on its way

function mount(panel) {
  const labels = labelControls(() => changed("label"));
  const guidance = slider("Guidance", { min: 1, max: 8, step: 0.5, value: 1 }, () => {
    guided = true;
    changed("guidance_scale");
  });
  const prompt = el("input", {
    type: "text",
    placeholder: "What to show",
    autocomplete: "off",
    onchange: () => changed("prompt"),
  });
  const select = modelSelect(choose, "live");
  const seed = seedField(started);
  const backend = el("select", { onchange: started });
  const decoder = el("select", { onchange: started });
  const students = el("input", { type: "checkbox", onchange: started });
  Object.assign(parts, { labels, guidance, prompt, select, seed: seed.input, backend, decoder, students });
  files.start_image = fileField("Start image", "image/*", "The first frame of the video.", started);
  files.continue_video = fileField(
    "Video to continue",
    "video/*,image/gif",
    "Its last frames begin the new video.",
    started,
  );
  parts.cut = fileField("New image", "image/*", "The running video continues from it.", cut);
  parts.given = el(
    "details",
    {},
    el("summary", {}, "Begin with your own frames"),
    el("div.stack", {}, ...Object.values(files).map((each) => each.node)),
  );
  parts.facts = el("p.hint");
  parts.promptField = field("Prompt", prompt, "Press Enter to send it.");
  parts.words = parts.promptField.querySelector(".hint");
  parts.again = el("div.again");
  parts.effect = el("p.effect", { role: "status" });
  const controls = el(
    "form.card.controls",
    { "aria-label": "Controls of the live video", onsubmit: (event) => event.preventDefault() },
    el("div.stack.close", {}, field("Model", select), parts.facts),
    el("div.pair", {}, seed.node, (parts.backendField = field("Backend", backend))),
    (parts.decoderField = field("Decoder", decoder)),
    (parts.studentsField = el("label.check", {}, students, "Few-step students: faster, less exact")),
    parts.given,
    parts.again,
    el("hr"),
    el("div.row.spread.steer", {}, el("h2.small", {}, "Steer it"), parts.effect),
    parts.promptField,
    labels.node,
    guidance.node,
    parts.cut.node,
  );
  parts.drift = el("div.drift");
  panel.append(
    el("h2.sr", {}, "Live"),
    (parts.grid = el("div.live-grid", {}, stage(), el("div.side-column", {}, controls, parts.drift))),
  );
  player = new FramePlayer(parts.canvas, parts.glow);
  parts.canvas.addEventListener("frameshown", ({ detail }) => shown(detail));
  setInterval(tick, 500);
  store.onChange(update);
  store.addEventListener("back", () => (failed = null));
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
  parts.words.textContent = `Press Enter to send it.${words(next)}`;
  parts.guidance.node.hidden = !canGuide(next);
  backends(parts.backend, next);
  parts.backendField.hidden = parts.backend.length < 2;
  decoders(parts.decoder, next);
  parts.decoderField.hidden = parts.decoder.length < 2;
  parts.studentsField.hidden = !next.students;
  for (const [name, each] of Object.entries(files)) each.node.hidden = !next.can.includes(name);
  parts.given.hidden = Object.values(files).every((each) => each.node.hidden);
  guided = false;
  parts.guidance.set(next.guidance_scale ?? 1);
  followed = null;
  if (!job || !active(job)) {
    const [height, width] = next.size;
    parts.canvas.style.aspectRatio = `${width} / ${height}`;
  }
  update();
}

const canGuide = (each) => each.prompt || each.classes?.length || Object.keys(each.labels ?? {}).length;

function settings() {
  return {
    model: parts.select.value,
    frames: null,
    seed: Number(parts.seed.value) || 0,
    backend: parts.backend.value || "torch",
    decoder: parts.decoder.value || "full",
    students: Boolean(model?.students) && parts.students.checked,
    ...given(),
    ...steering(),
  };
}

// Ids of the uploads that a new video begins with.
function given() {
  const chosen = Object.entries(files).filter(([, each]) => !each.node.hidden && each.value());
  return Object.fromEntries(chosen.map(([name, each]) => [name, each.value()]));
}

function steering() {
  const found = { label: parts.labels.value() };
  if (model?.prompt) found.prompt = parts.prompt.value.trim() || null;
  if (guided) found.guidance_scale = Number(parts.guidance.input.value);
  return found;
}

const FIXED = { model: "", seed: 0, backend: "torch", decoder: "full", students: false };
const differs = () =>
  job &&
  (Object.entries(FIXED).some(([name, usual]) => (job.settings[name] ?? usual) !== settings()[name]) ||
    Object.entries(given()).some(([name, id]) => job.settings[name] !== id));

function started() {
  if (job && active(job)) update();
}

// A control was moved: while a video runs, the change is sent and its first frame is named.
function changed(name) {
  if (!job || !active(job) || job.settings.model !== parts.select.value) return;
  moved.add(name);
  clearTimeout(changeTimer);
  changeTimer = setTimeout(sendMoved, CHANGE_DELAY_MS);
}

// Sends what was moved, and nothing else: another page may steer the same video.
function sendMoved() {
  const all = Object.entries(steering()).filter(([name]) => moved.has(name));
  moved.clear();
  if (!job || !active(job)) return;
  const values = Object.fromEntries(all.filter(([, value]) => value !== null));
  if (Object.keys(values).length) {
    send(job.id, values);
    return;
  }
  sent += 1;
  parts.effect.className = "effect bad";
  parts.effect.textContent = `Only a new video begins without a ${all[0][0]}; this one keeps what it has.`;
  follow();
}

// An image was chosen: the video continues from it.
function cut() {
  if (parts.cut.value()) send(job.id, { start_image: parts.cut.value() });
}

// The server answers when the next clip begins, with the first frame that shows the change.
async function send(id, values) {
  const mine = (sent += 1);
  parts.effect.className = "effect";
  parts.effect.textContent = "Sent; it takes effect with the next clip …";
  unanswered += 1;
  try {
    const { from_frame: from } = await api.change(id, values);
    if (mine !== sent) return;
    parts.effect.dataset.from = from;
    parts.effect.className = "effect pending";
    parts.effect.textContent = `From frame ${number(from)} on.`;
  } catch (error) {
    if (mine !== sent) return;
    parts.effect.className = "effect bad";
    parts.effect.textContent = error.message;
    followed = null; // the controls show what holds
  } finally {
    unanswered -= 1;
    store.refresh();
  }
}

async function act(work) {
  if (busy) return;
  busy = true;
  failed = null;
  draw();
  try {
    await work();
    await store.refresh();
  } catch (error) {
    toast(error.message, "bad");
    if (!(job && active(job))) failed = error.message; // else the picture stays in sight
  }
  busy = false;
  update();
}

const play = () =>
  act(async () => {
    await Promise.all(Object.values(files).map((each) => each.ready()));
    if (job && active(job)) await api.stop(job.id);
    const { id } = await api.create("live", settings());
    attach(await api.job(id));
  });

const stop = () => act(async () => attach(await api.stop(job.id)));

const resume = () =>
  act(async () => {
    const next = await api.resume(job.id);
    attach(next.id ? next : await api.job(job.id), true);
  });

// Puts a job on the stage; `again` connects again to the same one.
function attach(next, again = false) {
  const other = job?.id !== next.id;
  job = next;
  if (other) {
    player.reset();
    followed = failed = null;
    drift = [];
    if (next.frames_done) earlierDrift(next.id);
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
  listen("refused", (reason) => {
    failed = reason;
    draw();
  });
  listen("end", () => ((stream = null), store.refresh()));
}

// The curve of what was made before this page was opened.
async function earlierDrift(id) {
  try {
    const before = await api.drift(id);
    if (job?.id !== id) return;
    const first = drift[0]?.[0] ?? Infinity;
    drift = [...before.filter(([index]) => index < first), ...drift];
    tick();
  } catch {
    // The curve begins with what is shown from now on.
  }
}

function message(detail) {
  if (detail.event === "progress" && detail.total) {
    parts.step.firstChild.style.transform = `scaleX(${detail.done / detail.total})`;
  }
  if (detail.event === "status" || detail.event === "change") store.refresh();
}

function shown(info) {
  if (!failed) parts.cover.hidden = true;
  const moved = info.drift?.drift ?? info.drift;
  if (Number.isFinite(moved) && moved !== drift.at(-1)?.[1]) drift.push([info.index, moved]);
  if (drift.length > MOST_DRIFT) drift = drift.filter((_, i) => i % 2 === 1);
  const from = Number(parts.effect.dataset.from);
  if (parts.effect.classList.contains("pending") && info.index >= from) {
    parts.effect.className = "effect now";
    parts.effect.textContent = `In effect since frame ${number(from)}.`;
  }
}

// Takes up the newest state of the job; while none is active here, of a live job that another page began.
function update() {
  const running = (store.jobs ?? []).find((each) => each.kind === "live" && active(each));
  if (!(job && active(job)) && running && running.id !== job?.id && store.models && !busy) {
    adopt(running);
  } else if (job) {
    const now = store.job(job.id);
    if (now) {
      const begins = active(now) && !stream;
      job = now;
      if (begins) connect();
      if (active(job) && followed !== job.changes.length && !unanswered && !moved.size) follow();
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
  parts.backend.value = running.settings.backend ?? "torch";
  parts.decoder.value = running.settings.decoder ?? "full";
  parts.students.checked = Boolean(running.settings.students);
  follow();
}

// Shows what steers the video now, whichever page has changed it.
function follow() {
  followed = job.changes.length;
  if (job.settings.model !== parts.select.value) return;
  const now = Object.assign({}, job.settings, ...job.changes);
  parts.labels.set(now.label);
  if (document.activeElement !== parts.prompt) parts.prompt.value = now.prompt ?? "";
  if (now.guidance_scale) {
    guided = true;
    parts.guidance.set(now.guidance_scale);
  }
}

function draw() {
  const held = document.activeElement;
  fill(parts.bar, [job?.status, job?.id, busy, !model, differs()], buttons);
  fill(parts.again, [job && active(job), differs()], () =>
    job && active(job) && differs()
      ? el(
          "button.wide",
          { type: "button", onclick: play, "aria-disabled": busy && "true" },
          "Stop this one and start with these",
        )
      : null,
  );
  cover();
  fill(parts.file, job && !active(job) ? [job.id, job.files, job.error] : null, () =>
    job && !active(job) ? keptFile(job) : null,
  );
  tick();
  if (!held.isConnected && document.activeElement === document.body) focusIn(parts.bar);
}

function buttons() {
  if (!model) return [];
  const button = (name, onclick, glyph, text) =>
    el(`button${name}`, { type: "button", onclick, "aria-disabled": busy && "true" }, icon(glyph), text);
  if (!job) return [button(".primary", play, "play", "Play")];
  if (active(job)) return [button(".primary", stop, "stop", "Stop")];
  if (!canContinue(job)) return [button(".primary", play, "play", "New video")];
  return [button(".primary", resume, "play", "Continue"), button("", play, "play", "New video")];
}

// What stands on the stage while there is no picture.
function cover() {
  const say = coverText(state());
  parts.cover.hidden = !say;
  parts.cover.classList.toggle("over", player.index !== null);
  fill(parts.cover, [say, busy, failed, !job && model?.name], () => {
    if (!say) return null;
    const start = !job && model && !failed;
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

function tick() {
  fill(parts.meters, readings(state()), () =>
    readings(state()).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
  const changes = (job?.changes ?? []).filter((each) => each.from_frame > 0);
  fill(parts.drift, [drift.length, drift.at(-1), changes.length], () => driftChart(drift, changes));
  parts.step.hidden = !(job && active(job));
  parts.grid.classList.toggle("running", !parts.step.hidden);
  const can = store.model(job?.settings.model)?.can ?? [];
  parts.cut.node.hidden = !(job?.status === "running" && can.includes("start_image"));
}

const state = () => ({ job, model, player, lost, busy, failed });

function open({ settings: from }) {
  if (!from?.model) return;
  parts.select.value = from.model;
  choose();
}

export const live = { mount, open };
