// Make: all settings of a video, an estimate before it starts, the queue, and results.
import { api } from "./api.js";
import { about, command, el, fill, note, once, problem } from "./dom.js";
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
import { attempt, cards, videoCard } from "./jobcard.js";
import { active, store } from "./store.js";
import { unwatch } from "./watching.js";

const ESTIMATE_DELAY_MS = 300;
const RESULTS = 8;
const form = {};
const files = {};
let model = null;
let asked = null;
let timer = 0;

function mount(panel) {
  form.frames = el("input", {
    type: "number",
    min: 1,
    step: 1,
    value: 64,
    placeholder: 64, // what the server makes if it is empty
    oninput: changed,
  });
  form.seed = seedField(changed);
  form.labels = labelControls(changed);
  form.prompt = el("textarea", { rows: 2, placeholder: "What to show", oninput: changed });
  form.negative = el("input", { type: "text", oninput: changed });
  form.guidance = slider(
    "Guidance",
    { min: 1, max: 8, step: 0.5, value: 1 },
    () => ((form.guided = true), changed()),
  );
  form.steps = el("input", {
    type: "number",
    min: 1,
    max: 1000,
    step: 1,
    placeholder: "model's own",
    oninput: changed,
  });
  form.rollout = el("select", { onchange: changed }, el("option", { value: "" }, "model's own"));
  form.backend = el("select", { onchange: changed });
  form.decoder = el("select", { onchange: changed });
  form.students = el("input", { type: "checkbox", onchange: changed });
  form.sheet = el("input", { type: "checkbox", checked: true, onchange: changed });
  form.loop = el("input", { type: "checkbox", onchange: changed });
  files.start_image = fileField("Start image", "image/*", "The first frame of the video.", changed);
  files.end_image = fileField("End image", "image/*", "The last frame. The length follows from the model.", changed);
  files.continue_video = fileField(
    "Video to continue",
    "video/*,image/gif",
    "Its last frames begin the new video.",
    changed,
  );
  form.model = modelSelect(choose);
  form.facts = el("p.hint");
  form.estimate = el("div.estimate", { role: "status" });
  form.command = el("div");
  form.submit = el("button.primary", { type: "submit" }, "Make the video");
  form.results = el("div.cards");
  form.empty = el("div");
  panel.append(
    el("h2.sr", {}, "Make"),
    el(
      "div.two",
      {},
      settingsForm(),
      el("section.results", { "aria-label": "Queue and results" }, form.empty, form.results),
    ),
  );
  store.onChange(draw);
}

function settingsForm() {
  const more = el(
    "details",
    {},
    el("summary", {}, "Sampling"),
    el(
      "div.stack",
      {},
      el("div.pair", {}, field("Steps", form.steps), field("Rollout", form.rollout)),
      el("div.pair", {}, field("Backend", form.backend), field("Decoder", form.decoder)),
      (form.studentsField = el("label.check", {}, form.students, "Few-step students: faster, less exact")),
      (form.negativeField = field("Negative prompt", form.negative)),
    ),
  );
  form.given = el(
    "details",
    {},
    el("summary", {}, "Begin with your own frames"),
    el("div.stack", {}, ...Object.values(files).map((each) => each.node)),
  );
  return el(
    "form.card.controls",
    { "aria-label": "Settings of the video", onsubmit: submit },
    el("div.stack.close", {}, field("Model", form.model), form.facts),
    el("div.pair", {}, field("Length in frames", form.frames), form.seed.node),
    (form.promptField = field("Prompt", form.prompt, "What the video shows.")),
    form.labels.node,
    form.guidance.node,
    form.given,
    more,
    el(
      "div.row.wrap",
      {},
      el("label.check", {}, form.sheet, "Contact sheet"),
      (form.loopField = el("label.check", {}, form.loop, "Lead the end back to the beginning")),
    ),
    form.estimate,
    form.submit,
    form.command,
  );
}

function choose() {
  model = store.model(form.model.value);
  if (!model) return;
  const can = model.can ?? [];
  form.facts.textContent = facts(model);
  form.labels.show(model);
  form.promptField.hidden = form.negativeField.hidden = !model.prompt;
  form.promptField.querySelector(".hint").textContent = `What the video shows.${words(model)}`;
  form.guided = false;
  form.guidance.set(model.guidance_scale ?? 1);
  form.guidance.node.hidden = !(
    model.prompt ||
    model.classes?.length ||
    Object.keys(model.labels ?? {}).length
  );
  form.loopField.hidden = !can.includes("loop");
  for (const [name, each] of Object.entries(files)) each.node.hidden = !can.includes(name);
  files.end_image.node.hidden = !can.includes("end_image") && !can.includes("end_image_alone");
  form.given.hidden = Object.values(files).every((each) => each.node.hidden);
  backends(form.backend, model);
  decoders(form.decoder, model);
  form.studentsField.hidden = !model.students;
  form.rollout.replaceChildren(
    el("option", { value: "" }, "model's own"),
    ...(model.rollouts ?? []).map((name) => el("option", { value: name }, name.replaceAll("_", " "))),
  );
  form.rollout.closest(".field").hidden = !model.rollouts?.length;
  changed();
}

