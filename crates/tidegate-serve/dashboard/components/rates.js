// The rates of data quality, each with its threshold, its course, and a word for how it stands.

import { h, icon, fill, setAttribute, setStyle, setText } from "../dom.js";
import * as numbers from "../numbers.js";
import { sparkline } from "./sparkline.js";

/// `update` takes what `health.rates` gives, and the course of each as `{times, values, from, to}` by key.
export function rateList(rates) {
  const lines = new Map(rates.map((rate) => [rate.key, newLine(rate)]));
  return {
    element: h("ul.rates", {}, [...lines.values()].map((line) => line.element)),
    update(now) {
      for (const rate of now) update(lines.get(rate.key), rate);
    },
    course(key, points) {
      lines.get(key).spark.update(points);
    },
  };
}

function newLine({ title, explains, threshold }) {
  const line = { value: h("p.rate-value"), word: h("p.rate-word"), meter: h("span.meter", { "aria-hidden": "true" }), spark: sparkline(threshold), shown: null };
  line.element = h("li.rate", {},
    h("h3.rate-title", {}, title), h("p.rate-explains", {}, explains),
    h("div.rate-line", {}, line.value, line.spark.element), threshold === null ? null : line.meter, line.word);
  return line;
}

function update(line, { value, threshold, over }) {
  const level = over === null ? null : over ? "bad" : "good";
  setText(line.value, numbers.percent(value));
  setAttribute(line.element, "data-level", level);
  if (threshold !== null) setStyle(line.meter, { "--share": fillOf(value, threshold) });
  const text = wording(value, threshold, over);
  if (line.shown === text) return;
  line.shown = text;
  fill(line.word, level ? icon(level, 14) : null, h("span", {}, text));
}

// The threshold is at half of the meter, so that there is room to be over it.
function fillOf(value, threshold) {
  if (value === null || value === 0) return 0;
  return threshold === 0 ? 1 : Math.min(1, value / threshold / 2);
}

function wording(value, threshold, over) {
  if (value === null) return "No records in the last 5 minutes";
  if (threshold === null) return "No threshold";
  const allowed = threshold === 0 ? "none is allowed" : `up to ${numbers.percent(threshold)} is allowed`;
  return `${over ? "Over the threshold" : "Within the threshold"}: ${allowed}`;
}
