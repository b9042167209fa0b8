//! The warehouse at its public face, with real logs and Parquet files.

mod crash;
mod job;
mod ledger;
mod loader;
mod query;
mod tables;
mod upsert;
mod windows;
