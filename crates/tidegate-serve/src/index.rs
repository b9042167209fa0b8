//! What the commit log says, as far as readers need it: which records have rows of which dataset
//! and time, and the lanes' watermarks. Follows the log; bounded however long the log is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use tidegate_log::{ReadError, Record, read_records};

use tidegate_base::failpoint;
use tidegate_base::lock::{read, write};
use tidegate_storage::Storage;

/// Records that are read at a time.
const READ_AT_ONCE: usize = 256;
/// Entries of a dataset, at most; beyond, neighbours become one.
const ENTRIES_MAX: usize = 100_000;
/// Time between two looks at whether the job has committed something.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time after which the log is read again, although the job has committed nothing.
const READ_EVERY: Duration = Duration::from_secs(5);
/// How long a question waits for the index.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Records in a row with rows of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// First and last sequence number.
    pub(crate) seqs: (u64, u64),
    /// Least and greatest event time, inclusive; of rows without one, when they were committed.
    pub(crate) times: (i64, i64),
    /// First and last time at which one of the records was written.
    pub(crate) written: (i64, i64),
    pub(crate) rows: u64,
}

/// What the log says.
#[derive(Debug, Default)]
pub(crate) struct LogIndex {
    /// Sequence number of the last record that is in the index.
    pub(crate) last_seq: u64,
    /// When it was written, in microseconds since the Unix epoch.
    pub(crate) as_of: Option<i64>,
    /// Whether all that was there has been read once.
    pub(crate) is_whole: bool,
    /// Lanes with their watermarks.
    pub(crate) watermarks: BTreeMap<i32, Option<i64>>,
    datasets: BTreeMap<String, Vec<IndexEntry>>,
}

/// An index that is shared, and what it follows.
#[derive(Clone)]
pub(crate) struct SharedIndex {
    index: Arc<RwLock<LogIndex>>,
    /// The sequence number of the job's last commit.
    committed: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for SharedIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

impl SharedIndex {
    /// An empty index. `committed` gives the sequence number of the job's last commit.
    pub(crate) fn new(committed: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        SharedIndex {
            index: Arc::default(),
            committed: Arc::new(committed),
        }
    }

    /// The index as it is.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, LogIndex> {
        read(&self.index)
    }

