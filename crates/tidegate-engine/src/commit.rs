//! The committer thread: puts the files, then the record. What fails for a reason that can pass, a
//! full disk for example, is tried again until it works; reading stops meanwhile, because the
//! budget is not given back.

use std::future::Future;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use futures::future::join_all;
use tidegate_base::backoff::Backoff;
use tidegate_log::{CommitLog, FileEntry, Record, path, put_data};
use tidegate_storage::StorageError;
use tokio::runtime::Handle;

use crate::encode::{Encoded, EncodedBatch};
use crate::error::EngineError;
use crate::look::{LOOK, look};
use crate::shared::Shared;
use crate::status::BatchStatus;

/// Pauses between tries: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Commits batches until there are no more.
pub(crate) fn commit(
    mut log: CommitLog,
    shared: &Shared,
    runtime: &Handle,
    batches: &Receiver<EncodedBatch>,
) {
    loop {
        let batch = match batches.recv_timeout(LOOK) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => {
                let next = log.state().last_seq + 1;
                // The status says that it is away; the next commit would say it in the log.
                let _ = runtime.block_on(look(log.storage(), next, shared));
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if shared.failed() {
            break;
        }
        match commit_batch(&mut log, shared, runtime, batch) {
            Ok(record) => {
                shared.show_log(log.state());
                shared.note_committed(record.partitions.iter().map(|span| (span.id, span.to)));
            }
            Err(error) => {
                shared.fail(error);
                break;
            }
        }
    }
    shared.note_drained();
}

fn commit_batch(
    log: &mut CommitLog,
    shared: &Shared,
    runtime: &Handle,
    batch: EncodedBatch,
) -> Result<Record, EngineError> {
    let started = Instant::now();
    let encode_seconds = batch.encode_seconds;
    shared.outside().batches.begin(started);
    let seq = log.state().last_seq + 1;
    let files = {
        let puts = batch
            .files
            .iter()
            .enumerate()
            .map(|(index, file)| put(log, shared, seq, index, file));
        runtime
            .block_on(join_all(puts))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
    };
    let mut draft = batch.draft;
    draft.files = files;
    let status = BatchStatus {
        records: draft.counts.read,
        files: draft.files.len() as u64,
        bytes: draft.files.iter().map(|file| file.bytes).sum(),
        encode_seconds: batch.encode_seconds,
        commit_seconds: 0.0,
    };
    let mut tries = Tries::new(shared);
    let record = runtime.block_on(async {
        loop {
            match log.commit(draft.clone()).await {
                Ok(record) => return Ok(record),
                Err(error)
                    if error.can_retry() && tries.again(&error, error.is_disk_full()).await => {}
                Err(error) => return Err(EngineError::Commit(error)),
            }
        }
    })?;
    let at = shared.clock.now_micros();
    shared.measured().committed(record.seq, batch.samples, at);
    shared.budget.give(batch.cost);
    let mut outside = shared.outside();
    outside.storage.find();
    let took = started.elapsed() + Duration::try_from_secs_f64(encode_seconds).unwrap_or_default();
    outside.batches.took(took, Instant::now());
    drop(outside);
    let mut now = shared.update();
    now.committed_at = Some(at);
    if record.partitions.iter().any(|span| span.gone > 0) {
        now.gone_at = Some(record.written_at);
    }
    now.last_batch = BatchStatus {
        commit_seconds: started.elapsed().as_secs_f64(),
        ..status
    };
    if now.commit_error.take().is_some() {
        tracing::info!("committing works again");
    }
    drop(now);
    Ok(record)
}

fn put<'a>(
    log: &'a CommitLog,
    shared: &'a Shared,
    seq: u64,
    index: usize,
    file: &'a Encoded,
) -> impl Future<Output = Result<FileEntry, EngineError>> + 'a {
    let path = match file.time {
        Some(time) => path::data(&file.dataset, seq, log.writer(), index, time),
        None => path::data_of_many_hours(&file.dataset, seq, log.writer(), index),
    };
    async move {
        let mut tries = Tries::new(shared);
        loop {
            let put = put_data(
                log.storage(),
                &file.dataset,
                &path,
                file.rows,
                file.event_time,
                file.bytes.clone(),
            );
            match put.await {
                Ok(mut entry) => {
                    entry.lanes.clone_from(&file.lanes);
                    return Ok(entry);
                }
                Err(error)
                    if can_pass(&error) && tries.again(&error, error.is_disk_full()).await => {}
                Err(error) => return Err(EngineError::Storage(error)),
            }
        }
    }
}

/// Whether an error of a put may be gone the next time. A name that is taken stays taken.
fn can_pass(error: &StorageError) -> bool {
    !error.is_already_exists()
}

/// Repeated tries of one step.
struct Tries<'a> {
    shared: &'a Shared,
    backoff: Backoff,
}

impl<'a> Tries<'a> {
    fn new(shared: &'a Shared) -> Self {
        Tries {
            shared,
            backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX),
        }
    }

    /// Says that a try failed, once for each batch, and waits; false if the job is to stop instead.
    async fn again(&mut self, error: &(impl std::error::Error + Sync), disk_full: bool) -> bool {
        if self.shared.stopped() {
            return false;
        }
        let told = self.shared.update().commit_error.replace(error.to_string());
        let now = self.shared.clock.now_micros();
        self.shared.outside().storage.lose(now, error.to_string());
        if told.is_none() {
            let advice = if disk_full {
                "make room on the disk; "
            } else {
                ""
            };
            tracing::warn!(
                "cannot commit: {error}; {advice}trying again until it works, reading waits"
            );
        }
        tokio::time::sleep(self.backoff.pause()).await;
        true
    }
}
