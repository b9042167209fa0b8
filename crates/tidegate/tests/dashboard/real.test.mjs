// The dashboard on a running Tidegate with its real data: TIDEGATE_URL, such as that of `tidegate demo`. Without it,
// nothing here runs, and run.sh says so.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import * as browsers from "./browser.mjs";
import { startWire } from "./wire.mjs";

const URL_GIVEN = process.env.TIDEGATE_URL || "";
const token = process.env.TIDEGATE_TOKEN || undefined;
const options = { skip: URL_GIVEN === "" ? "no URL of a running Tidegate was given" : false };

let browser;
let wire;
let page;

before(async () => {
  if (!URL_GIVEN) return;
  wire = await startWire(URL_GIVEN.endsWith("/") ? URL_GIVEN : `${URL_GIVEN}/`);
  browser = await browsers.launch();
});
after(async () => {
  await browser?.close();
  wire?.stop();
});
afterEach(async () => {
  if (!page) return;
  const { problems } = page;
  await page.context().close();
  page = undefined;
  assert.deepEqual(problems, [], "no script failed and nothing broke the Content-Security-Policy");
});

async function open(name, more) {
  page = await browsers.open(browser, wire.url, { token, ...more });
  await browsers.show(page, name);
}
async function api(path) {
  const response = await fetch(new URL(path, wire.url), { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
  return response.json();
}
const digits = (text) => Number(text.replaceAll(/[^\d.-]/g, ""));
const drawn = () => page.waitForFunction(() => {
  const areas = [...document.querySelectorAll(".plot-area")];
  return areas.length > 0 && areas.every((area) => area.querySelector("canvas"));
}, null, { timeout: 90_000 });

for (const [variant, more] of Object.entries({ light: {}, dark: { colorScheme: "dark" }, phone: { viewport: browsers.PHONE, hasTouch: true, isMobile: true, deviceScaleFactor: 2 } })) {
  test(`charts draw on every page, ${variant}`, options, async () => {
    await open("business", more);
    for (const name of ["business", "operations", "quality"]) {
      await browsers.show(page, name);
      await drawn();
      await page.waitForTimeout(1500);
      const ink = await browsers.inkOf(page);
      assert.ok(ink.every((colors) => colors > 8), `lines are on each canvas of ${name}: ${ink}`);
      assert.equal(await browsers.overflow(page), 0, `${name} fits`);
      assert.deepEqual(await browsers.accessibilityProblems(page), []);
      await browsers.screenshot(page, `${name}-${variant}`);
    }
  });
}

test("the business charts show the numbers of the API", options, async () => {
  const job = await api("v1/job");
  await open("business");
  await drawn();
  const figures = await page.getByRole("figure").all();
  assert.ok(figures.length > 0);
  const now = Date.now();
  const from = new Date(now - 3600e3).toISOString();
  let compared = 0;
  for (const figure of figures) {
    const label = await figure.getAttribute("aria-label");
    const sub = await figure.locator("xpath=ancestor::section").locator(".card-sub").first().innerText();
    const view = job.views.find((one) => one.name === sub.split(" · ")[0]);
    const chart = job.charts.find((one) => one.title === label && one.view === view.name && one.kind !== "top" && one.kind !== "number") ?? defaultOf(view, label);
    await figure.getByRole("button", { name: "Table" }).click();
    const table = await tableOf(figure);
    const params = new URLSearchParams({ view: view.name, from, to: new Date(now).toISOString(), limit: "10000" });
    const { rows } = await api(`v1/aggregates?${params}`);
    compared += compare(table, rows, chart);
  }
  console.log(`${compared} values are those of the API`);
  assert.ok(compared > 0, "some values were compared");
});

function defaultOf(view, label) {
  const aggregate = view.aggregates.find((one) => one.name.replaceAll("_", " ") === label.toLowerCase().replaceAll("_", " "));
  return { value: aggregate.name, by: view.groups[0]?.name };
}

// Rows of the table as {time: {series: text}}.
async function tableOf(figure) {
  await figure.locator("tbody tr").first().waitFor();
  return figure.locator("table").evaluate((element) => {
    const names = [...element.querySelectorAll("thead th")].map((cell) => cell.textContent);
    return [...element.querySelectorAll("tbody tr")].map((row) => Object.fromEntries([...row.children].map((cell, index) => [names[index], cell.textContent])));
  });
}

// How many values of windows that can no longer change are the same, to the three digits that are shown.
function compare(table, rows, chart) {
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "Europe/Berlin" });
  const settled = rows.filter((row) => row.final);
  // Where the demo is younger than its watermark's delay, no window is final yet: then those that ended a while ago count.
  const ended = settled.length > 0 ? settled : rows.filter((row) => Date.parse(row.window_end) < Date.now() - 15e3);
  const sums = new Map();
  for (const row of ended) {
    const key = `${clock.format(new Date(row.window_start))} ${chart.by ? row[chart.by] : chart.value}`;
    sums.set(key, (sums.get(key) ?? 0) + Number(row[chart.value]));
  }
  let count = 0;
  for (const line of table) {
    for (const [name, shown] of Object.entries(line)) {
      const wanted = sums.get(`${line.Time} ${name}`);
      if (wanted === undefined) continue;
      const value = expand(shown);
      const slack = settled.length > 0 ? 0.005 : 0.03;
      assert.ok(Math.abs(value - wanted) <= slack * Math.abs(wanted) + 0.5, `${chart.value} of ${name} at ${line.Time}: ${shown}, the API says ${wanted}`);
      count += 1;
    }
  }
  return count;
}

