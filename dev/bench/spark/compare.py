"""Compares Tidegate's warehouse with what transactions.py left, row by row. Exits with 1 if they differ in
anything that README.md does not explain."""

import argparse
import sys

import duckdb

FIELDS = (
    "transaction_id, customer_id, amount, currency, merchant, category, status, timestamp, metadata, "
    "epoch_us(event_timestamp) AS event_us, amount_category, hour_of_day, day_of_week, row_hash"
)
WINDOW = "transaction_count, max_amount, min_amount"

# Spark's table of the latest state; updates have later times, so no two rows of an id tie.
SPARK_TRANSACTIONS = f"""
    SELECT {FIELDS} FROM read_parquet('{{spark}}/events/*.parquet')
    QUALIFY row_number() OVER (PARTITION BY transaction_id ORDER BY event_timestamp DESC) = 1
"""
# Spark shows a window when its watermark has passed it; the last ten minutes never come. Tidegate knows that
# the files have ended.
SPARK_WINDOWS = "FROM read_parquet('{spark}/windows/*.parquet')"
TIDEGATE_WINDOWS = """
    FROM tidegate.transactions_1m
    WHERE window_end <= (SELECT max(event_timestamp) - INTERVAL 10 MINUTES FROM tidegate.transactions)
"""


class Comparison:
    def __init__(self, spark, warehouse):
        self.spark = spark
        self.database = duckdb.connect()
        self.database.execute(f"SET TimeZone = 'UTC'; ATTACH '{warehouse}' AS tidegate (READ_ONLY)")
        self.failed = False

    def query(self, sql):
        return self.database.execute(sql.replace("{spark}", self.spark)).fetchall()

    def same(self, what, spark, tidegate):
        """Both queries have the same rows, as often, in any order."""
        self.query(f"CREATE OR REPLACE TEMP TABLE s AS {spark}")
        self.query(f"CREATE OR REPLACE TEMP TABLE t AS {tidegate}")
        (rows,) = self.query("SELECT count(*) FROM s")[0]
        differences = {
            "only in Spark": self.query("FROM s EXCEPT ALL FROM t"),
            "only in Tidegate": self.query("FROM t EXCEPT ALL FROM s"),
        }
        self.report(what, rows, differences)

    def report(self, what, rows, differences):
        wrong = sum(map(len, differences.values()))
        self.failed |= wrong > 0 or rows == 0
        print(f"{what}: {rows} rows in Spark, {wrong} differences")
        for where, found in differences.items():
            for row in found[:5]:
                print(f"  {where}: {row}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spark", help="the folder that transactions.py wrote")
    parser.add_argument("warehouse", help="Tidegate's DuckDB file")
    args = parser.parse_args()
    c = Comparison(args.spark, args.warehouse)

    c.same("transactions", SPARK_TRANSACTIONS, f"SELECT {FIELDS} FROM tidegate.transactions")

    # Spark sees a record that does not decode as one with nulls, and knows only rules. What is rejected is
    # the same; the rules are compared where Tidegate names rules only.
    c.same(
        "rejected",
        "SELECT value FROM read_parquet('{spark}/rejected/*.parquet')",
        "SELECT payload FROM tidegate.rejected",
    )
    c.same(
        "rules that rejected",
        "SELECT value, reasons FROM read_parquet('{spark}/rejected/*.parquet') WHERE value IN "
        "(SELECT payload FROM tidegate.rejected WHERE reasons LIKE 'rule.%')",
        "SELECT payload, reasons FROM tidegate.rejected WHERE reasons LIKE 'rule.%'",
    )

    c.same(
        "windows of a minute",
        f'SELECT epoch_us("start"), epoch_us("end"), status, {WINDOW} {SPARK_WINDOWS}',
        f"SELECT epoch_us(window_start), epoch_us(window_end), status, {WINDOW} {TIDEGATE_WINDOWS}",
    )
    for column in ["total_amount", "avg_amount"]:
        off = c.query(
            f'SELECT w."start", w.status, w.{column}, t.{column} FROM read_parquet(\'{{spark}}/windows/*.parquet\') AS w '
            f'JOIN tidegate.transactions_1m AS t ON t.window_start = w."start" AND t.status = w.status '
            f"WHERE abs(w.{column} - t.{column}) > 1e-9 * abs(w.{column})"
        )
        (rows,) = c.query(f"SELECT count(*) {SPARK_WINDOWS}")[0]
        c.report(f"{column} of them, to 1e-9", rows, {"Spark, Tidegate": off})
    sys.exit(1 if c.failed else 0)


if __name__ == "__main__":
    main()
