//! What the process remembers of itself, in memory: rates and latencies now, and how they were.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tidegate_engine::{Histogram, Latency, Status};

use crate::metrics::resident_bytes;
use crate::time;

/// Time between two samples.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// Rates of now are over this time.
const RATE_OVER: i64 = 10_000_000;
/// Shares and latencies of now are over this time.
const QUALITY_OVER: i64 = 300_000_000;
/// Latencies for the last five minutes are taken from samples this far apart.
const LATENCY_EVERY: i64 = 10_000_000;

/// Rings: microseconds between points, and how many are kept: an hour, and a day.
const RINGS: [(i64, usize); 2] = [(10_000_000, 360), (60_000_000, 1_440)];

/// One look at the job.
#[derive(Debug, Clone)]
struct Sample {
    at: i64,
    status: Status,
}

/// A point of the history.
type Point = (i64, BTreeMap<&'static str, f64>);

#[derive(Debug, Default)]
struct Kept {
    /// A sample a second, for rates.
    recent: VecDeque<Sample>,
    /// A sample each ten seconds, for what is over minutes.
    latencies: VecDeque<(i64, Status, Latency)>,
    rings: [VecDeque<Point>; RINGS.len()],
    latest: Latency,
}

/// The memory of a job.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Kept>);

impl History {
    /// Takes a look in. `at` is in microseconds since the Unix epoch.
    pub(crate) fn add(&self, at: i64, status: Status, latency: Latency) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        if kept
            .latencies
            .back()
            .is_none_or(|(last, ..)| at - last >= LATENCY_EVERY)
        {
            kept.latencies
                .push_back((at, status.clone(), latency.clone()));
            while kept
                .latencies
                .front()
                .is_some_and(|(first, ..)| at - first > QUALITY_OVER)
            {
                kept.latencies.pop_front();
            }
        }
        kept.latest = latency;
        kept.recent.push_back(Sample { at, status });
        while kept
            .recent
            .front()
            .is_some_and(|first| at - first.at > RATE_OVER)
            && kept.recent.len() > 2
        {
            kept.recent.pop_front();
        }
        for (place, (step, points)) in RINGS.into_iter().enumerate() {
            let due = kept.rings[place]
                .back()
                .is_none_or(|(last, _)| at.div_euclid(step) > last.div_euclid(step));
            if due {
                let point = kept.point();
                kept.rings[place].push_back((at.div_euclid(step) * step, point));
                if kept.rings[place].len() > points {
                    kept.rings[place].pop_front();
                }
            }
        }
    }

    /// What `/v1/status` says beyond the engine's status.
    pub(crate) fn now(&self) -> Map<String, Value> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.now()
    }

    /// Series from `from` to `to`, in steps of at least `step` microseconds. Times are those of points; what is not
    /// known is null.
    pub(crate) fn series(&self, from: i64, to: i64, step: i64) -> Value {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = kept.recent.back().map_or(to, |sample| sample.at);
        // The finest ring that reaches back far enough.
        let place = RINGS.iter().position(|(every, points)| {
            let reach = every.saturating_mul(i64::try_from(*points).unwrap_or(i64::MAX));
            *every >= step.min(RINGS[RINGS.len() - 1].0) && now.saturating_sub(reach) <= from
        });
        let place = place.unwrap_or(RINGS.len() - 1);
        let every = RINGS[place].0;
        let stride = usize::try_from(step.div_euclid(every).max(1)).unwrap_or(usize::MAX);
        let in_range = kept.rings[place]
            .iter()
            .filter(|(at, _)| (from..=to).contains(at));
        let points: Vec<&Point> = in_range.step_by(stride).collect();
        let series = NAMES.iter().chain(&SHARES).map(|name| {
            let values: Vec<Option<f64>> = points
                .iter()
                .map(|(_, point)| point.get(name).copied())
                .collect();
            ((*name).to_owned(), json!(values))
        });
        json!({
            "step_seconds": (every / 1_000_000).saturating_mul(i64::try_from(stride).unwrap_or(1)),
            "times": points.iter().map(|(at, _)| time::show(*at)).collect::<Vec<_>>(),
            "series": series.collect::<Map<_, _>>(),
        })
    }
}

