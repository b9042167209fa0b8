//! One file for each path of the interface.

pub(crate) mod aggregates;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod ingest;
pub(crate) mod job;
pub(crate) mod late;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod openapi;
mod page;
pub(crate) mod query;
mod query_string;
pub(crate) mod rejected;
mod rows;
pub(crate) mod status;
