//! The Kafka source and the producer against a real broker.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tidegate_base::chunk::Payload;
use tidegate_base::clock::Clock;
use tidegate_generator::{GeneratorOptions, GeneratorSource};
use tidegate_kafka::producer::{ProduceOptions, produce};
use tidegate_kafka::{KafkaClient, KafkaOptions, KafkaSource, KafkaStart, MissingOffsets};
use tidegate_source::{ChunkLimits, Resume, Source, SourceError, SourceEvent};
use tidegate_testkit::taken::{SourceOutput, read_all, take_until};
use tidegate_testkit::{Codec, Kafka, ProducerRecord, Stop, TransactionEnd};

/// What fetches: all that matters is checked with both.
const CLIENTS: [KafkaClient; 2] = [KafkaClient::Auto, KafkaClient::Librdkafka];

fn options(kafka: &Kafka, topic: &str, client: KafkaClient) -> KafkaOptions {
    KafkaOptions {
        client,
        brokers: kafka.brokers().to_owned(),
        topic: topic.to_owned(),
        group: format!("group-{topic}"),
        discover_every: Duration::from_millis(500),
        ..KafkaOptions::default()
    }
}

fn opened(options: &KafkaOptions, resume: &Resume) -> Box<dyn Source> {
    let limits = ChunkLimits::default();
    Box::new(KafkaSource::open(options, resume, limits, &Clock::System).unwrap())
}

/// Takes what is there when the source is opened.
fn catch_up(options: &KafkaOptions, resume: &Resume) -> Result<SourceOutput, SourceError> {
    let mut taken = SourceOutput::default();
    take_until(opened(options, resume).as_mut(), &mut taken, |t| {
        t.caught_up
    })?;
    Ok(taken)
}

#[test]
fn records_of_all_kinds_come_once_and_go_on_where_they_stopped() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in CLIENTS {
        let topic = kafka.new_topic("kinds", 3, &[]);
        kafka.produce(
            &topic,
            Codec::Zstd,
            [
                ProducerRecord::new(0, "a").timestamp(1_764_000_000_123),
                ProducerRecord::tombstone(0, "key"),
                ProducerRecord::new(0, ""),
                ProducerRecord::new(2, "b"),
            ],
        );
        let options = options(kafka, &topic, client);
        let taken = catch_up(&options, &Resume::default()).unwrap();
        let kinds: Vec<_> = taken.records[&0]
            .iter()
            .map(|(o, k, p)| (*o, *k, p.len()))
            .collect();
        assert_eq!(
            kinds,
            [
                (0, Payload::Bytes, 1),
                (1, Payload::Tombstone, 0),
                (2, Payload::Bytes, 0)
            ]
        );
        assert_eq!(
            taken.ends,
            [(0, 3), (1, 0), (2, 1)].into(),
            "empty partitions are known too"
        );

        kafka.produce(
            &topic,
            Codec::Snappy,
            [ProducerRecord::new(0, "c"), ProducerRecord::new(1, "d")],
        );
        let rest = catch_up(&options, &taken.resume()).unwrap();
        assert_eq!(
            (rest.texts(0), rest.texts(1)),
            (vec!["c".to_owned()], vec!["d".to_owned()])
        );
        assert_eq!(rest.ends, [(0, 4), (1, 1), (2, 1)].into());
    }
}

#[test]
fn aborted_transactions_are_not_seen_and_markers_are_covered() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in CLIENTS {
        let topic = kafka.new_topic("transactions", 1, &[]);
        kafka.transaction(
            &topic,
            TransactionEnd::Commit,
            [ProducerRecord::new(0, "1"), ProducerRecord::new(0, "2")],
        );
        kafka.transaction(
            &topic,
            TransactionEnd::Abort,
            [ProducerRecord::new(0, "never")],
        );
        let mut source = opened(&options(kafka, &topic, client), &Resume::default());
        let mut taken = SourceOutput::default();
        take_until(source.as_mut(), &mut taken, |t| {
            t.caught_up && t.ends.get(&0) == Some(&5)
        })
        .unwrap();
        assert_eq!(taken.texts(0), ["1", "2"]);
        assert_eq!(source.lag(), [(0, 0)].into());
    }
}

