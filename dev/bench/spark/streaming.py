"""examples/transactions.toml as a Spark Structured Streaming job over a Kafka topic, tuned for speed.

Reads what the topic holds (`availableNow`) and leaves Parquet below OUT: `rows/kind=event` (valid, enriched, without exact repeats),
`rows/kind=rejected` (payload and the rules that are not true), `windows` (one and five minutes by status, final). Prints one line of
JSON: how long it took from the first micro-batch to the last, and the CPU seconds of this process and its JVM for that.

How the work is divided, so that Spark does as little as it can:
- Nothing is decoded twice. Rejects go through deduplication beside the events, with their Kafka position as their key and Kafka's time
  as their time, and into the same sink, which keeps both kinds apart.
- The windows read the Parquet of the events, of which they need three columns.
"""

import argparse
import json
import os
import time
from datetime import datetime

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

SCHEMA = (
    "transaction_id STRING, customer_id STRING, amount DOUBLE, currency STRING, merchant STRING, "
    "category STRING, status STRING, timestamp STRING, metadata MAP<STRING, STRING>"
)
PROVIDERS = {
    "memory": "org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider",
    "rocksdb": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
}


def session(args):
    state = "spark.sql.streaming.stateStore"
    return (
        SparkSession.builder.master(f"local[{args.cores}]").appName("transactions")
        .config("spark.jars", ",".join(args.jars))
        .config("spark.driver.memory", args.heap)
        .config("spark.driver.extraJavaOptions", "-XX:+UseParallelGC")
        .config("spark.serializer", "org.apache.spark.serializer.KryoSerializer")
        .config("spark.sql.shuffle.partitions", args.cores)
        .config("spark.sql.adaptive.enabled", False)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", False)
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.hadoop.parquet.compression.codec.zstd.level", 1)
        .config(f"{state}.providerClass", PROVIDERS[args.state])
        .config(f"{state}.rocksdb.changelogCheckpointing.enabled", True)
        .config(f"{state}.minDeltasForSnapshot", 100)
        .config("spark.sql.streaming.noDataMicroBatches.enabled", False)
        .config("spark.sql.maxConcurrentOutputFileWriters", 4)
        .config("spark.ui.enabled", False)
        .config("spark.ui.showConsoleProgress", False)
        .config("spark.local.dir", f"{args.out}/local")
        .getOrCreate()
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


def decoded(spark, args):
    """The topic's records with their fields and Kafka position."""
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", args.brokers)
        .option("subscribe", args.topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", args.batch)
        .option("kafka.max.partition.fetch.bytes", 8 << 20)
        .option("kafka.fetch.max.bytes", 64 << 20)
        .option("kafka.max.poll.records", 20_000)
        .option("kafka.receive.buffer.bytes", 1 << 20)
        .load()
        .select(
            F.col("value").cast("string").alias("value"),
            F.col("partition").alias("source_partition"),
            F.col("offset").alias("source_offset"),
            F.col("timestamp").alias("source_timestamp"),
        )
        .select("*", F.from_json("value", SCHEMA).alias("event"))
        .select("value", "source_partition", "source_offset", "source_timestamp", "event.*")
        .withColumn("event_timestamp", F.expr("try_to_timestamp(timestamp)"))
    )


def judged(rows, now):
    """Events without exact repeats, and rejects with their reasons; `kind` says which."""
    valid = None
    for rule in rules(now).values():
        valid = rule if valid is None else valid & rule
    valid = F.coalesce(valid, F.lit(False))
    broken = [F.when(~F.coalesce(true, F.lit(False)), F.lit(f"rule.{name}")) for name, true in rules(now).items()]
    is_event = F.col("kind") == "event"
    row_hash = F.sha2(F.concat_ws("|", "transaction_id", "customer_id", F.col("amount").cast("string"), "status"), 256)
    return (
        rows.withColumn("kind", F.when(valid, "event").otherwise("rejected"))
        .withColumn("value", F.when(~is_event, F.col("value")))
        .withColumn("reasons", F.when(~is_event, F.concat_ws(",", *broken)))
        .withColumn(
            "amount_category",
            F.when(F.col("amount") < 100, "small").when(F.col("amount") < 1000, "medium").otherwise("large"),
        )
        .withColumn("hour_of_day", F.hour("event_timestamp"))
        .withColumn("day_of_week", F.dayofweek("event_timestamp"))
        .withColumn("row_hash", F.when(is_event, row_hash).otherwise(F.concat_ws(":", "source_partition", "source_offset")))
        .withColumn("processing_timestamp", F.current_timestamp())
        .withColumn("event_timestamp", F.when(is_event, F.col("event_timestamp")).otherwise(F.col("source_timestamp")))
        .withWatermark("event_timestamp", "10 minutes")
        .dropDuplicatesWithinWatermark(["transaction_id", "row_hash", "event_timestamp"])
    )


def windows(spark, args):
    folder = f"{args.out}/rows"
    rows = spark.readStream.schema(spark.read.parquet(folder).schema).parquet(folder).where("kind = 'event'")
    # One aggregation for both sizes: an event is in one window of a minute and in five of five minutes.
    minute = F.date_trunc("minute", "event_timestamp")
    starts = [(1, 0)] + [(5, back) for back in range(5)]
    window = F.explode(F.array(*[
        F.struct(F.lit(size).alias("minutes"), (minute - F.expr(f"INTERVAL {back} MINUTES")).alias("start"))
        for size, back in starts
    ])).alias("w")
    # A window is final when the watermark has passed its end, which therefore is the time of the aggregation.
    return (
        rows.select("event_timestamp", "status", "amount", window)
        .withColumn("window_end", F.expr("w.start + make_interval(0, 0, 0, 0, 0, w.minutes)"))
        .withWatermark("window_end", "10 minutes")
        .groupBy("w", "window_end", "status")
        .agg(
            F.count("*").alias("transaction_count"),
            F.sum("amount").alias("total_amount"),
            F.avg("amount").alias("avg_amount"),
            F.max("amount").alias("max_amount"),
            F.min("amount").alias("min_amount"),
        )
    )


def start(stream, name, args, kinds=()):
    return (
        stream.writeStream.format("parquet").partitionBy(*kinds).outputMode("append").queryName(name).trigger(availableNow=True)
        .option("checkpointLocation", f"{args.out}/checkpoint/{name}")
        .start(f"{args.out}/{name}")
    )


def cpu_seconds(pid):
    """User and system time of a process; see proc(5), fields 14 and 15 of its stat."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def span(queries):
    """Seconds from the start of the first micro-batch to the end of the last one."""
    batches = [progress for query in queries for progress in query.recentProgress]
    begin = [datetime.fromisoformat(b["timestamp"].replace("Z", "+00:00")).timestamp() for b in batches]
    end = [at + b["durationMs"].get("triggerExecution", 0) / 1000 for at, b in zip(begin, batches)]
    return max(end) - min(begin), len(batches)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brokers")
    parser.add_argument("topic")
    parser.add_argument("out")
    parser.add_argument("--jars", nargs="+", required=True, help="spark-sql-kafka and what it needs")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--heap", default="6g")
    parser.add_argument("--state", choices=PROVIDERS, default="memory")
    parser.add_argument("--batch", type=int, default=1_000_000, help="records of a micro-batch")
    args = parser.parse_args()
    spark = session(args)
    spark.sparkContext.setLogLevel("ERROR")
    jvm = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
    used = lambda: cpu_seconds("self") + cpu_seconds(jvm)

    began, before = time.time(), used()
    now = F.lit(datetime.now().astimezone()).cast("timestamp")
    rows = decoded(spark, args)
    over_topic = start(judged(rows, now), "rows", args, ["kind"])
    over_topic.awaitTermination()
    over_events = start(windows(spark, args), "windows", args)
    over_events.awaitTermination()
    seconds, cpu = time.time() - began, used() - before
    batches_seconds, batches = span([over_topic, over_events])

    count = lambda kind: spark.read.parquet(f"{args.out}/rows/kind={kind}").count()
    print(json.dumps({
        "spark": spark.version, "state": args.state, "seconds": seconds, "cpu_seconds": cpu,
        "batches_seconds": batches_seconds, "batches": batches,
        "events": count("event"), "rejected": count("rejected"),
    }))


if __name__ == "__main__":
    main()
