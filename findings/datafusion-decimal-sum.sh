#!/bin/sh
# DataFusion 55.0.0 (PyPI): SUM over decimals with 38 digits wraps around: 10^38 - 1 twice is a negative number.
#
# Needs Python 3 with venv, and PyPI. Ends with 0 if this is still so, with 1 if it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check datafusion==55.0.0 pyarrow==26.0.1
"$folder/python/bin/python" - <<'PYTHON'
import sys
import datafusion

print("DataFusion", datafusion.__version__)
value = "CAST('99999999999999999999999999999999999999' AS DECIMAL(38,0))"
sql = f"SELECT sum(d) AS total FROM (VALUES ({value}), ({value})) t(d)"
try:
    total = str(datafusion.SessionContext().sql(sql).to_pylist()[0]["total"])
except Exception as error:
    total = f"error: {error}"
print(total)
sys.exit(0 if total == "-140282366920938463463374607431768211458" else 1)
PYTHON
