// Compare: two videos of the same seed, frame by frame, with a slider, as a difference, in numbers.
import { api } from "./api.js";
import { Board } from "./board.js";
import { el, fill, note, number, once, problem, toast } from "./dom.js";
import { decoders, field, labelControls, modelSelect, seedField } from "./forms.js";
import { progress } from "./jobcard.js";
import { readFrames } from "./videoframes.js";
import { active, statusText, store, titleOf, video } from "./store.js";

const parts = {};
let pair = null; // {a, b, job}: two jobs, and the id of the one that compares them
let pending = null; // ids of two jobs that are being made

function mount(panel) {
  parts.a = el("select");
  parts.b = el("select");
  parts.pick = el(
    "button.primary",
    { type: "button", onclick: () => begin(parts.a.value, parts.b.value) },
    "Compare",
  );
  parts.result = el("section.results", { "aria-label": "Comparison" });
  parts.status = el("div", { role: "status" });
  parts.board = new Board();
  parts.names = el("p.hint");
  parts.table = el("div");
  parts.result.append(parts.status, parts.board.node, parts.names, parts.table);
  const chosen = el(
    "form.card.controls",
    { "aria-label": "Two videos that exist", onsubmit: (event) => event.preventDefault() },
    el("h2.small", {}, "Two videos that exist"),
    field("A", parts.a),
    field("B", parts.b),
    (parts.few = el("p.hint")),
    parts.pick,
  );
  panel.append(
    el("h2.sr", {}, "Compare"),
    el("div.two", {}, el("div.stack", {}, chosen, both()), parts.result),
  );
  store.onChange(draw);
}

// Makes two videos of one seed; all other settings are those of each.
function both() {
  parts.seed = seedField(() => {});
  parts.frames = el("input", { type: "number", min: 1, value: 64 });
  parts.sides = ["A", "B"].map((name) => {
    const side = { labels: labelControls(() => {}) };
    side.model = modelSelect(() => choose(side));
    side.decoder = el("select");
    side.students = el("input", { type: "checkbox" });
    side.prompt = el("input", { type: "text", autocomplete: "off", placeholder: "What to show" });
    side.rollout = el("select");
    side.steps = el("input", { type: "number", min: 1, max: 1000, placeholder: "own" });
    side.guidance = el("input", { type: "number", min: 0, max: 100, step: 0.5, placeholder: "own" });
    side.node = el(
      "fieldset.side",
      {},
      el("legend", {}, name),
      field("Model", side.model),
      (side.promptField = field("Prompt", side.prompt)),
      el("div.pair", {}, field("Steps", side.steps), field("Guidance", side.guidance)),
      (side.decoderField = field("Decoder", side.decoder)),
      (side.studentsField = el("label.check", {}, side.students, "Few-step students")),
      el("details", {}, el("summary", {}, "Label"), side.labels.node),
      (side.rolloutField = el("details", {}, el("summary", {}, "Rollout"), field("Rollout", side.rollout))),
    );
    return side;
  });
  return el(
    "form.card.controls",
    { "aria-label": "Make two, with the same seed", onsubmit: makeBoth },
    el("h2.small", {}, "Make two, with the same seed"),
    el("div.pair", {}, field("Length in frames", parts.frames), parts.seed.node),
    ...parts.sides.map((side) => side.node),
    (parts.both = el("button", { type: "submit" }, "Make both and compare")),
  );
}

// Shows what a side's model can be asked for.
function choose(side) {
  const model = store.model(side.model.value);
  if (!model) return;
  side.labels.show(model);
  side.promptField.hidden = !model.prompt;
  decoders(side.decoder, model);
  side.decoderField.hidden = side.decoder.length < 2;
  side.studentsField.hidden = !model.students;
  side.rollout.replaceChildren(
    el("option", { value: "" }, "the model's own"),
    ...(model.rollouts ?? []).map((name) => el("option", { value: name }, name.replaceAll("_", " "))),
  );
  side.rolloutField.hidden = !model.rollouts?.length;
}

function settingsOf(side) {
  const model = store.model(side.model.value);
  const found = {
    model: side.model.value,
    label: side.labels.value(),
    steps: Number(side.steps.value) || null,
    decoder: side.decoder.value || "full",
    students: Boolean(model?.students) && side.students.checked,
    rollout: side.rollout.value || null,
  };
  if (model?.prompt) found.prompt = side.prompt.value.trim() || null;
  if (side.guidance.value) found.guidance_scale = Number(side.guidance.value);
  return found;
}

async function makeBoth(event) {
  event.preventDefault();
  await once(parts.both, makePair);
}

async function makePair() {
  const common = { frames: Number(parts.frames.value) || 64, seed: Number(parts.seed.input.value) || 0 };
  try {
    const ids = [];
    for (const side of parts.sides)
      ids.push((await api.create("make", { ...common, ...settingsOf(side) })).id);
    pending = ids;
    pair = null;
  } catch (error) {
    toast(error.message, "bad");
  }
  await store.refresh();
}

