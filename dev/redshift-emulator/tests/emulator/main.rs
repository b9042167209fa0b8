//! The emulator through its HTTP face, over a real PostgreSQL.

#![allow(clippy::unwrap_used)]

mod boto3;
mod client;
mod copy;
mod decimals;
mod dialect;
mod faults;
mod sql;
mod statements;
mod transactions;
