//! Whole runs against the answer of another engine: DuckDB's SQL straight over the input, written
//! from the specification. Every row, every aggregate and every reject is compared.

#![allow(unreachable_pub, clippy::unwrap_used)] // A helper that cannot do its part ends the test.

mod answer;
#[path = "../common/mod.rs"]
mod common;
mod edge_cases;
mod readings;

use std::fs;
use std::path::Path;

use answer::{Answer, Lanes};
use common::{Job, NOW_MICROS};
use tidegate_base::clock::Clock;
use tidegate_generator::{FileFormat, Generator, GeneratorOptions, generate_files};

const TRANSACTIONS: &str = include_str!("transactions.sql");
const READINGS: &str = include_str!("readings.sql");

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

/// A stream that passes midnight between a Sunday and a Monday, and takes so long that what the
/// generator makes late is late, and what it repeats is partly forgotten.
fn stream(count: u64, seed: u64) -> GeneratorOptions {
    GeneratorOptions {
        event_rate: 40,
        count: Some(count),
        seed,
        start_time: Some(NOW_MICROS - 12 * HOUR - HOUR / 2),
        duplicates: 0.03,
        updates: 0.03,
        late: 0.01,
        malformed: 0.005,
        rule_breaking: 0.005,
        ..GeneratorOptions::default()
    }
}

/// Writes the stream into files of all formats, and one with edge cases after it.
fn write_input(dir: &Path, options: &GeneratorOptions) {
    const FILES: usize = 6;
    fs::create_dir(dir).unwrap();
    let formats = [FileFormat::Plain, FileFormat::Gzip, FileFormat::Zstd];
    for (n, format) in formats.into_iter().enumerate() {
        let all = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
        let written = generate_files(
            all.path(),
            FILES,
            format,
            options,
            &Clock::manual(NOW_MICROS),
        )
        .unwrap();
        for path in written.paths.iter().skip(n).step_by(formats.len()) {
            fs::rename(path, dir.join(path.file_name().unwrap())).unwrap();
        }
    }
    // After the last event of the stream, and before the present.
    let edge_cases = edge_cases::lines(NOW_MICROS - 9 * HOUR);
    fs::write(dir.join("z-edge-cases.jsonl"), edge_cases).unwrap();
}

/// Compares the table of transactions with the answer.
fn same_transactions(answer: &Answer) {
    answer.same_rows(
        "FROM expected_transactions",
        "SELECT transaction_id, customer_id, amount, currency, merchant, category, status, timestamp, \
         metadata, epoch_us(event_timestamp) AS event_us, amount_category, hour_of_day, day_of_week, \
         row_hash, epoch_us(processing_timestamp) AS processing_us, source_partition, source_offset \
         FROM tidegate.transactions",
    );
}

/// Compares all tables of the transactions example, as `tidegate`, with the answer.
fn check_transactions(answer: &Answer) {
    assert_eq!(
        answer.columns("tidegate.transactions"),
        "transaction_id VARCHAR, customer_id VARCHAR, amount DOUBLE, currency VARCHAR, merchant VARCHAR, \
         category VARCHAR, status VARCHAR, timestamp VARCHAR, metadata MAP(VARCHAR, VARCHAR), \
         event_timestamp TIMESTAMP, amount_category VARCHAR, hour_of_day INTEGER, \
         day_of_week INTEGER, row_hash VARCHAR, processing_timestamp TIMESTAMP, \
         source_partition INTEGER, source_offset BIGINT, source_timestamp TIMESTAMP"
    );
    same_transactions(answer);
    answer.same_rows(
        "FROM expected_rejected",
        "SELECT payload, payload_encoding, reasons, source_partition, source_offset, \
         epoch_us(rejected_at) AS rejected_us FROM tidegate.rejected",
    );
    assert_eq!(
        answer.number("SELECT count(*) FROM tidegate.rejected WHERE coalesce(detail, '') = ''"),
        0,
        "every reject says what is wrong"
    );
    for table in ["transactions_1m", "transactions_5m"] {
        assert_eq!(
            answer.columns(&format!("tidegate.{table}")),
            "window_start TIMESTAMP, window_end TIMESTAMP, status VARCHAR, \
             transaction_count BIGINT, total_amount DOUBLE, avg_amount DOUBLE, max_amount DOUBLE, \
             min_amount DOUBLE"
        );
        answer.same_aggregates(
            table,
            &[
                "window_start_us",
                "window_end_us",
                "status",
                "transaction_count",
                "max_amount",
                "min_amount",
            ],
            &["total_amount", "avg_amount"],
        );
    }
}

