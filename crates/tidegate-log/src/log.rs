//! The commit log as its writer sees it: open, then commit after commit.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use tidegate_base::clock::Clock;
use uuid::Uuid;

use crate::fold::{FoldError, JobState, RecordFault, fold};
use crate::path;
use crate::probe::probe;
use crate::read::{ReadError, get_record};
use crate::record::{Counts, FileEntry, Founding, JobId, RECORD_VERSION, Record, Span};
use crate::recover::{OpenError, micros, recover};
use crate::snapshot;
use crate::writer::WriterId;
use tidegate_base::failpoint;
use tidegate_storage::{Storage, StorageError, is_disk_full};

/// Version of the schema of the files that this release writes.
const SCHEMA_VERSION: u32 = 1;

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The job's name in its configuration; the log must be of that job.
    pub job_name: String,
    /// Who writes.
    pub writer: WriterId,
    /// Where the times in records come from.
    pub clock: Clock,
    /// How far behind the slowest watermark files of events count as recent: the horizon of
    /// deduplication.
    pub keep: Duration,
    /// A snapshot is put after each record whose number this divides; 0 for never.
    pub snapshot_every: u64,
}

/// What a commit is to say; the log adds who, when and where.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// What it covers of each partition that moved or is new.
    pub partitions: Vec<Span>,
    /// The watermark of each lane that moved: microseconds since the Unix epoch.
    pub watermarks: BTreeMap<i32, i64>,
    /// Lanes that became idle or stopped being idle.
    pub idle: BTreeMap<i32, bool>,
    /// The meaning of the rows, where it differs from [`JobState::plan`].
    pub plan: Option<serde_json::Value>,
    /// What became of the source's records.
    pub counts: Counts,
    /// How often each reason for a reject occurred.
    pub rejected_by: BTreeMap<String, u64>,
    /// The files that it adds. They are on stable storage already.
    pub files: Vec<FileEntry>,
    /// Whether the source is bounded and has ended with this commit.
    pub complete: bool,
}

/// A job's log, open for writing.
///
/// # Examples
///
/// A job in memory that commits three records, all of them repeats:
/// ```
/// use std::time::Duration;
///
/// use tidegate_base::clock::Clock;
/// use tidegate_log::{CommitLog, Counts, Draft, OpenOptions, Span, WriterId};
/// use tidegate_storage::{Storage, StorageOptions};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let storage = Storage::open(&StorageOptions::new("memory:"))?;
/// let options = OpenOptions {
///     job_name: "payments".to_owned(),
///     writer: WriterId::new(),
///     clock: Clock::System,
///     keep: Duration::from_secs(600),
///     snapshot_every: 100,
/// };
/// let mut log = CommitLog::open(storage, options).await?;
/// let draft = Draft {
///     partitions: vec![Span {
///         id: 0,
///         lane: 0,
///         name: "payments-0".to_owned(),
///         from: 0,
///         to: 3,
///         gone: 0,
///         identity: None,
///     }],
///     counts: Counts {
///         read: 3,
///         duplicates: 3,
///         ..Counts::default()
///     },
///     ..Draft::default()
/// };
/// let record = log.commit(draft).await?;
/// assert_eq!(record.seq, log.state().last_seq);
/// assert_eq!(log.state().partitions[&0].offset, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CommitLog {
    storage: Storage,
    writer: WriterId,
    clock: Clock,
    keep_micros: i64,
    snapshot_every: u64,
    state: JobState,
}

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The draft breaks an invariant. Nothing was written.
    #[error(
        "record {seq} was not written, because {fault}; this is a fault in Tidegate: please report it. \
         Nothing is lost: what was not committed is read again after a restart"
    )]
    Invariant {
        /// The number that the record would have had.
        seq: u64,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// Another process commits to this log. The batch is dropped: the other one has it.
    #[error(
        "another process writes to this job: record {seq} was committed by {writer} at {}. This process \
         stops so that nothing is doubled; let only one of them run", time_text(*.written_at)
    )]
    OtherWriter {
        /// Sequence number of the record that the other process was first to write.
        seq: u64,
        /// Who it is.
        writer: String,
        /// When it wrote the record, in microseconds since the Unix epoch.
        written_at: i64,
    },
    /// An earlier try of this process came through after all, with other content.
    #[error(
        "record {seq} was committed by an earlier try of this process, with other content than it has \
         now; restart to go on from what is in the log"
    )]
    Changed {
        /// Sequence number of the record.
        seq: u64,
    },
    /// There is a record where this one was to be, and it cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// The storage failed. The record may be there or not; committing the same draft again finds
    /// out, and is safe.
    #[error("record {seq} is not committed: {source}")]
    Storage {
        /// The number that the record has.
        seq: u64,
        /// What the storage says.
        source: StorageError,
    },
}

