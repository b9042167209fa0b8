//! Readers read, see whole loads, and cannot write.

use std::time::{Duration, Instant};

use tidegate_warehouse::{Format, LoaderOptions, QueryError, QueryLimits, WarehouseReader, format};

use crate::job::{Event, Job, append_table, ask, events_table};

fn loaded() -> (Job, tidegate_warehouse::Loader) {
    let mut job = Job::new();
    job.commit(
        "events",
        &[Event("a", 1, 0, 0, 1.5), Event("b", 2, 0, 1, 2.5)],
    );
    let mut loader = job.loader(vec![events_table()], LoaderOptions::default());
    loader.tick().unwrap();
    (job, loader)
}

#[test]
fn a_reader_cannot_write() {
    let (job, loader) = loaded();
    let reader = loader.reader().unwrap();
    let out = job.folder.path().join("must-not-be");
    for sql in [
        "INSERT INTO t SELECT * FROM t",
        "DELETE FROM t",
        "UPDATE t SET value = 0",
        "DROP TABLE t",
        "TRUNCATE t",
        "ALTER TABLE t ADD COLUMN x INT",
        "CREATE TABLE x (i INT)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "CREATE OR REPLACE VIEW t AS SELECT 1",
        "MERGE INTO t USING t AS s ON false WHEN MATCHED THEN DELETE",
        "COPY t TO '{out}.csv'",
        "COPY (SELECT 1) TO '{out}.csv'",
        "EXPORT DATABASE '{out}'",
        "ATTACH '{out}.duckdb' AS other",
        "DETACH test",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '1MB'",
        "RESET threads",
        "PRAGMA disable_checkpoint_on_shutdown",
        "CHECKPOINT",
        "FORCE CHECKPOINT",
        "VACUUM",
        "ANALYZE",
        "CALL force_checkpoint()",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "USE memory",
        "PREPARE p AS DELETE FROM t",
        "EXECUTE p",
        "SELECT 1; DELETE FROM t",
        "SELECT 1; COMMIT; DELETE FROM t; SELECT 1",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM t",
        "EXPLAIN ANALYZE DELETE FROM t",
        "EXPLAIN ANALYZE COPY t TO '{out}.csv'",
        "EXPLAIN (ANALYZE) COPY t TO '{out}.csv'",
        "FROM force_checkpoint()",
        "FROM enable_logging()",
        "SELECT * FROM query('FROM enable_logging()')",
        "EXPLAIN ANALYZE CREATE TABLE x (i INT)",
        "",
        ";",
    ] {
        let sql = sql.replace("{out}", out.to_str().unwrap());
        let answer = reader.query(&sql, &QueryLimits::default());
        assert!(answer.is_err(), "{sql}");
    }
    assert_eq!(
        ask(&reader, "SELECT id, value FROM t ORDER BY id"),
        "a,1.5\nb,2.5\n"
    );
    assert_eq!(
        ask(
            &reader,
            "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'x'"
        ),
        "0\n"
    );
    assert_eq!(
        std::fs::read_dir(job.folder.path()).unwrap().count(),
        2,
        "only the job and its warehouse"
    );
}

#[test]
fn every_kind_of_statement_that_reads_is_answered() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    for sql in [
        "SELECT 1",
        "FROM t",
        "TABLE t",
        "VALUES (1), (2)",
        "WITH x AS (SELECT 1 AS one) SELECT * FROM x -- done;",
        "SHOW TABLES",
        "SHOW ALL TABLES",
        "DESCRIBE t",
        "SUMMARIZE t",
        "EXPLAIN SELECT * FROM t",
        "EXPLAIN ANALYZE SELECT * FROM t",
        "(SELECT 1) UNION ALL (SELECT 2);",
        "PIVOT t ON id USING count(*)",
        "SELECT ';' AS \"a;b\" /* ; */",
    ] {
        let answer = reader.query(sql, &QueryLimits::default());
        assert!(
            answer.is_ok_and(|answer| !answer.batches.is_empty()),
            "{sql}"
        );
    }
}

#[test]
fn a_reader_sees_whole_loads_while_the_loader_works() {
    let mut job = Job::new();
    for i in 0..40 {
        job.commit(
            "events",
            &[Event("a", i, 0, i, 1.0), Event("b", i, 0, i, -1.0)],
        );
    }
    let tables = vec![append_table("t", "events")];
    let mut loader = job.loader(
        tables,
        LoaderOptions {
            rows_max: 1,
            ..LoaderOptions::default()
        },
    );
    let reader = loader.reader().unwrap();
    let last_seq = job.last_seq();
    std::thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            let mut seen = 0;
            while seen < 80 {
                let row = ask(&reader, "SELECT count(*), coalesce(sum(value), 0), (SELECT loaded_seq FROM tidegate_job) FROM t");
                let fields: Vec<f64> = row.trim().split(',').map(|field| field.parse().unwrap()).collect();
                assert_eq!(fields[1], 0.0, "half a load was seen");
                assert_eq!(fields[0], 2.0 * (fields[2] - 1.0).max(0.0), "rows without their ledger");
                seen = fields[0] as usize;
            }
        });
        loader.catch_up(last_seq).unwrap();
        watcher.join().unwrap();
    });
}

