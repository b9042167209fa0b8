"""Runs Tidegate over made-up events of every type, and reads its files with other people's readers.

    check.py PROGRAM CACHE

Each reader has to find every value that was put in, and what it finds with a condition has to be what it finds among
all values: where a reader passes over row groups by their least and greatest value, those have to be right. Prints a
line for each reader, and ends with 1 if one of them finds anything else. What a reader cannot do is left out where it
is read, and said in docs/files.md.
"""

import datetime as dt
import decimal
import glob
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

PROGRAM, CACHE = sys.argv[1], sys.argv[2]
UTC = dt.timezone.utc

CONFIG = """
version = 1
name = "readers"
[source]
kind = "files"
path = "in.ndjson"
[storage]
url = "file:./data"
[warehouse]
url = "none"
[schema]
id = { type = "int64", required = true }
at = { type = "timestamp", required = true }
s = "string"
i = "int32"
f = "float64"
g = "float64"
b = "bool"
d = "decimal(38,10)"
d_small = "decimal(9,2)"
d_far = "decimal(38,38)"
day = "date"
time = "timestamp"
millis = "timestamp_ms"
m = "map<string,string>"
mm = "map<string,list<int64>>"
st = "struct<lat: float64, tags: map<string,string>, inner: struct<x: int64>>"
l = "list<float64>"
ls = "list<struct<a: int64, b: string>>"
[event-time]
field = "at"
column = "event_time"
delay = "10m"
[rules]
small = "id < 100000"
[enrich]
ratio = "f / g"
year = "id"
month = "s"
[deduplication]
key = ["id", "at"]
[[windows]]
name = "sums"
size = "1m"
group-by = ["i"]
[windows.aggregates]
n = "count(*)"
d_sum = "sum(d)"
f_sum = "sum(f)"
ratio_max = "max(ratio)"
"""


def made(count):
    """Events as their fields' Python values."""
    r = random.Random(7)
    start = dt.datetime.now(UTC).replace(microsecond=0) - dt.timedelta(hours=3)
    digits = decimal.Decimal(10**38 - 1)
    decimal.getcontext().prec = 80
    for n in range(count):
        maybe = lambda value: None if r.random() < 0.15 else value
        text = r.choice(["", "a", "é中😀", "quote\"back\\slash", "line\nline", "x" * 300, str(n)])
        zero = r.choice([0.0, -0.0])
        f = r.choice([r.uniform(-10, 10), zero, 1.0, float(n), 1e300, 5e-324])
        # Most divide by something; some make NaN and infinities.
        g = zero if n % 50 == 3 else r.choice([1.0, 2.0, -0.5])
        yield {
            "id": n,
            "at": start + dt.timedelta(seconds=n // 4, microseconds=n),
            "s": maybe(text),
            "i": maybe(r.choice([0, 1, -1, 2**31 - 1, -(2**31)])),
            "f": maybe(f),
            "g": maybe(g),
            "b": maybe(r.random() < 0.5),
            "d": maybe(decimal.Decimal(r.choice([0, 1, -1, r.randint(-(10**27), 10**27)])).scaleb(-10)),
            "d_small": maybe(decimal.Decimal(r.randint(-(10**9) + 1, 10**9 - 1)).scaleb(-2)),
            "d_far": maybe(r.choice([digits, -digits, decimal.Decimal(1)]).scaleb(-38)),
            "day": maybe(r.choice([dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1970, 1, 1), dt.date(1969, 12, 31), dt.date(2026, 2, 28)])),
            "time": maybe(r.choice([
                dt.datetime(1, 1, 1, tzinfo=UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
                dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), start])),
            "millis": maybe(start + dt.timedelta(milliseconds=n)),
            "m": maybe({k: maybe(k * 2) for k in r.sample(["a", "b", "", "é"], r.randint(0, 4))}),
            "mm": maybe({k: maybe([maybe(r.randint(-5, 5)) for _ in range(r.randint(0, 3))]) for k in r.sample(["a", "b"], r.randint(0, 2))}),
            "st": maybe({"lat": maybe(r.choice([zero, 1.5])), "tags": maybe({"k": maybe("v")}), "inner": maybe({"x": maybe(n)})}),
            "l": maybe([maybe(r.choice([zero, 2.5, 1e308])) for _ in range(r.randint(0, 3))]),
            "ls": maybe([maybe({"a": maybe(n), "b": maybe("z")}) for _ in range(r.randint(0, 2))]),
        }


