// What the dashboard shows in states that a real job is seldom in, against the mock.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import * as browsers from "./browser.mjs";
import { startMock } from "./mock.mjs";

let browser;
let mock;
let page;

before(async () => {
  mock = await startMock();
  browser = await browsers.launch();
});
after(async () => {
  await browser.close();
  mock.stop();
});
afterEach(async () => {
  assert.deepEqual(page.problems, [], "no script failed and nothing broke the Content-Security-Policy");
  await page.context().close();
  mock.set({});
});

async function open(mode, name, options) {
  mock.set(mode);
  page = await browsers.open(browser, mock.url, options);
  if (name) await browsers.show(page, name);
  return page;
}
const text = (selector) => page.locator(selector).innerText();
const sees = (selector, pattern) => page.locator(selector).filter({ hasText: pattern }).first().waitFor();

for (const colorScheme of ["light", "dark"]) {
  for (const [name, charts] of [["business", 3], ["operations", 6], ["quality", 1]]) {
    test(`${name} draws its charts and is accessible, ${colorScheme}`, async () => {
      await open({}, name, { colorScheme });
      await page.waitForFunction((count) => document.querySelectorAll(".plot-canvas canvas").length === count, charts);
      await page.waitForTimeout(300);
      const ink = await browsers.inkOf(page);
      assert.equal(ink.length, charts);
      assert.ok(ink.every((colors) => colors > 8), `lines are on each canvas: ${ink}`);
      assert.deepEqual(await browsers.accessibilityProblems(page), []);
      await browsers.screenshot(page, `mock-${name}-${colorScheme}`, { fullPage: true });
    });
  }
}

for (const name of ["business", "operations", "quality"]) {
  test(`${name} fits a phone`, async () => {
    await open({}, name, { viewport: browsers.PHONE, hasTouch: true, isMobile: true });
    await page.waitForFunction(() => document.querySelectorAll(".plot-canvas canvas").length > 0);
    assert.equal(await browsers.overflow(page), 0);
    const nav = await page.locator("#nav").boundingBox();
    assert.ok(nav.y > browsers.PHONE.height - 70, "the tabs are at the bottom");
    assert.deepEqual(await browsers.accessibilityProblems(page), []);
  });
}

test("a disconnect shows, counts down, and heals; what was missed is asked for again", async () => {
  await open({}, "operations");
  await page.locator(".uplot").first().waitFor();
  mock.set({ offline: true });
  await sees("#offline", /What you see is as of \d\d:\d\d:\d\d/);
  await sees("#offline", /Trying again in \d+ s/);
  assert.equal(await text("#connection"), "Reconnecting");
  await page.locator("main[data-stale]").waitFor();
  await page.waitForFunction(() => getComputedStyle(document.querySelector("main .page")).opacity < 1);
  assert.deepEqual((await browsers.accessibilityProblems(page)).filter((problem) => !problem.startsWith("color-contrast")), []);
  await browsers.screenshot(page, "mock-disconnected");
  mock.requests.length = 0;
  mock.set({});
  await page.locator("#connection[data-state=live]").waitFor({ timeout: 20_000 });
  await page.locator("#offline").waitFor({ state: "hidden" });
  await page.locator("main:not([data-stale])").waitFor();
  await page.waitForFunction(() => document.querySelector(".plot-canvas canvas") !== null);
  assert.ok(mock.requests.some((url) => url.pathname === "/v1/history"), "the gap in the history is filled");
});

test("the gap in a view is filled after a disconnect, and Try now does not wait", async () => {
  await open({}, "business");
  mock.set({ offline: true });
  // A few tries, so that the wait is long enough to be cut short.
  await page.waitForFunction(() => Number(document.querySelector(".banner-count").textContent.match(/\d+/)?.[0]) >= 4, null, { timeout: 30_000 });
  mock.requests.length = 0;
  mock.set({});
  await page.getByRole("button", { name: "Try now" }).click();
  await page.locator("#connection[data-state=live]").waitFor({ timeout: 2000 });
  await page.waitForTimeout(300);
  const asked = new Set(mock.requests.filter((url) => url.pathname === "/v1/aggregates").map((url) => url.searchParams.get("view")));
  assert.deepEqual([...asked].sort(), ["currencies_5m", "merchants_5m", "transactions_1m"]);
});

