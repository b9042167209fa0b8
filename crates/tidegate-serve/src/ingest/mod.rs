//! Takes events in over HTTP and puts them into the topic that the job reads.
//!
//! In the order in which a request passes: `bucket` (has its sender a share left), `body` (the records in it),
//! `remember` (has it been answered already), `check` (would the pipeline take each of them), then Kafka, and only then
//! the answer. Whether the pipeline runs does not matter: what Kafka has is read later.

mod body;
mod bucket;
mod check;
mod remember;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidegate_core::prepare::{PrepareError, Preparer};
use tidegate_sources::SourceError;
use tidegate_sources::produce::{SendError, TopicOptions, TopicProducer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::Job;

pub(crate) use body::{BodyError, Records};
pub(crate) use bucket::Buckets;
use check::Verdict;
pub(crate) use remember::{Begin, Memory, Mine};

/// Requests that are taken in at the same time: each can have a body of the largest size in memory.
const REQUESTS_MAX: usize = 64;
/// How long the end waits for Kafka, beyond the time that a delivery may take.
const GRACE: Duration = Duration::from_secs(2);

/// How events are taken in.
#[derive(Debug, Clone, PartialEq)]
pub struct IngestOptions {
    /// Where they go.
    pub topic: TopicOptions,
    /// The column whose text is the key of a record in Kafka.
    pub key: String,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Records in a request.
    pub records: usize,
    /// Records a second that each token may send.
    pub rate: u32,
    /// How long an answer is remembered for its idempotency key.
    pub remember: Duration,
}

/// Takes events in.
pub(crate) struct Ingest {
    pub(crate) options: IngestOptions,
    pub(crate) buckets: Buckets,
    pub(crate) memory: Arc<Memory>,
    pub(crate) counts: Counts,
    producer: TopicProducer,
    job: Job,
    /// Preparers that nobody uses at the moment; at most one for each slot comes into being.
    preparers: Mutex<Vec<Preparer>>,
    slots: Arc<Semaphore>,
}

/// What became of records, since the start of this process.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Kafka has them.
    pub(crate) accepted: AtomicU64,
    /// The pipeline would not take them.
    pub(crate) rejected: AtomicU64,
    /// Kafka has not acknowledged them.
    pub(crate) failed: AtomicU64,
    /// Requests beyond the sender's rate.
    pub(crate) limited: AtomicU64,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// JSON.
    pub(crate) body: Bytes,
    /// Sent again, the same records would be answered in the same way. Not so where Kafka failed.
    pub(crate) is_final: bool,
}

