// A job as a card: status and progress, result with player, sheet, downloads, and what can be done.
import { api } from "./api.js";
import { about, bytes, command, confirm, el, fill, focusIn, icon, number, plural, toast } from "./dom.js";
import { watch } from "./watching.js";
import { active, canContinue, file, statusText, store, titleOf, video } from "./store.js";

const MORE_FRAMES = 64;

export const goTo = (name, options) =>
  document.dispatchEvent(new CustomEvent("open-view", { detail: { name, options } }));

// Runs a request of a job; says in words what went wrong.
export async function attempt(work) {
  try {
    await work();
  } catch (error) {
    toast(error.message, "bad");
  }
  await store.refresh();
}

export async function remove(job, act = attempt) {
  const text = `The video and all files of this job are deleted from the disk. This cannot be undone.`;
  if (await confirm("Delete this job?", text, "Delete")) await act(() => api.remove(job.id));
}

export function badge(job) {
  return el(`span.badge.${job.status}`, {}, statusText(job));
}

export function progress(job) {
  const box = el("div.progress");
  showProgress(box, job);
  return box;
}

// What changes from second to second is drawn apart from the rest of a card, whose controls stay.
function showProgress(box, job) {
  const share = job.progress ?? (job.frames ? job.frames_done / job.frames : null);
  const bar = el("progress", { max: 1, "aria-label": `Progress of ${titleOf(job)}` });
  if (job.status === "queued") bar.value = 0;
  else if (share !== null) bar.value = share;
  const left = job.seconds_left
    ? `${about(job.seconds_left)} left`
    : job.status === "queued"
      ? "waiting for its turn"
      : "measuring the time …";
  const frames = job.frames
    ? `${number(job.frames_done)} of ${plural(job.frames, "frame")}`
    : job.frames_done
      ? plural(job.frames_done, "frame")
      : "";
  const text = [frames, left].filter(Boolean).join(", ");
  fill(box, [job.status, share, text], () => [bar, el("p.hint", {}, text)]);
}

// A job without what its progress shows.
export const still = (job) =>
  active(job) ? { ...job, frames_done: 0, seconds_left: null, progress: null, result: null } : job;

export function player(job, name = null) {
  const found = name ?? video(job)?.name;
  if (!found) return null;
  const options = {
    src: api.file(job, found),
    controls: true,
    loop: true,
    muted: true,
    playsInline: true,
    preload: "metadata",
  };
  return el("video.frames", { ...options, "aria-label": `Video ${found}` });
}

function screen(node) {
  return node && el("div.screen", {}, node);
}

export function downloads(job) {
  const links = (job.files ?? []).map((each) =>
    el(
      "li",
      {},
      el("a", { href: api.file(job, each.name), download: each.name }, each.name),
      el("span.hint", {}, ` ${bytes(each.bytes)}`),
    ),
  );
  return links.length
    ? el("details", {}, el("summary", {}, `Files (${links.length})`), el("ul.plain", {}, ...links))
    : null;
}

export function described(job) {
  const { label, prompt, steps, guidance_scale: scale, frames } = job.settings ?? {};
  const words = [
    !active(job) && job.frames_done && plural(job.frames_done, "frame"),
    (active(job) || !job.frames_done) && frames && plural(frames, "frame"),
    prompt || label,
    steps && `${steps} steps`,
    scale && `guidance ${scale}`,
  ];
  return words.filter(Boolean).join(" · ");
}

const NAMES = {
  model: "Model",
  frames: "Frames",
  seed: "Seed",
  label: "Label",
  prompt: "Prompt",
  negative: "Negative prompt",
  guidance_scale: "Guidance scale",
  steps: "Steps",
  rollout: "Rollout",
  backend: "Backend",
  decoder: "Decoder",
  students: "Students",
  start_image: "Start image",
  end_image: "End image",
  continue_video: "Continues",
  sheet: "Contact sheet",
  loop: "Loop",
  system: "System",
  size: "Size",
  budget_minutes: "Minutes",
  folder_name: "Folder",
  upload: "Upload",
  times: "Noise times",
  init_from: "Begins with",
  a: "A",
  b: "B",
};

export function settingsTable(job) {
  const rows = Object.entries(job.settings ?? {}).filter(
    ([, value]) => value !== null && value !== false && value !== "",
  );
  const cells = rows.map(([key, value]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, NAMES[key] ?? key.replaceAll("_", " ")),
      el("td", {}, value === true ? "yes" : String(value)),
    ),
  );
  const changes = (job.changes ?? []).map((each) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, `From frame ${number(each.from_frame ?? 0)}`),
      el("td", {}, changeText(each)),
    ),
  );
  return el("table.settings", {}, el("tbody", {}, ...cells, ...changes));
}

