//! Questions that try to do more than read the tables.

use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_testkit::S3;

use crate::job;
use crate::server::Server;

/// How long a question may go on whose asker has left.
const LEFT: Duration = Duration::from_secs(20);

#[test]
fn no_question_writes_or_reads_elsewhere() {
    let job = job();
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    let secret = job.path("secret.csv");
    std::fs::write(&secret, "word\nhunter2\n").unwrap();
    let secret = secret.display().to_string();
    let warehouse = job.path("warehouse.duckdb").display().to_string();
    let questions = [
        "DELETE FROM transactions".to_owned(),
        "INSERT INTO rejected SELECT * FROM rejected".to_owned(),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "DROP VIEW transactions_1m".to_owned(),
        format!("COPY transactions TO '{secret}.out'"),
        format!("ATTACH '{warehouse}' AS w"),
        "INSTALL httpfs".to_owned(),
        "LOAD json".to_owned(),
        "SET memory_limit = '1GB'".to_owned(),
        "PRAGMA database_list".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        format!("SELECT * FROM read_csv('{secret}')"),
        format!("SELECT * FROM '{secret}'"),
        format!("SELECT * FROM \"{secret}\""),
        format!("SELECT content FROM read_text('{secret}')"),
        format!(
            "SELECT * FROM transactions WHERE merchant = (SELECT word FROM read_csv('{secret}'))"
        ),
        format!("WITH a AS (FROM read_csv_auto('{secret}')) FROM a"),
        "SELECT * FROM glob('/*')".to_owned(),
        "SELECT * FROM duckdb_settings()".to_owned(),
        "SELECT * FROM tidegate_ledger".to_owned(),
        "SELECT getenv('HOME')".to_owned(),
        format!("SELECT * FROM \"{secret}\", (WITH \"{secret}\" AS (SELECT 1) SELECT 1) AS w"),
        "SELECT * FROM tidegate_ledger, (WITH tidegate_ledger AS (SELECT 1) SELECT 1) AS w"
            .to_owned(),
        "SELECT * FROM (WITH duckdb_databases AS (SELECT 1) SELECT 1) AS w, duckdb_databases"
            .to_owned(),
        "SELECT sleep_ms(20000)".to_owned(),
        "SELECT pg_sleep(20)".to_owned(),
        "SELECT len(range(100000000))".to_owned(),
        "SELECT repeat('x', 300000 + range) FROM range(1000)".to_owned(),
        format!("SELECT {}1", "+".repeat(1_600)),
        format!("SELECT 1 {}", "/**/".repeat(20_000)),
    ];
    for sql in questions {
        for tier in ["warm", "cold"] {
            let question = json!({ "sql": sql, "tier": tier });
            let (status, answer) = server.request("POST", "/v1/query", &question.to_string());
            assert_eq!(status, 400, "{sql}: {answer}");
            assert!(!answer.to_string().contains("hunter2"), "{sql}: {answer}");
        }
    }
    assert!(!std::path::Path::new(&format!("{secret}.out")).exists());
}

/// 2,000 rows of 50,000 bytes.
const LARGE: &str = "WITH large AS (SELECT string_agg('x', '') AS x FROM range(50000)) \
                     SELECT x || range FROM large, range(2000)";

