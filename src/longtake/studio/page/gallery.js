// Gallery: everything that was made, with its exact settings.
import { api, PAGE } from "./api.js";
import { ago, bytes, command, confirm, el, fill, icon, note, plural } from "./dom.js";
import { segments } from "./forms.js";
import {
  attempt,
  badge,
  cards,
  described,
  downloads,
  goTo,
  player,
  progress,
  remove,
  seenVideo,
  settingsTable,
} from "./jobcard.js";
import { active, canContinue, file, store, titleOf, video } from "./store.js";

const KINDS = {
  all: "All",
  live: "Live",
  make: "Made",
  reconstruct: "Inside",
  compare: "Compared",
  train: "Trained",
  uploads: "Uploads",
};
const parts = {};
let kind = "all";
let older = []; // jobs of the pages after the first one
let whole = false; // there are no older ones
let uploads = null;

function mount(panel) {
  parts.list = el("div.tiles");
  parts.empty = el("div");
  const kinds = Object.entries(KINDS).map(([value, text]) => ({ value, text }));
  panel.append(
    el("h2.sr", {}, "Gallery"),
    segments("Show", kinds, kind, (value) => ((kind = value), shown())),
    parts.empty,
    parts.list,
    (parts.more = el("div.row")),
  );
  panel.querySelector("fieldset").classList.add("filter");
  store.onChange(draw);
}

function shown() {
  if (kind === "uploads") attempt(async () => (uploads = await api.uploads()));
  draw();
}

const known = () => [...(store.jobs ?? []), ...older.filter((job) => !store.job(job.id))];

// The next page of older jobs; with a count, all of them again up to this number.
async function readOlder(count = older.length + 1) {
  const found = [];
  do {
    const next = await api.older((found.at(-1) ?? store.jobs.at(-1)).id);
    found.push(...next);
    whole = next.length < PAGE;
  } while (!whole && found.length < count);
  older = found;
}

// Does something with a job, which the list of older ones, that is not asked for again, may have.
async function act(work) {
  await attempt(work);
  if (older.length) await attempt(() => readOlder(older.length));
}

const matches = (job) => kind === "all" || job.kind === kind || (kind === "make" && job.kind === "video");

function draw() {
  if (kind === "uploads") return drawUploads();
  const jobs = known().filter(matches);
  fill(parts.more, [whole, store.jobs?.length], () =>
    !whole && store.jobs?.length >= PAGE
      ? el("button", { type: "button", onclick: () => attempt(() => readOlder()) }, "Show older ones")
      : null,
  );
  fill(parts.empty, [!store.jobs, jobs.length === 0, kind], () => {
    if (!store.jobs) return el("p.hint", {}, "Loading …");
    if (jobs.length) return null;
    if (kind !== "all")
      return note(`Nothing under “${KINDS[kind]}”`, "Choose “All” to see everything that was made.");
    return note(
      "Nothing here yet",
      "Every video, training and comparison is kept here with the settings that repeat it.",
      el(
        "button.primary",
        { type: "button", onclick: () => goTo("live", {}) },
        icon("play"),
        "Play something",
      ),
    );
  });
  cards(parts.list, jobs, tile);
}

function drawUploads() {
  fill(parts.more, "uploads", () => null);
  fill(parts.empty, [uploads === null, uploads?.length === 0, kind], () => {
    if (uploads === null) return el("p.hint", {}, "Loading …");
    if (uploads.length) return null;
    return note("No uploads", "Pictures and clips that you give to videos, Inside or Train are kept here.");
  });
  cards(parts.list, uploads ?? [], uploadTile);
}

