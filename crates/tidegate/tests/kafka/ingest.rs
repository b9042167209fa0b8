//! `POST /v1/events`: what is acknowledged is in Kafka, whatever happens to the process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::{Codec, Isolation, Kafka, ProducerRecord, ReadRecord, Stop};

use crate::pipeline::{Pipeline, event};
use crate::process::Process;

/// A pipeline that takes events in, with `id` as their key.
fn pipeline(kafka: &Kafka, topic: &str) -> Pipeline {
    Pipeline::new(kafka, topic)
        .set("http.listen", "127.0.0.1:0")
        .set("http.ingest.key", "id")
}

/// An event that a rule rejects.
const BAD: &str = r#"{"id":5,"amount":-1,"at":"2026-03-01T10:00:00Z"}"#;

/// A pipeline that runs, and where it listens.
struct Running {
    process: Process,
    address: String,
}

/// An answer over HTTP.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Running {
    fn start(pipeline: &Pipeline) -> Self {
        let mut process = pipeline.run();
        process.until("it listens", |process| process.log().contains("address="));
        let log = process.log();
        let (_, address) = log.split_once("address=").unwrap();
        let address = address.split_whitespace().next().unwrap().to_owned();
        Running { process, address }
    }

    #[track_caller]
    fn post(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        post(&self.address, headers, body).unwrap()
    }
}

/// One request on a connection of its own; an error if there is no whole answer.
fn post(address: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "POST /v1/events HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let cut = || io::Error::other(format!("a cut answer: {text}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(cut)?;
    Ok(Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: serde_json::from_str(body).map_err(|_| cut())?,
    })
}

fn ids(records: &[ReadRecord]) -> Vec<i64> {
    records
        .iter()
        .map(|record| serde_json::from_slice::<Value>(record.payload.as_deref().unwrap()).unwrap())
        .map(|event| event["id"].as_i64().unwrap())
        .collect()
}

#[test]
fn events_are_answered_one_by_one_and_are_where_the_answer_says() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("taken", 4, &[]);
    let pipeline = pipeline(kafka, &topic);
    let running = Running::start(&pipeline);

    let one = running.post(&[("content-type", "application/json")], &event(1, 1));
    assert_eq!(
        (one.status, &one.body["accepted"]),
        (200, &json!(1)),
        "{one:?}"
    );
    let array = format!("[{}, {} ,{}]", event(2, 2), event(3, 3), event(4, 4));
    let several = running.post(&[], &array);
    assert_eq!(
        (several.status, &several.body["accepted"]),
        (200, &json!(3)),
        "{several:?}"
    );
    let lines = format!("{}\r\n\n{BAD}\nnonsense\n{}", event(6, 6), event(7, 7));
    let mixed = running.post(&[("content-type", "application/x-ndjson")], &lines);
    assert_eq!(mixed.status, 207, "{mixed:?}");
    assert_eq!(
        (&mixed.body["accepted"], &mixed.body["rejected"]),
        (&json!(2), &json!(2))
    );
    let results = mixed.body["results"].as_array().unwrap();
    assert_eq!(
        results[1]["reasons"],
        json!(["rule.amount_is_positive"]),
        "{mixed:?}"
    );
    assert_eq!(results[2]["reasons"], json!(["decode.syntax"]), "{mixed:?}");

    // Each is where the answer says, with its key.
    let records = kafka.read_all(&topic, Isolation::Committed);
    let by_place: BTreeMap<(i64, i64), &ReadRecord> = records
        .iter()
        .map(|record| ((record.partition.into(), record.offset), record))
        .collect();
    let expected = [
        (&one.body["results"][0], 1),
        (&several.body["results"][0], 2),
        (&several.body["results"][1], 3),
        (&several.body["results"][2], 4),
        (&results[0], 6),
        (&results[3], 7),
    ];
    for (result, id) in expected {
        assert_eq!(result["status"], "accepted");
        let place = (
            result["partition"].as_i64().unwrap(),
            result["offset"].as_i64().unwrap(),
        );
        let record = by_place[&place];
        assert_eq!(record.payload.as_deref(), Some(event(id, id).as_bytes()));
        assert_eq!(record.key.as_deref(), Some(id.to_string().as_bytes()));
    }
    assert_eq!(
        records.len(),
        expected.len(),
        "what is rejected is not in Kafka"
    );

    // The pipeline has them, and finds nothing wrong with what was accepted.
    running.process.stop();
    let summary = pipeline.catch_up();
    assert_eq!(
        summary["status"]["events"].as_i64().unwrap() + summary["status"]["late"].as_i64().unwrap(),
        6
    );
    pipeline.check_against(kafka);
}