#[test]
fn a_question_is_bounded_in_time_rows_and_memory() {
    let job = job();
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    for tier in ["warm", "cold"] {
        let ask = |mut question: serde_json::Value| {
            question["tier"] = tier.into();
            server.request("POST", "/v1/query", &question.to_string())
        };
        let endless = "SELECT count(*) FROM range(100000000000) AS a, range(1000000) AS b";
        let (status, answer) = ask(json!({ "sql": endless, "timeout_seconds": 0.5 }));
        assert_eq!(
            (status, answer["error"]["code"].as_str()),
            (504, Some("timeout")),
            "{answer}"
        );
        let (status, answer) = ask(json!({ "sql": "SELECT * FROM range(1000000)", "limit": 10 }));
        assert_eq!(
            (
                status,
                answer["rows"].as_array().map(Vec::len),
                &answer["truncated"]
            ),
            (200, Some(10), &json!(true))
        );
        let (status, answer) = ask(json!({ "sql": LARGE, "limit": 2000 }));
        assert_eq!((status, &answer["truncated"]), (200, &json!(true)));
        for wrong in [
            json!({ "sql": "SELECT 1", "limit": 0 }),
            json!({ "sql": "SELECT 1", "timeout_seconds": 3600 }),
            json!({ "sql": "SELECT 1", "x": 1 }),
        ] {
            assert!(matches!(ask(wrong).0, 400 | 422));
        }
    }
    let (status, _) = server.request("POST", "/v1/query", &"x".repeat(3 << 20));
    assert!(matches!(status, 400 | 413), "{status}");
    // The job goes on.
    assert_eq!(server.get("/v1/status")["phase"], "running");
}

