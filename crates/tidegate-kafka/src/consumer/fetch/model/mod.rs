//! Fetching under a broker that is generated, without threads, connections or clocks.
//!
//! A seed makes a topic and what happens to it: batches of all kinds, transactions that end either
//! way, compaction, retention, leaders that move, logs that are cut off, partitions that come, a
//! topic that is made anew, messages in the formats from before Kafka 0.11; and in between a reader
//! that fetches in pieces, gives up what it has half decoded, and starts again from what it
//! committed. At a message of an old format it stops, at once and exactly there, and says so, and
//! librdkafka, which is played, reads on. In the end every committed record that the broker has was
//! handed over once, no other was but those that the broker lost later, and all spans follow on
//! each other.
//!
//! 100,000 seeds are a minute; `TIDEGATE_TEST_LONG=1` runs three million,
//! `TIDEGATE_TEST_SEEDS=200..320` those.

mod broker;
mod reader;

use std::ops::Range;

use tidegate_testkit::Random;

use self::broker::Broker;
use self::reader::ModelReader;

/// Seeds of the default suite.
const SEEDS: Range<u64> = 0..100_000;
/// Seeds with `TIDEGATE_TEST_LONG`.
const SEEDS_LONG: Range<u64> = 0..3_000_000;

/// Something happens to the topic.
fn happen(random: &mut Random, broker: &mut Broker) {
    match random.below(40) {
        0 => broker.add_partition(),
        1 => broker.make_anew(random),
        2 | 3 => broker.cut_off(random),
        4 | 5 => broker.expire(random),
        6..=8 => broker.move_leader(random),
        9..=17 => broker.end_transaction(random),
        18..=28 => broker.append_transactional(random),
        _ => broker.append(random),
    }
}

/// The reader does something.
fn read(random: &mut Random, reader: &mut ModelReader, broker: &mut Broker) {
    match random.below(30) {
        0 => reader.start_again(broker),
        1..=4 => reader.locate(broker),
        5 | 6 => reader.commit(),
        7 | 8 => reader.lose_connection(),
        9..=17 => reader.fetch(random, broker),
        _ => reader.take(random, broker),
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let has_old = random.one_in(4);
    let mut broker = Broker::new(1 + random.below(3) as i32, has_old);
    let mut reader = ModelReader::new(&broker);
    for _ in 0..20 + random.below(120) {
        if random.one_in(2) {
            happen(&mut random, &mut broker);
        } else {
            read(&mut random, &mut reader, &mut broker);
        }
    }
    broker.end_all(&mut random);
    reader.drain(&mut random, &mut broker);
    reader.check(&broker);
}

#[test]
fn every_committed_record_comes_once_whatever_happens_to_the_topic() {
    tidegate_testkit::each_seed_on_all_cores(SEEDS, SEEDS_LONG, run);
}