test("a connection that is open and says nothing counts as lost", async () => {
  await open({}, "operations");
  mock.set({ silent: true });
  await sees("#offline", /The connection was lost/).catch(() => assert.fail("no banner"));
});

test("why the job closed the connection is said", async () => {
  await open({}, "operations");
  mock.set({ bye: "too slow" });
  await sees("#offline", /The job closed the connection: too slow/);
});

test("a token is asked for, kept in the tab, and sent with requests and with the socket", async () => {
  await open({ token: "hunter2-ü" });
  const dialog = page.getByRole("dialog", { name: "This job asks for a token" });
  await dialog.waitFor();
  assert.deepEqual(await browsers.accessibilityProblems(page), []);
  await browsers.screenshot(page, "mock-token");
  await page.locator("#token").fill("wrong");
  await page.getByRole("button", { name: "Connect" }).click();
  await sees(".form-error", /This token is not known/);
  await page.keyboard.press("Escape");
  assert.ok(await dialog.isVisible(), "there is nothing behind it to go back to");
  await page.locator("#token").fill("hunter2-ü".replace("ü", "x"));
  await page.keyboard.press("Enter");
  await sees(".form-error", /This token is not known/);
});

test("the right token connects, and a reload does not ask again", async () => {
  await open({ token: "t-0.k~en" });
  await page.locator("#token").fill("t-0.k~en");
  await page.keyboard.press("Enter");
  await page.locator("#connection[data-state=live]").waitFor();
  assert.ok(await page.locator("dialog.dialog").isHidden());
  await page.reload();
  await page.locator("#connection[data-state=live]").waitFor();
  assert.equal(await page.evaluate(() => localStorage.length), 0, "not beyond the tab");
});

test("errors of commits and loads come first, in full, and the tab and a screen reader say so", async () => {
  const load_error = "INSERT failed: disk full at /var/lib/tidegate/transactions.duckdb; free some space, the load is tried again";
  await open({ load_error, commit_error: "PUT log/00000000000000000042.json: 503 Slow Down" }, "operations");
  const verdicts = await page.locator(".verdict").allInnerTexts();
  assert.match(verdicts[0], /Commits are failing[\s\S]*503 Slow Down/);
  assert.match(verdicts[1], /Loads are failing: 214 commits wait for the warehouse[\s\S]*disk full/);
  assert.equal(await page.locator('#nav a[data-page="operations"]').getAttribute("data-alert"), "bad");
  assert.match(await page.locator("#announcer").textContent(), /Commits are failing/);
  assert.deepEqual(await browsers.accessibilityProblems(page), []);
  await browsers.screenshot(page, "mock-errors");
  mock.set({});
  await sees(".verdict", /Keeping up/);
  assert.match(await page.locator("#announcer").textContent(), /recovered/);
});

test("a job that is behind says when it will have caught up", async () => {
  await open({ behind: true }, "operations");
  assert.match(await text(".verdict >> nth=0"), /Behind by 2\.14m records[\s\S]*Caught up in about 4 min/i);
  await sees(".tile", /caught up in about 4 min/);
});

test("a job that is slower than its contract says by how much", async () => {
  await open({ slow: true }, "operations");
  assert.match(await text(".verdict >> nth=0"), /Slower than the contract[\s\S]*the contract is 5 min/);
});

test("a source that cannot be reached is a problem, whatever the lag says", async () => {
  await open({ source_error: "no Kafka broker is reachable: Connection refused" }, "operations");
  assert.match(await text(".verdict >> nth=0"), /The source cannot be reached, since \d\d:\d\d:\d\d[\s\S]*Connection refused/);
  assert.equal(await page.locator(".verdict", { hasText: "Keeping up" }).count(), 0);
  await sees(".tile", /—[\s\S]*the source cannot be reached/);
  assert.deepEqual(await browsers.accessibilityProblems(page), []);
  await browsers.screenshot(page, "mock-source-away");
});

