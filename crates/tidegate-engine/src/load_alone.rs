//! The loader as a process of its own: it follows the commit log of a job that another process
//! writes.

use std::sync::Arc;

use tidegate_core::meaning::Meaning;
use tidegate_core::plan::Plan;
use tidegate_log::{JobState, read_records, recover};
use tidegate_storage::Storage;
use tidegate_warehouse::redshift::DryRun;
use tidegate_warehouse::{LoadFault, LoadReport, LoadRequest};
use tokio::runtime::Handle;

use crate::adopt;
use crate::error::EngineError;
use crate::load::run_alone;
use crate::look::{LOOK, look};
use crate::options::{EngineOptions, WarehouseKind, WarehouseOptions};
use crate::shared::Shared;
use crate::starting::Starting;
use crate::status::Phase;
use crate::warehouse::LoaderSetup;

/// Records that a dry run looks at, at most.
const DRY_RUN_RECORDS: usize = 100;

/// Loads what another process commits. Its methods block: call them from a thread of their own, not
/// from one of the runtime's.
#[derive(Debug)]
pub struct LoadAlone {
    options: EngineOptions,
    warehouse: WarehouseOptions,
    plan: Arc<Plan>,
    storage: Storage,
    log: JobState,
    meaning: Meaning,
    runtime: Handle,
    shared: Arc<Shared>,
}

impl LoadAlone {
    /// Finds the job's log; the warehouse is not opened yet.
    ///
    /// # Errors
    /// If there is no warehouse in the options, no log, or the log is not whole.
    pub fn open(options: EngineOptions, runtime: &Handle) -> Result<Self, EngineError> {
        let starting = Starting::new(&options);
        Self::open_shown(options, &starting, runtime)
    }

    /// As [`LoadAlone::open`], shown by what was made for these options. Of the counts it shows
    /// those that are about loads, and how long events are under way from their commit until they
    /// are queryable; those of records are the other process's.
    ///
    /// # Errors
    /// As [`LoadAlone::open`].
    pub fn open_shown(
        options: EngineOptions,
        starting: &Starting,
        runtime: &Handle,
    ) -> Result<Self, EngineError> {
        let warehouse = options.warehouse.clone().ok_or(EngineError::NoWarehouse)?;
        let plan = Plan::compile_untried(&options.spec).map_err(EngineError::Spec)?;
        let plan = Arc::new(plan);
        starting.reach_storage(&options, runtime)?;
        let storage = Storage::open_existing(&options.storage)?;
        let log = runtime
            .block_on(recover(&storage, plan.horizon()))?
            .ok_or_else(|| EngineError::NoLog(storage.url().to_owned()))?;
        if log.name != options.job {
            return Err(EngineError::OtherJob {
                url: storage.url().to_owned(),
                expected: options.job,
                found: log.name,
            });
        }
        adopt::check_upsert_key(&options, &plan, &log)?;
        let meaning = adopt::in_log_or_present(&options, &plan, &log)?;
        let shared = Arc::clone(&starting.shared);
        shared.show_log(&log);
        Ok(LoadAlone {
            shared,
            options,
            warehouse,
            plan,
            storage,
            log,
            meaning,
            runtime: runtime.clone(),
        })
    }

    fn setup(&self) -> LoaderSetup {
        LoaderSetup {
            warehouse: self.warehouse.bounded(self.options.memory),
            load: self.options.load.clone(),
            plan: Arc::clone(&self.plan),
            meaning: self.meaning.clone(),
            meaning_at: self.log.last_seq,
            job: self.log.job.clone(),
            storage: self.storage.clone(),
            runtime: self.runtime.clone(),
            clock: self.options.clock.clone(),
        }
    }

    /// Loads every interval until `stopped` says so, or with `once` until nothing is left. A
    /// warehouse that is away is tried again, unless `once`.
    ///
    /// # Errors
    /// If the warehouse cannot be opened, or with `once`, if a load fails.
    pub fn run(
        &self,
        once: bool,
        stopped: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&LoadReport),
    ) -> Result<(), EngineError> {
        self.shared.update().phase = Phase::Running;
        // A load may be far from the next, or be tried again for minutes.
        let looking = (!once).then(|| {
            let (storage, shared) = (self.storage.clone(), Arc::clone(&self.shared));
            self.runtime.spawn(watch_storage(storage, shared))
        });
        let ended = run_alone(&self.setup(), once, &self.shared, stopped, each);
        if let Some(looking) = looking {
            looking.abort();
        }
        self.shared.update().phase = Phase::Stopping;
        ended
    }

    /// The SQL and the manifests of the next load into Redshift; none if nothing is left to load.
    /// Makes the tables ready, and changes nothing else.
    ///
    /// # Errors
    /// If the warehouse is not Redshift, or cannot be opened, or a file is not what its record
    /// says.
    pub fn dry_run(&self) -> Result<Option<DryRun>, EngineError> {
        let WarehouseKind::Redshift(redshift) = &self.warehouse.kind else {
            return Err(EngineError::NoDryRun);
        };
        let setup = self.setup();
        let warehouse = setup.open_redshift(redshift)?;
        let from = tidegate_warehouse::Warehouse::loaded_seq(&warehouse) + 1;
        let records = self
            .runtime
            .block_on(read_records(&self.storage, from, DRY_RUN_RECORDS))
            .map_err(EngineError::ReadLog)?;
        if records.is_empty() {
            return Ok(None);
        }
        let mut taken = records.len();
        loop {
            let request = LoadRequest {
                records: &records[..taken],
                storage: &self.storage,
                runtime: &self.runtime,
                now: self.options.clock.now_micros(),
            };
            match warehouse.dry_run(&request) {
                Ok(plan) => return Ok(Some(plan)),
                // As a loader does.
                Err(LoadFault::TooLarge { .. }) if taken > 1 => taken /= 2,
                Err(fault) => return Err(EngineError::DryRun(Box::new(fault))),
            }
        }
    }
}

/// Looks at storage every so often, and shows whether it answers. Never ends.
async fn watch_storage(storage: Storage, shared: Arc<Shared>) {
    let mut is_away = false;
    loop {
        tokio::time::sleep(LOOK).await;
        // What is loaded is known to be there; of what comes next, either answer will do.
        let next = shared.update().loaded_seq + 1;
        let was_away = is_away;
        let found = look(&storage, next, &shared).await;
        is_away = found.is_err();
        match found {
            Ok(()) if was_away => tracing::info!("storage can be reached again"),
            Err(error) if !was_away => {
                tracing::error!("storage cannot be reached: {error}; loading is tried again");
            }
            _ => {}
        }
    }
}
