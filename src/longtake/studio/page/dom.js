// Elements, formats and small parts that every view uses.

const AGO_MS = 20000;

// el("button.primary", {type: "button", onclick: f}, "Play"): an element with classes, attributes,
// listeners and children. null and false children are left out.
export function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && !key.startsWith("aria") && key !== "list" && key !== "form") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function icon(name) {
  const svg = svgEl("svg", { "aria-hidden": "true", class: "glyph" });
  svg.append(svgEl("use", { href: `#icon-${name}` }));
  return svg;
}

// Puts the symbols of icons.svg into the page: a reference to the file would be asked for again by
// each new icon, and stay empty while the server is away.
export async function loadIcons() {
  const text = await (await fetch("/page/icons.svg")).text();
  const symbols = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  symbols.setAttribute("aria-hidden", "true");
  symbols.classList.add("symbols");
  for (const each of symbols.querySelectorAll("symbol")) each.id = `icon-${each.id}`;
  document.body.append(symbols);
}

export function svgEl(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Replaces the children only if `key` differs from the last call, so that polling does not restart
// videos. The focus goes to the control that takes the place of the focused one.
export function fill(node, key, make) {
  const text = JSON.stringify(key);
  if (node.drawnFrom === text) return;
  node.drawnFrom = text;
  const held = document.activeElement;
  node.replaceChildren(...[make()].flat().filter(Boolean));
  if (held !== document.activeElement) focusIn(node, held);
}

const CONTROLS = "button:enabled, a[href], input:enabled, select:enabled, summary, [tabindex='0']";
const nameOf = (node) => node.getAttribute("aria-label") ?? node.textContent;

// Focuses the control of a node that is called as `held` was, or else its first one.
export function focusIn(node, held = null) {
  const found = [...(node?.querySelectorAll(CONTROLS) ?? [])];
  const same = held && found.find((each) => each.matches(held.localName) && nameOf(each) === nameOf(held));
  (same ?? found[0])?.focus({ preventScroll: true });
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

export function about(seconds) {
  if (seconds < 1) return "under a second";
  if (seconds < 90) return `about ${Math.round(seconds)} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1e6) return `${Math.round(count / 1000)} kB`;
  return `${(count / 1e6).toFixed(1)} MB`;
}

export function number(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Number(value.toPrecision(4)).toString();
}

// How long ago a time, in seconds since 1970, is; the element keeps up with the clock.
export function ago(seconds) {
  return el("time", { dateTime: new Date(seconds * 1000).toISOString() }, agoText(seconds));
}

setInterval(() => {
  for (const node of document.querySelectorAll("time"))
    node.textContent = agoText(Date.parse(node.dateTime) / 1000);
}, AGO_MS);

function agoText(seconds) {
  const passed = Date.now() / 1000 - seconds;
  if (passed < 60) return "just now";
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  if (passed < 86400) return `${Math.floor(passed / 3600)} h ago`;
  return new Date(seconds * 1000).toLocaleDateString("en", { day: "numeric", month: "short" });
}

export function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

export function toast(text, kind = "") {
  const node = el(`p.toast${kind ? `.${kind}` : ""}`, {}, text);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), kind === "bad" ? 9000 : 4500);
}

// Does the work of a button unless it is being done; a disabled button would lose the focus.
export async function once(button, work) {
  if (button.ariaDisabled) return;
  button.ariaDisabled = "true";
  try {
    await work();
  } finally {
    button.ariaDisabled = null;
  }
}

// A message in place of what is missing: title, what to do next, and a button for it.
export function note(title, text, ...actions) {
  return el(
    "div.empty",
    {},
    el("p.title", {}, title),
    el("p", {}, text),
    actions.length ? el("div.row", {}, ...actions) : null,
  );
}

export function problem(text, ...actions) {
  return el(
    "div.problem",
    { role: "alert" },
    el("p", {}, text),
    actions.length ? el("div.row", {}, ...actions) : null,
  );
}

// Asks in a modal dialog; resolves to true if confirmed. The dialog's "close" event is not used: it
// comes late, and may be that of what the dialog showed before.
export function confirm(title, text, yes) {
  const dialog = document.getElementById("dialog");
  return new Promise((resolve) => {
    const answer = (value) => {
      dialog.close();
      resolve(value);
    };
    const cancel = el("button", { type: "button", onclick: () => answer(false) }, "Cancel");
    const confirmed = el("button.danger", { type: "button", onclick: () => answer(true) }, yes);
    dialog.replaceChildren(
      el("h2", { id: "dialog-title" }, title),
      el("p", {}, text),
      el("div.row.end", {}, cancel, confirmed),
    );
    dialog.className = "small";
    dialog.oncancel = () => resolve(false); // the Escape key, which closes it too
    dialog.showModal();
    cancel.focus();
  });
}

export function command(text) {
  const button = el("button.quiet", { type: "button" }, icon("copy"), "Copy");
  const code = el("code", { tabIndex: 0, role: "region", "aria-label": "Command" }, text);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied the command.");
    } catch {
      getSelection().selectAllChildren(code); // the clipboard needs HTTPS or 127.0.0.1
      toast("Selected the command; copy it with Ctrl+C.");
    }
  });
  return el("div.command", {}, code, button);
}
