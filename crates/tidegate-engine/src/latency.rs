//! How long events are under way: from when they could be read, until they were read, committed,
//! and queryable in the warehouse. How old they were by then, by their own time stamp, is apart:
//! what was late at its sender is not this job's delay.
//!
//! An event can be read from the time that its source gives it (Kafka: the record's timestamp);
//! where there is none, from when it was read. A few rows of each chunk stand for all, so that it
//! costs the hot path nothing.

use std::collections::VecDeque;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use tidegate_core::plan::SOURCE_TIMESTAMP;
use tidegate_core::prepare::Prepared;

/// Ten bounds for each power of ten: the preferred numbers of ISO 3, which are round.
const STEPS: [i64; 10] = [
    1_000, 1_250, 1_600, 2_000, 2_500, 3_150, 4_000, 5_000, 6_300, 8_000,
];
/// Limits of the latency contract that are not among them, in microseconds: what processing may
/// take, all stages together, and the contract itself. So each share within a limit is exact.
const LIMITS: [i64; 3] = [15_000_000, 58_500_000, 300_000_000];
/// From a millisecond to 100,000 s, which are a day and more.
const BUCKETS: usize = 8 * STEPS.len() + 1 + LIMITS.len();
/// Upper bounds of the buckets, in microseconds.
static BOUNDS: [i64; BUCKETS] = bounds();
/// Event times that stand for a chunk.
const SAMPLES: usize = 16;
/// Commits that wait to be loaded, at most; of more, the oldest are not measured.
const WAITING_MAX: usize = 1_000;

/// Durations, by how often each occurred.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// One for each bound, and one for what is longer than all.
    counts: Vec<u64>,
    sum_seconds: f64,
}

/// Durations of the three stages since the event could be read, in the life of the process; and its
/// lateness.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latency {
    /// Until the event was read.
    pub read: Histogram,
    /// Until it was committed.
    pub commit: Histogram,
    /// Until it was queryable in the warehouse.
    pub queryable: Histogram,
    /// How old it was, by its own time stamp, when it could be read.
    pub lateness: Histogram,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: vec![0; BUCKETS + 1],
            sum_seconds: 0.0,
        }
    }
}

const fn bounds() -> [i64; BUCKETS] {
    let mut bounds = [0; BUCKETS];
    let (mut place, mut step, mut power, mut limit) = (0, 0, 1, 0);
    while place < BUCKETS {
        let next = STEPS[step] * power;
        if limit < LIMITS.len() && LIMITS[limit] < next {
            bounds[place] = LIMITS[limit];
            limit += 1;
        } else {
            bounds[place] = next;
            step += 1;
            if step == STEPS.len() {
                (step, power) = (0, power * 10);
            }
        }
        place += 1;
    }
    bounds
}

/// Upper bound of a bucket, in seconds; the last one for what is longer than all.
#[allow(clippy::cast_precision_loss)]
fn bound(bucket: usize) -> f64 {
    BOUNDS[bucket.min(BUCKETS - 1)] as f64 / 1e6
}

impl Histogram {
    /// Adds a duration that occurred `times` times. A negative one, from a clock that is ahead,
    /// counts as none.
    pub fn add(&mut self, micros: i64, times: u64) {
        let micros = micros.max(0);
        self.counts[BOUNDS.partition_point(|bound| *bound < micros)] += times;
        #[allow(clippy::cast_precision_loss)]
        let (seconds, times) = (micros as f64 / 1e6, times as f64);
        self.sum_seconds += seconds * times;
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }

    /// For each bucket its upper bound in seconds and how many durations are not above it; those
    /// above the last bound are only in [`Histogram::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut sum = 0;
        self.counts[..BUCKETS]
            .iter()
            .enumerate()
            .map(move |(bucket, count)| {
                sum += count;
                (bound(bucket), sum)
            })
    }

    /// The duration in seconds that a share of all is not above, as exact as the buckets are; none
    /// without any.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[allow(clippy::cast_precision_loss)]
        let wanted = share.clamp(0.0, 1.0) * count as f64;
        let mut before = 0.0;
        for (bucket, count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            #[allow(clippy::cast_precision_loss)]
            let count = *count as f64;
            if before + count >= wanted {
                let low = if bucket == 0 { 0.0 } else { bound(bucket - 1) };
                return Some(low + (bound(bucket) - low) * (wanted - before) / count);
            }
            before += count;
        }
        Some(bound(BUCKETS))
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let counts = self.counts.iter().zip(&earlier.counts);
        Histogram {
            counts: counts
                .map(|(now, then)| now.saturating_sub(*then))
                .collect(),
            sum_seconds: self.sum_seconds - earlier.sum_seconds,
        }
    }
}

/// One row that stands for several.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LatencySample {
    /// The event's own time.
    time: i64,
    /// From when on it could be read.
    readable: i64,
    rows: u64,
}

/// Rows that stand for all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Samples(Vec<LatencySample>);

impl Samples {
    /// Samples of a chunk that was read at `read_at`.
    pub(crate) fn of(chunk: &Prepared, read_at: i64) -> Self {
        let source = chunk.batch.column_by_name(SOURCE_TIMESTAMP);
        let source = source.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        let readable = |row: usize| {
            source
                .filter(|times| times.is_valid(row))
                .map(|times| times.value(row))
        };
        Samples::taken(&chunk.times, &chunk.accepted, readable, read_at)
    }

