// Sentences with a level: good, info, warn, bad. The level is in an icon and a word, not in the colour alone.

import { fill, h, icon } from "../dom.js";

const WORDS = { good: "All well", info: "Note", warn: "Look", bad: "Problem" };

/// What `health` found: the first large, as the page's verdict; errors with their whole text.
export function verdict() {
  const element = h("div.verdicts");
  let before = "";
  return {
    element,
    update(found) {
      const now = JSON.stringify(found);
      if (now === before) return;
      before = now;
      fill(element, found.map(line));
    },
  };
}

function line({ level, title, detail }) {
  return h("div.verdict", { "data-level": level },
    icon(level, 20),
    h("div", {}, h("p.verdict-title", {}, h("span.unseen", {}, `${WORDS[level]}: `), title), detail ? h("p.verdict-detail", {}, detail) : null));
}

/// What stands where there is nothing to show yet: a sentence and what to do about it.
export function emptyState(title, detail) {
  return h("div.empty", {}, h("p.empty-title", {}, title), detail ? h("p.quiet", {}, detail) : null);
}

/// A small note with an icon, for something that is not as asked for.
export function note(level, text) {
  return h("p.note", { "data-level": level }, icon(level, 14), h("span", {}, text));
}
