//! Transactions: what was aborted is not seen, what is open is waited for.

use tidegate_testkit::{Compression, Ending, Kafka};

use crate::pipeline::{Pipeline, events};

#[test]
fn aborted_transactions_are_not_seen_and_their_markers_are_covered() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("aborted", 2, &[]);
    kafka.produce(&topic, Compression::Lz4, events(0..10, 2));
    for first in [10, 20, 30, 40, 50] {
        let ending = match first % 20 {
            0 => Ending::Abort,
            _ => Ending::Commit,
        };
        kafka.transaction(&topic, ending, events(first..first + 10, 2));
    }
    kafka.transaction(&topic, Ending::Abort, events(60..70, 1));

    let pipeline = Pipeline::new(kafka, &topic);
    let status = pipeline.catch_up()["status"].take();
    assert_eq!(status["events"], 40);
    assert_eq!(status["lag"], serde_json::json!({"0": 0, "1": 0}));
    pipeline.check_against(kafka);
    // The next run begins behind the last marker.
    assert_eq!(pipeline.catch_up()["read"], 0);
}

#[test]
fn transactions_end_while_it_runs() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("live-transactions", 2, &[]);
    let pipeline = Pipeline::new(kafka, &topic);
    let mut run = pipeline.run();
    for first in [0, 10, 20] {
        kafka.transaction(&topic, Ending::Commit, events(first..first + 10, 2));
        kafka.transaction(&topic, Ending::Abort, events(900..910, 2));
    }
    run.until("the log is behind the last marker", |_| {
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
    kafka.produce(&topic, Compression::None, events(0..10, 2));
    let open = kafka.begin_transaction(&topic, events(10..15, 1));
    kafka.produce(&topic, Compression::None, events(20..30, 2));

    let pipeline = Pipeline::new(kafka, &topic);
    pipeline.catch_up();
    // Of partition 0 only what was there before the transaction began.
    assert_eq!(pipeline.positions(), [(0, 5), (1, 10)].into());
    assert_eq!(pipeline.rows(), 15);
    open.end(Ending::Commit);
    pipeline.catch_up();
    assert_eq!(pipeline.rows(), 25);
    pipeline.check_against(kafka);
}
