//! Shows a running job: an HTTP interface, live values, and aggregates from the tier that holds them.
//!
//! The modules, from the outside in:
//! - [`options`]: what the server is told, and [`server`]: it listens, and knows all routes;
//! - `handlers`: one file for each path of the interface, and `error`: how each error is answered;
//! - `app`: what handlers share, and `job`: what a job says of itself.
//!
//! Nothing here decides about a record or holds up the pipeline: the engine hands values out and goes on.

#![forbid(unsafe_code)]

mod app;
mod error;
mod handlers;
mod job;
pub mod options;
pub mod server;
mod time;

pub use app::{Job, StatusFn};
pub use options::{Chart, ChartKind, ServeOptions, WarehouseInfo};
pub use server::{BindError, Server};
