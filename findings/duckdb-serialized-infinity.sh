#!/bin/sh
# DuckDB 1.5.6 (PyPI): `json_serialize_sql` of a statement with a number beyond a DOUBLE, which `SELECT 1e400` takes for infinity,
# writes the bare word `Infinity`, which no JSON has. `json_valid` says that it is valid, and `json_execute_serialized_sql` refuses
# what DuckDB itself has written. Readers that keep to RFC 8259 fail on the whole tree.
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

serialized = "json_serialize_sql('SELECT 1e400 AS x')"
text, valid = duckdb.sql(f"SELECT {serialized}, json_valid({serialized})").fetchone()
try:
    executed = str(duckdb.sql(f"FROM json_execute_serialized_sql({serialized})").fetchone()[0])
except duckdb.Error as error:
    executed = type(error).__name__
answers = ['"value":Infinity}' in text, valid, executed, duckdb.sql("SELECT 1e400 AS x").fetchone()[0]]
print(f"DuckDB {duckdb.__version__}: {answers}")
sys.exit(0 if answers == [True, True, "ParserException", float("inf")] else 1)
PYTHON
