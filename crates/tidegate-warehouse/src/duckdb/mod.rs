//! DuckDB, embedded: the warehouse that needs no service.

mod apply;
mod database;
mod error;
mod schema;
mod sql;
mod warehouse;

pub(crate) use database::{Access, Database};
pub use database::{DatabaseError, DuckDbOptions};
pub(crate) use error::message;
pub use schema::SchemaError;
pub use warehouse::{DuckDbWarehouse, OpenError};
