"use strict";
// Before the page is drawn, so that it does not flash in the other theme.
try {
  const kept = localStorage.getItem("procedural-memory-theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch { /* storage is off: the system's theme is used */ }
