// Compare: two videos of the same seed, frame by frame, with a slider, as a difference, in numbers.
import { api } from "./api.js";
import { el, fill, icon, note, number, problem, toast } from "./dom.js";
import { field, labelControls, modelSelect, seedField, segments } from "./forms.js";
import { progress } from "./jobcard.js";
import { readFrames } from "./videoframes.js";
import { active, statusText, store, titleOf, video } from "./store.js";

const parts = {};
let pair = null; // {a, b, job, frames: [[...], [...]], fps}
let pending = null; // ids of two jobs that are being made
let index = 0;
let playing = false;
let due = 0;
let view = "slider";

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
  parts.board = el("div", { hidden: true });
  parts.table = el("div");
  parts.result.append(parts.status, parts.board, parts.table);
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
  board();
  requestAnimationFrame(step);
  store.onChange(draw);
}

// Makes two videos of one seed: model, steps, guidance and label of each.
function both() {
  parts.seed = seedField(() => {});
  parts.frames = el("input", { type: "number", min: 1, value: 64 });
  parts.sides = ["A", "B"].map((name) => {
    const side = { labels: labelControls(() => {}) };
    side.model = modelSelect(
      () => store.model(side.model.value) && side.labels.show(store.model(side.model.value)),
    );
    side.steps = el("input", { type: "number", min: 1, max: 1000, placeholder: "own" });
    side.guidance = el("input", { type: "number", min: 0, max: 100, step: 0.5, placeholder: "own" });
    side.node = el(
      "fieldset.side",
      {},
      el("legend", {}, name),
      field("Model", side.model),
      el("div.pair", {}, field("Steps", side.steps), field("Guidance", side.guidance)),
      el("details", {}, el("summary", {}, "Label"), side.labels.node),
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

async function makeBoth(event) {
  event.preventDefault();
  parts.both.disabled = true;
  const common = { frames: Number(parts.frames.value) || 64, seed: Number(parts.seed.input.value) || 0 };
  try {
    const ids = [];
    for (const side of parts.sides) {
      const settings = {
        ...common,
        model: side.model.value,
        label: side.labels.value(),
        steps: Number(side.steps.value) || null,
      };
      if (side.guidance.value) settings.guidance_scale = Number(side.guidance.value);
      ids.push((await api.create("make", settings)).id);
    }
    pending = ids;
    pair = null;
  } catch (error) {
    toast(error.message, "bad");
  }
  parts.both.disabled = false;
  await store.refresh();
}

function draw() {
  const found = (store.jobs ?? []).filter(
    (job) => !active(job) && video(job) && ["make", "live", "videos"].includes(job.kind),
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
  const { seed = 0, label, steps, guidance_scale: scale } = job.settings;
  const words = [
    titleOf(job),
    `seed ${seed}`,
    label,
    steps && `${steps} steps`,
    scale && `guidance ${scale}`,
    `${job.frames_done} frames`,
  ];
  return words.filter(Boolean).join(" · ");
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
  pair = { a: jobs[0], b: jobs[1], job: null, frames: null };
  const mine = pair;
  parts.board.hidden = true;
  fill(parts.status, ["reading", a, b, Date.now()], () => el("p.hint", {}, "Reading the frames …"));
  try {
    const read = await Promise.all(
      jobs.map((job) =>
        readFrames(api.file(job, video(job).name), store.model(job.settings.model)?.fps ?? 8),
      ),
    );
    if (pair !== mine) return read.flat().forEach((frame) => frame.close());
    pair.frames = read;
    pair.fps = store.model(jobs[0].settings.model)?.fps ?? 8;
    index = 0;
    playing = true;
    opened();
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

function board() {
  parts.canvasA = el("canvas.frames", { role: "img", "aria-label": "Video A" });
  parts.canvasB = el("canvas.frames", { role: "img", "aria-label": "Video B" });
  parts.difference = el("canvas.frames.difference", {
    role: "img",
    "aria-label": "Difference of A and B, four times as bright",
  });
  parts.cut = el("input.cut", {
    type: "range",
    min: 0,
    max: 100,
    value: 50,
    "aria-label": "Where A ends and B begins",
    oninput: cut,
  });
  parts.seek = el("input", {
    type: "range",
    min: 0,
    value: 0,
    "aria-label": "Frame",
    oninput: () => ((playing = false), show(Number(parts.seek.value))),
  });
  parts.play = el("button.icon", { type: "button", onclick: () => ((playing = !playing), show(index)) });
  parts.at = el("output");
  parts.names = el("p.hint.pair-names");
  const modes = [
    ["slider", "Slider"],
    ["side", "Side by side"],
    ["difference", "Difference"],
  ].map(([value, text]) => ({ value, text }));
  parts.screen = el(
    "div.screen.compare.slider",
    {},
    parts.canvasA,
    parts.canvasB,
    parts.difference,
    el("span.knife", { "aria-hidden": "true" }),
  );
  parts.board.append(
    segments("View", modes, view, (value) => {
      view = value;
      parts.screen.className = `screen compare ${value}`;
      parts.cut.hidden = value !== "slider";
    }),
    parts.screen,
    parts.cut,
    el("div.row", {}, parts.play, parts.seek, parts.at),
    parts.names,
  );
  cut();
}

function cut() {
  parts.screen.style.setProperty("--cut", `${parts.cut.value}%`);
}

function opened() {
  const [a, b] = pair.frames;
  const [width, height] = [a[0].width, a[0].height];
  for (const canvas of [parts.canvasA, parts.canvasB, parts.difference])
    Object.assign(canvas, { width, height });
  parts.screen.style.setProperty("--ratio", `${width} / ${height}`);
  parts.seek.max = Math.min(a.length, b.length) - 1;
  parts.names.textContent = `A: ${described(pair.a)}. B: ${described(pair.b)}.`;
  parts.board.hidden = false;
  fill(parts.status, "shown", () => null);
  show(0);
}

function show(at) {
  if (!pair?.frames) return;
  index = at;
  const [a, b] = pair.frames.map((frames) => frames[index]);
  const { width, height } = parts.canvasA;
  const draws = [
    [parts.canvasA, [[a, "source-over"]]],
    [parts.canvasB, [[b, "source-over"]]],
    [
      parts.difference,
      [
        [a, "source-over"],
        [b, "difference"],
      ],
    ],
  ];
  for (const [canvas, layers] of draws) {
    const context = canvas.getContext("2d");
    for (const [frame, mode] of layers) {
      context.globalCompositeOperation = mode;
      context.drawImage(frame, 0, 0, width, height);
    }
  }
  parts.screen.dataset.index = index;
  parts.seek.value = index;
  parts.at.textContent = `${index + 1} / ${Number(parts.seek.max) + 1}`;
  fill(parts.play, playing, () => icon(playing ? "pause" : "play"));
  parts.play.setAttribute("aria-label", playing ? "Pause" : "Play");
}

function step(now) {
  requestAnimationFrame(step);
  if (!playing || !pair?.frames || now < due || parts.board.closest("[hidden]")) return;
  due = Math.max(due + 1000 / pair.fps, now - 1000 / pair.fps);
  show((index + 1) % (Number(parts.seek.max) + 1));
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
