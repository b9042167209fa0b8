// A server with the HTTP interface of a Tidegate process and made-up data, for the states of the dashboard that a real
// one cannot easily be made to show. Only tests use it. `POST /mock` with JSON sets its mode:
//
//   offline         refuses and cuts every connection         silent   keeps sockets open and sends nothing
//   token           the token that it asks for                bye      sends this reason and closes, once
//   failing         answers 500 to paths that start with it   empty    a job that has seen no record
//   old             how many seconds ago the newest event was
//   noViews, charts: false, behind, slow, clean, gone, phase, commit_error, load_error, fallbacks, limit: see mock_data.mjs
//
// `node mock.mjs [PORT]` serves it for development, with the dashboard's files as they are on disk.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "./packages.mjs";
import * as data from "./mock_data.mjs";

const DASHBOARD = fileURLToPath(new URL("../../../tidegate-serve/dashboard/", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml" };
const POLICY = "default-src 'self'; style-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Starts it on a port (0 for any). Gives `{url, set(mode), requests, stop()}`.
export async function startMock(port = 0) {
  const mock = { mode: {}, sockets: new Set(), requests: [] };
  const server = createServer((request, response) => {
    answer(mock, request, response).catch((error) => response.writeHead(500).end(String(error)));
  });
  const live = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] ?? false });
  server.on("upgrade", (request, socket, head) => {
    if (mock.mode.offline || !allowed(mock.mode, request.headers["sec-websocket-protocol"], "tidegate.bearer.")) socket.destroy();
    else live.handleUpgrade(request, socket, head, (opened) => serveLive(mock, opened));
  });
  const timer = setInterval(() => {
    for (const socket of mock.sockets) push(mock, socket, false);
  }, 1000);
  await new Promise((ready) => server.listen(port, "127.0.0.1", ready));
  mock.set = (mode) => {
    mock.mode = mode;
    if (mode.offline) server.closeAllConnections();
    for (const socket of mock.sockets) {
      if (mode.bye) socket.send(JSON.stringify({ type: "bye", reason: mode.bye }));
      if (mode.bye || mode.offline) socket.terminate();
    }
  };
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    requests: mock.requests,
    set: mock.set,
    stop() {
      clearInterval(timer);
      for (const socket of mock.sockets) socket.terminate();
      server.close();
      server.closeAllConnections();
    },
  };
}

function allowed(mode, given, prefix) {
  if (!mode.token) return true;
  const wanted = prefix === "Bearer " ? mode.token : Buffer.from(mode.token).toString("base64url");
  return given === prefix + wanted;
}

async function answer(mock, request, response) {
  const { mode } = mock;
  if (mode.offline && request.url !== "/mock") return request.socket.destroy();
  const url = new URL(request.url, "http://mock");
  if (url.pathname === "/mock") {
    const body = [];
    for await (const chunk of request) body.push(chunk);
    mock.set(JSON.parse(Buffer.concat(body)));
    return response.end();
  }
  if (!url.pathname.startsWith("/v1/")) return serveFile(url.pathname, response);
  mock.requests.push(url);
  const fail = (status, code, message) => json(response, status, { error: { code, message } });
  if (!allowed(mode, request.headers.authorization, "Bearer ")) return fail(401, "unauthorized", "This token is not known. Use one with the role read.");
  if (mode.failing && url.pathname.startsWith(mode.failing)) return fail(500, "tier_down", "The warehouse cannot be opened: it is locked. Close the other program that has it open.");
  const body = route(url, mode);
  return body ? json(response, 200, body) : fail(404, "not_found", `There is no ${url.pathname}.`);
}

function route({ pathname, searchParams }, mode) {
  const text = (name) => searchParams.get(name);
  const count = (name, otherwise) => (text(name) === null ? otherwise : Number(text(name)));
  const at = (name) => Date.parse(text(name)) / 1000;
  const now = Date.now() / 1000;
  switch (pathname) {
    case "/v1/job": return data.job(mode);
    case "/v1/status": return data.status(now, mode);
    case "/v1/history": return data.history(at("from"), at("to"), count("step", 10), mode);
    case "/v1/aggregates": return aggregates(text("view"), at("from"), at("to"), Math.min(count("limit", 1000), mode.limit ?? Infinity), now, mode);
    case "/v1/log": return data.log(count("before", undefined), count("limit", 20), now, mode);
    case "/v1/rejected": return data.rejected(text("reason") ?? undefined, text("before"), count("limit", 20), now, mode);
    case "/v1/late": return data.late(count("limit", 20), now, mode);
    default: return null;
  }
}

function aggregates(view, from, to, limit, now, mode) {
  const all = data.rows(view, from, to, now, mode);
  const rows = all.slice(0, limit);
  const split = Math.min(to, Math.max(from, now - 7200));
  const part = (tier, start, end, asOf) => ({ tier, from: data.iso(start), to: data.iso(end), as_of: data.iso(asOf), rows: rows.filter((row) => row.window_start >= data.iso(start) && row.window_start < data.iso(end)).length });
  const served = [split > from ? part("warm", from, split, now - 2) : null, part("hot", split, to, now)].filter(Boolean);
  return { view, from: data.iso(from), to: data.iso(to), rows, served_by: served, fallbacks: mode.fallbacks ?? [], truncated: rows.length < all.length };
}

function json(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

async function serveFile(path, response) {
  const name = path === "/" ? "index.html" : path.startsWith("/assets/") ? normalize(path.slice(8)) : null;
  try {
    if (name === null || name.startsWith("..")) throw new Error("not an asset");
    const content = await readFile(join(DASHBOARD, name));
    response.writeHead(200, { "Content-Type": TYPES[extname(name)] ?? "text/plain", "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff" }).end(content);
  } catch {
    response.writeHead(404).end("not found");
  }
}

function serveLive(mock, socket) {
  socket.topics = [];
  socket.seen = new Set();
  mock.sockets.add(socket);
  socket.on("close", () => mock.sockets.delete(socket));
  if (!mock.mode.silent) socket.send(JSON.stringify({ type: "hello", job: data.job(mock.mode) }));
  socket.on("message", (text) => {
    socket.topics = JSON.parse(text).subscribe;
    push(mock, socket, true);
  });
}

function push(mock, socket, first) {
  if (mock.mode.silent) return;
  const now = Date.now() / 1000;
  for (const topic of socket.topics) {
    if (topic === "status") socket.send(JSON.stringify({ type: "status", status: data.status(now, mock.mode) }));
    const view = topic.startsWith("view:") ? topic.slice(5) : null;
    if (view === null) continue;
    const back = first && !socket.seen.has(view) ? 7200 : 400;
    socket.seen.add(view);
    socket.send(JSON.stringify({ type: "view", view, rows: data.rows(view, now - back, now, now, mock.mode) }));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await startMock(Number(process.argv[2] ?? 8099));
  console.log(`The dashboard with made-up data: ${mock.url}`);
}
