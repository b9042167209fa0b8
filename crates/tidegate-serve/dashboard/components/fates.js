// Where every record went: events, late, rejected, duplicates. They add up to what was read.

import { h, setStyle, setText } from "../dom.js";
import * as numbers from "../numbers.js";

const FATES = [
  { key: "events", title: "Events" },
  { key: "late", title: "Late events, kept" },
  { key: "duplicates", title: "Duplicates, dropped" },
  { key: "rejected", title: "Rejected, kept apart" },
];

/// `update` takes a status.
export function fates() {
  const lines = FATES.map(({ key, title }) => {
    const bar = h("span.fate-part", { "data-fate": key });
    const count = h("dd.fate-count");
    const share = h("dd.fate-share");
    const entry = h("div.fate", {}, h("dt", {}, h("span.fate-mark", { "data-fate": key, "aria-hidden": "true" }), title), count, share);
    return { key, bar, count, share, entry };
  });
  const sum = h("p.fate-sum");
  return {
    element: h("div", {}, h("div.fate-bar", { "aria-hidden": "true" }, lines.map((line) => line.bar)), h("dl.fates", {}, lines.map((line) => line.entry)), sum),
    update(status) {
      for (const { key, bar, count, share } of lines) {
        const part = status.read > 0 ? status[key] / status.read : 0;
        // A part that is there is seen, however small it is.
        setStyle(bar, { "flex-grow": status[key] > 0 ? Math.max(part, 0.004) : 0 });
        setText(count, numbers.plain(status[key]));
        setText(share, numbers.percent(part));
      }
      const counted = FATES.reduce((all, { key }) => all + status[key], 0);
      setText(sum, counted === status.read
        ? `Together ${numbers.plain(status.read)}: exactly what was read and committed.`
        : `Together ${numbers.plain(counted)}, but ${numbers.plain(status.read)} were read.`);
    },
  };
}
