//! The commit log: one ordered list of records that says what a job has done.
//!
//! A job owns a prefix in an object store. Data files are put there first, under unique names; then
//! one record, `log/<sequence number>.json`, created only if it is absent, says which source
//! offsets the files cover. That put is the commit: before it nothing has happened, after it
//! nothing is left to redo, and of two writers one loses it.
//!
//! The modules stand in the order in which they build on each other:
//! - [`path`] is the names of all files, and `data` puts those with data;
//! - [`probe`] sees that a storage keeps two writers apart;
//! - [`record`] is what is written, in the form that [`codec`] gives every file of the log;
//! - [`mod@fold`] is what a sequence of records means: a pure function, without IO;
//! - [`snapshot`] keeps the fold's result, so that recovery stays short;
//! - [`log`] recovers and commits, [`read`] follows, [`mod@verify`] checks, [`garbage`] cleans up.
//!
//! This crate never looks into a data file: it knows its name, size, checksum and time range.
//! Sizes are bytes as `u64`; times are microseconds since the Unix epoch as `i64`.

#![forbid(unsafe_code)]

pub mod codec;
mod data;
pub mod fold;
pub mod garbage;
pub mod log;
pub mod path;
pub mod probe;
pub mod read;
pub mod record;
mod recover;
pub mod snapshot;
pub mod verify;
pub mod writer;

pub use data::put_data;
pub use fold::{FoldError, JobState, PartitionState, RecordFault, fold};
pub use garbage::{GarbageError, GarbageOptions, GarbageReport, collect_garbage};
pub use log::{CommitError, CommitLog, Draft, OpenOptions};
pub use read::{ReadError, read_records};
pub use record::{Counts, FileEntry, Founding, JobId, Record, Span};
pub use recover::{OpenError, recover};
pub use verify::{Problem, VerifyError, VerifyProgress, VerifyReport, verify};
pub use writer::WriterId;