/// Why records could not be looked at: a fault of the program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IngestError {
    #[error("cannot check the records: {0}")]
    Prepare(#[from] PrepareError),
    #[error("cannot check the records: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("cannot check the records: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Sets the client of Kafka up. It connects by itself.
pub(crate) fn producer(options: &IngestOptions) -> Result<TopicProducer, SourceError> {
    TopicProducer::new(&options.topic)
}

impl Ingest {
    pub(crate) fn new(options: &IngestOptions, producer: TopicProducer, job: Job) -> Self {
        Ingest {
            buckets: Buckets::new(options.rate),
            memory: Arc::new(Memory::new(options.remember)),
            counts: Counts::default(),
            options: options.clone(),
            producer,
            job,
            preparers: Mutex::default(),
            slots: Arc::new(Semaphore::new(REQUESTS_MAX)),
        }
    }

    /// A place among the requests that are taken in at the same time, if there is one.
    pub(crate) fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Checks records, hands those that are good to Kafka, and says what became of each.
    pub(crate) async fn take(self: &Arc<Self>, records: Records) -> Result<Answer, IngestError> {
        let (this, records) = (Arc::clone(self), Arc::new(records));
        let verdicts = {
            let records = Arc::clone(&records);
            tokio::task::spawn_blocking(move || this.check(&records)).await??
        };
        let good = verdicts
            .iter()
            .enumerate()
            .filter_map(|(index, verdict)| match verdict {
                Verdict::Good { key } => Some((key.as_deref(), records.get(index))),
                Verdict::Bad { .. } => None,
            });
        let mut sent = self.producer.send(good).await.into_iter();
        let mut tally = Tally::default();
        let results: Vec<Value> = verdicts
            .iter()
            .enumerate()
            .map(|(index, verdict)| match verdict {
                Verdict::Bad { reasons, detail } => tally.rejected(index, reasons, detail),
                Verdict::Good { .. } => match sent.next() {
                    Some(Ok(position)) => {
                        tally.accepted += 1;
                        json!({
                            "index": index,
                            "status": "accepted",
                            "partition": position.partition,
                            "offset": position.offset,
                        })
                    }
                    Some(Err(error @ SendError::TooLarge)) => {
                        tally.rejected(index, &["record.too_large".to_owned()], &error.to_string())
                    }
                    Some(Err(error)) => tally.failed(index, &error.to_string()),
                    None => tally.failed(index, "it was not sent"),
                },
            })
            .collect();
        self.counts
            .accepted
            .fetch_add(tally.accepted, Ordering::Relaxed);
        self.counts
            .rejected
            .fetch_add(tally.rejected, Ordering::Relaxed);
        self.counts
            .failed
            .fetch_add(tally.failed, Ordering::Relaxed);
        Ok(tally.answer(&results))
    }

    /// Waits until requests that were taken in are answered, and what Kafka does not have yet is there or given up.
    pub(crate) async fn finish(self: Arc<Self>) {
        let wait = self.options.topic.delivery_timeout + GRACE;
        let all = self.slots.acquire_many(REQUESTS_MAX as u32);
        // Those that are given up are not acknowledged.
        let _ = tokio::time::timeout(wait, all).await;
        let this = Arc::clone(&self);
        match tokio::task::spawn_blocking(move || this.producer.flush(GRACE)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "records that were not acknowledged to their senders may be lost")
            }
            Err(error) => tracing::error!(%error, "cannot wait for Kafka"),
        }
    }

    fn check(&self, records: &Records) -> Result<Vec<Verdict>, IngestError> {
        let idle = lock(&self.preparers).pop();
        // The seed is that of fingerprints, which nobody looks at here.
        let mut preparer = match idle {
            Some(preparer) => preparer,
            None => Preparer::new(Arc::clone(&self.job.plan), 0)?,
        };
        let (now, tables) = (self.job.clock.now_micros(), (self.job.lookups)());
        let verdicts = check::check(&mut preparer, records, now, &tables, &self.options.key);
        lock(&self.preparers).push(preparer);
        verdicts
    }
}

/// What became of the records of one request.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    rejected: u64,
    failed: u64,
}

impl Tally {
    fn rejected(&mut self, index: usize, reasons: &[String], detail: &str) -> Value {
        self.rejected += 1;
        json!({ "index": index, "status": "rejected", "reasons": reasons, "detail": detail })
    }

    fn failed(&mut self, index: usize, message: &str) -> Value {
        self.failed += 1;
        json!({ "index": index, "status": "failed", "message": message })
    }

    /// A sender that looks at nothing but the status is not misled: 200 is all, 207 some, and an error none.
    fn answer(&self, results: &[Value]) -> Answer {
        let status = match (self.accepted, self.rejected, self.failed) {
            (_, 0, 0) => StatusCode::OK,
            (0, _, 0) => StatusCode::UNPROCESSABLE_ENTITY,
            (0, _, _) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::MULTI_STATUS,
        };
        let mut body =
            json!({ "accepted": self.accepted, "rejected": self.rejected, "failed": self.failed });
        if status.is_client_error() {
            let message = "no record was accepted: `results` says why for each; correct them and send them again";
            body["error"] = json!({ "code": "rejected", "message": message });
        } else if status.is_server_error() {
            let message = "Kafka has not acknowledged any record; send them again, with the same Idempotency-Key";
            body["error"] = json!({ "code": "kafka_unavailable", "message": message });
        }
        body["results"] = Value::Array(results.to_vec());
        Answer {
            status,
            body: body.to_string().into(),
            is_final: self.failed == 0,
        }
    }
}

/// A panic of one request must not end the others.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