def as_json(event):
    """The event as it goes into the file; decimals keep their digits."""
    iso = lambda t: t.isoformat(timespec="microseconds")
    out = {}
    for name, value in event.items():
        if name == "millis" and value is not None:
            value = round(value.timestamp() * 1000)
        elif isinstance(value, dt.datetime):
            # Python leaves zeros before the year out on some systems.
            value = iso(value)
        elif isinstance(value, dt.date):
            value = value.isoformat()
        elif isinstance(value, decimal.Decimal):
            value = f"\0{value:f}\0"
        out[name] = value
    return json.dumps(out).replace('"\\u0000', "").replace('\\u0000"', "")


def ratio(event):
    f, g = event["f"], event["g"]
    if f is None or g is None:
        return None
    if g == 0:
        if f == 0:
            return math.nan
        return math.copysign(math.inf, f) * math.copysign(1, g)
    return f / g


def same(a, b):
    """Whether a value is what was put in: NaN is NaN, and the sign of zero stays."""
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return type(a) is type(b) and a == b


def from_arrow(value, ty):
    """An Arrow value as the events have it: maps as dictionaries, times in UTC."""
    if value is None:
        return None
    if pa.types.is_map(ty):
        return {k: from_arrow(v, ty.item_type) for k, v in value}
    if pa.types.is_list(ty) or pa.types.is_large_list(ty):
        return [from_arrow(v, ty.value_type) for v in value]
    if pa.types.is_struct(ty):
        return {ty.field(i).name: from_arrow(value[ty.field(i).name], ty.field(i).type) for i in range(ty.num_fields)}
    if pa.types.is_timestamp(ty):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


class Failed(Exception):
    pass


def compare(rows, events, leave_out=()):
    rows = {row["id"]: row for row in rows}
    if len(rows) != len(events):
        raise Failed(f"{len(rows)} rows instead of {len(events)}")
    for event in events:
        row = rows[event["id"]]
        for name, expected in list(event.items()) + [("ratio", ratio(event)), ("year", event["id"]), ("month", event["s"])]:
            if name not in leave_out and not same(row[name], expected):
                raise Failed(f"id {event['id']}: {name} is {row[name]!r} instead of {expected!r}")


def compare_table(table, events, leave_out=()):
    columns = {
        field.name: [from_arrow(v, field.type) for v in table.column(field.name).to_pylist()]
        for field in table.schema
        if field.name not in leave_out
    }
    rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
    compare(rows, events, leave_out)


def of_warehouse(events, op, to):
    """How many ratios are so, in the sense of the warehouse: NaN is greater than all others."""
    key = lambda x: (1, 0.0) if math.isnan(x) else (0, x)
    ops = {">": lambda a, b: a > b, "<": lambda a, b: a < b, "=": lambda a, b: a == b, ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b}
    ratios = [ratio(e) for e in events]
    return sum(1 for x in ratios if x is not None and ops[op](key(x), key(to)))


CONDITIONS = [(">", 5.0), ("<", 5.0), ("=", 0.0), (">=", 0.0), ("<", 0.0), (">", 1e9), ("<=", -0.0)]


def pyarrow_reads(files, events):
    compare_table(pa.concat_tables([pq.ParquetFile(f).read() for f in files]), events)
    import pyarrow.compute as pc

    scan = ds.dataset(files, format="parquet")
    everything = scan.to_table(columns=["ratio"])["ratio"]
    operators = {">": pc.greater, "<": pc.less, "=": pc.equal, ">=": pc.greater_equal, "<=": pc.less_equal}
    field = pc.field("ratio")
    for op, to in CONDITIONS:
        condition = {">": field > to, "<": field < to, "=": field == to, ">=": field >= to, "<=": field <= to}[op]
        found = scan.count_rows(filter=condition)
        expected = pc.sum(operators[op](everything, pa.scalar(to))).as_py()
        if found != expected:
            raise Failed(f"ratio {op} {to}: {found} instead of {expected}")