#[test]
fn a_body_in_which_nothing_is_an_event_is_refused_and_nothing_of_it_is_in_kafka() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("refused", 1, &[]);
    let pipeline = pipeline(kafka, &topic);
    let running = Running::start(&pipeline);
    for (headers, body, status) in [
        (vec![], BAD.to_owned(), 422),
        (vec![], String::new(), 400),
        (vec![], "[{}".to_owned(), 400),
        (vec![("content-type", "text/html")], event(8, 8), 415),
        (vec![("content-encoding", "gzip")], event(8, 8), 415),
        (vec![], format!("[{}]", vec!["1"; 10_001].join(",")), 413),
        (vec![], "x".repeat((4 << 20) + 1), 413),
    ] {
        let refused = running.post(&headers, &body);
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(refused.body["error"]["message"].is_string(), "{refused:?}");
    }
    running.process.stop();
    assert!(kafka.read_all(&topic, Isolation::Committed).is_empty());
}

/// Worked out without a client: murmur2 and CRC-32 of the keys.
#[test]
fn a_key_goes_to_the_partition_that_the_named_client_would_choose() {
    let Some(kafka) = Kafka::shared() else { return };
    for (partitioner, partitions) in [
        ("java", [2, 2, 5, 6, 1, 3, 1, 2]),
        ("librdkafka", [2, 0, 6, 1, 6, 2, 4, 1]),
    ] {
        let topic = kafka.new_topic("placed", 7, &[]);
        let pipeline = pipeline(kafka, &topic).set("http.ingest.partitioner", partitioner);
        let running = Running::start(&pipeline);
        for (id, partition) in (1..).zip(partitions) {
            let answer = running.post(&[], &event(id, id));
            let place = &answer.body["results"][0]["partition"];
            assert_eq!(*place, json!(partition), "{partitioner}: {id}");
        }
        running.process.stop();
    }
}

/// Whichever comes first: one is sent, and the other waits for its answer or is told to.
#[test]
fn two_with_the_same_key_at_once_are_sent_once() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("at-once", 2, &[]);
    let pipeline = pipeline(kafka, &topic);
    let running = Running::start(&pipeline);
    for id in 1..=20 {
        let key = format!("order-{id}");
        let ask = || {
            running
                .post(&[("idempotency-key", &key)], &event(id, id))
                .status
        };
        #[expect(clippy::disallowed_methods, reason = "it has no channel")]
        let both = thread::scope(|scope| {
            let both = [scope.spawn(ask), scope.spawn(ask)];
            both.map(|one| one.join().unwrap())
        });
        assert!(both.contains(&200), "{both:?}");
        assert!(
            both.iter().all(|status| [200, 409].contains(status)),
            "{both:?}"
        );
    }
    let mut sent = ids(&kafka.read_all(&topic, Isolation::Committed));
    sent.sort_unstable();
    assert_eq!(sent, (1..=20).collect::<Vec<_>>());
    running.process.stop();
}

