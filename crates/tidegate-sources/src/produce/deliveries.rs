//! What becomes of the records: counted as the client says it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::Statistics;

use super::histogram::{Histogram, Latencies};
use super::report::DeliveryFailure;
use super::statistics::ClientReport;

/// Records that have to leave a full buffer before the sender is woken.
const WAKE_AFTER: u64 = 1000;
/// After this time a sender looks by itself whether there is room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Counts what becomes of the records, and wakes the sender when there is room.
pub(super) struct Deliveries {
    began: Instant,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    latencies: Histogram,
    first_failure: Mutex<Option<DeliveryFailure>>,
    client: Mutex<ClientReport>,
    sender: Thread,
    /// The sender wants to be woken when this many records are done with; `u64::MAX` if it does not.
    wake_at: AtomicU64,
}

impl Deliveries {
    /// Nothing yet. The calling thread is the sender.
    pub(super) fn new() -> Self {
        Deliveries {
            began: Instant::now(),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            latencies: Histogram::default(),
            first_failure: Mutex::default(),
            client: Mutex::default(),
            sender: thread::current(),
            wake_at: AtomicU64::new(u64::MAX),
        }
    }

    /// Microseconds since the start: what a record carries until it is delivered.
    pub(super) fn now(&self) -> usize {
        self.began.elapsed().as_micros() as usize
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn latencies(&self) -> Latencies {
        self.latencies.latencies()
    }

    pub(super) fn client(&self) -> ClientReport {
        lock(&self.client).clone()
    }

    pub(super) fn first_failure(&self) -> Option<DeliveryFailure> {
        lock(&self.first_failure).clone()
    }

    /// Remembers why something failed, if it is the first time.
    pub(super) fn note_failure(&self, error: &KafkaError) {
        lock(&self.first_failure).get_or_insert_with(|| DeliveryFailure {
            reason: error.to_string(),
            is_temporary: error.rdkafka_error_code().is_some_and(is_temporary),
        });
    }

    /// Waits until records have left a buffer that is full. Called by the sender.
    pub(super) fn wait_for_room(&self, in_flight: u64) {
        let enough = (in_flight / 8).clamp(1, WAKE_AFTER);
        self.wake_at.store(self.done() + enough, Ordering::SeqCst);
        thread::park_timeout(LOOK_AGAIN);
        self.wake_at.store(u64::MAX, Ordering::Relaxed);
    }

    fn done(&self) -> u64 {
        self.acknowledged() + self.failed()
    }

    fn wake(&self) {
        if self.done() >= self.wake_at.load(Ordering::Relaxed) {
            self.wake_at.store(u64::MAX, Ordering::Relaxed);
            self.sender.unpark();
        }
    }
}

/// What the client calls.
pub(super) struct Context(pub(super) Arc<Deliveries>);

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }

    fn stats(&self, statistics: Statistics) {
        lock(&self.0.client).update(&statistics);
    }
}

impl ProducerContext for Context {
    /// When the record was sent, by [`Deliveries::now`].
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: usize) {
        let deliveries = &*self.0;
        match result {
            Ok(message) => {
                let waited = deliveries.now().saturating_sub(sent);
                deliveries.latencies.count(waited as u64);
                deliveries
                    .bytes
                    .fetch_add(message.payload_len() as u64, Ordering::Relaxed);
                deliveries.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                deliveries.note_failure(error);
                deliveries.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        deliveries.wake();
    }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
