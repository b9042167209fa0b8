//! The life of a statement, its result, and what is refused before it runs.

use std::time::Duration;

use redshift_emulator::Delays;
use serde_json::{Value, json};

use crate::client::{Client, SIGNATURE, until, values};

fn call(sql: &str) -> Value {
    json!({"WorkgroupName": "test", "Database": "dev", "Sql": sql})
}

#[tokio::test]
async fn a_query_finishes_and_its_fields_have_their_types() {
    let Some(client) = Client::start().await else {
        return;
    };
    let described = client
        .ok("SELECT 7::bigint AS n, 1.5::double precision AS d, 'x'::varchar(5) AS s, true AS b, 2.50::decimal(10,2) AS m, \
             timestamp '2026-01-02 03:04:05.678' AS t, null::integer AS nothing")
        .await;
    assert_eq!(described["ResultRows"], 1);
    assert_eq!(described["HasResultSet"], true);
    assert!(described["Duration"].as_u64().unwrap() > 0);
    let answer = client
        .call("GetStatementResult", json!({"Id": described["Id"]}))
        .await;
    assert_eq!(answer["TotalNumRows"], 1);
    assert_eq!(
        answer["Records"][0],
        json!([
            {"longValue": 7}, {"doubleValue": 1.5}, {"stringValue": "x"}, {"booleanValue": true}, {"stringValue": "2.50"},
            {"stringValue": "2026-01-02 03:04:05.678"}, {"isNull": true}
        ])
    );
    let columns = answer["ColumnMetadata"].as_array().unwrap();
    let types: Vec<&str> = columns
        .iter()
        .map(|c| c["typeName"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "int8",
            "float8",
            "varchar",
            "bool",
            "numeric",
            "timestamp",
            "int4"
        ]
    );
    assert_eq!(
        (&columns[4]["precision"], &columns[4]["scale"]),
        (&json!(10), &json!(2))
    );
    assert_eq!(columns[0]["name"], "n");
}

