//! Whether a job keeps up with its source, and when it will have caught up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rates are over this time: shorter ones would take a load or a pause of the broker for a trend.
const OVER: Duration = Duration::from_secs(30);
/// Nothing is said before so much of it has been seen.
const OVER_MIN: Duration = Duration::from_secs(5);
/// A job is behind while it would take longer than this to read what the source holds.
const BEHIND: Duration = Duration::from_secs(10);
/// So few records are no lag worth a word: marks of transactions, and a quiet topic's next record.
const LAG_MIN: u64 = 1_000;

/// What the last half minute says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Trend {
    /// Whether the job has been behind for all of that time.
    pub(crate) behind: bool,
    /// Records that it reads a second.
    pub(crate) rate: f64,
    /// Records by which the lag grows a second; negative while it shrinks.
    pub(crate) growth: f64,
    /// When the lag will be gone, if it goes on like this; none while it grows, or is small.
    pub(crate) caught_up_in: Option<Duration>,
}

/// Remembers how much was read, and how much was left.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    samples: VecDeque<LagSample>,
}

#[derive(Debug, Clone, Copy)]
struct LagSample {
    at: Instant,
    read: u64,
    lag: u64,
}

impl Outlook {
    /// Takes in the records read so far and those that the source holds beyond, and says what
    /// follows.
    pub(crate) fn update(&mut self, at: Instant, read: u64, lag: u64) -> Trend {
        self.samples.push_back(LagSample { at, read, lag });
        // The oldest one stays until another is old enough to take its place.
        while let [_, next, ..] = self.samples.make_contiguous()
            && at.saturating_duration_since(next.at) >= OVER
        {
            self.samples.pop_front();
        }
        let Some(first) = self.samples.front() else {
            return Trend::default();
        };
        let over = at.saturating_duration_since(first.at);
        if over < OVER_MIN {
            return Trend::default();
        }
        let seconds = over.as_secs_f64();
        let rate = read.saturating_sub(first.read) as f64 / seconds;
        let growth = (lag as f64 - first.lag as f64) / seconds;
        let is_much = |lag: u64| lag > LAG_MIN && lag as f64 > rate * BEHIND.as_secs_f64();
        let behind = self.samples.iter().all(|sample| is_much(sample.lag));
        let caught_up_in = (behind && growth < 0.0)
            .then(|| Duration::try_from_secs_f64(lag as f64 / -growth).ok())
            .flatten();
        Trend {
            behind,
            rate,
            growth,
            caught_up_in,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute of a job that reads `rate` a second while `arriving` come, from a lag of `lag`.
    fn after_a_minute(rate: u64, arriving: u64, mut lag: u64) -> Trend {
        let (start, mut outlook) = (Instant::now(), Outlook::default());
        let mut trend = Trend::default();
        for second in 0..60 {
            lag = (lag + arriving).saturating_sub(rate);
            let at = start + Duration::from_secs(second);
            trend = outlook.update(at, second * rate, lag);
        }
        trend
    }

    #[test]
    fn a_job_that_keeps_up_is_not_behind() {
        let trend = after_a_minute(1_000, 1_000, 500);
        assert!(!trend.behind);
        assert_eq!((trend.rate, trend.growth), (1_000.0, 0.0));
        assert_eq!(trend.caught_up_in, None);
    }

    #[test]
    fn a_job_that_catches_up_says_when() {
        let trend = after_a_minute(3_000, 1_000, 1_000_000);
        assert!(trend.behind);
        assert_eq!((trend.rate, trend.growth), (3_000.0, -2_000.0));
        assert_eq!(trend.caught_up_in, Some(Duration::from_secs(440)));
    }

    #[test]
    fn a_job_that_falls_behind_has_no_end_in_sight() {
        let trend = after_a_minute(1_000, 1_500, 50_000);
        assert!(trend.behind);
        assert_eq!(trend.growth, 500.0);
        assert_eq!(trend.caught_up_in, None);
    }

    #[test]
    fn a_spike_or_a_start_is_not_a_trend() {
        let (start, mut outlook) = (Instant::now(), Outlook::default());
        assert!(!outlook.update(start, 0, 1 << 40).behind);
        let mut trend = Trend::default();
        for second in 1..40 {
            let lag = if second > 35 { 1_000_000 } else { 0 };
            trend = outlook.update(start + Duration::from_secs(second), second * 100, lag);
        }
        assert!(!trend.behind);
    }

    #[test]
    fn a_job_that_reads_nothing_is_behind_whatever_is_left() {
        let trend = after_a_minute(0, 10, 2_000);
        assert!(trend.behind);
        assert_eq!(trend.caught_up_in, None);
        assert!(!after_a_minute(0, 0, 3).behind, "a few are no lag");
    }
}
