//! One file for each path of the interface.

pub(crate) mod health;
pub(crate) mod ingest;
pub(crate) mod job;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod status;