#[tokio::test]
async fn a_result_comes_in_pages() {
    let Some(client) = Client::start_with(|options| options.page_rows_max = 3).await else {
        return;
    };
    client.ok("CREATE TABLE t (n INTEGER)").await;
    client
        .ok("INSERT INTO t VALUES (1), (2), (3), (4), (5), (6), (7)")
        .await;
    let id = client.ok("SELECT n FROM t ORDER BY n").await["Id"].clone();
    let mut all = Vec::new();
    let mut token = Value::Null;
    let mut pages = 0;
    loop {
        let mut call = json!({"Id": id});
        if !token.is_null() {
            call["NextToken"] = token;
        }
        let page = client.call("GetStatementResult", call).await;
        all.extend(values(&page));
        pages += 1;
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(all, (1..=7).map(|n| vec![json!(n)]).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_statement_passes_through_its_states() {
    let each = Duration::from_millis(300);
    let delays = Delays {
        submitted: each,
        picked: each,
        started: each,
    };
    let Some(client) = Client::start_with(|options| options.delays = delays).await else {
        return;
    };
    let id = client.call("ExecuteStatement", call("SELECT 1")).await["Id"].clone();
    let mut seen: Vec<String> = Vec::new();
    while seen.last().is_none_or(|status| status != "FINISHED") {
        let described = client.call("DescribeStatement", json!({"Id": id})).await;
        let status = described["Status"].as_str().unwrap().to_owned();
        if seen.last() != Some(&status) {
            seen.push(status);
        }
    }
    assert_eq!(seen, ["SUBMITTED", "PICKED", "STARTED", "FINISHED"]);
}

#[tokio::test]
async fn the_result_of_what_runs_cannot_be_had() {
    let Some(client) = Client::start_with(|o| o.delays.started = Duration::from_secs(20)).await
    else {
        return;
    };
    let id = client.call("ExecuteStatement", call("SELECT 1")).await["Id"].clone();
    let refused = client
        .refused("GetStatementResult", json!({"Id": id}))
        .await;
    assert_eq!(refused.0, "ValidationException");
}

#[tokio::test]
async fn a_statement_can_be_cancelled_eachit_waits_and_eachit_runs() {
    let Some(client) = Client::start_with(|o| o.delays.submitted = Duration::from_millis(30)).await
    else {
        return;
    };
    client.ok("CREATE TABLE t (n INTEGER)").await;
    for sql in [
        "SELECT redshift_emulator.sleep(30)",
        "INSERT INTO t SELECT 1 FROM (SELECT redshift_emulator.sleep(30)) AS s",
    ] {
        let id = client.call("ExecuteStatement", call(sql)).await["Id"].clone();
        if sql.starts_with("SELECT") {
            until("its start", || async {
                client.call("DescribeStatement", json!({"Id": id})).await["Status"] == "STARTED"
            })
            .await;
        }
        assert_eq!(
            client.call("CancelStatement", json!({"Id": id})).await["Status"],
            true
        );
        let described = client.ended(id.as_str().unwrap()).await;
        assert_eq!(described["Status"], "ABORTED");
        assert!(described["Error"].as_str().unwrap().starts_with("ERROR:"));
        let refused = client.refused("CancelStatement", json!({"Id": id})).await;
        assert!(
            refused.1.contains("already in ABORTED state"),
            "{refused:?}"
        );
    }
    assert_eq!(client.value("SELECT count(*) FROM t").await, 0);
}

#[tokio::test]
async fn the_same_token_gives_the_same_statement() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n INTEGER)").await;
    let mut call = call("INSERT INTO t VALUES (1)");
    call["ClientToken"] = json!("once");
    let first = client.call("ExecuteStatement", call.clone()).await["Id"].clone();
    let second = client.call("ExecuteStatement", call.clone()).await["Id"].clone();
    assert_eq!(first, second);
    client.ended(first.as_str().unwrap()).await;
    assert_eq!(
        client.call("ExecuteStatement", call.clone()).await["Id"],
        first
    );
    assert_eq!(client.value("SELECT count(*) FROM t").await, 1);
    call["ClientToken"] = json!("x".repeat(65));
    assert_eq!(
        client.refused("ExecuteStatement", call).await.0,
        "ValidationException"
    );
}

#[tokio::test]
async fn statements_are_forgotten_after_their_time() {
    let Some(client) = Client::start_with(|o| o.remembered = Duration::from_millis(300)).await
    else {
        return;
    };
    let id = client.ok("SELECT 1").await["Id"].clone();
    until("forgetting", || async {
        client
            .try_call("DescribeStatement", json!({"Id": id}))
            .await
            .unwrap()
            .is_err()
    })
    .await;
    let refused = client.refused("DescribeStatement", json!({"Id": id})).await;
    assert_eq!(refused.0, "ResourceNotFoundException");
}

#[tokio::test]
async fn too_many_active_statements_are_refused() {
    let Some(client) = Client::start_with(|o| {
        o.active_statements_max = 2;
        o.delays.started = Duration::from_secs(20);
    })
    .await
    else {
        return;
    };
    for _ in 0..2 {
        client.call("ExecuteStatement", call("SELECT 1")).await;
    }
    let refused = client.refused("ExecuteStatement", call("SELECT 1")).await;
    assert_eq!(refused.0, "ActiveStatementsExceededException");
}

#[tokio::test]
async fn what_the_api_does_not_take_is_refused_before_it_runs() {
    let Some(client) = Client::start().await else {
        return;
    };
    let good = |change: Value| {
        let mut call = call("SELECT 1");
        for (key, value) in change.as_object().unwrap() {
            call[key] = value.clone();
        }
        call
    };
    for (change, part) in [
        (
            json!({"Sql": "SELECT 1; SELECT 2"}),
            "Multiple SQL statements",
        ),
        (json!({"Sql": " ; "}), "empty"),
        (
            json!({"Sql": format!("SELECT '{}'", "x".repeat(100 * 1024))}),
            "100kB",
        ),
        (json!({"ClusterIdentifier": "c"}), "not both"),
        (json!({"WorkgroupName": null}), "required"),
        (json!({"Database": null}), "Database is required"),
        (json!({"Database": "other"}), "does not exist"),
        (json!({"DbUser": "admin"}), "DbUser"),
        (json!({"SecretArn": "secret"}), "Invalid secret ARN"),
        (json!({"WaitTimeSeconds": 31}), "between 1 and 30"),
        (
            json!({"SessionKeepAliveSeconds": 86401}),
            "between 0 and 86400",
        ),
        (
            json!({"Parameters": [{"name": "a", "value": "1"}]}),
            "not used",
        ),
        (json!({"Sql": "SELECT :a"}), "has no value"),
        (
            json!({"Sql": "SELECT :a", "Parameters": [{"name": "a", "value": ""}]}),
            "length greater",
        ),
        (
            json!({"Sql": "SELECT :a", "Parameters": [{"name": "a-b", "value": "1"}]}),
            "pattern",
        ),
    ] {
        let (kind, message) = client
            .refused("ExecuteStatement", good(change.clone()))
            .await;
        assert_eq!(kind, "ValidationException", "{change}");
        assert!(message.contains(part), "{change}: {message}");
    }
    let many = vec!["SELECT 1"; 41];
    for sqls in [json!([]), json!(many)] {
        let call = json!({"WorkgroupName": "test", "Database": "dev", "Sqls": sqls});
        assert_eq!(
            client.refused("BatchExecuteStatement", call).await.0,
            "ValidationException"
        );
    }
    let call = json!({"WorkgroupName": "test", "Database": "dev", "Sqls": vec!["SELECT 1"; 40]});
    client.call("BatchExecuteStatement", call).await;
    assert_eq!(
        client
            .refused("DescribeStatement", json!({"Id": "x"}))
            .await
            .0,
        "ValidationException"
    );
    let unknown = json!({"Id": "00000000-0000-0000-0000-000000000000"});
    assert_eq!(
        client.refused("DescribeStatement", unknown).await.0,
        "ResourceNotFoundException"
    );
    let (_, body) = client
        .send("/", "POST", "RedshiftData.Nothing", SIGNATURE, json!({}))
        .await
        .unwrap();
    assert_eq!(body["__type"], "UnknownOperationException");
}

#[tokio::test]
async fn a_signature_has_to_look_like_one() {
    let Some(client) = Client::start().await else {
        return;
    };
    for (signature, name) in [
        ("", "IncompleteSignatureException"),
        ("Bearer x", "IncompleteSignatureException"),
        (
            &SIGNATURE.replace("redshift-data", "s3"),
            "IncompleteSignatureException",
        ),
        (
            &SIGNATURE.replace("20260101", "20250101"),
            "IncompleteSignatureException",
        ),
        (
            &SIGNATURE.replace("0123456789abcdef", "short"),
            "IncompleteSignatureException",
        ),
        (
            &SIGNATURE.replace("host;", ""),
            "IncompleteSignatureException",
        ),
    ] {
        let (status, body) = client
            .send(
                "/",
                "POST",
                "RedshiftData.ExecuteStatement",
                signature,
                call("SELECT 1"),
            )
            .await
            .unwrap();
        assert_eq!(
            (status, body["__type"].as_str().unwrap()),
            (403, name),
            "{signature}"
        );
    }
}

#[tokio::test]
async fn parameters_are_values() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (s VARCHAR, n INTEGER)").await;
    let mut call = call("INSERT INTO t VALUES (:s, :n)");
    let nasty = r"it's a \ backslash, :n and -- no comment";
    call["Parameters"] = json!([{"name": "s", "value": nasty}, {"name": "n", "value": "5"}]);
    let id = client.call("ExecuteStatement", call).await["Id"].clone();
    let described = client.ended(id.as_str().unwrap()).await;
    assert_eq!(described["Status"], "FINISHED", "{described:#}");
    assert_eq!(described["ResultRows"], 1);
    assert_eq!(described["QueryParameters"][1]["value"], "5");
    assert_eq!(
        client.rows("SELECT s, n FROM t").await,
        [[json!(nasty), json!(5)]]
    );
}

