//! The committer thread: puts the files, then the record. What fails for a reason that can pass, a
//! full disk for example, is tried again until it works; reading stops meanwhile, because the
//! budget is not given back.

use std::future::Future;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use futures::future::join_all;
use tidegate_log::{CommitLog, FileEntry, Record, StorageError, path};
use tokio::runtime::Handle;

use crate::encode::{Encoded, EncodedBatch};
use crate::error::EngineError;
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
    for batch in batches {
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
    let now = shared.clock.now_micros();
    shared.measured().committed(record.seq, batch.samples, now);
    shared.budget.give(batch.cost);
    let mut now = shared.update();
    now.committed_at = Some(shared.clock.now_micros());
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
    let path = path::data(&file.dataset, seq, log.writer(), index, file.time);
    async move {
        let mut tries = Tries::new(shared);
        loop {
            let put = log.storage().put_data(
                &file.dataset,
                &path,
                file.rows,
                file.event_time,
                file.bytes.clone(),
            );
            match put.await {
                Ok(entry) => return Ok(entry),
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
    pause: Duration,
}

impl<'a> Tries<'a> {
    fn new(shared: &'a Shared) -> Self {
        Tries {
            shared,
            pause: PAUSE_MIN,
        }
    }

    /// Says that a try failed, once for each batch, and waits; false if the job is to stop instead.
    async fn again(&mut self, error: &(impl std::error::Error + Sync), disk_full: bool) -> bool {
        if self.shared.stopped() {
            return false;
        }
        let told = self.shared.update().commit_error.replace(error.to_string());
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
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}
