//! Transactions: what was aborted is not seen, what is open is waited for.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use tidegate_testkit::{Codec, Kafka, TransactionEnd};

use crate::pipeline::{Pipeline, events};

#[test]
fn aborted_transactions_are_not_seen_and_their_markers_are_covered() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("aborted", 2, &[]);
    kafka.produce(&topic, Codec::Lz4, events(0..10, 2));
    for first in [10, 20, 30, 40, 50] {
        let ending = match first % 20 {
            0 => TransactionEnd::Abort,
            _ => TransactionEnd::Commit,
        };
        kafka.transaction(&topic, ending, events(first..first + 10, 2));
    }
    kafka.transaction(&topic, TransactionEnd::Abort, events(60..70, 1));

    let pipeline = Pipeline::new(kafka, &topic);
    let status = pipeline.catch_up()["status"].take();
    assert_eq!(status["events"], 40);
    assert_eq!(status["lag"], json!({"0": 0, "1": 0}));
    pipeline.check_against(kafka);
    // The next run begins after the last marker.
    assert_eq!(pipeline.catch_up()["read"], 0);
}

#[test]
fn transactions_end_while_it_runs() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("live-transactions", 2, &[]);
    let pipeline = Pipeline::new(kafka, &topic);
    let mut run = pipeline.run();
    for first in [0, 10, 20] {
        kafka.transaction(&topic, TransactionEnd::Commit, events(first..first + 10, 2));
        kafka.transaction(&topic, TransactionEnd::Abort, events(900..910, 2));
    }
    run.until("the log is past the last marker", |_| {
        pipeline.positions() == pipeline.ends(kafka)
    });
    run.until("all is loaded", |_| pipeline.rows() == 30);
    run.stop();
    pipeline.check_against(kafka);
}

#[test]
fn an_open_transaction_holds_back_its_partition_and_not_the_run() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("open-transaction", 2, &[]);
    kafka.produce(&topic, Codec::None, events(0..10, 2));
    let open = kafka.begin_transaction(&topic, events(10..15, 1));
    kafka.produce(&topic, Codec::None, events(20..30, 2));

    let pipeline = Pipeline::new(kafka, &topic);
    pipeline.catch_up();
    // Of partition 0 only what was there before the transaction began.
    assert_eq!(pipeline.positions(), [(0, 5), (1, 10)].into());
    assert_eq!(pipeline.rows(), 15);
    open.end(TransactionEnd::Commit);
    pipeline.catch_up();
    assert_eq!(pipeline.rows(), 25);
    pipeline.check_against(kafka);
}

/// The body of an answer.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

#[test]
fn what_waits_for_the_end_of_a_transaction_is_lag_and_said_to_be_held() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in ["auto", "librdkafka"] {
        let topic = kafka.new_topic("held", 2, &[]);
        kafka.produce(&topic, Codec::None, events(0..10, 2));
        let open = kafka.begin_transaction(&topic, events(10..15, 1));
        kafka.produce(&topic, Codec::None, events(20..30, 2));
        let pipeline = Pipeline::new(kafka, &topic)
            .set("source.client", format!("{client:?}"))
            .set("http.listen", "127.0.0.1:0");
        let mut run = pipeline.run();
        run.until("it listens", |run| run.log().contains("address="));
        let log = run.log();
        let (_, address) = log.split_once("address=").unwrap();
        let address = address.split_whitespace().next().unwrap();
        let mut shows = |what: &str, events: i64, lag: Value, held: i64| {
            run.until(what, |_| {
                // It may still be starting.
                let status = get(address, "/v1/status");
                let status: Value = serde_json::from_str(&status).unwrap_or_default();
                let page = get(address, "/metrics");
                let metric = page
                    .lines()
                    .find(|line| line.starts_with("tidegate_lag_held_records{"))
                    .and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
                status["events"] == events
                    && status["lag"] == lag
                    && status["held"] == held
                    && metric == Some(held as f64)
            });
        };
        // Of partition 0 five records of the transaction, and five after it.
        shows("ten are held", 15, json!({"0": 10, "1": 0}), 10);
        open.end(TransactionEnd::Commit);
        shows("none is held", 25, json!({"0": 0, "1": 0}), 0);
        run.stop();
        pipeline.check_against(kafka);
    }
}