impl From<FoldError> for CommitError {
    fn from(FoldError { seq, fault }: FoldError) -> Self {
        CommitError::Invariant { seq, fault }
    }
}

impl CommitError {
    /// Whether there is no room: see [`is_disk_full`].
    pub fn is_disk_full(&self) -> bool {
        is_disk_full(self)
    }

    /// Whether the same draft can be committed again.
    pub fn can_retry(&self) -> bool {
        matches!(self, CommitError::Storage { .. })
    }
}

impl CommitLog {
    /// Opens the log: recovers what is there, or founds the job if nothing is.
    ///
    /// # Errors
    /// If the storage fails or cannot hold a log, the log is of another job, or it is not whole:
    /// then the error names the record and what helps.
    pub async fn open(storage: Storage, options: OpenOptions) -> Result<CommitLog, OpenError> {
        let state = match recover(&storage, options.keep).await? {
            Some(state) => {
                is_ours(&storage, &state, &options)?;
                is_careful(&storage).await?;
                state
            }
            None => {
                is_careful(&storage).await?;
                found(&storage, &options).await?;
                // Whoever wrote it: of two that start at once, one founds the job.
                let state = recover(&storage, options.keep)
                    .await?
                    .ok_or(OpenError::Vanished)?;
                is_ours(&storage, &state, &options)?;
                state
            }
        };
        // Its writer may have been killed before the record was on stable storage. What comes now
        // builds on it, in other places too: make sure that it stays.
        storage.settle(&path::record(state.last_seq)).await?;
        Ok(CommitLog {
            storage,
            writer: options.writer,
            clock: options.clock,
            keep_micros: micros(options.keep),
            snapshot_every: options.snapshot_every,
            state,
        })
    }

    /// Where the job stands.
    pub fn state(&self) -> &JobState {
        &self.state
    }

    /// Where the log is.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Who writes.
    pub fn writer(&self) -> &WriterId {
        &self.writer
    }