def duckdb_reads(duckdb):
    def check(files, events):
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        source = "read_parquet([" + ", ".join(f"'{f}'" for f in files) + "], hive_partitioning = false)"
        table = connection.execute(f"SELECT * FROM {source}").to_arrow_table()
        compare_table(table, events)
        for op, to in CONDITIONS:
            found = connection.execute(f"SELECT count(*) FROM {source} WHERE ratio {op} {to}::DOUBLE").fetchone()[0]
            expected = of_warehouse(events, op, to)
            if found != expected:
                raise Failed(f"ratio {op} {to}: {found} instead of {expected}")
        folder = files[0].split("/year=")[0]
        kinds = "hive_types = {'year': VARCHAR, 'month': VARCHAR, 'day': VARCHAR, 'hour': VARCHAR}"
        told = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = false, filename = true)"
        count = connection.execute(f"SELECT count(*) FROM {told}").fetchone()[0]
        if count != len(events):
            raise Failed(f"{count} rows below {folder}")
        late = folder.replace("/events", "/rejected")
        hours = connection.execute(
            f"SELECT min(hour), max(length(hour)), min(length(month)) FROM read_parquet('{late}/**/*.parquet', {kinds})"
        ).fetchone()
        if hours[1:] != (2, 2):
            raise Failed(f"hive_types: {hours}")

    return check


def datafusion_reads(files, events):
    import datafusion

    context = datafusion.SessionContext()
    folder = files[0].split("/year=")[0]
    context.register_parquet("events", folder, file_extension=".parquet")
    compare_table(context.sql("SELECT * FROM events").to_arrow_table(), events)
    for op, to in CONDITIONS:
        # Zeros of both signs are not equal there, so that zero is left to the others.
        if to == 0.0:
            continue
        count = context.sql(f"SELECT count(*) AS n FROM events WHERE ratio {op} {to}").to_pylist()[0]["n"]
        expected = of_warehouse(events, op, to)
        if count != expected:
            raise Failed(f"ratio {op} {to}: {count} instead of {expected}")


