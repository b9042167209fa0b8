//! Records to the client, with what it takes to wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use super::ProduceOptions;
use super::deliveries::{Context, Deliveries};
use crate::SourceError;

/// How long a topic is waited for that a broker may create.
const TOPIC_WAIT: Duration = Duration::from_secs(30);

/// A client that sends to some topics.
pub(super) struct Sender {
    pub(super) producer: ThreadedProducer<Context>,
    pub(super) deliveries: Arc<Deliveries>,
    brokers: String,
}

/// Why a record was not taken.
pub(super) enum Refused {
    /// The buffer was full when the end was asked for.
    Stopped,
    /// The client does not take it.
    Error(KafkaError),
}

impl Sender {
    /// Sets the client up; it connects by itself.
    pub(super) fn new(options: &ProduceOptions) -> Result<Self, SourceError> {
        let deliveries = Arc::new(Deliveries::new());
        let producer = options
            .client_config()
            .create_with_context(Context(Arc::clone(&deliveries)))
            .map_err(|error: KafkaError| match error {
                KafkaError::ClientConfig(_, reason, key, value) => SourceError::option(
                    format!("properties.{key}"),
                    format!("librdkafka refuses `{value}`: {reason}"),
                ),
                KafkaError::ClientCreation(reason) => SourceError::option("properties", reason),
                other => failed(&options.topics[0], "set up the client", &other),
            })?;
        Ok(Sender {
            producer,
            deliveries,
            brokers: options.brokers.clone(),
        })
    }

    /// Hands one record over, waiting while the client's buffer is full; where `stop` is given, only
    /// until it is set.
    pub(super) fn send(
        &self,
        topic: &str,
        partition: i32,
        key: &[u8],
        payload: &[u8],
        stop: Option<&AtomicBool>,
    ) -> Result<(), Refused> {
        let mut record = BaseRecord::with_opaque_to(topic, self.deliveries.now())
            .partition(partition)
            .key(key)
            .payload(payload);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                        return Err(Refused::Stopped);
                    }
                    self.deliveries.wait_for_room(self.in_flight());
                    // What waits for room is not sent yet.
                    record = back.delivery_opaque(self.deliveries.now());
                }
                Err((error, _)) => return Err(Refused::Error(error)),
            }
        }
    }

    /// Records that are neither acknowledged nor failed.
    pub(super) fn in_flight(&self) -> u64 {
        u64::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// Waits until nothing is in flight, and calls `progress` now and then. Bounded: each record is
    /// delivered or fails within its delivery timeout.
    pub(super) fn flush(&self, mut progress: impl FnMut()) -> Result<(), KafkaError> {
        while self.in_flight() > 0 {
            match self.producer.flush(Duration::from_millis(200)) {
                Err(error)
                    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::OperationTimedOut) =>
                {
                    return Err(error);
                }
                _ => progress(),
            }
        }
        Ok(())
    }

    /// Number of the topic's partitions, which a broker may have to create first; `None` if the end
    /// was asked for meanwhile.
    pub(super) fn ask_partitions(
        &self,
        topic: &str,
        stop: &AtomicBool,
    ) -> Result<Option<i32>, SourceError> {
        let began = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let asked = self
                .producer
                .client()
                .fetch_metadata(Some(topic), Duration::from_secs(2));
            let late = began.elapsed() >= TOPIC_WAIT;
            match asked {
                Ok(metadata) => {
                    let found = metadata.topics().iter().find(|t| t.name() == topic);
                    let partitions = found
                        .filter(|t| t.error().is_none())
                        .map(|t| t.partitions().len());
                    match partitions.and_then(|n| i32::try_from(n).ok()) {
                        Some(n) if n > 0 => return Ok(Some(n)),
                        _ if late => {
                            return Err(SourceError::TopicMissing {
                                topic: topic.to_owned(),
                                brokers: self.brokers.clone(),
                                after: TOPIC_WAIT,
                            });
                        }
                        _ => {}
                    }
                }
                Err(error) if late => {
                    return Err(SourceError::Unreachable {
                        brokers: self.brokers.clone(),
                        reason: error.to_string(),
                        after: began.elapsed(),
                    });
                }
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(None)
    }
}

/// An error of the client that it does not get over.
pub(super) fn failed(topic: &str, action: &'static str, error: &KafkaError) -> SourceError {
    SourceError::Kafka {
        topic: topic.to_owned(),
        action,
        reason: error.to_string(),
    }
}
