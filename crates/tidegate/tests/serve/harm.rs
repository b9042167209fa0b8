//! Questions that try to do more than read the tables.

use serde_json::json;

use crate::job;
use crate::server::Server;

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
        let (status, answer) =
            ask(json!({ "sql": "SELECT repeat('x', 1000000) FROM range(1000)", "limit": 1000 }));
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
