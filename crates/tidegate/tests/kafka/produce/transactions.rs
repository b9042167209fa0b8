//! Transactions: all of it, or nothing.

use tidegate_testkit::{Isolation, Kafka};

use super::{Produce, payloads};

#[test]
fn transactions_are_committed_after_so_many_events_and_at_the_end() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("transactional", 2, &[]);
    let report = Produce::new(kafka, &[&topic])
        .with(&[
            "--count",
            "1050",
            "--rate",
            "0",
            "--transactional-id",
            &topic,
        ])
        .with(&["--transaction-every", "100"])
        .run();
    assert_eq!(report["transactions"]["committed"], 11);
    assert_eq!(report["transactions"]["events_committed"], 1050);
    assert_eq!(report["transactions"]["aborted"], 0);
    assert_eq!(kafka.read_all(&topic, Isolation::Committed).len(), 1050);
    // Each transaction ends with a marker in each partition.
    let ends: i64 = kafka.offsets(&topic).values().map(|(_, end)| end).sum();
    assert_eq!(ends, 1050 + 2 * 11);
}

#[test]
fn transactions_are_committed_after_some_time() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("timed", 1, &[]);
    let report = Produce::new(kafka, &[&topic])
        .with(&[
            "--count",
            "1000",
            "--rate",
            "500",
            "--transactional-id",
            &topic,
        ])
        .with(&["--transaction-every", "200ms"])
        .run();
    let committed = report["transactions"]["committed"].as_u64().unwrap();
    assert!((3..=11).contains(&committed), "{report}");
    assert_eq!(kafka.read_all(&topic, Isolation::Committed).len(), 1000);
}

#[test]
fn what_a_killed_producer_left_open_is_seen_in_none_of_its_topics() {
    let Some(kafka) = Kafka::shared() else { return };
    let [orders, audit] = ["orders", "audit"].map(|name| kafka.new_topic(name, 3, &[]));
    let seen = |topic: &str, isolation| kafka.read_all(topic, isolation).len();
    let produce = |args: &[&str]| {
        Produce::new(kafka, &[&orders, &audit])
            .with(&["--transactional-id", &orders, "--transaction-every", "1000"])
            .with(args)
    };
    let slow = produce(&["--rate", "500"]);
    let mut process = slow.start();
    process.until("it is within a transaction", |_| {
        let count = seen(&audit, Isolation::Uncommitted);
        count > 1200 && count % 1000 > 200
    });
    process.kill();
    let committed = seen(&orders, Isolation::Committed);
    assert!(
        committed >= 1000 && committed.is_multiple_of(1000),
        "{committed}"
    );
    assert!(seen(&orders, Isolation::Uncommitted) > committed);

    // The next one of the same name ends what was left open.
    let report = produce(&["--count", "1500", "--rate", "0", "--seed", "2"]).run();
    assert_eq!(report["transactions"]["events_committed"], 1500);
    let [orders, audit] = [&orders, &audit].map(|t| kafka.read_all(t, Isolation::Committed));
    assert_eq!(orders.len(), committed + 1500);
    assert_eq!(payloads(&orders), payloads(&audit));
}

#[test]
fn a_transaction_with_a_record_that_is_refused_is_aborted_in_every_topic() {
    let Some(kafka) = Kafka::shared() else { return };
    let wide = kafka.new_topic("wide", 1, &[]);
    let narrow = kafka.new_topic("narrow", 1, &[("max.message.bytes", "100")]);
    let ended = Produce::new(kafka, &[&wide, &narrow])
        .with(&["--count", "20", "--rate", "0", "--transactional-id", &wide])
        .with(&["--transaction-every", "10"])
        .start()
        .end();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let report = super::report(&ended);
    assert_eq!(report["transactions"]["committed"], 0, "{report}");
    assert_eq!(report["transactions"]["events_aborted"], 20, "{report}");
    assert!(kafka.read_all(&wide, Isolation::Committed).is_empty());
}
