// Lag and watermark of each partition, the furthest behind first.

import { fill, h, setStyle, setText } from "../dom.js";
import * as numbers from "../numbers.js";
import * as time from "../time.js";
import { table } from "./table.js";

const SHOWN = 64;

/// `update` takes a status. Partitions and lanes have the same numbers, except in the files source.
export function partitions() {
  let total = 1;
  const view = table({
    caption: "Partitions",
    empty: "No partition has been assigned yet.",
    columns: [
      { title: "Partition", value: (row) => row.id },
      { title: "Waiting", number: true, value: (row) => numbers.plain(row.lag) },
      { title: "Share", draw: drawBar },
      { title: "Watermark", value: (row) => time.clock(row.watermark), hint: (row) => time.full(row.watermark) },
      { title: "Behind now", number: true, value: (row) => (row.watermark === null ? "—" : numbers.duration(Math.max(0, time.now() - row.watermark))) },
    ],
  });
  const more = h("p.quiet", { hidden: true });

  function drawBar(cell, row) {
    if (!cell.firstChild) fill(cell, h("span.bar", { "aria-hidden": "true" }));
    setStyle(cell.firstChild, { "--share": (row.lag ?? 0) / total });
  }

  return {
    element: h("div", {}, view.element, more),
    update(status) {
      const ids = [...new Set([...Object.keys(status.lag), ...Object.keys(status.watermarks)])];
      const rows = ids.map((id) => ({ id, lag: status.lag[id] ?? null, watermark: id in status.watermarks ? time.parse(status.watermarks[id]) : null }));
      total = Math.max(1, rows.reduce((sum, row) => sum + (row.lag ?? 0), 0));
      // In the order of their numbers while all of them fit, so that no line jumps.
      rows.sort((a, b) => (ids.length > SHOWN ? (b.lag ?? 0) - (a.lag ?? 0) : 0) || Number(a.id) - Number(b.id));
      view.update(rows.slice(0, SHOWN));
      more.hidden = rows.length <= SHOWN;
      setText(more, `And ${numbers.plain(rows.length - SHOWN)} more, which wait for less.`);
    },
  };
}
