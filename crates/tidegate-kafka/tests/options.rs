//! What the Kafka source refuses before it contacts a cluster.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::time::{Duration, Instant};

use tidegate_base::clock::Clock;
use tidegate_kafka::producer::ProduceOptions;
use tidegate_kafka::{KafkaOptions, KafkaSource, KafkaStart};
use tidegate_source::{ChunkLimits, Resume, ResumePartition, Source, SourceError, SourceEvent};

fn options() -> KafkaOptions {
    KafkaOptions {
        brokers: "127.0.0.1:1".to_owned(),
        topic: "orders".to_owned(),
        group: "tidegate".to_owned(),
        ..KafkaOptions::default()
    }
}

fn open(options: &KafkaOptions, resume: &Resume) -> Result<KafkaSource, SourceError> {
    KafkaSource::open(options, resume, ChunkLimits::default(), &Clock::System)
}

fn refused(options: &KafkaOptions, resume: &Resume) -> String {
    match open(options, resume) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was not refused"),
    }
}

#[test]
fn properties_that_would_break_exactly_once_are_refused() {
    for key in [
        "enable.auto.commit",
        "auto.offset.reset",
        "group.id",
        "bootstrap.servers",
    ] {
        let mut options = options();
        options.properties.insert(key.to_owned(), "x".to_owned());
        let message = refused(&options, &Resume::default());
        assert!(
            message.contains(key) && message.contains("refused"),
            "{message}"
        );
    }
}

#[test]
fn properties_that_would_lose_what_a_producer_sends_are_refused() {
    for key in ["acks", "enable.idempotence", "delivery.report.only.error"] {
        let mut options = ProduceOptions {
            brokers: "127.0.0.1:1".to_owned(),
            topics: vec!["orders".to_owned()],
            ..ProduceOptions::default()
        };
        options.check().unwrap();
        options.properties.insert(key.to_owned(), "x".to_owned());
        let message = options.check().unwrap_err().to_string();
        assert!(
            message.contains(key) && message.contains("refused"),
            "{message}"
        );
    }
}

#[test]
fn properties_that_do_not_exist_are_refused_by_name() {
    for (key, value) in [("no.such.property", "1"), ("fetch.min.bytes", "many")] {
        let mut options = options();
        options.properties.insert(key.to_owned(), value.to_owned());
        let message = refused(&options, &Resume::default());
        assert!(message.contains(key), "{message}");
    }
}

#[test]
fn empty_and_negative_values_are_refused() {
    let none = Resume::default();
    assert!(
        refused(
            &KafkaOptions {
                topic: " ".to_owned(),
                ..options()
            },
            &none
        )
        .contains("topic")
    );
    assert!(
        refused(
            &KafkaOptions {
                group: String::new(),
                ..options()
            },
            &none
        )
        .contains("group")
    );
    let start = KafkaStart::Offsets([(0, -1)].into());
    assert!(refused(&KafkaOptions { start, ..options() }, &none).contains("start"));
}

#[test]
fn a_commit_log_of_another_topic_is_refused() {
    let partition = ResumePartition {
        name: "payments/0".to_owned(),
        lane: 0,
        offset: 7,
        identity: None,
    };
    let resume = Resume {
        partitions: [(0, partition)].into(),
    };
    let message = refused(&options(), &resume);
    assert!(
        message.contains("`payments/0`") && message.contains("`orders`"),
        "{message}"
    );
}

#[test]
fn an_unreachable_broker_is_an_error_only_where_configured() {
    let mut source = open(&options(), &Resume::default()).unwrap();
    let event = source.poll(Duration::from_millis(50)).unwrap();
    assert!(matches!(event, SourceEvent::Nothing), "{event:?}");

    let fail_after = Some(Duration::from_millis(100));
    let strict = KafkaOptions {
        fail_after,
        ..options()
    };
    let mut source = open(&strict, &Resume::default()).unwrap();
    let began = Instant::now();
    let error = loop {
        assert!(began.elapsed() < Duration::from_secs(60));
        match source.poll(Duration::from_millis(50)) {
            Ok(event) => assert!(matches!(event, SourceEvent::Nothing), "{event:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
}
