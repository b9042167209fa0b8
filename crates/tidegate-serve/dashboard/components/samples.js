// A drawer with rejected records of one reason: each with its reasons, where it came from, and its bytes.

import * as api from "../api.js";
import { fill, h, icon, setText } from "../dom.js";
import * as numbers from "../numbers.js";
import * as time from "../time.js";
import { emptyState } from "./notice.js";

const PAGE = 20;

/// `open(reason)` shows it; a reason of null means any.
export function samples() {
  const title = h("h2", { id: "samples-title" });
  const list = h("ol.samples");
  const state = h("div", { role: "status" });
  const more = h("button.button", { type: "button", hidden: true, onclick: () => load() }, "Show older ones");
  const close = h("button.icon-button", { type: "button", "aria-label": "Close", onclick: () => element.close() }, icon("close", 18));
  const element = h("dialog.drawer", { "aria-labelledby": "samples-title" },
    h("div.drawer-head", {}, title, close), h("div.drawer-body", { tabindex: "0" }, list, state, more));
  // A click beside the drawer closes it; its own content is in its children.
  element.addEventListener("click", (event) => {
    if (event.target === element) element.close();
  });
  let reason = null;
  let before = null;
  let turn = 0;

  const load = async () => {
    turn += 1;
    const mine = turn;
    more.disabled = true;
    if (before === null) fill(state, h("p.quiet", {}, "Asking for samples …"));
    try {
      const { rejected, next } = await api.get("v1/rejected", { reason, limit: PAGE, before });
      if (mine !== turn) return;
      list.append(...rejected.map(sample));
      fill(state, list.children.length === 0 ? emptyState("No sample", "The records may not be in the warehouse yet, or no longer.") : null);
      before = next;
      more.hidden = next === null;
    } catch (error) {
      if (mine === turn) fill(state, emptyState("The samples could not be had", error.message));
    }
    more.disabled = false;
  };

  return {
    element,
    open(wanted) {
      reason = wanted;
      before = null;
      more.hidden = true;
      fill(list);
      setText(title, reason === null ? "Rejected records" : `Rejected: ${reason}`);
      element.showModal();
      load();
    },
  };
}

function sample({ reasons, detail, payload, payload_encoding: encoding, partition, offset, timestamp, rejected_at: at }) {
  const source = `partition ${partition}, offset ${numbers.plain(offset)}`;
  const times = [`rejected ${time.clock(time.parse(at))}`, timestamp ? `record of ${time.clock(time.parse(timestamp))}` : null];
  return h("li.sample", {},
    h("p.sample-head", {}, reasons.map((one) => h("span.chip", {}, one))),
    detail ? h("p.sample-detail", {}, detail) : null,
    h("p.quiet", {}, [source, ...times].filter(Boolean).join(" · ")),
    h("pre", { tabindex: "0", "aria-label": `Payload of ${source}` }, encoding === "base64" ? `base64: ${payload}` : pretty(payload)));
}

// JSON with line breaks; what is not JSON stays as it came. Re-serialised numbers could differ from the bytes, so only
// the white space between tokens is added.
function pretty(payload) {
  try {
    JSON.parse(payload);
  } catch {
    return payload;
  }
  let depth = 0;
  let out = "";
  for (const token of payload.match(/"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? []) {
    const line = () => `\n${"  ".repeat(depth)}`;
    if (token === "{" || token === "[") {
      depth += 1;
      out += token + line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      out += line() + token;
    } else if (token === ",") out += token + line();
    else out += token === ":" ? ": " : token;
  }
  return out.replace(/([{[])\s+([}\]])/g, "$1$2");
}
