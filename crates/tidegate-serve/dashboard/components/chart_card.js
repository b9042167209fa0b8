// One chart of the business page: a line, a stack or a ranked list of one value of a view.

import { h, setText } from "../dom.js";
import * as numbers from "../numbers.js";
import * as time from "../time.js";
import { filling, isAdditive, ranking, seriesOf, total } from "../windows.js";
import { card } from "./card.js";
import { freshness } from "./freshness.js";
import { emptyState, note } from "./notice.js";
import { plot } from "./plot.js";
import { ranked } from "./ranked.js";

const RANKED_LINES = 10;
const EMPTY = { title: "No window in this range", detail: "Windows appear when events come. A longer range may have some." };

/// `update(rows, range)` takes the ViewRows of its view and what `shownRange` gives.
export function chartCard(chart) {
  const { view, value, by } = chart;
  const format = (amount) => numbers.inUnit(amount, chart.unit);
  const sum = h("p.card-figure");
  const now = h("p.card-sub");
  const fresh = freshness();
  const loading = h("p.quiet.plot-loading", {}, "Asking for the windows …");
  const failed = h("div", { hidden: true });
  const body = chart.kind === "top" ? topList(chart, format) : overTime(chart, format);
  const element = card({ title: chart.title, sub: subtitle(view, by, chart.kind), aside: [sum, now] }, loading, failed, body.element, fresh.element);
  body.element.hidden = true;

  return {
    element,
    update(rows, range) {
      loading.hidden = rows.state !== "loading";
      failed.hidden = rows.state !== "failed";
      body.element.hidden = rows.state !== "ready";
      if (rows.state === "failed") failed.replaceChildren(emptyState("The windows could not be had", rows.error));
      if (rows.state !== "ready") return;
      const query = { view, value, by, ...range };
      const all = rows.all();
      body.update(all, query);
      const whole = isAdditive(view, value) ? total(all, query) : null;
      setText(sum, whole === null ? "" : `${format(whole)} in all`);
      const fills = filling(all, query);
      setText(now, fills === null || fills.value === null ? "" : `${format(fills.value)} so far since ${time.minute(fills.start)}`);
      fresh.update(rows);
    },
    stop: () => body.stop?.(),
  };
}

function subtitle(view, by, kind) {
  const size = numbers.duration(view.size_seconds);
  const slides = view.slide_seconds < view.size_seconds ? `, one every ${numbers.duration(view.slide_seconds)}` : "";
  const windows = kind === "top" ? "over the shown range" : `windows of ${size}${slides}`;
  return `${view.name} · ${windows}${by ? ` · by ${numbers.words(by).toLowerCase()}` : ""}`;
}

function overTime(chart, format) {
  const drawn = plot({ label: chart.title, kind: chart.kind, format, empty: EMPTY, sync: "business" });
  const more = note("info", "");
  return {
    element: h("div", {}, drawn.element, more),
    update(rows, query) {
      const series = seriesOf(rows, query);
      const from = time.axisFrom(series.times[0], query.from, query.to);
      drawn.update({ ...series, from, to: query.to, empty: emptyOf(filling(rows, query)) });
      more.hidden = series.left === 0;
      setText(more.lastChild, `${numbers.plain(series.left)} more groups are not shown.`);
    },
    stop: drawn.stop,
  };
}

function emptyOf(fills) {
  return fills ? { title: "The first window is filling", detail: `It ends at ${time.clock(fills.end)}, and is drawn then.` } : EMPTY;
}

function topList(chart, format) {
  const list = ranked({ label: chart.title, format, shareText: (entry) => numbers.percent(entry.share), empty: EMPTY });
  return {
    element: list.element,
    update: (rows, query) => list.update(ranking(rows, query).slice(0, RANKED_LINES)),
  };
}
