//! Where a job begins that has no log.

use tidegate_testkit::{Codec, Kafka};

use crate::pipeline::{Pipeline, events};

#[test]
fn from_the_earliest_the_latest_or_given_offsets() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.new_topic("starts", 3, &[]);
    kafka.produce(&topic, Codec::None, events(0..60, 3));

    let earliest = Pipeline::new(kafka, &topic).set("source.start", "earliest");
    assert_eq!(earliest.catch_up()["read"], 60);

    let latest = Pipeline::new(kafka, &topic).set("source.start", "latest");
    assert_eq!(latest.catch_up()["read"], 0);
    assert_eq!(latest.positions(), latest.ends(kafka));

    let given = Pipeline::new(kafka, &topic).set("source.start", "{ 0 = 15, 2 = 20 }");
    assert_eq!(given.catch_up()["read"], 5 + 20);

    // What comes while nobody reads is read by all of them: the log knows where to go on.
    kafka.produce(&topic, Codec::None, events(60..90, 3));
    for pipeline in [&earliest, &latest, &given] {
        assert_eq!(pipeline.catch_up()["read"], 30);
        assert_eq!(pipeline.positions(), pipeline.ends(kafka));
        pipeline.verify();
    }
    earliest.check_against(kafka);
}
