//! Storage: the objects of a job below one prefix, on a local disk, in S3 or in memory.
//!
//! What was put is there after a crash and a power failure, and of two writers that create one
//! object one loses. The modules stand in the order in which they build on each other:
//! - [`disk`] is the local disk, as far as storage needs it, so that tests can take its power away;
//! - `local` puts objects on it so that they stay; `s3` puts them into a bucket;
//! - [`options`] say which storage it is, and [`storage`] is the one face of all three;
//!
//! This crate knows nothing of what is in an object.

pub mod disk;
mod local;
pub mod options;
mod place;
mod s3;
pub mod storage;

pub use options::{Encryption, Keys, S3Options, StorageOptions};
pub use storage::{Storage, StorageError, is_disk_full};

/// The folder whose objects go in one request each, whatever their size: they are put on condition
/// that they are absent, which some services ignore where an upload in parts is completed. Nothing
/// else is ever put in a folder of this name.
pub const WHOLE_FOLDER: &str = "log";
