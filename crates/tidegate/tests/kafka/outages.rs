//! Brokers that are not there.

use std::net::TcpListener;
use std::time::Duration;

use tidegate_testkit::{Codec, Kafka, Stop};

use crate::pipeline::{Pipeline, events};

const LOST: &str = "no Kafka broker is reachable";
const FOUND: &str = "a Kafka broker is reachable again";

/// An address at which nobody answers.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn a_broker_that_restarts_loses_and_doubles_nothing() {
    let Some(mut kafka) = Kafka::start() else {
        return;
    };
    let topic = kafka.new_topic("outage", 4, &[]);
    kafka.produce(&topic, Codec::Lz4, events(0..60_000, 4));
    // Small steps, so that the broker goes away in the middle of it.
    let pipeline = Pipeline::new(&kafka, &topic)
        .set("batch.max-rows", 1000)
        .set("source.read-ahead", "\"1MiB\"");
    let mut run = pipeline.run();
    run.until("the first commits", |_| pipeline.read() > 0);
    kafka.stop(Stop::Graceful);
    run.until("it has said so", |run| run.log().contains(LOST));
    kafka.start_again();
    // An outage that begins before it has seen that the broker is back is the same one to it.
    run.until("it has said that it is back", |run| {
        run.log().contains(FOUND)
    });
    let before = pipeline.read().max(30_000);
    kafka.produce(&topic, Codec::Zstd, events(60_000..90_000, 4));
    run.until("further commits", |_| pipeline.read() > before);
    kafka.stop(Stop::Hard);
    run.until("it has said so again", |run| {
        run.log().matches(LOST).count() == 2
    });
    kafka.start_again();
    kafka.produce(&topic, Codec::Lz4, events(90_000..91_000, 4));
    run.until("all is read", |_| pipeline.read() == 91_000);
    // It says so when it next looks, which can be after the last record.
    run.until("it has said again that it is back", |run| {
        run.log().matches(FOUND).count() == 2
    });
    let ended = run.stop();
    assert_eq!(ended.err.matches(LOST).count(), 2, "{}", ended.err);
    assert_eq!(ended.err.matches(FOUND).count(), 2, "{}", ended.err);
    pipeline.check_against(&kafka);
}

#[test]
fn partitions_that_move_between_brokers_are_followed() {
    for client in ["auto", "librdkafka"] {
        let Some(mut kafka) = Kafka::start_two() else {
            return;
        };
        let topic = kafka.new_topic("moves", 4, &[]);
        kafka.produce(&topic, Codec::Lz4, events(0..40_000, 4));
        let pipeline = Pipeline::new(&kafka, &topic)
            .set("batch.max-rows", 1000)
            .set("source.read-ahead", "\"1MiB\"")
            .set("source.client", format!("{client:?}"));
        let mut run = pipeline.run();
        run.until("the first commits", |_| pipeline.read() > 0);
        kafka.stop_second(Stop::Hard);
        kafka.produce(&topic, Codec::Zstd, events(40_000..60_000, 4));
        run.until("the other broker has all", |_| pipeline.read() == 60_000);
        kafka.start_second_again();
        // While it gets its partitions back.
        for step in 0..20 {
            let from = 60_000 + 1000 * step;
            kafka.produce(&topic, Codec::Lz4, events(from..from + 1000, 4));
            std::thread::sleep(Duration::from_millis(200));
        }
        run.until("all is read", |_| pipeline.read() == 80_000);
        let ended = run.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        // Leader epochs have changed, and nothing was cut off.
        assert!(!ended.err.contains("lost these offsets"), "{}", ended.err);
        pipeline.check_against(&kafka);
    }
}

