// Loaded before the page is drawn, so that a chosen theme does not flash the other one first.
"use strict";
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("longtake-theme");
  } catch {
    // Storage is off: the theme of the system is used.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
