//! Opens the warehouse of a job.

use std::sync::Arc;

use tidegate_base::clock::Clock;
use tidegate_core::meaning::Meaning;
use tidegate_core::plan::Plan;
use tidegate_log::JobId;
use tidegate_storage::Storage;
use tidegate_warehouse::redshift::RedshiftOpenError;
use tidegate_warehouse::{
    DuckDbWarehouse, Loader, RedshiftOptions, RedshiftWarehouse, TableSpec, Warehouse,
};
use tokio::runtime::Handle;

use crate::error::EngineError;
use crate::options::{LoadOptions, WarehouseKind, WarehouseOptions};
use crate::tables::known_tables;

/// What a loader is opened with.
#[derive(Debug, Clone)]
pub(crate) struct LoaderSetup {
    pub(crate) warehouse: WarehouseOptions,
    pub(crate) load: LoadOptions,
    pub(crate) plan: Arc<Plan>,
    /// What rows mean after the record `meaning_at`.
    pub(crate) meaning: Meaning,
    pub(crate) meaning_at: u64,
    pub(crate) job: JobId,
    pub(crate) storage: Storage,
    pub(crate) runtime: Handle,
    pub(crate) clock: Clock,
}

impl LoaderSetup {
    /// Opens the warehouse. `last_seq` is the last record of the log. Must not be called from a
    /// thread of the runtime.
    pub(crate) fn open(&self, last_seq: u64) -> Result<Loader, EngineError> {
        let warehouse: Box<dyn Warehouse> = match &self.warehouse.kind {
            WarehouseKind::DuckDb { path, bounds } => Box::new(DuckDbWarehouse::open(
                path,
                self.job.as_str(),
                self.tables(),
                bounds,
                &self.storage,
                self.clock.now_micros(),
            )?),
            WarehouseKind::Redshift(redshift) => Box::new(self.open_redshift(redshift)?),
        };
        let loaded = warehouse.loaded_seq();
        if loaded > last_seq {
            let last = last_seq;
            return Err(EngineError::WarehouseAhead { loaded, last });
        }
        let loader = Loader::new(
            warehouse,
            self.storage.clone(),
            self.runtime.clone(),
            self.clock.clone(),
            self.load.loader.clone(),
        );
        Ok(loader.knows(self.meaning_at, self.meaning.to_value()))
    }

    /// The tables of the configuration, and those of windows that are in the log and not in it.
    fn tables(&self) -> Vec<TableSpec> {
        let known = known_tables(Some(&self.warehouse), &self.plan, &self.meaning);
        for (window, why) in known.without {
            tracing::warn!(
                window,
                why,
                "this window is not in the configuration, and what the log has of it is not loaded from here on. To \
                 have it loaded, put the window into the configuration again, and load all records anew, into a \
                 warehouse.url (DuckDB) or a schema (Redshift) that has nothing of this job yet"
            );
        }
        known.all
    }

    /// A Redshift, opened for a job.
    pub(crate) fn open_redshift(
        &self,
        redshift: &RedshiftOptions,
    ) -> Result<RedshiftWarehouse, EngineError> {
        Ok(RedshiftWarehouse::open(
            redshift,
            self.job.as_str(),
            self.tables(),
            &self.storage,
            &self.runtime,
            self.clock.now_micros(),
        )?)
    }
}

/// Whether a warehouse that could not be opened may be there later, without anybody changing what
/// this job is told.
pub(crate) fn is_away(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Redshift(RedshiftOpenError::Schema { error, .. }) if error.is_transient()
    )
}
