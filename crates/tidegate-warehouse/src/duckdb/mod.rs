//! DuckDB, embedded: the warehouse that needs no service.

mod apply;
mod archive;
mod database;
mod error;
mod files;
mod make;
mod merge;
mod schema;
mod sql;
mod taken;
mod warehouse;

pub use archive::{ArchiveError, ArchiveFiles, open_archive};
pub(crate) use database::{Access, Database};
pub use database::{DatabaseError, DuckDbOptions};
pub(crate) use error::{in_words, message};
pub use schema::{STORED_COLUMNS, SchemaError, StoredColumn, compare_stored, compare_types};

/// Whether a column can have this type.
pub(crate) fn has_type(ty: &arrow::datatypes::DataType) -> bool {
    sql::sql_type(ty).is_some()
}

pub use warehouse::{DuckDbOpenError, DuckDbWarehouse};
