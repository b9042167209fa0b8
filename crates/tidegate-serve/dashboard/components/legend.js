// The legend of a chart: for each series its colour, its name, and its value under the cursor, or the last one.
// Each is a button that hides and shows its line.

import { fill, h, setAttribute, setText } from "../dom.js";
import { isNumber } from "../numbers.js";
import * as time from "../time.js";
import { colorName } from "./plot_options.js";

/// `onToggle(name)` is called when a series is to be hidden or shown.
export function legend(format, onToggle) {
  const at = h("span.legend-time");
  const list = h("ul.legend-list");
  const element = h("div.legend", {}, list, at);
  let entries = [];

  const entryOf = (series, position, alone) => {
    const value = h("span.legend-value");
    const content = [h("span.legend-mark", { "aria-hidden": "true", style: { "--mark": `var(${colorName(series, position)})` } }), h("span.legend-name", {}, series.name), value];
    const inner = alone ? h("span.legend-entry", {}, content) : h("button.legend-entry", { type: "button", onclick: () => onToggle(series.name) }, content);
    return { name: series.name, value, inner, alone, element: h("li", {}, inner) };
  };

  return {
    element,
    /// `index` is that of the cursor, or null.
    update({ times, series }, hidden, index) {
      if (entries.length !== series.length || entries.some((entry, position) => entry.name !== series[position].name)) {
        entries = series.map((one, position) => entryOf(one, position, series.length === 1));
        fill(list, entries.map((entry) => entry.element));
      }
      setText(at, index === null ? "" : time.clock(times[index]));
      series.forEach(({ values }, position) => {
        const entry = entries[position];
        setText(entry.value, format(index === null ? values.findLast(isNumber) : values[index]));
        if (!entry.alone) setAttribute(entry.inner, "aria-pressed", String(!hidden.has(entry.name)));
      });
    },
  };
}
