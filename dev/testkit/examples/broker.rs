//! A Kafka broker to play with, with the topics that are named: `cargo xtask kafka [TOPIC ...]`.

// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout)]

use std::{env, thread};

use tidegate_testkit::Kafka;

/// Of each topic.
const PARTITIONS: i32 = 3;

fn main() {
    let Some(kafka) = Kafka::start() else { return };
    for topic in env::args().skip(1) {
        kafka.create_topic(&topic, PARTITIONS, &[]);
    }
    println!(
        "Kafka is at {}. Ctrl-C stops it and deletes its data.",
        kafka.brokers()
    );
    loop {
        thread::park(); // ends with the process, and the broker with it
    }
}
