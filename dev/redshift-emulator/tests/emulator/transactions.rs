//! Batches, what commits, and two transactions at once.

use serde_json::{Value, json};

use crate::client::{Client, until};

#[tokio::test]
async fn a_batch_is_one_transaction() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n INTEGER NOT NULL)").await;
    let described = client
        .batch(&[
            "INSERT INTO t VALUES (1), (2)",
            "INSERT INTO t VALUES (NULL)",
            "INSERT INTO t VALUES (3)",
        ])
        .await;
    assert_eq!(described["Status"], "FAILED");
    let parts = described["SubStatements"].as_array().unwrap();
    let states: Vec<&str> = parts
        .iter()
        .map(|part| part["Status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["FINISHED", "FAILED", "ABORTED"]);
    assert_eq!(
        parts[1]["Error"],
        "ERROR: Cannot insert a NULL value into column n"
    );
    assert_eq!(described["Error"], parts[1]["Error"]);
    assert_eq!(client.value("SELECT count(*) FROM t").await, 0);

    let described = client
        .batch(&[
            "INSERT INTO t VALUES (1), (2)",
            "SELECT n FROM t",
            "DELETE FROM t WHERE n = 1",
        ])
        .await;
    assert_eq!(described["Status"], "FINISHED", "{described:#}");
    let rows: Vec<i64> = described["SubStatements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["ResultRows"].as_i64().unwrap())
        .collect();
    assert_eq!(rows, [2, 2, 1]);
    let id = described["SubStatements"][1]["Id"].clone();
    assert!(id.as_str().unwrap().ends_with(":2"));
    assert_eq!(
        client.call("GetStatementResult", json!({"Id": id})).await["TotalNumRows"],
        2
    );
    assert_eq!(client.value("SELECT n FROM t").await, 2);
}

#[tokio::test]
async fn with_auto_commit_a_failure_leaves_the_others_alone() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n INTEGER)").await;
    let sqls = [
        "INSERT INTO t VALUES (1)",
        "INSERT INTO nowhere VALUES (1)",
        "INSERT INTO t VALUES (2)",
        "VACUUM t",
    ];
    let call = json!({"WorkgroupName": "test", "Database": "dev", "Sqls": sqls, "ExecutionMode": "AUTO_COMMIT"});
    let id = client.call("BatchExecuteStatement", call).await["Id"].clone();
    let described = client.ended(id.as_str().unwrap()).await;
    assert_eq!(
        (&described["Status"], &described["ExecutionMode"]),
        (&json!("FAILED"), &json!("AUTO_COMMIT"))
    );
    let parts = described["SubStatements"].as_array().unwrap();
    let states: Vec<&str> = parts
        .iter()
        .map(|part| part["Status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["FINISHED", "FAILED", "FINISHED", "FINISHED"]);
    assert_eq!(client.value("SELECT count(*) FROM t").await, 2);
}

#[tokio::test]
async fn truncate_commits_what_came_before_it() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n INTEGER)").await;
    client.ok("CREATE TABLE stage (n INTEGER)").await;
    let described = client
        .batch(&[
            "INSERT INTO t VALUES (1)",
            "TRUNCATE stage",
            "INSERT INTO t VALUES (2)",
            "SELECT 1/0",
        ])
        .await;
    assert_eq!(described["Status"], "FAILED");
    assert_eq!(described["Error"], "ERROR: Divide by zero");
    assert_eq!(client.rows("SELECT n FROM t").await, [[json!(1)]]);
}

