#!/bin/sh
# DuckDB 1.5.6 (PyPI): `x.h` within `lambda x: ...` is the member of a column `x`, or the column `h` of a table `x`, where there is
# one, and not the member of the lambda's parameter; `x` alone and `x['h']` are the parameter's. So a lambda over structs in a view
# gives other values, or fails, once somebody has a column with the name of its parameter.
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

def ask(member, source):
    sql = f"SELECT list_transform([{{'h': 1}}, {{'h': 2}}], lambda x: {member}) FROM {source}"
    try:
        return str(duckdb.sql(sql).fetchone()[0])
    except duckdb.Error as error:
        return type(error).__name__

sources = ["(SELECT 0 AS other)", "(SELECT {'h': 100} AS x)", "(SELECT 100 AS h) AS x", "(SELECT 7 AS x)"]
answers = [ask(member, source) for member in ("x.h", "x['h']") for source in sources]
print(f"DuckDB {duckdb.__version__}: {answers}")
parameter = "[1, 2]"
expected = [parameter, "[100, 100]", "[100, 100]", "BinderException"] + 4 * [parameter]
sys.exit(0 if answers == expected else 1)
PYTHON
