//! Metrics for Prometheus, read off the status when they are asked for: nothing is kept beside it.
//!
//! `names` has every metric that there is, `page` the text format, `collect` the values.

mod collect;
mod names;
mod page;
mod process;

use std::time::Duration;

pub(crate) use collect::{collect, collect_loads};
pub use names::{Definition, Metric, MetricKind};
pub(crate) use process::resident_bytes;

use crate::options::Thresholds;

/// What never changes while the process runs.
#[derive(Debug)]
pub(crate) struct Fixed {
    /// Name of the job.
    pub(crate) pipeline: String,
    /// Version of the program.
    pub(crate) version: String,
    /// Time between commits.
    pub(crate) batch_interval: Duration,
    /// Time between loads; none where this process does not load.
    pub(crate) load_interval: Option<Duration>,
    /// Whether another process is to load.
    pub(crate) is_load_separate: bool,
    /// What is promised.
    pub(crate) contract: Duration,
    /// What may be wrong with the data.
    pub(crate) quality: Thresholds,
    /// Every reason to reject a record that there is.
    pub(crate) reasons: Vec<String>,
    /// When the process started, in microseconds since the Unix epoch.
    pub(crate) started_at: i64,
}
