//! Amazon Redshift, through its Data API: files stay in S3, and `COPY` reads them from there.
//!
//! In the order in which a load uses them: [`options`] say which Redshift; `schema` makes the
//! tables ready, `columns` and `widths` what they have, `merge` the views; `footer` reads which
//! columns the files have; `plan` makes the SQL, as a pure function; `client` runs it; `warehouse`
//! puts it together, and asks the ledger after every failure. A [`Session`] runs other SQL, for
//! checks.

mod client;
mod columns;
mod error;
mod footer;
mod merge;
pub mod options;
mod plan;
mod schema;
mod session;
mod sql;
mod warehouse;
mod widths;

/// Whether a column can have this type.
pub(crate) fn has_type(ty: &arrow::datatypes::DataType) -> bool {
    sql::Type::of(ty).is_some()
}

pub use error::RedshiftError;
pub use options::RedshiftOptions;
pub use plan::WINDOWS_MAX;
pub use schema::SchemaError;
pub use session::{Session, in_catalog, quoted};
pub use warehouse::{DryRun, RedshiftOpenError, RedshiftWarehouse};
