#!/bin/sh
# Tests of the dashboard in Debian's Chromium.
#
#   run.sh                  the states, against a mock
#   run.sh URL              and against a running Tidegate, such as `tidegate demo`, with its real data
#   run.sh URL FOLDER       and keeps screenshots in the folder
#
# `cargo xtask dashboard` starts a demo and runs this against it. Packages of npm are put into $TIDEGATE_CACHE
# (default ~/.cache/tidegate). TIDEGATE_TOKEN is the token of a running Tidegate that wants one; then only the tests
# against it run. CHROMIUM is another browser's path.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
packages="${TIDEGATE_CACHE:-$HOME/.cache/tidegate}/dashboard-tests"

if ! command -v node >/dev/null || [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    echo "run.sh: Node 20 or newer is needed: https://nodejs.org, or the package nodejs" >&2
    exit 2
fi
if ! cmp -s "$here/package-lock.json" "$packages/installed-lock.json"; then
    mkdir -p "$packages"
    cp "$here/package.json" "$here/package-lock.json" "$packages/"
    (cd "$packages" && npm ci --no-audit --no-fund --ignore-scripts)
    cp "$here/package-lock.json" "$packages/installed-lock.json"
fi
if [ -z "${CHROMIUM:-}" ]; then
    CHROMIUM=$(command -v chromium) || {
        echo "run.sh: Chromium is needed: apt-get install chromium, or set CHROMIUM to its path" >&2
        exit 2
    }
fi
export CHROMIUM
export TIDEGATE_URL="${1:-}"
export TIDEGATE_SCREENSHOTS="${2:-}"

cd "$here"
set -- ./*.test.mjs
if [ -n "${TIDEGATE_TOKEN:-}" ]; then
    set -- ./real.test.mjs
fi
exec node --test --test-concurrency=1 --test-reporter=spec "$@"
