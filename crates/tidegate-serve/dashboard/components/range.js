// Picks how far back the charts go.

import { h } from "../dom.js";
import { read, write } from "../store.js";

const RANGES = [
  { seconds: 900, text: "15 min" },
  { seconds: 3600, text: "1 h" },
  { seconds: 21_600, text: "6 h" },
  { seconds: 86_400, text: "24 h" },
];

/// The choice as radio buttons, which the arrow keys move through.
export function rangePicker() {
  const choices = RANGES.map(({ seconds, text }) => {
    const input = h("input", { type: "radio", name: "range", value: seconds, checked: read("range") === seconds, onchange: () => write("range", seconds) });
    return h("label.segment", {}, input, h("span", {}, text));
  });
  return h("fieldset.segments", {}, h("legend.unseen", {}, "Time range"), choices);
}
