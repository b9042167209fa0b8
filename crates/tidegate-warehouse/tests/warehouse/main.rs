//! The warehouse at its public face, with real logs and Parquet files.

// A test's helpers fail as its tests do.
#![allow(clippy::unwrap_used)]

mod contract;
mod crash;
mod job;
mod ledger;
mod loader;
mod query;
mod redshift;
mod tables;