#[test]
fn what_is_refused_has_the_codes_that_it_would_have_among_the_rejects() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("codes", 1, &[]);
    let bad = [
        r#"{"id":1,"amount":-1,"at":"2026-03-01T10:00:00Z"}"#,
        r#"{"id":"x","amount":-1,"at":"2026-03-01T10:00:00Z"}"#,
        r#"{"id":1,"amount":1}"#,
        r#"{"id":1,"amount":1,"at":"yesterday"}"#,
        r#"{"id":1,"id":2,"amount":1,"at":"2026-03-01T10:00:00Z"}"#,
        "[]",
        "17",
        "{",
    ];
    kafka.produce(
        &topic,
        Codec::None,
        bad.map(|payload| ProducerRecord::new(0, payload)),
    );
    let pipeline = pipeline(kafka, &topic);
    pipeline.catch_up();
    let kept = pipeline.query("SELECT reasons, detail FROM rejected ORDER BY source_offset");
    let running = Running::start(&pipeline);
    let answer = running.post(&[("content-type", "application/x-ndjson")], &bad.join("\n"));
    assert_eq!(answer.status, 422, "{answer:?}");
    for (result, kept) in answer.body["results"].as_array().unwrap().iter().zip(&kept) {
        let reasons: Vec<_> = result["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r.as_str().unwrap())
            .collect();
        assert_eq!(reasons.join(","), kept["reasons"].as_str().unwrap());
        assert_eq!(result["detail"], kept["detail"]);
    }
    running.process.stop();
}

#[test]
fn a_repeat_with_its_key_is_answered_as_the_first_and_sent_once() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("repeats", 2, &[]);
    let pipeline = pipeline(kafka, &topic).set("http.ingest.remember", "\"3s\"");
    let mut running = Running::start(&pipeline);
    let key = [("idempotency-key", "order-17")];
    let first = running.post(&key, &event(1, 1));
    let again = running.post(&key, &event(1, 1));
    assert_eq!(
        (first.status, again.status),
        (200, 200),
        "{first:?} {again:?}"
    );
    assert_eq!(first.body, again.body);
    assert!(
        again.head.contains("idempotency-replayed: true") && !first.head.contains("replayed"),
        "{again:?}"
    );
    let other = running.post(&key, &event(2, 2));
    assert_eq!(
        (other.status, &other.body["error"]["code"]),
        (422, &json!("key_reused")),
        "{other:?}"
    );
    assert_eq!(
        running
            .post(&[("idempotency-key", "")], &event(3, 3))
            .status,
        400
    );
    assert_eq!(ids(&kafka.read_all(&topic, Isolation::Committed)), [1]);
    // Once it is forgotten, it is a request as any other.
    let address = running.address.clone();
    running.process.until("it is forgotten", |_| {
        let answer = post(&address, &key, &event(1, 1)).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        !answer.head.contains("replayed")
    });
    assert_eq!(ids(&kafka.read_all(&topic, Isolation::Committed)), [1, 1]);
    running.process.stop();
}

#[test]
fn without_kafka_nothing_is_acknowledged() {
    let Some(mut kafka) = Kafka::start() else {
        return;
    };
    let topic = kafka.new_topic("down", 1, &[]);
    let pipeline = pipeline(&kafka, &topic).set("http.ingest.delivery-timeout", "\"2s\"");
    let running = Running::start(&pipeline);
    let key = [("idempotency-key", "a")];
    assert_eq!(running.post(&[], &event(1, 1)).status, 200);
    kafka.stop(Stop::Hard);
    let down = running.post(&key, &format!("[{},{{}}]", event(2, 2)));
    assert_eq!(
        (down.status, &down.body["accepted"], &down.body["failed"]),
        (503, &json!(0), &json!(1)),
        "{down:?}"
    );
    assert_eq!(down.body["error"]["code"], "kafka_unavailable");
    assert!(down.head.contains("retry-after: "), "{down:?}");
    kafka.start_again();
    // With the same key: what failed is not remembered.
    let mut status = 503;
    for _ in 0..20 {
        status = running
            .post(&key, &format!("[{},{{}}]", event(2, 2)))
            .status;
        if status != 503 {
            break;
        }
    }
    assert_eq!(status, 207);
    let found = ids(&kafka.read_all(&topic, Isolation::Committed));
    assert_eq!(
        (found.first(), found.last()),
        (Some(&1), Some(&2)),
        "{found:?}"
    );
    running.process.stop();
}

/// Several that send, each event with a number of its own.
#[derive(Default)]
struct Senders {
    stop: AtomicBool,
    next: AtomicI64,
    /// The numbers that were acknowledged.
    acknowledged: Mutex<BTreeSet<i64>>,
}