#[tokio::test]
async fn a_session_keeps_its_temporary_tables() {
    let Some(client) = Client::start().await else {
        return;
    };
    let mut first = call("CREATE TEMP TABLE stage (n INTEGER)");
    first["SessionKeepAliveSeconds"] = json!(60);
    let answer = client.call("ExecuteStatement", first).await;
    let session = answer["SessionId"].clone();
    client.ended(answer["Id"].as_str().unwrap()).await;
    for sql in ["INSERT INTO stage VALUES (1), (2)", "SELECT n FROM stage"] {
        let answer = client
            .call(
                "ExecuteStatement",
                json!({"SessionId": session, "Sql": sql}),
            )
            .await;
        let described = client.ended(answer["Id"].as_str().unwrap()).await;
        assert_eq!(
            (&described["Status"], &described["ResultRows"]),
            (&json!("FINISHED"), &json!(2))
        );
        assert_eq!(described["SessionId"], session);
    }
    assert!(
        client
            .error("SELECT n FROM stage")
            .await
            .contains("does not exist")
    );
    let unknown = json!({"SessionId": "00000000-0000-0000-0000-000000000000", "Sql": "SELECT 1"});
    assert_eq!(
        client.refused("ExecuteStatement", unknown).await.0,
        "ResourceNotFoundException"
    );
}

