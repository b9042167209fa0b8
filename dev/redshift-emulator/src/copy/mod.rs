//! COPY from Parquet files.

mod command;
mod load;
mod manifest;
mod objects;
mod parquet_file;
mod rows;
mod schema;

pub(crate) use command::CopyCommand;
pub(crate) use load::{CopyResult, RowError, load};
pub(crate) use objects::BucketStores;
