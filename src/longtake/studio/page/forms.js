// Form controls for settings of a model: which model, labels in parts, prompt, guidance, seed, files.
import { api } from "./api.js";
import { bytes, el, icon, toast } from "./dom.js";
import { store } from "./store.js";

let count = 0;
export const newId = (name) => `${name}-${(count += 1)}`;

export function field(label, control, hint = null) {
  control.id ||= newId("field");
  const help = hint ? el("p.hint", { id: `${control.id}-hint` }, hint) : null;
  if (help) control.setAttribute("aria-describedby", help.id);
  return el("div.field", {}, el("label", { htmlFor: control.id }, label), control, help);
}

// A choice among the models that can do something: "make", "live", "reconstruct".
export function modelSelect(onchange, what = "make") {
  const select = el("select", { onchange });
  let drawn = "";
  store.onChange(() => {
    const able = (store.models ?? []).filter((model) => !model.can || model.can.includes(what));
    const names = able.map((model) => model.name).join();
    if (names === drawn) return;
    drawn = names;
    const before = select.value;
    select.replaceChildren(
      ...able.map((model) => el("option", { value: model.name }, model.title || model.name)),
    );
    if (able.some((model) => model.name === before)) select.value = before;
    if (select.value !== before) select.dispatchEvent(new Event("change"));
  });
  return select;
}

export function facts(model) {
  const [height, width] = model.size;
  return `${width} × ${height} pixels, ${model.fps} frames a second, ${model.steps} steps a clip of ${model.clip_frames} frames`;
}

const BACKENDS = { torch: "PyTorch", openvino: "OpenVINO" };

// Fills a choice with what can run a model's networks.
export function backends(select, model) {
  const names = model.backends ?? ["torch"];
  select.replaceChildren(...names.map((name) => el("option", { value: name }, BACKENDS[name] ?? name)));
}

// Fills a choice with the decoders of a model, by the size of their frames.
export function decoders(select, model) {
  const sizes = Object.entries(model.sizes ?? { full: model.size });
  select.replaceChildren(
    ...sizes.map(([name, [height, width]]) =>
      el("option", { value: name }, `${name}, ${width} × ${height}`),
    ),
  );
}

// The vocabulary of a model that knows some words alone.
export function words(model) {
  return model.words?.length ? ` It knows these words: ${model.words.join(", ")}.` : "";
}

// Segmented control: radio buttons that look like one bar, with arrow keys for free.
export function segments(legend, values, chosen, onchange) {
  const name = newId("segment");
  const options = values.map(({ value, text }) =>
    el(
      "label",
      {},
      el("input", { type: "radio", name, value, checked: value === chosen, onchange: () => onchange(value) }),
      el("span", {}, text),
    ),
  );
  return el("fieldset.segments", {}, el("legend", {}, legend), el("div.bar", {}, ...options));
}

// Parts of a model's label: its named labels, or those that its classes are made of when each
// class is a combination, as "dusk, clear, wind to the left".
export function labelParts(model) {
  const named = Object.entries(model.labels ?? {});
  if (named.length) return { named: true, parts: named.map(([name, values]) => ({ name, values })) };
  const rows = (model.classes ?? []).map((each) => each.split(", "));
  if (!rows.length) return { named: false, parts: [] };
  const parts = rows[0].map((_, i) => [...new Set(rows.map((row) => row[i]))]);
  const whole =
    rows.every((row) => row.length === parts.length) &&
    parts.reduce((n, part) => n * part.length, 1) === rows.length;
  const lists = whole ? parts : [model.classes];
  return {
    named: false,
    parts: lists.map((values, i) => ({ name: i ? `Label, part ${i + 1}` : "Label", values })),
  };
}

// Controls for the label of a model; `value()` is the label as the server reads it, null for "any".
export function labelControls(onchange) {
  const node = el("div.stack.labels");
  let parts = [];
  let named = false;
  let chosen = [];
  const draw = () => {
    const at = [...node.children].findIndex((child) => child.contains(document.activeElement));
    node.replaceChildren(...parts.map((part, i) => control(part, i)));
    node.children[at]?.querySelector("input:checked, select")?.focus();
  };
  const control = (part, i) => {
    const title = part.name[0].toUpperCase() + part.name.slice(1);
    const set = (value) => {
      chosen[i] = value;
      if (!named && value !== "") chosen = chosen.map((each, k) => each || parts[k].values[0]);
      if (!named && value === "") chosen = chosen.map(() => "");
      if (!named) draw();
      onchange();
    };
    const values = [
      { value: "", text: "any" },
      ...part.values.map((value) => ({ value, text: shorter(value, part.values) })),
    ];
    if (part.values.length > 7) {
      const select = el(
        "select",
        { onchange: () => set(select.value) },
        ...values.map(({ value, text }) => el("option", { value, selected: value === chosen[i] }, text)),
      );
      return field(title, select);
    }
    const bar = segments(title, values, chosen[i], set);
    if (!named && i) bar.classList.add("unnamed"); // parts of one label: one legend is enough to see
    return bar;
  };
  return {
    node,
    show(model) {
      ({ parts, named } = labelParts(model));
      chosen = parts.map(() => "");
      draw();
    },
    set(label) {
      const next = parts.map(
        (part) => part.values.find((value) => says(label, part.name, value, named)) ?? "",
      );
      if (next.join() === chosen.join()) return;
      chosen = next;
      draw();
    },
    value() {
      const given = chosen
        .map((value, i) => (named && value ? `${parts[i].name}=${value}` : value))
        .filter(Boolean);
      return given.length ? given.join(", ") : null;
    },
  };
}

