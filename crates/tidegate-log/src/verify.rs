//! Verification: reads everything again and lists all that is wrong, instead of stopping at the
//! first.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use futures::{StreamExt, TryStreamExt, stream};

use crate::fold::{JobState, check, fold};
use crate::path;
use crate::read::{ReadError, get_record};
use crate::record::{FileEntry, Record};
use crate::snapshot::{self, Snapshot};
use tidegate_storage::{Storage, StorageError};

/// Problems that a report lists; those beyond are counted only.
const PROBLEMS_LISTED_MAX: usize = 1000;

/// Data files that are read at the same time.
const CONCURRENT_FILES: usize = 4;

/// How far verification has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Records that were checked.
    pub records: u64,
    /// Sequence number of the last record.
    pub records_total: u64,
    /// Data files that were checked.
    pub files: u64,
    /// Bytes of data files that were read.
    pub bytes: u64,
}

/// What verification found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// What was read in all.
    pub progress: VerifyProgress,
    /// What is wrong, in the order of the log; at most 1,000 of them.
    pub problems: Vec<Problem>,
    /// How many problems there are, listed or not.
    pub problem_count: u64,
    /// Snapshots that cannot be used. That harms nothing: recovery passes them over.
    pub snapshots_unusable: Vec<u64>,
    /// Data files that no record names, though the record that their name announces is there: a
    /// crash left them behind. They harm nothing.
    pub orphans: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Data files whose name announces a record that is missing or cannot be read. They may be all
    /// that is left of it.
    pub unread: u64,
    /// Their bytes.
    pub unread_bytes: u64,
    /// Data files for records after the last one: of a commit that is under way, or was given up,
    /// or of records that were lost.
    pub ahead: u64,
    /// Their bytes.
    pub ahead_bytes: u64,
    /// Where the job stands; none if the log is empty or not whole.
    pub state: Option<JobState>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.problem_count == 0
    }

    fn add(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_LISTED_MAX {
            self.problems.push(problem);
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A record is not there, and later ones are.
    #[error("record {seq} is missing: restore {} from a copy", path::record(*.seq))]
    MissingRecord {
        /// Its sequence number.
        seq: u64,
    },
    /// A record cannot be read, or breaks an invariant.
    #[error("record {seq}: {what}")]
    BadRecord {
        /// Its sequence number.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A snapshot was made of a record that the log does not have.
    #[error(
        "{} was made after record {seq}, which is not in the log, or not as it was then: records were lost or replaced",
        path::snapshot(*.seq)
    )]
    SnapshotAhead {
        /// Sequence number of the snapshot and the record.
        seq: u64,
    },
    /// A data file is not there.
    #[error("record {seq} names {path}, which is missing: restore it from a copy")]
    MissingFile {
        /// The record that names it.
        seq: u64,
        /// Where it should be.
        path: String,
    },
    /// A data file does not have the size that its record says.
    #[error(
        "record {seq} says that {path} has {expected} bytes, and it has {found}: restore it from a copy"
    )]
    Size {
        /// The record that names it.
        seq: u64,
        /// Where it is.
        path: String,
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A data file does not have the checksum that its record says.
    #[error(
        "record {seq} says that {path} has checksum {expected:08x}, and it has {found:08x}: \
         it was changed; restore it from a copy"
    )]
    Checksum {
        /// The record that names it.
        seq: u64,
        /// Where it is.
        path: String,
        /// Checksum that it should have.
        expected: u32,
        /// Checksum that it has.
        found: u32,
    },
}

/// Why verification could not go on.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Reads the whole log again: each record's checksum, its place in the chain and the invariants;
/// each data file's existence, size and checksum; and counts the data files that no record names.
///
/// Calls `progress` after each record. Memory: eight to sixteen bytes for each data file.
///
/// # Errors
/// If the storage fails. What is wrong with the log is not an error, but in the report.
pub async fn verify(
    storage: &Storage,
    progress: &mut impl FnMut(&VerifyProgress),
) -> Result<VerifyReport, VerifyError> {
    let mut report = VerifyReport::default();
    let mut chain = Chain::default();
    let mut named = Named::default();
    let last = last_seq(storage).await?;
    report.progress.records_total = last;
    for seq in 1..=last {
        if let Some(record) = chain.step(storage, seq, &mut report).await? {
            verify_files(storage, &record, &mut report).await?;
            record
                .files
                .iter()
                .for_each(|file| named.insert(&file.path));
        }
        report.progress.records += 1;
        progress(&report.progress);
    }
    count_unnamed(storage, &named, &chain.unreadable, last, &mut report).await?;
    verify_snapshots(storage, &chain.unreadable, &mut report).await?;
    report.state = chain.state;
    Ok(report)
}

/// Counts the data files that no record names. Those of a record that cannot be read are not
/// garbage.
async fn count_unnamed(
    storage: &Storage,
    named: &Named,
    unreadable: &HashSet<u64>,
    last: u64,
    report: &mut VerifyReport,
) -> Result<(), StorageError> {
    let mut listing = storage.list(path::DATA);
    while let Some(object) = listing.try_next().await? {
        if named.contains(object.location.as_ref()) {
            continue;
        }
        let (files, bytes) = match path::seq_of_data(object.location.as_ref()) {
            Some(seq) if unreadable.contains(&seq) => {
                (&mut report.unread, &mut report.unread_bytes)
            }
            Some(seq) if seq > last => (&mut report.ahead, &mut report.ahead_bytes),
            _ => (&mut report.orphans, &mut report.orphan_bytes),
        };
        *files += 1;
        *bytes += object.size;
    }
    Ok(())
}

