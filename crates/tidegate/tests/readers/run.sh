#!/bin/sh
# Other people's readers over the files that Tidegate writes: values and predicates are compared with what was put in.
#
#   run.sh PROGRAM          PROGRAM is the path of tidegate
#   run.sh PROGRAM --spark  with Spark, too, which is large, and needs Java 17
#
# Packages of Python and Node are put into $TIDEGATE_CACHE/readers (default ~/.cache/tidegate), pinned by the files
# beside this one. Go is used where it is there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1:?run.sh: name the program}")
cache="${TIDEGATE_CACHE:-$HOME/.cache/tidegate}/readers"

for needed in python3 node npm; do
    command -v "$needed" >/dev/null || {
        echo "run.sh: $needed is needed" >&2
        exit 2
    }
done
if ! cmp -s "$here/requirements.txt" "$cache/requirements.txt"; then
    rm -rf "$cache/python" "$cache/duckdb2"
    mkdir -p "$cache"
    python3 -m venv "$cache/python"
    "$cache/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    "$cache/python/bin/pip" install --quiet --disable-pip-version-check --target "$cache/duckdb2" duckdb==2.0.1
    cp "$here/requirements.txt" "$cache/"
fi
if ! cmp -s "$here/package.json" "$cache/package.json"; then
    cp "$here/package.json" "$cache/"
    (cd "$cache" && npm install --silent --no-audit --no-fund --ignore-scripts)
fi
if command -v go >/dev/null && ! { [ -x "$cache/go/read" ] && cmp -s "$here/main.go" "$cache/go/main.go"; }; then
    mkdir -p "$cache/go"
    cp "$here/main.go" "$cache/go/"
    (
        cd "$cache/go"
        [ -e go.mod ] || go mod init readers >/dev/null 2>&1
        go get github.com/parquet-go/parquet-go@v0.32.0 >/dev/null 2>&1
        CGO_ENABLED=0 go build -o read main.go
    )
fi
if [ "${2:-}" = --spark ]; then
    [ -e "$cache/spark/pyspark" ] ||
        "$cache/python/bin/pip" install --quiet --disable-pip-version-check --target "$cache/spark" pyspark==4.3.0
    export READERS_SPARK="$cache/spark"
fi
cp "$here/hyparquet.mjs" "$cache/"
exec "$cache/python/bin/python" "$here/check.py" "$program" "$cache"
