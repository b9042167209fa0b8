// Says that the connection is lost, how old the data is, and when it is tried again.

import { fill, h, icon, setText } from "../dom.js";
import { retryNow } from "../live.js";
import { listen, read } from "../store.js";
import * as time from "../time.js";

/// Keeps `root` up to date. Only the sentence is announced, once; the countdown is not.
export function banner(root) {
  const sentence = h("span", { role: "status" });
  const countdown = h("span.banner-count");
  const button = h("button.button", { type: "button", onclick: retryNow }, "Try now");
  const bar = h("section.banner", { hidden: true, id: "offline", "aria-label": "Connection" }, icon("warn"), sentence, countdown, button);
  fill(root, bar);
  let timer = null;

  const show = () => {
    const { state, reason } = read("connection");
    if (state === "live" || state === "token" || (state === "connecting" && bar.hidden)) {
      clearInterval(timer);
      timer = null;
      bar.hidden = true;
      setText(sentence, "");
      return;
    }
    bar.hidden = false;
    if (state === "waiting") {
      const asOf = read("asOf");
      setText(sentence, asOf === null ? reason : `${reason} What you see is as of ${time.clock(asOf)}.`);
    }
    timer ??= setInterval(tick, 250);
    tick();
  };
  const tick = () => {
    const { state, retryAt } = read("connection");
    const waiting = state === "waiting";
    const left = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    setText(countdown, waiting && left > 0 ? `Trying again in ${left} s` : "Trying …");
    button.disabled = !waiting;
  };
  listen(["connection"], show);
}
