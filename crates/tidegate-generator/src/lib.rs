//! Synthetic transactions, as many as one likes, the same each time.
//!
//! What record a partition has at an offset is a pure function of the options, so a restart goes on
//! where it was and nothing has to be stored: repeats, updates, late, malformed and rule-breaking
//! records included. The time at which the stream began is part of the partitions' names
//! (`p3/8@1764000000000000`: partition 3 of 8, began at these microseconds), and comes back with
//! them from the commit log.
//!
//! Record `n` of partition `p` is number `n * partitions + p` of the stream, and its event time is
//! the stream's start plus that number divided by the rate.

#![forbid(unsafe_code)]

mod customers;
mod event;
mod output;
mod shares;
mod source;

use std::time::Duration;

pub use customers::{KEY_BYTES, partition_hash};
pub use event::{EventKind, Generator, WrittenRecord};
pub use output::{FileFormat, WrittenFiles, generate_files};
pub use source::{GeneratorSource, first_start};

/// Which transactions to make up.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorOptions {
    /// Events a second, over all partitions; 0 is as fast as possible.
    pub rate: u64,
    /// Events a second by which event time advances when `rate` is 0.
    pub event_rate: u64,
    /// Events in all; `None` never ends.
    pub count: Option<u64>,
    /// Partitions: 1 to 10,000. A customer's events are all in partition
    /// `murmur2(customer_id) % partitions`, as Kafka's own partitioner has it.
    pub partitions: i32,
    /// Another seed makes other events.
    pub seed: u64,
    /// Event time of the first event, in microseconds since the Unix epoch. Without it, the time of
    /// the first start; with `rate` 0 so much earlier that the last event of `count` happens then
    /// (six days at most, and without a `count`).
    pub start_time: Option<i64>,
    /// Delay of the watermark that the stream is meant for: late events are later than this, and
    /// repeats come sooner.
    pub delay: Duration,
    /// Share of exact repeats of an earlier event, 0 to 1. All shares add up to 1 at most.
    pub duplicates: f64,
    /// Share of updates: an earlier PENDING event again, as COMPLETED, with a later time.
    pub updates: f64,
    /// Share of events that are behind the watermark.
    pub late: f64,
    /// Share of records that cannot be decoded: truncated, not UTF-8, wrong types, missing fields.
    pub malformed: f64,
    /// Share of events that decode and break a rule: amounts, currencies, status, times.
    pub rule_breaking: f64,
    /// Share of new events that one customer makes, `CUST_000000`, beside what is theirs by chance;
    /// 0 for no such customer. Offsets of partitions are equal, so those events are in every
    /// partition of the generator as a source; `produce` sends them where their key belongs, which
    /// makes a hot partition.
    pub hot_key_share: f64,
    /// Bytes that events are filled up to, by text in `metadata`; 0 leaves them as they are, at
    /// about 300. Those that are longer, and those that are cut off, have their own size.
    pub event_bytes: usize,
}

impl Default for GeneratorOptions {
    fn default() -> Self {
        GeneratorOptions {
            rate: 0,
            event_rate: 50_000,
            count: None,
            partitions: 8,
            seed: 1,
            start_time: None,
            delay: Duration::from_secs(600),
            duplicates: 0.01,
            updates: 0.02,
            late: 0.005,
            malformed: 0.001,
            rule_breaking: 0.002,
            hot_key_share: 0.0,
            event_bytes: 0,
        }
    }
}
