// What the events are about: the charts of the job's views.

import { chartCard } from "../components/chart_card.js";
import { page } from "../components/card.js";
import { emptyState, note } from "../components/notice.js";
import { rangePicker } from "../components/range.js";
import { tiles } from "../components/tiles.js";
import { chartsOf } from "../charts.js";
import { fill, h, setText } from "../dom.js";
import * as numbers from "../numbers.js";
import { listen, read } from "../store.js";
import * as time from "../time.js";
import { shownRange, ViewRows } from "../views.js";
import { filling, seriesOf } from "../windows.js";

export const business = { title: "Business", mount };

function mount(root) {
  const content = h("div.stack");
  fill(root, page("Business", rangePicker(), content));
  let body = null;
  let configured = "";
  // A restarted job may have other views: then the charts are made anew.
  const build = () => {
    const { views, charts } = read("job");
    const now = JSON.stringify([views, charts]);
    if (now === configured) return;
    configured = now;
    body?.stop();
    body = draw(content);
  };
  const off = listen(["job"], build);
  build();
  return () => {
    off();
    body.stop();
  };
}

function draw(content) {
  const charts = chartsOf(read("job"));
  if (charts.length === 0) {
    const detail = "Add a [[windows]] table with aggregates to the configuration, and its charts appear here by themselves.";
    fill(content, emptyState("This job has no windows", detail));
    return { stop() {} };
  }
  const numbersOf = charts.filter((chart) => chart.kind === "number");
  const figures = numbersOf.length > 0 ? tiles("Figures", numbersOf.map((chart) => ({ label: chart.title, hint: chart.view.name, course: true }))) : null;
  const cards = charts.filter((chart) => chart.kind !== "number").map((chart) => ({ chart, card: chartCard(chart) }));
  const anchored = note("info", "");
  fill(content, anchored, figures?.element, h("div.grid", {}, cards.map(({ card }) => card.element)));

  let scheduled = false;
  let earliest = 0;
  let stopped = false;
  const sources = new Map();
  const update = () => {
    scheduled = false;
    if (stopped) return;
    const started = performance.now();
    const range = shownRange();
    anchored.hidden = !range.anchored;
    setText(anchored.lastChild, `The newest event is of ${time.full(range.newest)}; the charts end there.`);
    figures?.update(numbersOf.map((chart) => figure(chart, sources.get(chart.view.name), range)));
    for (const { chart, card } of cards) card.update(sources.get(chart.view.name), range);
    // With very many groups drawing takes long; it never takes more than a tenth of the time.
    earliest = performance.now() + 9 * (performance.now() - started);
  };
  // Views are pushed one by one; they are drawn together.
  const schedule = () => {
    if (scheduled) return;
    scheduled = true;
    setTimeout(() => requestAnimationFrame(update), Math.max(0, earliest - performance.now()));
  };
  for (const { view } of charts) {
    if (!sources.has(view.name)) sources.set(view.name, new ViewRows(view, schedule));
  }
  const off = listen(["range"], schedule);
  schedule();
  return {
    stop() {
      stopped = true;
      off();
      for (const source of sources.values()) source.stop();
      for (const { card } of cards) card.stop();
    },
  };
}

// The newest window that has ended, and the one that fills.
function figure(chart, rows, range) {
  if (rows.state !== "ready") return null;
  const query = { ...chart, by: null, ...range };
  const all = rows.all();
  const { times, series } = seriesOf(all, query);
  const now = filling(all, query);
  const format = (value) => numbers.inUnit(value, chart.unit);
  const last = series[0]?.values.at(-1) ?? null;
  const size = numbers.duration(chart.view.size_seconds);
  const notes = [];
  if (times.length > 0) notes.push(`in ${size} from ${time.minute(times.at(-1))}`);
  if (now && now.value !== null) notes.push(`${format(now.value)} so far since ${time.minute(now.start)}`);
  return { value: format(last), note: notes.join(" · "), points: { times, values: series[0]?.values ?? [], from: time.axisFrom(times[0], range.from, range.to), to: range.to } };
}
