#!/bin/sh
# DuckDB 1.5.6 (PyPI) refuses a column with the name of its table in ON and in USING of a PIVOT ("PIVOT expression cannot contain
# qualified columns"), and a subquery in USING ("Pivot expression cannot contain subqueries"). So a query that was written with the
# names of its tables throughout has to lose them there.
#
# Needs Python 3 with venv, and PyPI. Ends with 0 if this is still so, with 1 if it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check "duckdb==1.5.6"
"$folder/python/bin/python" - <<'PYTHON'
import sys
import duckdb

connection = duckdb.connect()
connection.execute("CREATE TABLE t AS SELECT 'a' AS id, 1 AS value")

def ask(on, using):
    try:
        return str(connection.execute(f"PIVOT t AS u ON {on} USING {using}").fetchone()[0])
    except duckdb.Error as error:
        return str(error).split("\n")[0]

subquery = "first((SELECT max(value) FROM t))"
asked = [("id", "sum(value)"), ("u.id", "sum(value)"), ("id", "sum(u.value)"), ("id", subquery)]
answers = [ask(*pair) for pair in asked]
print(f"DuckDB {duckdb.__version__}: {answers}")
qualified = "Binder Error: PIVOT expression cannot contain qualified columns"
expected = ["1", qualified, qualified, "Binder Error: Pivot expression cannot contain subqueries"]
sys.exit(0 if answers == expected else 1)
PYTHON
