// Figures in a row: a label, a large number, and a line below it.

import { h, setAttribute, setText } from "../dom.js";
import { sparkline } from "./sparkline.js";

/// `tiles`: `[{label, hint, course}]`. `update` takes, for each, `{value, note, level}` or null when it is not known;
/// with `course`, also `points` for a small line beside the number.
export function tiles(label, list) {
  const parts = list.map(({ label: name, hint, course }) => {
    const value = h("dd.tile-value", {}, "—");
    const note = h("dd.tile-note");
    const spark = course ? sparkline() : null;
    return { value, note, spark, element: h("div.tile", { title: hint }, h("dt.tile-label", {}, name), value, note, spark && h("dd.tile-course", {}, spark.element)) };
  });
  const element = h("dl.tiles", { "aria-label": label, style: { "--tiles": list.length } }, parts.map((part) => part.element));
  return {
    element,
    update(values) {
      values.forEach((given, index) => {
        const { value, note, spark, element: tile } = parts[index];
        setText(value, given?.value ?? "—");
        setText(note, given?.note ?? "");
        setAttribute(tile, "data-level", given?.level);
        if (given?.points) spark?.update(given.points);
      });
    },
  };
}
