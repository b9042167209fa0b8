//! DuckDB, embedded: the warehouse that needs no service.

mod apply;
mod archive;
mod database;
mod error;
mod schema;
mod sql;
mod warehouse;

pub use archive::{ArchiveError, ArchiveFiles, open_archive};
pub(crate) use database::{Access, Database};
pub use database::{DatabaseError, DuckDbOptions};
pub(crate) use error::message;
pub use schema::SchemaError;
pub use warehouse::{DuckDbWarehouse, OpenError};
