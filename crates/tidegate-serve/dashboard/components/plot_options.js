// The options of uPlot: axes, scales, colours, lines across, and the shade over windows that can still change.

import { isNumber } from "../numbers.js";
import { color } from "../theme.js";
import * as time from "../time.js";

const COLORS = 8;
// What stands over windows that are not final.
const OPEN = "still open";
const FONT = "12px system-ui, sans-serif";
const DIGIT_WIDTH = 7;
// Where a logarithmic axis of seconds is labelled, and steps of an axis of bytes.
const SECONDS = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000];
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, power) => 2 ** power);

/// The style sheet's colour of the series at a position.
export function colorName(series, position) {
  return series.other ? "--series-other" : `--series-${(position % COLORS) + 1}`;
}

/// Values that stand on each other: the sum of a series and those before it.
export function stack(series) {
  const sums = [];
  return series.map(({ values }) => values.map((value, index) => {
    if (value === null) return null;
    sums[index] = (sums[index] ?? 0) + value;
    return sums[index];
  }));
}

/// What `new uPlot` takes. `data()` is what is drawn at the moment; `onCursor(index or null)` follows the cursor.
export function optionsOf({ width, height, kind, log, lines = () => [], sync, binary, format, all, shown, data, onCursor }) {
  const stacked = kind === "stacked";
  const paints = shown.map((series) => colorName(series, all.indexOf(series)));
  return {
    width,
    height,
    // Half of a label of the time axis fits on the right.
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false, setScale: false }, points: { size: 7 }, ...(sync ? { sync: { key: sync } } : {}) },
    scales: {
      x: { time: true, range: () => [data().from, data().to] },
      y: log ? { distr: 3, range: (_, low, high) => logRange(low, high, lines()) } : { range: (_, low, high) => linearRange(low, high, lines()) },
    },
    axes: [xAxis(), yAxis(format, log, binary)],
    series: [{}, ...paints.map((name, index) => seriesOf(name, stacked, stacked && index === 0, shown.length === 1))],
    bands: stacked ? paints.slice(1).map((name, index) => ({ series: [index + 2, index + 1], fill: () => color(name, 0.28) })) : [],
    hooks: {
      drawAxes: [(chart) => shade(chart, data().openFrom)],
      draw: [(chart) => lines().forEach((line) => across(chart, line))],
      setCursor: [(chart) => onCursor(isNumber(chart.cursor.idx) ? chart.cursor.idx : null)],
    },
  };
}

function seriesOf(name, stacked, lowest, alone) {
  const filled = lowest ? 0.28 : alone && !stacked ? 0.1 : 0;
  return {
    stroke: () => color(name),
    width: stacked ? 1.25 : 1.75,
    ...(filled > 0 ? { fill: () => color(name, filled) } : {}),
    points: { size: 5, show: (_, __, first, last) => last - first < (stacked ? 4 : 30) },
  };
}

function xAxis() {
  return {
    stroke: () => color("--ink-3"),
    font: FONT,
    size: 28,
    gap: 6,
    space: 76,
    grid: { show: false },
    ticks: { show: true, size: 4, width: 1, stroke: () => color("--line-strong") },
    values: (_, splits, __, ___, step) => time.axisLabels(splits, step),
  };
}

function yAxis(format, log, binary) {
  return {
    stroke: () => color("--ink-3"),
    font: FONT,
    // As wide as the widest label.
    size: (_, labels) => 14 + DIGIT_WIDTH * Math.max(2, ...(labels ?? []).map((label) => label.length)),
    gap: 6,
    space: log ? 20 : 36,
    ...(binary ? { incrs: POWERS_OF_TWO } : {}),
    ...(log ? { splits: (_, __, low, high) => SECONDS.filter((value) => value >= low && value <= high), filter: (_, splits) => splits } : {}),
    grid: { width: 1, stroke: () => color("--line") },
    ticks: { show: false },
    values: (_, splits) => splits.map((value) => (value === null ? "" : format(value))),
  };
}

// From zero, with air above, so that two charts of the same thing look the same.
function linearRange(low, high, lines) {
  const top = Math.max(high ?? 0, ...lines.map((line) => line.value));
  const bottom = Math.min(low ?? 0, 0);
  return top === bottom ? [bottom, bottom + 1] : [bottom, top + (top - bottom) * 0.08];
}

function logRange(low, high, lines) {
  const values = [low, high, ...lines.map((line) => line.value)].filter((value) => value > 0);
  if (values.length === 0) return [0.01, 100];
  return [10 ** Math.floor(Math.log10(Math.min(...values))), 10 ** Math.ceil(Math.log10(Math.max(...values) * 1.2))];
}

function shade(chart, from) {
  if (from === null || from === undefined) return;
  const { ctx, bbox } = chart;
  const left = Math.max(bbox.left, chart.valToPos(from, "x", true));
  ctx.save();
  ctx.fillStyle = color("--ink", 0.045);
  ctx.fillRect(left, bbox.top, bbox.left + bbox.width - left, bbox.height);
  const ratio = uPlot.pxRatio;
  ctx.fillStyle = color("--ink-3");
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  if (ctx.measureText(OPEN).width + 8 * ratio < bbox.left + bbox.width - left) ctx.fillText(OPEN, left + 4 * ratio, bbox.top + 3 * ratio);
  ctx.restore();
}

function across(chart, { value, label }) {
  const { ctx, bbox } = chart;
  const ratio = uPlot.pxRatio;
  const y = Math.round(chart.valToPos(value, "y", true));
  if (!(y >= bbox.top && y <= bbox.top + bbox.height)) return;
  ctx.save();
  ctx.strokeStyle = color("--limit");
  ctx.fillStyle = color("--limit");
  ctx.lineWidth = ratio;
  ctx.setLineDash([5 * ratio, 4 * ratio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.font = `${11 * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  // Above the line where there is room, or else below it.
  const above = y - bbox.top > 16 * ratio;
  ctx.textBaseline = above ? "bottom" : "top";
  ctx.fillText(label, bbox.left + 6 * ratio, y + (above ? -3 : 4) * ratio);
  ctx.restore();
}
