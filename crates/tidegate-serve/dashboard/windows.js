// From the rows of a view to what charts show: pure functions. A row is one window of one group; a group may be
// split over several rows when the view groups by more columns than the chart does.

const ADD = (a, b) => a + b;
const MERGES = { count: ADD, sum: ADD, min: Math.min, max: Math.max };
const SHOWN_SERIES = 7;

/// How values of this aggregate become one, or undefined when they cannot (an average, for one).
export function mergeOf(view, value) {
  return MERGES[view.aggregates.find((aggregate) => aggregate.name === value)?.function];
}

/// Whether values of this aggregate can be added up.
export function isAdditive(view, value) {
  return mergeOf(view, value) === ADD;
}

/// The name of a row's group in a column.
export function groupName(value) {
  return value === null || value === undefined || value === "" ? "(none)" : String(value);
}

/// One series for each value of the column `by` (or one in all), over the windows that start in [from, to) and have
/// ended by `newest`, the time of the newest event. `openFrom` is the start of the first window that can still change,
/// `left` how many groups have no series, because their values cannot be added up to one of others.
export function seriesOf(rows, { view, value, by, from, to, newest }) {
  const merge = mergeOf(view, value);
  const names = new Map();
  const times = new Set();
  let openFrom = null;
  for (const row of rows) {
    if (row.start < from || row.start >= to || row.end > newest) continue;
    if (!row.final && (openFrom === null || row.start < openFrom)) openFrom = row.start;
    times.add(row.start);
    const name = by ? groupName(row[by]) : "";
    if (!names.has(name)) names.set(name, new Map());
    put(names.get(name), row.start, number(row[value]), merge);
  }
  const starts = withGaps([...times].sort((a, b) => a - b), view.slide_seconds);
  const missing = merge === ADD ? 0 : null;
  const series = [...names.keys()].sort().map((name) => ({
    name: name || value,
    values: starts.map((start) => (times.has(start) ? (names.get(name).get(start) ?? missing) : null)),
  }));
  const shown = merge === ADD ? withOthers(series) : series.slice(0, SHOWN_SERIES);
  return { times: starts, series: shown, openFrom, left: merge === ADD ? 0 : series.length - shown.length };
}

/// Values of each group of `by` over the whole range, greatest first, with their share of the sum when there is one.
/// What cannot be merged is taken from the newest window that has ended.
export function ranking(rows, { view, value, by, from, to, newest }) {
  const merge = mergeOf(view, value);
  const inRange = rows.filter((row) => row.start >= from && row.start < to && (merge ? tiles(view, row) : row.end <= newest));
  const last = inRange.reduce((latest, row) => Math.max(latest, row.start), -Infinity);
  const values = new Map();
  for (const row of inRange) {
    if (merge || row.start === last) put(values, groupName(row[by]), number(row[value]), merge);
  }
  const ranked = [...values].map(([name, amount]) => ({ name, value: amount })).filter((entry) => entry.value !== null);
  ranked.sort((a, b) => b.value - a.value || a.name.localeCompare(b.name));
  const total = merge === ADD ? ranked.reduce((sum, entry) => sum + entry.value, 0) : null;
  for (const entry of ranked) entry.share = total > 0 ? entry.value / total : null;
  return ranked;
}

/// Everything in the range as one number, or null when the aggregate cannot be merged.
export function total(rows, { view, value, from, to }) {
  const merge = mergeOf(view, value);
  if (!merge) return null;
  const all = new Map();
  for (const row of rows) {
    if (row.start >= from && row.start < to && tiles(view, row)) put(all, "", number(row[value]), merge);
  }
  return all.get("") ?? null;
}

/// The window that is filling: of those that end after `newest`, the one that ends first. Null when there is none.
export function filling(rows, { view, value, newest }) {
  const merge = mergeOf(view, value);
  let window = null;
  for (const row of rows) {
    if (row.end <= newest || row.start > newest) continue;
    if (window === null || row.end < window.end) window = { start: row.start, end: row.end, values: new Map() };
    if (row.end === window.end) put(window.values, "", number(row[value]), merge);
  }
  return window && { start: window.start, end: window.end, value: window.values.get("") ?? null };
}

// Windows that overlap are counted once: of a sliding view, those that stand side by side.
function tiles(view, row) {
  return view.slide_seconds >= view.size_seconds || Math.round(row.start) % Math.round(view.size_seconds) === 0;
}

function put(map, key, value, merge) {
  if (value === null) return;
  const before = map.get(key);
  if (before === undefined) map.set(key, value);
  // Two values that cannot be merged have none together.
  else map.set(key, merge && before !== null ? merge(before, value) : null);
}

// A window that no group has a row for is a gap in the line: nothing came, or the job was not running.
function withGaps(starts, slide) {
  return starts.flatMap((start, index) => (index > 0 && start - starts[index - 1] > 1.5 * slide ? [starts[index - 1] + slide, start] : [start]));
}

// Decimals may come as text, so that no digit is lost on the way.
function number(value) {
  if (value === null || value === undefined) return null;
  const parsed = Number(value);
  return Number.isFinite(parsed) ? parsed : null;
}

// Null in a gap.
function sumAt(series, index) {
  return series[0].values[index] === null ? null : series.reduce((sum, entry) => sum + entry.values[index], 0);
}

function withOthers(series) {
  if (series.length <= SHOWN_SERIES) return series;
  const sums = new Map(series.map((entry) => [entry, entry.values.reduce(ADD, 0)]));
  const greatest = [...series].sort((a, b) => sums.get(b) - sums.get(a)).slice(0, SHOWN_SERIES - 1);
  const rest = series.filter((entry) => !greatest.includes(entry));
  const values = rest[0].values.map((_, index) => sumAt(rest, index));
  return [...series.filter((entry) => greatest.includes(entry)), { name: `${rest.length} others`, values, other: true }];
}