export function changeText(change) {
  const values = Object.entries(change.changed ?? change).filter(
    ([key, value]) => value !== null && !["from_frame", "step", "clip", "frame"].includes(key),
  );
  return values
    .map(
      ([key, value]) =>
        `${(NAMES[key] ?? key).toLowerCase()} ${typeof value === "object" ? JSON.stringify(value) : value}`,
    )
    .join(", ");
}

// The card in the tab Make: everything about one video.
export function videoCard(job, { onSettings }) {
  const sheet = file(job, /sheet.*\.png$/);
  const title = el("h3", {}, titleOf(job), el("span.hint", {}, ` seed ${job.settings?.seed ?? 0}`));
  const head = el("div.row.spread", {}, title, badge(job));
  const parts = [head, el("p.hint.short", {}, described(job))];
  if (active(job)) parts.push(progress(job));
  if (job.error) parts.push(el("div.problem", {}, el("p", {}, job.error)));
  const running = job.status === "running";
  const shown = running ? watch(job) : active(job) ? null : screen(player(job));
  if (job.status === "stopped" && !shown)
    parts.push(el("p.hint", {}, "Stopped before the first clip was whole."));
  parts.push(actions(job, onSettings));
  if (sheet && !active(job)) {
    const img = el("img.sheet", {
      src: api.file(job, sheet.name),
      alt: "Contact sheet: frames from first to last",
      loading: "lazy",
    });
    parts.push(el("details", {}, el("summary", {}, "Contact sheet"), img));
  }
  if (job.command)
    parts.push(el("details", {}, el("summary", {}, "The command that repeats it"), command(job.command)));
  if (!active(job)) parts.push(downloads(job));
  const text = el("div.stack", {}, ...parts.filter(Boolean));
  return el(`article.card.job${shown ? ".beside" : ""}`, { "data-job": job.id }, shown ?? "", text);
}

function actions(job, onSettings) {
  const button = (name, text, work, glyph) =>
    el(`button${name}`, { type: "button", onclick: work }, glyph ? icon(glyph) : null, text);
  if (active(job)) {
    return el(
      "div.row.wrap",
      {},
      button(
        "",
        job.status === "queued" ? "Take out of the queue" : "Stop and keep",
        () => attempt(() => api.stop(job.id)),
        "stop",
      ),
    );
  }
  const found = video(job);
  const more =
    canContinue(job) && button(".primary", "Continue", () => attempt(() => api.resume(job.id)), "play");
  const extend =
    job.status === "done" &&
    found &&
    !job.settings.loop &&
    !job.settings.end_image &&
    button(
      "",
      `Extend by ${MORE_FRAMES} frames`,
      () => attempt(() => api.resume(job.id, job.frames_done + MORE_FRAMES)),
      "plus",
    );
  const load =
    found &&
    el("a.button", { href: api.file(job, found.name), download: found.name }, icon("download"), "Download");
  const again = onSettings && button(".quiet", "Use these settings", () => onSettings(job.settings));
  const erase = button(".quiet.icon-only", "", () => remove(job), "trash");
  erase.setAttribute("aria-label", "Delete");
  erase.title = "Delete";
  return el("div.row.wrap", {}, ...[more, extend, load, again, erase].filter(Boolean));
}

// Shows a list of cards and keeps those that did not change, so that their players play on.
// A card is drawn again when its `key` differs.
export function cards(node, jobs, make, key = still) {
  const before = new Map([...node.children].map((child) => [child.jobId, child]));
  const now = jobs.map((job) => {
    const slot = before.get(job.id) ?? Object.assign(el("div.slot"), { jobId: job.id });
    fill(slot, [key(job), store.models?.length], () => make(job));
    const box = slot.querySelector(".progress");
    if (box) showProgress(box, job);
    return slot;
  });
  if (now.some((slot, i) => node.children[i] !== slot) || now.length !== node.children.length)
    keepFocus(node, now);
}

// Moves only what is out of place: a moved element would lose the focus and its video its place. The
// focus of a card that is gone goes to the card after it.
function keepFocus(node, now) {
  const held = [...node.children].findIndex((child) => child.contains(document.activeElement));
  for (const child of [...node.children]) if (!now.includes(child)) child.remove();
  now.forEach((slot, i) => node.children[i] !== slot && node.insertBefore(slot, node.children[i] ?? null));
  if (held >= 0 && !node.contains(document.activeElement))
    focusIn(node.children[Math.min(held, now.length - 1)] ?? node.closest("[role=tabpanel]"));
}

// A video that is loaded while it can be seen: a browser plays a limited number in one page.
const seen = new IntersectionObserver(
  (changes) => {
    for (const { target, isIntersecting } of changes) {
      if (isIntersecting) target.src = target.dataset.src;
      else if (target.hasAttribute("src")) {
        target.removeAttribute("src");
        target.load();
      }
    }
  },
  { rootMargin: "200px" },
);

export function seenVideo(src, attributes) {
  const node = el("video.frames", { muted: true, loop: true, playsInline: true, ...attributes });
  node.dataset.src = src;
  seen.observe(node);
  return node;
}
