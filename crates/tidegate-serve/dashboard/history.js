// The series that the job keeps of itself: asked for at first and after each reconnect, then gone on with from the
// status that is pushed.

import * as api from "./api.js";
import { listen, read } from "./store.js";
import * as time from "./time.js";

const POINTS_MAX = 900;

// What each series is in a status.
const FROM_STATUS = {
  input_rate: (status) => status.input_rate,
  processing_rate: (status) => status.processing_rate,
  lag_total: (status) => status.lag_total,
  batch_seconds: (status) => status.last_batch.encode_seconds + status.last_batch.commit_seconds,
  load_seconds: (status) => status.last_load?.seconds,
  rows_per_batch: (status) => status.last_batch.records,
  state_bytes: (status) => status.state_bytes,
  state_keys: (status) => status.state_keys,
  memory_bytes: (status) => status.memory_bytes,
  latency_read_p99: (status) => status.latency?.read?.p99,
  latency_commit_p99: (status) => status.latency?.commit?.p99,
  latency_queryable_p99: (status) => status.latency?.queryable?.p99,
};
const RATES = ["null_rate", "duplicate_rate", "schema_violation_rate", "business_rule_rate", "late_rate", "rejected_rate", "update_rate"];
for (const name of RATES) FROM_STATUS[name] = (status) => status.quality?.[name];

/// Series over the range that is shown, kept up to date.
export class History {
  #times = [];
  #series = {};
  #step = 1;
  #abort = null;
  #ends;
  #onChange;

  /// `state`: loading, ready or failed (then `error`).
  constructor(onChange) {
    this.state = "loading";
    this.error = null;
    this.#onChange = onChange;
    this.#ends = [listen(["status"], () => this.#append()), listen(["epoch", "range"], () => this.load())];
    this.load();
  }

  /// Asks the API for the whole range again.
  async load() {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    const length = read("range");
    const to = time.now();
    try {
      const parameters = { from: time.iso(to - length), to: time.iso(to), step: Math.max(10, Math.round(length / POINTS_MAX)) };
      const answer = await api.get("v1/history", parameters, abort.signal);
      this.#times = answer.times.map(time.parse);
      this.#series = answer.series;
      this.#step = answer.step_seconds;
      this.state = "ready";
      this.error = null;
    } catch (error) {
      if (abort.signal.aborted) return;
      this.state = this.#times.length > 0 ? "ready" : "failed";
      this.error = error.message;
    }
    this.#onChange();
  }

  /// `{times, values, from, to}` of these names over the range, with a gap where the job was not running.
  series(names) {
    const to = time.now();
    const from = to - read("range");
    const gap = 3.5 * this.#step;
    const times = [];
    const values = names.map(() => []);
    this.#times.forEach((at, index) => {
      if (at < from) return;
      if (times.length > 0 && at - times.at(-1) > gap) {
        times.push(times.at(-1) + this.#step);
        for (const list of values) list.push(null);
      }
      times.push(at);
      names.forEach((name, position) => values[position].push(this.#series[name]?.[index] ?? null));
    });
    return { times, values, from: time.axisFrom(times[0], from, to), to };
  }

  /// Stops listening.
  stop() {
    this.#abort?.abort();
    for (const end of this.#ends) end();
  }

  #append() {
    const status = read("status");
    const at = read("asOf");
    const spacing = Math.max(1, read("range") / POINTS_MAX);
    const last = this.#times.at(-1) ?? -Infinity;
    if (this.state === "ready" && at - last >= spacing) {
      this.#times.push(at);
      for (const [name, value] of Object.entries(FROM_STATUS)) {
        this.#series[name] ??= new Array(this.#times.length - 1).fill(null);
        this.#series[name].push(value(status) ?? null);
      }
      if (this.#times.length > 3 * POINTS_MAX) this.#trim();
    }
    this.#onChange();
  }

  #trim() {
    const count = this.#times.length - 2 * POINTS_MAX;
    this.#times.splice(0, count);
    for (const values of Object.values(this.#series)) values.splice(0, count);
  }
}
