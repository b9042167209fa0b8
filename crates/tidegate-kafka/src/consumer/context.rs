//! What the client tells in passing: statistics, errors, log lines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use tidegate_base::clock::Clock;
use tidegate_base::lock::lock;

use super::fetch::Ends;
use super::trouble::Trouble;

/// How long no broker is reachable before that is said: what passes sooner is nothing to look at,
/// and by then the client has told why.
pub(super) const SAY_AFTER: Duration = Duration::from_secs(2);

/// A broker that has not answered for longer than this has not been asked for more in time.
const ANSWERS_WITHIN_MICROS: i64 = 2_000_000;

/// Receives the client's callbacks, which come while it is polled.
pub(super) struct ConsumerCallbacks {
    pub(super) topic: String,
    pub(super) reads_uncommitted: bool,
    pub(super) shared: Arc<ClusterView>,
}

/// What is known about the cluster.
pub(super) struct ClusterView {
    clock: Clock,
    known: Mutex<ClusterFacts>,
}

#[derive(Default)]
struct ClusterFacts {
    /// Where each partition ends.
    ends: BTreeMap<i32, Ends>,
    /// Where partitions ended that the client has asked for more since this was last taken.
    asked: BTreeMap<i32, i64>,
    /// No broker is reachable.
    lost: Option<Trouble>,
    /// The last thing that went wrong with a broker.
    reason: String,
    commit_failed: bool,
}

impl ClusterFacts {
    /// Since when no broker is reachable, and why as far as known.
    fn lost(&self) -> Option<(&Trouble, &str)> {
        let lost = self.lost.as_ref()?;
        let reason = match self.reason.as_str() {
            "" => &lost.why,
            reason => reason,
        };
        Some((lost, reason))
    }
}

impl ClusterView {
    pub(super) fn new(clock: Clock) -> Self {
        ClusterView {
            clock,
            known: Mutex::default(),
        }
    }

    /// Nothing is known, by the same clock.
    pub(super) fn alike(&self) -> Self {
        ClusterView::new(self.clock.clone())
    }

    /// Microseconds since the Unix epoch.
    pub(super) fn now(&self) -> i64 {
        self.clock.now_micros()
    }

    fn known(&self) -> MutexGuard<'_, ClusterFacts> {
        lock(&self.known)
    }

    /// Where each partition ends, as far as known.
    pub(super) fn ends(&self) -> BTreeMap<i32, Ends> {
        self.known().ends.clone()
    }

    /// Takes the partitions that the client has asked for more, and where they ended.
    pub(super) fn take_asked(&self) -> BTreeMap<i32, i64> {
        std::mem::take(&mut self.known().asked)
    }

    /// For how long no broker has been reachable, and why.
    pub(super) fn lost_for(&self) -> Option<(Duration, String)> {
        let known = self.known();
        let (lost, reason) = known.lost()?;
        Some((lost.elapsed(), reason.to_owned()))
    }

    /// Since when no broker has been reachable, in microseconds since the Unix epoch, and why.
    pub(super) fn lost_since(&self) -> Option<(i64, String)> {
        let known = self.known();
        let (lost, reason) = known.lost()?;
        Some((lost.since, reason.to_owned()))
    }

    /// No broker is reachable.
    pub(super) fn lose(&self, why: &str) {
        let now = self.now();
        let mut known = self.known();
        known.lost.get_or_insert_with(|| Trouble::new(why, now));
    }

    /// Says that no broker is reachable, once for each time that happens.
    pub(super) fn say_lost(&self) {
        let mut known = self.known();
        let Some((lost, reason)) = known.lost() else {
            return;
        };
        if lost.said || lost.elapsed() < SAY_AFTER {
            return;
        }
        tracing::warn!(
            reason,
            "no Kafka broker is reachable; trying again until one is"
        );
        if let Some(lost) = &mut known.lost {
            lost.said = true;
        }
    }

    /// A broker is reachable.
    pub(super) fn find(&self) {
        let mut known = self.known();
        known.reason.clear();
        if let Some(lost) = known.lost.take().filter(|lost| lost.said) {
            let seconds = lost.elapsed().as_secs_f64();
            tracing::info!(seconds, "a Kafka broker is reachable again");
        }
    }
}

impl ClientContext for ConsumerCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, message, "librdkafka");
            }
            // A broker that is down is reported once, in `lose`, and not at each attempt.
            _ => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        // A broker that answers is one that has a number; the ones to start from have -1.
        let is_up = statistics
            .brokers
            .values()
            .any(|broker| broker.state == "UP");
        if is_up {
            self.shared.find();
        }
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        // The client asks all the time, and says that a partition is at its end only once.
        let answers = |id: i32| {
            let broker = statistics.brokers.values().find(|b| b.nodeid == id);
            broker.is_some_and(|b| b.state == "UP" && b.rxidle < ANSWERS_WITHIN_MICROS)
        };
        let mut known = self.shared.known();
        for (id, partition) in &topic.partitions {
            let stable = if self.reads_uncommitted {
                partition.hi_offset
            } else {
                partition.ls_offset
            };
            if *id >= 0 && stable >= 0 {
                let high = partition.hi_offset.max(stable);
                known.ends.insert(*id, Ends { stable, high });
                if partition.fetch_state == "active" && answers(partition.broker) {
                    known.asked.insert(*id, stable);
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.shared.lose(reason),
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::SSL,
            ) => self.shared.known().reason = reason.to_owned(),
            // What else there is comes out of `poll` too, and is dealt with there.
            _ => {}
        }
    }
}

impl ConsumerContext for ConsumerCallbacks {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        let mut known = self.shared.known();
        match result {
            Ok(()) => known.commit_failed = false,
            Err(error) if !known.commit_failed => {
                known.commit_failed = true;
                tracing::warn!(%error, "cannot commit to the consumer group; only lag tools miss it");
            }
            Err(_) => {}
        }
    }
}
