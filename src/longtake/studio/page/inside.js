// Inside: what a model's autoencoder keeps of a clip: reconstruction, latents as pictures, noise.
import { api } from "./api.js";
import { el, fill, note, number, once, problem } from "./dom.js";
import { facts, field, fileField, modelSelect } from "./forms.js";
import { attempt, downloads, player, progress } from "./jobcard.js";
import { active, statusText, store } from "./store.js";

const parts = {};
let chosen = null; // id of the job that is shown

function mount(panel) {
  parts.model = modelSelect(() => {
    const model = store.model(parts.model.value);
    parts.facts.textContent = model ? facts(model) : "";
  }, "reconstruct");
  parts.facts = el("p.hint");
  parts.clip = fileField(
    "Choose a clip or a picture",
    "video/*,image/*",
    "It is cut to the model's size and stays on this machine.",
    ready,
  );
  parts.start = el("button.primary", { type: "submit", disabled: true }, "Look inside");
  parts.earlier = el("div");
  parts.result = el("section.results", { "aria-label": "Reconstruction" });
  panel.append(
    el("h2.sr", {}, "Inside"),
    el(
      "div.two",
      {},
      el(
        "form.card.controls",
        { "aria-label": "Clip and model", onsubmit: submit },
        el("div.stack.close", {}, field("Model", parts.model), parts.facts),
        parts.clip.node,
        parts.start,
        parts.earlier,
      ),
      parts.result,
    ),
  );
  store.onChange(draw);
}

function ready() {
  parts.start.disabled = !parts.clip.value();
}

async function submit(event) {
  event.preventDefault();
  const settings = { model: parts.model.value, upload: parts.clip.value() };
  const start = async () => (chosen = (await api.create("reconstruct", settings)).id);
  await once(parts.start, () => attempt(start));
}

function draw() {
  const jobs = (store.jobs ?? []).filter((job) => job.kind === "reconstruct");
  if (!jobs.some((job) => job.id === chosen)) chosen = jobs[0]?.id ?? null;
  fill(parts.earlier, [jobs.map((job) => job.id), chosen], () => (jobs.length > 1 ? earlier(jobs) : null));
  const job = store.job(chosen);
  fill(parts.result, [job, !store.jobs], () =>
    job ? shown(job) : store.jobs ? nothing() : el("p.hint", {}, "Loading …"),
  );
}

const nothing = () =>
  note(
    "Give it a clip of yours",
    "You see the original beside what the autoencoder rebuilds of it, the latent channels or planes as pictures, and the latent at growing noise.",
  );

function earlier(jobs) {
  const select = el("select", { onchange: () => ((chosen = select.value), draw()) });
  jobs.forEach((job) =>
    select.append(
      el(
        "option",
        { value: job.id, selected: job.id === chosen },
        `${job.settings.model}, ${new Date(job.created * 1000).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit" })}`,
      ),
    ),
  );
  return field("Shown", select);
}

function shown(job) {
  if (active(job)) return el("div.card", {}, el("h3", {}, statusText(job)), progress(job));
  if (job.status === "failed") return problem(job.error || "It failed.");
  const names = (job.files ?? []).map((each) => each.name);
  const latents = names.filter((name) => /^latents?_.*\.png$/.test(name));
  const found = [pairOf(job), scores(job.result ?? {})];
  if (latents.length) found.push(latentsOf(job, latents));
  found.push(noiseOf(job), downloads(job));
  return found.filter(Boolean);
}

// Original and reconstruction, which start, stop and move together.
function pairOf(job) {
  const [original, rebuilt] = ["original.mp4", "reconstruction.mp4"].map((name) => player(job, name));
  rebuilt.controls = false;
  const follow = () => (rebuilt.currentTime = original.currentTime);
  original.addEventListener("play", () => rebuilt.play());
  original.addEventListener("pause", () => (rebuilt.pause(), follow()));
  original.addEventListener("seeking", follow);
  const side = (video, text) => el("figure", {}, el("div.screen", {}, video), el("figcaption", {}, text));
  return el(
    "div.card",
    {},
    el("div.halves", {}, side(original, "Original, at the model's size"), side(rebuilt, "Reconstruction")),
  );
}

function scores(result) {
  const rows = Object.entries(result).filter(([, value]) => typeof value === "number");
  if (!rows.length) return null;
  const names = { psnr: "PSNR in dB", frame_psnr: "PSNR, mean of frames", ssim: "SSIM", frames: "Frames" };
  return el(
    "dl.meters",
    {},
    ...rows.map(([name, value]) =>
      el("div", {}, el("dt", {}, names[name] ?? name.replaceAll("_", " ")), el("dd", {}, number(value))),
    ),
  );
}

function latentsOf(job, names) {
  const pictures = names.map((name) => {
    const text = name.replace(/^latents?_|\.png$/g, "").replaceAll("_", " ");
    return el(
      "figure",
      {},
      el("img.frames", { src: api.file(job, name), alt: `Latent ${text}`, loading: "lazy" }),
      el("figcaption", {}, text),
    );
  });
  return el(
    "div.card",
    {},
    el("h3", {}, "The latent"),
    el(
      "p.hint",
      {},
      "What the diffusion model works on: a row for each channel of the volume with its latent frames, or for each plane with its channels.",
    ),
    el("div.stack", {}, ...pictures),
  );
}

// The noisy latent and its clean estimate, decoded, at each noise time.
function noiseOf(job) {
  const steps = job.result?.noise ?? [];
  if (!steps.length) return null;
  const box = el("div.halves");
  const said = el("output");
  const draw = (i) => {
    const { time, noisy, estimate } = steps[i];
    said.textContent = `t = ${time}`;
    slide.setAttribute("aria-valuetext", `t = ${time}`);
    box.replaceChildren(
      noisePicture(job, noisy, "Noisy", time),
      noisePicture(job, estimate, "Estimate of the clean clip", time),
    );
  };
  const slide = el("input", {
    type: "range",
    min: 0,
    max: steps.length - 1,
    step: 1,
    value: Math.floor(steps.length / 2),
    id: "noise-time",
    oninput: () => draw(Number(slide.value)),
  });
  draw(Math.floor(steps.length / 2));
  return el(
    "div.card",
    {},
    el("h3", {}, "Noise time"),
    el(
      "p.hint",
      {},
      "The latent with noise added, decoded, and the network's estimate of the clean one from it. Time 0 is clean, 1 is noise alone.",
    ),
    box,
    el("div.row.spread", {}, el("label", { htmlFor: "noise-time" }, "Time"), said),
    slide,
  );
}

function noisePicture(job, name, text, time) {
  const picture = el("img.frames", { src: api.file(job, name), alt: `${text} at time ${time}` });
  return el("figure", {}, el("div.screen", {}, picture), el("figcaption", {}, text));
}

export const inside = { mount };
