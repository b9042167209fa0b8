// The data of the mock: every figure is a function of the time, so that history, answers and pushes agree.

const STATUSES = { COMPLETED: 0.82, PENDING: 0.12, FAILED: 0.06 };
const CURRENCIES = { USD: 0.55, EUR: 0.31, GBP: 0.14 };
const MERCHANTS = Object.fromEntries(
  ["Northwind Market", "Blue Harbor", "Kettle & Co", "Paperleaf", "Ferrous Tools", "Lumen Energy", "Oakline", "Riverside Travel", "Sundry", "Tallgrass", "Umber Café", "Velo City"].map((name, index) => [name, 1 / (index + 2)]),
);
const AGGREGATES = [
  { name: "transaction_count", function: "count", type: "int64" },
  { name: "total_amount", function: "sum", type: "float64" },
  { name: "avg_amount", function: "avg", type: "float64" },
];

const view = (name, size, slide, group, computed = true) => ({ name, computed, size_seconds: size, slide_seconds: slide, groups: [{ name: group, type: "string" }], aggregates: AGGREGATES });
const VIEWS = [view("transactions_1m", 60, 60, "status"), view("transactions_5m", 300, 60, "status"), view("merchants_5m", 300, 300, "merchant"), view("currencies_5m", 300, 300, "currency"), view("taken_out_1m", 60, 60, "status", false)];
const GROUPS = { status: STATUSES, merchant: MERCHANTS, currency: CURRENCIES };
const CHARTS = [
  { title: "Transactions", view: "transactions_1m", value: "transaction_count", kind: "number" },
  { title: "Amount", view: "transactions_1m", value: "total_amount", kind: "number", unit: "USD" },
  { title: "Amount a minute", view: "transactions_1m", value: "total_amount", by: "status", kind: "line", unit: "USD" },
  { title: "Transactions a minute", view: "transactions_1m", value: "transaction_count", by: "status", kind: "stacked" },
  { title: "Top merchants", view: "merchants_5m", value: "total_amount", by: "merchant", kind: "top", unit: "USD" },
  { title: "Currencies", view: "currencies_5m", value: "total_amount", by: "currency", kind: "stacked", unit: "USD" },
];
const REASONS = { "decode.syntax": 0.31, "rule.amount_in_range": 0.34, "rule.currency_known": 0.2, "rule.status_known": 0.15 };
const STARTED = Date.now() / 1000 - 26 * 3600;

export const iso = (seconds) => new Date(seconds * 1000).toISOString().replace("Z", "000Z");

// Noise in [-1, 1] that is the same for the same input.
function noise(...parts) {
  let hash = 2166136261;
  for (const char of parts.join(" ")) hash = Math.imul(hash ^ char.charCodeAt(0), 16777619);
  return ((hash >>> 8) / 2 ** 24) * 2 - 1;
}

const rate = (at) => 20_000 * (1 + 0.25 * Math.sin(at / 1800) + 0.08 * Math.sin(at / 131) + 0.03 * noise("rate", Math.floor(at)));

export function job(mode) {
  return {
    name: "transactions", version: "0.9.0", started_at: iso(STARTED), event_time_column: "event_timestamp", delay_seconds: 600, batch_interval_seconds: 1,
    load_interval_seconds: 2, contract_seconds: 300, thresholds: { null_rate: 0.01, duplicate_rate: 0.0001, schema_violation_rate: 0, business_rule_rate: 0.001 },
    warehouse: "duckdb", loads: !mode.separate, hot: "memory", ingest: true, views: mode.noViews ? [] : VIEWS, charts: mode.charts === false ? [] : CHARTS,
  };
}

export function rows(name, from, to, clock, mode) {
  const now = clock - (mode.old ?? 0);
  const found = VIEWS.find((one) => one.name === name);
  if (!found || mode.empty) return [];
  const group = found.groups[0].name;
  const out = [];
  for (let start = Math.ceil(from / found.slide_seconds) * found.slide_seconds; start < Math.min(to, now); start += found.slide_seconds) {
    const part = Math.min(1, (now - start) / found.size_seconds);
    for (const [key, share] of Object.entries(GROUPS[group])) {
      const count = Math.round(rate(start) * share * found.size_seconds * part * (1 + 0.06 * noise(name, start, key)));
      const average = 82 + 9 * noise("avg", start, key);
      out.push({
        window_start: iso(start), window_end: iso(start + found.size_seconds), [group]: key, transaction_count: count, total_amount: count * average, avg_amount: average,
        final: start + found.size_seconds + 600 <= now,
      });
    }
  }
  return out;
}