function uploadTile(each) {
  const erase = el(
    "button.quiet",
    { type: "button", onclick: () => removeUpload(each) },
    icon("trash"),
    "Delete",
  );
  const picture = el("img.frames", { src: each.preview, alt: `Uploaded ${each.kind}`, loading: "lazy" });
  return el(
    "article.tile",
    {},
    el("div.poster", {}, picture),
    el(
      "div.tile-text",
      {},
      el("h3", {}, each.kind === "image" ? "Picture" : "Clip"),
      el("p.hint", {}, `${bytes(each.bytes)} · ${each.jobs ? plural(each.jobs, "job") : "no job"}`),
      el("p.hint", {}, ago(each.created)),
      erase,
    ),
  );
}

async function removeUpload(each) {
  const text = each.jobs
    ? `${plural(each.jobs, "job")} in the Gallery used it; the commands that repeat them need it. This cannot be undone.`
    : "It is deleted from the disk. This cannot be undone.";
  if (!(await confirm("Delete this upload?", text, "Delete"))) return;
  await attempt(() => api.removeUpload(each.id));
  shown();
}

function tile(job) {
  const { seed } = job.settings ?? {};
  const words = [seed !== undefined && `seed ${seed}`, described(job)].filter(Boolean).join(" · ");
  const open = el("button.tile-open", { type: "button", onclick: () => details(job) }, titleOf(job));
  return el(
    "article.tile",
    {},
    poster(job),
    el(
      "div.tile-text",
      {},
      el("h3", {}, open),
      badge(job),
      el("p.hint.short", {}, words || KINDS[job.kind] || job.kind),
      active(job) ? progress(job) : el("p.hint", {}, ago(job.created)),
    ),
  );
}

// The first frame of the video, which plays while the pointer is on it.
function poster(job) {
  const found = file(job, /^reconstruction\.mp4$/) ?? video(job);
  if (!found || active(job)) {
    const picture = active(job) ? null : file(job, /\.png$/);
    return el(
      "div.poster",
      {},
      picture
        ? el("img.frames", { src: api.file(job, picture.name), alt: "", loading: "lazy" })
        : icon("film"),
    );
  }
  const options = { preload: "metadata", tabIndex: -1, "aria-hidden": "true" };
  const shown = seenVideo(`${api.file(job, found.name)}#t=0.01`, options);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const box = el("div.poster", {}, shown);
  box.addEventListener("pointerenter", () => still.matches || shown.play().catch(() => {}));
  box.addEventListener("pointerleave", () => shown.pause());
  return box;
}

function details(job) {
  const dialog = document.getElementById("dialog");
  const close = el("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const button = (name, text, work) =>
    el(`button${name}`, { type: "button", onclick: () => (dialog.close(), work()) }, text);
  const goes =
    canContinue(job) && button(".primary", "Continue", () => act(() => api.resume(job.id)));
  const stops = active(job) && button("", "Stop", () => act(() => api.stop(job.id)));
  const again =
    ["make", "live"].includes(job.kind) &&
    button("", "Use these settings", () => goTo("make", { settings: job.settings }));
  const repeats =
    job.steerable &&
    job.changes.length > 0 &&
    !active(job) &&
    button("", "Repeat with its changes", async () => {
      await act(() => api.create(job.kind, job.settings, job.changes));
      goTo("live", {});
    });
  const erase = button(".quiet.danger-text", "Delete …", () => remove(job, act));
  const shown = active(job) ? null : player(job);
  dialog.className = "large";
  dialog.oncancel = null;
  dialog.replaceChildren(
    el("div.row.spread", {}, el("h2", { id: "dialog-title" }, titleOf(job)), badge(job)),
    el(
      "div.detail",
      {},
      shown ? el("div.screen", {}, shown) : "",
      el(
        "div.stack",
        {},
        job.error ? el("div.problem", {}, el("p", {}, job.error)) : "",
        settingsTable(job),
        downloads(job) ?? "",
      ),
    ),
    job.command ? command(job.command) : "",
    el(
      "div.row.wrap.end",
      {},
      ...[erase, repeats, again, stops, goes, close].filter(Boolean),
    ),
  );
  dialog.showModal();
  close.focus();
}

export const gallery = { mount, shown };
