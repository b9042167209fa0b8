//! Whether a stage keeps its interval: a batch is to be written, and a load to be done, before the
//! next one is due.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

/// A stage that takes longer than its interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slow {
    /// `batch` or `load`.
    pub stage: &'static str,
    /// How long one takes, in seconds: the shortest of the last few.
    pub seconds: f64,
    /// The interval that is configured, in seconds.
    pub interval_seconds: f64,
    /// The key of the configuration that says it.
    pub key: &'static str,
}

/// So many in a row make a stage slow: one alone can be a checkpoint, or a backlog after a start.
const IN_A_ROW: u8 = 3;
/// Nothing is said of a stage that has had nothing to do for so long, and two intervals.
const RECENT: Duration = Duration::from_secs(60);

/// The last few times of one stage.
#[derive(Debug)]
pub(crate) struct Pace {
    stage: &'static str,
    key: &'static str,
    interval: Duration,
    last: VecDeque<Duration>,
    /// When the last one ended.
    ended: Option<Instant>,
    /// When the one under way began.
    began: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(stage: &'static str, key: &'static str, interval: Duration) -> Self {
        Pace {
            stage,
            key,
            interval,
            last: VecDeque::new(),
            ended: None,
            began: None,
        }
    }

    /// Notes that one begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// Notes how long one took. Logs when that makes the stage slow, or ends it.
    pub(crate) fn took(&mut self, time: Duration, now: Instant) {
        let was_slow = self.slow(now).is_some();
        self.began = None;
        self.ended = Some(now);
        self.last.push_back(time);
        if self.last.len() > usize::from(IN_A_ROW) {
            self.last.pop_front();
        }
        let (stage, key) = (self.stage, self.key);
        match (was_slow, self.slow(now)) {
            (false, Some(slow)) => tracing::warn!(
                stage,
                seconds = slow.seconds,
                interval_seconds = slow.interval_seconds,
                "each {stage} takes longer than {key}; rows come later than that. \
                 `tidegate bench` tells what holds it up"
            ),
            (true, None) => tracing::info!(stage, "each {stage} is done within {key} again"),
            _ => {}
        }
    }

    /// Notes that what was under way has failed, or was nothing: it says nothing about the pace.
    pub(crate) fn drop_it(&mut self) {
        self.began = None;
    }

    /// Whether the stage is slow: the last few took too long, or the one under way has for as long
    /// as those would.
    pub(crate) fn slow(&self, now: Instant) -> Option<Slow> {
        // One and a half intervals.
        let limit = self.interval.saturating_add(self.interval / 2);
        let recent = RECENT.saturating_add(self.interval.saturating_mul(2));
        let is_recent = self
            .ended
            .is_some_and(|ended| now.saturating_duration_since(ended) < recent);
        let under_way = self.began.map(|began| now.saturating_duration_since(began));
        let shortest = self.last.iter().min().copied();
        let is_pace = is_recent && self.last.len() == usize::from(IN_A_ROW);
        let in_a_row = shortest.filter(|time| is_pace && *time > limit);
        let longest = limit.saturating_mul(u32::from(IN_A_ROW));
        let one = under_way.filter(|time| *time > longest);
        let seconds = in_a_row.max(one)?.as_secs_f64();
        Some(Slow {
            stage: self.stage,
            seconds,
            interval_seconds: self.interval.as_secs_f64(),
            key: self.key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(millis: &[u64]) -> Option<Slow> {
        let (mut pace, now) = (
            Pace::new("load", "load.interval", Duration::from_secs(1)),
            Instant::now(),
        );
        for time in millis {
            pace.begin(now);
            pace.took(Duration::from_millis(*time), now);
        }
        pace.slow(now)
    }

    #[test]
    fn loads_that_take_longer_than_their_interval_are_slow() {
        let slow = pace(&[200, 15_000, 14_000, 16_000]).unwrap();
        assert_eq!((slow.stage, slow.seconds), ("load", 14.0));
        assert_eq!(slow.interval_seconds, 1.0);
    }

    #[test]
    fn one_long_load_is_not_a_pace() {
        assert_eq!(pace(&[200, 15_000, 300]), None);
        assert_eq!(pace(&[15_000, 15_000]), None);
        assert_eq!(pace(&[900, 900, 900]), None);
        assert_eq!(pace(&[1_400, 1_400, 1_400]), None);
    }

    #[test]
    fn nothing_is_said_of_a_stage_that_has_nothing_to_do() {
        let (mut pace, now) = (
            Pace::new("load", "load.interval", Duration::from_secs(1)),
            Instant::now(),
        );
        for _ in 0..3 {
            pace.took(Duration::from_secs(9), now);
        }
        assert!(pace.slow(now + Duration::from_secs(20)).is_some());
        assert_eq!(pace.slow(now + Duration::from_secs(90)), None);
    }

    #[test]
    fn a_load_that_does_not_end_is_slow_while_it_is_under_way() {
        let (mut pace, now) = (
            Pace::new("load", "load.interval", Duration::from_secs(1)),
            Instant::now(),
        );
        pace.begin(now);
        assert_eq!(pace.slow(now + Duration::from_secs(4)), None);
        assert!(pace.slow(now + Duration::from_secs(60)).is_some());
        pace.drop_it();
        assert_eq!(pace.slow(now + Duration::from_secs(60)), None);
    }
}