test("loads that take longer than their interval are not keeping up", async () => {
  await open({ slowLoads: true }, "operations");
  assert.match(await text(".verdict >> nth=0"), /Loads take 15 s, and load\.interval is 2 s/);
  assert.equal(await page.locator(".verdict", { hasText: "Keeping up" }).count(), 0);
});

test("a job that another process loads shows nothing of loads", async () => {
  await open({ separate: true }, "operations");
  await sees(".verdict", /Keeping up/);
  await sees(".tile", /another process loads/);
  assert.equal(await page.getByRole("figure", { name: "Loads", exact: true }).count(), 0);
});

test("lateness is shown apart from the contract", async () => {
  await open({}, "operations");
  await sees(".verdict", /Keeping up/);
  await sees(".card", /99 of 100 less than 10 min 40 s: how late their senders are, which is no part of the contract/);
});

test("fields that the schema does not have are listed", async () => {
  await open({}, "quality");
  await sees(".ranked-line", /channel\s*81,204/);
  await sees(".ranked-line", /others, too many to be told apart\s*14/);
});

test("a job that has seen nothing shows what is missing, on each page", async () => {
  await open({ empty: true }, "business");
  await sees(".plot-empty, .empty", /No window in this range/);
  assert.deepEqual(await browsers.accessibilityProblems(page), []);
  await browsers.screenshot(page, "mock-empty-business", { fullPage: true });
  await browsers.show(page, "operations");
  await sees(".table-wrap", /Nothing has been committed yet/);
  assert.deepEqual(await browsers.accessibilityProblems(page), []);
  await browsers.show(page, "quality");
  await sees(".empty", /Nothing has been rejected/);
  await sees(".empty", /No late events/);
  await sees(".verdict", /No records in the last 5 minutes/);
  await browsers.screenshot(page, "mock-empty-quality", { fullPage: true });
});

test("a job without windows says how to get some", async () => {
  await open({ noViews: true }, "business");
  await sees(".empty", /This job has no windows[\s\S]*\[\[windows\]\]/);
});

test("views without configured charts get some of their own", async () => {
  await open({ charts: false }, "business");
  const titles = await page.locator(".card h2").allInnerTexts();
  assert.deepEqual(titles, Array(4).fill(["Transaction count", "Total amount"]).flat());
  assert.deepEqual(await page.locator(".tile-label").allInnerTexts(), ["Transaction count", "Total amount"]);
});

test("data of last week is shown where it is", async () => {
  await open({ old: 7 * 86_400 }, "business");
  await sees(".note", /The newest event is of .*; the charts end there/);
  await page.waitForFunction(() => document.querySelectorAll(".legend-value").length > 3);
  assert.equal(await page.locator(".plot-empty:visible").count(), 0);
});

test("a tier that is down: the answer of another says so; no answer at all is an error in place", async () => {
  await open({ fallbacks: [{ tier: "warm", reason: "the warehouse is locked" }] }, "business");
  await sees(".fresh .note", /The warm tier could not answer: the warehouse is locked/);
  mock.set({ failing: "/v1/aggregates" });
  await page.getByRole("radio", { name: "24 h" }).check();
  await sees(".fresh .note", /The warehouse cannot be opened: it is locked/);
  await page.reload();
  // Live values are pushed all the same.
  await sees(".fresh .note", /The warehouse cannot be opened/);
});

test("an answer that is cut is asked for page by page", async () => {
  await open({ limit: 50 }, "business");
  await sees(".card", /Amount a minute/);
  await page.waitForTimeout(1500);
  const starts = mock.requests.filter((url) => url.pathname === "/v1/aggregates" && url.searchParams.get("view") === "transactions_1m");
  assert.ok(starts.length >= 4, `${starts.length} pages`);
  await page.getByRole("figure", { name: "Amount a minute" }).getByRole("button", { name: "Table" }).click();
  const rows = await page.locator(".plot-table tbody tr").count();
  assert.ok(rows >= 58 && rows <= 61, `${rows} windows of one minute in an hour`);
});

