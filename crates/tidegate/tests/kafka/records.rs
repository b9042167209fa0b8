//! What can be in a topic: codecs, and records that are no events.

use serde_json::{Value, json};
use tidegate_testkit::{Codec, Kafka, ProducerRecord};

use crate::pipeline::{Pipeline, event, events};

fn every_record_arrives(codec: &str, compression: Codec) {
    let Some(kafka) = Kafka::shared() else { return };
    // The broker compresses anew what comes in another way, so that it is sure what it hands out.
    let topic = kafka.new_topic(codec, 2, &[("compression.type", codec)]);
    kafka.produce(&topic, compression, events(0..2000, 2));
    let pipeline = Pipeline::new(kafka, &topic);
    assert_eq!(pipeline.catch_up()["status"]["events"], 2000);
    pipeline.check_against(kafka);
}

#[test]
fn uncompressed_topics() {
    every_record_arrives("uncompressed", Codec::None);
}

#[test]
fn gzip_topics() {
    every_record_arrives("gzip", Codec::Gzip);
}

#[test]
fn snappy_topics() {
    every_record_arrives("snappy", Codec::Snappy);
}

#[test]
fn lz4_topics() {
    every_record_arrives("lz4", Codec::Lz4);
}

#[test]
fn zstd_topics() {
    every_record_arrives("zstd", Codec::Zstd);
}

#[test]
fn what_is_no_event_is_rejected_with_where_it_was() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("rejects", 2, &[]);
    let ten_megabytes = "x".repeat(10 << 20);
    let too_large = vec![b'y'; (64 << 20) + 1];
    // Zstandard makes the large ones small enough for the topic.
    let records = [
        ProducerRecord::new(0, event(1, 0)),
        ProducerRecord::tombstone(0, "key"),
        ProducerRecord::new(0, ""),
        ProducerRecord::new(0, " \n\t"),
        ProducerRecord::new(0, b"{\"id\":\xff}".to_vec()),
        ProducerRecord::new(0, &br#"{"id":7,"amount":"#[..]),
        ProducerRecord::new(
            0,
            r#"{"id":"seven","amount":1,"at":"2026-03-01T10:00:00Z"}"#,
        ),
        ProducerRecord::new(0, r#"{"id":8,"amount":-1,"at":"2026-03-01T10:00:00Z"}"#),
        ProducerRecord::new(
            1,
            format!(r#"{{"id":9,"amount":1,"note":"{ten_megabytes}"}}"#),
        ),
        ProducerRecord::new(1, too_large),
        ProducerRecord::new(1, event(2, 0)),
    ];
    let stamped = (0..).zip(records);
    let stamped = stamped.map(|(n, record)| record.timestamp(1_764_000_000_123 + n * 1000));
    kafka.produce(&topic, Codec::Zstd, stamped);

    let pipeline = Pipeline::new(kafka, &topic);
    let status = pipeline.catch_up()["status"].take();
    assert_eq!(
        (&status["read"], &status["rejected"]),
        (&json!(11), &json!(9))
    );
    let rows = pipeline.query(
        "SELECT source_partition AS p, source_offset AS o, epoch_ms(source_timestamp) AS t, reasons, \
         payload_encoding AS e, strlen(payload) AS n, detail <> '' AS said, \
         rejected_at > source_timestamp AS later FROM rejected ORDER BY p, o",
    );
    let row = |p: i32, o: i64, record: i64, reasons: &str, encoding: &str, bytes: usize| {
        json!({"p": p, "o": o, "t": 1_764_000_000_123_i64 + record * 1000, "reasons": reasons,
            "e": encoding, "n": bytes, "said": true, "later": true})
    };
    let expected: Vec<Value> = vec![
        row(0, 1, 1, "record.tombstone", "utf8", 0),
        row(0, 2, 2, "record.empty", "utf8", 0),
        row(0, 3, 3, "record.empty", "utf8", 3),
        row(0, 4, 4, "decode.not_utf8", "base64", 12),
        row(0, 5, 5, "decode.syntax", "utf8", 17),
        row(0, 6, 6, "decode.wrong_type", "utf8", 53),
        row(0, 7, 7, "rule.amount_is_positive", "utf8", 48),
        row(1, 0, 8, "decode.missing", "utf8", (10 << 20) + 29),
        row(1, 1, 9, "record.too_large", "utf8", 64 << 10),
    ];
    assert_eq!(rows, expected);
    assert_eq!(pipeline.events(), [(0, 0, 1), (1, 2, 2)]);
    assert_eq!(pipeline.positions(), pipeline.ends(kafka));
    let by_reason = &pipeline.log().unwrap()["rejected_by"];
    assert_eq!(by_reason["record.empty"], 2);
    pipeline.verify();
}

/// A batch that becomes larger than librdkafka may make it ends the job, which names the setting;
/// with that it goes through.
#[test]
fn a_batch_that_librdkafka_may_not_unpack_names_the_setting_that_helps() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("unpacked", 1, &[]);
    let huge = vec![b'y'; 200 << 20];
    let records = [
        ProducerRecord::new(0, event(1, 0)),
        ProducerRecord::new(0, huge),
        ProducerRecord::new(0, event(2, 0)),
    ];
    kafka.produce(&topic, Codec::Zstd, records);
    let pipeline = Pipeline::new(kafka, &topic).set("source.client", "\"librdkafka\"");
    let ended = pipeline.try_catch_up();
    assert_ne!(ended.code, Some(0), "{}", ended.err);
    for part in [
        "partition 0",
        "`receive.message.max.bytes` in `source.properties`",
        "`source.client = \"auto\"`",
    ] {
        assert!(ended.err.contains(part), "no {part} in: {}", ended.err);
    }
    let key = "source.properties.\"receive.message.max.bytes\"";
    let pipeline = pipeline.set(key, "\"1000000000\"");
    let status = pipeline.catch_up()["status"].take();
    assert_eq!(
        (&status["read"], &status["rejected"], &status["events"]),
        (&json!(3), &json!(1), &json!(2))
    );
    assert_eq!(pipeline.positions(), pipeline.ends(kafka));
    assert_eq!(pipeline.events(), [(0, 0, 1), (0, 2, 2)]);
    pipeline.verify();
    // And so it does where Tidegate fetches, without any setting.
    let other = Pipeline::new(kafka, &topic);
    assert_eq!(other.catch_up()["status"]["read"], 3);
    assert_eq!(other.events(), pipeline.events());
}