/// A snapshot that cannot be read is passed over by recovery; one that can be, of a record that is
/// not there, says that the log has lost something.
async fn verify_snapshots(
    storage: &Storage,
    unreadable: &HashSet<u64>,
    report: &mut VerifyReport,
) -> Result<(), StorageError> {
    for seq in snapshot::list(storage).await? {
        let Some(bytes) = storage.get_if_there(&path::snapshot(seq)).await? else {
            continue;
        };
        match Snapshot::decode(&bytes) {
            // Its record is a problem already.
            Ok(_) if unreadable.contains(&seq) => {}
            Ok(snapshot) if snapshot.state.last_seq == seq => {
                match get_record(storage, seq).await {
                    Ok(Some(record)) if record.crc32c == snapshot.state.last_crc32c => {}
                    Err(ReadError::Storage(error)) => return Err(error),
                    _ => report.add(Problem::SnapshotAhead { seq }),
                }
            }
            _ => report.snapshots_unusable.push(seq),
        }
    }
    Ok(())
}

/// The greatest sequence number of a record; 0 if there is none.
pub(crate) async fn last_seq(storage: &Storage) -> Result<u64, StorageError> {
    storage
        .list(path::LOG)
        .try_fold(0, async |last: u64, object| {
            Ok(path::seq_of_json(object.location.as_ref()).map_or(last, |seq| last.max(seq)))
        })
        .await
}

/// The records up to here, as far as they hold together.
#[derive(Default)]
struct Chain {
    /// The fold; none before the first record, and for good after a bad one.
    state: Option<JobState>,
    broken: bool,
    /// Checksum of the record before, if it could be read.
    before: Option<u32>,
    /// Records that are missing or cannot be read.
    unreadable: HashSet<u64>,
}

impl Chain {
    /// Checks record `seq`, and returns it if it can be read.
    async fn step(
        &mut self,
        storage: &Storage,
        seq: u64,
        report: &mut VerifyReport,
    ) -> Result<Option<Record>, StorageError> {
        let before = self.before.take();
        let record = match get_record(storage, seq).await {
            Ok(Some(record)) => record,
            Ok(None) => {
                report.add(Problem::MissingRecord { seq });
                self.unreadable.insert(seq);
                self.give_up();
                return Ok(None);
            }
            Err(ReadError::Storage(error)) => return Err(error),
            Err(error) => {
                let what = unreadable(&error);
                report.add(Problem::BadRecord { seq, what });
                self.unreadable.insert(seq);
                self.give_up();
                return Ok(None);
            }
        };
        self.before = Some(record.crc32c);
        if !self.broken {
            match fold(self.state.take(), &record, 0) {
                Ok(state) => self.state = Some(state),
                Err(error) => {
                    report.add(Problem::BadRecord {
                        seq,
                        what: error.fault.to_string(),
                    });
                    self.give_up();
                }
            }
            return Ok(Some(record));
        }
        // What comes after a bad record is checked as far as it goes without the state.
        if let Err(fault) = check(&record) {
            report.add(Problem::BadRecord {
                seq,
                what: fault.to_string(),
            });
        }
        if before.is_some_and(|before| before != record.prev_crc32c) {
            let what = "it was not written after the record before it as that is now".to_owned();
            report.add(Problem::BadRecord { seq, what });
        }
        Ok(Some(record))
    }

    fn give_up(&mut self) {
        self.state = None;
        self.broken = true;
    }
}

/// Why a record cannot be read, for a line that has its number already.
fn unreadable(error: &ReadError) -> String {
    match error {
        ReadError::Broken { path, source, .. } => format!("{path} cannot be used: {source}"),
        ReadError::Misplaced { path, found } => {
            format!("{path} holds record {found}: records were exchanged")
        }
        error => error.to_string(),
    }
}

async fn verify_files(
    storage: &Storage,
    record: &Record,
    report: &mut VerifyReport,
) -> Result<(), StorageError> {
    let mut found = stream::iter(&record.files)
        .map(async |file| Ok::<_, StorageError>((file, measure(storage, file).await?)))
        .buffered(CONCURRENT_FILES);
    while let Some((file, measured)) = found.try_next().await? {
        let (seq, path) = (record.seq, file.path.clone());
        report.progress.files += 1;
        let Some((bytes, crc32c)) = measured else {
            report.add(Problem::MissingFile { seq, path });
            continue;
        };
        report.progress.bytes += bytes;
        if bytes != file.bytes {
            report.add(Problem::Size {
                seq,
                path,
                expected: file.bytes,
                found: bytes,
            });
        } else if crc32c != file.crc32c {
            report.add(Problem::Checksum {
                seq,
                path,
                expected: file.crc32c,
                found: crc32c,
            });
        }
    }
    Ok(())
}

/// Bytes and checksum of a file; none if it is not there.
async fn measure(storage: &Storage, file: &FileEntry) -> Result<Option<(u64, u32)>, StorageError> {
    let mut pieces = match storage.get_stream(&file.path).await {
        Ok(pieces) => pieces,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut bytes, mut crc32c) = (0, 0);
    while let Some(piece) = pieces.try_next().await? {
        bytes += piece.len() as u64;
        crc32c = crc32c::crc32c_append(crc32c, &piece);
    }
    Ok(Some((bytes, crc32c)))
}

/// The paths that records name, as hashes, so that many of them stay small.
///
/// What was inserted is always contained. What was not may, very rarely, seem so: an orphan is then
/// taken for a named file, and is kept.
#[derive(Default)]
pub(crate) struct Named {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl Named {
    pub(crate) fn insert(&mut self, path: &str) {
        self.hashes.insert(self.hasher.hash_one(path));
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.hashes.contains(&self.hasher.hash_one(path))
    }
}
