//! The commit log of a run, read from its files while it grows.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Outcome;

/// One commit.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    /// Records that it covers.
    pub(crate) read: u64,
    /// Partition, first offset, and the offset after the last, of what it covers.
    pub(crate) spans: Vec<(i64, i64, i64)>,
}

/// A job's commits so far.
pub(crate) struct Log {
    dir: PathBuf,
    pub(crate) commits: Vec<Commit>,
    /// Records that they cover.
    pub(crate) records: u64,
}

impl Log {
    /// The log of the job whose prefix is the folder `storage`.
    pub(crate) fn new(storage: &Path) -> Self {
        Log {
            dir: storage.join("log"),
            commits: Vec::new(),
            records: 0,
        }
    }

    /// Reads on; returns how many records are committed so far.
    pub(crate) fn read(&mut self) -> Outcome<u64> {
        while let Ok(text) = std::fs::read_to_string(
            self.dir
                .join(format!("{:020}.json", self.commits.len() + 1)),
        ) {
            let record: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
            let read = record["counts"]["read"].as_u64().unwrap_or(0);
            let number = |span: &Value, key: &str| span[key].as_i64().unwrap_or(0);
            let spans = record["partitions"].as_array().into_iter().flatten();
            let spans = spans.map(|s| (number(s, "id"), number(s, "from"), number(s, "to")));
            self.commits.push(Commit {
                read,
                spans: spans.collect(),
            });
            self.records += read;
        }
        Ok(self.records)
    }
}
