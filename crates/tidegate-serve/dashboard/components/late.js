// The newest late events, with whatever columns the job has.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { listen, read } from "../store.js";
import * as time from "../time.js";
import { emptyState } from "./notice.js";
import { table } from "./table.js";

const ROWS = 10;
const COLUMNS_MAX = 60;
const REFRESH_MS = 10_000;

/// Asks again when the count of late events has moved, and at most every 10 seconds.
export function lateEvents() {
  const element = h("div", {}, h("p.quiet", {}, "Asking for late events …"));
  let shape = "";
  let view = null;
  let shown = -1;
  let askedAt = -Infinity;

  const show = async () => {
    askedAt = Date.now();
    const { late: count } = read("status");
    try {
      const { late } = await api.get("v1/late", { limit: ROWS });
      shown = count;
      draw(late);
    } catch (error) {
      shape = "";
      fill(element, emptyState("The late events could not be had", error.message));
    }
  };
  const draw = (rows) => {
    const names = columnsOf(rows);
    if (names.length === 0) {
      shape = "";
      fill(element, emptyState("No late events", "None came behind the watermark, or none is in the warehouse yet."));
      return;
    }
    if (JSON.stringify(names) !== shape) {
      shape = JSON.stringify(names);
      view = table({ caption: "Late events, newest first", columns: names.map((name) => ({ title: name, value: (row) => cell(row[name]) })) });
      fill(element, view.element);
    }
    view.update(rows);
  };
  const off = listen(["status"], () => {
    if (read("status").late !== shown && Date.now() - askedAt > REFRESH_MS) show();
  });
  show();
  return { element, stop: off };
}

// The event's time first, because that is why it was late.
function columnsOf(rows) {
  const names = new Set(rows.flatMap((row) => Object.keys(row)));
  const first = read("job").event_time_column;
  return [...(names.delete(first) ? [first] : []), ...names].slice(0, COLUMNS_MAX);
}

function cell(value) {
  if (value === null || value === undefined) return "—";
  if (typeof value === "object") return JSON.stringify(value);
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return time.full(time.parse(value));
  return String(value);
}
