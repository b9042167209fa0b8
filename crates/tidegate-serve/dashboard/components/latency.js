// How long after it could be read an event was read, committed, queryable: the stages on one axis, with the contract.

import { h, setStyle, setText } from "../dom.js";
import * as numbers from "../numbers.js";

const STAGES = [
  { key: "read", title: "Read" },
  { key: "commit", title: "Committed" },
  { key: "queryable", title: "Queryable" },
];
const LOWEST_S = 0.01;
const TICKS_S = [0.1, 1, 10, 60, 600, 3600];

/// The axis is logarithmic, from 10 ms to beyond the contract. `update` takes the status's `latency` and `lateness`:
/// how old events were by then, by their own time.
export function stages(contractSeconds) {
  const highest = contractSeconds * 3;
  const place = (seconds) => Math.min(1, Math.max(0, Math.log(Math.max(seconds, LOWEST_S) / LOWEST_S) / Math.log(highest / LOWEST_S)));
  // Ticks that would run into the contract's label are left out.
  const ticks = TICKS_S.filter((tick) => tick < highest && Math.abs(place(tick) - place(contractSeconds)) > 0.1);
  const lines = STAGES.map(({ title }) => {
    const bar = h("span.span-bar");
    const middle = h("span.span-middle");
    const cells = ["p50", "p95", "p99"].map(() => h("td.number"));
    const track = h("td.span-cell", {}, h("span.span-track", { "aria-hidden": "true" }, bar, middle, h("span.span-limit", { style: { "--at": place(contractSeconds) } })));
    const row = h("tr", {}, h("th", { scope: "row" }, title), track, cells);
    return { bar, middle, cells, row, track };
  });
  const axis = h("div.span-axis", { "aria-hidden": "true" },
    ticks.map((tick) => h("span", { style: { "--at": place(tick) } }, numbers.duration(tick))),
    h("span.span-contract", { style: { "--at": place(contractSeconds) } }, `contract ${numbers.duration(contractSeconds)}`));
  const late = h("p.quiet");
  const table = h("table.spans", {},
    h("caption.unseen", {}, `Seconds after the event could be read, over the last 5 minutes; the contract is ${numbers.duration(contractSeconds)} until queryable`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Stage"), h("th.span-cell", { scope: "col" }, h("span.unseen", {}, "Span from p50 to p99"), axis), ["p50", "p95", "p99"].map((name) => h("th.number", { scope: "col" }, name)))),
    h("tbody", {}, lines.map((line) => line.row)));

  const element = h("div", {}, table, late);

  return {
    element,
    update(latency, lateness) {
      setText(late, numbers.isNumber(lateness?.p50)
        ? `By their own time, events were ${numbers.duration(lateness.p50)} old (median) when they could be read, and 99 of 100 less than ${numbers.duration(lateness.p99)}: how late their senders are, which is no part of the contract.`
        : "");
      STAGES.forEach(({ key }, index) => {
        const { bar, middle, cells, row } = lines[index];
        const found = numbers.isNumber(latency?.[key]?.p50) ? latency[key] : null;
        row.classList.toggle("is-empty", !found);
        ["p50", "p95", "p99"].forEach((name, position) => setText(cells[position], numbers.duration(found?.[name])));
        if (!found) return;
        setStyle(bar, { "--from": place(found.p50), "--to": place(found.p99) });
        setStyle(middle, { "--at": place(found.p95) });
        if (found.p99 > contractSeconds) row.dataset.level = "bad";
        else delete row.dataset.level;
      });
    },
  };
}
