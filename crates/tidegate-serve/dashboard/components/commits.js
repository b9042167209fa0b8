// The newest records of the commit log, and older ones page by page.

import * as api from "../api.js";
import { h, setText } from "../dom.js";
import * as numbers from "../numbers.js";
import { listen, read } from "../store.js";
import * as time from "../time.js";
import { table } from "./table.js";

const PAGE = 10;

/// Follows the log as `last_seq` of the status moves, unless older records are shown.
export function commits() {
  const view = table({
    caption: "Commits",
    empty: "Nothing has been committed yet.",
    columns: [
      { title: "Commit", value: (row) => numbers.plain(row.seq) },
      { title: "At", value: (row) => time.clock(time.parse(row.committed_at)), hint: (row) => time.full(time.parse(row.committed_at)) },
      { title: "Read", number: true, value: (row) => numbers.plain(row.read) },
      { title: "Events", number: true, value: (row) => numbers.plain(row.events) },
      { title: "Late", number: true, value: (row) => numbers.plain(row.late) },
      { title: "Rejected", number: true, value: (row) => numbers.plain(row.rejected) },
      { title: "Duplicates", number: true, value: (row) => numbers.plain(row.duplicates) },
      { title: "Files", number: true, value: (row) => numbers.plain(row.files) },
      { title: "Size", number: true, value: (row) => numbers.bytes(row.bytes) },
      { title: "In the warehouse", value: (row) => (read("status").loaded_seq === null ? "—" : row.seq <= read("status").loaded_seq ? "loaded" : "waits") },
    ],
  });
  const problem = h("p.note", { hidden: true, "data-level": "bad" });
  const newest = h("button.button", { type: "button", onclick: () => show(null) }, "Newest");
  const older = h("button.button", { type: "button", onclick: () => show(oldest) }, "Older");
  const element = h("div", {}, view.element, problem, h("div.buttons", {}, newest, older));
  let before = null;
  let oldest = null;
  let shownSeq = -1;
  let busy = false;

  const show = async (from) => {
    before = from;
    busy = true;
    try {
      const { records } = await api.get("v1/log", { limit: PAGE, before });
      view.update(records);
      oldest = records.at(-1)?.seq ?? null;
      shownSeq = records[0]?.seq ?? 0;
      older.disabled = oldest === null || oldest <= 1;
      newest.disabled = before === null;
      problem.hidden = true;
    } catch (error) {
      problem.hidden = false;
      setText(problem, error.message);
    }
    busy = false;
  };
  const follow = () => {
    const { last_seq: last } = read("status");
    if (!busy && before === null && read("connection").state === "live" && last !== shownSeq) show(null);
  };
  const off = listen(["status", "connection"], follow);
  show(null);
  return { element, stop: off };
}
