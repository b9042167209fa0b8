#!/usr/bin/env bash
# `tidegate produce` against the producers that come with Kafka and with librdkafka, alternating, on one broker.
#
#   dev/bench/produce.sh BROKERS [RUNS]
#
# TIDEGATE          the program (default: target/release/tidegate)
# KAFKA_TOOLS       folder with kafka-tools and its dependencies, from Maven (org.apache.kafka:kafka-tools)
# RDKAFKA           librdkafka's rdkafka_performance, which sends one constant payload; left out where it is not set
# kcat              librdkafka's other tool, which sends the same events from a file; left out where it is not on the PATH
#
# The topics bench-300 and bench-2048 have to be there, or the broker creates topics. A line for each run: size, producer, events/s,
# MB/s, p50, p95 and p99 in ms, CPU seconds of the producer for a million events, load of the machine before it.
set -euo pipefail

brokers=$1 runs=${2:-3}
tidegate=${TIDEGATE:-target/release/tidegate}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
TIMEFORMAT='%U %S'

# The same events for all: what Tidegate makes is read back for the others.
sample() { # size
  "$tidegate" produce --brokers "$brokers" --topic "sample-$1" --count 100000 --rate 0 --event-bytes "$1" --malformed 0 \
    --progress none >"$folder/out"
  java -cp "$KAFKA_TOOLS/*" org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$brokers" \
    --topic "sample-$1" --from-beginning --max-messages 100000 >"$folder/sample-$1" 2>"$folder/err"
}

show() { # size, producer, count, then events/s MB/s p50 p95 p99
  local load cpu
  load=$(cut -d' ' -f1 /proc/loadavg)
  cpu=$(awk -v n="$3" '{ printf "%.2f", ($1 + $2) * 1e6 / n }' "$folder/time")
  echo "$1 $2 ${*:4} $cpu $load"
}

run_tidegate() { # size count
  { time "$tidegate" produce --brokers "$brokers" --topic "bench-$1" --count "$2" --rate 0 --event-bytes "$1" --malformed 0 \
    --progress none --summary json >"$folder/out" 2>"$folder/err"; } 2>"$folder/time"
  show "$1" tidegate "$2" "$(python3 -c '
import json, sys
r = json.load(sys.stdin); l = r["latency_ms"]
print(r["records_per_second"], r["megabytes_per_second"], l["p50"], l["p95"], l["p99"])' <"$folder/out")"
}

run_kafka() { # size count
  { time java -Xmx512m -cp "$KAFKA_TOOLS/*" org.apache.kafka.tools.ProducerPerformance --topic "bench-$1" --num-records "$2" \
    --throughput -1 --payload-file "$folder/sample-$1" --producer-props "bootstrap.servers=$brokers" acks=all \
    enable.idempotence=true compression.type=lz4 batch.size=524288 linger.ms=20 buffer.memory=33554432 \
    >"$folder/out" 2>"$folder/err"; } 2>"$folder/time"
  show "$1" kafka-producer-perf-test "$2" "$(tail -1 "$folder/out" | python3 -c '
import re, sys
t = sys.stdin.read(); f = lambda p: float(re.search(p, t).group(1))
print(f(r"([\d.]+) records/sec"), round(f(r"\(([\d.]+) MB/sec") * 1.048576, 1), f(r"(\d+) ms 50th"), f(r"(\d+) ms 95th"), f(r"(\d+) ms 99th"))')"
}

run_rdkafka() { # size count
  { time "$RDKAFKA" -P -t "bench-$1" -s "$1" -c "$2" -b "$brokers" -a -1 -z lz4 -q -X enable.idempotence=true -X batch.size=524288 \
    -X linger.ms=20 -X queue.buffering.max.kbytes=32768 -X queue.buffering.max.messages=10000000 \
    >"$folder/out" 2>"$folder/err"; } 2>"$folder/time"
  show "$1" rdkafka_performance "$2" "$(cat "$folder/out" "$folder/err" | python3 -c '
import re, sys
m = re.findall(r"(\d+) msgs/s and ([\d.]+) M", sys.stdin.read())[-1]
print(m[0], m[1], "- - -")')"
}

# kcat says nothing of rates: its time is of the whole process.
run_kcat() { # size count
  local begin end
  begin=$(date +%s.%N)
  { time kcat -P -b "$brokers" -t "bench-$1" -z lz4 -l -X enable.idempotence=true -X acks=all -X batch.size=524288 -X linger.ms=20 \
    -X queue.buffering.max.kbytes=32768 -X queue.buffering.max.messages=10000000 "$folder/lines-$1" \
    >"$folder/out" 2>"$folder/err"; } 2>"$folder/time"
  end=$(date +%s.%N)
  show "$1" kcat "$2" "$(whole "$begin" "$end" "$1" "$2")"
}

whole() { # begin end size count
  awk -v t="$(echo "$2 $1" | awk '{ print $1 - $2 }')" -v n="$4" -v s="$3" 'BEGIN { printf "%.0f %.1f - - -", n / t, n * s / t / 1e6 }'
}

for size in 300 2048; do
  count=$((size == 300 ? 2000000 : 600000))
  sample "$size"
  if command -v kcat >/dev/null; then
    for _ in $(seq $((count / 100000))); do cat "$folder/sample-$size"; done >"$folder/lines-$size"
  fi
  for _ in $(seq "$runs"); do
    run_tidegate "$size" "$count"
    run_kafka "$size" "$count"
    if command -v kcat >/dev/null; then run_kcat "$size" "$count"; fi
    if [ -n "${RDKAFKA:-}" ]; then run_rdkafka "$size" "$count"; fi
  done
done
