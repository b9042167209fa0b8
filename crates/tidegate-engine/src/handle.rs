//! A running job from outside: to look at it, to stop it, and to wait for its end.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tidegate_base::clock::Clock;
use tidegate_base::lock::read;
use tidegate_core::lookup::LookupTables;
use tidegate_core::plan::Plan;
use tidegate_core::window::WindowPlan;
use tidegate_log::JobId;
use tidegate_storage::Storage;
use tidegate_warehouse::{TableSpec, WarehouseReader};

use crate::error::EngineError;
use crate::latency::Latency;
use crate::live::Live;
use crate::shared::Shared;
use crate::status::{Phase, Status, Summary};
use crate::work::CurrentLookups;

/// Shows a job, from before it has started until after it has ended. Cheap to clone; clones show
/// the same job.
#[derive(Debug, Clone)]
pub struct Monitor {
    pub(crate) shared: Arc<Shared>,
}

impl Monitor {
    /// The job as it is now. Cheap.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// How long events are under way.
    pub fn latency(&self) -> Latency {
        self.shared.measured().latency()
    }

    /// Where the job has its "now" from.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }
}

/// A running job, to look at it and to stop it from any task. Cheap to clone; clones are of the
/// same job.
///
/// The last clone of a handle on a job that loads a DuckDB closes the database, with a checkpoint.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) monitor: Monitor,
    pub(crate) job: JobId,
    pub(crate) plan: Arc<Plan>,
    pub(crate) storage: Storage,
    pub(crate) tables: Arc<[TableSpec]>,
    pub(crate) removed: Arc<[WindowPlan]>,
    pub(crate) lookups: Arc<CurrentLookups>,
    pub(crate) reader: Option<WarehouseReader>,
    pub(crate) live: Option<Live>,
}

impl Handle {
    /// The job as it is now. Cheap.
    pub fn status(&self) -> Status {
        self.monitor.status()
    }

    /// How long events are under way.
    pub fn latency(&self) -> Latency {
        self.monitor.latency()
    }

    /// Where the job has its "now" from.
    pub fn clock(&self) -> &Clock {
        self.monitor.clock()
    }

    /// Shows the job, and keeps nothing of it open.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Asks the job to end, and returns at once: what is in flight is committed and loaded.
    pub fn stop(&self) {
        self.shared().update().phase = Phase::Stopping;
        self.shared().stop();
    }

    /// Read-only queries on the warehouse while the job runs. There are none where the job has no
    /// warehouse, where another process loads it, where it is not in this process (Redshift), or
    /// where it could not be opened yet.
    pub fn warehouse(&self) -> Option<&WarehouseReader> {
        self.reader.as_ref()
    }

    /// What the job's log was founded with.
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// What the job does to an event.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Live values of the windows, if they were asked for.
    pub fn live(&self) -> Option<&Live> {
        self.live.as_ref()
    }

    /// The tables of the job, as a warehouse has them: also those of
    /// [`Handle::removed_windows`]. Where there is no warehouse they have the names `events` and
    /// `rejected`.
    pub fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    /// Windows that were taken out of the configuration, and whose tables have what was committed.
    pub fn removed_windows(&self) -> &[WindowPlan] {
        &self.removed
    }

    /// The reference tables of the lookups as they are now.
    pub fn lookups(&self) -> LookupTables {
        Arc::clone(&read(&self.lookups))
    }

    /// Where the job's files are.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.monitor.shared
    }
}

/// A running job, for whoever started it and waits for its end. The job goes on if this is dropped.
#[derive(Debug)]
pub struct RunningJob {
    pub(crate) handle: Handle,
    pub(crate) threads: Vec<JoinHandle<()>>,
    pub(crate) started: Instant,
    /// Records that the log had when the job was started.
    pub(crate) read_before: u64,
}

impl RunningJob {
    /// To look at the job and to stop it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until the job has ended.
    ///
    /// # Errors
    /// What made it stop, if not its source's end or [`Handle::stop`].
    pub async fn wait(self) -> Result<Summary, EngineError> {
        let RunningJob {
            handle,
            threads,
            started,
            read_before,
        } = self;
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A panic has been noted where it happened.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
        let shared = handle.shared();
        shared.update().phase = Phase::Stopped;
        if let Some(error) = shared.take_error() {
            return Err(error);
        }
        let status = shared.status();
        Ok(Summary {
            read: status.read.saturating_sub(read_before),
            complete: status.complete,
            seconds: started.elapsed().as_secs_f64(),
            status,
        })
    }
}
