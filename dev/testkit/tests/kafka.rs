//! The broker does what the tests of the other crates rely on.

use std::collections::BTreeMap;

use tidegate_testkit::{Codec, Isolation, Kafka, ProducerRecord, ReadRecord, Stop, TransactionEnd};

fn payloads(records: &[ReadRecord]) -> Vec<(i32, &str)> {
    let text = |payload| std::str::from_utf8(payload).expect("the tests produce text");
    records
        .iter()
        .map(|record| {
            (
                record.partition,
                text(record.payload.as_deref().expect("no tombstone")),
            )
        })
        .collect()
}

#[test]
fn every_codec_comes_back_as_it_was_sent() {
    let Some(kafka) = Kafka::shared() else { return };
    for codec in [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ] {
        let topic = kafka.new_topic("codec", 2, &[]);
        let sent = |number: i32| format!("{number:0>100}");
        kafka.produce(
            &topic,
            codec,
            (0..1000).map(|number| ProducerRecord::new(number % 2, sent(number))),
        );
        let read = kafka.read_all(&topic, Isolation::Committed);
        let expected: Vec<(i32, String)> = (0..1000)
            .step_by(2)
            .map(|n| (0, sent(n)))
            .chain((1..1000).step_by(2).map(|n| (1, sent(n))))
            .collect();
        let expected: Vec<(i32, &str)> = expected
            .iter()
            .map(|(partition, text)| (*partition, text.as_str()))
            .collect();
        assert_eq!(payloads(&read), expected, "{codec:?}");
    }
}

#[test]
fn keys_tombstones_and_empty_payloads_differ() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("payloads", 1, &[]);
    let records = [
        ProducerRecord::new(0, "").key("a"),
        ProducerRecord::tombstone(0, "b"),
        ProducerRecord::new(0, "x").timestamp(5),
    ];
    kafka.produce(&topic, Codec::None, records);
    let read = kafka.read_all(&topic, Isolation::Committed);
    let seen: Vec<_> = read
        .iter()
        .map(|record| (record.key.as_deref(), record.payload.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            (Some(&b"a"[..]), Some(&b""[..])),
            (Some(b"b"), None),
            (None, Some(b"x"))
        ]
    );
}

#[test]
fn an_aborted_transaction_is_invisible_to_read_committed() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("transactions", 1, &[]);
    kafka.transaction(
        &topic,
        TransactionEnd::Commit,
        [ProducerRecord::new(0, "one")],
    );
    kafka.transaction(
        &topic,
        TransactionEnd::Abort,
        [ProducerRecord::new(0, "two")],
    );
    kafka.transaction(
        &topic,
        TransactionEnd::Commit,
        [ProducerRecord::new(0, "three")],
    );
    assert_eq!(
        payloads(&kafka.read_all(&topic, Isolation::Committed)),
        [(0, "one"), (0, "three")]
    );
    assert_eq!(
        payloads(&kafka.read_all(&topic, Isolation::Uncommitted)),
        [(0, "one"), (0, "two"), (0, "three")]
    );
    // Each transaction leaves a marker in the log, which takes an offset.
    assert_eq!(kafka.offsets(&topic), BTreeMap::from([(0, (0, 6))]));
}

#[test]
fn deleted_records_are_gone_and_the_rest_keep_their_offsets() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("expired", 2, &[]);
    kafka.produce(
        &topic,
        Codec::None,
        (0..10).map(|number| ProducerRecord::new(0, number.to_string())),
    );
    kafka.delete_records(&topic, 0, 7);
    assert_eq!(
        kafka.offsets(&topic),
        BTreeMap::from([(0, (7, 10)), (1, (0, 0))])
    );
    assert_eq!(
        payloads(&kafka.read_all(&topic, Isolation::Committed)),
        [(0, "7"), (0, "8"), (0, "9")]
    );
}

#[test]
fn a_broker_comes_back_with_its_data_at_its_address() {
    let Some(mut kafka) = Kafka::start() else {
        return;
    };
    let address = kafka.brokers().to_owned();
    let topic = kafka.new_topic("restart", 1, &[]);
    kafka.produce(&topic, Codec::Lz4, [ProducerRecord::new(0, "before")]);
    kafka.stop(Stop::Hard);
    kafka.start_again();
    kafka.produce(&topic, Codec::Lz4, [ProducerRecord::new(0, "between")]);
    kafka.stop(Stop::Graceful);
    kafka.start_again();
    kafka.produce(&topic, Codec::Lz4, [ProducerRecord::new(0, "after")]);
    assert_eq!(kafka.brokers(), address);
    assert_eq!(
        payloads(&kafka.read_all(&topic, Isolation::Committed)),
        [(0, "before"), (0, "between"), (0, "after")]
    );
}
