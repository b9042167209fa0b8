// From rows to charts, and how numbers and times are written: the modules themselves, in the browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as browsers from "./browser.mjs";
import { startMock } from "./mock.mjs";

let browser;
let mock;
let page;

before(async () => {
  mock = await startMock();
  browser = await browsers.launch();
  page = await browsers.open(browser, mock.url);
});
after(async () => {
  await browser.close();
  mock.stop();
});

/// Calls an exported function of a module of the dashboard.
const call = (module, name, ...given) =>
  page.evaluate(async ([path, key, values]) => (await import(path))[key](...values), [new URL(`assets/${module}`, mock.url).href, name, given]);

const view = (size, slide, fn) => ({ name: "v", size_seconds: size, slide_seconds: slide, groups: [{ name: "a" }, { name: "b" }], aggregates: [{ name: "x", function: fn }] });
const row = (start, size, a, b, x, final = true) => ({ start, end: start + size, a, b, x, final });
const query = (one, more = {}) => ({ view: one, value: "x", by: "a", from: 0, to: 1000, newest: 1000, ...more });

test("groups that a chart does not tell apart are added up", async () => {
  const rows = [row(0, 60, "p", 1, 2), row(0, 60, "p", 2, 3), row(0, 60, "q", 1, "4.5")];
  const { times, series } = await call("windows.js", "seriesOf", rows, query(view(60, 60, "sum")));
  assert.deepEqual(times, [0]);
  assert.deepEqual(series, [{ name: "p", values: [5] }, { name: "q", values: [4.5] }]);
});

test("averages of several groups are not made up", async () => {
  const rows = [row(0, 60, "p", 1, 2), row(0, 60, "p", 2, 3), row(60, 60, "p", 1, 7)];
  const { series } = await call("windows.js", "seriesOf", rows, query(view(60, 60, "avg")));
  assert.deepEqual(series, [{ name: "p", values: [null, 7] }]);
});

test("a group without a row counts zero, a window without any is a gap, and one that fills is left out", async () => {
  const rows = [row(0, 60, "p", 1, 2), row(0, 60, "q", 1, 1), row(60, 60, "p", 1, 3), row(240, 60, "q", 1, 5, false), row(300, 60, "q", 1, 6, false)];
  const { times, series, openFrom } = await call("windows.js", "seriesOf", rows, query(view(60, 60, "count"), { newest: 310 }));
  assert.deepEqual(times, [0, 60, 120, 240]);
  assert.deepEqual(series, [{ name: "p", values: [2, 3, null, 0] }, { name: "q", values: [1, 0, null, 5] }]);
  assert.equal(openFrom, 240);
  const fills = await call("windows.js", "filling", rows, query(view(60, 60, "count"), { newest: 310 }));
  assert.deepEqual(fills, { start: 300, end: 360, value: 6 });
});

test("windows that overlap are counted once", async () => {
  const one = view(120, 60, "count");
  const rows = [0, 60, 120, 180].map((start) => row(start, 120, "p", 1, 10));
  assert.equal(await call("windows.js", "total", rows, query(one)), 20);
  assert.deepEqual(await call("windows.js", "ranking", rows, query(one)), [{ name: "p", value: 20, share: 1 }]);
});

test("many groups become the greatest and the others, with nothing lost", async () => {
  const rows = Array.from({ length: 20 }, (_, index) => row(0, 60, `g${index}`, 1, index + 1));
  const { series } = await call("windows.js", "seriesOf", rows, query(view(60, 60, "sum")));
  assert.equal(series.length, 7);
  assert.equal(series.at(-1).name, "14 others");
  assert.equal(series.reduce((sum, one) => sum + one.values[0], 0), 210);
});

test("of many averages some are shown, and how many are not", async () => {
  const rows = Array.from({ length: 9 }, (_, index) => row(0, 60, `g${index}`, 1, index + 1));
  const { series, left } = await call("windows.js", "seriesOf", rows, query(view(60, 60, "avg")));
  assert.deepEqual([series.length, left], [7, 2]);
});

test("a ranking of maxima takes the greatest, one of averages the newest window", async () => {
  const rows = [row(0, 60, "p", 1, 9), row(60, 60, "p", 1, 4), row(60, 60, "q", 1, 5)];
  assert.deepEqual((await call("windows.js", "ranking", rows, query(view(60, 60, "max")))).map((one) => one.value), [9, 5]);
  assert.deepEqual((await call("windows.js", "ranking", rows, query(view(60, 60, "avg")))).map((one) => one.value), [5, 4]);
});

test("numbers are written as people read them, and one that is missing is never zero", async () => {
  const cases = [
    ["duration", 0.0042, "4.2 ms"], ["duration", 0.412, "412 ms"], ["duration", 3.14, "3.1 s"], ["duration", 60, "1 min"], ["duration", 252, "4 min 12 s"], ["duration", 7500, "2 h 5 min"], ["duration", 273_600, "3 d 4 h"], ["duration", null, "—"],
    ["bytes", 1023, "1,023 B"], ["bytes", 1_610_612_736, "1.5 GiB"], ["percent", 0.00012, "0.012 %"], ["percent", 0, "0 %"], ["percent", 0.25, "25 %"], ["percent", 0.0175, "1.75 %"], ["percent", 0.9824, "98.2 %"], ["percent", null, "—"],
    ["plain", 1_234_567, "1,234,567"], ["compact", null, "—"], ["words", "total_amount", "Total amount"],
  ];
  for (const [name, value, wanted] of cases) assert.equal(await call("numbers.js", name, value), wanted, `${name}(${value})`);
  assert.equal(await call("numbers.js", "inUnit", 1_250_000, "EUR"), "€1.25m");
  assert.equal(await call("numbers.js", "inUnit", 1_250_000, "kWh"), "1.25m kWh");
});

test("the time axis of a young job begins with it", async () => {
  assert.equal(await call("time.js", "axisFrom", 9000, 6400, 10_000), 9000);
  assert.equal(await call("time.js", "axisFrom", 9990, 6400, 10_000), 9700);
  assert.equal(await call("time.js", "axisFrom", 100, 6400, 10_000), 6400);
  assert.equal(await call("time.js", "axisFrom", null, 6400, 10_000), 6400);
});

test("times are in the viewer's zone", async () => {
  assert.equal(await call("time.js", "parse", "2026-11-25T18:00:00.500000Z"), 1_795_629_600.5);
  assert.equal(await call("time.js", "parse", 1_795_629_600_000_000), 1_795_629_600);
  assert.equal(await call("time.js", "full", 1_795_629_600), "25 Nov 2026, 19:00:00");
  assert.equal(await call("time.js", "zone"), "Europe/Berlin (GMT+1)");
});
