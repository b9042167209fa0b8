//! Shows a running job: an HTTP interface, live values, and aggregates from the tier that holds them.
//!
//! The modules, from the outside in:
//! - [`options`]: what the server is told, and [`server`]: it listens, and knows all routes;
//! - `guard`: who may ask, and how much;
//! - `handlers`: one file for each path of the interface, and `error`: how each error is answered;
//! - `ingest`: takes events in;
//! - `metrics`: every metric by its name;
//! - `app`: what handlers share, and `job`: what a job says of itself.
//!
//! Nothing here decides about a record or holds up the pipeline: the engine hands values out and goes on.

#![forbid(unsafe_code)]

mod app;
mod error;
mod guard;
mod handlers;
mod ingest;
mod job;
mod metrics;
pub mod options;
pub mod server;
mod time;

pub use app::{Job, LookupsFn, StatusFn};
pub use guard::{
    AccessError, GuardError, GuardOptions, Limits, Role, Secret, TlsError, TlsOptions, TokenOptions,
};
pub use ingest::IngestOptions;
pub use metrics::{Definition, Kind, Metric};
pub use options::{Chart, ChartKind, ServeOptions, WarehouseInfo};
pub use server::{BindError, Server};