/// Whoever has gone away waits for nothing: their questions must not keep cores busy, and their
/// turns are those of others.
#[test]
fn a_question_ends_when_whoever_asked_goes_away() {
    let job = job();
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    let endless = "SELECT count(*) FROM range(100000000000) AS a, range(1000000) AS b";
    let is_busy = |tier: &str| {
        let question = json!({ "sql": "SELECT 1", "tier": tier });
        server.request("POST", "/v1/query", &question.to_string()).0 == 503
    };
    for tier in ["warm", "cold"] {
        let question = json!({ "sql": endless, "tier": tier, "timeout_seconds": 60 }).to_string();
        // As many as there are turns.
        let asked: Vec<_> = (0..4)
            .map(|_| server.ask_and_leave("/v1/query", &question))
            .collect();
        while !is_busy(tier) {}
        let began = Instant::now();
        drop(asked);
        while is_busy(tier) {}
        assert!(began.elapsed() < LEFT, "{tier}: {:?}", began.elapsed());
    }
    // On the command line: what the process has used of the processor tells that it is asked.
    let command = || job.command(&["query", "--timeout", "60s", endless]);
    let mut asked: Vec<_> = (0..4).map(|_| command().spawn().unwrap()).collect();
    let before = server.processor_seconds();
    while server.processor_seconds() < before + 1.0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    for process in &mut asked {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let began = Instant::now();
    let answered = job.output(&["query", "SELECT 1"]);
    assert!(answered.status.success(), "{answered:?}");
    assert!(began.elapsed() < LEFT, "{:?}", began.elapsed());
}

/// DuckDB does not count what this one takes: 1.7 GB, whatever its limit.
#[test]
fn a_question_that_takes_memory_which_nobody_counts_is_ended() {
    let job = job().set("warehouse.memory-limit", "256MiB");
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    for tier in ["warm", "cold"] {
        let sql = "SELECT quantile_cont(range, 0.5) FROM range(300000000)";
        let question = json!({ "sql": sql, "tier": tier, "timeout_seconds": 60 });
        let (status, answer) = server.request("POST", "/v1/query", &question.to_string());
        let said = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{answer}");
        assert!(said.contains("more memory"), "{answer}");
    }
    // The job goes on.
    assert_eq!(server.get("/v1/status")["phase"], "running");
}

/// The first aborted the process with a stack overflow; the others kept cores busy for minutes.
#[test]
fn a_question_that_becomes_large_when_it_is_planned_is_refused() {
    let job = job();
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    let chain = |links: usize| {
        let names: String = (0..links)
            .map(|i| format!(", a{} AS (FROM a{i})", i + 1))
            .collect();
        format!("WITH a0 AS (SELECT 1 AS x){names} FROM a{links}")
    };
    let aliases: String = (0..300)
        .map(|i| format!(", a{i} + 1 AS a{}", i + 1))
        .collect();
    for sql in [chain(400), chain(2_000), format!("SELECT 1 AS a0{aliases}")] {
        for tier in ["warm", "cold"] {
            let question = json!({ "sql": sql, "tier": tier });
            let (status, answer) = server.request("POST", "/v1/query", &question.to_string());
            assert_eq!(status, 400, "{answer}");
        }
    }
    // Who sits at the machine asks over the socket, and would wait as long.
    let output = job.output(&["query", "--format", "csv", &chain(400)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("402 deep, and may 64 deep"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(server.get("/v1/status")["phase"], "running");
}

/// One of two that ask the same at the same time must not take anything from the other.
#[test]
fn two_of_everything_at_once_are_both_answered() {
    let job = job();
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    ask_two_of_everything(&server);
    // On the command line, which asks the process over its socket.
    let sql = "SELECT count(*) AS n FROM transactions";
    let ask = || job.output(&["query", "--format", "csv", sql]);
    let outputs = twice(ask).map(|output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        output.stdout
    });
    assert_eq!(outputs[0], outputs[1]);
}

/// Files that have to be fetched: the first two questions want the same ones.
#[test]
fn two_of_everything_at_once_are_both_answered_where_files_are_in_s3() {
    let s3 = S3::start();
    let job = job()
        .set("storage.url", format!("s3://{}/two", S3::BUCKET))
        .set("storage.endpoint", s3.endpoint())
        .set("storage.allow-http", true)
        .with_variables(S3::environment());
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    let question = json!({ "sql": "SELECT count(*) FROM transactions", "tier": "cold" });
    let question = question.to_string();
    // The log's index comes a moment after the log.
    server.until("/v1/late?limit=1", |late| {
        !late["late"].as_array().unwrap().is_empty()
    });
    let answers = twice(|| server.request("POST", "/v1/query", &question));
    for (status, answer) in &answers {
        assert_eq!(*status, 200, "{answer}");
    }
    assert_eq!(answers[0].1["rows"], answers[1].1["rows"]);
    ask_two_of_everything(&server);
}

/// The loader alone: all that it answers, and what it does not.
#[test]
fn two_of_everything_at_once_are_both_answered_by_the_loader() {
    let job = job().set("load.separate", true);
    job.catch_up();
    let server = Server::start_load(&job);
    server.until("/v1/status", |status| {
        status["phase"] == "running" && status["rows_loaded"].as_u64() > Some(0)
    });
    for (path, wanted) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/v1/status", 200),
        ("/v1/late", 404),
        ("/v1/query", 404),
        ("/", 404),
    ] {
        for _ in 0..5 {
            for (status, answer) in twice(|| server.request("GET", path, "")) {
                assert_eq!(status, wanted, "{path}: {answer}");
            }
        }
    }
    let pages = twice(|| server.get("/metrics"));
    for page in pages {
        let page = page.as_str().unwrap();
        assert!(page.contains("tidegate_loads_total{"), "{page}");
    }
}

/// Does the same two times at once.
fn twice<T: Send>(what: impl Fn() -> T + Sync) -> [T; 2] {
    #[expect(clippy::disallowed_methods, reason = "it has no channel")]
    std::thread::scope(|scope| {
        let both = [scope.spawn(&what), scope.spawn(&what)];
        both.map(|one| one.join().unwrap())
    })
}

fn ask_two_of_everything(server: &Server) {
    let late = server.get("/v1/late?limit=1");
    let key = late["late"][0]["transaction_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let question = |tier: &str| {
        let question =
            json!({ "sql": "SELECT count(*), max(amount) FROM transactions", "tier": tier });
        ("POST", "/v1/query".to_owned(), question.to_string())
    };
    let windows =
        "/v1/aggregates?view=transactions_1m&from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z";
    let mut asks = vec![question("warm"), question("cold")];
    let paths = [
        "/healthz".to_owned(),
        "/readyz".to_owned(),
        "/metrics".to_owned(),
        "/openapi.json".to_owned(),
        "/v1/job".to_owned(),
        "/v1/status".to_owned(),
        "/v1/history".to_owned(),
        windows.to_owned(),
        format!("{windows}&tier=warm"),
        format!("{windows}&tier=cold"),
        format!("{windows}&tier=hot"),
        format!("/v1/events/{key}"),
        format!("/v1/events/{key}?from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"),
        "/v1/rejected".to_owned(),
        "/v1/late".to_owned(),
        "/v1/log".to_owned(),
        "/".to_owned(),
    ];
    asks.extend(paths.map(|path| ("GET", path, String::new())));
    for (method, path, body) in &asks {
        for (status, answer) in twice(|| server.request(method, path, body)) {
            assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        }
    }
    let past = format!("/v1/events/{key}?to=2000-01-01T00:00:00Z");
    assert_eq!(server.get(&past)["events"], json!([]));
    assert_eq!(server.get(&past)["next"], json!(null));
    let (status, _) = server.request("GET", &format!("/v1/events/{key}?before=x"), "");
    assert_eq!(status, 400);
    let events = twice(|| {
        let (mut live, _) =
            tungstenite::connect(format!("ws://{}/v1/live", server.address)).unwrap();
        live.read().unwrap().into_text().unwrap().to_string()
    });
    assert!(
        events.iter().all(|event| event.starts_with('{')),
        "{events:?}"
    );
}

/// Bytes that a process may take for what is asked of it here, beside what it needs anyhow.
const MEMORY: u64 = 600 << 20;

#[test]
fn answers_that_nobody_reads_stay_within_their_bound() {
    let job = job().set("http.limits.unsent", "64MiB");
    let server = Server::start(&job);
    server.until_loaded(crate::records(&job));
    let before = server.memory_max();
    let sql = format!("SELECT '{}' || range FROM range(100000)", "x".repeat(600));
    let question = json!({ "sql": sql, "limit": 100_000 }).to_string();
    let mut unread = Vec::new();
    for _ in 0..20 {
        let stream = server.ask_and_leave("/v1/query", &question);
        // The answer has begun, so that the next question does not wait for a turn.
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream.peek(&mut [0]).unwrap();
        unread.push(stream);
    }
    let more = server.memory_max() - before;
    assert!(more < MEMORY, "{} MiB", more >> 20);
    // Who reads is answered once there is room again.
    drop(unread);
    let question = json!({ "sql": "SELECT count(*) FROM transactions" }).to_string();
    assert_eq!(server.request("POST", "/v1/query", &question).0, 200);
}

#[test]
fn rejects_with_large_payloads_are_all_shown_and_cut() {
    const RECORDS: usize = 60;
    const BYTES: usize = 8 << 20;
    /// What DuckDB keeps of what it has read, and what a question may take beside that. Sorting the
    /// payloads took two and a half times as much as all of them.
    const MORE_MAX: u64 = (RECORDS * BYTES) as u64 + (300 << 20);
    for warehouse in ["duckdb:warehouse.duckdb", "none"] {
        let job = crate::common::Job::new("transactions")
            .set("source.follow", true)
            .set("batch.interval", "200ms")
            .set("load.interval", "200ms")
            .set("warehouse.url", warehouse);
        std::fs::create_dir(job.path("in")).unwrap();
        let lines: String = (0..RECORDS)
            .map(|n| format!("{n} {}\n", "x".repeat(BYTES)))
            .collect();
        std::fs::write(job.path("in/large.ndjson"), lines).unwrap();
        // A process of its own reads the records: one process would hide what answers take within
        // what it took to read, reject and load them.
        job.catch_up();
        let server = Server::start(&job);
        let path = "/v1/rejected?limit=1000";
        let before = server.memory_max();
        // The log's index comes a moment after the log.
        server.until(path, |answer| {
            answer["rejected"].as_array().map(Vec::len) == Some(RECORDS)
        });
        for _ in 0..3 {
            let answer = server.get(path);
            let rows = answer["rejected"].as_array().unwrap();
            assert_eq!(rows.len(), RECORDS, "{warehouse}");
            for row in rows {
                let payload = row["payload"].as_str().unwrap();
                assert!(payload.len() <= 8 << 10 && payload.ends_with("xxx"));
                assert!(row["payload_bytes"].as_u64().unwrap() > BYTES as u64);
            }
        }
        let more = server.memory_max() - before;
        assert!(more < MORE_MAX, "{warehouse}: {} MiB", more >> 20);
    }
}
