//! Many partitions, empty ones, and ones that come later.

use serde_json::json;
use tidegate_testkit::{Codec, Kafka, ProducerRecord};

use crate::pipeline::{Pipeline, event, events};

#[test]
fn empty_partitions_do_not_hold_up_the_windows() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("many", 32, &[]);
    // Three minutes of events in five of the partitions.
    let records = (0..1800).map(|n| {
        let partition = [0, 3, 7, 19, 31][n as usize % 5];
        ProducerRecord::new(partition, event(n, n / 10))
    });
    kafka.produce(&topic, Codec::Snappy, records);
    let pipeline = Pipeline::new(kafka, &topic);
    let mut run = pipeline.run();
    run.until("all is loaded", |_| pipeline.rows() == 1800);
    // One partition goes on, minutes later. The others, and the empty ones, are idle and follow it.
    let mut second = 600;
    let windows = "SELECT strftime(window_start, '%H:%M') AS start, n, total::DOUBLE AS total \
                   FROM per_minute WHERE window_start < '2026-03-01 10:05:00' ORDER BY 1";
    run.until("the windows are final", |_| {
        second += 1;
        kafka.produce(
            &topic,
            Codec::None,
            [ProducerRecord::new(3, event(second, second))],
        );
        pipeline.query(windows).len() == 3
    });
    let total = |ids: std::ops::Range<i64>| ids.map(|id| (1 + id % 100) as f64 + 0.25).sum::<f64>();
    assert_eq!(
        pipeline.query(windows),
        [
            json!({"start": "10:00", "n": 600, "total": total(0..600)}),
            json!({"start": "10:01", "n": 600, "total": total(600..1200)}),
            json!({"start": "10:02", "n": 600, "total": total(1200..1800)}),
        ]
    );
    run.stop();
    assert_eq!(pipeline.positions().len(), 32);
    pipeline.check_against(kafka);
}

#[test]
fn where_all_partitions_pause_the_windows_follow_the_fastest() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("pauses", 3, &[]);
    // One partition is minutes behind the other, and the third is empty; then nothing more comes.
    let records = (0..40)
        .map(|n| ProducerRecord::new(0, event(n, n)))
        .chain((40..240).map(|n| ProducerRecord::new(1, event(n, n - 40))));
    kafka.produce(&topic, Codec::None, records);
    let pipeline = Pipeline::new(kafka, &topic);
    let mut run = pipeline.run();
    let windows = "SELECT strftime(window_start, '%H:%M') AS start, n FROM per_minute ORDER BY 1";
    run.until("the windows are final", |_| {
        pipeline
            .try_query(windows)
            .is_some_and(|rows| rows.len() == 3)
    });
    assert_eq!(
        pipeline.query(windows),
        [
            json!({"start": "10:00", "n": 100}),
            json!({"start": "10:01", "n": 60}),
            json!({"start": "10:02", "n": 60}),
        ]
    );
    run.stop();
    pipeline.check_against(kafka);
}

#[test]
fn partitions_that_are_added_are_read_from_their_beginning() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("grows", 1, &[]);
    kafka.produce(&topic, Codec::None, events(0..10, 1));
    // What is there is not wanted; what comes later is, in whichever partition.
    let pipeline = Pipeline::new(kafka, &topic).set("source.start", "latest");
    let mut run = pipeline.run();
    run.until("the job is founded", |_| pipeline.positions().len() == 1);
    kafka.add_partitions(&topic, 3);
    kafka.produce(&topic, Codec::None, events(10..40, 3));
    run.until("the new ones are read", |_| pipeline.rows() == 30);
    run.stop();
    assert_eq!(pipeline.positions(), pipeline.ends(kafka));

    // Those that come while nobody looks, too.
    kafka.add_partitions(&topic, 4);
    kafka.produce(&topic, Codec::None, events(40..80, 4));
    assert_eq!(pipeline.catch_up()["read"], 40);
    assert_eq!(pipeline.positions(), pipeline.ends(kafka));
    let ids: Vec<i64> = pipeline
        .query("SELECT id FROM events ORDER BY id")
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, (10..80).collect::<Vec<_>>());
    pipeline.verify();
}
