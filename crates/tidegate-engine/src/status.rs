//! What a job shows of itself.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::pace::Slow;
use crate::reach::Reach;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Opening the log, rebuilding state.
    #[default]
    Starting,
    /// Reading.
    Running,
    /// Committing and loading what is in flight.
    Stopping,
    /// Ended.
    Stopped,
}

impl Phase {
    /// Its name in messages and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
        }
    }
}

/// A job at one moment. Counts are of the whole life of the job, from the commit log, except where
/// they say otherwise.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// Where the job is in its life.
    pub phase: Phase,
    /// Records that were read and committed.
    pub read: u64,
    /// Of these: events.
    pub events: u64,
    /// Of these: late events.
    pub late: u64,
    /// Of these: rejected records.
    pub rejected: u64,
    /// Of these: exact repeats that were dropped.
    pub duplicates: u64,
    /// Offsets that expired at the source before they could be read.
    pub gone: u64,
    /// When this process last committed that some had, in microseconds since the Unix epoch.
    pub gone_at: Option<i64>,
    /// How often each reason to reject occurred.
    pub rejected_by: BTreeMap<String, u64>,
    /// Fields that records have and the schema does not, by name, since the start of this process.
    /// The number of names is bounded.
    pub unknown_fields: BTreeMap<String, u64>,
    /// All of them, those included whose names are not told apart.
    pub unknown_fields_total: u64,
    /// Sums of decimals in final windows, over all lanes, that have more digits than their type,
    /// since the start of this process. The window shows null for them.
    pub window_sums_without_room: u64,
    /// Rows that replaced, or lost to, a row of the same key in the warehouse, since the start of
    /// this process.
    pub updates: u64,
    /// Rows that were not loaded, because a text is longer than a column that cannot be widened,
    /// since the start of this process. Events among them are in the rejected table.
    pub load_rejected: u64,
    /// Rows of which a text was cut to its column's width, since the start of this process.
    pub load_cut: u64,
    /// Records of the commit log.
    pub commits: u64,
    /// Sequence number of the newest commit.
    pub last_seq: u64,
    /// Whether the newest commit says that the source has ended, so that all windows are final.
    pub complete: bool,
    /// Whether this process loads the warehouse.
    pub loads_here: bool,
    /// Sequence number of the newest commit that is in the warehouse, if this process loads.
    pub loaded_seq: u64,
    /// Loads since the start of this process.
    pub loads: u64,
    /// Rows that were loaded since the start of this process.
    pub rows_loaded: u64,
    /// When this process loaded last, in microseconds since the Unix epoch.
    pub loaded_at: Option<i64>,
    /// What kept the last load from succeeding, if anything.
    pub load_error: Option<String>,
    /// Loads that failed one after the other, up to now.
    pub load_failures: u64,
    /// When this process committed last, in microseconds since the Unix epoch.
    pub committed_at: Option<i64>,
    /// What keeps the commit under way from succeeding, if anything.
    pub commit_error: Option<String>,
    /// Whether the source can be reached.
    pub source: Reach,
    /// Whether storage can be reached: commits succeed, and a loader can read the log.
    pub storage: Reach,
    /// Whether the warehouse can be reached: loads succeed.
    pub warehouse: Reach,
    /// The stages that take longer than their interval.
    pub slow: Vec<Slow>,
    /// Records read since the start of this process, committed or not.
    pub read_live: u64,
    /// When this process read a record last, in microseconds since the Unix epoch.
    pub read_at: Option<i64>,
    /// Records that the source holds beyond what was read, per partition.
    pub lag: BTreeMap<i32, u64>,
    /// Of these, the records that wait at the source for the end of a transaction.
    pub held: u64,
    /// How often, since the start of this process, a partition of the source turned out to have
    /// another history than the one that was read: a topic that was made anew, or a log that was
    /// cut off.
    pub replaced: u64,
    /// Whether the job has been behind its source for a while: it would take longer than ten
    /// seconds to read what the source holds.
    pub behind: bool,
    /// Seconds until it has caught up, if the lag goes on shrinking as it does; none while it
    /// grows.
    pub catch_up_seconds: Option<f64>,
    /// Watermark of each lane, in microseconds since the Unix epoch.
    pub watermarks: BTreeMap<i32, i64>,
    /// How often one record moved a watermark further than `event-time.delay`, since the start of
    /// this process: what comes after it, with an earlier time, is late.
    pub watermark_jumps: u64,
    /// The last batch.
    pub last_batch: BatchStatus,
    /// The last load.
    pub last_load: LoadStatus,
    /// Seconds since the start of this process.
    pub uptime_seconds: f64,
    /// Fingerprints and window groups in memory.
    pub state_keys: u64,
    /// Bytes of memory of the fingerprints and of the open windows.
    pub state_bytes: u64,
    /// The windows by name: what they take of it.
    pub windows: BTreeMap<String, WindowStatus>,
    /// Bytes of payload in flight between source and commit.
    pub in_flight_bytes: u64,
    /// What there was before this process.
    #[serde(skip)]
    pub before: Before,
}

/// Counts in the life of a job, as they were when the process started.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// Records that were read and committed.
    pub read: u64,
    /// How often each reason for a reject had occurred.
    pub rejected_by: BTreeMap<String, u64>,
}

impl Status {
    /// Records that the source holds beyond what was read, over all partitions.
    pub fn lag_total(&self) -> u64 {
        self.lag.values().sum()
    }
}

/// The open windows of one name.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WindowStatus {
    /// Groups in memory, over all lanes and panes.
    pub groups: u64,
    /// Bytes of memory.
    pub bytes: u64,
    /// The first window's start, in microseconds since the Unix epoch, where it was added to a job
    /// that had rows already: there are no windows before it.
    pub begins: Option<i64>,
}

/// A batch that was committed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BatchStatus {
    /// Records.
    pub records: u64,
    /// Files that were written.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Seconds that encoding took.
    pub encode_seconds: f64,
    /// Seconds that putting the files and committing took.
    pub commit_seconds: f64,
}

/// A load that was applied.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LoadStatus {
    /// Rows.
    pub rows: u64,
    /// Seconds.
    pub seconds: f64,
}

/// What a run did, when it has ended.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The job at its end.
    pub status: Status,
    /// Records that this run read and committed.
    pub read: u64,
    /// Seconds that it ran.
    pub seconds: f64,
    /// Whether the source had ended, so that all windows are final.
    pub complete: bool,
}