function expand(text) {
  const scale = { k: 1e3, m: 1e6, bn: 1e9, tn: 1e12 }[text.match(/(k|m|bn|tn)\b/i)?.[1].toLowerCase()] ?? 1;
  return digits(text) * scale;
}

test("where every record went is what the status says, and adds up", options, async () => {
  await open("quality");
  const before = await api("v1/status");
  await page.waitForTimeout(1500);
  const counts = (await page.locator(".fate-count").allInnerTexts()).map(digits);
  const sum = await page.locator(".fate-sum").innerText();
  await page.waitForTimeout(1500);
  const now = await api("v1/status");
  for (const [index, key] of ["events", "late", "duplicates", "rejected"].entries()) {
    assert.ok(counts[index] >= before[key] && counts[index] <= now[key], `${key}: ${before[key]} <= ${counts[index]} <= ${now[key]}`);
  }
  assert.match(sum, /exactly what was read and committed/);
});

test("the commits are those of the log", options, async () => {
  await open("operations");
  const lines = page.locator(".table-wrap[aria-label=Commits] tbody tr");
  await lines.nth(1).waitFor();
  // Two commits back, so that it does not move away while it is looked up.
  const cells = await lines.last().locator("th, td").allInnerTexts();
  const seq = digits(cells[0]);
  const { records } = await api(`v1/log?limit=1&before=${seq + 1}`);
  assert.equal(records[0].seq, seq);
  assert.deepEqual([2, 3, 4, 5, 6, 7].map((index) => digits(cells[index])), ["read", "events", "late", "rejected", "duplicates", "files"].map((key) => records[0][key]));
});

test("samples of rejected records open", options, async () => {
  await open("quality");
  const reason = page.locator("button.ranked-line").first();
  await reason.waitFor({ timeout: 60_000 });
  const name = await reason.locator(".ranked-name").innerText();
  await reason.click();
  await page.locator(".sample").first().waitFor({ timeout: 30_000 });
  const reasons = await page.locator(".sample").first().locator(".chip").allInnerTexts();
  assert.ok(reasons.includes(name), `${reasons} has ${name}`);
  assert.ok((await page.locator(".sample pre").first().innerText()).length > 0);
  await browsers.screenshot(page, "samples");
});

test("live values move without a reload", options, async () => {
  await open("quality");
  const count = page.locator(".fate-count").first();
  const before = digits(await count.innerText());
  await page.waitForFunction((least) => Number(document.querySelector(".fate-count").textContent.replaceAll(/\D/g, "")) > least, before, { timeout: 15_000 });
});

test("a cut wire shows and heals, and the gap is filled", options, async () => {
  await open("operations");
  await drawn();
  wire.cut();
  await page.locator("#offline").filter({ hasText: /as of \d\d:\d\d:\d\d/ }).waitFor();
  await page.locator("main[data-stale]").waitFor();
  await page.waitForTimeout(3000);
  await browsers.screenshot(page, "disconnected");
  const asked = page.waitForResponse((response) => response.url().includes("/v1/history") && response.ok(), { timeout: 30_000 });
  wire.mend();
  await page.locator("#connection[data-state=live]").waitFor({ timeout: 30_000 });
  await page.locator("#offline").waitFor({ state: "hidden" });
  assert.equal(await page.locator("main[data-stale]").count(), 0);
  await asked;
});

test("a reload loses no history", options, async () => {
  await open("operations");
  await drawn();
  const points = async () => {
    const figure = page.getByRole("figure", { name: "Input and processing" });
    await figure.getByRole("button", { name: "Table" }).click();
    return (await tableOf(figure)).length;
  };
  const { times } = await api(`v1/history?from=${new Date(Date.now() - 3600e3).toISOString()}&to=${new Date().toISOString()}&step=10`);
  assert.ok((await points()) >= Math.min(times.length, 500) - 1);
  await page.reload();
  await browsers.show(page, "operations");
  await drawn();
  assert.ok((await points()) >= Math.min(times.length, 500) - 1);
});
