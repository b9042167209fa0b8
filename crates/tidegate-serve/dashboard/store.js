// What the whole page knows, and who wants to hear of a change. Changes of one frame are told once.

const state = {
  job: null, // as in /v1/job
  status: null, // as in /v1/status
  asOf: null, // server time of the newest status, in seconds
  connection: { state: "connecting" }, // connecting, live, waiting (retryAt, reason), token (reason)
  epoch: 0, // goes up with each connection, so that what was missed is asked for again
  range: 3600, // seconds that the charts show
};
const listeners = new Set();
let changed = new Set();
let scheduled = false;

/// The value of a key.
export function read(key) {
  return state[key];
}

/// Sets a key, and tells those who listen to it, in the next frame.
export function write(key, value) {
  state[key] = value;
  changed.add(key);
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(tell);
}

/// Calls `listener` after each change of one of the keys. Returns what ends it.
export function listen(keys, listener) {
  const entry = { keys, listener };
  listeners.add(entry);
  return () => listeners.delete(entry);
}

function tell() {
  const keys = changed;
  changed = new Set();
  scheduled = false;
  for (const entry of [...listeners]) {
    if (listeners.has(entry) && entry.keys.some((key) => keys.has(key))) entry.listener();
  }
}
