//! Events to the client, with what it takes to wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};

use super::ProduceOptions;
use super::batch::{Batches, NextBatch};
use super::client::{OpenBatch, ProducerClient};
use super::deliveries::{Deliveries, DeliveryCallbacks};
use super::statistics::ClientReport;
use tidegate_source::SourceError;

/// How long a topic is waited for that a broker may create.
const TOPIC_WAIT: Duration = Duration::from_secs(30);
/// How long to wait before metadata are asked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long metadata are waited for at a time.
const METADATA_WAIT: Duration = Duration::from_secs(2);
/// After this time a sender that waits for something looks again by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long the client has, each time, to begin to send what it would let linger.
const FLUSH_BEGINS: Duration = Duration::from_millis(1);

/// A client that sends to some topics, and counts what becomes of it.
///
/// Reports are taken by the calling thread, while it waits and between what it sends: no thread
/// wakes another.
pub(super) struct Sender {
    client: ProducerClient<DeliveryCallbacks>,
    deliveries: Deliveries,
    brokers: String,
    /// The batch that is being sent, and how many of its events were.
    current: Option<(OpenBatch, usize)>,
    sent: u64,
}

impl Sender {
    /// Sets the client up; it connects by itself.
    pub(super) fn new(options: &ProduceOptions) -> Result<Self, SourceError> {
        let producer: BaseProducer<DeliveryCallbacks> = options
            .client_config()
            .create_with_context(DeliveryCallbacks::default())
            .map_err(|error: KafkaError| match error {
                KafkaError::ClientConfig(_, reason, key, value) => SourceError::option(
                    format!("properties.{key}"),
                    format!("librdkafka refuses `{value}`: {reason}"),
                ),
                KafkaError::ClientCreation(reason) => SourceError::option("properties", reason),
                other => failed(&options.topics[0], "set up the client", &other),
            })?;
        Ok(Sender {
            client: ProducerClient::new(producer),
            deliveries: Deliveries::new(),
            brokers: options.brokers.clone(),
            current: None,
            sent: 0,
        })
    }

    /// The producer, for all but sending and reports.
    pub(super) fn producer(&self) -> &BaseProducer<DeliveryCallbacks> {
        self.client.producer()
    }

    pub(super) fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// Adds a topic to send to.
    pub(super) fn add_topic(&mut self, topic: &str, partitions: i32) -> Result<(), SourceError> {
        self.client
            .add_topic(topic, partitions)
            .map_err(|error| failed(topic, "send a record", &error))
    }

    /// Records that the client took.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Remembers why something failed, if it is the first time.
    pub(super) fn note_failure(&mut self, error: &KafkaError) {
        self.deliveries.note_failure(error);
    }

    /// What the client says about itself.
    pub(super) fn client_report(&self) -> ClientReport {
        let report = self.client.producer().context().report();
        ClientReport {
            buffered_bytes: self.client.lent_bytes(),
            ..report
        }
    }

    /// Sends up to `count` of the next events to every topic. Gives how many were sent; none if
    /// there is no room, which this waits for, but not for long.
    pub(super) fn send(
        &mut self,
        batches: &mut Batches,
        count: u64,
    ) -> (u64, Result<(), KafkaError>) {
        let Some((open, sent)) = self.current.take().or_else(|| self.take(batches)) else {
            return (0, Ok(()));
        };
        let left = self.client.len(&open) - sent;
        let count = usize::try_from(count).map_or(left, |count| count.min(left));
        let (mut taken, mut outcome) = self.send_to(0, &open, (sent, count));
        let is_full = taken < count && outcome.is_ok();
        // An event that one topic has comes into the others, too.
        for topic in 1..self.client.topics() {
            let mut done = 0;
            while outcome.is_ok() && done < taken {
                let more;
                (more, outcome) = self.send_to(topic, &open, (sent + done, taken - done));
                done += more;
                if done < taken && outcome.is_ok() {
                    self.serve(LOOK_AGAIN);
                }
            }
            taken = done;
        }
        let sent = sent + taken;
        if sent < self.client.len(&open) {
            self.current = Some((open, sent));
        } else {
            self.client.close(open);
        }
        self.serve(if is_full { LOOK_AGAIN } else { Duration::ZERO });
        (taken as u64, outcome)
    }

    /// Sends events of a batch to one topic, as many as there is room for. Gives how many.
    fn send_to(
        &mut self,
        topic: usize,
        open: &OpenBatch,
        range: (usize, usize),
    ) -> (usize, Result<(), KafkaError>) {
        let now = self.deliveries.now();
        let (taken, outcome) = self.client.send(topic, open, range, now);
        self.sent += taken as u64;
        match outcome {
            // There will be room.
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => (taken, Ok(())),
            outcome => (taken, outcome),
        }
    }

    /// The next batch. While all of them wait for reports, waits for one, but not for long.
    fn take(&mut self, batches: &mut Batches) -> Option<(OpenBatch, usize)> {
        while let Some(batch) = self.client.take_back() {
            batches.give_back(batch);
        }
        match batches.take() {
            NextBatch::Batch(batch) => Some((self.client.lend(batch), 0)),
            NextBatch::NoneLeft => {
                self.serve(LOOK_AGAIN);
                None
            }
            // What is left to send is known by number, so that there is always more: unless its
            // maker panicked, which must not be waited out.
            NextBatch::End => panic!("the thread that makes the events has ended before the last"),
        }
    }

    /// Waits for a report, and counts all that are there by then.
    pub(super) fn serve(&mut self, wait: Duration) {
        let deliveries = &mut self.deliveries;
        self.client.poll(wait, |report| {
            let now = deliveries.now();
            deliveries.count(&report, now);
        });
    }

    /// Records that are neither acknowledged nor failed.
    fn in_flight(&self) -> u64 {
        u64::try_from(self.producer().in_flight_count()).unwrap_or(0)
    }

    /// Waits until nothing is in flight, and calls `progress` now and then. Bounded: each record is
    /// delivered or fails within its delivery timeout.
    pub(super) fn flush(&mut self, mut progress: impl FnMut(&Self)) {
        while self.in_flight() > 0 {
            self.client.begin_flush(FLUSH_BEGINS);
            self.serve(LOOK_AGAIN);
            progress(self);
        }
    }

    /// Asks for metadata once more, which makes the client ready to send. It gives up the
    /// connections that it began with when it learns what the brokers' addresses are, and asks for
    /// the id of an idempotent producer only when metadata come: if those come while it has no
    /// connection, half a second later.
    pub(super) fn make_ready(&self, topic: &str) {
        let client = self.producer().client();
        if let Err(error) = client.fetch_metadata(Some(topic), METADATA_WAIT) {
            tracing::debug!(%error, "no metadata; sending waits for them");
        }
    }

    /// Number of the topic's partitions, which a broker may have to create first; `None` if the end
    /// was asked for meanwhile.
    pub(super) fn request_partitions(
        &mut self,
        topic: &str,
        stop: &AtomicBool,
    ) -> Result<Option<i32>, SourceError> {
        let began = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let response = self
                .producer()
                .client()
                .fetch_metadata(Some(topic), METADATA_WAIT);
            let late = began.elapsed() >= TOPIC_WAIT;
            match response {
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
            // What the client says meanwhile is why it cannot connect.
            self.serve(RETRY_PAUSE);
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