#[tokio::test]
async fn vacuum_append_and_alter_type_stay_out_of_transactions() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (s VARCHAR(5))").await;
    client.ok("CREATE TABLE stage (s VARCHAR(5))").await;
    client.ok("INSERT INTO stage VALUES ('a'), ('b')").await;
    for (sql, part) in [
        (
            "VACUUM DELETE ONLY t TO 95 PERCENT",
            "VACUUM cannot run inside a transaction block",
        ),
        (
            "ALTER TABLE t APPEND FROM stage",
            "ALTER TABLE APPEND cannot run inside a transaction block",
        ),
        (
            "ALTER TABLE t ALTER COLUMN s TYPE VARCHAR(9)",
            "ALTER COLUMN cannot run inside a transaction block",
        ),
    ] {
        let described = client.batch(&[sql]).await;
        assert!(
            described["Error"].as_str().unwrap().contains(part),
            "{described:#}"
        );
        client.ok(sql).await;
    }
    assert_eq!(client.value("SELECT count(*) FROM t").await, 2);
    client.ok("INSERT INTO t VALUES ('123456789')").await;
    assert!(
        client
            .error("INSERT INTO t VALUES ('0123456789')")
            .await
            .contains("value too long")
    );
    client.ok("ANALYZE t (s)").await;
    client.ok("ANALYZE t PREDICATE COLUMNS").await;
    let vacuums = "SELECT table_name, vacuum_type FROM sys_vacuum_history";
    assert_eq!(
        client.rows(vacuums).await,
        [[json!("t"), json!("DELETE ONLY")]]
    );
    assert_eq!(
        client
            .value("SELECT count(*) FROM sys_analyze_history WHERE table_name = 't'")
            .await,
        2
    );
}

/// One statement in a session.
async fn within(client: &Client, session: &Value, sql: &str) -> Value {
    let call = json!({"SessionId": session, "Sql": sql});
    let id = client.call("ExecuteStatement", call).await["Id"].clone();
    client.ended(id.as_str().unwrap()).await
}

#[tokio::test]
async fn two_transactions_that_update_one_row_do_not_both_commit() {
    let Some(client) = Client::start().await else {
        return;
    };
    client
        .ok("CREATE TABLE ledger (name VARCHAR(10), seq BIGINT)")
        .await;
    client.ok("INSERT INTO ledger VALUES ('t', 1)").await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let call = json!({"WorkgroupName": "test", "Database": "dev", "Sql": "BEGIN", "SessionKeepAliveSeconds": 60});
        let answer = client.call("ExecuteStatement", call).await;
        client.ended(answer["Id"].as_str().unwrap()).await;
        within(&client, &answer["SessionId"], "SELECT seq FROM ledger").await;
        sessions.push(answer["SessionId"].clone());
    }
    let update = "UPDATE ledger SET seq = seq + 1 WHERE name = 't'";
    assert_eq!(
        within(&client, &sessions[0], update).await["Status"],
        "FINISHED"
    );
    assert_eq!(client.value("SELECT seq FROM ledger").await, 1);
    assert_eq!(
        within(&client, &sessions[0], "COMMIT").await["Status"],
        "FINISHED"
    );
    let lost = within(&client, &sessions[1], update).await;
    let error = lost["Error"].as_str().unwrap();
    assert!(
        error.starts_with("ERROR: 1023\n  Detail: Serializable isolation violation on table - "),
        "{error}"
    );
    within(&client, &sessions[1], "ROLLBACK").await;
    assert_eq!(
        within(&client, &sessions[1], update).await["Status"],
        "FINISHED"
    );
    assert_eq!(client.value("SELECT seq FROM ledger").await, 3);
}

#[tokio::test]
async fn lock_makes_the_second_wait_and_see_what_the_first_did() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE ledger (seq BIGINT)").await;
    client.ok("INSERT INTO ledger VALUES (0)").await;
    let sqls = [
        "LOCK ledger",
        "UPDATE ledger SET seq = seq + 1",
        "SELECT redshift_emulator.sleep(0.2)",
    ];
    let (one, two) = tokio::join!(client.batch(&sqls), client.batch(&sqls));
    assert_eq!(
        (&one["Status"], &two["Status"]),
        (&json!("FINISHED"), &json!("FINISHED")),
        "{one:#} {two:#}"
    );
    assert_eq!(client.value("SELECT seq FROM ledger").await, 2);
}

#[tokio::test]
async fn a_cancelled_batch_leaves_nothing() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n INTEGER)").await;
    let call = json!({"WorkgroupName": "test", "Database": "dev", "Sqls": ["INSERT INTO t VALUES (1)", "SELECT redshift_emulator.sleep(30)"]});
    let id = client.call("BatchExecuteStatement", call).await["Id"].clone();
    until("the sleep", || async {
        client.call("DescribeStatement", json!({"Id": id})).await["SubStatements"][1]["Status"]
            == "STARTED"
    })
    .await;
    client.call("CancelStatement", json!({"Id": id})).await;
    assert_eq!(
        client.ended(id.as_str().unwrap()).await["Status"],
        "ABORTED"
    );
    assert_eq!(client.value("SELECT count(*) FROM t").await, 0);
}
