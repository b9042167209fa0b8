//! What the process remembers of itself, in memory: rates and latencies now, and how they were.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use tidegate_base::lock::lock;
use tidegate_core::reject::Subject;
use tidegate_engine::{Histogram, Latency, Status};
use utoipa::ToSchema;

use crate::metrics::resident_bytes;
use crate::time::Time;

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
struct StatusSample {
    at: i64,
    status: Status,
}

/// A point of the history.
type HistoryPoint = (i64, BTreeMap<&'static str, f64>);

#[derive(Debug, Default)]
struct HistoryRings {
    /// A sample a second, for rates.
    recent: VecDeque<StatusSample>,
    /// A sample each ten seconds, for what is over minutes.
    latencies: VecDeque<(i64, Status, Latency)>,
    rings: [VecDeque<HistoryPoint>; RINGS.len()],
    latest: Latency,
}

/// What is known of the last seconds and minutes; null until it is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// Records read a second.
    pub(crate) input_rate: Option<f64>,
    /// Records committed a second.
    pub(crate) processing_rate: Option<f64>,
    pub(crate) quality: Quality,
    pub(crate) latency: LatencyBody,
    pub(crate) lateness: Quantiles,
}

/// Shares of the records that are so, from 0 to 1; null where no records were committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Quality {
    /// Without a required field.
    #[schema(required)]
    null_rate: Option<f64>,
    /// Exact repeats.
    #[schema(required)]
    duplicate_rate: Option<f64>,
    /// Of another form than the schema's.
    #[schema(required)]
    schema_violation_rate: Option<f64>,
    /// Against a rule.
    #[schema(required)]
    business_rule_rate: Option<f64>,
    /// After the watermark had passed their time.
    #[schema(required)]
    late_rate: Option<f64>,
    /// Rejected, for whichever reason.
    #[schema(required)]
    rejected_rate: Option<f64>,
    /// With a key that the warehouse had already.
    #[schema(required)]
    update_rate: Option<f64>,
}

/// Seconds until an event is so far.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = Latency)]
pub(crate) struct LatencyBody {
    /// Until it was read.
    read: Quantiles,
    /// Until it was committed.
    commit: Quantiles,
    /// Until it was queryable in the warehouse.
    queryable: Quantiles,
}

/// Of 100 events, 50, 95 and 99 took no more seconds than this; null where there were none.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct Quantiles {
    #[schema(required)]
    p50: Option<f64>,
    #[schema(required)]
    p95: Option<f64>,
    #[schema(required)]
    p99: Option<f64>,
}

/// How a job was doing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub(crate) struct Series {
    /// Time between two points.
    #[schema(value_type = f64)]
    step_seconds: i64,
    /// The times of the points.
    times: Vec<Time>,
    /// A value for each point, by the name of the series; null where it is unknown.
    series: BTreeMap<&'static str, Vec<Option<f64>>>,
}

/// The memory of a job.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<HistoryRings>);

impl History {
    /// Takes a look in. `at` is in microseconds since the Unix epoch.
    pub(crate) fn add(&self, at: i64, status: Status, latency: Latency) {
        let mut kept = lock(&self.0);
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
        kept.recent.push_back(StatusSample { at, status });
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
    pub(crate) fn now(&self) -> Past {
        let kept = lock(&self.0);
        kept.past()
    }

    /// Series from `from` to `to`, in steps of at least `step` microseconds. Times are those of
    /// points; what is not known is null.
    pub(crate) fn series(&self, from: i64, to: i64, step: i64) -> Series {
        let kept = lock(&self.0);
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
        let points: Vec<&HistoryPoint> = in_range.step_by(stride).collect();
        let shares = Quality::default().named().map(|(name, _)| name);
        let series = NAMES.into_iter().chain(shares).map(|name| {
            let values = points.iter().map(|(_, point)| point.get(name).copied());
            (name, values.collect())
        });
        Series {
            step_seconds: (every / 1_000_000).saturating_mul(i64::try_from(stride).unwrap_or(1)),
            times: points.iter().map(|(at, _)| Time(*at)).collect(),
            series: series.collect(),
        }
    }
}

impl Quality {
    /// Each share with its name. They are series, too.
    fn named(&self) -> [(&'static str, Option<f64>); 7] {
        [
            ("null_rate", self.null_rate),
            ("duplicate_rate", self.duplicate_rate),
            ("schema_violation_rate", self.schema_violation_rate),
            ("business_rule_rate", self.business_rule_rate),
            ("late_rate", self.late_rate),
            ("rejected_rate", self.rejected_rate),
            ("update_rate", self.update_rate),
        ]
    }
}

impl From<&Histogram> for Quantiles {
    fn from(histogram: &Histogram) -> Self {
        Quantiles {
            p50: histogram.quantile(0.5),
            p95: histogram.quantile(0.95),
            p99: histogram.quantile(0.99),
        }
    }
}

/// Names of the series that are no shares of records.
const NAMES: [&str; 22] = [
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
    "lateness_p50",
    "lateness_p99",
    "late",
    "rejected",
    "duplicates",
    "updates",
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
            match Subject::of(code) {
                Subject::Missing => reasons.null += count,
                Subject::Rule => reasons.rule += count,
                Subject::Schema => reasons.schema += count,
            }
        }
        reasons
    }
}

