//! Latencies, counted in a fixed amount of memory.

use std::time::Duration;

/// Values from here on are counted as this one: 2^36 microseconds are 19 hours.
const VALUE_MAX: u64 = (1 << 36) - 1;
/// Decimal digits that are kept of a value: it is known to one part in a hundred.
const DIGITS: u8 = 2;

/// A histogram of microseconds. Counting allocates nothing.
pub(super) struct Histogram {
    counts: hdrhistogram::Histogram<u64>,
    max: u64,
}

/// What a histogram says. A percentile is at least the true one, and at most a hundredth above.
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
        let counts = hdrhistogram::Histogram::new_with_bounds(1, VALUE_MAX, DIGITS);
        Histogram {
            counts: counts.expect("these bounds are ones that a histogram can have"),
            max: 0,
        }
    }
}

impl Histogram {
    /// Counts a value so many times.
    pub(super) fn count(&mut self, micros: u64, times: u64) {
        self.counts.saturating_record_n(micros, times);
        self.max = self.max.max(micros);
    }

    /// What was counted so far.
    pub(super) fn latencies(&self) -> Latencies {
        let quantile = |quantile: f64| {
            let micros = self.counts.value_at_quantile(quantile).min(self.max);
            Duration::from_micros(micros)
        };
        Latencies {
            count: self.counts.len(),
            p50: quantile(0.50),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: Duration::from_micros(self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
                let exact = sorted[rank - 1].min(VALUE_MAX);
                let found = found.as_micros() as u64;
                prop_assert!(found >= exact && found <= exact + exact / 100, "p{percent}: {found} for {exact}");
            }
        }
    }
}