#[test]
fn a_broker_that_is_not_there_at_the_start_is_waited_for() {
    let Some(mut kafka) = Kafka::start() else {
        return;
    };
    let topic = kafka.new_topic("not-there", 1, &[]);
    kafka.produce(&topic, Codec::None, events(0..100, 1));
    kafka.stop(Stop::Graceful);
    let pipeline = Pipeline::new(&kafka, &topic);
    let mut run = pipeline.start(&["run", "--until-caught-up", "--summary", "json"]);
    run.until("it has said so", |run| run.log().contains(LOST));
    // So long that it has tried several times to connect.
    run.stays("one word of it", Duration::from_secs(3), |run| {
        run.log().matches(LOST).count() == 1
    });
    kafka.start_again();
    run.until("it has found it", |run| run.log().contains(FOUND));
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.err.matches(LOST).count(), 1, "{}", ended.err);
    pipeline.check_against(&kafka);
}

#[test]
fn with_fail_after_it_gives_up_and_says_what_to_do() {
    let nobody = nobody();
    let pipeline = Pipeline::at(&nobody, "orders").set("source.fail-after", "\"2s\"");
    let ended = pipeline.try_catch_up();
    assert_eq!(ended.code, Some(75), "{}", ended.err);
    for part in [nobody.as_str(), "unreachable", "source.fail-after"] {
        assert!(ended.err.contains(part), "no {part} in: {}", ended.err);
    }
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
}

#[test]
fn it_ends_when_asked_to_although_nobody_answers() {
    let pipeline = Pipeline::at(&nobody(), "orders");
    let mut run = pipeline.run();
    run.until("it has said so", |run| run.log().contains(LOST));
    let ended = run.stop();
    assert!(ended.took < Duration::from_secs(15), "{:?}", ended.took);
}

#[test]
fn it_ends_when_asked_to_although_the_broker_has_gone() {
    let Some(mut kafka) = Kafka::start() else {
        return;
    };
    let topic = kafka.new_topic("goes", 2, &[]);
    kafka.produce(&topic, Codec::None, events(0..100, 2));
    let pipeline = Pipeline::new(&kafka, &topic);
    let mut run = pipeline.run();
    run.until("all is read", |_| pipeline.read() == 100);
    // The group is told a moment later; then nobody is there any more.
    kafka.stop(Stop::Hard);
    let ended = run.stop();
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
    assert_eq!(pipeline.rows(), 100);
    kafka.start_again();
    assert_eq!(pipeline.catch_up()["read"], 0);
    pipeline.check_against(&kafka);
}

#[test]
fn a_topic_that_is_not_there_is_waited_for_as_long_as_configured() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = format!("missing-{}", std::process::id());
    let pipeline = Pipeline::new(kafka, &topic).set("source.topic-wait", "\"1s\"");
    let ended = pipeline.try_catch_up();
    assert_eq!(ended.code, Some(75), "{}", ended.err);
    assert!(ended.err.contains("does not exist"), "{}", ended.err);

    let pipeline = Pipeline::new(kafka, &topic);
    let mut run = pipeline.start(&["run", "--until-caught-up", "--summary", "json"]);
    run.until("it has said so", |run| run.log().contains("waiting for it"));
    kafka.create_topic(&topic, 1, &[]);
    assert_eq!(run.end().code, Some(0));
    assert_eq!(pipeline.positions(), [(0, 0)].into());
}

#[test]
fn a_topic_that_is_deleted_while_it_is_read_is_noticed() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("deleted", 2, &[]);
    kafka.produce(&topic, Codec::None, events(0..100, 2));
    let pipeline = Pipeline::new(kafka, &topic).set("source.topic-wait", "\"1s\"");
    let mut run = pipeline.run();
    run.until("all is read", |_| pipeline.read() == 100);
    kafka.delete_topic(&topic);
    let ended = run.end();
    assert_eq!(ended.code, Some(75), "{}", ended.err);
    assert!(ended.err.contains("does not exist"), "{}", ended.err);
}

#[test]
fn a_topic_that_comes_back_with_fewer_partitions_stops_the_run() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("shrinks", 3, &[]);
    kafka.produce(&topic, Codec::None, events(0..90, 3));
    let pipeline = Pipeline::new(kafka, &topic);
    let mut run = pipeline.run();
    run.until("all is read", |_| pipeline.read() == 90);
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &[]);
    let ended = run.end();
    assert_ne!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains(&topic), "{}", ended.err);
}