    /// Waits until the index has what was committed before this was called, so that whoever has
    /// seen a commit finds it here; for [`CATCH_UP_MAX`] at most.
    pub(crate) async fn caught_up(&self) {
        let (committed, began) = ((self.committed)(), Instant::now());
        let lags = |index: &LogIndex| index.is_whole && index.last_seq < committed;
        while lags(&self.read()) && began.elapsed() < CATCH_UP_MAX {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the job has committed more than `seq`, or for [`READ_EVERY`].
    async fn committed_after(&self, seq: u64) {
        let began = Instant::now();
        while (self.committed)() <= seq && began.elapsed() < READ_EVERY {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl LogIndex {
    /// Takes the next record in.
    fn add(&mut self, record: &Record) {
        self.last_seq = record.seq;
        self.as_of = Some(record.written_at);
        for span in &record.partitions {
            self.watermarks.entry(span.lane).or_default();
        }
        for (lane, watermark) in &record.watermarks {
            self.watermarks.insert(*lane, Some(*watermark));
        }
        for file in record.files.iter().filter(|file| file.rows > 0) {
            let written = (record.written_at, record.written_at);
            let entry = IndexEntry {
                seqs: (record.seq, record.seq),
                times: file.event_time.unwrap_or(written),
                written,
                rows: file.rows,
            };
            let entries = self.datasets.entry(file.dataset.clone()).or_default();
            match entries.last_mut() {
                Some(last) if last.seqs.1 == record.seq => last.absorb(&entry),
                _ => entries.push(entry),
            }
            if entries.len() > ENTRIES_MAX {
                *entries = coarser(entries);
            }
        }
    }

    /// Windows that end at or before this are final: every lane has passed them. None while a lane
    /// has no watermark.
    pub(crate) fn final_to(&self) -> Option<i64> {
        self.watermarks.values().copied().min().flatten()
    }

    /// Entries of a dataset whose times meet a range (both ends inclusive), oldest first.
    pub(crate) fn entries(&self, dataset: &str, times: (i64, i64)) -> Vec<IndexEntry> {
        let entries = self.datasets.get(dataset).into_iter().flatten();
        entries
            .filter(|entry| entry.times.0 <= times.1 && entry.times.1 >= times.0)
            .copied()
            .collect()
    }
}

impl IndexEntry {
    /// How many records it stands for.
    pub(crate) fn records(&self) -> u64 {
        self.seqs.1 - self.seqs.0 + 1
    }

    pub(crate) fn absorb(&mut self, other: &IndexEntry) {
        self.seqs = (self.seqs.0.min(other.seqs.0), self.seqs.1.max(other.seqs.1));
        let both = |a: (i64, i64), b: (i64, i64)| (a.0.min(b.0), a.1.max(b.1));
        self.times = both(self.times, other.times);
        self.written = both(self.written, other.written);
        self.rows += other.rows;
    }
}

/// Half as many entries: of two neighbours each, one.
fn coarser(entries: &[IndexEntry]) -> Vec<IndexEntry> {
    let pair = |pair: &[IndexEntry]| {
        let mut one = pair[0];
        pair[1..].iter().for_each(|other| one.absorb(other));
        one
    };
    entries.chunks(2).map(pair).collect()
}

/// Follows the log from its beginning, for ever.
pub(crate) async fn follow(storage: Storage, shared: SharedIndex) {
    let writing = || write(&shared.index);
    // An earlier run that panicked may have taken a record in by half.
    *writing() = LogIndex::default();
    let mut is_told = false;
    loop {
        let last = shared.read().last_seq;
        match read_records(&storage, last + 1, READ_AT_ONCE).await {
            Ok(records) => {
                is_told = false;
                let more = records.len() == READ_AT_ONCE;
                let last = {
                    let mut index = writing();
                    failpoint("serve.index");
                    records.iter().for_each(|record| index.add(record));
                    index.is_whole |= !more;
                    index.last_seq
                };
                if !more {
                    shared.committed_after(last).await;
                }
            }
            Err(error) => {
                if !is_told {
                    tracing::warn!(
                        "the commit log cannot be followed for readers: {error}; trying again"
                    );
                }
                is_told = true;
                tokio::time::sleep(LOOK_EVERY * 5).await;
            }
        }
    }
}

/// The records of entries, in order; at most `max`, counted from the newest.
pub(crate) async fn records(
    storage: &Storage,
    entries: &[IndexEntry],
    max: usize,
) -> Result<Vec<Record>, ReadError> {
    let mut newest_first = Vec::new();
    for entry in entries.iter().rev() {
        let room = (max - newest_first.len()) as u64;
        if room == 0 {
            break;
        }
        let from = entry.seqs.0.max(entry.seqs.1.saturating_sub(room - 1));
        let count = usize::try_from(entry.seqs.1 - from + 1).unwrap_or(usize::MAX);
        let mut records = read_records(storage, from, count).await?;
        records.reverse();
        newest_first.extend(records);
    }
    newest_first.reverse();
    Ok(newest_first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_become_coarser_without_losing_any() {
        let entries: Vec<IndexEntry> = (1..=5)
            .map(|n| IndexEntry {
                seqs: (n, n),
                times: (n as i64, n as i64 + 10),
                written: (n as i64, n as i64),
                rows: 1,
            })
            .collect();
        let coarse = coarser(&entries);
        assert_eq!(coarse.len(), 3);
        assert_eq!(
            coarse[0],
            IndexEntry {
                seqs: (1, 2),
                times: (1, 12),
                written: (1, 2),
                rows: 2
            }
        );
        assert_eq!(coarse[2], entries[4]);
        let mut index = LogIndex::default();
        index.datasets.insert("events".to_owned(), coarse);
        assert_eq!(index.entries("events", (13, 13)).len(), 2);
        assert_eq!(index.entries("events", (0, 0)), []);
        assert_eq!(index.entries("late", (0, 100)), []);
    }

    #[test]
    fn windows_are_final_once_every_lane_has_passed_them() {
        let mut index = LogIndex::default();
        assert_eq!(index.final_to(), None);
        index.watermarks = BTreeMap::from([(0, Some(5)), (1, Some(3))]);
        assert_eq!(index.final_to(), Some(3));
        index.watermarks.insert(2, None);
        assert_eq!(index.final_to(), None);
    }
}
