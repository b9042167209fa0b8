//! Runs a job: the threads, queues and budgets that take chunks from a source to committed files
//! and into the warehouse.
//!
//! `engine` starts a job, and `stages` its threads, in the order in which data flows: `read` polls
//! the source, `work` prepares chunks, `state` decides and gathers a batch, `encode` writes
//! Parquet, `commit` puts files and commits, `load` applies commits to the warehouse. [`Handle`] is
//! how others see a running job.

#![forbid(unsafe_code)]

mod adopt;
mod budget;
mod commit;
mod encode;
mod engine;
mod error;
mod fan_out;
mod gather;
mod handle;
mod hours;
mod latency;
mod lateness;
mod live;
mod load;
mod load_alone;
mod look;
mod lookups;
mod memory;
mod options;
mod outlook;
mod pace;
mod reach;
mod read;
mod restore;
mod shared;
mod source;
mod stages;
mod starting;
mod state;
mod status;
mod tables;
mod warehouse;
mod work;

pub use adopt::change;
pub use encode::ParquetSettings;
pub use engine::{Engine, OpenSource};
pub use error::{EngineError, LookupFault};
pub use handle::{Handle, Monitor, RunningJob};
pub use latency::{Histogram, Latency};
pub use live::{Changes, Live, ViewChanges, Whole};
pub use load_alone::LoadAlone;
pub use lookups::check_lookups;
pub use options::{
    BatchOptions, EngineOptions, LoadOptions, LookupSource, WarehouseKind, WarehouseOptions,
};
pub use pace::Slow;
pub use reach::Reach;
pub use source::SourceOptions;
pub use starting::Starting;
pub use status::{BatchStatus, Before, LoadStatus, Phase, Status, Summary, WindowStatus};
pub use tables::{check_tables, compare_tables};
