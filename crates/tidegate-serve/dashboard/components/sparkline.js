// A small line without axes, for the course of one figure beside its value.

import { h } from "../dom.js";
import { isNumber } from "../numbers.js";
import { color, onThemeChange } from "../theme.js";

const WIDTH = 132;
const HEIGHT = 34;

/// With `threshold`, a dashed line stands at it. It tells nothing that is not beside it in words.
export function sparkline(threshold = null) {
  const element = h("canvas.spark", { width: WIDTH * 2, height: HEIGHT * 2, "aria-hidden": "true" });
  let points = null;
  // For as long as the element is on the page.
  const off = onThemeChange(() => (element.isConnected ? draw(element, points, threshold) : off()));
  return {
    element,
    update(next) {
      points = next;
      draw(element, points, threshold);
    },
  };
}

function draw(element, points, threshold) {
  const context = element.getContext("2d");
  context.setTransform(2, 0, 0, 2, 0, 0);
  context.clearRect(0, 0, WIDTH, HEIGHT);
  const known = (points?.values ?? []).filter(isNumber);
  if (known.length < 2) return;
  const top = Math.max(...known, threshold ?? 0, Number.MIN_VALUE) * 1.1;
  const y = (value) => HEIGHT - 2 - (value / top) * (HEIGHT - 4);
  const x = (at) => ((at - points.from) / (points.to - points.from)) * WIDTH;
  if (threshold !== null) {
    context.strokeStyle = color("--limit");
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(0, y(threshold));
    context.lineTo(WIDTH, y(threshold));
    context.stroke();
    context.setLineDash([]);
  }
  context.strokeStyle = color("--series-1");
  context.lineWidth = 1.5;
  context.beginPath();
  let drawing = false;
  points.times.forEach((at, index) => {
    const value = points.values[index];
    if (!isNumber(value)) drawing = false;
    else {
      if (drawing) context.lineTo(x(at), y(value));
      else context.moveTo(x(at), y(value));
      drawing = true;
    }
  });
  context.stroke();
}
