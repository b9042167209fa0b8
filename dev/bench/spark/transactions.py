"""examples/transactions.toml as a Spark Structured Streaming job, in the way in which it is usually written.

Reads the files as a stream, one a micro-batch, and leaves Parquet below OUT:
`events` (valid, enriched, without exact repeats), `rejected` (raw line and the rules that are not true),
`windows` (one minute by status, final).
"""

import argparse
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

SCHEMA = (
    "transaction_id STRING, customer_id STRING, amount DOUBLE, currency STRING, merchant STRING, "
    "category STRING, status STRING, timestamp STRING, metadata MAP<STRING, STRING>"
)


def rules(now):
    return {
        "transaction_id_format": F.col("transaction_id").rlike("^TXN_[0-9]+_[0-9]{4}$"),
        "customer_id_format": F.col("customer_id").rlike("^CUST_[0-9]{6}$"),
        "amount_in_range": (F.col("amount") > 0) & (F.col("amount") < 1_000_000),
        "currency_known": F.col("currency").isin("USD", "EUR", "GBP"),
        "status_known": F.col("status").isin("COMPLETED", "PENDING", "FAILED"),
        "not_in_the_future": F.col("event_timestamp") <= now,
        "not_older_than_7_days": F.col("event_timestamp") >= now - F.expr("INTERVAL 7 DAYS"),
    }


def judged(spark, folder, now):
    """All lines with their fields and the names of the rules that are not true for them; null is not true."""
    broken = [F.when(~F.coalesce(true, F.lit(False)), F.lit(f"rule.{name}")) for name, true in rules(now).items()]
    return (
        spark.readStream.option("maxFilesPerTrigger", 1).text(folder)
        .select("value", F.from_json("value", SCHEMA).alias("event"))
        .select("value", "event.*")
        .withColumn("event_timestamp", F.expr("try_to_timestamp(timestamp)"))
        .withColumn("reasons", F.concat_ws(",", *broken))
    )


def enriched(rows):
    return (
        rows.where("reasons = ''").drop("value", "reasons")
        .withColumn(
            "amount_category",
            F.when(F.col("amount") < 100, "small").when(F.col("amount") < 1000, "medium").otherwise("large"),
        )
        .withColumn("hour_of_day", F.hour("event_timestamp"))
        .withColumn("day_of_week", F.dayofweek("event_timestamp"))
        .withColumn(
            "row_hash",
            F.sha2(F.concat_ws("|", "transaction_id", "customer_id", F.col("amount").cast("string"), "status"), 256),
        )
        .withWatermark("event_timestamp", "10 minutes")
        .dropDuplicatesWithinWatermark(["transaction_id", "row_hash", "event_timestamp"])
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--now", default="2026-03-02T12:00:00Z")
    args = parser.parse_args()
    spark = (
        SparkSession.builder.master("local[2]").appName("transactions")
        .config("spark.driver.memory", "2g")
        .config("spark.sql.shuffle.partitions", 2)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", False)
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    began = time.time()
    now = F.lit(args.now).cast("timestamp")
    rows = judged(spark, args.folder, now)
    events = enriched(rows)
    windows = (
        events.groupBy(F.window("event_timestamp", "1 minute"), "status")
        .agg(
            F.count("*").alias("transaction_count"),
            F.sum("amount").alias("total_amount"),
            F.avg("amount").alias("avg_amount"),
            F.max("amount").alias("max_amount"),
            F.min("amount").alias("min_amount"),
        )
        .select("window.start", "window.end", "*").drop("window")
    )
    rejected = rows.where("reasons <> ''").select("value", "reasons")
    for name, stream in [("events", events), ("rejected", rejected), ("windows", windows)]:
        query = (
            stream.writeStream.format("parquet").outputMode("append").trigger(availableNow=True)
            .option("checkpointLocation", f"{args.out}/checkpoint/{name}")
            .start(f"{args.out}/{name}")
        )
        query.awaitTermination()
        print(f"{name}: {spark.read.parquet(f'{args.out}/{name}').count()} rows, {len(query.recentProgress)} micro-batches")
    print(f"Spark {spark.version}: {time.time() - began:.1f} s")


if __name__ == "__main__":
    main()
