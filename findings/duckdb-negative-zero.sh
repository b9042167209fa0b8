#!/bin/sh
# DuckDB gives zeros another sign than they were stored with (PyPI):
#
# 1. In 1.5.6 a checkpoint takes a column in which all values are zeros for a constant, and makes one run of zeros of both
#    signs: all of them come back as the first one (duckdb/duckdb#25580, #25709). 2.0.1 keeps them.
# 2. In both, min() over one Parquet file is answered with the statistics, in which the format wants -0 as the least zero,
#    whichever is there. It is answered from the values where the statistics say that they are not exact.
#
# Values of a Parquet file come back with their sign, also where least and greatest are zeros.
#
# Needs Python 3 with venv, and PyPI. Ends with 0 if this is still so, with 1 if it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 fastparquet==2026.9.0
for version in 1.5.6 2.0.1; do
  "$folder/python/bin/pip" install --quiet --disable-pip-version-check "duckdb==$version"
  FOLDER="$folder" "$folder/python/bin/python" - <<'PYTHON'
import os
import struct
import sys
import duckdb
import pyarrow
import pyarrow.parquet
from fastparquet.cencoding import from_buffer

folder = os.environ["FOLDER"]

def signs(connection, query):
    values = [row[0] for row in connection.execute(query).fetchall()]
    return " ".join("-0" if struct.pack(">d", value)[0] & 0x80 else "0" if value == 0 else str(value) for value in values)

def stored(*values):
    path = f"{folder}/{duckdb.__version__}-{len(os.listdir(folder))}.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE t (i INTEGER, v DOUBLE)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(values)))
        before = signs(connection, "SELECT v FROM t ORDER BY i")
        connection.execute("CHECKPOINT")
        return before, signs(connection, "SELECT v FROM t ORDER BY i")

def parquet(values, exact=True):
    path = f"{folder}/zeros.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"v": pyarrow.array(values, pyarrow.float64())}), path, use_dictionary=False)
    if not exact:
        data = open(path, "rb").read()
        length = struct.unpack("<I", data[-8:-4])[0]
        footer = from_buffer(data[-8 - length:-8], "FileMetaData")
        # is_max_value_exact and is_min_value_exact.
        footer.row_groups[0].columns[0].meta_data.statistics.contents.update({7: False, 8: False})
        footer = footer.to_bytes()
        open(path, "wb").write(data[:-8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1")
    connection = duckdb.connect()
    return signs(connection, f"SELECT v FROM '{path}'"), signs(connection, f"SELECT min(v) FROM '{path}'")

seen = {
    "all zeros, stored": stored(0.0, -0.0),
    "and the other way round": stored(-0.0, 0.0),
    "zeros and another number": stored(0.0, -0.0, 1.0, 2.5),
    "Parquet": parquet([0.0, 0.0]),
    "Parquet, both signs": parquet([0.0, -0.0]),
    "Parquet, not exact": parquet([0.0, 0.0], exact=False),
}
print("DuckDB", duckdb.__version__, seen)
is_old = duckdb.__version__ == "1.5.6"
expected = {
    "all zeros, stored": ("0 -0", "0 0" if is_old else "0 -0"),
    "and the other way round": ("-0 0", "-0 -0" if is_old else "-0 0"),
    "zeros and another number": ("0 -0 1.0 2.5", "0 0 1.0 2.5" if is_old else "0 -0 1.0 2.5"),
    "Parquet": ("0 0", "-0"),
    "Parquet, both signs": ("0 -0", "-0"),
    "Parquet, not exact": ("0 0", "0"),
}
sys.exit(0 if seen == expected else 1)
PYTHON
done
