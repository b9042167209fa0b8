//! What is read from Kafka, and how the client is set up for it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;

use tidegate_source::{ChunkLimits, SourceError};

/// Which topic to read, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    /// Addresses to start from: `host:port,host:port`.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The consumer group to which offsets are committed for lag tools. Nothing is read from it.
    pub group: String,
    /// Where to begin in partitions that the commit log does not know.
    pub start: KafkaStart,
    /// What to do when records expired before they were read.
    pub on_missing_offsets: MissingOffsets,
    /// Stop with an error when no broker was reachable for this long; `None` tries for ever.
    pub fail_after: Option<Duration>,
    /// Stop with an error when the topic is not there after this long; `None` waits for ever.
    pub topic_wait: Option<Duration>,
    /// How often to look for new partitions; they are read from their beginning.
    pub discover_every: Duration,
    /// Memory in which the client reads ahead, in bytes.
    pub read_ahead_bytes: usize,
    /// What fetches records.
    pub client: KafkaClient,
    /// Further settings of librdkafka (`security.protocol`, `sasl.*`, `ssl.*`, ...). Those that
    /// would break exactly-once are refused.
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        KafkaOptions {
            brokers: String::new(),
            topic: String::new(),
            group: String::new(),
            start: KafkaStart::Earliest,
            on_missing_offsets: MissingOffsets::Fail,
            fail_after: None,
            topic_wait: Some(Duration::from_secs(30)),
            discover_every: Duration::from_secs(30),
            read_ahead_bytes: 8 << 20,
            client: KafkaClient::Auto,
            properties: BTreeMap::new(),
        }
    }
}

/// What fetches records. All else is librdkafka's in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KafkaClient {
    /// Tidegate, for a sixth less CPU time in all, where `properties` and brokers ask for nothing
    /// that only librdkafka has: TLS, SASL, a rack, brokers from before Kafka 2.3.
    #[default]
    Auto,
    /// librdkafka.
    Librdkafka,
}

/// Where to begin in a partition that the commit log does not know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KafkaStart {
    /// With the oldest record that is there.
    #[default]
    Earliest,
    /// With what comes from now on.
    Latest,
    /// At these offsets; partitions that are not among them start with the oldest record.
    Offsets(BTreeMap<i32, i64>),
}

/// What to do when records expired before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingOffsets {
    /// Stop with an error that names them.
    #[default]
    Fail,
    /// Go on with the oldest record that is left, and count what is missing in
    /// [`Chunk::gone`](tidegate_base::chunk::Chunk::gone).
    Earliest,
}

/// What brokers know a source as, unless `client.id` says otherwise.
pub(super) const CLIENT_ID: &str = "tidegate";

/// How long a broker may wait for records, in milliseconds, unless `fetch.wait.max.ms` says
/// otherwise: whole batches in few requests, at the price of a little latency when there is next to
/// nothing to read.
pub(super) const FETCH_WAIT_MS: u64 = 100;

/// Settings that are not the user's to make, and why or where else.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set `brokers` instead"),
    ("metadata.broker.list", "set `brokers` instead"),
    ("group.id", "set `group` instead"),
    ("group.instance.id", "Tidegate assigns partitions itself"),
    (
        "enable.auto.commit",
        "positions are in the commit log, and only what is in it is committed",
    ),
    (
        "auto.commit.enable",
        "positions are in the commit log, and only what is in it is committed",
    ),
    (
        "auto.commit.interval.ms",
        "positions are in the commit log, and only what is in it is committed",
    ),
    (
        "enable.auto.offset.store",
        "positions are in the commit log, and only what is in it is committed",
    ),
    (
        "offset.store.method",
        "positions are in the commit log, and only what is in it is committed",
    ),
    (
        "auto.offset.reset",
        "it would lose records silently; set `start` and `on-missing-offsets` instead",
    ),
    (
        "enable.partition.eof",
        "Tidegate needs it to know when it has caught up",
    ),
    (
        "statistics.interval.ms",
        "Tidegate needs the statistics for the lag",
    ),
    ("queued.max.messages.kbytes", "set `read-ahead` instead"),
];

/// Settings of a producer that are not the user's to make, and why or where else.
const RESERVED_PRODUCER: &[(&str, &str)] = &[
    ("bootstrap.servers", "set `brokers` instead"),
    ("metadata.broker.list", "set `brokers` instead"),
    (
        "enable.idempotence",
        "without it, retries lose the order and double records",
    ),
    ("acks", "with less than all, a broker's end loses records"),
    (
        "delivery.report.only.error",
        "what is delivered is counted by its reports",
    ),
    (
        "request.required.acks",
        "with less than all, a broker's end loses records",
    ),
    (
        "max.in.flight.requests.per.connection",
        "idempotence needs 5 at most",
    ),
    ("max.in.flight", "idempotence needs 5 at most"),
    ("retries", "`message.timeout.ms` is what bounds retries"),
    (
        "message.send.max.retries",
        "`message.timeout.ms` is what bounds retries",
    ),
    ("transactional.id", "set `--transactional-id` instead"),
    (
        "transaction.timeout.ms",
        "set `--transaction-timeout` instead",
    ),
    (
        "statistics.interval.ms",
        "Tidegate needs the statistics for its report",
    ),
];

