//! What becomes of the events of a lane: the rules of the architecture document, as simply as they
//! can be said. Tests of the engine go by it, too.

use std::collections::HashMap;
use std::hash::Hash;

/// What should become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Event,
    Late,
    Duplicate,
    Rejected,
}

/// A lane whose deduplication key is a `K`. Times are in microseconds.
pub(crate) struct Model<K> {
    pub(crate) watermark: Option<i64>,
    first_in: HashMap<K, i64>,
}

impl<K: Eq + Hash> Model<K> {
    /// A lane that begins at this watermark, if at any.
    pub(crate) fn new(watermark: Option<i64>) -> Self {
        Model {
            watermark,
            first_in: HashMap::new(),
        }
    }

    /// What becomes of an event that no rule rejects, under this delay, which a restart can change.
    pub(crate) fn judge(&mut self, key: K, at: i64, delay: i64) -> Fate {
        if self.watermark.is_some_and(|w| at < w) {
            return Fate::Late;
        }
        let moved = self.watermark.unwrap_or(i64::MIN).max(at - delay);
        self.watermark = Some(moved);
        let width = delay / 64 + i64::from(delay % 64 != 0);
        let bucket = |time: i64| time.div_euclid(width);
        let first = self.first_in.get(&key);
        if first.is_some_and(|first| bucket(*first) >= bucket(moved)) {
            return Fate::Duplicate;
        }
        self.first_in.insert(key, at);
        Fate::Event
    }
}
