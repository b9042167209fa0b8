// Numbers as people read them. A number that is missing is a dash, never a zero.

const plainFormat = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const compactFormat = new Intl.NumberFormat(undefined, { notation: "compact", maximumSignificantDigits: 3 });
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const currencies = new Set(Intl.supportedValuesOf?.("currency") ?? []);
const currencyFormats = new Map();

/// Whether there is a number to show.
export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/// All digits: 1,234,567.
export function plain(value) {
  return isNumber(value) ? plainFormat.format(value) : "—";
}

/// Three digits that count: 1.23M.
export function compact(value) {
  return isNumber(value) ? compactFormat.format(value) : "—";
}

/// In a unit: a currency by its code, any other text behind the number.
export function inUnit(value, unit, short = true) {
  if (!isNumber(value)) return "—";
  if (!unit) return short ? compact(value) : plain(value);
  if (!currencies.has(unit)) return `${short ? compact(value) : plain(value)} ${unit}`;
  const key = `${unit} ${short}`;
  if (!currencyFormats.has(key)) {
    const digits = short ? { notation: "compact", maximumSignificantDigits: 3 } : {};
    currencyFormats.set(key, new Intl.NumberFormat(undefined, { style: "currency", currency: unit, currencyDisplay: "narrowSymbol", ...digits }));
  }
  return currencyFormats.get(key).format(value);
}

/// A share of 1 in per cent, with two or three digits that count: 0.012 %, 1.75 %.
export function percent(value) {
  if (!isNumber(value)) return "—";
  if (value === 0) return "0 %";
  const inPercent = value * 100;
  const size = Math.floor(Math.log10(Math.abs(inPercent)));
  const digits = Math.min(6, Math.max(0, (size < 0 ? 1 : 2) - size));
  return `${inPercent.toLocaleString(undefined, { maximumFractionDigits: digits })} %`;
}

/// Bytes in binary units: 1.5 GiB.
export function bytes(value) {
  if (!isNumber(value)) return "—";
  let [amount, unit] = [value, 0];
  while (Math.abs(amount) >= 1024 && unit < BYTES.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || amount >= 100 ? 0 : 1;
  return `${amount.toLocaleString(undefined, { maximumFractionDigits: digits })} ${BYTES[unit]}`;
}

/// A duration in seconds: 412 ms, 3.1 s, 4 min 12 s, 2 h 5 min, 3 d 4 h.
export function duration(seconds) {
  if (!isNumber(seconds)) return "—";
  const size = Math.abs(seconds);
  if (size === 0) return "0 s";
  if (size < 0.0995) return `${(seconds * 1000).toLocaleString(undefined, { maximumSignificantDigits: 2 })} ms`;
  if (size < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (size < 59.95) return `${seconds.toLocaleString(undefined, { maximumFractionDigits: size < 9.95 ? 1 : 0 })} s`;
  if (size < 3599.5) return pair(Math.round(seconds), 60, "min", "s");
  if (size < 86370) return pair(Math.round(seconds / 60), 60, "h", "min");
  return pair(Math.round(seconds / 3600), 24, "d", "h");
}

function pair(amount, base, large, small) {
  const rest = amount % base;
  return rest === 0 ? `${Math.trunc(amount / base)} ${large}` : `${Math.trunc(amount / base)} ${large} ${Math.abs(rest)} ${small}`;
}

/// A name of the configuration as a heading: total_amount becomes Total amount.
export function words(name) {
  const text = name.replaceAll(/[_-]+/g, " ").trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
