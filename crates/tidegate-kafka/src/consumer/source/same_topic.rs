//! That what librdkafka hands over is of the topic that is read.
//!
//! A topic that is deleted and made again under its name can go unnoticed by librdkafka: it reads
//! on at the next offset, if the new topic has one. So nothing is handed on before the topic's id
//! was asked for after it had come. Ids do not come back: what came before the answer is then of
//! this topic, as far as the broker knows that was asked.

use std::thread;
use std::time::{Duration, Instant};

use super::locate::TOPIC_REQUEST_TIMEOUT;
use super::trouble::DiscoverError;
use super::{KafkaSource, RETRY_PAUSE, RecordSource};
use crate::consumer::topic_id;
use rdkafka::error::RDKafkaErrorCode;
use tidegate_source::SourceError;

/// How often the id is asked for, at most, unless so much is held that nothing more can come. Half
/// of it is added to the latency of records while there is always one.
const PAUSE: Duration = Duration::from_millis(100);

impl KafkaSource {
    /// Receives what librdkafka has, or waits for it. True if it cannot be handed on yet, because
    /// it is not known of which topic it is.
    pub(super) fn receive_of_same_topic(&mut self, wait: Duration) -> Result<bool, SourceError> {
        let RecordSource::Client(messages) = &mut self.reader else {
            return Ok(false);
        };
        if self.topic_id.is_none() {
            // Brokers from before Kafka 2.8 have no ids.
            messages.receive(wait);
            return Ok(false);
        }
        let due = self.id_at.saturating_duration_since(Instant::now());
        match (messages.is_full(), messages.holds()) {
            (true, _) => {}
            (false, true) => messages.receive(wait.min(due)),
            (false, false) => messages.receive(wait),
        }
        let (is_full, holds) = (messages.is_full(), messages.holds());
        let is_due = Instant::now() >= self.id_at;
        if !holds {
            return Ok(false);
        }
        if !is_due && !is_full {
            return Ok(true);
        }
        if !is_due && self.is_id_open {
            // It was asked for in vain, a moment ago.
            thread::sleep(wait.min(due));
            return Ok(true);
        }
        Ok(!self.is_still_the_topic()?)
    }

    /// Asks for the topic's id. False if it is another one, or nobody says.
    fn is_still_the_topic(&mut self) -> Result<bool, SourceError> {
        self.id_at = Instant::now() + PAUSE;
        let topic = &self.options.topic.clone();
        let error = match topic_id::request(&self.consumer, topic, TOPIC_REQUEST_TIMEOUT) {
            Ok(id) if self.is_topic(id.as_ref()) => {
                self.is_id_open = false;
                return Ok(true);
            }
            Ok(_) => {
                tracing::info!(topic, "the topic has another id");
                self.locate_at = Some(Instant::now());
                return Ok(false);
            }
            Err(error) => error,
        };
        self.is_id_open = true;
        self.id_at = Instant::now() + RETRY_PAUSE;
        match error.rdkafka_error_code() {
            // It was deleted.
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                self.locate_at = Some(Instant::now());
            }
            _ => {
                if let DiscoverError::Fatal(error) = self.obstacle("ask for the topic's id", &error)
                {
                    return Err(error);
                }
            }
        }
        Ok(false)
    }
}