#[allow(clippy::cast_precision_loss)]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl HistoryRings {
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
    fn quality(&self) -> Quality {
        let (Some((_, then, _)), Some(StatusSample { status: now, .. })) =
            (self.latencies.front(), self.recent.back())
        else {
            return Quality::default();
        };
        let read = now.read.saturating_sub(then.read);
        let share = |now: u64, then: u64| ratio(now.saturating_sub(then), read);
        let (new, old) = (Reasons::of(now), Reasons::of(then));
        Quality {
            null_rate: share(new.null, old.null),
            duplicate_rate: share(now.duplicates, then.duplicates),
            schema_violation_rate: share(new.schema, old.schema),
            business_rule_rate: share(new.rule, old.rule),
            late_rate: share(now.late, then.late),
            rejected_rate: share(now.rejected, then.rejected),
            update_rate: share(now.updates, then.updates),
        }
    }

    fn latency(&self) -> Latency {
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
        Latency {
            read: self.latest.read.since(&then.read),
            commit: self.latest.commit.since(&then.commit),
            queryable: self.latest.queryable.since(&then.queryable),
            lateness: self.latest.lateness.since(&then.lateness),
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn point(&self) -> BTreeMap<&'static str, f64> {
        let shares = self.quality().named().into_iter();
        let shares = shares.filter_map(|(name, share)| Some((name, share?)));
        let mut point: BTreeMap<_, _> = shares.collect();
        let Some(StatusSample { status, .. }) = self.recent.back() else {
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
            status.loaded_at.map(|_| status.last_load.seconds),
        );
        add("state_bytes", Some(status.state_bytes as f64));
        add("state_keys", Some(status.state_keys as f64));
        add("in_flight_bytes", Some(status.in_flight_bytes as f64));
        add("memory_bytes", resident_bytes().map(|bytes| bytes as f64));
        add("late", Some(status.late as f64));
        add("rejected", Some(status.rejected as f64));
        add("duplicates", Some(status.duplicates as f64));
        add("updates", Some(status.updates as f64));
        let latency = self.latency();
        for (p50, p99, histogram) in [
            ("latency_read_p50", "latency_read_p99", latency.read),
            ("latency_commit_p50", "latency_commit_p99", latency.commit),
            (
                "latency_queryable_p50",
                "latency_queryable_p99",
                latency.queryable,
            ),
            ("lateness_p50", "lateness_p99", latency.lateness),
        ] {
            add(p50, histogram.quantile(0.5));
            add(p99, histogram.quantile(0.99));
        }
        point
    }

    fn past(&self) -> Past {
        let latency = self.latency();
        Past {
            input_rate: self.rate(|status| status.read_live),
            processing_rate: self.rate(|status| status.read),
            quality: self.quality(),
            latency: LatencyBody {
                read: (&latency.read).into(),
                commit: (&latency.commit).into(),
                queryable: (&latency.queryable).into(),
            },
            lateness: (&latency.lateness).into(),
        }
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
        assert_eq!(history.now().processing_rate, None);
        assert_eq!(history.now().quality, Quality::default());
        for second in 0..40_u64 {
            history.add(
                second as i64 * 1_000_000,
                status(second * 1_000),
                Latency::default(),
            );
        }
        let now = history.now();
        assert_eq!(now.processing_rate, Some(1000.0));
        assert_eq!(now.quality.duplicate_rate, Some(0.1));
        assert_eq!(now.quality.business_rule_rate, Some(0.01));
        assert_eq!(now.quality.null_rate, Some(0.02));
        assert_eq!(now.latency.read.p50, None);
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
        assert_eq!(hour.step_seconds, 10);
        assert_eq!(hour.times.len(), 360);
        assert_eq!(hour.series["processing_rate"][100], Some(10.0));
        let all = history.series(0, end, 1);
        assert_eq!(all.step_seconds, 60);
        assert_eq!(all.times.len(), 167);
        let coarse = history.series(0, end, 600_000_000);
        assert_eq!(coarse.step_seconds, 600);
        assert_eq!(coarse.times.len(), 17);
    }
}
