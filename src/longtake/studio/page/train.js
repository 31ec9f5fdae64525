// Train: start a training, watch its losses and samples, stop it, continue it, use its model.
import { api } from "./api.js";
import { lineChart } from "./charts.js";
import { ago, el, fill, icon, note, number, once, plural, toast } from "./dom.js";
import { field, fileField, segments } from "./forms.js";
import { attempt, badge, cards, downloads, goTo, progress, remove, seenVideo, still } from "./jobcard.js";
import { active, canContinue, store, titleOf } from "./store.js";

const LOG_MS = 3000;
const NEWEST_SAMPLES = 8;
const HIDDEN =
  /^(step|samples|seen|time|seconds|epoch|wall|elapsed|process|rank|memory)|_seconds$|per_second|budget/;
const parts = {};
const logs = new Map(); // id of a job -> {rows, asked}
let system = "pvdm";
let trainings = []; // of other commands
let asked = 0;

function mount(panel) {
  parts.folder = el("select");
  parts.where = el("p.hint", { id: "footage" });
  parts.folder.setAttribute("aria-describedby", "footage");
  parts.clip = fileField("Or upload one video", "video/*", "A long one: a model needs minutes of footage.");
  parts.size = el(
    "select",
    {},
    ...["", 32, 64, 128].map((size) =>
      el("option", { value: size }, size ? `${size} × ${size}` : "default"),
    ),
  );
  parts.minutes = el("input", { type: "number", min: 1, step: 1, value: 60 });
  parts.empty = el("div");
  parts.list = el("div.cards");
  parts.runs = el("section.results", { "aria-label": "Trainings" }, parts.empty, parts.list);
  const kinds = [
    ["pvdm", "PVDM: planes"],
    ["lvdm", "LVDM: volume"],
  ].map(([value, text]) => ({ value, text }));
  const form = el(
    "form.card.controls",
    { "aria-label": "A new training", onsubmit: submit },
    el("h2.small", {}, "Train on your own footage"),
    el("div.stack.close", {}, field("Folder of videos", parts.folder), parts.where),
    parts.clip.node,
    segments("System", kinds, system, (value) => (system = value)),
    el("div.pair", {}, field("Size", parts.size), field("Minutes", parts.minutes, "For everything.")),
    el("p.hint", {}, "You can stop at any time and continue later: nothing is lost."),
    (parts.start = el("button.primary", { type: "submit" }, "Start the training")),
  );
  panel.append(el("h2.sr", {}, "Train"), el("div.two", {}, form, parts.runs));
  store.onChange(draw);
}

// Asks which folders of footage there are.
async function look() {
  try {
    const { folder, found } = await api.footage();
    fill(parts.folder, found, () => [
      el("option", { value: "" }, found.length ? "choose …" : "there is none yet"),
      ...found.map(({ name, videos }) =>
        el("option", { value: name }, `${name} (${plural(videos, "file")})`),
      ),
    ]);
    parts.where.textContent = `Each folder in ${folder} can be trained on.`;
  } catch (error) {
    parts.where.textContent = error.message;
  }
}

async function submit(event) {
  event.preventDefault();
  if (!parts.folder.value && !parts.clip.value() && !parts.clip.ready()) {
    toast("Choose a folder of videos, or upload one video.", "bad");
    parts.folder.focus();
    return;
  }
  const start = async () => {
    await parts.clip.ready();
    const settings = { system, budget_minutes: Number(parts.minutes.value) || 60 };
    if (parts.folder.value) settings.folder_name = parts.folder.value;
    if (parts.clip.value()) settings.upload = parts.clip.value();
    if (parts.size.value) settings.size = Number(parts.size.value);
    await api.create("train", settings);
  };
  await once(parts.start, () => attempt(start));
}

// Asks for the trainings of other commands, whose folders the studio was given.
async function lookAtOthers() {
  if (Date.now() - asked < LOG_MS) return;
  asked = Date.now();
  try {
    trainings = await api.trainings();
    if (trainings.length) draw();
  } catch {
    // The line about the server says what is wrong.
  }
}

function draw() {
  if (!parts.runs.closest("[hidden]")) lookAtOthers();
  const jobs = [...trainings, ...(store.jobs ?? []).filter((job) => job.kind === "train")];
  fill(parts.empty, [!store.jobs, jobs.length], () => {
    if (jobs.length) return null;
    return store.jobs ? nothing() : el("p.hint", {}, "Loading …");
  });
  if (!parts.runs.closest("[hidden]")) jobs.forEach(readLog);
  cards(parts.list, jobs, run, (job) => ({ ...still(job), created: null, files: null, exports: null }));
  [...parts.list.children].forEach((slot, i) => grow(slot, jobs[i]));
}

// What grows while a training runs, apart from the rest of its card, whose controls stay as they are.
function grow(slot, job) {
  const rows = logs.get(job.id)?.rows ?? [];
  const part = (name, key, make) => fill(slot.querySelector(`.${name}`), key, make);
  part("exports", job.exports, () => exported(job));
  part("curves", rows.length, () => charts(rows));
  part("samples", [job.files, new Set(rows.map(stageOf)).size], () => samples(job, rows));
  part("downloads", job.files, () => downloads(job));
}

