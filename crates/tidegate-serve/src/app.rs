//! What handlers share.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tidegate_core::clock::Clock;
use tidegate_core::plan::Plan;
use tidegate_engine::Status;
use tidegate_log::Storage;
use tidegate_warehouse::WarehouseReader;

use crate::job;
use crate::options::ServeOptions;

/// Gives the present status.
pub type StatusFn = Arc<dyn Fn() -> Status + Send + Sync>;

/// A running job, as the engine hands it out.
#[derive(Clone)]
pub struct Job {
    /// Gives the present status.
    pub status: StatusFn,
    /// What happens to an event.
    pub plan: Arc<Plan>,
    /// Where the job's files are.
    pub storage: Storage,
    /// Read-only queries on the warehouse, if it is in this process.
    pub warehouse: Option<WarehouseReader>,
    /// Where "now" comes from.
    pub clock: Clock,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) job: Job,
    /// The answer of `/v1/job`, which never changes.
    pub(crate) about: Value,
}

impl App {
    pub(crate) fn new(options: &ServeOptions, job: Job) -> Self {
        App {
            about: job::about(options, &job),
            job,
        }
    }

    /// The job as it is now.
    pub(crate) fn status(&self) -> Status {
        (self.job.status)()
    }
}
