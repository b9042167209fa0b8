//! Whole pipelines over a real Kafka: from the topic into the warehouse, through the program
//! itself.
//!
//! Where Kafka cannot be had, each test counts itself as skipped.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]
#![allow(clippy::disallowed_methods, reason = "a scope that hangs is seen")]

#[path = "../common/mod.rs"]
mod common;

mod expiry;
mod ingest;
mod lanes;
mod outages;
mod partitions;
mod pipeline;
mod process;
mod produce;
mod records;
mod restarts;
mod security;
mod starts;
mod transactions;
