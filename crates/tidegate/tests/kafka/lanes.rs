//! Partitions that pause, that get nothing, and that are added: what is late, and what is final.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use tidegate_testkit::{Codec, Kafka, ProducerRecord};

use crate::pipeline::{Pipeline, event};

/// Events at these seconds of one partition.
fn at(
    partition: i32,
    first_id: i64,
    seconds: impl IntoIterator<Item = i64>,
) -> Vec<ProducerRecord> {
    let numbered = seconds.into_iter().zip(first_id..);
    numbered
        .map(|(second, id)| ProducerRecord::new(partition, event(id, second)))
        .collect()
}

fn late(pipeline: &Pipeline) -> Option<u64> {
    pipeline.log()?["totals"]["late"].as_u64()
}

/// Events in final windows.
fn in_windows(pipeline: &Pipeline) -> i64 {
    pipeline
        .try_query("SELECT coalesce(sum(n), 0)::BIGINT AS n FROM per_minute")
        .and_then(|rows| rows[0]["n"].as_i64())
        .unwrap_or(0)
}

#[test]
fn a_backlog_after_a_pause_of_all_partitions_is_not_late() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in ["auto", "librdkafka"] {
        let topic = kafka.new_topic("backlog", 3, &[]);
        let pipeline = Pipeline::new(kafka, &topic)
            .set("event-time.idle-after", "\"6s\"")
            .set("source.client", format!("{client:?}"));
        let mut run = pipeline.run();
        // Each at another time, so that it shows when all are idle: they follow the one that is
        // furthest.
        for partition in 0..3 {
            let second = 60 * i64::from(partition);
            kafka.produce(&topic, Codec::None, at(partition, second, [second]));
        }
        run.until("all are idle", |_| {
            let log = pipeline.log().unwrap_or_default();
            let watermarks = log["watermarks"].as_object().cloned().unwrap_or_default();
            let mut values: Vec<&Value> = watermarks.values().collect();
            values.dedup();
            let idle = log["idle"].as_object().map_or(0, |idle| idle.len());
            watermarks.len() == 3 && values.len() == 1 && idle >= 2
        });
        // What was held up for an hour, in one after the other.
        for partition in 0..3 {
            let seconds = (180..3600).step_by(60);
            let records = at(partition, 1000 * i64::from(1 + partition), seconds);
            kafka.produce(&topic, Codec::None, records);
            let read = 3 + 57 * (1 + partition as u64);
            run.until("it is read", |_| pipeline.read() == read);
        }
        run.until("the windows are final", |_| {
            in_windows(&pipeline) >= 3 + 3 * 55
        });
        assert_eq!(late(&pipeline), Some(0), "{client}");
        run.stop();
        pipeline.check_against(kafka);
    }
}

#[test]
fn windows_that_are_final_stay_when_partitions_are_added() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("final", 1, &[]);
    kafka.produce(&topic, Codec::None, at(0, 0, 0..180));
    let pipeline = Pipeline::new(kafka, &topic).set("event-time.idle-after", "\"1h\"");
    let windows = "SELECT strftime(window_start, '%H:%M') AS start, n FROM per_minute ORDER BY 1";
    let check = |when: &str| {
        let shown: Vec<(String, i64)> = pipeline
            .query(windows)
            .iter()
            .map(|row| {
                (
                    row["start"].as_str().unwrap().to_owned(),
                    row["n"].as_i64().unwrap(),
                )
            })
            .collect();
        let expected = [("10:00".to_owned(), 60), ("10:01".to_owned(), 60)];
        assert_eq!(shown, expected, "{when}");
    };
    assert_eq!(pipeline.catch_up()["read"], 180);
    check("before");
    // While the job is down.
    kafka.add_partitions(&topic, 2);
    assert_eq!(pipeline.catch_up()["read"], 0);
    assert_eq!(pipeline.positions().len(), 2);
    check("with an empty partition");
    // While it runs; and with old events in both.
    let mut run = pipeline.run();
    kafka.add_partitions(&topic, 3);
    kafka.produce(&topic, Codec::None, at(1, 1000, [10, 175]));
    kafka.produce(&topic, Codec::None, at(2, 2000, [20, 175]));
    run.until("they are read", |_| pipeline.rows() == 184);
    run.stop();
    check("with old events");
    assert_eq!(late(&pipeline), Some(2));
    pipeline.check_against(kafka);
}

#[test]
fn short_runs_finish_windows_though_a_partition_gets_nothing() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("cron", 2, &[]);
    let pipeline = Pipeline::new(kafka, &topic);
    let mut produced = 0;
    for run in 0..20 {
        let seconds = (0..6).map(|event| 300 * run + 20 * event);
        kafka.produce(&topic, Codec::None, at(0, produced, seconds));
        produced += 6;
        assert_eq!(pipeline.catch_up()["read"], 6);
        if in_windows(&pipeline) >= produced - 6 && run > 3 {
            break;
        }
    }
    assert!(in_windows(&pipeline) >= produced - 6, "{produced}");
    assert_eq!(late(&pipeline), Some(0));
    pipeline.check_against(kafka);
}

#[test]
fn what_came_while_the_process_stood_still_is_not_late() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in ["auto", "librdkafka"] {
        let topic = kafka.new_topic("asleep", 3, &[]);
        let pipeline = Pipeline::new(kafka, &topic)
            .set("event-time.idle-after", "\"3s\"")
            .set("source.client", format!("{client:?}"));
        let mut run = pipeline.run();
        for partition in 0..3 {
            kafka.produce(&topic, Codec::None, at(partition, 0, [0]));
        }
        run.until("they are read", |_| pipeline.read() == 3);
        // Longer than `idle-after`, with an hour of events in each.
        run.stand_still(|| {
            for partition in 0..3 {
                let seconds = (60..3600).step_by(60);
                let records = at(partition, 1000 * i64::from(1 + partition), seconds);
                kafka.produce(&topic, Codec::None, records);
            }
            thread::sleep(Duration::from_secs(8));
        });
        run.until("it is read", |_| pipeline.read() == 3 + 3 * 59);
        run.until("the windows are final", |_| {
            in_windows(&pipeline) >= 3 + 3 * 57
        });
        assert_eq!(late(&pipeline), Some(0), "{client}");
        run.stop();
        pipeline.check_against(kafka);
    }
}
