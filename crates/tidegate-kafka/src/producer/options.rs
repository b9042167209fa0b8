//! What is produced, and how the client is set up for it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::consumer::check_producer_properties;
use tidegate_generator::GeneratorOptions;
use tidegate_source::SourceError;

/// How often librdkafka says what it does.
pub(super) const STATISTICS_EVERY: Duration = Duration::from_millis(500);

/// What to send where.
#[derive(Debug, Clone, PartialEq)]
pub struct ProduceOptions {
    /// Addresses to start from: `host:port,host:port`.
    pub brokers: String,
    /// The topics, each of which gets every event. They have to exist, or the broker has to create
    /// topics by itself.
    pub topics: Vec<String>,
    /// What to generate. The number of partitions is the first topic's, whatever it says here.
    pub generator: GeneratorOptions,
    /// How batches are compressed.
    pub compression: Compression,
    /// How long a batch may wait to become larger.
    pub linger: Duration,
    /// Bytes of a batch before compression, at most.
    pub batch_bytes: usize,
    /// Memory for records that are not acknowledged yet, in bytes; at least 1 MiB. While it is
    /// full, nothing is generated.
    pub buffer_bytes: usize,
    /// How long to try to deliver a record; this is what bounds retries. In a transaction it is at
    /// most the transaction's timeout.
    pub delivery_timeout: Duration,
    /// Sends in transactions: all of an event's topics and partitions, or none.
    pub transactions: Option<TransactionOptions>,
    /// Spreads each hot customer over this many keys. Gives up the order of a customer's events.
    pub salt_hot_keys: Option<NonZeroU32>,
    /// Time between two reports of progress.
    pub report_every: Duration,
    /// Further settings of librdkafka. Those that would break the order or lose records are
    /// refused.
    pub properties: BTreeMap<String, String>,
}

impl Default for ProduceOptions {
    fn default() -> Self {
        ProduceOptions {
            brokers: String::new(),
            topics: Vec::new(),
            generator: GeneratorOptions::default(),
            compression: Compression::Lz4,
            linger: Duration::from_millis(20),
            batch_bytes: 512 << 10,
            buffer_bytes: 32 << 20,
            delivery_timeout: Duration::from_secs(300),
            transactions: None,
            salt_hot_keys: None,
            report_every: Duration::from_secs(1),
            properties: BTreeMap::new(),
        }
    }
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// `snappy`
    Snappy,
    /// `lz4`
    #[default]
    Lz4,
    /// `zstd`
    Zstd,
    /// `gzip`
    Gzip,
}

/// Transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionOptions {
    /// `transactional.id`: of two producers with the same one, the later ends the earlier one's
    /// transaction and shuts it out.
    pub id: String,
    /// When a transaction is committed.
    pub every: TransactionEvery,
    /// After this time the broker aborts a transaction whose producer has gone.
    pub timeout: Duration,
}

/// When a transaction is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEvery {
    /// After this many events.
    Events(u64),
    /// When it is this old.
    Time(Duration),
}

impl ProduceOptions {
    /// Checks what can be checked without a broker.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn check(&self) -> Result<(), SourceError> {
        check_producer_properties(&self.properties)?;
        if self.brokers.trim().is_empty() {
            return Err(SourceError::option("brokers", "it must not be empty"));
        }
        if self.topics.is_empty() || self.topics.iter().any(|topic| topic.trim().is_empty()) {
            return Err(SourceError::option("topic", "it must not be empty"));
        }
        let mut topics: Vec<_> = self.topics.iter().collect();
        topics.sort_unstable();
        if let Some(twice) = topics.windows(2).find(|two| two[0] == two[1]) {
            let message = format!("`{}` is there twice", twice[0]);
            return Err(SourceError::option("topic", message));
        }
        if let Some(transactions) = &self.transactions {
            if transactions.id.trim().is_empty() {
                let message = "it must not be empty";
                return Err(SourceError::option("transactional-id", message));
            }
            let never = match transactions.every {
                TransactionEvery::Events(events) => events == 0,
                TransactionEvery::Time(time) => time.is_zero() || time >= transactions.timeout,
            };
            if never {
                let message = "more than nothing, and less than the transaction's timeout";
                return Err(SourceError::option("transaction-every", message));
            }
        }
        Ok(())
    }

    /// How long to try to deliver a record.
    pub(super) fn delivery_timeout(&self) -> Duration {
        let limit = self.transactions.as_ref().map(|t| t.timeout);
        self.delivery_timeout.min(limit.unwrap_or(Duration::MAX))
    }

    /// The client's settings.
    pub(super) fn client_config(&self) -> ClientConfig {
        let millis = |time: Duration| time.as_millis().to_string();
        let mut config = ClientConfig::new();
        config
            .set("client.id", "tidegate-produce")
            // The buffer's limit is in bytes; this one is the highest that librdkafka takes.
            .set("queue.buffering.max.messages", "10000000")
            .set(
                "queue.buffering.max.kbytes",
                (self.buffer_bytes >> 10).max(1024).to_string(),
            )
            .set("batch.num.messages", "10000")
            .set("batch.size", self.batch_bytes.max(1024).to_string())
            .set("linger.ms", millis(self.linger))
            .set("message.timeout.ms", millis(self.delivery_timeout()))
            .set("compression.type", self.compression.name());
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            .set("statistics.interval.ms", millis(STATISTICS_EVERY))
            .set_log_level(RDKafkaLogLevel::Warning);
        if let Some(transactions) = &self.transactions {
            config
                .set("transactional.id", &transactions.id)
                .set("transaction.timeout.ms", millis(transactions.timeout));
        }
        config
    }
}

impl Compression {
    /// The name that librdkafka has for it.
    fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
            Compression::Gzip => "gzip",
        }
    }
}