    /// Commits: checks the invariants, puts the record if its place is free, and returns it.
    ///
    /// When this returns `Ok`, the commit is on stable storage. Dropping the future, or an error
    /// that [`CommitError::can_retry`], leaves open whether it is; committing the same draft again
    /// settles it.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&mut self, draft: Draft) -> Result<Record, CommitError> {
        let (record, bytes) = self.record(draft).seal();
        let next = self.follow(&record)?;
        let path = path::record(record.seq);
        failpoint("log.put.before");
        let put = self.storage.put(&path, bytes).await;
        failpoint("log.put.after");
        let (record, next) = match put {
            Ok(()) => (record, next),
            Err(error) => {
                let found = self.read_back(&record, error).await?;
                let next = self.follow(&found)?;
                (found, next)
            }
        };
        self.advance(next);
        self.snapshot_if_due().await;
        Ok(record)
    }

    fn record(&self, draft: Draft) -> Record {
        Record {
            version: RECORD_VERSION,
            seq: self.state.last_seq + 1,
            job: self.state.job.clone(),
            writer: self.writer.to_string(),
            written_at: self.clock.now_micros(),
            prev_crc32c: self.state.last_crc32c,
            schema_version: SCHEMA_VERSION,
            partitions: draft.partitions,
            watermarks: draft.watermarks,
            idle: draft.idle,
            plan: draft.plan,
            counts: draft.counts,
            rejected_by: draft.rejected_by,
            files: draft.files,
            complete: draft.complete,
            founding: None,
            crc32c: 0,
        }
    }

    /// The state after `record`, without the files that are recent already: with a long horizon
    /// they are many, and the state before is still needed until the record is there.
    fn follow(&mut self, record: &Record) -> Result<JobState, FoldError> {
        let files = std::mem::take(&mut self.state.recent_files);
        let next = fold(Some(self.state.clone()), record, self.keep_micros);
        self.state.recent_files = files;
        next
    }

    /// Goes on to what [`CommitLog::follow`] has found.
    fn advance(&mut self, mut next: JobState) {
        let mut files = std::mem::take(&mut self.state.recent_files);
        files.append(&mut next.recent_files);
        next.recent_files = files;
        next.forget_files(self.keep_micros);
        self.state = next;
    }

    /// After a put that did not say that it worked: did it, and if not, who is there?
    async fn read_back(&self, ours: &Record, error: StorageError) -> Result<Record, CommitError> {
        let seq = ours.seq;
        let found = match get_record(&self.storage, seq).await {
            Ok(Some(found)) => found,
            Ok(None) | Err(ReadError::Storage(_)) => {
                return Err(CommitError::Storage { seq, source: error });
            }
            Err(error) => return Err(CommitError::Read(error)),
        };
        if found.writer != ours.writer {
            let Record {
                writer, written_at, ..
            } = found;
            return Err(CommitError::OtherWriter {
                seq,
                writer,
                written_at,
            });
        }
        if !ours.same_content(&found) {
            return Err(CommitError::Changed { seq });
        }
        let settled = self.storage.settle(&path::record(seq)).await;
        settled.map_err(|source| CommitError::Storage { seq, source })?;
        Ok(found)
    }

    async fn snapshot_if_due(&self) {
        let seq = self.state.last_seq;
        if self.snapshot_every == 0 || !seq.is_multiple_of(self.snapshot_every) {
            return;
        }
        // The log is whole without it: a failure costs time at the next start, and nothing else.
        if let Err(error) = snapshot::write(&self.storage, &self.state, self.keep_micros).await {
            tracing::warn!(seq, %error, "cannot write a snapshot; recovery will take longer");
        }
    }
}

fn is_ours(storage: &Storage, state: &JobState, options: &OpenOptions) -> Result<(), OpenError> {
    if state.name == options.job_name {
        return Ok(());
    }
    Err(OpenError::OtherJob {
        url: storage.url().to_owned(),
        expected: options.job_name.clone(),
        found: state.name.clone(),
    })
}

/// Sees that a service keeps two writers apart, before anything is written there. A local disk and
/// memory are known to.
async fn is_careful(storage: &Storage) -> Result<(), OpenError> {
    let Some(service) = storage.service() else {
        return Ok(());
    };
    match probe(storage).await? {
        None => Ok(()),
        Some(what) => Err(OpenError::Careless {
            url: storage.url().to_owned(),
            service: service.to_owned(),
            what,
        }),
    }
}

/// Puts the record that founds the job. That another process was first is no error.
async fn found(storage: &Storage, options: &OpenOptions) -> Result<(), OpenError> {
    let now = options.clock.now_micros();
    let founding = Founding {
        name: options.job_name.clone(),
        fingerprint_seed: Uuid::new_v4().as_u64_pair().0,
        created_at: now,
    };
    let record = Record {
        version: RECORD_VERSION,
        seq: 1,
        job: JobId::random(),
        writer: options.writer.to_string(),
        written_at: now,
        prev_crc32c: 0,
        schema_version: SCHEMA_VERSION,
        partitions: Vec::new(),
        watermarks: BTreeMap::new(),
        idle: BTreeMap::new(),
        plan: None,
        counts: Counts::default(),
        rejected_by: BTreeMap::new(),
        files: Vec::new(),
        complete: false,
        founding: Some(founding),
        crc32c: 0,
    };
    let (_, bytes): (Record, Bytes) = record.seal();
    failpoint("log.put.before");
    let put = storage.put(&path::record(1), bytes).await;
    failpoint("log.put.after");
    match put {
        Err(error) if !error.is_already_exists() => Err(error.into()),
        _ => Ok(()),
    }
}

/// A time as people read it.
fn time_text(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).map_or_else(
        || format!("{micros} us since 1970"),
        |time| time.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}
