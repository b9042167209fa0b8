//! Records into one topic, each acknowledged by itself: for senders that wait until Kafka has what
//! they sent.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::sender::failed;
use crate::consumer::{is_connection, producer_properties};
use tidegate_base::lock::lock;
use tidegate_source::SourceError;

/// Bytes of records that Kafka does not have yet; what would exceed them is not taken.
const BUFFER_KIBIBYTES: usize = 64 << 10;

/// How the key of a record chooses its partition. Senders that share a topic have to agree, or one
/// key is in two partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Partitioner {
    /// As Java's clients do it: murmur2 of the key. Kafka Connect and the streams libraries are
    /// among them.
    #[default]
    Java,
    /// As librdkafka does it unless told otherwise, and with it the clients for Python, Go, .NET
    /// and Node that are built on it: CRC-32 of the key.
    Librdkafka,
}

impl Partitioner {
    /// What librdkafka calls it. Records without a key go anywhere with both.
    fn name(self) -> &'static str {
        match self {
            Partitioner::Java => "murmur2_random",
            Partitioner::Librdkafka => "consistent_random",
        }
    }
}

/// Which topic, and how long to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOptions {
    /// Addresses to start from: `host:port,host:port`.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// How long to try to deliver a record.
    pub delivery_timeout: Duration,
    /// How keys choose partitions.
    pub partitioner: Partitioner,
    /// Further settings of librdkafka; those that would lose or double records are left out.
    pub properties: BTreeMap<String, String>,
}

/// Where Kafka has put a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

/// Why a record is not known to be in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Too much is waiting for Kafka. The record was not sent.
    #[error("too many records are waiting for Kafka")]
    Full,
    /// It is larger than Kafka takes. The record was not sent.
    #[error("the record is larger than Kafka takes (message.max.bytes)")]
    TooLarge,
    /// Kafka has not acknowledged it. It may have it all the same.
    #[error("Kafka has not acknowledged the record: {0}")]
    Failed(String),
}

/// Sends records to one topic: idempotent, with `acks=all`.
pub struct TopicProducer {
    config: ClientConfig,
    topic: String,
    producer: Mutex<FutureProducer<TopicCallbacks>>,
}

impl std::fmt::Debug for TopicProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicProducer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl TopicProducer {
    /// Sets the client up; it connects by itself.
    ///
    /// # Errors
    /// If librdkafka refuses a setting.
    pub fn new(options: &TopicOptions) -> Result<Self, SourceError> {
        let config = client_config(options);
        let producer = create(&config).map_err(|error| match error {
            KafkaError::ClientConfig(_, reason, key, value) => SourceError::option(
                format!("source.properties.{key}"),
                format!("librdkafka refuses `{value}`: {reason}"),
            ),
            other => failed(&options.topic, "set up the client", &other),
        })?;
        Ok(TopicProducer {
            config,
            topic: options.topic.clone(),
            producer: Mutex::new(producer),
        })
    }

    /// Sends records, each a key and a payload, and waits until Kafka has them or the time for it
    /// is over. Records of one key keep their order: where one does not fit into the buffer, none
    /// after it is sent.
    pub async fn send<'a>(
        &self,
        records: impl Iterator<Item = (Option<&'a [u8]>, &'a [u8])>,
    ) -> Vec<Result<Position, SendError>> {
        let sent: Vec<_> = {
            let producer = self.producer();
            let mut is_full = false;
            records
                .map(|(key, payload)| {
                    if is_full {
                        return Err(SendError::Full);
                    }
                    let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic).payload(payload);
                    record.key = key;
                    producer.send_result(record).map_err(|(error, _)| {
                        let error = SendError::from(error);
                        is_full = error == SendError::Full;
                        error
                    })
                })
                .collect()
        };
        let mut positions = Vec::with_capacity(sent.len());
        for delivery in sent {
            positions.push(match delivery {
                Err(error) => Err(error),
                Ok(delivery) => match delivery.await {
                    Ok(Ok(delivery)) => Ok(Position {
                        partition: delivery.partition,
                        offset: delivery.offset,
                    }),
                    Ok(Err((error, _))) => Err(error.into()),
                    Err(_) => Err(SendError::Failed("the client was closed".to_owned())),
                },
            });
        }
        positions
    }

    /// Waits until nothing is on its way any more. Blocks.
    ///
    /// # Errors
    /// Something still is after this time.
    pub fn flush(&self, wait: Duration) -> Result<(), SendError> {
        let producer = self.producer();
        producer
            .flush(wait)
            .map_err(|error| SendError::Failed(error.to_string()))
    }

    /// The client; a new one where it has a fault that it does not get over.
    fn producer(&self) -> FutureProducer<TopicCallbacks> {
        let mut producer = lock(&self.producer);
        if let Some((_, reason)) = producer.client().fatal_error() {
            tracing::warn!(topic = %self.topic, reason, "the Kafka producer has failed for good; taking a new one");
            match create(&self.config) {
                Ok(new) => *producer = new,
                Err(error) => tracing::error!(%error, "there is no new Kafka producer"),
            }
        }
        producer.clone()
    }
}

fn create(config: &ClientConfig) -> Result<FutureProducer<TopicCallbacks>, KafkaError> {
    config.create_with_context(TopicCallbacks)
}

fn client_config(options: &TopicOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "tidegate-ingest")
        .set("linger.ms", "5")
        .set("compression.type", "lz4")
        .set("partitioner", options.partitioner.name())
        .set("reconnect.backoff.max.ms", "1000");
    for (key, value) in producer_properties(&options.properties) {
        config.set(key, value);
    }
    config
        .set("bootstrap.servers", &options.brokers)
        .set("queue.buffering.max.kbytes", BUFFER_KIBIBYTES.to_string())
        .set(
            "message.timeout.ms",
            options.delivery_timeout.as_millis().to_string(),
        )
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

impl From<KafkaError> for SendError {
    fn from(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => SendError::Full,
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => SendError::TooLarge,
            _ => SendError::Failed(error.to_string()),
        }
    }
}

struct TopicCallbacks;

impl ClientContext for TopicCallbacks {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That brokers are away is the source's to say, once; senders are answered that their
        // records were not taken.
        if error.rdkafka_error_code().is_some_and(is_connection) {
            tracing::debug!(%error, reason, "the connection of POST /v1/events to Kafka");
        } else {
            tracing::warn!(%error, reason, "what POST /v1/events takes in cannot be sent to Kafka");
        }
    }
}