    fn taken(
        times: &[i64],
        accepted: &[bool],
        readable: impl Fn(usize) -> Option<i64>,
        read_at: i64,
    ) -> Self {
        let step = (times.len() / SAMPLES).max(1);
        let rows = (0..times.len()).step_by(step).filter(|row| accepted[*row]);
        let sample = |row: usize| LatencySample {
            time: times[row],
            // A sender's clock can be ahead, and its time stamp can be none.
            readable: readable(row)
                .map_or(read_at, |at| if at > 0 { at.min(read_at) } else { read_at }),
            rows: step as u64,
        };
        Samples(rows.map(sample).collect())
    }

    pub(crate) fn extend(&mut self, other: Samples) {
        self.0.extend(other.0);
    }
}

/// Measures; shared by the threads.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    latency: Latency,
    /// Commits that are not loaded yet, by sequence number.
    waiting: VecDeque<(u64, Samples)>,
}

impl Measured {
    pub(crate) fn latency(&self) -> Latency {
        self.latency.clone()
    }

    pub(crate) fn read(&mut self, samples: &Samples, at: i64) {
        add(&mut self.latency.read, samples, at);
        for sample in &samples.0 {
            let late = sample.readable.saturating_sub(sample.time);
            self.latency.lateness.add(late, sample.rows);
        }
    }

    pub(crate) fn committed(&mut self, seq: u64, samples: Samples, at: i64) {
        add(&mut self.latency.commit, &samples, at);
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((seq, samples));
    }

    pub(crate) fn loaded(&mut self, seq: u64, at: i64) {
        while let Some((_, samples)) = self.waiting.pop_front_if(|(waiting, _)| *waiting <= seq) {
            add(&mut self.latency.queryable, &samples, at);
        }
    }

    /// A load by a process that did not read the events: all that is known of them is when the
    /// first and the last were committed.
    pub(crate) fn loaded_since_commit(&mut self, committed_at: (i64, i64), rows: u64, at: i64) {
        let (first, last) = committed_at;
        self.latency
            .queryable
            .add(at.saturating_sub(first), rows.div_ceil(2));
        self.latency
            .queryable
            .add(at.saturating_sub(last), rows / 2);
    }
}

fn add(histogram: &mut Histogram, samples: &Samples, at: i64) {
    for sample in &samples.0 {
        histogram.add(at.saturating_sub(sample.readable), sample.rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_as_exact_as_the_buckets() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in 1..=1000 {
            histogram.add(millis * 1000, 1);
        }
        assert_eq!(histogram.count(), 1000);
        for (share, wanted) in [(0.5, 0.5), (0.95, 0.95), (0.99, 0.99)] {
            let found = histogram.quantile(share).unwrap();
            assert!((found / wanted - 1.0).abs() < 0.15, "{share}: {found}");
        }
        let (last, all) = histogram.cumulative().last().unwrap();
        assert!((last - 1e5).abs() < 1.0 && all == 1000);
        // Nothing is lost beyond the bounds.
        histogram.add(i64::MAX, 2);
        histogram.add(-5, 1);
        assert_eq!(histogram.count(), 1003);
        let earlier = histogram.clone();
        histogram.add(2_000_000, 10);
        let new = histogram.since(&earlier);
        assert_eq!(new.count(), 10);
        // Two seconds are the last of the bucket from 1.6.
        assert!((1.6..=2.0).contains(&new.quantile(0.9).unwrap()));
    }

    #[test]
    fn limits_of_the_contract_are_bounds() {
        assert!(BOUNDS.is_sorted());
        for limit in [0.5, 2.0, 8.0, 15.0, 25.0, 58.5, 300.0] {
            let mut histogram = Histogram::default();
            #[allow(clippy::cast_possible_truncation)]
            let micros = (limit * 1e6) as i64;
            histogram.add(micros, 3);
            histogram.add(micros + 1, 1);
            let within = histogram.cumulative().find(|(bound, _)| *bound == limit);
            assert_eq!(within, Some((limit, 3)));
        }
    }

    #[test]
    fn a_commit_is_queryable_when_its_number_is_loaded() {
        let mut measured = Measured::default();
        let samples = Samples::taken(&[0, 10, 20], &[true, false, true], |_| None, 1_000_000);
        measured.read(&samples, 1_000_000);
        measured.committed(7, samples.clone(), 2_000_000);
        measured.committed(8, samples, 3_000_000);
        measured.loaded(7, 5_000_000);
        let latency = measured.latency();
        assert_eq!(
            (
                latency.read.count(),
                latency.commit.count(),
                latency.queryable.count()
            ),
            (2, 4, 2)
        );
        measured.loaded(9, 6_000_000);
        assert_eq!(measured.latency().queryable.count(), 4);
    }

    #[test]
    fn an_event_that_comes_late_from_its_sender_is_not_late_in_the_job() {
        let mut measured = Measured::default();
        let (second, hour) = (1_000_000, 3_600_000_000);
        // Two of four are an hour old when Kafka gets them; one has a time stamp from the future,
        // one none.
        let stamps = [Some(hour), Some(hour), Some(9 * hour), None];
        let read_at = hour + second;
        let times = [0, 0, read_at, read_at];
        let samples = Samples::taken(&times, &[true; 4], |row| stamps[row], read_at);
        measured.read(&samples, read_at);
        measured.committed(1, samples, read_at + second);
        measured.loaded(1, read_at + 2 * second);
        let Latency {
            queryable,
            lateness,
            ..
        } = measured.latency();
        let within = |histogram: &Histogram, limit: f64| {
            let found = histogram.cumulative().find(|(bound, _)| *bound == limit);
            found.map(|(_, count)| count)
        };
        assert_eq!(within(&queryable, 4.0), Some(4), "three seconds at most");
        assert_eq!((within(&lateness, 1.0), lateness.count()), (Some(2), 4));
    }
}
