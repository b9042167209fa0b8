// Which tier served what, and how fresh it is.

import { fill, h } from "../dom.js";
import * as numbers from "../numbers.js";
import * as time from "../time.js";
import { note } from "./notice.js";

const TIERS = {
  hot: "Hot: the values of the newest windows, from memory or Redis",
  warm: "Warm: the warehouse",
  cold: "Cold: the files that the commit log names",
};

/// The line below what a view shows. `update` takes ViewRows.
export function freshness() {
  const element = h("div.fresh");
  let before = "";
  return {
    element,
    update(rows) {
      const parts = rows.served.map((part) => ({ ...part, text: textOf(part) }));
      const now = JSON.stringify([parts, rows.fallbacks, rows.cut, rows.error, rows.pushedAt && Math.floor(rows.pushedAt)]);
      if (now === before) return;
      before = now;
      fill(element,
        h("ul.tiers", { "aria-label": "Served by" },
          rows.pushedAt === null ? null : h("li.tier", { "data-tier": "live", title: "Pushed as it changes" }, h("b", {}, "live"), `as of ${time.clock(rows.pushedAt)}`),
          parts.map((part) => h("li.tier", { "data-tier": part.tier, title: TIERS[part.tier] }, h("b", {}, part.tier), part.text))),
        rows.fallbacks.map((fallback) => note("warn", `The ${fallback.tier} tier could not answer: ${fallback.reason}`)),
        rows.cut ? note("warn", "There are more rows than can be shown. Choose a shorter range.") : null,
        rows.error ? note("bad", rows.error) : null);
    },
  };
}

function textOf({ from, to, as_of: asOf, rows }) {
  const range = `${time.minute(time.parse(from))} – ${time.minute(time.parse(to))}`;
  const fresh = asOf ? `, as of ${time.clock(time.parse(asOf))}` : "";
  return `${range}, ${numbers.plain(rows)} rows${fresh}`;
}
