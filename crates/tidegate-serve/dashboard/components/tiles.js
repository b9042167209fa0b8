// Figures in a row: a label, a large number, and a line below it.

import { h, setAttribute, setText } from "../dom.js";

/// `tiles`: `[{label, hint}]`. `update` takes, for each, `{value, note, level}` or null when it is not known.
export function tiles(label, list) {
  const parts = list.map(({ label: name, hint }) => {
    const value = h("dd.tile-value", {}, "—");
    const note = h("dd.tile-note");
    return { value, note, element: h("div.tile", { title: hint }, h("dt.tile-label", {}, name), value, note) };
  });
  const element = h("dl.tiles", { "aria-label": label, style: { "--tiles": list.length } }, parts.map((part) => part.element));
  return {
    element,
    update(values) {
      values.forEach((given, index) => {
        const { value, note, element: tile } = parts[index];
        setText(value, given?.value ?? "—");
        setText(note, given?.note ?? "");
        setAttribute(tile, "data-level", given?.level);
      });
    },
  };
}
