// The packages of npm that the tests use, from the folder that run.sh has put them into.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

const cache = process.env.TIDEGATE_CACHE || join(homedir(), ".cache/tidegate");
const require = createRequire(join(cache, "dashboard-tests", "package.json"));

export const { chromium } = require("playwright-core");
export const { WebSocket, WebSocketServer } = require("ws");
export const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
