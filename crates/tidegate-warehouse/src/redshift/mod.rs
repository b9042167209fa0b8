//! Amazon Redshift, through its Data API: files stay in S3, and `COPY` reads them from there.
//!
//! In the order in which a load uses them: [`options`] say which Redshift; `schema` makes the tables
//! ready; `footer` reads which columns the files have; `plan` makes the SQL, as a pure function;
//! `client` runs it; `warehouse` puts it together, and asks the ledger after every failure.

mod client;
mod error;
mod footer;
pub mod options;
mod plan;
mod schema;
mod sql;
mod warehouse;

pub use error::RedshiftError;
pub use options::RedshiftOptions;
pub use plan::WINDOWS_MAX;
pub use schema::SchemaError;
pub use warehouse::{DryRun, OpenError, RedshiftWarehouse};
