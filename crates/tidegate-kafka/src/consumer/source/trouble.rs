//! What is made of questions that fail, and of brokers that are away or refuse.

use std::time::Duration;

use rdkafka::error::KafkaError;

use super::codes::{is_connection, is_refusal, passes};
use super::{KafkaSource, RETRY_PAUSE, RecordSource, TOPIC};
use crate::consumer::KafkaOptions;
use crate::consumer::trouble::Trouble;
use tidegate_source::{SourceError, Unreachable};

/// Why partitions and offsets could not be found out.
pub(super) enum DiscoverError {
    /// May pass.
    Passing,
    Fatal(SourceError),
}

impl From<SourceError> for DiscoverError {
    fn from(error: SourceError) -> Self {
        DiscoverError::Fatal(error)
    }
}

impl KafkaSource {
    /// What to make of a question that failed.
    pub(super) fn obstacle(&mut self, action: &'static str, error: &KafkaError) -> DiscoverError {
        match error.rdkafka_error_code() {
            Some(code) if passes(code) => {
                if is_connection(code) {
                    self.shared.lose(&code.to_string());
                }
                DiscoverError::Passing
            }
            Some(code) if is_refusal(code) => {
                self.retry_pause = self.refuse(TOPIC, &format!("cannot {action}: {code}"));
                DiscoverError::Passing
            }
            _ => DiscoverError::Fatal(self.failure(action, error)),
        }
    }

    /// Notes that brokers refuse something, and says so once. Gives how long to wait before it is
    /// tried again.
    pub(super) fn refuse(&mut self, partition: i32, reason: &str) -> Duration {
        let now = self.shared.now();
        let trouble = self.refused.entry(partition);
        let trouble = trouble.or_insert_with(|| Trouble::new(reason, now));
        if !std::mem::replace(&mut trouble.said, true) {
            let topic = &self.options.topic;
            tracing::warn!(
                topic,
                partition = (partition != TOPIC).then_some(partition),
                reason,
                "Kafka refuses to let the topic be read; trying again"
            );
        }
        trouble.again(reason, RETRY_PAUSE)
    }

    /// Brokers do not refuse it any more.
    pub(super) fn let_in(&mut self, partition: i32) {
        if let Some(trouble) = self.refused.remove(&partition) {
            let (topic, seconds) = (&self.options.topic, trouble.elapsed().as_secs_f64());
            tracing::info!(
                topic,
                partition = (partition != TOPIC).then_some(partition),
                seconds,
                "Kafka lets the topic be read again"
            );
        }
    }

    pub(super) fn failure(&self, action: &'static str, error: &KafkaError) -> SourceError {
        SourceError::Kafka {
            topic: self.options.topic.clone(),
            action,
            reason: error.to_string(),
        }
    }

    /// Says that the cluster is unreachable, or gives up on it, if that is configured.
    pub(super) fn check_reachable(&self) -> Result<(), SourceError> {
        self.shared.say_lost();
        match (self.options.fail_after, self.shared.lost_for()) {
            (Some(limit), Some((after, reason))) if after >= limit => {
                Err(SourceError::Unreachable {
                    brokers: self.options.brokers.clone(),
                    reason,
                    after,
                })
            }
            _ => self.check_refused(),
        }
    }

    /// Gives up where brokers have refused for too long, if that is configured.
    pub(super) fn check_refused(&self) -> Result<(), SourceError> {
        let longest = self
            .refused
            .values()
            .max_by_key(|trouble| trouble.elapsed());
        match (self.options.fail_after, longest) {
            (Some(limit), Some(trouble)) if trouble.elapsed() >= limit => {
                Err(SourceError::Refused {
                    brokers: self.options.brokers.clone(),
                    topic: self.options.topic.clone(),
                    reason: trouble.why.clone(),
                    after: trouble.elapsed(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Why nothing can be read, if nothing can.
    pub(super) fn reach(&self) -> Option<Unreachable> {
        let KafkaOptions { brokers, topic, .. } = &self.options;
        if let Some((since, reason)) = self.shared.lost_since() {
            let error = format!(
                "no Kafka broker at `{brokers}` can be reached ({reason}); trying again. Check the address, the network and \
                 `source.properties`"
            );
            return Some(Unreachable { since, error });
        }
        if let Some(trouble) = self.refused.values().min_by_key(|trouble| trouble.since) {
            let error = format!(
                "Kafka at `{brokers}` does not let topic `{topic}` be read ({}); trying again. Look at the brokers' logs and at the \
                 permissions of this user",
                trouble.why
            );
            let since = trouble.since;
            return Some(Unreachable { since, error });
        }
        if let Some(missing) = &self.topic_missing {
            let error = format!(
                "topic `{topic}` does not exist at `{brokers}`; waiting for it. Create it, or correct `source.topic`"
            );
            let since = missing.since;
            return Some(Unreachable { since, error });
        }
        let RecordSource::Fetch(fetch) = &self.reader else {
            return None;
        };
        let (elapsed, error) = fetch.failing()?;
        let micros = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        Some(Unreachable {
            since: self.shared.now().saturating_sub(micros),
            error,
        })
    }
}
