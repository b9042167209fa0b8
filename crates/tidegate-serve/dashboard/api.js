// The job's HTTP interface, as in /openapi.json. Each call gives the JSON, or throws an ApiError.

const TOKEN = "tidegate.token";
const TIMEOUT_MS = 15_000;

/// What a request failed with. `status` is 0 when no answer came.
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /// Whether a token is missing, wrong, or not enough.
  get needsToken() {
    return this.status === 401 || this.status === 403;
  }
}

/// The token of this tab, or null.
export function token() {
  return sessionStorage.getItem(TOKEN);
}

/// Keeps the token for this tab, until it is closed.
export function setToken(value) {
  sessionStorage.setItem(TOKEN, value);
}

/// GET of a path below the page, such as "v1/status". Parameters that are null are left out.
export async function get(path, parameters = {}, signal = undefined) {
  const url = new URL(path, document.baseURI);
  url.hash = "";
  for (const [key, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined) url.searchParams.set(key, value);
  }
  const headers = { Accept: "application/json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const ends = signal ? AbortSignal.any([signal, timeout]) : timeout;
  let response;
  let body;
  try {
    response = await fetch(url, { headers, signal: ends, cache: "no-store" });
    body = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    const slow = timeout.aborted;
    throw new ApiError(0, slow ? "timeout" : "unreachable", slow ? `No answer to ${path} within ${TIMEOUT_MS / 1000} s.` : "The job cannot be reached.");
  }
  return decode(response, body, path);
}

function decode(response, body, path) {
  let json = null;
  try {
    json = JSON.parse(body);
  } catch {
    // What is not JSON is told below, with its status.
  }
  if (response.ok && json !== null) return json;
  const error = json?.error;
  throw new ApiError(response.status, error?.code ?? "unexpected", error?.message ?? `${path} answered ${response.status} ${response.statusText}`.trim());
}

/// The address of the WebSocket, and the subprotocol that carries the token.
export function liveAddress() {
  const url = new URL("v1/live", document.baseURI);
  url.hash = "";
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return { url: url.href, protocols: token() ? [`tidegate.bearer.${base64url(token())}`] : [] };
}

function base64url(text) {
  const binary = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
