//! What handlers share.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tidegate_core::clock::Clock;
use tidegate_core::lookup::LookupTables;
use tidegate_core::plan::Plan;
use tidegate_engine::Status;
use tidegate_log::Storage;
use tidegate_warehouse::WarehouseReader;

use crate::guard::Guard;
use crate::ingest::Ingest;
use crate::job;
use crate::metrics::Fixed;
use crate::options::ServeOptions;

/// Gives the present status.
pub type StatusFn = Arc<dyn Fn() -> Status + Send + Sync>;

/// Gives the reference tables as they are now.
pub type LookupsFn = Arc<dyn Fn() -> LookupTables + Send + Sync>;

/// A running job, as the engine hands it out.
#[derive(Clone)]
pub struct Job {
    /// Gives the present status.
    pub status: StatusFn,
    /// What happens to an event.
    pub plan: Arc<Plan>,
    /// The reference tables of its lookups.
    pub lookups: LookupsFn,
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
    /// Takes events in, if that is asked for.
    pub(crate) ingest: Option<Arc<Ingest>>,
    /// What stands before the routes, for its counts.
    pub(crate) gate: Arc<Guard>,
    /// What metrics say that never changes.
    pub(crate) fixed: Fixed,
}

impl App {
    pub(crate) fn new(
        options: &ServeOptions,
        job: Job,
        ingest: Option<Arc<Ingest>>,
        gate: Arc<Guard>,
    ) -> Self {
        App {
            about: job::about(options, &job),
            fixed: Fixed {
                pipeline: options.name.clone(),
                version: options.version.clone(),
                batch_interval: options.batch_interval,
                load_interval: options.warehouse.as_ref().map(|_| options.load_interval),
                started_at: job.clock.now_micros(),
            },
            job,
            ingest,
            gate,
        }
    }

    /// The job as it is now.
    pub(crate) fn status(&self) -> Status {
        (self.job.status)()
    }
}
