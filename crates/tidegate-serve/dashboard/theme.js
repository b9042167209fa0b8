// Light, dark, or as the system is: the button in the header, and the colours that canvases need.

import { fill, icon, setAttribute } from "./dom.js";

const ORDER = ["system", "light", "dark"];
const KEY = "tidegate.theme";
const watchers = new Set();
let cache = new Map();

/// Wires the button that goes round the three.
export function start(button) {
  button.addEventListener("click", () => {
    choose(ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length]);
    show(button);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show(button);
}

/// Calls `watcher` after each change of the colours. Returns what ends it.
export function onThemeChange(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/// A colour of the style sheet as it is now, for a canvas: `color("--accent")`, `color("--accent", 0.2)`.
export function color(name, alpha = 1) {
  const key = `${name} ${alpha}`;
  if (!cache.has(key)) cache.set(key, resolve(name, alpha));
  return cache.get(key);
}

function resolve(name, alpha) {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.style.setProperty("color", `var(${name})`);
  document.body.append(probe);
  const parts = getComputedStyle(probe).color.match(/[\d.]+/g) ?? ["128", "128", "128"];
  probe.remove();
  return `rgba(${parts.slice(0, 3).join(", ")}, ${alpha})`;
}

function chosen() {
  return document.documentElement.dataset.theme ?? "system";
}

function choose(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Storage may be forbidden; then the choice lasts as long as the page.
  }
  changed();
}

function changed() {
  cache = new Map();
  for (const watcher of watchers) watcher();
}

function show(button) {
  const names = { system: "as the system", light: "light", dark: "dark" };
  fill(button, icon(chosen(), 18));
  setAttribute(button, "aria-label", `Colours: ${names[chosen()]}. Change`);
  setAttribute(button, "title", `Colours: ${names[chosen()]}`);
}
