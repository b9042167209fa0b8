//! What becomes of the records: counted as the client says it.

use std::sync::Mutex;
use std::time::Instant;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::Statistics;

use tidegate_base::lock::lock;

use super::client::DeliveryReport;
use super::histogram::{Histogram, Latencies};
use super::report::DeliveryFailure;
use super::statistics::ClientReport;

/// Counts what becomes of the records.
pub(super) struct Deliveries {
    began: Instant,
    acknowledged: u64,
    failed: u64,
    bytes: u64,
    latencies: Histogram,
    first_failure: Option<DeliveryFailure>,
}

impl Deliveries {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Deliveries {
            began: Instant::now(),
            acknowledged: 0,
            failed: 0,
            bytes: 0,
            latencies: Histogram::default(),
            first_failure: None,
        }
    }

    /// Microseconds since the start: what a record carries until it is delivered.
    pub(super) fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn latencies(&self) -> Latencies {
        self.latencies.latencies()
    }

    pub(super) fn first_failure(&self) -> Option<DeliveryFailure> {
        self.first_failure.clone()
    }

    /// Counts records of which the client has reported at `now`.
    pub(super) fn count(&mut self, report: &DeliveryReport, now: u64) {
        match &report.error {
            None => {
                let waited = now.saturating_sub(report.sent);
                self.latencies.count(waited, report.records);
                self.bytes += report.bytes;
                self.acknowledged += report.records;
            }
            Some(error) => {
                self.note_failure(error);
                self.failed += report.records;
            }
        }
    }

    /// Remembers why something failed, if it is the first time.
    pub(super) fn note_failure(&mut self, error: &KafkaError) {
        self.first_failure.get_or_insert_with(|| DeliveryFailure {
            reason: error.to_string(),
            is_temporary: error.rdkafka_error_code().is_some_and(is_temporary),
        });
    }
}

/// What the client calls.
#[derive(Default)]
pub(super) struct DeliveryCallbacks {
    report: Mutex<ClientReport>,
}

impl DeliveryCallbacks {
    /// What the client says about itself.
    pub(super) fn report(&self) -> ClientReport {
        let report = lock(&self.report);
        report.clone()
    }
}

impl ClientContext for DeliveryCallbacks {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }

    fn stats(&self, statistics: Statistics) {
        let mut report = lock(&self.report);
        report.update(&statistics);
    }
}

impl ProducerContext for DeliveryCallbacks {
    type DeliveryOpaque = ();

    /// Only of records that are thrown away when the client ends: the others' reports are taken
    /// many at a time.
    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

/// Whether the same record may be delivered later.
fn is_temporary(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::NetworkException
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::KafkaStorageError
    )
}
