// A browser, pages in it, and what every test of the dashboard wants to know of a page.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { axeSource, chromium } from "./packages.mjs";

const SCREENSHOTS = process.env.TIDEGATE_SCREENSHOTS || "";
export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 360, height: 740 };

/// Chromium, without a window.
export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/// A page in a context of its own. `page.problems` gathers errors of scripts and breaches of the Content-Security-Policy;
/// what the network refuses is not among them, because some tests want that.
export async function open(browser, url, { viewport = DESKTOP, colorScheme = "light", token, ...options } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion: "reduce", locale: "en-GB", timezoneId: "Europe/Berlin", ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => {
    const text = message.text();
    if (message.type() === "error" && !text.startsWith("Failed to load resource") && !text.startsWith("WebSocket connection")) page.problems.push(text);
  });
  if (token) await page.addInitScript((value) => sessionStorage.setItem("tidegate.token", value), token);
  await page.goto(url);
  return page;
}

/// Goes to a page of the dashboard and waits until it is live.
export async function show(page, name) {
  await page.evaluate((target) => {
    location.hash = `#/${target}`;
  }, name);
  await page.locator(`main[data-page=${name}] h1`).waitFor();
  await page.locator("#connection[data-state=live]").waitFor();
}

/// Whether something has been drawn on each of the canvases of charts: how many colours there are in each.
export function inkOf(page) {
  return page.$$eval(".plot-canvas canvas", (canvases) =>
    canvases.map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const colors = new Set();
      for (let index = 0; index < data.length; index += 4) {
        if (data[index + 3] > 200) colors.add((data[index] << 16) | (data[index + 1] << 8) | data[index + 2]);
      }
      return colors.size;
    }),
  );
}

/// What axe finds against WCAG 2.2 AA, as text; an empty list is good.
export async function accessibilityProblems(page) {
  // A page under the strict policy takes no injected tag; what DevTools evaluates is not under it.
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 160)} (${node.failureSummary?.split("\n")[1]?.trim()})`));
}

/// How far the page is wider than its window, in pixels.
export function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

/// Keeps a screenshot when a folder was given.
export async function screenshot(page, name, options = {}) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), ...options });
}
