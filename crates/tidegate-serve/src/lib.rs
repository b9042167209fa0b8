//! Shows a running job: an HTTP interface, live values, and aggregates from the tier that holds
//! them.
//!
//! The modules, from the outside in:
//! - [`options`]: what the server is told, and [`server`]: it listens, and knows all routes;
//! - `guard`: who may ask, and how much;
//! - `handlers`: one file for each path of the interface, and `error`: how each error is answered;
//! - `app`: what handlers share, and `job`: what a job says of itself; `aside`: where they do what
//!   takes processor time;
//! - `tiers`: which tier answers what: `hot` has live values of the last hours, warm is the
//!   warehouse, cold the files that the commit log names (`index`, `cache`);
//! - `live`: what is pushed, `history`: what the process remembers of itself, `assets`: the
//!   dashboard;
//! - `ingest`: takes events in; [`local`]: questions from the same machine;
//! - `metrics`: every metric by its name, and `loading`: what a process answers that only loads;
//! - `view`, `number`, `time`: windows and values as readers see them.
//!
//! Nothing here decides about a record or holds up the pipeline: the engine hands values out and
//! goes on.

#![forbid(unsafe_code)]

mod app;
mod aside;
mod assets;
mod cache;
mod error;
mod guard;
mod handlers;
mod history;
mod hot;
mod index;
mod ingest;
mod job;
mod live;
mod loading;
pub mod local;
mod metrics;
mod number;
pub mod options;
pub mod server;
mod tiers;
mod time;
mod view;

pub use app::ServeError;
pub use guard::{
    AccessError, GuardError, GuardOptions, Limits, Role, Secret, TlsError, TlsOptions, TokenOptions,
};
pub use ingest::IngestOptions;
pub use metrics::{Definition, Metric, MetricKind};
pub use options::{
    CONTRACT, Chart, ChartKind, HotOptions, ServeOptions, Thresholds, WarehouseInfo,
};
pub use server::{BindError, Server, check};
