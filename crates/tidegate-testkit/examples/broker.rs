//! A Kafka broker to play with: `cargo xtask kafka`.

// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout)]

use std::thread;

use tidegate_testkit::Kafka;

fn main() {
    let Some(kafka) = Kafka::start() else { return };
    println!(
        "Kafka is at {}. Ctrl-C stops it and deletes its data.",
        kafka.brokers()
    );
    loop {
        thread::park(); // ends with the process, and the broker with it
    }
}
