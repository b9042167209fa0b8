//! Runs a job: the threads, queues and budgets that take chunks from a source to committed files and
//! into the warehouse.
//!
//! The modules stand in the order in which data flows: [`read`](self) polls the source, workers
//! prepare, the state thread decides and gathers a batch, the encoder writes Parquet, the committer
//! puts files and commits, the loader applies commits to the warehouse.

mod budget;
mod commit;
mod encode;
mod engine;
mod error;
mod gather;
mod latency;
mod live;
mod load;
mod load_alone;
mod lookups;
mod options;
mod outlook;
mod read;
mod restore;
mod shared;
mod state;
mod status;
mod work;

pub use engine::{Engine, Handle};
pub use error::EngineError;
pub use latency::{Histogram, Latency};
pub use live::{Changes, Live, ViewChanges, Whole};
pub use load_alone::LoadAlone;
pub use options::{
    BatchOptions, EngineOptions, LoadOptions, LookupSource, WarehouseKind, WarehouseOptions,
};
pub use status::{BatchStatus, LoadStatus, Phase, Status, Summary};
