//! Whole pipelines into Redshift: files in a real S3 server, the Data API of the emulator,
//! PostgreSQL underneath. What is loaded is compared, row by row, with what the same input makes in
//! DuckDB, which the oracle's tests compare with another engine's answer.

#![allow(unreachable_pub, clippy::unwrap_used)] // A helper that cannot do its part ends the test.

mod beliefs;
mod columns;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod end_to_end;
mod faults;
mod loading;
mod world;