function draw() {
  const found = (store.jobs ?? []).filter(
    (job) => !active(job) && video(job) && ["make", "live", "video"].includes(job.kind),
  );
  choices(parts.a, found, 1);
  choices(parts.b, found, 0);
  parts.pick.disabled = found.length < 2;
  parts.few.textContent = found.length < 2 ? "There are fewer than two finished videos: make two below." : "";
  if (pending) waiting();
  else if (!pair)
    fill(parts.status, "empty", () =>
      note(
        "Nothing to compare yet",
        "Choose two finished videos, or make two with the same seed: a pair that differs in one setting shows what that setting does.",
      ),
    );
  metrics();
}

function choices(select, jobs, at) {
  fill(
    select,
    jobs.map((job) => job.id),
    () => {
      const before = select.value;
      const options = jobs.map((job) => el("option", { value: job.id }, described(job)));
      const wanted = jobs.some((job) => job.id === before) ? before : jobs[Math.min(at, jobs.length - 1)]?.id;
      options.forEach((option) => (option.selected = option.value === wanted));
      return options;
    },
  );
}

function described(job) {
  const { seed = 0, label, prompt, steps, guidance_scale: scale, decoder, students, rollout } = job.settings;
  const said = [
    titleOf(job),
    `seed ${seed}`,
    prompt || label,
    steps && `${steps} steps`,
    scale && `guidance ${scale}`,
    decoder && decoder !== "full" && `decoder ${decoder}`,
    students && "students",
    rollout && `rollout ${rollout.replaceAll("_", " ")}`,
    `${job.frames_done} frames`,
  ];
  return said.filter(Boolean).join(" · ");
}

function waiting() {
  const jobs = pending.map((id) => store.job(id));
  const failed = jobs.find((job) => job && ["failed", "stopped"].includes(job.status));
  if (failed) {
    pending = null;
    fill(parts.status, ["failed", failed.id], () =>
      problem(failed.error || `One of the two was stopped. Continue it in the Gallery, then compare them.`),
    );
    return;
  }
  if (jobs.every((job) => job?.status === "done")) {
    const [a, b] = pending;
    pending = null;
    begin(a, b);
    return;
  }
  fill(parts.status, jobs, () =>
    el(
      "div.card",
      {},
      ...jobs
        .filter(Boolean)
        .map((job, i) => el("div", {}, el("p", {}, `${"AB"[i]}: ${statusText(job)}`), progress(job))),
    ),
  );
}

async function begin(a, b) {
  const jobs = [store.job(a), store.job(b)];
  if (jobs.some((job) => !job || !video(job))) return;
  pair = { a: jobs[0], b: jobs[1], job: null };
  const mine = pair;
  parts.board.close();
  parts.names.textContent = "";
  fill(parts.status, ["reading", a, b, Date.now()], () => el("p.hint", {}, "Reading the frames …"));
  try {
    const read = await Promise.all(
      jobs.map((job) => readFrames(api.file(job, video(job).name), job.frames_done)),
    );
    const frames = read.map((each) => each.frames);
    if (pair !== mine) return frames.flat().forEach((frame) => frame.close());
    parts.board.open(frames, read[0].fps);
    parts.names.textContent = `A: ${described(pair.a)}. B: ${described(pair.b)}.`;
    fill(parts.status, "shown", () => null);
  } catch (error) {
    fill(parts.status, ["unread", a, b, error.message], () => problem(error.message));
  }
  try {
    const { id } = await api.compare(a, b);
    if (pair === mine) pair.job = id;
    await store.refresh();
  } catch (error) {
    toast(error.message, "bad");
  }
}

function metrics() {
  const job = pair?.job && store.job(pair.job);
  fill(parts.table, job ? [job.status, job.result, job.error] : null, () => {
    if (!job) return null;
    if (active(job)) return el("p.hint", {}, `Metrics: ${statusText(job).toLowerCase()} …`);
    if (job.status === "failed") return problem(`The metrics could not be computed. ${job.error}`);
    return resultTable(job.result ?? {});
  });
}

const UNITS = { psnr: "PSNR in dB", ssim: "SSIM" };

// Numbers between the two videos, then those of each, under the protocol that the result names.
function resultTable(result) {
  const { a = {}, b = {}, between = {} } = result;
  const row = (name, ...cells) =>
    el("tr", {}, el("th", { scope: "row" }, UNITS[name] ?? name.replaceAll("_", " ")), ...cells);
  const value = (x) => el("td", {}, typeof x === "number" ? number(x) : "–");
  const numbers = Object.keys(a).filter((name) => typeof a[name] === "number");
  return el(
    "div.card",
    {},
    el("h3", {}, "In numbers"),
    el(
      "dl.meters",
      {},
      ...Object.entries(between).map(([name, x]) =>
        el(
          "div",
          {},
          el("dt", {}, `${UNITS[name] ?? name} of A and B`),
          el("dd", {}, x === null ? "equal" : number(x)),
        ),
      ),
    ),
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col" }, "Metric"),
          el("th", { scope: "col" }, "A"),
          el("th", { scope: "col" }, "B"),
        ),
      ),
      el("tbody", {}, ...numbers.map((name) => row(name, value(a[name]), value(b[name])))),
    ),
    result.protocol
      ? el("p.hint", {}, `Protocol: ${result.protocol}. Frames compared: ${number(result.frames ?? 0)}.`)
      : "",
  );
}

export const compare = { mount, open: ({ a, b }) => begin(a, b) };