/// Names of all series.
const NAMES: [&str; 20] = [
    "input_rate",
    "processing_rate",
    "lag_total",
    "batch_seconds",
    "load_seconds",
    "rows_per_batch",
    "state_bytes",
    "state_keys",
    "memory_bytes",
    "in_flight_bytes",
    "latency_read_p50",
    "latency_read_p99",
    "latency_commit_p50",
    "latency_commit_p99",
    "latency_queryable_p50",
    "latency_queryable_p99",
    "late",
    "rejected",
    "duplicates",
    "updates",
];
/// Names of the shares of records, which are series too.
const SHARES: [&str; 7] = [
    "null_rate",
    "duplicate_rate",
    "schema_violation_rate",
    "business_rule_rate",
    "late_rate",
    "rejected_rate",
    "update_rate",
];

/// Counts of rejects by what the reason is about.
#[derive(Debug, Default, Clone, Copy)]
struct Reasons {
    null: u64,
    schema: u64,
    rule: u64,
}

impl Reasons {
    fn of(status: &Status) -> Reasons {
        let mut reasons = Reasons::default();
        for (code, count) in &status.rejected_by {
            match code.as_str() {
                "decode.missing" => reasons.null += count,
                code if code.starts_with("rule.") => reasons.rule += count,
                _ => reasons.schema += count,
            }
        }
        reasons
    }
}