/// A restart decides about what it has not read yet, by what it is told then.
#[test]
fn records_of_open_transactions_may_be_read_in_one_run_and_not_in_the_next() {
    let Some(kafka) = Kafka::shared() else { return };
    // The end of a transaction is known to the partition a little later.
    let read = |options: &KafkaOptions, resume: &Resume, records: usize| {
        let mut taken = SourceOutput::default();
        let mut source = opened(options, resume);
        take_until(source.as_mut(), &mut taken, |t| {
            t.caught_up && t.texts(0).len() >= records
        })
        .unwrap();
        taken
    };
    for client in CLIENTS {
        let topic = kafka.new_topic("isolation", 1, &[]);
        let committed = options(kafka, &topic, client);
        let mut all = options(kafka, &topic, client);
        let isolation = ("isolation.level".to_owned(), "read_uncommitted".to_owned());
        all.properties.extend([isolation]);
        kafka.transaction(&topic, TransactionEnd::Abort, [ProducerRecord::new(0, "1")]);
        let records = [ProducerRecord::new(0, "2"), ProducerRecord::new(0, "3")];
        let open = kafka.begin_transaction(&topic, records);
        let first = read(&all, &Resume::default(), 3);
        assert_eq!(first.texts(0), ["1", "2", "3"], "{client:?}");

        // The last record that was read is in the middle of a transaction that is aborted later.
        open.end(TransactionEnd::Abort);
        kafka.transaction(&topic, TransactionEnd::Abort, [ProducerRecord::new(0, "4")]);
        kafka.transaction(
            &topic,
            TransactionEnd::Commit,
            [ProducerRecord::new(0, "5")],
        );
        let second = read(&committed, &first.resume(), 1);
        assert_eq!(second.texts(0), ["5"], "{client:?}");

        kafka.transaction(&topic, TransactionEnd::Abort, [ProducerRecord::new(0, "6")]);
        kafka.transaction(
            &topic,
            TransactionEnd::Commit,
            [ProducerRecord::new(0, "7")],
        );
        let third = read(&all, &second.resume(), 2);
        assert_eq!(third.texts(0), ["6", "7"], "{client:?}");
    }
}

#[test]
fn a_marker_that_another_leader_wrote_is_no_other_history() {
    for client in CLIENTS {
        let Some(mut kafka) = Kafka::start() else {
            return;
        };
        let topic = kafka.new_topic("marker", 1, &[]);
        let open = kafka.begin_transaction(&topic, [ProducerRecord::new(0, "1")]);
        // What was written ends the leader's epoch; the marker is in another one.
        kafka.stop(Stop::Hard);
        kafka.start_again();
        open.end(TransactionEnd::Commit);
        let options = options(&kafka, &topic, client);
        let mut taken = SourceOutput::default();
        take_until(
            opened(&options, &Resume::default()).as_mut(),
            &mut taken,
            |t| t.caught_up && t.ends.get(&0) == Some(&2),
        )
        .unwrap();
        kafka.produce(&topic, Codec::None, [ProducerRecord::new(0, "2")]);
        let mut source = opened(&options, &taken.resume());
        let mut rest = SourceOutput::default();
        take_until(source.as_mut(), &mut rest, |t| t.caught_up).unwrap();
        assert_eq!(rest.texts(0), ["2"], "{client:?}");
        assert_eq!(source.replaced(), 0, "{client:?}");
    }
}

#[test]
fn the_start_is_latest_or_given_and_only_of_a_new_job() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in CLIENTS {
        let topic = kafka.new_topic("starts", 2, &[]);
        let records = (0..10).map(|i| ProducerRecord::new(i % 2, format!("{i}")));
        kafka.produce(&topic, Codec::None, records);
        let given = KafkaStart::Offsets([(1, 3)].into());
        let given = KafkaOptions {
            start: given,
            ..options(kafka, &topic, client)
        };
        let taken = catch_up(&given, &Resume::default()).unwrap();
        assert_eq!(
            (taken.texts(0).len(), taken.texts(1)),
            (5, vec!["7".to_owned(), "9".to_owned()])
        );

        let latest = KafkaOptions {
            start: KafkaStart::Latest,
            ..options(kafka, &topic, client)
        };
        let mut source = opened(&latest, &Resume::default());
        let mut taken = SourceOutput::default();
        take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
        assert!(taken.records.values().all(Vec::is_empty));
        assert_eq!(taken.ends, [(0, 5), (1, 5)].into());
        drop(source);
        // What comes while nobody reads is read all the same.
        kafka.produce(&topic, Codec::None, [ProducerRecord::new(0, "x")]);
        let rest = catch_up(&latest, &taken.resume()).unwrap();
        assert_eq!(rest.texts(0), ["x"]);
    }
}

