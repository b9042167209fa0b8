//! Where rows go: loads committed files into a warehouse, each exactly once.
//!
//! The commit log says what is to be loaded, and the warehouse's own ledger what has been. A load
//! applies the records after the ledger's last one in a single transaction that moves the ledger
//! too, so after a crash at any instant the ledger tells what to do next.
//!
//! The modules, in the order in which data flows:
//! - [`table`]: what tables there are, and how rows get in;
//! - [`warehouse`]: what a warehouse can do, and `ledger`: where it stands in the log;
//! - [`loader`]: follows the log, cuts it into loads, retries, keeps the maintenance's schedule;
//! - [`load`]: what a load takes and tells;
//! - `stage`: the files of a load, where the warehouse can read them;
//! - `duckdb`: the embedded warehouse: [`DuckDbWarehouse`];
//! - [`redshift`]: Amazon Redshift: [`RedshiftWarehouse`];
//! - [`reader`]: read-only queries while loads go on, and over files without a warehouse
//!   ([`open_archive`]);
//!   `statement` and `tree`: what they say; [`guard`]: which of them a stranger may run;
//!   [`mod@format`]: their answers as text.
//!
//! This crate never decides what is to be loaded in which order: the log does.

#![forbid(unsafe_code)]

mod duckdb;
pub mod format;
pub mod guard;
pub mod json;
mod layers;
mod ledger;
pub mod load;
pub mod loader;
pub mod reader;
pub mod redshift;
pub mod scratch;
mod stage;
mod statement;
pub mod table;
mod tree;
pub mod warehouse;

pub use self::duckdb::{
    ArchiveError, ArchiveFiles, DatabaseError, DuckDbOpenError, DuckDbOptions, DuckDbWarehouse,
    STORED_COLUMNS, SchemaError, StoredColumn, compare_stored, compare_types, open_archive,
};
pub use format::Format;
pub use guard::QueryGuard;
pub use load::{LoadError, LoadFault, LoadReport, LoadRequest, TableLoad};
pub use loader::{CaughtUp, Loader, LoaderError, LoaderOptions, LoaderStop, RetryOptions, Tick};
pub use reader::{QueryError, QueryLimits, QueryResult, WarehouseReader};
pub use redshift::{RedshiftOptions, RedshiftWarehouse};
pub use table::{
    Dialect, Reach, TableError, TableKind, TableSpec, ViewMerge, check_redshift_name, check_tables,
    check_types,
};
pub use warehouse::{Maintenance, MaintenanceError, Warehouse};
