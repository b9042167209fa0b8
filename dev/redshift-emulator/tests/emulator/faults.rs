//! Faults on demand, and by chance.

use redshift_emulator::{RandomFaults, RedshiftFault, Rule};
use serde_json::{Value, json};

use crate::client::Client;

const INSERT: &str = "INSERT INTO t VALUES (1)";

async fn with_table() -> Option<Client> {
    let client = Client::start().await?;
    client.ok("CREATE TABLE t (n INTEGER)").await;
    Some(client)
}

fn call() -> Value {
    json!({"WorkgroupName": "test", "Database": "dev", "Sqls": [INSERT, INSERT]})
}

impl Client {
    async fn count(&self) -> i64 {
        self.value("SELECT count(*) FROM t").await.as_i64().unwrap()
    }
}

#[tokio::test]
async fn the_nth_commit_fails_with_1023() {
    let Some(client) = with_table().await else {
        return;
    };
    client
        .emulator
        .faults()
        .add(Rule::next(RedshiftFault::SerializableViolation).after(1));
    client.ok(INSERT).await;
    let described = client.batch(&[INSERT, INSERT]).await;
    assert_eq!(described["Status"], "FAILED");
    assert!(
        described["Error"]
            .as_str()
            .unwrap()
            .contains("1023\n  Detail: Serializable isolation violation")
    );
    client.ok(INSERT).await;
    assert_eq!(client.count().await, 2);
    assert_eq!(client.emulator.stats().faults["serializable_violation"], 1);
}

#[tokio::test]
async fn a_batch_is_aborted_in_the_middle() {
    let Some(client) = with_table().await else {
        return;
    };
    client
        .emulator
        .faults()
        .add(Rule::next(RedshiftFault::AbortBatch { after: 1 }));
    let described = client.batch(&[INSERT, INSERT, INSERT]).await;
    let parts = described["SubStatements"].as_array().unwrap();
    let states: Vec<&str> = parts
        .iter()
        .map(|part| part["Status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["FINISHED", "FAILED", "ABORTED"]);
    assert_eq!(client.count().await, 0);
}

#[tokio::test]
async fn an_answer_is_lost_after_the_effect() {
    let Some(client) = with_table().await else {
        return;
    };
    client
        .emulator
        .faults()
        .add(Rule::next(RedshiftFault::LostAnswer).at("BatchExecuteStatement"));
    let mut call = call();
    call["ClientToken"] = json!("t");
    assert_eq!(
        client.try_call("BatchExecuteStatement", call.clone()).await,
        None
    );
    let id = client.call("BatchExecuteStatement", call).await["Id"].clone();
    assert_eq!(
        client.ended(id.as_str().unwrap()).await["Status"],
        "FINISHED"
    );
    assert_eq!(client.count().await, 2);
    client
        .emulator
        .faults()
        .add(Rule::next(RedshiftFault::LostAnswer).at("DescribeStatement"));
    assert_eq!(
        client
            .try_call("DescribeStatement", json!({"Id": id}))
            .await,
        None
    );
    client.call("DescribeStatement", json!({"Id": id})).await;
}

#[tokio::test]
async fn calls_are_refused_as_often_as_asked() {
    let Some(client) = with_table().await else {
        return;
    };
    let faults = client.emulator.faults();
    for (fault, name) in [
        (RedshiftFault::Throttle, "ThrottlingException"),
        (
            RedshiftFault::ActiveStatementsExceeded,
            "ActiveStatementsExceededException",
        ),
        (RedshiftFault::InternalError, "InternalServerException"),
    ] {
        faults.add(Rule::next(fault).times(2));
        for _ in 0..2 {
            assert_eq!(
                client.refused("BatchExecuteStatement", call()).await.0,
                name
            );
        }
    }
    assert_eq!(client.count().await, 0);
    faults.add(Rule::next(RedshiftFault::InternalErrorAfterEffect));
    assert_eq!(
        client.refused("BatchExecuteStatement", call()).await.0,
        "InternalServerException"
    );
    crate::client::until("the effect", || async { client.count().await == 2 }).await;
}

#[tokio::test]
async fn what_committed_is_reported_as_failed_or_aborted_or_not_at_all() {
    let Some(client) = with_table().await else {
        return;
    };
    let faults = client.emulator.faults();
    faults.add(Rule::next(RedshiftFault::FailedThoughCommitted));
    assert_eq!(client.batch(&[INSERT]).await["Status"], "FAILED");
    faults.add(Rule::next(RedshiftFault::AbortedThoughCommitted));
    assert_eq!(client.run(INSERT).await["Status"], "ABORTED");
    faults.add(Rule::next(RedshiftFault::Forgotten));
    let id = client.call("BatchExecuteStatement", call()).await["Id"].clone();
    assert_eq!(
        client
            .refused("DescribeStatement", json!({"Id": id}))
            .await
            .0,
        "ResourceNotFoundException"
    );
    crate::client::until("the effect", || async { client.count().await == 4 }).await;
}

#[tokio::test]
async fn faults_are_set_over_http() {
    let Some(client) = with_table().await else {
        return;
    };
    let send = |method, path, body| client.send(path, method, "", "", body);
    let rule = json!({"kind": "abort_batch", "after": 0, "operation": "BatchExecuteStatement"});
    assert_eq!(
        send("POST", "/_emulator/faults", rule).await.unwrap().0,
        200
    );
    let (_, pending) = send("GET", "/_emulator/faults", json!({})).await.unwrap();
    assert_eq!(pending[0]["kind"], "abort_batch");
    assert_eq!(client.batch(&[INSERT]).await["Status"], "FAILED");
    let random = json!({"random": {"seed": 1, "throttle": 1.0}});
    assert_eq!(
        send("POST", "/_emulator/faults", random).await.unwrap().0,
        200
    );
    assert_eq!(
        client.refused("BatchExecuteStatement", call()).await.0,
        "ThrottlingException"
    );
    send("DELETE", "/_emulator/faults", json!({}))
        .await
        .unwrap();
    client.ok(INSERT).await;
    let (_, stats) = send("GET", "/_emulator/stats", json!({})).await.unwrap();
    assert_eq!(
        (
            &stats["faults"]["abort_batch"],
            &stats["faults"]["throttle"]
        ),
        (&json!(1), &json!(1))
    );
    for nonsense in [
        json!({"kind": "nonsense"}),
        json!([]),
        json!({"random": {"nonsense": 1}}),
    ] {
        assert_eq!(
            send("POST", "/_emulator/faults", nonsense).await.unwrap().0,
            400
        );
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let Some(client) = with_table().await else {
            return;
        };
        let random = RandomFaults {
            seed: 7,
            throttle: 0.2,
            lost_answer: 0.1,
            internal_error: 0.1,
            ..RandomFaults::default()
        };
        client.emulator.faults().set_random(Some(random));
        let mut answers = Vec::new();
        for _ in 0..60 {
            let answer = client
                .try_call("ListStatements", json!({"MaxResults": 1}))
                .await;
            answers.push(match answer {
                None => "lost".to_owned(),
                Some(Ok(_)) => "good".to_owned(),
                Some(Err((name, _))) => name,
            });
        }
        runs.push(answers);
    }
    assert_eq!(runs[0], runs[1]);
    for kind in [
        "lost",
        "good",
        "ThrottlingException",
        "InternalServerException",
    ] {
        assert!(runs[0].iter().any(|answer| answer == kind), "{kind}");
    }
}
