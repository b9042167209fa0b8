//! Readers read, see whole loads, and cannot write.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tidegate_warehouse::{
    DuckDbOptions, DuckDbWarehouse, Format, Loader, LoaderOptions, QueryError, QueryLimits,
    RetryOptions, WarehouseReader, format,
};

use crate::job::{Event, Job, append_table, ask, events_table, much_memory};

fn loaded() -> (Job, Loader) {
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

/// Whatever a statement is taken for: DuckDB itself opens no other file.
#[test]
fn a_reader_reaches_no_file_but_the_jobs() {
    let (job, loader) = loaded();
    let bait = job.folder.path().join("bait.csv").display().to_string();
    std::fs::write(&bait, "word\nhunter2\n").unwrap();
    let root = job.storage.local_root().unwrap().display().to_string();
    let questions = [
        format!("SELECT * FROM read_csv('{bait}')"),
        format!("SELECT * FROM '{bait}'"),
        format!("SELECT * FROM read_text('{root}/../../bait.csv')"),
        "SELECT * FROM read_text('/etc/passwd')".to_owned(),
        format!("SELECT * FROM glob('{}/*')", job.folder.path().display()),
    ];
    let check = |reader: &WarehouseReader| {
        for sql in &questions {
            let error = reader.query(sql, &QueryLimits::default()).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains("disabled by configuration"),
                "{sql}: {error}"
            );
        }
        assert_eq!(ask(reader, "SELECT count(*) FROM t"), "2\n");
    };
    let reader = loader.reader().unwrap();
    check(&reader);
    let own = format!("SELECT count(*) FROM read_parquet('{root}/data/**/*.parquet')");
    assert_eq!(
        ask(&reader, &own),
        "2\n",
        "the job's files are within reach"
    );
    drop((reader, loader));
    check(&WarehouseReader::open_read_only(&job.database(), &DuckDbOptions::default()).unwrap());
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
    let rows: usize = cut.batches.iter().map(|batch| batch.num_rows()).sum();
    assert!(cut.truncated && (1..=100).contains(&rows), "{rows}");
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
fn of_an_answer_that_is_too_large_the_rows_that_fit_are_handed_out() {
    let (_job, loader) = loaded();
    let limits = QueryLimits {
        bytes: 10 << 20,
        ..QueryLimits::default()
    };
    let sql = "SELECT range, repeat('x', 1000000) FROM range(100) ORDER BY range";
    let answer = loader.reader().unwrap().query(sql, &limits).unwrap();
    let rows: usize = answer.batches.iter().map(|batch| batch.num_rows()).sum();
    assert!(answer.truncated);
    assert!((8..=10).contains(&rows), "{rows}");
    let bytes: usize = answer
        .batches
        .iter()
        .map(|batch| batch.get_array_memory_size())
        .sum();
    assert!(bytes <= 2 * limits.bytes, "{bytes}");
}

#[test]
fn a_query_that_nobody_waits_for_ends() {
    let (_job, loader) = loaded();
    let wanted = std::sync::Arc::new(());
    let reader = loader.reader().unwrap();
    let reader = reader.while_wanted(std::sync::Arc::downgrade(&wanted));
    let endless = "SELECT count(*) FROM range(100000000000) AS a, range(1000000) AS b";
    let asked = std::thread::spawn(move || reader.query(endless, &QueryLimits::default()));
    drop(wanted);
    let error = asked.join().unwrap().unwrap_err();
    assert!(matches!(error, QueryError::Unwanted), "{error}");
}

#[test]
fn errors_say_what_can_be_done() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let limits = QueryLimits::default();
    for (sql, said) in [
        ("SELECT 1e400::VARCHAR", "'infinity'::DOUBLE"),
        (deep.as_str(), "nested too deep"),
    ] {
        let streamed = reader.stream(sql, 10, limits.timeout, &mut |_| Ok(true));
        let error = streamed.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!error.contains("max_expression_depth"), "{error}");
    }
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
    let reader = WarehouseReader::open_read_only(&path, &DuckDbOptions::default()).unwrap();
    assert_eq!(ask(&reader, "SELECT count(*) FROM t"), "2\n");
    assert!(
        reader
            .query("DELETE FROM t", &QueryLimits::default())
            .is_err()
    );
    let missing = WarehouseReader::open_read_only(
        &path.with_file_name("none.duckdb"),
        &DuckDbOptions::default(),
    )
    .unwrap_err();
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
    let line = "{\"d\":12345678901234567890.12,\"l\":[1,null],\"s\":{\"a\":{\"k\":\"v\\\"\"}},\"nan\":null,\
                \"nothing\":null,\"yes\":true,\"c\":\"\\u0001\"}";
    assert_eq!(json, format!("[\n{line},\n{line}\n]\n"));
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
    assert_eq!(text(Format::Json, "SELECT 1 AS n WHERE false"), "[]\n");
}

