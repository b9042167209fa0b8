//! Shows a running job: an HTTP interface, live values, and aggregates from the tier that holds them.
//!
//! The modules, from the outside in:
//! - [`options`]: what the server is told, and [`server`]: it listens, and knows all routes;
//! - `handlers`: one file for each path of the interface, and `error`: how each error is answered;
//! - `app`: what handlers share, and `job`: what a job says of itself;
//! - `tiers`: which tier answers what: `hot` has live values of the last hours, warm is the warehouse, cold the files
//!   that the commit log names (`index`, `cache`);
//! - `live`: what is pushed, `history`: what the process remembers of itself, `assets`: the dashboard;
//! - `view`, `number`, `json`, `time`: windows and values as readers see them.
//!
//! Nothing here decides about a record or holds up the pipeline: the engine hands values out and goes on.

#![forbid(unsafe_code)]

mod app;
mod assets;
mod cache;
mod error;
mod handlers;
mod history;
mod hot;
mod index;
mod job;
mod json;
mod live;
mod number;
pub mod options;
pub mod server;
mod tiers;
mod time;
mod view;

pub use app::{Job, LatencyFn, StatusFn};
pub use options::{Chart, ChartKind, HotOptions, ServeOptions, WarehouseInfo};
pub use server::{BindError, Server};
