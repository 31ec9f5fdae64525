// Tabs, theme and the line about the server; each view fills its own panel.
import { compare } from "./compare.js";
import { loadIcons, plural } from "./dom.js";
import { gallery } from "./gallery.js";
import { inside } from "./inside.js";
import { live } from "./live.js";
import { make } from "./make.js";
import { active, store } from "./store.js";
import { train } from "./train.js";

const views = { live, make, compare, inside, train, gallery };
const known = (name) => Object.hasOwn(views, name);
const tabs = [...document.querySelectorAll('[role="tab"]')];

// Shows a view; `options` are handed to it, such as the settings to start from. The browser's Back
// button leads to the view before it if `remember` is true.
export function show(name, options = null, { focus = false, remember = true } = {}) {
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
    if (chosen && focus) tab.focus();
    if (chosen) tab.parentElement.scrollLeft = tab.offsetLeft - 60; // where not all tabs fit
  }
  const keep = remember ? "pushState" : "replaceState";
  if (location.hash !== `#${name}`) history[keep](null, "", `#${name}`);
  document.title = `${name[0].toUpperCase()}${name.slice(1)} · longtake studio`;
  if (options) views[name].open?.(options);
  views[name].shown?.();
}

function walk(event) {
  const at = tabs.indexOf(event.currentTarget);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  show(tabs[(to + tabs.length) % tabs.length].id.slice(4), null, { focus: true, remember: false });
}

function themeButton() {
  const button = document.getElementById("theme");
  const order = ["auto", "light", "dark"];
  const root = document.documentElement;
  const say = () => {
    const now = root.dataset.theme ?? "auto";
    const words = { auto: "as the system", light: "light", dark: "dark" }[now];
    button.title = `Theme: ${words}`;
    button.setAttribute("aria-label", `Theme: ${words}. Change it.`);
  };
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(root.dataset.theme ?? "auto") + 1) % order.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("longtake-theme", next);
    } catch {
      // Storage is off: the choice lasts until the page is closed.
    }
    say();
  });
  say();
}

function status() {
  const offline = document.getElementById("offline");
  offline.hidden = !store.error;
  const text = store.error?.message ?? "";
  if (offline.textContent !== text) offline.textContent = text;
  const busy = (store.jobs ?? []).filter(active);
  const running = busy.filter((job) => job.status === "running").length;
  const waiting = busy.length - running;
  const parts = [running && `${running} running`, waiting && `${plural(waiting, "job")} waiting`].filter(
    Boolean,
  );
  const line = document.getElementById("work");
  line.className = `work${running ? " busy" : ""}`;
  if (line.textContent !== parts.join(", ")) line.textContent = parts.join(", ");
}

tabs.forEach((tab) => {
  tab.addEventListener("click", () => show(tab.id.slice(4)));
  tab.addEventListener("keydown", walk);
});
addEventListener("hashchange", () => {
  document.getElementById("dialog").close(); // it belongs to the view that is left
  if (known(location.hash.slice(1))) show(location.hash.slice(1));
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the tab
  document.getElementById("content").focus();
});
document.addEventListener("open-view", ({ detail }) => show(detail.name, detail.options, { focus: true }));
for (const [name, view] of Object.entries(views)) view.mount(document.getElementById(`panel-${name}`));
themeButton();
loadIcons().catch(() => {}); // buttons have words, too
store.onChange(status);
show(known(location.hash.slice(1)) ? location.hash.slice(1) : "live", null, { remember: false });
store.start();
