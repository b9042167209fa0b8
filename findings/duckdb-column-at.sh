#!/bin/sh
# DuckDB 1.2.2 takes a column called `at` without quotes: the word is `unreserved` there. DuckDB 1.5.6 and 2.0.1 (PyPI) have it as
# `type_function`, and SQL that was right before ends with "Parser Error: syntax error at or near". With quotes, and after the name
# of the table (`t.at`), all three take it.
#
# Needs Python 3 with venv, and PyPI. Ends with 0 if this is still so, with 1 if it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
for version in 1.2.2 1.5.6 2.0.1; do
  "$folder/python/bin/pip" install --quiet --disable-pip-version-check "duckdb==$version"
  "$folder/python/bin/python" - <<'PYTHON'
import sys
import duckdb

connection = duckdb.connect()
connection.execute('CREATE TABLE t AS SELECT 1 AS "at"')

def ask(sql):
    try:
        return str(connection.execute(sql).fetchone()[0])
    except duckdb.Error as error:
        return str(error).split("\n")[0]

category = ask("SELECT keyword_category FROM duckdb_keywords() WHERE keyword_name = 'at'")
bare = ask("SELECT count(DISTINCT at) FROM t")
others = [ask('SELECT count(DISTINCT "at") FROM t'), ask("SELECT count(DISTINCT t.at) FROM t")]
print(f"DuckDB {duckdb.__version__}: {category}; without quotes: {bare}; with quotes, and t.at: {others}")
old = duckdb.__version__ == "1.2.2"
expected = ("unreserved", "1") if old else ("type_function", 'Parser Error: syntax error at or near ")"')
sys.exit(0 if (category, bare) == expected and others == ["1", "1"] else 1)
PYTHON
done
