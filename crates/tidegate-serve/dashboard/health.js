// What is to be said about a job: pure functions from a status to sentences. The worst comes first.

import * as numbers from "./numbers.js";
import * as time from "./time.js";

const SEVERITY = { bad: 0, warn: 1, info: 2, good: 3 };

/// How the pipeline is: `{level, title, detail}`, at least one, the worst first.
export function pipeline(status, job) {
  const found = [...errors(status), ...away(status), ...pace(status, job), ...phase(status)];
  if (status.gone > 0) {
    const detail = "They are no longer in the source and cannot be had again. Longer retention at the source prevents it.";
    found.push({ level: "warn", title: `${numbers.plain(status.gone)} records expired before they were read`, detail });
  }
  if (found.length === 0) found.push({ level: "good", title: "Keeping up", detail: fresh(status) });
  return found.sort((a, b) => SEVERITY[a.level] - SEVERITY[b.level]);
}

function errors(status) {
  const found = [];
  if (status.commit_error) {
    const title = "Commits are failing: nothing is lost, and nothing goes on";
    found.push({ level: "bad", title, detail: status.commit_error });
  }
  if (status.load_error) {
    const waiting = status.last_seq - status.loaded_seq;
    const title = waiting > 0 ? `Loads are failing: ${numbers.plain(waiting)} commits wait for the warehouse` : "The last load failed";
    found.push({ level: "bad", title, detail: status.load_error });
  }
  return found;
}

// What cannot be reached. Storage and the warehouse are said where commits and loads fail.
function away({ source, storage, commit_error: commitError, load_error: loadError }) {
  const found = [];
  const since = (reach) => (reach.since ? `since ${time.clock(time.parse(reach.since))}` : "now");
  if (source && !source.reachable) {
    const title = `The source cannot be reached, ${since(source)}: nothing is read, and what waits there is not known`;
    found.push({ level: "bad", title, detail: source.error ?? "" });
  }
  if (storage && !storage.reachable && !commitError && !loadError) {
    found.push({ level: "bad", title: `Storage cannot be reached, ${since(storage)}`, detail: storage.error ?? "" });
  }
  return found;
}

// Each stage that takes longer than its interval.
function slow(status) {
  const said = {
    batch: { what: "Batches take", follows: "Batches grow meanwhile, and rows come later." },
    load: { what: "Loads take", follows: "Rows are queryable later than the interval says; nothing is lost by it." },
  };
  return (status.slow ?? []).map(({ stage, seconds, interval_seconds: interval, key }) => {
    const { what, follows } = said[stage] ?? { what: `${stage} takes`, follows: "" };
    return { level: "warn", title: `${what} ${numbers.duration(seconds)}, and ${key} is ${numbers.duration(interval)}`, detail: follows };
  });
}

function pace(status, job) {
  const found = [];
  const slowest = status.latency?.queryable?.p99;
  if (slowest > job.contract_seconds) {
    const detail = `99 of 100 events are queryable within ${numbers.duration(slowest)} of when they could be read; the contract is ${numbers.duration(job.contract_seconds)}.`;
    found.push({ level: "bad", title: "Slower than the contract", detail });
  }
  if (status.behind && status.phase === "running") {
    const title = `Behind by ${numbers.compact(status.lag_total)} records`;
    const detail = numbers.isNumber(status.catch_up_seconds)
      ? `Caught up in about ${numbers.duration(status.catch_up_seconds)} at this rate.`
      : "Not catching up: more comes in than is processed.";
    found.push({ level: "warn", title, detail });
  }
  return [...found, ...slow(status)];
}

function phase(status) {
  if (status.complete) return [{ level: "info", title: "Complete: the source has ended", detail: "All windows are final." }];
  const titles = { starting: "Starting: opening the log and rebuilding state", stopping: "Stopping: committing what is in flight", stopped: "Stopped" };
  return titles[status.phase] ? [{ level: "info", title: titles[status.phase], detail: "" }] : [];
}

function fresh(status) {
  const { queryable, commit } = status.latency ?? {};
  if (numbers.isNumber(queryable?.p50)) return `An event is queryable ${numbers.duration(queryable.p50)} after it could be read (median).`;
  if (numbers.isNumber(commit?.p50)) return `An event is committed ${numbers.duration(commit.p50)} after it could be read (median).`;
  return "Nothing waits at the source.";
}

/// The rates of data quality, in the order in which they are shown: `{key, title, explains, value, threshold, over}`.
/// Without a threshold, `threshold` and `over` are null; without records in the last 5 minutes, `value` is.
export function rates(status, job) {
  return RATES.map(({ key, title, explains }) => {
    const value = status.quality?.[key] ?? null;
    const threshold = job.thresholds?.[key] ?? null;
    return { key, title, explains, value, threshold, over: threshold === null || value === null ? null : value > threshold };
  });
}

const RATES = [
  { key: "schema_violation_rate", title: "Schema violations", explains: "records that do not fit the schema" },
  { key: "business_rule_rate", title: "Broken business rules", explains: "records that fit the schema and break a rule" },
  { key: "null_rate", title: "Missing values", explains: "records without a value that is required" },
  { key: "duplicate_rate", title: "Duplicates", explains: "exact repeats, which were dropped" },
  { key: "rejected_rate", title: "Rejected", explains: "records that were rejected, for any reason" },
  { key: "late_rate", title: "Late", explains: "events behind the watermark, which were kept" },
  { key: "update_rate", title: "Updates", explains: "rows that replaced one of the same key, or lost to it" },
];

/// What is to be said about the quality of the data: as `pipeline`.
export function quality(status, job) {
  const over = rates(status, job).filter((rate) => rate.over);
  if (over.length > 0) {
    const detail = over.map((rate) => `${rate.title} ${numbers.percent(rate.value)}, allowed ${numbers.percent(rate.threshold)}`).join(" · ");
    return [{ level: "warn", title: over.length === 1 ? "One rate is over its threshold" : `${over.length} rates are over their thresholds`, detail }];
  }
  const known = rates(status, job).some((rate) => rate.value !== null);
  if (!known) return [{ level: "info", title: "No records in the last 5 minutes", detail: "Rates appear when records come." }];
  return [{ level: "good", title: "All rates are within their thresholds", detail: "" }];
}
