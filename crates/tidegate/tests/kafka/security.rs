//! Settings of the client: passed through as they are, except those that would break exactly-once.

use std::time::Duration;

use tidegate_testkit::{Codec, Kafka, skip};

use crate::pipeline::{Pipeline, events};

fn property(pipeline: Pipeline, key: &str, value: &str) -> Pipeline {
    pipeline.set(&format!("source.properties.{key:?}"), format!("{value:?}"))
}

#[test]
fn a_name_and_a_password_reach_the_broker() {
    let Some(kafka) = Kafka::shared() else { return };
    let Some(sasl) = kafka.sasl() else {
        return skip("the Kafka that was found has no listener that the test knows a password for");
    };
    let topic = kafka.new_topic("sasl", 1, &[]);
    kafka.produce(&topic, Codec::None, events(0..10, 1));
    let with = |password: &str| {
        let settings = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", sasl.user),
            ("sasl.password", password),
        ];
        settings
            .into_iter()
            .fold(Pipeline::at(&sasl.brokers, &topic), |pipeline, (k, v)| {
                property(pipeline, k, v)
            })
    };
    let right = with(sasl.password);
    assert_eq!(right.catch_up()["read"], 10);
    right.check_against(kafka);

    let wrong = with("open-sesame").set("source.fail-after", "\"2s\"");
    let ended = wrong.try_catch_up();
    assert_eq!(ended.code, Some(75), "{}", ended.err);
    assert!(ended.err.contains("uthentication failed"), "{}", ended.err);
    assert!(!ended.err.contains("open-sesame"), "{}", ended.err);
}

#[test]
fn a_wrong_protocol_is_said_and_does_not_hang() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("plain", 1, &[]);
    let pipeline = Pipeline::new(kafka, &topic).set("source.fail-after", "\"2s\"");
    let ended = property(pipeline, "security.protocol", "SSL").try_catch_up();
    assert_eq!(ended.code, Some(75), "{}", ended.err);
    assert!(ended.err.contains("ssl://"), "{}", ended.err);
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
}

#[test]
fn settings_that_cannot_be_are_refused_before_anything_is_read() {
    for (key, value, says) in [
        ("security.protocol", "NONSENSE", "security.protocol"),
        ("no.such.setting", "1", "no.such.setting"),
        ("auto.offset.reset", "latest", "on-missing-offsets"),
        ("group.id", "mine", "set `group` instead"),
    ] {
        let pipeline = property(Pipeline::at("127.0.0.1:9", "orders"), key, value);
        let ended = pipeline.try_catch_up();
        assert_eq!(ended.code, Some(78), "{key}: {}", ended.err);
        assert!(ended.err.contains(says), "{key}: {}", ended.err);
    }
}