#[allow(clippy::cast_precision_loss)]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Kept {
    fn rate(&self, count: impl Fn(&Status) -> u64) -> Option<f64> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let micros = u64::try_from(last.at - first.at)
            .ok()
            .filter(|micros| *micros > 0)?;
        ratio(
            count(&last.status)
                .saturating_sub(count(&first.status))
                .saturating_mul(1_000_000),
            micros,
        )
    }

    /// Shares of the records of the last minutes.
    fn quality(&self) -> BTreeMap<&'static str, f64> {
        let (Some((_, then, _)), Some(Sample { status: now, .. })) =
            (self.latencies.front(), self.recent.back())
        else {
            return BTreeMap::new();
        };
        let read = now.read.saturating_sub(then.read);
        let (new, old) = (Reasons::of(now), Reasons::of(then));
        let shares = [
            ("null_rate", new.null.saturating_sub(old.null)),
            (
                "duplicate_rate",
                now.duplicates.saturating_sub(then.duplicates),
            ),
            (
                "schema_violation_rate",
                new.schema.saturating_sub(old.schema),
            ),
            ("business_rule_rate", new.rule.saturating_sub(old.rule)),
            ("late_rate", now.late.saturating_sub(then.late)),
            ("rejected_rate", now.rejected.saturating_sub(then.rejected)),
            ("update_rate", now.updates.saturating_sub(then.updates)),
        ];
        shares
            .into_iter()
            .filter_map(|(name, part)| Some((name, ratio(part, read)?)))
            .collect()
    }

    fn latency(&self) -> [(&'static str, Histogram); 3] {
        let start = Latency::default();
        let then = self
            .latencies
            .front()
            .map_or(&start, |(_, _, latency)| latency);
        // The process is younger than what is looked back at: then all of it counts.
        let then = if self.latencies.len() < 2 {
            &start
        } else {
            then
        };
        [
            ("read", self.latest.read.since(&then.read)),
            ("commit", self.latest.commit.since(&then.commit)),
            ("queryable", self.latest.queryable.since(&then.queryable)),
        ]
    }

    #[allow(clippy::cast_precision_loss)]
    fn point(&self) -> BTreeMap<&'static str, f64> {
        let mut point = self.quality();
        let Some(Sample { status, .. }) = self.recent.back() else {
            return point;
        };
        let mut add = |name: &'static str, value: Option<f64>| {
            if let Some(value) = value {
                point.insert(name, value);
            }
        };
        add("input_rate", self.rate(|status| status.read_live));
        add("processing_rate", self.rate(|status| status.read));
        add("lag_total", Some(status.lag_total() as f64));
        let has_batch = status.last_batch.records > 0;
        add(
            "batch_seconds",
            has_batch
                .then_some(status.last_batch.encode_seconds + status.last_batch.commit_seconds),
        );
        add(
            "rows_per_batch",
            has_batch.then_some(status.last_batch.records as f64),
        );
        add(
            "load_seconds",
            (status.loads > 0).then_some(status.last_load.seconds),
        );
        add("state_bytes", Some(status.state_bytes as f64));
        add("state_keys", Some(status.state_keys as f64));
        add("in_flight_bytes", Some(status.in_flight_bytes as f64));
        add("memory_bytes", resident_bytes().map(|bytes| bytes as f64));
        add("late", Some(status.late as f64));
        add("rejected", Some(status.rejected as f64));
        add("duplicates", Some(status.duplicates as f64));
        add("updates", Some(status.updates as f64));
        let names = [
            ("latency_read_p50", "latency_read_p99"),
            ("latency_commit_p50", "latency_commit_p99"),
            ("latency_queryable_p50", "latency_queryable_p99"),
        ];
        for ((_, histogram), (p50, p99)) in self.latency().iter().zip(names) {
            add(p50, histogram.quantile(0.5));
            add(p99, histogram.quantile(0.99));
        }
        point
    }

    fn now(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let Some(Sample { status, at }) = self.recent.back() else {
            return map;
        };
        let (input, processing) = (
            self.rate(|status| status.read_live),
            self.rate(|status| status.read),
        );
        let quality = self.quality();
        let shares = SHARES.map(|name| (name.to_owned(), json!(quality.get(name))));
        let latency = self.latency().map(|(name, histogram)| {
            let quantile = |share| histogram.quantile(share);
            (
                name.to_owned(),
                json!({ "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99) }),
            )
        });
        map.insert("now".to_owned(), time::show(*at).into());
        map.insert("input_rate".to_owned(), json!(input));
        map.insert("processing_rate".to_owned(), json!(processing));
        map.insert("lag_total".to_owned(), status.lag_total().into());
        map.insert("memory_bytes".to_owned(), json!(resident_bytes()));
        map.insert(
            "quality".to_owned(),
            shares.into_iter().collect::<Map<_, _>>().into(),
        );
        map.insert(
            "latency".to_owned(),
            latency.into_iter().collect::<Map<_, _>>().into(),
        );
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_engine::Phase;

    fn status(read: u64) -> Status {
        let mut status = Status {
            read,
            read_live: read + 5,
            duplicates: read / 10,
            phase: Phase::Running,
            ..Status::default()
        };
        status
            .rejected_by
            .insert("rule.amount".to_owned(), read / 100);
        status
            .rejected_by
            .insert("decode.missing".to_owned(), read / 50);
        status.lag.insert(0, 7);
        status
    }

    #[test]
    fn rates_and_shares_are_of_the_last_time() {
        let history = History::default();
        assert!(history.now().is_empty());
        for second in 0..40_u64 {
            history.add(
                second as i64 * 1_000_000,
                status(second * 1_000),
                Latency::default(),
            );
        }
        let now = history.now();
        assert_eq!(now["processing_rate"], json!(1000.0));
        assert_eq!(now["lag_total"], json!(7));
        assert_eq!(now["quality"]["duplicate_rate"], json!(0.1));
        assert_eq!(now["quality"]["business_rule_rate"], json!(0.01));
        assert_eq!(now["quality"]["null_rate"], json!(0.02));
        assert_eq!(now["latency"]["read"]["p50"], Value::Null);
    }

    #[test]
    fn series_are_bounded_and_reach_back() {
        let history = History::default();
        for second in 0..10_000_i64 {
            history.add(
                second * 1_000_000,
                status(second as u64 * 10),
                Latency::default(),
            );
        }
        let end = 10_000_000_000;
        let hour = history.series(end - 3_600_000_000, end, 10_000_000);
        assert_eq!(hour["step_seconds"], json!(10));
        assert_eq!(hour["times"].as_array().unwrap().len(), 360);
        assert_eq!(hour["series"]["processing_rate"][100], json!(10.0));
        let all = history.series(0, end, 1);
        assert_eq!(all["step_seconds"], json!(60));
        assert_eq!(all["times"].as_array().unwrap().len(), 167);
        let coarse = history.series(0, end, 600_000_000);
        assert_eq!(coarse["step_seconds"], json!(600));
        assert_eq!(coarse["times"].as_array().unwrap().len(), 17);
    }
}