#[test]
fn expired_offsets_are_an_error_or_counted() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in CLIENTS {
        let topic = kafka.new_topic("expired", 1, &[]);
        kafka.produce(
            &topic,
            Codec::None,
            (0..10).map(|i| ProducerRecord::new(0, format!("{i}"))),
        );
        let fail = KafkaOptions {
            topic_wait: None,
            ..options(kafka, &topic, client)
        };
        let mut resume = catch_up(&fail, &Resume::default()).unwrap().resume();
        resume.partitions.get_mut(&0).unwrap().offset = 2;
        kafka.delete_records(&topic, 0, 6);
        let error = catch_up(&fail, &resume).unwrap_err();
        assert!(
            matches!(
                error,
                SourceError::OffsetsGone {
                    asked: 2,
                    low: 6,
                    ..
                }
            ),
            "{error}"
        );

        let count = KafkaOptions {
            on_missing_offsets: MissingOffsets::Earliest,
            ..fail
        };
        let mut source = opened(&count, &resume);
        let (mut gone, mut taken) = (0, SourceOutput::default());
        while !taken.caught_up {
            let event = source.poll(Duration::from_millis(50)).unwrap();
            if let SourceEvent::Chunk(chunk) = &event {
                gone += chunk.gone;
            }
            taken.take(event);
        }
        assert_eq!(
            (gone, taken.texts(0)),
            (4, ["6", "7", "8", "9"].map(str::to_owned).to_vec())
        );
        assert_eq!(taken.ends, [(0, 10)].into());
    }
}

