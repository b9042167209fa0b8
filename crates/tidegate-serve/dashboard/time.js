// Times: in the viewer's zone, against the server's clock. Inside the page a time is a number of seconds since 1970.

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minuteFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

const SHORTEST_AXIS = 300;

// The server's clock less this one's, in seconds.
let skew = 0;

/// Seconds since 1970, from RFC 3339 text or from the microseconds of a watermark; null for neither.
export function parse(value) {
  if (typeof value === "number") return value / 1e6;
  const milliseconds = Date.parse(value ?? "");
  return Number.isNaN(milliseconds) ? null : milliseconds / 1000;
}

/// RFC 3339 text for a parameter.
export function iso(seconds) {
  return new Date(seconds * 1000).toISOString();
}

/// Takes the server's clock from a message that has just come.
export function setServerNow(seconds) {
  if (seconds !== null) skew = seconds - Date.now() / 1000;
}

/// The server's time now.
export function now() {
  return Date.now() / 1000 + skew;
}

function sameDay(a, b) {
  return new Date(a * 1000).toDateString() === new Date(b * 1000).toDateString();
}

/// Hours, minutes and seconds, with the day when it is not today.
export function clock(seconds) {
  return withDay(seconds, clockFormat);
}

/// Hours and minutes, with the day when it is not today.
export function minute(seconds) {
  return withDay(seconds, minuteFormat);
}

function withDay(seconds, format) {
  if (seconds === null) return "—";
  const date = new Date(seconds * 1000);
  return sameDay(seconds, now()) ? format.format(date) : `${dayFormat.format(date)}, ${format.format(date)}`;
}

/// Date and time in full.
export function full(seconds) {
  return seconds === null ? "—" : fullFormat.format(new Date(seconds * 1000));
}

/// Where a time axis begins: at `from`, or with the first point when nothing is before it, so that a young job fills its
/// charts; but never less than 5 minutes before `to`.
export function axisFrom(first, from, to) {
  return Math.max(from, Math.min(first ?? from, to - SHORTEST_AXIS));
}

/// Labels of a time axis: the day where it begins, otherwise hours and minutes, with seconds when they are close.
export function axisLabels(splits, step) {
  return splits.map((seconds) => {
    const date = new Date(seconds * 1000);
    if (date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0) return dayFormat.format(date);
    return (step < 60 ? clockFormat : minuteFormat).format(date);
  });
}

/// The viewer's zone, as people call it: "Europe/Berlin (GMT+1)".
export function zone() {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const parts = new Intl.DateTimeFormat("en", { timeZoneName: "shortOffset" }).formatToParts(new Date());
  const offset = parts.find((part) => part.type === "timeZoneName")?.value;
  return offset && offset !== name ? `${name} (${offset})` : name;
}
