// A chart over time: uPlot with the page's colours, a legend that shows the values under the cursor, and the same
// data as a table for those who cannot see the lines.

import { fill, h, icon, setAttribute, setText } from "../dom.js";
import { isNumber } from "../numbers.js";
import * as theme from "../theme.js";
import * as time from "../time.js";
import { table } from "./table.js";
import { legend } from "./legend.js";
import { optionsOf, stack } from "./plot_options.js";

const TABLE_ROWS = 500;

/// `label` says what it shows; `format` writes a value; `kind` is line or stacked; `log` makes an axis of seconds
/// logarithmic, `binary` is for bytes; `lines()` gives `[{value, label}]`, drawn across; charts of one `sync` share
/// their cursor; `empty` is `{title, detail}` for when there is nothing; `height` is the least one, in pixels.
/// `update` takes `{times, series: [{name, values}], from, to, openFrom}`, and `empty` when it is another one.
export function plot(options) {
  const { label, format, kind = "line", height = 220, empty } = options;
  const canvas = h("div.plot-canvas", { role: "img", style: { "--plot-height": `${height}px` } });
  const nothing = h("div.plot-empty", { hidden: true }, h("p.empty-title"), h("p.quiet"));
  const hidden = new Set();
  const keys = legend(format, (name) => {
    if (!hidden.delete(name)) hidden.add(name);
    build();
  });
  const toggle = h("button.plot-toggle", { type: "button", "aria-pressed": "false", onclick: () => showTable(toggle.getAttribute("aria-pressed") === "false") }, icon("table", 14), h("span", {}, "Table"));
  const tableRoot = h("div.plot-table", { hidden: true });
  const element = h("figure.plot", { "aria-label": label }, h("div.plot-area", {}, canvas, nothing), tableRoot, h("figcaption.plot-foot", {}, keys.element, toggle));

  let data = { times: [], series: [], from: 0, to: 1, openFrom: null };
  let chart = null;
  let shape = "";
  let tabular = null;

  const shown = () => data.series.filter((series) => !hidden.has(series.name));
  const values = () => [data.times, ...(kind === "stacked" ? stack(shown()) : shown().map((series) => series.values))];
  const build = () => {
    chart?.destroy();
    chart = null;
    if (canvas.clientWidth > 0 && data.times.length > 0) {
      const built = optionsOf({ ...options, kind, all: data.series, shown: shown(), width: canvas.clientWidth, height: canvas.clientHeight, data: () => data, onCursor });
      chart = new uPlot(built, values(), canvas);
    }
    keys.update(data, hidden, null);
  };
  const onCursor = (index) => keys.update(data, hidden, index);
  const showTable = (on) => {
    setAttribute(toggle, "aria-pressed", String(on));
    fill(toggle, icon(on ? "chart" : "table", 14), h("span", {}, on ? "Chart" : "Table"));
    tableRoot.hidden = !on;
    canvas.parentNode.hidden = on;
    tabular = null;
    if (on) drawTable();
    else build();
  };
  const drawTable = () => {
    const columns = [{ title: "Time", value: (row) => time.clock(data.times[row]) }];
    data.series.forEach((series, position) => {
      columns.push({ title: series.name, number: true, value: (row) => format(data.series[position]?.values[row]) });
    });
    if (tabular?.shape !== shape) {
      tabular = { shape, view: table({ caption: `${label}, newest first`, columns }) };
      fill(tableRoot, tabular.view.element);
    }
    const rows = data.times.map((_, index) => index).filter((index) => data.series.some((series) => isNumber(series.values[index])));
    tabular.view.update(rows.reverse().slice(0, TABLE_ROWS));
  };

  const resized = new ResizeObserver(() => {
    if (canvas.clientWidth === 0) return;
    if (chart) chart.setSize({ width: canvas.clientWidth, height: canvas.clientHeight });
    else build();
  });
  resized.observe(canvas);
  const offTheme = theme.onThemeChange(build);

  return {
    element,
    update(next) {
      data = next;
      const hasData = data.series.some((series) => series.values.some(isNumber));
      nothing.hidden = hasData;
      const { title, detail } = next.empty ?? empty;
      setText(nothing.firstChild, title);
      setText(nothing.lastChild, detail);
      toggle.hidden = !hasData;
      keys.element.hidden = !hasData;
      setAttribute(canvas, "aria-label", describe(label, data, format));
      const newShape = JSON.stringify(data.series.map((series) => series.name));
      if (newShape !== shape || !chart) {
        shape = newShape;
        build();
      } else {
        chart.setData(values());
        if (!isNumber(chart.cursor.idx)) keys.update(data, hidden, null);
      }
      if (!tableRoot.hidden) drawTable();
    },
    stop() {
      resized.disconnect();
      offTheme();
      chart?.destroy();
    },
  };
}

// What a screen reader says instead of the lines.
function describe(label, { times, series }, format) {
  if (times.length === 0) return `${label}: no data.`;
  const parts = series.map(({ name, values }) => {
    const known = values.filter(isNumber);
    if (known.length === 0) return `${name}: no data`;
    const [low, high] = known.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    return `${name}: ${format(known.at(-1))} last, lowest ${format(low)}, highest ${format(high)}`;
  });
  return `${label}, ${time.clock(times[0])} to ${time.clock(times.at(-1))}. ${parts.join(". ")}.`;
}
