//! The warehouse at its public face, with real logs and Parquet files.

// A test's helpers fail as its tests do.
#![allow(clippy::unwrap_used)]
// One that hangs is seen.
#![allow(clippy::disallowed_methods)]

mod contract;
mod crash;
mod guard;
mod job;
mod ledger;
mod loader;
mod names;
mod query;
mod redshift;
mod size;
mod tables;
