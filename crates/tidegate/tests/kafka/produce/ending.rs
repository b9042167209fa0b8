//! How a producer ends: by Ctrl-C, and when brokers go.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_testkit::{Isolation, Kafka, Stop};

use super::{Produce, payloads, report};
use crate::process::Process;

/// Whether a progress line has a number other than 0 after `name`.
fn says_some(process: &Process, name: &str) -> bool {
    let log = process.log();
    let mut numbers = log.split(name).skip(1);
    numbers.any(|rest| rest.starts_with(|c: char| ('1'..='9').contains(&c)))
}

#[test]
fn ctrl_c_sends_what_is_queued() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("interrupted", 4, &[]);
    // Batches wait longer than the test.
    let produce = Produce::new(kafka, &[&topic]).with(&[
        "--rate",
        "500",
        "--linger",
        "100s",
        "--progress-every",
        "100ms",
    ]);
    let mut process = produce.start();
    process.until("something is queued", |process| {
        process.log().matches("acknowledged=0").count() > 10
    });
    assert!(kafka.read_all(&topic, Isolation::Committed).is_empty());
    process.interrupt();
    let ended = process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(
        ended.err.contains("once more ends at once"),
        "{}",
        ended.err
    );
    assert!(ended.took < Duration::from_secs(20), "{:?}", ended.took);
    let records = kafka.read_all(&topic, Isolation::Committed);
    let report = report(&ended);
    assert!(records.len() > 100, "{report}");
    assert_eq!(report["acknowledged"], records.len());
    assert_eq!(report["sent"], records.len());
}

#[test]
fn a_broker_that_goes_away_is_reported() {
    let Some(mut kafka) = Kafka::start() else {
        return;
    };
    let topic = kafka.new_topic("gone", 2, &[]);
    let produce =
        || Produce::new(&kafka, &[&topic]).with(&["--rate", "500", "--progress-every", "100ms"]);
    let gives_up = produce().with(&["--delivery-timeout", "2s"]);
    let waits = produce().with(&["--seed", "2"]);
    let (mut gives_up, mut waits) = (gives_up.start(), waits.start());
    for process in [&mut gives_up, &mut waits] {
        process.until("something is acknowledged", |process| {
            says_some(process, "acknowledged=")
        });
    }
    kafka.stop(Stop::Hard);
    gives_up.until("deliveries have failed", |process| {
        says_some(process, "failed=")
    });
    gives_up.interrupt();
    let ended = gives_up.end();
    assert_eq!(ended.code, Some(75), "{}", ended.err);
    let report = report(&ended);
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!(number("failed") > 0, "{report}");
    assert_eq!(number("acknowledged") + number("failed"), number("sent"));
    let reason = report["first_error"].as_str().unwrap();
    assert!(reason.contains("timed out"), "{report}");
    assert!(ended.err.contains(reason), "{}", ended.err);

    // This one would wait for five minutes; the second Ctrl-C is enough.
    waits.interrupt();
    waits.until("it waits", |process| {
        process.log().contains("once more ends at once")
    });
    waits.interrupt();
    let ended = waits.end();
    assert_eq!(ended.code, Some(130), "{}", ended.err);
    assert!(ended.err.contains("may be lost"), "{}", ended.err);
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
}

#[test]
fn a_broker_that_restarts_loses_and_doubles_nothing() {
    let Some(mut kafka) = Kafka::start() else {
        return;
    };
    let topic = kafka.new_topic("restarted", 3, &[]);
    // Until it is interrupted: nobody knows how long a broker takes to start.
    let produce = Produce::new(&kafka, &[&topic])
        .with(&["--rate", "2500", "--duplicates", "0"])
        .with(&[
            "--progress-every",
            "100ms",
            "-X",
            "reconnect.backoff.max.ms=500",
        ]);
    let mut process = produce.start();
    for _ in 0..2 {
        let before = process.log().lines().count();
        process.until("it goes on", |process| {
            process.log().lines().count() > before + 8
        });
        kafka.stop(Stop::Hard);
        kafka.start_again();
    }
    process.interrupt();
    let ended = process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let report = report(&ended);
    assert_eq!(report["acknowledged"], report["sent"]);
    let records = kafka.read_all(&topic, Isolation::Committed);
    let payloads = payloads(&records);
    assert_eq!(report["sent"], payloads.len());
    assert_eq!(
        payloads.iter().collect::<BTreeSet<_>>().len(),
        payloads.len()
    );
}
