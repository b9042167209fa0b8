//! Takes events in over HTTP and puts them into the topic that the job reads.
//!
//! In the order in which a request passes: `bucket` (has its sender a share left), `body` (the
//! records in it), `remember` (has it been answered already), `check` (would the pipeline take each
//! of them), then Kafka, and only then the answer. Whether the pipeline runs does not matter: what
//! Kafka has is read later.

mod body;
mod bucket;
mod check;
mod remember;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use serde::Serialize;
use tidegate_base::lock::lock;
use tidegate_core::prepare::{PrepareError, Preparer};
use tidegate_core::reject::Code;
use tidegate_engine::Handle;
use tidegate_kafka::producer::{SendError, TopicOptions, TopicProducer};
use tidegate_source::SourceError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use crate::guard::ErrorDetail;

pub(crate) use body::{BodyError, Records};
pub(crate) use bucket::RateBuckets;
use check::RecordVerdict;
pub(crate) use remember::{Begin, InFlightGuard, Memory};

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
    pub(crate) buckets: RateBuckets,
    pub(crate) memory: Arc<Memory>,
    pub(crate) counts: Counts,
    producer: TopicProducer,
    job: Handle,
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
pub(crate) struct IngestResponse {
    pub(crate) status: StatusCode,
    /// JSON.
    pub(crate) body: Bytes,
    /// Sent again, the same records would be answered in the same way. Not so where Kafka failed.
    pub(crate) is_final: bool,
}

/// What became of the records of a request of which Kafka has some.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Taken)]
pub(crate) struct TakenBody {
    /// Kafka has them.
    accepted: u64,
    /// The pipeline would not take them.
    rejected: u64,
    /// Kafka has not acknowledged them.
    failed: u64,
    /// What became of each record, in their order.
    results: Vec<RecordResult>,
}

/// Why nothing was taken, and what became of the records, where they were looked at.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refused)]
pub(crate) struct RefusedBody {
    error: ErrorDetail,
    // The other members are missing where the request is refused as a whole.
    /// Kafka has them: 0.
    #[schema(required = false)]
    accepted: u64,
    /// The pipeline would not take them.
    #[schema(required = false)]
    rejected: u64,
    /// Kafka has not acknowledged them.
    #[schema(required = false)]
    failed: u64,
    /// What became of each record, in their order.
    #[schema(required = false)]
    results: Vec<RecordResult>,
}

/// What became of a record.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
#[schema(as = Result)]
pub(crate) enum RecordResult {
    /// Kafka has it.
    Accepted {
        /// Its place in the request, from 0.
        index: usize,
        #[schema(minimum = 0)]
        partition: i32,
        #[schema(minimum = 0)]
        offset: i64,
    },
    /// The pipeline would not take it.
    Rejected {
        /// Its place in the request, from 0.
        index: usize,
        /// The codes that it would have among the rejects.
        #[schema(min_items = 1)]
        reasons: Vec<String>,
        /// What is wrong, for people.
        detail: String,
    },
    /// Kafka has not acknowledged it.
    Failed {
        /// Its place in the request, from 0.
        index: usize,
        /// Why.
        message: String,
    },
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
    #[error("cannot write the answer: {0}")]
    Json(#[from] serde_json::Error),
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
    pub(crate) fn new(options: &IngestOptions, producer: TopicProducer, job: Handle) -> Self {
        Ingest {
            buckets: RateBuckets::new(options.rate),
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
    pub(crate) async fn take(
        self: &Arc<Self>,
        records: Records,
    ) -> Result<IngestResponse, IngestError> {
        let (this, records) = (Arc::clone(self), Arc::new(records));
        let verdicts = {
            let records = Arc::clone(&records);
            tokio::task::spawn_blocking(move || this.check(&records)).await??
        };
        let good = verdicts
            .iter()
            .enumerate()
            .filter_map(|(index, verdict)| match verdict {
                RecordVerdict::Good { key } => Some((key.as_deref(), records.get(index))),
                RecordVerdict::Bad { .. } => None,
            });
        let mut sent = self.producer.send(good).await.into_iter();
        let mut tally = Tally::default();
        let results: Vec<RecordResult> = verdicts
            .iter()
            .enumerate()
            .map(|(index, verdict)| match verdict {
                RecordVerdict::Bad { reasons, detail } => {
                    tally.rejected(index, reasons.clone(), detail.clone())
                }
                RecordVerdict::Good { .. } => match sent.next() {
                    Some(Ok(position)) => {
                        tally.accepted += 1;
                        RecordResult::Accepted {
                            index,
                            partition: position.partition,
                            offset: position.offset,
                        }
                    }
                    Some(Err(error @ SendError::TooLarge)) => {
                        let reasons = vec![Code::TooLarge.as_str().to_owned()];
                        tally.rejected(index, reasons, error.to_string())
                    }
                    Some(Err(error)) => tally.failed(index, error.to_string()),
                    None => tally.failed(index, "it was not sent".to_owned()),
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
        tally.answer(results)
    }

    /// Waits until requests that were taken in are answered, and what Kafka does not have yet is
    /// there or given up.
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

    fn check(&self, records: &Records) -> Result<Vec<RecordVerdict>, IngestError> {
        let idle = lock(&self.preparers).pop();
        // The seed is that of fingerprints, which nobody looks at here.
        let mut preparer = match idle {
            Some(preparer) => preparer,
            None => Preparer::new(Arc::clone(self.job.plan()), 0)?,
        };
        let (now, tables) = (self.job.clock().now_micros(), self.job.lookups());
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
    fn rejected(&mut self, index: usize, reasons: Vec<String>, detail: String) -> RecordResult {
        self.rejected += 1;
        RecordResult::Rejected {
            index,
            reasons,
            detail,
        }
    }

    fn failed(&mut self, index: usize, message: String) -> RecordResult {
        self.failed += 1;
        RecordResult::Failed { index, message }
    }

    /// A sender that looks at nothing but the status is not misled: 200 is all, 207 some, and an
    /// error none.
    fn answer(&self, results: Vec<RecordResult>) -> Result<IngestResponse, IngestError> {
        let status = match (self.accepted, self.rejected, self.failed) {
            (_, 0, 0) => StatusCode::OK,
            (0, _, 0) => StatusCode::UNPROCESSABLE_ENTITY,
            (0, _, _) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::MULTI_STATUS,
        };
        let (accepted, rejected, failed) = (self.accepted, self.rejected, self.failed);
        let body = match why_none(status) {
            None => serde_json::to_vec(&TakenBody {
                accepted,
                rejected,
                failed,
                results,
            })?,
            Some(error) => serde_json::to_vec(&RefusedBody {
                error,
                accepted,
                rejected,
                failed,
                results,
            })?,
        };
        Ok(IngestResponse {
            status,
            body: body.into(),
            is_final: failed == 0,
        })
    }
}

/// Why no record was taken, where the status says that none was.
fn why_none(status: StatusCode) -> Option<ErrorDetail> {
    let (code, message) = if status.is_client_error() {
        (
            "rejected",
            "no record was accepted: `results` says why for each; correct them and send them again",
        )
    } else if status.is_server_error() {
        (
            "kafka_unavailable",
            "Kafka has not acknowledged any record; send them again, with the same Idempotency-Key",
        )
    } else {
        return None;
    };
    Some(ErrorDetail {
        code,
        message: message.to_owned(),
    })
}