#[test]
fn answers_are_bounded() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    let limits = QueryLimits {
        rows: 5000,
        ..QueryLimits::default()
    };
    let cut = reader.query("FROM range(100000)", &limits).unwrap();
    assert_eq!(
        cut.batches
            .iter()
            .map(|batch| batch.num_rows())
            .sum::<usize>(),
        5000
    );
    assert!(cut.truncated);
    let whole = reader.query("FROM range(5000)", &limits).unwrap();
    assert!(!whole.truncated);
    let small = QueryLimits {
        bytes: 100_000,
        ..QueryLimits::default()
    };
    let cut = reader
        .query("SELECT repeat('x', 1000) FROM range(9000)", &small)
        .unwrap();
    assert!(cut.truncated && cut.batches.is_empty());
}

#[test]
fn a_query_that_takes_too_long_is_interrupted() {
    let (_job, loader) = loaded();
    let limits = QueryLimits {
        timeout: Duration::from_millis(100),
        ..QueryLimits::default()
    };
    let started = Instant::now();
    let sql =
        "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3";
    let error = loader.reader().unwrap().query(sql, &limits).unwrap_err();
    assert!(matches!(error, QueryError::Timeout(_)), "{error}");
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        ask(&loader.reader().unwrap(), "SELECT count(*) FROM t"),
        "2\n"
    );
}

#[test]
fn errors_point_into_the_statement() {
    let (_job, loader) = loaded();
    let error = loader
        .reader()
        .unwrap()
        .query("SELECT valu FROM t", &QueryLimits::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("valu") && error.contains("LINE 1"),
        "{error}"
    );
}

#[test]
fn a_closed_database_can_be_read() {
    let (job, loader) = loaded();
    let path = job.database();
    drop(loader);
    let reader = WarehouseReader::open_read_only(&path).unwrap();
    assert_eq!(ask(&reader, "SELECT count(*) FROM t"), "2\n");
    assert!(
        reader
            .query("DELETE FROM t", &QueryLimits::default())
            .is_err()
    );
    let missing = WarehouseReader::open_read_only(&path.with_file_name("none.duckdb")).unwrap_err();
    assert!(
        missing.to_string().contains("there is no database"),
        "{missing}"
    );
}

fn text(format: Format, sql: &str) -> String {
    let (_job, loader) = loaded();
    let answer = loader
        .reader()
        .unwrap()
        .query(
            sql,
            &QueryLimits {
                rows: 2,
                ..QueryLimits::default()
            },
        )
        .unwrap();
    let mut out = Vec::new();
    format::write(
        format,
        &mut out,
        &answer.schema,
        &answer.batches,
        answer.truncated,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn answers_are_written_as_a_table() {
    let sql = "SELECT * FROM (VALUES (1, 'one'), (22, NULL), (3, '')) v(n, word)";
    assert_eq!(
        text(Format::Table, sql),
        " n  | word\n----+------\n  1 | one\n 22 | NULL\n(2 rows; there are more)\n"
    );
    assert_eq!(
        text(Format::Table, "SELECT 1 AS n WHERE false"),
        " n\n---\n(0 rows)\n"
    );
    let wide = text(Format::Table, "SELECT repeat('ä', 100) || chr(10) AS w");
    assert!(wide.contains(&format!(" {}…\n", "ä".repeat(47))), "{wide}");
    assert!(text(Format::Table, "SELECT chr(10) || chr(7) AS w").contains(" ⏎·\n"));
}

#[test]
fn answers_are_written_as_csv() {
    let sql = "SELECT * FROM (VALUES (1.50::DECIMAL(5,2), 'a,\"b\"'), (NULL, '')) v(\"n,m\", t)";
    assert_eq!(
        text(Format::Csv, sql),
        "\"n,m\",t\n1.50,\"a,\"\"b\"\"\"\n,\"\"\n"
    );
    assert_eq!(text(Format::Csv, "SELECT 1 AS n WHERE false"), "n\n");
    let times = "SELECT TIMESTAMP '2026-01-02 03:04:05.6', TIMESTAMPTZ '2026-01-02 03:04:05+01', DATE '2026-01-02'";
    assert!(
        text(Format::Csv, times)
            .ends_with("\n2026-01-02T03:04:05.600,2026-01-02T02:04:05Z,2026-01-02\n")
    );
}

#[test]
fn answers_are_written_as_json() {
    let sql = "SELECT 12345678901234567890.12::DECIMAL(30,2) AS d, [1, NULL] AS l, {'a': MAP {'k': 'v\"'}} AS s, \
               'NaN'::DOUBLE AS nan, NULL AS nothing, true AS yes, chr(1) AS c FROM range(2)";
    let json = text(Format::Json, sql);
    let line = "{\"d\":12345678901234567890.12,\"l\":[1,null],\"s\":{\"a\":{\"k\":\"v\\\"\"}},\"nan\":\"NaN\",\
                \"nothing\":null,\"yes\":true,\"c\":\"\\u0001\"}";
    assert_eq!(json, format!("[\n{line},\n{line}\n]\n"));
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
    assert_eq!(text(Format::Json, "SELECT 1 AS n WHERE false"), "[]\n");
}
