//! Records that expire before they are read.

use serde_json::json;
use tidegate_testkit::{Codec, Kafka};

use crate::pipeline::{Pipeline, events};

#[test]
fn expired_records_stop_the_job_or_are_counted() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("expired", 2, &[]);
    kafka.produce(&topic, Codec::None, events(0..20, 2));
    let pipeline = Pipeline::new(kafka, &topic);
    pipeline.catch_up();
    kafka.produce(&topic, Codec::None, events(20..40, 2));
    kafka.delete_records(&topic, 1, 14);

    let ended = pipeline.try_catch_up();
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    for part in [
        &format!("topic `{topic}` partition 1: offset 10 is wanted"),
        "the oldest that is left is 14: 4 offsets expired",
        "source.on-missing-offsets = \"earliest\"",
    ] {
        assert!(ended.err.contains(part), "no {part} in: {}", ended.err);
    }
    assert_eq!(pipeline.rows(), 20, "nothing is read of what is not whole");
    assert_eq!(pipeline.positions(), [(0, 10), (1, 10)].into());

    let pipeline = pipeline.set("source.on-missing-offsets", "earliest");
    let ended = pipeline.start(&["run", "--until-caught-up"]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let said = ended.out.lines().find(|line| line.contains("gone"));
    assert!(
        said.is_some_and(|line| line.contains(" 4 ")),
        "{}",
        ended.out
    );
    assert_eq!(pipeline.positions(), [(0, 20), (1, 20)].into());
    let offsets: Vec<i64> = (0..10).chain(14..20).collect();
    let of_one = pipeline.events().into_iter().filter(|(p, _, _)| *p == 1);
    assert_eq!(of_one.map(|(_, o, _)| o).collect::<Vec<_>>(), offsets);

    let log = pipeline.log().unwrap();
    let totals = (
        &log["totals"]["gone"],
        &log["totals"]["read"],
        &log["balanced"],
    );
    assert_eq!(totals, (&json!(4), &json!(36), &json!(true)));
    let text = pipeline.start(&["log", "inspect"]).end().out;
    assert!(text.contains("4 offsets expired at the source"), "{text}");
    pipeline.verify();
}

#[test]
fn a_new_job_begins_with_what_is_left() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("begins-late", 1, &[]);
    kafka.produce(&topic, Codec::None, events(0..20, 1));
    kafka.delete_records(&topic, 0, 8);
    let pipeline = Pipeline::new(kafka, &topic);
    let status = pipeline.catch_up()["status"].take();
    assert_eq!((&status["read"], &status["gone"]), (&json!(12), &json!(0)));
    pipeline.check_against(kafka);
}

#[test]
fn a_topic_that_was_made_anew_under_its_name_stops_the_job_or_is_read_whole() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in ["auto", "librdkafka"] {
        let topic = kafka.new_topic("again", 1, &[]);
        kafka.produce(&topic, Codec::None, events(0..5, 1));
        let pipeline = Pipeline::new(kafka, &topic).set("source.client", format!("{client:?}"));
        pipeline.catch_up();
        kafka.delete_topic(&topic);
        kafka.create_topic(&topic, 1, &[]);
        kafka.produce(&topic, Codec::None, events(100..109, 1));

        let ended = pipeline.try_catch_up();
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        for part in [
            topic.as_str(),
            "deleted and created anew",
            "source.on-missing-offsets",
        ] {
            assert!(ended.err.contains(part), "no {part} in: {}", ended.err);
        }
        assert_eq!(
            pipeline.rows(),
            5,
            "nothing is read of what is another topic"
        );

        let pipeline = pipeline.set("source.on-missing-offsets", "earliest");
        let ended = pipeline.try_catch_up();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.err.contains("made anew"), "{}", ended.err);
        let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let status = &report["summary"]["status"];
        assert_eq!(
            (&status["read"], &status["gone"], &status["replaced"]),
            (&json!(14), &json!(0), &json!(1))
        );
        assert_eq!(pipeline.rows(), 14);
        assert_eq!(pipeline.positions(), [(0, 14)].into());
        pipeline.verify();
        assert_eq!(
            pipeline.catch_up()["read"],
            0,
            "that is known the next time"
        );
    }
}

/// The new topic soon has more records than were read of the old one, so that its offsets tell
/// nothing.
#[test]
fn a_topic_that_is_made_anew_while_the_job_runs_is_read_whole_or_not_at_all() {
    let Some(kafka) = Kafka::shared() else { return };
    for client in ["auto", "librdkafka"] {
        for goes_on in [true, false] {
            let topic = kafka.new_topic("anew", 1, &[]);
            kafka.produce(&topic, Codec::None, events(0..5, 1));
            let mut pipeline =
                Pipeline::new(kafka, &topic).set("source.client", format!("{client:?}"));
            if goes_on {
                pipeline = pipeline.set("source.on-missing-offsets", "earliest");
            }
            let mut run = pipeline.run();
            run.until("all is read", |_| pipeline.read() == 5);
            kafka.delete_topic(&topic);
            kafka.create_topic(&topic, 1, &[]);
            kafka.produce(&topic, Codec::None, events(100..112, 1));
            if goes_on {
                run.until("the new topic is read", |_| pipeline.read() >= 17);
                assert_eq!(run.stop().code, Some(0));
            } else {
                let ended = run.end();
                assert_eq!(ended.code, Some(1), "{}", ended.err);
                assert!(ended.err.contains("created anew"), "{}", ended.err);
            }
            let expected = if goes_on { 17 } else { 5 };
            assert_eq!(pipeline.read(), expected, "{client}");
            let ids = "SELECT count(DISTINCT id) AS n FROM events";
            assert_eq!(pipeline.query(ids)[0]["n"], expected, "{client}");
            assert_eq!(
                pipeline.rows(),
                i64::try_from(expected).unwrap(),
                "{client}"
            );
            pipeline.verify();
        }
    }
}

#[test]
fn a_topic_that_was_made_anew_is_not_taken_for_the_old_one() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("before", 1, &[]);
    kafka.produce(&topic, Codec::None, events(0..5, 1));
    let pipeline = Pipeline::new(kafka, &topic);
    pipeline.catch_up();
    let other = kafka.new_topic("after", 1, &[]);
    let pipeline = pipeline.set("source.topic", format!("{other:?}"));
    let ended = pipeline.try_catch_up();
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert!(
        ended.err.contains("does not fit this source"),
        "{}",
        ended.err
    );
}
