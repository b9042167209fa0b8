//! The hot tier: the live value of every window, group and lane, for some hours.
//!
//! Values are absolute, so that writing one again changes nothing, and several processes can write.
//! Two stores hold them: [`memory`], in this process, and [`redis`], for all. [`writer`] brings
//! them there beside the pipeline, which never waits for it.

#[cfg(test)]
mod contract;
pub(crate) mod memory;
pub(crate) mod redis;
pub(crate) mod writer;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::number::Number;
use crate::options::HotOptions;
use crate::view::{Group, Part};

/// Why the hot tier has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HotError {
    /// Redis cannot be reached, or reports an error.
    #[error("Redis at {url}: {message}")]
    Redis {
        /// Where it is, without what is secret.
        url: String,
        /// What is wrong.
        message: String,
    },
    /// It did not answer lately, and is not asked again at once.
    #[error("Redis at {url} did not answer a moment ago")]
    Down {
        /// Where it is, without what is secret.
        url: String,
    },
    /// The range has more windows than are read at a time.
    #[error("the range has {0} windows, and at most {READ_MAX} are read at a time; ask for less")]
    TooMany(i64),
    /// The URL is not one of Redis.
    #[error("`{url}` is not a URL of a Redis: {message}")]
    Url {
        /// Where it is, without what is secret.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// The certificates cannot be read.
    #[error(
        "cannot read {} (hot.ca): {message}; it has to be a file in PEM with the certificates of \
         authorities", path.display()
    )]
    Authority {
        /// Their file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// Looks whether the certificates of the store can be read.
pub(crate) fn check(options: &HotOptions) -> Result<(), HotError> {
    redis::check(options)
}

/// Windows that are read at a time, at most.
pub(crate) const READ_MAX: i64 = 20_000;

/// What is known of one window: values by lane and group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct HotWindow {
    pub(crate) values: HashMap<(i32, Group), Box<[Number]>>,
    /// How many groups of a lane are not up to date.
    pub(crate) left_out: HashMap<i32, u64>,
}

/// The windows of a view under one definition. Values that it had under another one, before a
/// restart, are none of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HotView<'a> {
    pub(crate) name: &'a str,
    /// What tells one definition from another, in letters and digits.
    pub(crate) definition: &'a str,
}

/// Windows by their start.
pub(crate) type HotWindows = BTreeMap<i64, HotWindow>;

/// Windows by their start, as they are read: shared with the store where it is in this process.
pub(crate) type ReadWindows = BTreeMap<i64, Arc<HotWindow>>;

impl HotWindow {
    /// Puts newer values in place of those that are there; gives how many there are more now.
    pub(crate) fn put(&mut self, newer: HotWindow) -> usize {
        let before = self.values.len();
        self.values.extend(newer.values);
        for (lane, groups) in newer.left_out {
            if groups == 0 {
                self.left_out.remove(&lane);
            } else {
                self.left_out.insert(lane, groups);
            }
        }
        self.values.len() - before
    }

    /// Puts one value.
    pub(crate) fn put_part(&mut self, part: Part) {
        self.values.insert((part.lane, part.group), part.values);
    }

    /// How many groups are not up to date.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.values().sum()
    }
}

/// Where hot values are kept. Both stores pass one test suite.
#[async_trait]
pub(crate) trait HotStore: Debug + Send + Sync {
    /// Whether what was written before is still there; false once after it was lost.
    async fn check(&self) -> Result<bool, HotError>;

    /// Puts values in place of older ones. `now` is in microseconds since the Unix epoch.
    async fn write(
        &self,
        view: HotView<'_>,
        windows: &HotWindows,
        now: i64,
    ) -> Result<(), HotError>;

    /// The windows that start in `starts` (from, to), each `slide` microseconds from the next.
    async fn read(
        &self,
        view: HotView<'_>,
        starts: (i64, i64),
        slide: i64,
    ) -> Result<ReadWindows, HotError>;

    /// Windows that start before this may have been given up to bound memory.
    fn floor(&self, view: &str) -> Option<i64>;
}

/// When a window's values may be forgotten, in microseconds: `keep` after they were written, but a
/// window of the future not before it has been kept that long after its start. So whatever starts
/// within the last `keep` is there.
pub(crate) fn expires_at(start: i64, now: i64, keep: i64) -> i64 {
    start.max(now).saturating_add(keep)
}