test("samples of a reason open, stay text, page on, and give the focus back", async () => {
  await open({}, "quality");
  const reason = page.getByRole("button", { name: /rule\.currency_known/ });
  await reason.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Rejected: rule.currency_known" }).waitFor();
  await page.locator(".sample").nth(19).waitFor();
  const payloads = await page.locator(".sample pre").allInnerTexts();
  assert.match(payloads[0], /"amount": -12\.500000000000000001,\n/, "the digits are those of the record");
  assert.match(payloads[1], /<img src=x/, "what is not JSON is shown as it is");
  assert.match(payloads[2], /^base64: /);
  assert.equal(await page.evaluate(() => document.body.dataset.pwned), undefined);
  assert.ok(mock.requests.some((url) => url.pathname === "/v1/rejected" && url.searchParams.get("reason") === "rule.currency_known"));
  assert.deepEqual(await browsers.accessibilityProblems(page), []);
  await browsers.screenshot(page, "mock-samples");
  await page.getByRole("button", { name: "Show older ones" }).click();
  await page.locator(".sample").nth(39).waitFor();
  await page.keyboard.press("Escape");
  assert.ok(await reason.evaluate((element) => element === document.activeElement));
});

test("it works without a mouse", async () => {
  await open({}, "business");
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.getByRole("radio", { name: "1 h", exact: true }).focus();
  mock.requests.length = 0;
  await page.keyboard.press("ArrowRight");
  await page.waitForTimeout(300);
  assert.ok(await page.getByRole("radio", { name: "6 h" }).isChecked());
  const { searchParams } = mock.requests.find((url) => url.pathname === "/v1/aggregates");
  assert.ok(Date.parse(searchParams.get("to")) - Date.parse(searchParams.get("from")) >= 6 * 3600e3);
  await page.getByRole("link", { name: "Operations" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("main[data-page=operations] h1").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Operations");
  assert.equal(await page.title(), "Operations · Tidegate");
  const toggle = page.getByRole("figure", { name: "Lag", exact: true }).getByRole("button", { name: "Table" });
  await toggle.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("table", { name: "Lag, newest first" }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("img", { name: /^Lag/ }).waitFor();
  assert.match(await page.getByRole("img", { name: /^End-to-end latency/ }).getAttribute("aria-label"), /queryable: .* last, lowest .*, highest/);
});

test("a legend hides a line and brings it back", async () => {
  await open({}, "business");
  const figure = page.getByRole("figure", { name: "Transactions a minute" });
  const button = figure.getByRole("button", { name: /COMPLETED/ });
  await button.click();
  assert.equal(await button.getAttribute("aria-pressed"), "false");
  await button.click();
  assert.equal(await button.getAttribute("aria-pressed"), "true");
});

test("the chosen colours stay after a reload, and light means light on a dark system", async () => {
  await open({}, "business", { colorScheme: "dark" });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await background();
  await page.getByRole("button", { name: /^Colours: as the system/ }).click();
  const light = await background();
  assert.notEqual(light, dark);
  await page.reload();
  assert.equal(await background(), light);
  await page.getByRole("button", { name: /^Colours: light/ }).click();
  assert.equal(await background(), dark);
});

test("older commits can be looked at while new ones come", async () => {
  await open({}, "operations");
  const first = page.locator(".table-wrap[aria-label=Commits] tbody th").first();
  const newest = await first.innerText();
  await page.getByRole("button", { name: "Older" }).click();
  await page.waitForFunction((before) => document.querySelector(".table-wrap[aria-label=Commits] tbody th").textContent !== before, newest);
  const older = await first.innerText();
  await page.waitForTimeout(1500);
  assert.equal(await first.innerText(), older, "the page that is read does not move");
  await page.getByRole("button", { name: "Newest" }).click();
  await page.waitForFunction((before) => document.querySelector(".table-wrap[aria-label=Commits] tbody th").textContent > before, newest);
});
