// A list with bars, greatest first.

import { fill, h, setStyle, setText } from "../dom.js";
import { emptyState } from "./notice.js";

/// `format(value)` writes a number, `shareText(entry)` what stands behind it. With `onOpen(entry)`, each line is a button.
export function ranked({ label, format, shareText, onOpen, empty }) {
  const list = h("ol.ranked", { "aria-label": label });
  const element = h("div", {});
  let lines = [];

  const newLine = () => {
    const line = { name: h("span.ranked-name"), value: h("span.ranked-value"), share: h("span.ranked-share"), entry: null };
    const content = [line.name, line.value, line.share, h("span.ranked-bar", { "aria-hidden": "true" })];
    const inner = onOpen
      ? h("button.ranked-line", { type: "button", "aria-haspopup": "dialog", onclick: () => onOpen(line.entry) }, content)
      : h("div.ranked-line", {}, content);
    line.element = h("li", {}, inner);
    line.bar = content[3];
    return line;
  };

  return {
    element,
    update(entries) {
      if (entries.length === 0) {
        lines = [];
        fill(element, emptyState(empty.title, empty.detail));
        return;
      }
      if (list.parentNode !== element) fill(element, list);
      if (lines.length !== entries.length) {
        lines = entries.map((_, index) => lines[index] ?? newLine());
        fill(list, lines.map((line) => line.element));
      }
      const greatest = Math.max(...entries.map((entry) => Math.abs(entry.value)), Number.MIN_VALUE);
      entries.forEach((entry, index) => {
        const line = lines[index];
        line.entry = entry;
        setText(line.name, entry.label ?? entry.name);
        setText(line.value, format(entry.value));
        setText(line.share, shareText(entry));
        setStyle(line.bar, { "--share": Math.abs(entry.value) / greatest });
      });
    },
  };
}
