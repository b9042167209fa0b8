//! What a job shows of itself.

use std::collections::BTreeMap;

use serde::Serialize;

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
    /// How often each reason to reject occurred.
    pub rejected_by: BTreeMap<String, u64>,
    /// Rows that replaced, or lost to, a row of the same key in the warehouse, since the start of
    /// this process.
    pub updates: u64,
    /// Records of the commit log.
    pub commits: u64,
    /// Sequence number of the newest commit.
    pub last_seq: u64,
    /// Whether the newest commit says that the source has ended, so that all windows are final.
    pub complete: bool,
    /// Sequence number of the newest commit that is in the warehouse.
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
    /// Records read since the start of this process, committed or not.
    pub read_live: u64,
    /// Records that the source holds beyond what was read, per partition.
    pub lag: BTreeMap<i32, u64>,
    /// Whether the job has been behind its source for a while: it would take longer than ten seconds to
    /// read what the source holds.
    pub behind: bool,
    /// Seconds until it has caught up, if the lag goes on shrinking as it does; none while it grows.
    pub catch_up_seconds: Option<f64>,
    /// Watermark of each lane, in microseconds since the Unix epoch.
    pub watermarks: BTreeMap<i32, i64>,
    /// The last batch.
    pub last_batch: BatchStatus,
    /// The last load.
    pub last_load: LoadStatus,
    /// Seconds since the start of this process.
    pub uptime_seconds: f64,
    /// Fingerprints and window groups in memory.
    pub state_keys: u64,
    /// Bytes of memory of the fingerprints.
    pub state_bytes: u64,
    /// Bytes of payload in flight between source and commit.
    pub in_flight_bytes: u64,
}

impl Status {
    /// Records that the source holds beyond what was read, over all partitions.
    pub fn lag_total(&self) -> u64 {
        self.lag.values().sum()
    }
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
