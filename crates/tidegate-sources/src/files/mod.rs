//! Files of newline-delimited JSON, plain or compressed.
//!
//! Each file is a partition; its number is given in the order of discovery and its name is its path
//! below the folder that is read. An offset is the number of a line, from 0. A line of nothing but
//! white space has a number but is no record. All files share lane 0, since an event in one may be
//! repeated in another, and they are read one after the other in the order of their names.
//!
//! With `follow`, the place is looked at again and again: new files are read, and plain files are
//! read on when they have grown, up to their last newline. A compressed file is read once it has
//! kept its size for one interval.

mod discover;
mod input;
mod lines;
mod source;
mod state;

use std::time::Duration;

pub use source::FilesSource;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesOptions {
    /// A file, a folder (the files directly in it), or a pattern (`in/**/*.json.gz`). In a folder
    /// and among what a pattern matches, names that start with `.` or `_` are passed over. Names
    /// that end with `.gz`, `.gzip`, `.zst` or `.zstd` are decompressed.
    pub path: String,
    /// Whether to wait for more at the end. Without it, the source ends with the files that were
    /// there when it was opened, and a last line without a newline counts.
    pub follow: bool,
    /// How often to look for more when following.
    pub poll_interval: Duration,
    /// What to do when a file is gone that was read in part.
    pub on_missing_files: MissingFiles,
}

impl Default for FilesOptions {
    fn default() -> Self {
        FilesOptions {
            path: String::new(),
            follow: false,
            poll_interval: Duration::from_millis(500),
            on_missing_files: MissingFiles::Fail,
        }
    }
}

/// What to do when a file is gone that was read in part. Whether it was read to its end is known
/// only while the job runs: a file that was, and then goes, is always fine until a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingFiles {
    /// Stop with an error.
    #[default]
    Fail,
    /// Go on with the others, and log it.
    Ignore,
}
