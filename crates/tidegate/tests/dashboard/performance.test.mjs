// The dashboard is small, and its first paint comes at once.

import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as browsers from "./browser.mjs";
import { startMock } from "./mock.mjs";

const DASHBOARD = fileURLToPath(new URL("../../../tidegate-serve/dashboard/", import.meta.url));
const BYTES_MAX = 150_000;
const FIRST_PAINT_MS_MAX = 300;
const RUNS = 7;

function filesIn(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesIn(path) : [path];
  });
}

test("everything together is under 150 kB compressed", () => {
  const sizes = filesIn(DASHBOARD).map((path) => gzipSync(readFileSync(path), { level: 6 }).length);
  const total = sizes.reduce((a, b) => a + b, 0);
  console.log(`${sizes.length} files, ${total} bytes compressed`);
  assert.ok(total < BYTES_MAX, `${total} bytes`);
});

test("nothing is loaded from elsewhere", async () => {
  const mock = await startMock();
  const browser = await browsers.launch();
  const page = await browsers.open(browser, mock.url);
  await page.locator("#connection[data-state=live]").waitFor();
  const addresses = await page.evaluate(() => performance.getEntriesByType("resource").map((entry) => entry.name));
  assert.ok(addresses.length > 20);
  assert.deepEqual(addresses.filter((address) => !address.startsWith(mock.url)), []);
  await browser.close();
  mock.stop();
});

test("the first paint comes within 300 ms on loopback", async () => {
  const mock = process.env.TIDEGATE_URL ? null : await startMock();
  const browser = await browsers.launch();
  const times = [];
  for (let run = 0; run < RUNS; run += 1) {
    const page = await browsers.open(browser, process.env.TIDEGATE_URL || mock.url, { token: process.env.TIDEGATE_TOKEN });
    await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
    times.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
    await page.context().close();
  }
  await browser.close();
  mock?.stop();
  times.sort((a, b) => a - b);
  const median = times[Math.floor(RUNS / 2)];
  console.log(`first contentful paint: median ${median.toFixed(0)} ms of ${times.map((time) => time.toFixed(0)).join(", ")}`);
  assert.ok(median < FIRST_PAINT_MS_MAX, `${median} ms`);
});
