// The rows of one view over the range that is shown: from the API at first and after each reconnect, then as they
// are pushed.

import * as api from "./api.js";
import * as live from "./live.js";
import { listen, read } from "./store.js";
import * as time from "./time.js";

const PAGE_ROWS = 10_000;
const PAGES_MAX = 20;
const ROWS_MAX = PAGE_ROWS * PAGES_MAX;

/// The time of the newest event, as far as the watermarks tell, and at most now.
export function newestEvent(status, job) {
  const watermarks = Object.values(status?.watermarks ?? {}).map(time.parse).filter((at) => at !== null);
  if (watermarks.length === 0) return time.now();
  return Math.min(time.now(), Math.max(...watermarks) + (job?.delay_seconds ?? 0));
}

/// The range that charts of views show. It ends now; when the newest event is further back than the range is long,
/// as with files of last week, it ends there, so that there is something to see.
export function shownRange() {
  const newest = newestEvent(read("status"), read("job"));
  const length = read("range");
  const anchored = time.now() - newest > length;
  const to = anchored ? newest : time.now();
  return { from: to - length, to, newest, anchored };
}

/// Rows of a view, kept up to date.
export class ViewRows {
  #rows = new Map();
  #abort = null;
  #ends = [];
  #onChange;

  /// `state`: loading, ready or failed (then `error`). `served` and `fallbacks` are of the last answer of the API.
  constructor(view, onChange) {
    this.view = view;
    this.state = "loading";
    this.error = null;
    this.served = [];
    this.fallbacks = [];
    this.cut = false;
    this.pushedAt = null;
    this.#onChange = onChange;
    this.#ends.push(
      live.watchView(view.name, (rows) => {
        this.#take(rows);
        this.pushedAt = time.now();
        onChange();
      }),
      listen(["epoch", "range"], () => this.load()),
    );
    this.load();
  }

  /// All rows, each with its window as `start` and `end` in seconds.
  all() {
    return [...this.#rows.values()];
  }

  /// Asks the API for the whole range again.
  async load() {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    const { from, to } = shownRange();
    try {
      await this.#loadPages(from, to, abort.signal);
      this.#forgetBefore(from);
      this.state = "ready";
      this.error = null;
    } catch (error) {
      if (abort.signal.aborted) return;
      this.state = this.#rows.size > 0 ? "ready" : "failed";
      this.error = error.message;
    }
    this.#onChange();
  }

  /// Stops listening.
  stop() {
    this.#abort?.abort();
    for (const end of this.#ends) end();
  }

  async #loadPages(from, to, signal) {
    // Whole windows: those that have begun before the range but reach into it, too.
    let start = Math.floor((from - this.view.size_seconds) / this.view.slide_seconds) * this.view.slide_seconds;
    const served = new Map();
    const fallbacks = new Map();
    this.cut = false;
    for (let page = 0; page < PAGES_MAX; page += 1) {
      const parameters = { view: this.view.name, from: time.iso(start), to: time.iso(to + this.view.slide_seconds), limit: PAGE_ROWS };
      const answer = await api.get("v1/aggregates", parameters, signal);
      this.#take(answer.rows);
      for (const part of answer.served_by ?? []) addPart(served, part);
      for (const fallback of answer.fallbacks ?? []) fallbacks.set(`${fallback.tier} ${fallback.reason}`, fallback);
      if (!answer.truncated || answer.rows.length === 0) break;
      const next = time.parse(answer.rows.at(-1).window_start);
      this.cut = page === PAGES_MAX - 1 || next <= start;
      if (next <= start) break;
      start = next;
    }
    this.served = [...served.values()];
    this.fallbacks = [...fallbacks.values()];
  }

  #take(rows) {
    const groups = this.view.groups.map((group) => group.name);
    for (const row of rows) {
      const key = JSON.stringify([row.window_start, ...groups.map((name) => row[name])]);
      this.#rows.set(key, { ...row, start: time.parse(row.window_start), end: time.parse(row.window_end) });
    }
    if (this.#rows.size > ROWS_MAX) this.#forgetBefore(shownRange().from);
  }

  #forgetBefore(from) {
    for (const [key, row] of this.#rows) {
      if (row.end < from) this.#rows.delete(key);
    }
  }
}

function addPart(served, part) {
  const before = served.get(part.tier);
  if (!before) served.set(part.tier, { ...part });
  else Object.assign(before, { to: part.to, as_of: part.as_of, rows: before.rows + part.rows });
}
