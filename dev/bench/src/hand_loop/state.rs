//! What the loop remembers: the watermark, the keys within the horizon, the sums of open windows.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashSet;

use super::event::STATUSES;

/// The delay of the watermark, and how long a repeat is known, in microseconds.
const DELAY: i64 = 600_000_000;
const MINUTE: i64 = 60_000_000;
/// Minutes of the long window; it starts every minute.
const LONG: i64 = 5;

/// What an accepted event is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EventVerdict {
    Event,
    Late,
    Duplicate,
}

/// Count, sum, least and greatest of one window and status.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) count: i64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

/// A window that is final: start and end in microseconds, index of the status, sums.
pub(super) type Closed = (i64, i64, usize, Sums);

/// The bits of a fingerprint are as random as those of any hash.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = fingerprint as u64;
    }
}

type Keys = HashSet<u128, BuildHasherDefault<Spread>>;

/// The state of the one lane.
pub(super) struct LaneState {
    watermark: i64,
    /// Keys since `began`, and those of the horizon before it.
    keys: Keys,
    old_keys: Keys,
    began: i64,
    /// Sums by minute, and by status within it.
    panes: BTreeMap<i64, [Sums; STATUSES.len()]>,
    /// The minute up to which windows are closed.
    closed: Option<i64>,
}

impl LaneState {
    pub(super) fn new() -> Self {
        LaneState {
            watermark: i64::MIN,
            keys: Keys::default(),
            old_keys: Keys::default(),
            began: i64::MIN,
            panes: BTreeMap::new(),
            closed: None,
        }
    }

    /// Decides about an event, and takes it into the state.
    pub(super) fn absorb(
        &mut self,
        time: i64,
        key: u128,
        status: usize,
        amount: f64,
    ) -> EventVerdict {
        if time < self.watermark {
            return EventVerdict::Late;
        }
        self.watermark = self.watermark.max(time - DELAY);
        if self.watermark >= self.began.saturating_add(DELAY) {
            self.old_keys = std::mem::take(&mut self.keys);
            self.began = self.watermark;
        }
        if self.old_keys.contains(&key) || !self.keys.insert(key) {
            return EventVerdict::Duplicate;
        }
        let pane = self.panes.entry(time.div_euclid(MINUTE)).or_insert(EMPTY);
        let sums = &mut pane[status];
        sums.count += 1;
        sums.sum += amount;
        sums.min = sums.min.min(amount);
        sums.max = sums.max.max(amount);
        EventVerdict::Event
    }

    /// Takes out the windows that the watermark has passed, or all: those of one minute and those
    /// of five.
    pub(super) fn close(&mut self, all: bool) -> [Vec<Closed>; 2] {
        let mut out = [Vec::new(), Vec::new()];
        let (Some((first, _)), Some((last, _))) =
            (self.panes.first_key_value(), self.panes.last_key_value())
        else {
            return out;
        };
        let from = self.closed.unwrap_or(*first);
        let to = if all {
            last + LONG
        } else {
            self.watermark.div_euclid(MINUTE)
        };
        for end in from + 1..=to {
            for (size, out) in [1, LONG].into_iter().zip(&mut out) {
                let mut window = EMPTY;
                for (sums, pane) in self
                    .panes
                    .range(end - size..end)
                    .flat_map(|(_, pane)| pane.iter().enumerate())
                {
                    window[sums].merge(pane);
                }
                let times = ((end - size) * MINUTE, end * MINUTE);
                let filled = window.iter().enumerate().filter(|(_, s)| s.count > 0);
                out.extend(filled.map(|(status, sums)| (times.0, times.1, status, *sums)));
            }
        }
        if to > from {
            self.closed = Some(to);
            self.panes = self.panes.split_off(&(to + 1 - LONG));
        }
        out
    }
}

const EMPTY: [Sums; STATUSES.len()] = [Sums {
    count: 0,
    sum: 0.0,
    min: f64::INFINITY,
    max: f64::NEG_INFINITY,
}; STATUSES.len()];

impl Sums {
    fn merge(&mut self, other: &Sums) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}
