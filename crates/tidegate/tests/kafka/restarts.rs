//! The log says where to go on, whatever happened to the process or to the consumer group.

use std::thread;
use std::time::Duration;

use tidegate_testkit::{Codec, Kafka};

use crate::pipeline::{Pipeline, events};

#[test]
fn the_log_counts_and_not_the_group() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("goes-on", 2, &[]);
    let pipeline = Pipeline::new(kafka, &topic);
    let groups = [
        None,
        Some([(0, 0), (1, 0)]),   // somebody reset the group
        Some([(0, 25), (1, 30)]), // somebody skipped what comes next
    ];
    for (first, group) in (0..).step_by(20).zip(groups) {
        if let Some(offsets) = group {
            kafka.commit(&pipeline.group, &topic, &offsets.into());
        }
        kafka.produce(&topic, Codec::Lz4, events(first..first + 20, 2));
        assert_eq!(pipeline.catch_up()["read"], 20);
        pipeline.check_against(kafka);
        // And the group shows what is committed.
        assert_eq!(
            kafka.committed(&pipeline.group, &topic),
            pipeline.positions()
        );
    }
}

#[test]
fn the_group_shows_the_lag_while_it_runs() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("lag", 2, &[]);
    kafka.produce(&topic, Codec::None, events(0..100, 2));
    let pipeline = Pipeline::new(kafka, &topic);
    let mut run = pipeline.run();
    run.until("the group is where the log is", |_| {
        kafka.committed(&pipeline.group, &topic) == [(0, 50), (1, 50)].into()
    });
    kafka.produce(&topic, Codec::None, events(100..120, 2));
    run.until("the group has moved", |_| {
        kafka.committed(&pipeline.group, &topic) == [(0, 60), (1, 60)].into()
    });
    run.stop();
    // While nobody reads, the lag is what comes.
    kafka.produce(&topic, Codec::None, events(120..127, 1));
    let committed = kafka.committed(&pipeline.group, &topic);
    let lag: i64 = pipeline
        .ends(kafka)
        .iter()
        .map(|(id, end)| end - committed[id])
        .sum();
    assert_eq!(lag, 7);
}

/// Numbers that look random, from a seed.
fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    *state >> 33
}

/// Records of a topic that fills while the job is killed.
const RECORDS: i64 = 16_000;

#[test]
fn killed_at_any_instant_it_goes_on_without_loss_or_double() {
    let Some(kafka) = Kafka::shared() else { return };
    for seed in 0..5 {
        let topic = kafka.new_topic("killed", 4, &[]);
        let pipeline = Pipeline::new(kafka, &topic)
            .set("batch.interval", "\"20ms\"")
            .set("load.interval", "\"50ms\"");
        let mut state = seed;
        thread::scope(|scope| {
            scope.spawn(|| {
                for first in (0..RECORDS).step_by(500) {
                    kafka.produce(&topic, Codec::Zstd, events(first..first + 500, 4));
                }
            });
            for _ in 0..6 {
                let before = pipeline.read();
                let mut run = pipeline.run();
                if !random(&mut state).is_multiple_of(4) {
                    run.until("it commits", |_| pipeline.read() > before);
                }
                thread::sleep(Duration::from_millis(random(&mut state) % 100));
                run.kill();
                if pipeline.read() > RECORDS as u64 / 2 {
                    break;
                }
            }
        });
        pipeline.catch_up();
        assert_eq!(pipeline.read(), RECORDS as u64, "seed {seed}");
        pipeline.check_against(kafka);
    }
}