function settings() {
  const found = {
    model: form.model.value,
    frames: form.frames.value === "" ? null : Number(form.frames.value),
    seed: Number(form.seed.input.value) || 0,
    label: form.labels.value(),
    steps: Number(form.steps.value) || null,
    rollout: form.rollout.value || null,
    backend: form.backend.value || "torch",
    decoder: form.decoder.value || "full",
    students: Boolean(model?.students) && form.students.checked,
    sheet: form.sheet.checked,
  };
  if (model?.prompt)
    Object.assign(found, {
      prompt: form.prompt.value.trim() || null,
      negative: form.negative.value.trim() || null,
    });
  if (form.guided) found.guidance_scale = Number(form.guidance.input.value);
  if (form.loop.checked && !form.loopField.hidden) found.loop = true;
  for (const [name, each] of Object.entries(files))
    if (!each.node.hidden && each.value()) found[name] = each.value();
  if (found.end_image) found.frames = null;
  return found;
}

function changed() {
  clearTimeout(timer);
  timer = setTimeout(estimate, ESTIMATE_DELAY_MS);
}

async function estimate() {
  if (!model || form.model.closest("[hidden]")) return;
  asked?.abort();
  asked = new AbortController();
  try {
    const found = await api.estimate(settings(), asked.signal);
    form.submit.disabled = false;
    const cost =
      found.seconds === null
        ? "The time is not known yet: it is measured when this model first runs"
        : `${about(found.seconds)[0].toUpperCase()}${about(found.seconds).slice(1)} on this machine`;
    const memory = found.memory_mb ? `, ${Math.round(found.memory_mb)} MB of memory` : "";
    form.estimate.className = "estimate";
    form.estimate.replaceChildren(
      el(
        "p",
        {},
        el("b", {}, cost),
        `${memory}: ${found.frames} frames, ${found.duration_seconds.toFixed(1)} s of video.`,
      ),
    );
    fill(
      form.command,
      found.command,
      () =>
        found.command &&
        el("details", {}, el("summary", {}, "The command that does the same"), command(found.command)),
    );
  } catch (error) {
    if (error.name === "AbortError") return;
    form.submit.disabled = error.status === 422;
    form.estimate.replaceChildren(problem(error.message));
  }
}

async function submit(event) {
  event.preventDefault();
  const start = async () => {
    await Promise.all(Object.values(files).map((each) => each.ready()));
    await api.create("make", settings());
  };
  await once(form.submit, () => attempt(start));
}

function draw() {
  const all = (store.jobs ?? []).filter((job) => job.kind === "make");
  unwatch(new Set(all.filter((job) => job.status === "running").map((job) => job.id)));
  const queue = all.filter(active).sort((a, b) => (a.place ?? 0) - (b.place ?? 0));
  const done = all.filter((job) => !active(job)).slice(0, RESULTS);
  fill(form.empty, [!store.jobs, all.length === 0], () => {
    if (!store.jobs) return el("p.hint", {}, "Loading …");
    return all.length
      ? null
      : note(
          "Nothing made yet",
          "Choose a length and press “Make the video”. It is made in the background: you can close this page meanwhile.",
        );
  });
  cards(form.results, [...queue, ...done], (job) => videoCard(job, { onSettings: use }));
}

function use(from) {
  form.model.value = from.model;
  choose();
  form.frames.value = from.frames ?? 64;
  form.seed.input.value = from.seed ?? 0;
  form.labels.set(from.label);
  form.prompt.value = from.prompt ?? "";
  form.negative.value = from.negative ?? "";
  form.steps.value = from.steps ?? "";
  form.rollout.value = from.rollout ?? "";
  form.backend.value = from.backend ?? "torch";
  form.decoder.value = from.decoder ?? "full";
  form.students.checked = Boolean(from.students);
  form.sheet.checked = Boolean(from.sheet);
  form.loop.checked = Boolean(from.loop);
  if (from.guidance_scale) {
    form.guided = true;
    form.guidance.set(from.guidance_scale);
  }
  changed();
  form.model.focus();
}

export const make = { mount, shown: changed, open: ({ settings: from }) => from && use(from) };