#[test]
fn transactions_from_files_are_what_sql_over_the_files_says() {
    let job = Job::new("transactions").set("batch.interval", "200ms");
    write_input(&job.path("in"), &stream(200_000, 11));
    let summary = job.catch_up();
    assert_eq!(summary["complete"], true);

    let answer = Answer::work_out(&job.path("in"), Lanes::One, TRANSACTIONS);
    // The input has what the test is about.
    for (name, at_least) in [
        ("events", 180_000),
        ("late", 1500),
        ("rejected", 1500),
        ("duplicates", 4000),
    ] {
        let count = answer.number(&format!("SELECT {name} FROM expected_counts"));
        assert!(count >= at_least, "only {count} {name}");
    }
    answer.attach(&job.path("warehouse.duckdb"), "tidegate");
    check_transactions(&answer);
    answer.same_counts(&summary);
    assert_eq!(
        answer.number("SELECT count(source_timestamp) FROM tidegate.transactions"),
        0,
        "lines of files have no time of their own"
    );
}

#[test]
fn transactions_from_the_generator_are_what_sql_over_its_partitions_says() {
    const PARTITIONS: i32 = 4;
    let options = GeneratorOptions {
        partitions: PARTITIONS,
        ..stream(100_000, 12)
    };
    let example = fs::read_to_string(common::repository_file("examples/transactions.toml"));
    let mut job = Job::from_text(&example.unwrap())
        .set("storage.url", "file:data")
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        .set("source.kind", "generator");
    for (key, value) in [
        ("partitions", f64::from(PARTITIONS)),
        ("seed", 12.0),
        ("count", 100_000.0),
        ("event-rate", 40.0),
        ("duplicates", options.duplicates),
        ("updates", options.updates),
        ("late", options.late),
        ("malformed", options.malformed),
        ("rule-breaking", options.rule_breaking),
    ] {
        job = job.set(&format!("source.{key}"), value);
    }
    let start = options.start_time.unwrap();
    let job = job.set("source.start-time", edge_cases::iso(start));
    let summary = job.catch_up();

    // The same records, each partition as a file.
    let generator = Generator::new(&options, start).unwrap();
    fs::create_dir(job.path("in")).unwrap();
    for partition in 0..PARTITIONS {
        let mut lines = Vec::new();
        for offset in 0..generator.share_of(100_000, partition) {
            generator.write_event(partition, offset, &mut lines);
            lines.push(b'\n');
        }
        fs::write(job.path("in").join(format!("{partition}.jsonl")), lines).unwrap();
    }
    let answer = Answer::work_out(&job.path("in"), Lanes::Each, TRANSACTIONS);
    answer.attach(&job.path("warehouse.duckdb"), "tidegate");
    check_transactions(&answer);
    answer.same_counts(&summary);
    // A record's own time: 40 a second over all partitions.
    answer.same_rows(
        &format!(
            "SELECT transaction_id, {start} + (source_offset * {PARTITIONS} + source_partition) * 25_000 AS us \
             FROM expected_transactions"
        ),
        "SELECT transaction_id, epoch_us(source_timestamp) AS us FROM tidegate.transactions",
    );
}

#[test]
fn a_status_that_comes_back_is_an_update_and_its_exact_repeat_is_dropped() {
    let job = Job::new("transactions");
    fs::create_dir(job.path("in")).unwrap();
    let first = NOW_MICROS - HOUR;
    let line = |status: &str, at: i64| {
        format!(
            r#"{{"transaction_id":"TXN_1_0001","customer_id":"CUST_000001","amount":5.0,"currency":"EUR","status":"{status}","timestamp":"{}"}}"#,
            edge_cases::iso(at)
        )
    };
    let lines = [
        line("PENDING", first),
        line("FAILED", first + SECOND),
        line("PENDING", first + 2 * SECOND),
        line("PENDING", first + 2 * SECOND),
    ];
    fs::write(job.path("in/payments.ndjson"), lines.join("\n") + "\n").unwrap();
    let summary = job.catch_up();
    let answer = Answer::work_out(&job.path("in"), Lanes::One, TRANSACTIONS);
    answer.attach(&job.path("warehouse.duckdb"), "tidegate");
    same_transactions(&answer);
    answer.same_counts(&summary);
    let number = |sql: &str| answer.number(&format!("SELECT {sql}"));
    assert_eq!(
        number("count(*) FROM tidegate.transactions WHERE status = 'PENDING'"),
        1
    );
    assert_eq!(number("count(*) FROM tidegate.transactions"), 1);
    assert_eq!(
        number("sum(transaction_count)::BIGINT FROM tidegate.transactions_1m"),
        3
    );
    assert_eq!(number("duplicates FROM expected_counts"), 1);
}