/// What a database may use, and a question that does not end and holds two thirds of that, from its
/// first rows on.
const MEMORY: usize = 96 << 20;
const HOARDER: &str = "SELECT r.range FROM (SELECT list(range) AS l FROM range(2000000)) AS a, \
                       range(100000000000) AS r WHERE len(a.l) + r.range < 3000000";

/// All that use a database share its memory. A load that has not enough of it because of a question
/// ends the question, and gets on.
#[test]
fn a_load_does_not_fail_because_of_a_question_that_holds_the_memory() {
    let _alone = much_memory();
    let mut job = Job::new();
    // Values of a megabyte are read together.
    let events: Vec<Event> = (0..40)
        .map(|id| {
            Event(
                format!("{id:03}{}", "x".repeat(1 << 20)).leak(),
                id,
                0,
                id,
                1.0,
            )
        })
        .collect();
    job.commit("events", &events);
    let options = DuckDbOptions {
        threads: Some(2),
        memory_limit_bytes: Some(MEMORY),
    };
    let tables = vec![append_table("t", "events")];
    let warehouse = DuckDbWarehouse::open(
        &job.database(),
        &job.log.state().job.to_string(),
        tables,
        &options,
        &job.storage,
        job.clock.now_micros(),
    );
    let once = LoaderOptions {
        retry: RetryOptions {
            attempts: 1,
            first: Duration::ZERO,
            longest: Duration::ZERO,
        },
        ..LoaderOptions::default()
    };
    let mut loader = Loader::new(
        Box::new(warehouse.unwrap()),
        job.storage.clone(),
        job.runtime.handle().clone(),
        job.clock.clone(),
        once,
    );
    let reader = loader.reader().unwrap();
    let (holds, held) = mpsc::channel();
    let asked = std::thread::spawn({
        let reader = reader.clone();
        move || {
            let sink = &mut |_| {
                let _ = holds.send(());
                Ok(true)
            };
            let answer = reader.stream(HOARDER, usize::MAX, Duration::from_secs(600), sink);
            answer.map(|_| ())
        }
    });
    // With its first rows it has got its memory, and takes no more.
    assert!(held.recv().is_ok(), "{:?}", asked.join());
    let used = "SELECT sum(memory_usage_bytes) FROM duckdb_memory()";
    let bytes: u64 = ask(&reader, used).trim().parse().unwrap();
    assert!(bytes > 60_000_000, "{bytes}");
    let tick = loader.tick().unwrap();
    assert_eq!(tick.load.unwrap().rows, 40);
    let answer = asked.join().unwrap();
    assert!(matches!(answer, Err(QueryError::GaveWay)), "{answer:?}");
    assert_eq!(ask(&reader, "SELECT count(*) FROM t"), "40\n");
}

/// Each of these takes DuckDB minutes or the whole memory to plan, and an interrupt would not end
/// it.
#[test]
fn a_streamed_question_that_becomes_large_when_it_is_planned_is_refused_at_once() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    let streamed =
        |sql: &str| reader.stream(sql, usize::MAX, Duration::from_secs(60), &mut |_| Ok(true));
    let doubled = |i: usize| format!("a{i} + a{i} AS a{}", i + 1);
    let aliases: Vec<_> = (0..40).map(doubled).collect();
    let aliases = format!("SELECT value AS a0, {} FROM t", aliases.join(", "));
    let twice = |i: usize| format!(", a{} AS (SELECT l.x FROM a{i} l, a{i} r)", i + 1);
    let names: String = (0..60).map(twice).collect();
    let names = format!("WITH a0 AS (SELECT value AS x FROM t){names} FROM a60");
    for sql in [
        aliases.clone(),
        names.clone(),
        format!("EXPLAIN {aliases}"),
        format!("EXPLAIN (FORMAT json) {names}"),
        format!("EXPLAIN ANALYZE ({names})"),
        format!("DESCRIBE {aliases}"),
        format!("SUMMARIZE {names}"),
        format!("PIVOT ({aliases}) ON a0"),
        format!("SELECT * FROM (PIVOT ({names}) ON x)"),
        format!("PIVOT t ON id USING max(({aliases}))"),
    ] {
        let began = Instant::now();
        let error = streamed(&sql).unwrap_err();
        assert!(matches!(error, QueryError::Refused(_)), "{sql}: {error}");
        assert!(began.elapsed() < Duration::from_secs(5), "{sql}");
    }
    for sql in [
        "EXPLAIN SELECT count(*) FROM t",
        "EXPLAIN ANALYZE (SELECT 1)",
        "SHOW TABLES",
        "SHOW ALL TABLES",
        "DESCRIBE t",
        "SUMMARIZE t",
        "TABLE t",
        "VALUES (1), (2)",
        "PIVOT t ON id IN ('a', 'b') USING sum(value)",
        "PIVOT (FROM t) ON id IN ('a', 'b') USING sum(value)",
        "UNPIVOT t ON value",
    ] {
        assert!(streamed(sql).is_ok(), "{sql}: {:?}", streamed(sql).err());
    }
}
