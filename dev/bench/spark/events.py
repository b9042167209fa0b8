"""Writes synthetic transactions as newline-delimited JSON, for Spark and Tidegate alike.

There are exact repeats (within five minutes), updates, records that break a rule or have a null in it, and
records that are no JSON. No event is late: Spark moves its watermark between micro-batches and Tidegate
between records, so what is late is not the same question for both (see README.md).
"""

import argparse
import json
import os
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

FILES = 8
EVENTS_PER_SECOND = 40
START = datetime(2026, 3, 1, 23, 20, tzinfo=timezone.utc)  # passes midnight between Sunday and Monday
AMOUNTS = [100, 1000, 99.99, 999.995, 0.1 + 0.2, 1e-3, 5e-4, 1.25e-5, 1e-7, 999999.99, 123456.78901234567]

BROKEN = [
    ("amount", 0.0), ("amount", -3.5), ("amount", 1e6), ("currency", "XBT"), ("currency", None),
    ("status", "UNKNOWN"), ("customer_id", "CUST_1"), ("transaction_id", "T1"),
    ("timestamp", "2026-03-02T12:00:01.000000+00:00"), ("timestamp", "2026-02-01T00:00:00.000000+00:00"),
    ("timestamp", "yesterday at noon"), ("amount", None), ("status", None), ("amount", "a lot"),
]


def event(rng, number, time):
    return {
        "transaction_id": f"TXN_{int(time.timestamp() * 1e6)}_{number % 10000:04}",
        "customer_id": f"CUST_{rng.randrange(100_000):06}",
        "amount": rng.choice(AMOUNTS) if rng.random() < 0.05 else round(rng.lognormvariate(4, 1.5) + 0.01, 2),
        "currency": rng.choice(["USD", "USD", "EUR", "GBP"]),
        "merchant": rng.choice(["Amazon", "Shell", "Café \"Le Procope\"", "H&M", None]),
        "category": rng.choice(["marketplace", "fuel", "restaurants", None]),
        "status": rng.choice(["COMPLETED", "COMPLETED", "COMPLETED", "PENDING", "FAILED"]),
        "timestamp": (time - timedelta(microseconds=rng.randrange(2_000_000))).isoformat(timespec="microseconds"),
        "metadata": rng.choice([{"device": "web", "location": "München"}, {"device": "pos"}, {}, None]),
    }


def records(rng, count):
    recent = []  # what can be repeated or updated: the last 12,000 events are five minutes
    for number in range(count):
        time = START + timedelta(seconds=number / EVENTS_PER_SECOND)
        kind = rng.random()
        if kind < 0.03 and recent:
            yield json.dumps(rng.choice(recent), ensure_ascii=False)
            continue
        if kind < 0.06 and recent:
            pending = rng.choice(recent)
            new = dict(pending, status="COMPLETED", timestamp=time.isoformat(timespec="microseconds"))
            if pending["status"] != "PENDING":
                new["amount"] = round(rng.uniform(1, 500), 2)
            yield json.dumps(new, ensure_ascii=False)
            continue
        new = event(rng, number, time)
        if kind < 0.07:
            field, value = rng.choice(BROKEN)
            yield json.dumps(dict(new, **{field: value}), ensure_ascii=False)
        elif kind < 0.075:
            text = json.dumps(new, ensure_ascii=False)
            yield text[: rng.randrange(1, len(text))]
        else:
            recent.append(new)
            del recent[:-11_000]
            yield json.dumps(new, ensure_ascii=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=150_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    lines = records(random.Random(args.seed), args.count)
    for file in range(FILES):
        path = args.folder / f"events-{file}.jsonl"
        size = args.count * (file + 1) // FILES - args.count * file // FILES
        with path.open("w", encoding="utf-8") as out:
            for _ in range(size):
                out.write(next(lines) + "\n")
        # Spark's file stream takes files by their age.
        os.utime(path, (1_772_000_000 + file, 1_772_000_000 + file))


if __name__ == "__main__":
    main()