#[test]
fn batches_loads_and_threads_do_not_change_a_result() {
    let ways: [&[(&str, &str)]; 4] = [
        &[("engine.threads", "1"), ("batch.interval", "1h")],
        &[("engine.threads", "4"), ("batch.interval", "30ms")],
        &[
            ("engine.threads", "2"),
            ("batch.max-rows", "1000"),
            ("load.interval", "50ms"),
        ],
        &[
            ("engine.threads", "3"),
            ("batch.max-bytes", "500KiB"),
            ("load.max-rows", "2000"),
        ],
    ];
    let mut jobs: Vec<Job> = Vec::new();
    let mut commits = Vec::new();
    for way in ways {
        let mut job = Job::new("transactions");
        for (key, value) in way {
            job = job.set(key, value);
        }
        if let Some(first) = jobs.first() {
            job = job.set("source.path", first.path("in").display());
        } else {
            write_input(&job.path("in"), &stream(40_000, 13));
        }
        commits.push(job.catch_up()["status"]["commits"].as_u64().unwrap());
        jobs.push(job);
    }
    assert!(
        commits[0] == 1 && commits[2] > 8 && commits[3] > 8,
        "the runs were cut into batches differently: {commits:?}"
    );
    let answer = Answer::work_out(&jobs[0].path("in"), Lanes::One, TRANSACTIONS);
    answer.attach(&jobs[0].path("warehouse.duckdb"), "tidegate");
    check_transactions(&answer);
    for (n, job) in jobs.iter().enumerate().skip(1) {
        let name = format!("way{n}");
        answer.attach(&job.path("warehouse.duckdb"), &name);
        // All columns, sums of floats to the last bit.
        for table in [
            "transactions",
            "rejected",
            "transactions_1m",
            "transactions_5m",
        ] {
            answer.same_rows(
                &format!("FROM tidegate.{table}"),
                &format!("FROM {name}.{table}"),
            );
        }
    }
}

#[test]
fn sensor_readings_are_what_sql_over_the_files_says() {
    let job = Job::new("sensors").set(
        "lookups.0.path",
        common::repository_file("examples/sites.csv").display(),
    );
    fs::create_dir(job.path("in")).unwrap();
    for (n, lines) in readings::files(60_000, 3).iter().enumerate() {
        fs::write(job.path("in").join(format!("readings-{n}.ndjson")), lines).unwrap();
    }
    let summary = job.catch_up();

    let sql = format!(
        "SET VARIABLE sites = '{}'; {READINGS}",
        common::repository_file("examples/sites.csv").display()
    );
    let answer = Answer::work_out(&job.path("in"), Lanes::One, &sql);
    for name in ["late", "rejected", "duplicates"] {
        assert!(answer.number(&format!("SELECT {name} FROM expected_counts")) > 300);
    }
    answer.attach(&job.path("warehouse.duckdb"), "tidegate");
    assert_eq!(
        answer.columns("tidegate.readings"),
        "sensor_id VARCHAR, sequence BIGINT, sensor_type VARCHAR, site VARCHAR, value DOUBLE, \
         energy_kwh DECIMAL(18,6), battery_percent INTEGER, calibrated BOOLEAN, installed_on DATE, \
         position STRUCT(lat DOUBLE, lon DOUBLE), samples DOUBLE[], tags MAP(VARCHAR, VARCHAR), \
         measured_at TIMESTAMP, measured_time TIMESTAMP, building VARCHAR, \
         floor INTEGER, battery_low BOOLEAN, hour_of_day INTEGER, label VARCHAR, \
         processing_timestamp TIMESTAMP, source_partition INTEGER, source_offset BIGINT, \
         source_timestamp TIMESTAMP"
    );
    answer.same_rows(
        "FROM expected_readings",
        "SELECT sensor_id, sequence, sensor_type, site, value, energy_kwh, battery_percent, calibrated, \
         installed_on, position, samples, tags, epoch_us(measured_at) AS measured_us, \
         epoch_us(measured_time) AS event_us, building, floor, battery_low, hour_of_day, label, \
         epoch_us(processing_timestamp) AS processing_us, source_partition, source_offset \
         FROM tidegate.readings",
    );
    answer.same_rows(
        "FROM expected_rejected",
        "SELECT payload, payload_encoding, reasons, source_partition, source_offset, \
         epoch_us(rejected_at) AS rejected_us FROM tidegate.readings_rejected",
    );
    answer.same_aggregates(
        "readings_1m",
        &[
            "window_start_us",
            "window_end_us",
            "sensor_type",
            "readings",
            "min_value",
            "max_value",
            "low_batteries",
        ],
        &["avg_value"],
    );
    answer.same_aggregates(
        "energy_15m",
        &["window_start_us", "window_end_us", "building", "readings"],
        &["energy_kwh"],
    );
    answer.same_counts(&summary);
}
