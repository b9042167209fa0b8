//! What a warehouse can do, whichever it is. Two stand behind it, and one contract suite, which both
//! pass.

use std::fmt;

use crate::load::{LoadError, LoadReport, LoadRequest};
use crate::reader::WarehouseReader;

/// A database that holds what one job has loaded. Its methods block: call them from a thread of their
/// own, not from one of the runtime's.
pub trait Warehouse: fmt::Debug + Send {
    /// Sequence number of the last record that is loaded; 0 if none is.
    fn loaded_seq(&self) -> u64;

    /// Applies records in one transaction: all of it, or nothing.
    ///
    /// If the answer to the commit is lost, the ledger is asked whether it happened.
    ///
    /// # Errors
    /// If the records do not follow the ledger's last one, a file is not what its record says, or the
    /// database refuses. It then holds what it held before, and the same load can be tried again. If
    /// [`LoadError::is_transient`] says so, that can help.
    fn load(&mut self, request: &LoadRequest<'_>) -> Result<LoadReport, Box<LoadError>>;

    /// Does something that is due from time to time, outside of any load, and notes it in
    /// `tidegate_maintenance`. `now` is in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// If the database refuses.
    fn maintain(&mut self, action: Maintenance, now: i64) -> Result<(), MaintenanceError>;

    /// When something was last done, in microseconds since the Unix epoch; none if never.
    ///
    /// # Errors
    /// If the database refuses.
    fn maintained_at(&self, action: Maintenance) -> Result<Option<i64>, MaintenanceError>;

    /// What is done to this database from time to time.
    fn maintenance(&self) -> &'static [Maintenance];

    /// Read-only queries in this process while loads go on, where the warehouse is embedded.
    fn reader(&self) -> Option<WarehouseReader>;
}

/// What is done to a warehouse from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    /// Renews the statistics that queries are planned with.
    Analyze,
    /// Moves DuckDB's write-ahead log into its file, and gives back the space of deleted rows.
    Checkpoint,
    /// Sorts Redshift's tables, and gives back the space of deleted rows.
    Vacuum,
}

impl Maintenance {
    /// Its name in the table `tidegate_maintenance`.
    pub fn name(self) -> &'static str {
        match self {
            Maintenance::Analyze => "analyze",
            Maintenance::Checkpoint => "checkpoint",
            Maintenance::Vacuum => "vacuum",
        }
    }
}

/// A maintenance that failed. Nothing is lost by it; it is due again.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {message}", action = .action.name())]
pub struct MaintenanceError {
    /// What was to be done.
    pub action: Maintenance,
    /// What the database says.
    pub message: String,
}
