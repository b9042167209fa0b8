// How the pipeline is: is it keeping up, is anything failing, where does the time go.

import { card, page } from "../components/card.js";
import { commits } from "../components/commits.js";
import { stages } from "../components/latency.js";
import { verdict } from "../components/notice.js";
import { partitions } from "../components/partitions.js";
import { plot } from "../components/plot.js";
import { rangePicker } from "../components/range.js";
import { tiles } from "../components/tiles.js";
import { fill, h } from "../dom.js";
import * as health from "../health.js";
import { History } from "../history.js";
import * as numbers from "../numbers.js";
import { listen, read } from "../store.js";

export const operations = { title: "Operations", mount };

const EMPTY = { title: "No history yet", detail: "The job keeps its figures from its start on; the first come within seconds." };
const perSecond = (value) => `${numbers.compact(value)}/s`;

// The charts, each with the series of the history that it shows.
function plots(job) {
  const trigger = [{ value: job.batch_interval_seconds, label: `batch.interval ${numbers.duration(job.batch_interval_seconds)}` }];
  const loading = [{ value: job.load_interval_seconds, label: `load.interval ${numbers.duration(job.load_interval_seconds)}` }];
  const contract = [{ value: job.contract_seconds, label: `contract ${numbers.duration(job.contract_seconds)}` }];
  const all = [
    { title: "Input and processing", sub: "Records a second: read from the source, and committed", format: perSecond, series: { "read": "input_rate", "committed": "processing_rate" } },
    { title: "Lag", sub: "Records that wait at the source", format: numbers.compact, series: { "waiting": "lag_total" } },
    { title: "Batch duration", sub: "Encoding and committing; beyond the trigger, batches grow", format: numbers.duration, lines: () => trigger, series: { "batch": "batch_seconds" } },
    { title: "End-to-end latency, p99", sub: "From when the event could be read, on a logarithmic axis", format: numbers.duration, log: true, lines: () => contract, series: { "read": "latency_read_p99", "committed": "latency_commit_p99", "queryable": "latency_queryable_p99" } },
    { title: "Loads", sub: "One load into the warehouse; beyond its interval, rows come later", format: numbers.duration, lines: () => loading, series: { "load": "load_seconds" } },
    { title: "Memory", sub: "Of the process, and of the fingerprints in it", format: numbers.bytes, binary: true, series: { "process": "memory_bytes", "state": "state_bytes" } },
  ];
  return all.filter(({ series }) => job.loads || !("load" in series));
}

function mount(root) {
  const job = read("job");
  const said = verdict();
  const figures = tiles("Now", [
    { label: "Read", hint: "Records read from the source, a second" },
    { label: "Committed", hint: "Records committed, a second" },
    { label: "Waiting", hint: "Records that the source holds beyond what was read" },
    { label: "Queryable after", hint: "From when the event could be read until it is in the warehouse, 99 of 100 events, last 5 minutes" },
    { label: "State", hint: "Fingerprints and window groups in memory" },
    { label: "Memory", hint: "Resident memory of the process" },
  ]);
  const latency = stages(job.contract_seconds);
  const lags = partitions();
  const log = commits();
  const loads = tiles("Commits and loads", [{ label: "Commits" }, { label: "Last batch" }, { label: "Last load" }, { label: "Waits for the warehouse" }]);
  const drawn = plots(job).map((options) => ({ ...options, names: Object.values(options.series), plot: plot({ ...options, label: options.title, empty: EMPTY, sync: "operations", height: 190 }) }));

  fill(root, page("Operations", rangePicker(), said.element, figures.element,
    h("div.stack", {},
      card({ title: "From event to query", sub: "How long after it could be read an event passed each stage, over the last 5 minutes" }, latency.element),
      h("div.grid", {}, drawn.map((one) => card({ title: one.title, sub: one.sub }, one.plot.element))),
      card({ title: "Partitions", sub: "What waits, and how far event time has come" }, lags.element),
      card({ title: "Commits and loads" }, loads.element, log.element))));

  const history = new History(() => {
    for (const { names, series, plot: chart } of drawn) {
      const { times, values, from, to } = history.series(names);
      chart.update({ times, series: Object.keys(series).map((name, index) => ({ name, values: values[index] })), from, to });
    }
  });
  const update = () => {
    const status = read("status");
    said.update(health.pipeline(status, job));
    figures.update(figuresOf(status, job));
    latency.update(status.latency, status.lateness);
    lags.update(status);
    loads.update(loadsOf(status, job));
  };
  const off = listen(["status"], update);
  update();
  return () => {
    off();
    log.stop();
    history.stop();
    for (const one of drawn) one.plot.stop();
  };
}

function figuresOf(status, job) {
  const queryable = status.latency?.queryable;
  const catchUp = status.behind && numbers.isNumber(status.catch_up_seconds) ? `caught up in about ${numbers.duration(status.catch_up_seconds)}` : null;
  return [
    { value: perSecond(status.input_rate), note: `${numbers.compact(status.read_live)} since the start` },
    { value: perSecond(status.processing_rate), note: `${numbers.compact(status.read)} in all` },
    waitingOf(status, catchUp),
    { value: numbers.duration(queryable?.p99), note: `contract ${numbers.duration(job.contract_seconds)}`, level: queryable?.p99 > job.contract_seconds ? "bad" : null },
    { value: numbers.compact(status.state_keys), note: `keys, ${numbers.bytes(status.state_bytes)}` },
    { value: numbers.bytes(status.memory_bytes), note: `${numbers.bytes(status.in_flight_bytes)} in flight` },
  ];
}

// What is left at a source that cannot be reached is not known.
function waitingOf(status, catchUp) {
  if (status.source && !status.source.reachable) return { value: "—", note: "the source cannot be reached", level: "bad" };
  return { value: numbers.compact(status.lag_total), note: catchUp ?? (status.behind ? "not catching up" : "keeping up"), level: status.behind ? "warn" : null };
}

function loadsOf(status, job) {
  const { last_batch: batch, last_load: load } = status;
  const waiting = status.last_seq - status.loaded_seq;
  const isSlow = (stage) => (status.slow ?? []).some((one) => one.stage === stage);
  const elsewhere = { value: "—", note: job.warehouse ? "another process loads" : "no warehouse is configured" };
  return [
    { value: numbers.compact(status.commits), note: `newest ${numbers.plain(status.last_seq)}`, level: status.commit_error ? "bad" : null },
    { value: `${numbers.compact(batch.records)}`, note: `records in ${numbers.duration(batch.encode_seconds + batch.commit_seconds)}, ${numbers.bytes(batch.bytes)}`, level: isSlow("batch") ? "warn" : null },
    !job.loads ? elsewhere : { value: `${numbers.compact(load.rows)}`, note: `rows in ${numbers.duration(load.seconds)}, ${numbers.compact(status.rows_loaded)} since the start`, level: isSlow("load") ? "warn" : null },
    job.loads ? { value: numbers.plain(waiting), note: waiting === 1 ? "commit" : "commits", level: status.load_error ? "bad" : null } : elsewhere,
  ];
}