export function status(at, mode) {
  const read = mode.empty ? 0 : Math.round((at - STARTED) * 20_000);
  const rejected = Math.round(read * 0.006);
  const [late, duplicates] = [Math.round(read * 0.005), Math.round(read * 0.01)];
  const seq = mode.empty ? 0 : Math.floor(at - STARTED);
  const behind = Boolean(mode.behind);
  const latency = (scale) => ({ p50: 0.6 * scale, p95: 1.1 * scale, p99: 1.6 * scale * (1 + 0.2 * noise(scale, Math.floor(at / 5))) });
  const lag = Object.fromEntries([0, 1, 2, 3].map((id) => [id, behind ? 400_000 + 90_000 * id : Math.round(300 + 280 * noise("lag", id, Math.floor(at)))]));
  const slow = mode.slow ? 160 : 1;
  const none = { p50: null, p95: null, p99: null };
  return {
    phase: mode.phase ?? "running", read, events: read - rejected - late - duplicates, late, rejected, duplicates, gone: mode.gone ?? 0,
    rejected_by: mode.empty ? {} : Object.fromEntries(Object.entries(REASONS).map(([name, share]) => [name, Math.round(rejected * share)])),
    updates: Math.round(read * 0.02), commits: seq, last_seq: seq, complete: false, loaded_seq: mode.load_error ? Math.max(0, seq - 214) : Math.max(0, seq - 1),
    loads: Math.floor(seq / 2), rows_loaded: read, load_error: mode.load_error ?? null, commit_error: mode.commit_error ?? null, read_live: read, lag,
    watermarks: mode.empty ? {} : Object.fromEntries([0, 1, 2, 3].map((id) => [id, Math.round((at - (mode.old ?? 0) - 600 - 0.3 * id) * 1e6)])),
    last_batch: { records: Math.round(rate(at)), files: 8, bytes: 2_400_000, encode_seconds: 0.14 + 0.03 * noise("e", Math.floor(at)), commit_seconds: 0.05 },
    last_load: { rows: mode.empty ? 0 : Math.round(2 * rate(at)), seconds: 0.62 + 0.2 * noise("l", Math.floor(at / 2)) },
    uptime_seconds: at - STARTED, state_keys: mode.empty ? 0 : 12_100_000, state_bytes: mode.empty ? 0 : 312_000_000, in_flight_bytes: 9_400_000,
    now: iso(at), input_rate: mode.empty ? 0 : rate(at), processing_rate: mode.empty ? 0 : rate(at - 1) * (behind ? 1.4 : 1),
    lag_total: Object.values(lag).reduce((a, b) => a + b), catch_up_seconds: behind ? 240 : null, behind, memory_bytes: 1_020_000_000 + 2e7 * noise("m", Math.floor(at / 10)),
    ...outside(at, mode), lateness: mode.empty ? none : { p50: 0.3, p95: 2.1, p99: 640 },
    unknown_fields: mode.empty ? {} : { channel: 81_204, "metadata.ip": 312 }, unknown_fields_total: mode.empty ? 0 : 81_530,
    quality: mode.empty ? null : {
      null_rate: 0.0041 + 0.001 * noise("n", Math.floor(at / 20)), duplicate_rate: 0.0101, schema_violation_rate: mode.clean ? 0 : 0.0011, business_rule_rate: mode.clean ? 0.0004 : 0.0049,
      late_rate: 0.005 + 0.0006 * noise("late", Math.floor(at / 20)), rejected_rate: 0.006, update_rate: 0.02 + 0.001 * noise("u", Math.floor(at / 15)),
    },
    latency: mode.empty ? { read: none, commit: none, queryable: none } : { read: latency(0.05), commit: latency(1), queryable: latency(2.4 * slow) },
  };
}