#[tokio::test]
async fn statements_are_listed_newest_first() {
    let Some(client) = Client::start().await else {
        return;
    };
    for (name, sql) in [
        ("load-1", "SELECT 1"),
        ("load-2", "SELECT 1/0"),
        ("other", "SELECT 3"),
    ] {
        let mut call = call(sql);
        call["StatementName"] = json!(name);
        let id = client.call("ExecuteStatement", call).await["Id"].clone();
        client.ended(id.as_str().unwrap()).await;
    }
    let names = |answer: &Value| -> Vec<String> {
        let statements = answer["Statements"].as_array().unwrap().iter();
        statements
            .map(|s| s["StatementName"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = client.call("ListStatements", json!({})).await;
    assert_eq!(names(&all), ["other", "load-2", "load-1"]);
    let some = client
        .call(
            "ListStatements",
            json!({"StatementName": "load", "Status": "FAILED"}),
        )
        .await;
    assert_eq!(names(&some), ["load-2"]);
    let page = client
        .call("ListStatements", json!({"MaxResults": 2}))
        .await;
    let rest = client
        .call(
            "ListStatements",
            json!({"MaxResults": 2, "NextToken": page["NextToken"]}),
        )
        .await;
    assert_eq!(
        (names(&page).len(), names(&rest)),
        (2, vec!["load-1".to_owned()])
    );
}

#[tokio::test]
async fn tables_and_their_columns_are_described() {
    let Some(client) = Client::start().await else {
        return;
    };
    client
        .ok("CREATE TABLE t (s VARCHAR(30) NOT NULL, m DECIMAL(20,4), extra SUPER)")
        .await;
    let target =
        json!({"WorkgroupName": "test", "Database": "dev", "Schema": "public", "Table": "t"});
    let answer = client.call("DescribeTable", target.clone()).await;
    let columns = answer["ColumnList"].as_array().unwrap();
    assert_eq!(
        (&columns[0]["typeName"], &columns[0]["length"]),
        (&json!("character varying"), &json!(30))
    );
    assert_eq!(
        (&columns[1]["precision"], &columns[1]["scale"]),
        (&json!(20), &json!(4))
    );
    assert_eq!(
        (&columns[2]["typeName"], &columns[2]["nullable"]),
        (&json!("super"), &json!(1))
    );
    let tables = client
        .call(
            "ListTables",
            json!({"WorkgroupName": "test", "Database": "dev"}),
        )
        .await;
    assert_eq!(
        tables["Tables"],
        json!([{"schema": "public", "name": "t", "type": "TABLE"}])
    );
    let schemas = client
        .call(
            "ListSchemas",
            json!({"WorkgroupName": "test", "Database": "dev"}),
        )
        .await;
    assert!(
        schemas["Schemas"]
            .as_array()
            .unwrap()
            .contains(&json!("public"))
    );
    let databases = client
        .call(
            "ListDatabases",
            json!({"WorkgroupName": "test", "Database": "dev"}),
        )
        .await;
    assert_eq!(databases["Databases"], json!(["dev"]));
}
