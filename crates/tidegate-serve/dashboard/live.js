// The WebSocket: status once a second, and what changes in the views that a page asks for. When it breaks, it is
// opened again, each time after a longer wait; `epoch` in the store then says that something may have been missed.

import * as api from "./api.js";
import { read, write } from "./store.js";
import * as time from "./time.js";

const WAITS_S = [1, 2, 4, 8, 15, 30];
// The server sends the status every second; without one for this long the connection is taken for dead.
const SILENCE_MS = 8_000;

const topics = new Map();
let socket = null;
let failures = 0;
let retryTimer = null;
let silenceTimer = null;
// Counts attempts, so that what an earlier one still answers is not listened to.
let attempt = 0;
let subscribing = false;

/// Connects, and stays connected.
export function start() {
  addEventListener("online", retryNow);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) retryNow();
  });
  connect();
}

/// Calls `handler(rows)` with what changes in a view. Returns what ends it.
export function watchView(name, handler) {
  const handlers = topics.get(name) ?? new Set();
  handlers.add(handler);
  topics.set(name, handlers);
  if (handlers.size === 1) subscribeSoon();
  return () => {
    handlers.delete(handler);
    if (handlers.size > 0) return;
    topics.delete(name);
    subscribeSoon();
  };
}

/// Tries at once, when it waits.
export function retryNow() {
  const { state } = read("connection");
  if (state === "waiting" || state === "token") connect();
}

async function connect() {
  clearTimeout(retryTimer);
  attempt += 1;
  const mine = attempt;
  write("connection", { ...read("connection"), state: "connecting" });
  try {
    // A socket cannot say why it was refused; these can, and they fill the page before the first push.
    const [job, status] = await Promise.all([api.get("v1/job"), api.get("v1/status")]);
    if (mine !== attempt) return;
    write("job", job);
    takeStatus(status);
    open(mine);
  } catch (error) {
    if (mine !== attempt) return;
    if (error.needsToken) write("connection", { state: "token", reason: error.message });
    else wait(error.message);
  }
}

function open(mine) {
  const { url, protocols } = api.liveAddress();
  const opened = new WebSocket(url, protocols);
  let reason = null;
  socket = opened;
  expect(opened);
  opened.onopen = subscribe;
  opened.onmessage = (event) => {
    if (mine !== attempt) return;
    expect(opened);
    const message = JSON.parse(event.data);
    if (message.type === "bye") reason = `The job closed the connection: ${message.reason}.`;
    else receive(message);
  };
  opened.onclose = () => {
    clearTimeout(silenceTimer);
    if (mine !== attempt) return;
    socket = null;
    wait(reason ?? "The connection was lost.");
  };
}

function expect(opened) {
  clearTimeout(silenceTimer);
  silenceTimer = setTimeout(() => {
    if (opened !== socket) return;
    // close() may wait for an answer of a peer that is gone.
    opened.onclose();
    opened.close();
  }, SILENCE_MS);
}

function receive(message) {
  if (message.type === "hello") {
    write("job", message.job);
  } else if (message.type === "status") {
    takeStatus(message.status);
    if (read("connection").state !== "live") {
      failures = 0;
      write("connection", { state: "live" });
      write("epoch", read("epoch") + 1);
    }
  } else if (message.type === "view") {
    for (const handler of topics.get(message.view) ?? []) handler(message.rows);
  }
}

function takeStatus(status) {
  const at = time.parse(status.now);
  time.setServerNow(at);
  write("status", status);
  write("asOf", at ?? time.now());
}

// A page takes and leaves several views at once; the server hears of it once.
function subscribeSoon() {
  if (subscribing) return;
  subscribing = true;
  queueMicrotask(() => {
    subscribing = false;
    subscribe();
  });
}

function subscribe() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const views = [...topics.keys()].map((name) => `view:${name}`);
  socket.send(JSON.stringify({ subscribe: ["status", ...views] }));
}

function wait(reason) {
  attempt += 1;
  // A quarter of chance, so that many dashboards do not come back at the same moment.
  const seconds = WAITS_S[Math.min(failures, WAITS_S.length - 1)] * (1 + Math.random() / 4);
  failures += 1;
  write("connection", { state: "waiting", reason, retryAt: Date.now() + seconds * 1000 });
  retryTimer = setTimeout(connect, seconds * 1000);
}