impl Senders {
    /// How many events are acknowledged.
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Sends until it is to stop.
    fn send(&self, address: &str) {
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while !self.stop.load(Ordering::Relaxed) {
                        self.send_five(address);
                    }
                });
            }
        });
    }

    fn send_five(&self, address: &str) {
        let first = self.next.fetch_add(5, Ordering::Relaxed);
        let events: Vec<_> = (first..first + 5).map(|id| event(id, id / 1000)).collect();
        // The end of the process cuts connections.
        let Ok(answer) = post(address, &[], &format!("[{}]", events.join(","))) else {
            return;
        };
        let results = answer.body["results"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let accepted = results
            .iter()
            .filter(|result| result["status"] == "accepted")
            .map(|result| first + result["index"].as_i64().unwrap());
        self.acknowledged.lock().unwrap().extend(accepted);
    }
}

fn everything_acknowledged_is_in_the_topic(end: impl FnOnce(Process)) {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("ended", 3, &[]);
    let pipeline = pipeline(kafka, &topic).set("http.ingest.rate", 1_000_000);
    let mut running = Running::start(&pipeline);
    assert_eq!(running.post(&[], &event(-1, 0)).status, 200);
    let senders = Arc::new(Senders::default());
    let (sending, address) = (Arc::clone(&senders), running.address.clone());
    let sender = thread::spawn(move || sending.send(&address));
    // It ends in the middle of it.
    running
        .process
        .until("many are acknowledged", |_| senders.count() >= 500);
    end(running.process);
    senders.stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    let acknowledged = senders.acknowledged.lock().unwrap();
    let found: BTreeSet<i64> = ids(&kafka.read_all(&topic, Isolation::Committed))
        .into_iter()
        .collect();
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "lost of {}: {lost:?}", acknowledged.len());

    // And in the table, each once.
    pipeline.catch_up();
    pipeline.check_against(kafka);
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_acknowledged() {
    everything_acknowledged_is_in_the_topic(Process::kill);
}

#[test]
fn a_process_that_ends_answers_what_it_has_taken() {
    everything_acknowledged_is_in_the_topic(|process| {
        process.stop();
    });
}

#[test]
fn a_sender_has_its_rate_and_its_role() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("rates", 1, &[]);
    let pipeline = pipeline(kafka, &topic).set("http.ingest.rate", 100);
    let file = |name: &str, secret: &str| {
        let path = pipeline.path(name);
        std::fs::write(&path, secret).unwrap();
        path.display().to_string()
    };
    let (sender, reader) = ("sender-0123456789abcdef", "reader-0123456789abcdef");
    let tokens = format!(
        "[{{ name = \"s\", roles = [\"ingest\"], token-file = {:?} }}, {{ name = \"r\", roles = [\"read\"], token-file = {:?} }}]",
        file("sender", sender),
        file("reader", reader)
    );
    let pipeline = pipeline.set("http.tokens", tokens);
    let running = Running::start(&pipeline);
    let bearer = |token: &str| format!("Bearer {token}");
    let (sender, reader) = (bearer(sender), bearer(reader));
    assert_eq!(running.post(&[], &event(1, 1)).status, 401);
    assert_eq!(
        running
            .post(&[("authorization", &reader)], &event(1, 1))
            .status,
        403
    );
    let many: Vec<_> = (0..300).map(|id| event(id, id)).collect();
    let taken = running.post(
        &[("authorization", &sender)],
        &format!("[{}]", many.join(",")),
    );
    assert_eq!(taken.status, 200, "{taken:?}");
    let limited = running.post(&[("authorization", &sender)], &event(1, 1));
    assert_eq!(
        (limited.status, &limited.body["error"]["code"]),
        (429, &json!("rate_limited")),
        "{limited:?}"
    );
    assert!(limited.head.contains("retry-after: "), "{limited:?}");
    let log = running.process.log();
    assert!(!log.contains("0123456789abcdef"), "{log}");
    running.process.stop();
}