const nothing = () =>
  note(
    "No training yet",
    "Put a folder of videos where the form says, choose it there and start. Losses and samples appear while it trains.",
  );

async function readLog(job) {
  const log = logs.get(job.id) ?? { rows: [], asked: 0, whole: false };
  logs.set(job.id, log);
  if (log.whole || Date.now() - log.asked < LOG_MS) return;
  log.asked = Date.now();
  try {
    const rows = await api.log(job, log.rows.length);
    log.rows.push(...rows);
    log.whole = !active(job) && job.status !== "watched";
    if (rows.length) draw();
  } catch {
    // There is no log before the first step.
  }
}

function run(job) {
  const trained = store.model(job.result?.model);
  const button = (name, text, work, glyph) =>
    el(`button${name}`, { type: "button", onclick: work }, icon(glyph), text);
  const actions = [
    active(job) && button("", "Stop and keep", () => attempt(() => api.stop(job.id)), "stop"),
    canContinue(job) &&
      button(".primary", "Continue", () => attempt(() => api.resume(job.id)), "play"),
    trained &&
      button(".primary", "Play its model", () => goTo("live", { settings: { model: trained.name } }), "play"),
    !active(job) &&
      job.status !== "watched" &&
      button(".quiet", "Delete", () => remove(job), "trash"),
  ];
  return el(
    "article.card.job",
    {},
    el(
      "div.row.spread",
      {},
      el("h3", {}, name(job), el("span.hint", {}, ` ${ago(job.created)}`)),
      badge(job),
    ),
    active(job)
      ? el("p.hint", {}, job.stage ? `Now: ${job.stage.replaceAll("_", " ")}` : "Preparing the footage …")
      : "",
    active(job) ? progress(job) : "",
    job.error ? el("div.problem", {}, el("p", {}, job.error)) : "",
    el("div.row.wrap", {}, ...actions.filter(Boolean)),
    ...["exports", "curves", "samples", "downloads"].map((name) => el(`div.${name}`)),
  );
}

// The models that the training has written, one of which is played in Live.
function exported(job) {
  if (!job.exports?.length) return "";
  const before = document.getElementById(`export-${job.id}`)?.value;
  const choice = el(
    "select",
    { id: `export-${job.id}` },
    ...job.exports.map((each) =>
      el("option", { value: each, selected: each === before }, each.replaceAll("_", " ")),
    ),
  );
  const play = el("button", { type: "button" }, icon("play"), "Play this model");
  play.addEventListener("click", () =>
    attempt(async () => {
      const { model } = await api.use(job, choice.value);
      toast("The model is measured first, when no other job runs; then it plays in Live.");
      store.modelReady(model).then(() => goTo("live", { settings: { model } }));
    }),
  );
  return el("div.row.wrap", {}, field("Model", choice), play);
}

function name(job) {
  if (job.status === "watched") return job.id;
  const { size } = job.settings;
  return size ? `${titleOf(job)}, ${size} × ${size}` : titleOf(job);
}

const stageOf = (row) => row.stage ?? row.run ?? row.network ?? "";

// One chart for each quantity of the log; where several networks are trained, the newest stage first.
function charts(rows) {
  const stages = new Map(); // name of a stage -> {title of a chart -> points}
  rows.forEach((row, i) => {
    const stage = stageOf(row);
    if (!stages.has(stage)) stages.set(stage, new Map());
    const series = stages.get(stage);
    for (const [key, value] of Object.entries(row)) {
      if (typeof value !== "number" || HIDDEN.test(key)) continue;
      const title = stage ? `${stage}: ${key.replaceAll("_", " ")}` : key.replaceAll("_", " ");
      if (!series.has(title)) series.set(title, []);
      series.get(title).push([row.step ?? i, value]);
    }
  });
  const newest = [...stages.values()].reverse().flatMap((series) => [...series]);
  const drawn = newest.filter(([, points]) => points.length > 1);
  if (!drawn.length) return "";
  return el(
    "div.charts",
    {},
    ...drawn.map(([title, points]) => lineChart({ title, lines: [{ name: title, points }], unit: "step" })),
  );
}

// Files are listed by name, and a name begins with the stage: the log says which stage is newer.
function samples(job, rows) {
  const stages = [...new Set(rows.map(stageOf))];
  const age = ({ name }) => stages.findIndex((stage) => name.startsWith(`${stage}_step_`));
  const found = (job.files ?? [])
    .filter((each) => /\.(mp4|png|gif)$/.test(each.name))
    .sort((a, b) => age(a) - age(b))
    .slice(-NEWEST_SAMPLES);
  if (!found.length) return "";
  const pictures = found.map((each) => {
    const src = api.file(job, each.name);
    const shown = each.name.endsWith(".mp4")
      ? seenVideo(src, { controls: true, "aria-label": each.name })
      : el("img.frames", { src, alt: each.name, loading: "lazy" });
    return el("figure", {}, el("div.screen", {}, shown), el("figcaption", {}, each.name));
  });
  return el(
    "div",
    {},
    el("h3", {}, `Samples (newest ${number(found.length)})`),
    el("div.latents", {}, ...pictures),
  );
}

export const train = { mount, shown: () => (look(), draw()) };
