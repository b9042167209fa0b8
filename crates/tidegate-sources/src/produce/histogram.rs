//! Latencies, counted in a fixed amount of memory.

use std::time::Duration;

/// Buckets of each power of two: a value is known to one part in 32.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values from here on are counted as the largest: 2^36 microseconds are 19 hours.
const VALUE_BITS: u32 = 36;
const BUCKETS: usize = (VALUE_BITS - STEP_BITS + 1) as usize * STEPS as usize;

/// A log-linear histogram of microseconds. Counting allocates nothing.
pub(super) struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    max: u64,
}

/// What a histogram says. A percentile is at least the true one, and at most a thirty-second above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Values that were counted.
    pub count: u64,
    /// Half of them were no longer.
    pub p50: Duration,
    /// 95 % were no longer.
    pub p95: Duration,
    /// 99 % were no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: Box::new([0; BUCKETS]),
            max: 0,
        }
    }
}

impl Histogram {
    /// Counts a value so many times.
    pub(super) fn count(&mut self, micros: u64, times: u64) {
        self.buckets[bucket(micros)] += times;
        self.max = self.max.max(micros);
    }

    /// What was counted so far.
    pub(super) fn latencies(&self) -> Latencies {
        let count: u64 = self.buckets.iter().sum();
        let percentile = |percent: u64| {
            let rank = (u128::from(count) * u128::from(percent)).div_ceil(100);
            let mut below = 0_u128;
            let found = self.buckets.iter().position(|n| {
                below += u128::from(*n);
                below >= rank.max(1)
            });
            Duration::from_micros(found.map_or(0, highest).min(self.max))
        };
        Latencies {
            count,
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
            max: Duration::from_micros(self.max),
        }
    }
}

/// Which bucket a value is counted in: one for each small value, then 32 for each power of two.
fn bucket(value: u64) -> usize {
    let value = value.min((1 << VALUE_BITS) - 1);
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(highest(index)), index);
            assert_eq!(bucket(highest(index) + 1), (index + 1).min(BUCKETS - 1));
        }
        assert_eq!(highest(BUCKETS - 1), (1 << VALUE_BITS) - 1);
    }

    #[test]
    fn nothing_counted_is_nothing() {
        assert_eq!(Histogram::default().latencies(), Latencies::default());
    }

    proptest! {
        #[test]
        fn percentiles_are_close_to_the_true_ones(
            values in prop::collection::vec((0_u32..40, any::<u64>()).prop_map(|(bits, v)| v & ((1 << bits) - 1)), 1..500)
        ) {
            let mut histogram = Histogram::default();
            for value in &values {
                histogram.count(*value, 1);
            }
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let found = histogram.latencies();
            prop_assert_eq!(found.count, values.len() as u64);
            prop_assert_eq!(found.max.as_micros(), u128::from(sorted[sorted.len() - 1]));
            for (percent, found) in [(50, found.p50), (95, found.p95), (99, found.p99)] {
                let rank = (values.len() * percent).div_ceil(100).max(1);
                let exact = sorted[rank - 1].min((1 << VALUE_BITS) - 1);
                let found = found.as_micros() as u64;
                prop_assert!(found >= exact && found <= exact + exact / STEPS, "p{percent}: {found} for {exact}");
            }
        }
    }
}
