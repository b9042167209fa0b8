#!/bin/sh
# DuckDB 1.5.6 (PyPI): SUM over DECIMAL(38, s) gives a number with 39 digits, which its type has no room for, as long as it fits
# into 128 bits. Beyond that it is an error. DuckDB 2.0.1 says in both cases that the result does not fit.
#
# Needs Python 3 with venv, and PyPI. Ends with 0 if this is still so, with 1 if it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check duckdb==1.5.6
"$folder/python/bin/python" - <<'PYTHON'
import sys
import duckdb

connection = duckdb.connect()
print("DuckDB", duckdb.__version__)

def total(*values):
    rows = ", ".join(f"(CAST('{value}' AS DECIMAL(38,30)))" for value in values)
    try:
        return str(connection.execute(f"SELECT typeof(sum(d)), CAST(sum(d) AS VARCHAR) FROM (VALUES {rows}) t(d)").fetchone())
    except duckdb.Error as error:
        return f"error: {error}"

seen = total("50000000", "60000000")
print("50,000,000 + 60,000,000:", seen)
beyond = total("90000000", "90000000")
print("90,000,000 + 90,000,000:", beyond)
# 39 digits in a DECIMAL(38,30).
expected = "('DECIMAL(38,30)', '110000000.000000000000000000000000000000')"
sys.exit(0 if seen == expected and beyond.startswith("error: Out of Range Error: Overflow in HUGEINT addition") else 1)
PYTHON