impl KafkaOptions {
    /// Checks the options by themselves, without a broker.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn check(&self) -> Result<(), SourceError> {
        for (name, value) in [
            ("brokers", &self.brokers),
            ("topic", &self.topic),
            ("group", &self.group),
        ] {
            if value.trim().is_empty() {
                return Err(SourceError::option(
                    format!("source.{name}"),
                    "it must not be empty",
                ));
            }
        }
        if let KafkaStart::Offsets(offsets) = &self.start
            && let Some((partition, offset)) = offsets.iter().find(|(p, o)| **p < 0 || **o < 0)
        {
            return Err(SourceError::option(
                "source.start",
                format!("partition {partition}, offset {offset}: neither can be negative"),
            ));
        }
        if !(1 << 20..1 << 31).contains(&self.read_ahead_bytes) {
            return Err(SourceError::option(
                "source.read-ahead",
                "between 1 MiB and 2 GiB",
            ));
        }
        if self.discover_every.is_zero() {
            return Err(SourceError::option(
                "source.discover-every",
                "it has to be more than zero",
            ));
        }
        check_properties("source.properties", &self.properties, RESERVED)?;
        let isolation = self.properties.get("isolation.level").map(String::as_str);
        if !matches!(
            isolation,
            None | Some("read_committed" | "read_uncommitted")
        ) {
            return Err(SourceError::option(
                "source.properties.isolation.level",
                "read_committed (the default) or read_uncommitted",
            ));
        }
        let config = self.client_config(&ChunkLimits::default());
        match config.create_native_config() {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    /// Checks what librdkafka makes of the properties together, by making a client that has nowhere
    /// to connect to.
    ///
    /// # Errors
    /// What it says: a combination that it refuses, or a file (a certificate, a key tab) that it
    /// cannot read.
    pub fn check_client(&self) -> Result<(), SourceError> {
        let mut config = self.client_config(&ChunkLimits::default());
        config
            .remove("bootstrap.servers")
            .set_log_level(RDKafkaLogLevel::Emerg);
        match config.create_with_context::<_, BaseConsumer<Unheard>>(Unheard) {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    /// Whether records of open and aborted transactions are read.
    pub(super) fn reads_uncommitted(&self) -> bool {
        self.properties
            .get("isolation.level")
            .is_some_and(|level| level == "read_uncommitted")
    }

    /// Bytes that are received in one piece, at most: a record that is too large is handed over
    /// truncated, so it has to be received first.
    pub(super) fn receive_bytes_max(&self, limits: &ChunkLimits) -> usize {
        (limits.record_bytes_max + (64 << 20)).max(100_000_000)
    }

    /// The client's settings.
    pub(super) fn client_config(&self, limits: &ChunkLimits) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", CLIENT_ID)
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string())
            .set("fetch.max.bytes", "67108864")
            .set("queued.min.messages", "1000000")
            // A full read-ahead is looked at again soon: with the client's own second, half of the
            // time of a backlog is spent waiting.
            .set("fetch.queue.backoff.ms", "10")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "5000")
            .set("topic.metadata.refresh.interval.ms", "30000");
        config.set(
            "receive.message.max.bytes",
            self.receive_bytes_max(limits).to_string(),
        );
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("statistics.interval.ms", "1000")
            .set(
                "queued.max.messages.kbytes",
                (self.read_ahead_bytes >> 10).to_string(),
            )
            .set_log_level(RDKafkaLogLevel::Warning);
        config
    }
}

/// A client that has nothing to say.
struct Unheard;

impl ClientContext for Unheard {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Unheard {}

/// Why librdkafka refuses its settings.
pub(super) fn refused(error: KafkaError) -> SourceError {
    match error {
        KafkaError::ClientConfig(_, reason, key, value) => {
            // Its texts end as its logs do.
            let reason = reason.trim_end_matches(['.', '\n']);
            let message = if reason.starts_with("No such configuration property") {
                "librdkafka has no such property; its names are in https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md"
                    .to_owned()
            } else {
                format!("librdkafka refuses `{value}`: {reason}")
            };
            SourceError::option(format!("source.properties.{key}"), message)
        }
        KafkaError::ClientCreation(reason) => SourceError::option(
            "source.properties",
            format!("librdkafka refuses them: {reason}"),
        ),
        other => SourceError::option("source.properties", other.to_string()),
    }
}

/// Refuses settings of a producer that are not the user's to make.
pub(crate) fn check_producer_properties(
    properties: &BTreeMap<String, String>,
) -> Result<(), SourceError> {
    check_properties("properties", properties, RESERVED_PRODUCER)
}

/// Of the settings of a source, those that a producer may have too.
pub(crate) fn producer_properties(
    properties: &BTreeMap<String, String>,
) -> impl Iterator<Item = (&String, &String)> {
    properties.iter().filter(|(key, _)| {
        RESERVED_PRODUCER
            .iter()
            .all(|(reserved, _)| reserved != key)
    })
}

fn check_properties(
    option: &str,
    properties: &BTreeMap<String, String>,
    reserved: &[(&str, &str)],
) -> Result<(), SourceError> {
    match reserved
        .iter()
        .find(|(key, _)| properties.contains_key(*key))
    {
        Some((key, why)) => Err(SourceError::option(
            format!("{option}.{key}"),
            format!("refused: {why}"),
        )),
        None => Ok(()),
    }
}