// What is outside of the job: reachable or not, and whether stages keep their intervals.
function outside(at, mode) {
  const reach = (error, since) => ({ reachable: !error, since: error ? iso(since) : null, away_seconds: error ? at - since : null, error: error ?? null });
  const slow = mode.slowLoads ? [{ stage: "load", seconds: 15, interval_seconds: 2, key: "load.interval" }] : [];
  const loads = { warehouse: reach(mode.load_error, at - 60) };
  if (mode.separate) Object.assign(loads, { warehouse: null, loaded_seq: null, loads: null, rows_loaded: null, last_load: null, load_failures: null, load_error: null, updates: null });
  return { source: reach(mode.source_error, at - 95), storage: reach(mode.commit_error, at - 60), slow, loads_here: !mode.separate, ...loads };
}

export function history(from, to, step, mode) {
  const times = [];
  if (!mode.empty) for (let at = Math.ceil(from / step) * step; at <= to; at += step) times.push(at);
  const points = times.map((at) => status(at, mode));
  const pick = (value) => points.map(value);
  const series = {
    batch_seconds: pick((one) => one.last_batch.encode_seconds + one.last_batch.commit_seconds), load_seconds: pick((one) => one.last_load?.seconds ?? null), rows_per_batch: pick((one) => one.last_batch.records),
  };
  for (const name of ["input_rate", "processing_rate", "lag_total", "state_bytes", "state_keys", "memory_bytes"]) series[name] = pick((one) => one[name]);
  for (const name of ["read", "commit", "queryable"]) series[`latency_${name}_p99`] = pick((one) => one.latency[name].p99);
  for (const name of Object.keys(points[0]?.quality ?? {})) series[name] = pick((one) => one.quality[name]);
  return { step_seconds: step, times: times.map(iso), series };
}

export function log(before, limit, now, mode) {
  const newest = Math.min((before ?? Infinity) - 1, status(now, mode).last_seq);
  const records = Array.from({ length: Math.max(0, Math.min(limit, newest)) }, (_, index) => newest - index).map((seq) => ({
    seq, committed_at: iso(STARTED + seq), read: 20_000, events: 19_580, late: 100, rejected: 120, duplicates: 200, files: 8, bytes: 2_400_000 + (seq % 97) * 1000,
    spans: [0, 1, 2, 3].map((partition) => ({ partition, from: seq * 5000, to: seq * 5000 + 5000 })),
  }));
  return { records };
}

export function rejected(reason, before, limit, now, mode) {
  if (mode.empty) return { rejected: [], next: null, served_by: [] };
  const end = before ? Date.parse(before.split(",")[0]) / 1000 : now;
  // The second payload would be a script if it were ever taken for markup.
  const payloads = [
    ['{"transaction_id":"TXN_1764093600_0042","amount":-12.500000000000000001,"currency":"USD","merchant":"Umber Café","tags":[]}', "utf8"],
    ['{"merchant":"<img src=x onerror=\\"document.body.dataset.pwned=1\\">","amount":', "utf8"],
    ["3q2+7wBm/w==", "base64"],
  ];
  const all = Array.from({ length: limit }, (_, index) => ({
    reasons: [reason ?? Object.keys(REASONS)[index % 4]], detail: index % 3 === 0 ? "rule `amount_in_range` is not true" : undefined, payload: payloads[index % 3][0], payload_encoding: payloads[index % 3][1],
    partition: index % 4, offset: 81_000_000 - index * 37, timestamp: iso(end - index - 1.4), rejected_at: iso(end - index - 1),
  }));
  const last = all.at(-1);
  return { rejected: all, next: `${last.rejected_at},${last.partition},${last.offset}`, served_by: [] };
}

export function late(limit, now, mode) {
  if (mode.empty) return { late: [] };
  return {
    late: Array.from({ length: limit }, (_, index) => ({
      transaction_id: `TXN_1764093600_${String(1000 + index)}`, event_timestamp: iso(now - 900 - index * 13), amount: 19.99 + index, currency: "EUR", merchant: "Oakline", status: "COMPLETED",
    })),
  };
}