function says(label, name, value, named) {
  const words = String(label ?? "").split(", ");
  return words.includes(named ? `${name}=${value}` : value);
}

// "wind to the left" and "wind to the right" are shown as "left" and "right" below one legend.
function shorter(value, values) {
  const words = value.split(" ");
  let same = 0;
  while (same < words.length - 1 && values.every((each) => each.split(" ")[same] === words[same])) same += 1;
  return values.length > 1 && same ? `${words[0]} ${words.slice(same).join(" ")}` : value;
}

export function slider(label, { min, max, step, value, unit = "" }, oninput) {
  const input = el("input", { type: "range", min, max, step, value, id: newId("slider") });
  const shown = el("output", { htmlFor: input.id });
  const show = () => (shown.textContent = `${input.value}${unit}`);
  input.addEventListener("input", () => {
    show();
    oninput(Number(input.value));
  });
  show();
  const set = (next) => {
    input.value = next;
    show();
  };
  return {
    node: el(
      "div.field",
      {},
      el("div.row.spread", {}, el("label", { htmlFor: input.id }, label), shown),
      input,
    ),
    input,
    set,
  };
}

export function seedField(onchange) {
  const input = el("input", { type: "number", min: 0, max: 2 ** 31 - 1, step: 1, value: 0, onchange });
  const dice = el(
    "button.icon",
    { type: "button", title: "Another seed", "aria-label": "Another seed" },
    icon("dice"),
  );
  dice.addEventListener("click", () => {
    input.value = Math.floor(Math.random() * 100000);
    onchange();
  });
  const node = field("Seed", input);
  const both = el("div.row.tight");
  input.replaceWith(both);
  both.append(input, dice);
  return { node, input };
}

// A file to upload: button, drop target and preview. `value()` is the id of the upload, or null.
export function fileField(label, accept, hint, onchange = () => {}) {
  const input = el("input.sr", { type: "file", accept, id: newId("file") });
  const preview = el("div.preview");
  const message = el("p.hint", { id: `${input.id}-hint`, "aria-live": "polite" }, hint);
  input.setAttribute("aria-describedby", message.id);
  const clear = el("button.quiet", { type: "button", hidden: true }, "Remove");
  const drop = el("label.drop", { htmlFor: input.id }, icon("upload"), el("span", {}, label));
  let uploaded = null;
  let pending = null; // the upload on its way
  const reset = () => {
    uploaded = pending = null;
    input.value = "";
    preview.replaceChildren();
    clear.hidden = true;
    message.textContent = hint;
    message.className = "hint";
  };
  const take = async (file) => {
    if (!file) return;
    reset();
    onchange();
    message.textContent = `Uploading ${file.name}, ${bytes(file.size)} …`;
    const mine = (pending = api.upload(file));
    try {
      const found = await mine;
      if (mine !== pending) return; // another file was chosen meanwhile
      [uploaded, pending] = [found, null];
    } catch (error) {
      if (mine !== pending) return;
      reset();
      message.textContent = error.message;
      message.className = "hint bad";
      onchange();
      return;
    }
    message.textContent = described(file, uploaded);
    clear.hidden = false;
    preview.replaceChildren(pictureOf(uploaded));
    onchange();
  };
  input.addEventListener("change", () => take(input.files[0]));
  clear.addEventListener("click", () => {
    api.removeUpload(uploaded.id).catch(() => {}); // a job needs it: it stays in the Gallery
    reset();
    onchange();
    input.focus();
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length > 1) toast("One file at a time: took the first one.");
    take(event.dataTransfer.files[0]);
  });
  const node = el("div.upload", {}, input, drop, preview, el("div.row.spread", {}, message, clear));
  // `ready()` resolves when no upload is on its way, so that what needs it does not start without it.
  return { node, value: () => uploaded?.id ?? null, ready: () => pending, reset };
}

function described(file, upload) {
  const size = `${upload.width} × ${upload.height} pixels`;
  if (upload.kind === "image") return `${file.name}: ${size}`;
  return `${file.name}: ${size}, ${upload.frames} frames at ${Number(upload.fps?.toPrecision(4))} a second`;
}

function pictureOf(upload) {
  if (upload.kind === "image") return el("img", { src: upload.preview, alt: "The uploaded picture" });
  const isVideo = /\.(mp4|webm|mov)$/.test(upload.preview ?? "");
  return isVideo
    ? el("video", { src: upload.preview, muted: true, loop: true, autoplay: true, playsInline: true })
    : el("img", { src: upload.preview, alt: "The first frame of the uploaded video" });
}
