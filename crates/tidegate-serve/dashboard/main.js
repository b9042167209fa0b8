// Puts the page together: connection, header, banner, routes. The pages are mounted when the job is known.

import { setToken, token } from "./api.js";
import { banner } from "./components/banner.js";
import { askForToken } from "./components/token.js";
import { fill, h, setAttribute, setText } from "./dom.js";
import * as health from "./health.js";
import * as live from "./live.js";
import { business } from "./pages/business.js";
import { operations } from "./pages/operations.js";
import { quality } from "./pages/quality.js";
import * as router from "./router.js";
import { listen, read } from "./store.js";
import * as theme from "./theme.js";
import * as time from "./time.js";

const PAGES = { business, operations, quality };
const STATES = { connecting: "Connecting", live: "Live", waiting: "Reconnecting", token: "Token needed" };

const main = document.getElementById("main");
const links = [...document.querySelectorAll("#nav a")];
const dialog = askForToken((value) => {
  setToken(value);
  live.retryNow();
});
let routed = false;
let said = "";

theme.start(document.getElementById("theme"));
banner(document.getElementById("banner"));
document.body.append(dialog.element);
listen(["job"], showJob);
listen(["connection"], showConnection);
listen(["status"], showHealth);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
live.start();

function showJob() {
  const job = read("job");
  setText(document.getElementById("job-name"), job.name);
  const foot = document.getElementById("foot");
  fill(foot, h("span", {}, `Tidegate ${job.version}`), h("span", {}, `Running since ${time.full(time.parse(job.started_at))}`), h("span", {}, `Times in ${time.zone()}`));
  if (!routed) {
    routed = true;
    router.start(PAGES, main, links);
  }
}

function showConnection() {
  const { state, reason } = read("connection");
  const pill = document.getElementById("connection");
  setText(pill, STATES[state]);
  pill.dataset.state = state;
  // Between two attempts the data is as old as before, so it stays grey until the first new status.
  if (state === "live") delete main.dataset.stale;
  else if (state !== "connecting") main.dataset.stale = "";
  setAttribute(main, "aria-busy", read("job") === null ? "true" : null);
  if (state === "token") dialog.open(token() ? reason : null);
  else if (state !== "connecting") dialog.close();
  const boot = document.getElementById("boot");
  if (boot && state === "waiting") setText(boot, reason);
}

// The tabs say which page has something to look at; a change for the worse is also spoken.
function showHealth() {
  const [status, job] = [read("status"), read("job")];
  if (job === null) return;
  const found = { operations: health.pipeline(status, job)[0], quality: health.quality(status, job)[0] };
  for (const link of links) {
    const worst = found[link.dataset.page];
    const alert = worst && (worst.level === "bad" || worst.level === "warn") ? worst : null;
    setAttribute(link, "data-alert", alert?.level);
    setAttribute(link, "title", alert?.title);
    setAttribute(link, "aria-label", alert && `${link.textContent}: ${alert.title}`);
  }
  const worst = found.operations.level === "bad" ? found.operations.title : "";
  if (worst !== said) setText(document.getElementById("announcer"), worst || "The pipeline has recovered.");
  said = worst;
}
