#!/bin/sh
# DuckDB 1.5.6 (PyPI): a cast of DECIMAL to DOUBLE does not always give the nearest double. DECIMAL(18,2) is off by a unit in the
# last place for some values of 18 digits, and DECIMAL(38,30) for some of ordinary size; a cast of the same digits as text is right.
# So one number has two doubles, and a mean that is computed from a decimal sum differs from the one that another engine has.
# DuckDB 2.0.1 gives the nearest double for both.
#
# Needs Python 3 with venv, and PyPI. Ends with 0 if this is still so, with 1 if it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
for version in 1.5.6 2.0.1; do
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check --target "$folder/$version" "duckdb==$version"
done
cat >"$folder/ask.py" <<'PYTHON'
import duckdb

connection = duckdb.connect()
for digits, ty in (("9249486427894197.44", "DECIMAL(18,2)"), ("56.435831185570311446618458537372", "DECIMAL(38,30)")):
    as_decimal, as_text = connection.execute(
        f"SELECT CAST(CAST('{digits}' AS {ty}) AS DOUBLE), CAST('{digits}' AS DOUBLE)"
    ).fetchone()
    nearest = float(digits)
    print(ty, digits, "decimal", as_decimal == nearest, "text", as_text == nearest)
PYTHON
ask() { PYTHONPATH="$folder/$1" "$folder/python/bin/python" "$folder/ask.py"; }
old=$(ask 1.5.6)
new=$(ask 2.0.1)
printf 'DuckDB 1.5.6\n%s\nDuckDB 2.0.1\n%s\n' "$old" "$new"
expected='DECIMAL(18,2) 9249486427894197.44 decimal False text True
DECIMAL(38,30) 56.435831185570311446618458537372 decimal False text True'
[ "$old" = "$expected" ] && [ "$new" = "$(printf '%s' "$expected" | sed 's/decimal False/decimal True/')" ]