#[test]
fn offsets_behind_the_end_and_missing_topics_are_errors() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in CLIENTS {
        let topic_wait = Some(Duration::from_secs(1));
        let missing = KafkaOptions {
            topic_wait,
            ..options(kafka, "there-is-no-such-topic", client)
        };
        let error = catch_up(&missing, &Resume::default()).unwrap_err();
        assert!(matches!(error, SourceError::TopicMissing { .. }), "{error}");

        let topic = kafka.new_topic("short", 1, &[]);
        let options = options(kafka, &topic, client);
        let mut resume = catch_up(&options, &Resume::default()).unwrap().resume();
        resume.partitions.get_mut(&0).unwrap().offset = 7;
        let error = catch_up(&options, &resume).unwrap_err();
        assert!(
            matches!(
                error,
                SourceError::OffsetBeyondEnd {
                    asked: 7,
                    high: 0,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_topic_that_was_made_anew_is_refused_or_read_whole() {
    let Some(kafka) = Kafka::shared() else { return };
    let values = |prefix: &str, count| -> Vec<ProducerRecord> {
        let value = |i| ProducerRecord::new(0, format!("{prefix}{i}"));
        (0..count).map(value).collect()
    };
    for client in CLIENTS {
        // Longer than the old one, and shorter.
        for count in [30, 3] {
            let topic = kafka.new_topic("anew", 1, &[]);
            kafka.produce(&topic, Codec::None, values("old", 10));
            let fail = options(kafka, &topic, client);
            let resume = catch_up(&fail, &Resume::default()).unwrap().resume();
            kafka.delete_topic(&topic);
            kafka.create_topic(&topic, 1, &[]);
            kafka.produce(&topic, Codec::None, values("new", count));
            let error = catch_up(&fail, &resume).unwrap_err();
            assert!(
                matches!(error, SourceError::OtherTopic { read: 10, .. }),
                "{error}"
            );

            let go_on = KafkaOptions {
                on_missing_offsets: MissingOffsets::Earliest,
                ..fail
            };
            let taken = catch_up(&go_on, &resume).unwrap();
            let offsets: Vec<i64> = taken.records[&0].iter().map(|r| r.0).collect();
            assert_eq!(offsets, (10..10 + count).collect::<Vec<_>>());
            assert!(taken.texts(0).iter().all(|text| text.starts_with("new")));

            kafka.produce(&topic, Codec::None, values("last", 1));
            let rest = catch_up(&go_on, &taken.resume()).unwrap();
            assert_eq!(rest.texts(0), ["last0"]);
            assert_eq!(rest.ends, [(0, 10 + count + 1)].into());
        }
    }
}

#[test]
fn a_topic_that_is_made_anew_while_it_is_read_is_noticed() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in CLIENTS {
        let topic = kafka.new_topic("anew-meanwhile", 1, &[]);
        let values = (0..10).map(|i| ProducerRecord::new(0, format!("{i}")));
        kafka.produce(&topic, Codec::None, values);
        let mut source = opened(&options(kafka, &topic, client), &Resume::default());
        let mut taken = SourceOutput::default();
        take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
        kafka.delete_topic(&topic);
        kafka.create_topic(&topic, 1, &[]);
        let values = (0..300).map(|i| ProducerRecord::new(0, format!("new{i}")));
        kafka.produce(&topic, Codec::None, values);
        let error = take_until(source.as_mut(), &mut taken, |_| false).unwrap_err();
        assert!(matches!(error, SourceError::OtherTopic { .. }), "{error}");
    }
}

#[test]
fn records_behind_an_open_transaction_are_lag() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in CLIENTS {
        let topic = kafka.new_topic("held", 1, &[]);
        kafka.produce(&topic, Codec::None, [ProducerRecord::new(0, "before")]);
        let open = kafka.begin_transaction(&topic, [ProducerRecord::new(0, "in it")]);
        let values = (0..50).map(|i| ProducerRecord::new(0, format!("{i}")));
        kafka.produce(&topic, Codec::None, values);
        let mut source = opened(&options(kafka, &topic, client), &Resume::default());
        let mut taken = SourceOutput::default();
        let begun = Instant::now();
        while source.lag() != [(0, 51)].into() || source.held() != 51 || !taken.caught_up {
            assert!(begun.elapsed() < Duration::from_secs(60), "{taken:?}");
            taken.take(source.poll(Duration::from_millis(20)).unwrap());
        }
        assert_eq!(taken.texts(0), ["before"]);
        open.end(TransactionEnd::Commit);
        take_until(source.as_mut(), &mut taken, |t| t.records[&0].len() == 52).unwrap();
        while source.lag() != [(0, 0)].into() || source.held() != 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{taken:?}");
            taken.take(source.poll(Duration::from_millis(20)).unwrap());
        }
    }
}

#[test]
fn a_broker_that_restarts_is_waited_for() {
    for client in CLIENTS {
        let Some(mut kafka) = Kafka::start() else {
            return;
        };
        let topic = kafka.new_topic("restart", 1, &[]);
        kafka.produce(&topic, Codec::Lz4, [ProducerRecord::new(0, "1")]);
        let mut source = opened(&options(&kafka, &topic, client), &Resume::default());
        let mut taken = SourceOutput::default();
        take_until(source.as_mut(), &mut taken, |t| t.caught_up).unwrap();
        kafka.stop(Stop::Hard);
        for _ in 0..20 {
            taken.take(source.poll(Duration::from_millis(100)).unwrap());
        }
        kafka.start_again();
        kafka.produce(&topic, Codec::Lz4, [ProducerRecord::new(0, "2")]);
        take_until(source.as_mut(), &mut taken, |t| t.records[&0].len() == 2).unwrap();
        assert_eq!(taken.texts(0), ["1", "2"]);
    }
}

#[test]
fn what_the_producer_sends_is_what_the_generator_makes() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in CLIENTS {
        let topic = kafka.new_topic("produced", 3, &[]);
        let generator = GeneratorOptions {
            count: Some(5000),
            partitions: 3,
            start_time: Some(1_764_000_000_000_000),
            ..GeneratorOptions::default()
        };
        let produce_options = ProduceOptions {
            brokers: kafka.brokers().to_owned(),
            topics: vec![topic.clone()],
            generator: generator.clone(),
            ..ProduceOptions::default()
        };
        let report = produce(
            &produce_options,
            &Clock::System,
            &AtomicBool::new(false),
            |_| {},
        )
        .unwrap();
        assert_eq!(
            (report.sent, report.acknowledged, report.failed),
            (5000, 5000, 0)
        );
        let sent = catch_up(&options(kafka, &topic, client), &Resume::default()).unwrap();
        let (resume, limits) = (Resume::default(), ChunkLimits::default());
        let source = GeneratorSource::open(&generator, &resume, limits, &Clock::System);
        let made = read_all(&mut source.unwrap()).unwrap();
        assert_eq!(sent.records, made.records);
    }
}
