//! The options of `tidegate produce`.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ProgressArgs, SummaryFormat};
use crate::config::{brokers, units};

/// `tidegate produce`
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// Brokers, as in localhost:9092
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "localhost:9092",
        env = "KAFKA_BROKERS",
        value_parser = brokers::parse
    )]
    pub brokers: String,
    /// Topic; it has to exist unless the brokers create topics. Given several times, each gets
    /// every event
    #[arg(long, value_name = "TOPIC", default_value = "transactions-raw")]
    pub topic: Vec<String>,
    /// Number of events [default: until Ctrl-C]
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Events per second; 0 for as many as possible
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub rate: u64,
    /// Form of the report at the end
    #[arg(long, value_enum, default_value = "text")]
    pub summary: SummaryFormat,
    /// How it is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
    /// What is made up.
    #[command(flatten)]
    pub events: EventArgs,
    /// How it is sent.
    #[command(flatten)]
    pub sending: SendingArgs,
}

/// Which events.
#[derive(Debug, Args)]
#[command(next_help_heading = "Events")]
pub struct EventArgs {
    /// Same seed, same events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Fills events up to N bytes with text in `metadata` [default: as they are, about 300]
    #[arg(long, value_name = "N")]
    pub event_bytes: Option<usize>,
    /// Share of exact repeats, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    pub duplicates: f64,
    /// Share of events that change the status of an earlier one
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    pub updates: f64,
    /// Share of events that come late
    #[arg(long, value_name = "SHARE", default_value_t = 0.005)]
    pub late: f64,
    /// Share of records that are not valid
    #[arg(long, value_name = "SHARE", default_value_t = 0.001)]
    pub malformed: f64,
    /// Share of events that break a rule
    #[arg(long, value_name = "SHARE", default_value_t = 0.005)]
    pub rule_breaking: f64,
    /// Share of events that one customer makes, CUST_000000; as events are keyed by customer, one
    /// partition has as much of the traffic
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub hot_key_share: f64,
    /// Spreads each of the busiest customers (one in five) over N keys, CUSTOMER:0 to CUSTOMER:N-1;
    /// gives up the order of a customer's events
    #[arg(long, value_name = "N")]
    pub salt_hot_keys: Option<NonZeroU32>,
}

/// How events are sent.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sending")]
pub struct SendingArgs {
    /// How batches are compressed
    #[arg(long, value_enum, default_value = "lz4")]
    pub compression: CompressionKind,
    /// Bytes of a batch before compression, at most
    #[arg(long, value_name = "SIZE", default_value = "512KiB", value_parser = units::size)]
    pub batch_size: usize,
    /// How long a batch may wait to become larger
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = units::duration)]
    pub linger: Duration,
    /// Memory for what is not acknowledged yet; generating waits while it is full
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = units::size)]
    pub buffer: usize,
    /// How long to try to deliver a record, with as many retries as that takes
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = units::duration)]
    pub delivery_timeout: Duration,
    /// Sends in transactions under this name: an event comes into all topics or none
    #[arg(long, value_name = "ID")]
    pub transactional_id: Option<String>,
    /// Commits after so many events, or so much time: 1000 or 500ms [default: 1s]
    #[arg(
        long,
        value_name = "N|DURATION",
        value_parser = every,
        requires = "transactional_id"
    )]
    pub transaction_every: Option<EveryArg>,
    /// After this time the brokers abort a transaction whose producer has gone [default: 1m]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = units::duration,
        requires = "transactional_id"
    )]
    pub transaction_timeout: Option<Duration>,
    /// Setting for librdkafka: -X socket.keepalive.enable=true; can be given several times
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = property)]
    pub property: Vec<(String, String)>,
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressionKind {
    /// Not at all.
    None,
    /// Fast.
    Snappy,
    /// Fast, and a little smaller.
    Lz4,
    /// Small.
    Zstd,
    /// Small, and slow.
    Gzip,
}

/// When a transaction is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EveryArg {
    /// After this many events.
    Events(u64),
    /// When it is this old.
    Time(Duration),
}

/// Reads `1000` or `500ms`.
fn every(text: &str) -> Result<EveryArg, String> {
    match text.replace('_', "").parse() {
        Ok(events) => Ok(EveryArg::Events(events)),
        Err(_) => units::duration(text)
            .map(EveryArg::Time)
            .map_err(|_| format!("`{text}` is neither a number of events nor a duration like 1s")),
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| format!("`{text}` has no `=`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_ends_after_events_or_time() {
        assert_eq!(every("1000"), Ok(EveryArg::Events(1000)));
        assert_eq!(
            every("500ms"),
            Ok(EveryArg::Time(Duration::from_millis(500)))
        );
        assert!(every("often").is_err());
    }
}
