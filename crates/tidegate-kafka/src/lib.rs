//! Kafka: a topic as a [source](KafkaSource), and a [`producer`].
//!
//! The settings that both have in common, and what a fault means, stand with the consumer. This is
//! the only crate that talks to librdkafka below its Rust face, and so the only one on a record's
//! way with `unsafe` code.

mod consumer;
pub mod producer;

pub use consumer::{KafkaClient, KafkaOptions, KafkaSource, KafkaStart, MissingOffsets};