def spark_reads(files, events):
    path = os.environ.get("READERS_SPARK")
    if not path:
        raise FileNotFoundError("Spark (--spark)")
    sys.path.insert(0, path)
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.int96RebaseModeInRead", "CORRECTED")
        .config("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    try:
        frame = session.read.parquet(*files)
        # Times as microseconds: Python's own conversion cannot do the years 1 and 9999 everywhere.
        times = ("at", "time", "millis", "day")
        exprs = [f"unix_micros({n}) AS {n}" if n != "day" else "unix_date(day) AS day" for n in times]
        simple = frame.selectExpr("id", "s", "i", "f", "g", "b", "d", "d_small", "d_far", "m", "mm", "st", "l", "ls", "ratio", "year", "month", *exprs)
        epoch = dt.datetime(1970, 1, 1, tzinfo=UTC)
        rows = []
        for row in simple.collect():
            row = row.asDict(recursive=True)
            for name in times:
                if row[name] is not None:
                    row[name] = dt.date(1970, 1, 1) + dt.timedelta(days=row[name]) if name == "day" else epoch + dt.timedelta(microseconds=row[name])
            rows.append(row)
        compare(rows, events)
        for op, to in CONDITIONS:
            found = frame.where(f"ratio {op} double('{to}')").count()
            expected = of_warehouse(events, op, to)
            if found != expected:
                raise Failed(f"ratio {op} {to}: {found} instead of {expected}")
    finally:
        session.stop()


def polars_reads(files, events):
    import polars as pl

    # Polars has no dates before year 1 with a zone, no maps, and 38 digits.
    table = pl.read_parquet(files, hive_partitioning=False).to_arrow()
    rows = []
    for row in table.to_pylist():
        # A map is a list of entries there.
        entries = lambda items: None if items is None else dict(tuple(e.values()) if isinstance(e, dict) else e for e in items)
        row["m"], row["mm"] = entries(row["m"]), entries(row["mm"])
        if row["st"] is not None:
            row["st"]["tags"] = entries(row["st"]["tags"])
        for name in ("at", "time", "millis"):
            if row[name] is not None:
                row[name] = row[name].astimezone(UTC)
        rows.append(row)
    compare(rows, events)
    everything = pl.read_parquet(files, hive_partitioning=False, columns=["ratio"])
    for op, to in CONDITIONS:
        column = pl.col("ratio")
        condition = {">": column > to, "<": column < to, "=": column == to, ">=": column >= to, "<=": column <= to}[op]
        found = pl.scan_parquet(files, hive_partitioning=False).filter(condition).select(pl.len()).collect().item()
        expected = everything.filter(condition).height
        if found != expected:
            raise Failed(f"ratio {op} {to}: {found} instead of {expected}")


def chdb_reads(files, events):
    import chdb

    folder = files[0].split("/year=")[0]
    source = f"file('{folder}/**/*.parquet', Parquet)"
    count = int(str(chdb.query(f"SELECT count() FROM {source} SETTINGS use_hive_partitioning = 0", "CSV")))
    if count != len(events):
        raise Failed(f"{count} rows instead of {len(events)}")
    text = str(chdb.query(
        f"SELECT id, s, i, f, ratio, toString(d) AS d, toString(d_far) AS d_far, m FROM {source} ORDER BY id SETTINGS use_hive_partitioning = 0, "
        "output_format_json_quote_64bit_integers = 0, output_format_json_quote_denormals = 1",
        "JSONEachRow",
    ))
    for line, event in zip(text.splitlines(), events):
        # A zero with a sign has no point there, and a whole number of JSON no sign.
        row = json.loads(line, parse_int=lambda text: -0.0 if text == "-0" else int(text))
        floats = {name: None if row[name] is None else float(row[name]) for name in ("f", "ratio")}
        for name, expected in (("f", event["f"]), ("ratio", ratio(event))):
            if not same(floats[name], expected):
                raise Failed(f"id {event['id']}: {name} is {row[name]!r} instead of {expected!r}")
        for name in ("s", "i"):
            if not same(row[name], event[name]):
                raise Failed(f"id {event['id']}: {name} is {row[name]!r} instead of {event[name]!r}")
        for name in ("d", "d_far"):
            found = None if row[name] is None else decimal.Decimal(row[name])
            if found != event[name]:
                raise Failed(f"id {event['id']}: {name} is {row[name]!r} instead of {event[name]!r}")
        # A map cannot be null there: it is empty.
        if row["m"] != (event["m"] or {}):
            raise Failed(f"id {event['id']}: m is {row['m']!r} instead of {event['m']!r}")
    for op, to in CONDITIONS:
        ask = lambda extra: int(str(chdb.query(f"SELECT count() FROM {source} WHERE ratio {op} {to} SETTINGS use_hive_partitioning = 0{extra}", "CSV")))
        found, expected = ask(""), ask(", input_format_parquet_filter_push_down = 0, input_format_parquet_page_filter_push_down = 0")
        if found != expected:
            raise Failed(f"ratio {op} {to}: {found} instead of {expected}")


def fastparquet_reads(files, events):
    import fastparquet

    simple = ["id", "s", "i", "f", "ratio", "b", "millis"]
    rows = {}
    for file in files:
        frame = fastparquet.ParquetFile(file).to_pandas(columns=simple)
        for row in frame.to_dict("records"):
            rows[row["id"]] = row
    if len(rows) != len(events):
        raise Failed(f"{len(rows)} rows instead of {len(events)}")
    for event in events:
        row = rows[event["id"]]
        for name, expected in (("f", event["f"]), ("ratio", ratio(event))):
            # Null and NaN are one in a pandas frame.
            expected = math.nan if expected is None else expected
            if not same(float(row[name]), expected):
                raise Failed(f"id {event['id']}: {name} is {row[name]!r} instead of {expected!r}")
        if event["s"] is not None and row["s"] != event["s"]:
            raise Failed(f"id {event['id']}: s is {row['s']!r} instead of {event['s']!r}")


def hyparquet_reads(files, events):
    done = subprocess.run(["node", "hyparquet.mjs", *files], cwd=CACHE, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line]
        raise Failed(lines[0] if lines else done.stderr[:300])

    def back(value):
        if isinstance(value, dict):
            if value.keys() == {"whole"}:
                return int(value["whole"])
            if value.keys() == {"float"}:
                return float(value["float"].replace("Infinity", "inf"))
            return {k: back(v) for k, v in value.items()}
        if isinstance(value, list):
            return [back(v) for v in value]
        return value

    rows = {}
    for line in done.stdout.splitlines():
        row = back(json.loads(line))
        rows[row["id"]] = row
    if len(rows) != len(events):
        raise Failed(f"{len(rows)} rows instead of {len(events)}")
    for event in events:
        row = rows[event["id"]]
        for name, expected in (("s", event["s"]), ("i", event["i"]), ("b", event["b"]), ("m", event["m"])):
            if row.get(name) != expected:
                raise Failed(f"id {event['id']}: {name} is {row.get(name)!r} instead of {expected!r}")
        for name, expected in (("f", event["f"]), ("ratio", ratio(event))):
            found = row.get(name)
            if not same(None if found is None else float(found), expected):
                raise Failed(f"id {event['id']}: {name} is {found!r} instead of {expected!r}")


def parquet_go_reads(files, events):
    reader = os.path.join(CACHE, "go", "read")
    if not os.path.exists(reader):
        raise FileNotFoundError("Go")
    done = subprocess.run([reader, *files], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr.strip())
    found = json.loads(done.stdout)
    if found["rows"] != len(events):
        raise Failed(f"{found['rows']} rows instead of {len(events)}")
    for name, of in (("s", lambda e: e["s"]), ("f", lambda e: e["f"]), ("ratio", ratio), ("i", lambda e: e["i"])):
        expected = [of(e) for e in events]
        there = sorted(str(v) for v in expected if v is not None) if name in ("s", "i") else None
        column = found["columns"][name]
        if column["nulls"] != sum(v is None for v in expected):
            raise Failed(f"{name}: {column['nulls']} nulls")
        if there is not None and sorted(column["text"]) != there:
            raise Failed(f"{name}: other values")
        if there is None:
            key = lambda x: (math.isnan(x), 0 if math.isnan(x) else x)
            read = sorted((float(t.replace("Inf", "inf")) for t in column["text"]), key=key)
            want = sorted((v for v in expected if v is not None), key=key)
            if not all(a == b or math.isnan(a) and math.isnan(b) for a, b in zip(read, want)) or len(read) != len(want):
                raise Failed(f"{name}: other values")


# Of the lines that are put in: two that are rejected, and the id of one that is late.
REJECTED = ['{"id": 5000000, "at": "2026-01-01T00:00:00Z"}', "no json"]
LATE = 50_001


def rows_by_pyarrow(files):
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def rows_by_duckdb(files):
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    source = "read_parquet([" + ", ".join(f"'{f}'" for f in files) + "], hive_partitioning = false)"
    return connection.execute(f"SELECT * FROM {source}").to_arrow_table().to_pylist()


def others(read, folder, events):
    """Compares what a reader finds in the other datasets with what was put in."""
    files = lambda dataset: sorted(glob.glob(folder + f"/data/data/{dataset}/**/*.parquet", recursive=True))
    late = [row["id"] for row in read(files("late"))]
    if late != [LATE]:
        raise Failed(f"late: {late}")
    payloads = [row["payload"] for row in read(files("rejected"))]
    payloads = [p.decode() if isinstance(p, bytes) else p for p in payloads]
    if sorted(payloads) != sorted(REJECTED):
        raise Failed(f"rejected: {payloads}")
    expected = {}
    for event in events:
        minute = event["at"].replace(second=0, microsecond=0)
        expected.setdefault((minute, event["i"]), []).append(event)
    windows = read(files("window"))
    if not windows:
        raise Failed("window: no rows")
    for row in windows:
        of = expected.pop((row["window_start"].astimezone(UTC), row["i"]))
        decimals = [e["d"] for e in of if e["d"] is not None]
        floats = [e["f"] for e in of if e["f"] is not None]
        ratios = [r for r in map(ratio, of) if r is not None]
        greatest = max(ratios, key=lambda x: (math.isnan(x), 0 if math.isnan(x) else x), default=None)
        found = (row["n"], row["d_sum"], row["ratio_max"])
        wanted = (len(of), sum(decimals) if decimals else None, greatest)
        if found[:2] != wanted[:2] or not same(found[2], wanted[2]) and found[2] != wanted[2]:
            raise Failed(f"window {row['window_start']} {row['i']}: {found} instead of {wanted}")
        total = math.fsum(floats) if floats else None
        if (row["f_sum"] is None) != (total is None) or total is not None and not math.isclose(row["f_sum"], total):
            raise Failed(f"window {row['window_start']} {row['i']}: f_sum is {row['f_sum']} instead of {total}")


def load(path, name):
    """A package from a folder of its own."""
    sys.path.insert(0, path)
    for known in [m for m in sys.modules if m == name or m.startswith(name + ".") or m.startswith("_" + name)]:
        del sys.modules[known]
    try:
        return __import__(name)
    finally:
        sys.path.pop(0)


def main():
    with tempfile.TemporaryDirectory(prefix="tidegate-readers-") as folder:
        events = list(made(2000))
        lines = [as_json(event) for event in events]
        lines += REJECTED
        lines.append(json.dumps({"id": LATE, "at": (events[0]["at"] - dt.timedelta(days=1)).isoformat()}))
        pathlib.Path(folder, "in.ndjson").write_text("\n".join(lines) + "\n")
        pathlib.Path(folder, "c.toml").write_text(CONFIG)
        run = [PROGRAM, "run", "-c", "c.toml", "--until-caught-up", "--set", "batch.max-rows=300"]
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"tidegate ended with {done.returncode}: {done.stderr}")
        files = sorted(glob.glob(folder + "/data/data/events/**/*.parquet", recursive=True))
        import duckdb

        # DuckDB 2 is loaded in a process of its own: two of one name cannot be in one.
        if os.environ.get("READERS_DUCKDB"):
            readers = {f"DuckDB {duckdb.__version__}": duckdb_reads(duckdb)}
        else:
            readers = {
                "pyarrow": pyarrow_reads,
                f"DuckDB {duckdb.__version__}": duckdb_reads(duckdb),
                "DataFusion": datafusion_reads,
                "Spark": spark_reads,
                "polars": polars_reads,
                "chdb": chdb_reads,
                "fastparquet": fastparquet_reads,
                "hyparquet": hyparquet_reads,
                "parquet-go": parquet_go_reads,
            }
        others_by = {name: rows_by_duckdb for name in readers if name.startswith("DuckDB")}
        others_by |= {"pyarrow": rows_by_pyarrow}
        failed = 0
        for name, check in readers.items():
            try:
                check(files, events)
                print(f"{name}: {len(files)} files, all values and conditions as they should be", flush=True)
            except FileNotFoundError as error:
                print(f"{name}: left out, {error} is not there", flush=True)
            except Failed as error:
                failed += 1
                print(f"{name}: {error}", flush=True)
            except Exception as error:  # A reader may raise anything.
                failed += 1
                print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            try:
                if name in others_by:
                    others(others_by[name], folder, events)
            except Failed as error:
                failed += 1
                print(f"{name}: {error}", flush=True)
    if not os.environ.get("READERS_DUCKDB"):
        environment = {**os.environ, "READERS_DUCKDB": "2", "PYTHONPATH": os.path.join(CACHE, "duckdb2")}
        failed += subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode
    sys.exit(1 if failed else 0)


main()
