//! The loader as a process of its own: it follows the commit log of a job that another process writes.

use std::sync::Arc;

use tidegate_core::plan::Plan;
use tidegate_log::{JobState, Storage, read_records, recover};
use tidegate_warehouse::redshift::DryRun;
use tidegate_warehouse::{LoadReport, LoadRequest};
use tokio::runtime::Handle;

use crate::error::EngineError;
use crate::load::{self, JobLoader, Place};
use crate::options::{EngineOptions, WarehouseKind, WarehouseOptions};

/// Records that a dry run looks at, at most.
const DRY_RUN_RECORDS: usize = 100;

/// Loads what another process commits. Its methods block: call them from a thread of their own, not from
/// one of the runtime's.
#[derive(Debug)]
pub struct LoadAlone {
    options: EngineOptions,
    warehouse: WarehouseOptions,
    plan: Arc<Plan>,
    storage: Storage,
    log: JobState,
    runtime: Handle,
}

impl LoadAlone {
    /// Finds the job's log; the warehouse is not opened yet.
    ///
    /// # Errors
    /// If there is no warehouse in the options, no log, or the log is not whole.
    pub fn open(options: EngineOptions, runtime: &Handle) -> Result<Self, EngineError> {
        let warehouse = options.warehouse.clone().ok_or(EngineError::NoWarehouse)?;
        let plan = Arc::new(Plan::compile(&options.spec).map_err(EngineError::Spec)?);
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
        Ok(LoadAlone {
            options,
            warehouse,
            plan,
            storage,
            log,
            runtime: runtime.clone(),
        })
    }

    fn place(&self) -> Place<'_> {
        Place {
            plan: &self.plan,
            log: &self.log,
            storage: &self.storage,
            runtime: &self.runtime,
            clock: &self.options.clock,
        }
    }

    /// Loads every interval until `stopped` says so, or with `once` until nothing is left.
    ///
    /// # Errors
    /// If the warehouse cannot be opened, or with `once`, if a load fails.
    pub fn run(
        &self,
        once: bool,
        stopped: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&LoadReport),
    ) -> Result<(), EngineError> {
        let mut loader: JobLoader = load::open(&self.warehouse, &self.options.load, &self.place())?;
        Ok(loader.run_alone(once, stopped, each)?)
    }

    /// The SQL and the manifests of the next load into Redshift; none if nothing is left to load. Makes
    /// the tables ready, and changes nothing else.
    ///
    /// # Errors
    /// If the warehouse is not Redshift, or cannot be opened, or a file is not what its record says.
    pub fn dry_run(&self) -> Result<Option<DryRun>, EngineError> {
        let WarehouseKind::Redshift(redshift) = &self.warehouse.kind else {
            return Err(EngineError::NoDryRun);
        };
        let place = self.place();
        let warehouse = load::open_redshift(&self.warehouse, redshift, &place)?;
        let from = tidegate_warehouse::Warehouse::loaded_seq(&warehouse) + 1;
        let records = self
            .runtime
            .block_on(read_records(&self.storage, from, DRY_RUN_RECORDS))
            .map_err(EngineError::ReadLog)?;
        if records.is_empty() {
            return Ok(None);
        }
        let request = LoadRequest {
            records: &records,
            storage: &self.storage,
            runtime: &self.runtime,
            now: self.options.clock.now_micros(),
        };
        warehouse
            .dry_run(&request)
            .map(Some)
            .map_err(|fault| EngineError::DryRun(Box::new(fault)))
    }
}
