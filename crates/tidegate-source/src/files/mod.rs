//! Files of newline-delimited JSON, plain or compressed.
//!
//! Each file is a partition; its number is given in the order of discovery and its name is its path
//! below the folder that is read. An offset is the number of a line, from 0. A line of nothing but
//! white space has a number but is no record. All files share lane 0, since an event in one may be
//! repeated in another, and they are read one after the other in the order of their names.
//!
//! A file is known by what was read of it ([`identity`]), so that it is recognised when it is
//! renamed, copied and cut off, or compressed ([`known`]). Another file under the name of a known
//! one gets a partition of its own, `name#2`.
//!
//! With `follow`, the place is looked at again and again: new files are read, and known ones are
//! read on when they have grown, up to their last newline. A compressed file that is cut off is
//! read as far as it goes, and on when it has grown and then kept its size for one interval.

mod ahead;
mod cut;
mod discover;
mod identity;
mod input;
mod judge;
mod known;
mod lines;
mod names;
mod reading;
mod search;
mod source;
mod state;
mod trail;

use std::time::Duration;

pub use source::FilesSource;

use crate::SourceError;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesOptions {
    /// A file, a folder (the files directly in it), or a pattern (`in/**/*.json.gz`). In a folder
    /// and among what a pattern matches, names that start with `.` or `_` are passed over. Names
    /// that end with `.gz`, `.gzip`, `.zst` or `.zstd` are decompressed.
    pub path: String,
    /// Whether to wait for more at the end. Without it, the source ends with the files that were
    /// there when it was opened. A last line without a newline then counts, but for one that is the
    /// beginning of a JSON object: it may be half written, and is left.
    pub follow: bool,
    /// How often to look for more when following.
    pub poll_interval: Duration,
    /// What to do when a file is gone that was read in part.
    pub on_missing_files: MissingFiles,
    /// What to do when another file is where one was that was read, and that one is nowhere.
    pub on_changed_files: ChangedFiles,
}

impl FilesOptions {
    /// Whether `path` can be what is read. Whether it is there is not looked at: it may come.
    ///
    /// # Errors
    /// [`SourceError::Option`] if it is a pattern, and not one that can match.
    pub fn check(&self) -> Result<(), SourceError> {
        let path = &self.path;
        if !path.contains(['*', '?', '[']) || std::fs::metadata(path).is_ok() {
            return Ok(());
        }
        discover::check_pattern(path)
    }
}

impl Default for FilesOptions {
    fn default() -> Self {
        FilesOptions {
            path: String::new(),
            follow: false,
            poll_interval: Duration::from_millis(500),
            on_missing_files: MissingFiles::Fail,
            on_changed_files: ChangedFiles::Fail,
        }
    }
}

/// What to do when a file is gone that was read in part. One that was read to its end as it was
/// last seen may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingFiles {
    /// Stop with an error.
    #[default]
    Fail,
    /// Go on with the others, and log it.
    Ignore,
}

/// What to do when a file is not the one that was read under its name, and what was read is nowhere
/// else either. Lines that were added to it before it was replaced may then be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChangedFiles {
    /// Stop with an error.
    #[default]
    Fail,
    /// Read the file that is there now from its beginning, and log it.
    ReadAnew,
}
