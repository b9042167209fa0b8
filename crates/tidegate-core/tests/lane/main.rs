//! Watermark, late, duplicate and windows: against simple models, however the stream is cut.

#[path = "../common/mod.rs"]
mod common;
mod floats;
mod restarts;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use proptest::prelude::*;
use tidegate_core::lane::{Lane, Verdict};
use tidegate_core::plan::Plan;
use tidegate_core::prepare::{Prepared, Preparer};
use tidegate_core::spec::JobSpec;
use tidegate_core::window::ClosedWindows;
use tidegate_core::window::live::LiveWindows;

use common::model::{Fate, Model};
use common::{NOW, Random, chunk_at, named, names, plain_job, plan, preparer, window};

/// The watermark delay of the job, in microseconds: small, so that everything happens often.
const DELAY: i64 = 6400;
const SLIDE: i64 = 1000;

fn job() -> JobSpec {
    let mut spec = plain_job(&[
        "at!: timestamp_us",
        "id!: string",
        "g: string",
        "h: int32",
        "f: float64",
        "i: int64",
        "d: decimal(12,2)",
        "ok: bool",
    ]);
    spec.event_time.delay = Duration::from_micros(DELAY as u64);
    spec.rules = named(&[("fine", "ok IS NULL OR ok")]);
    spec.dedup_key = names(&["id", "h"]);
    let all = [
        "n = count(*)",
        "fs = sum(f)",
        "fa = avg(f)",
        "f_low = min(f)",
        "f_high = max(f)",
        "fn = count(f)",
        "is = sum(i)",
        "ia = avg(i)",
        "i_low = min(i)",
        "i_high = max(i)",
        "ds = sum(d)",
        "da = avg(d)",
        "d_low = min(d)",
        "d_high = max(d)",
        "first = min(at)",
        "last = max(at)",
    ];
    spec.windows = vec![
        window("tumbling", SLIDE, SLIDE, &["g"], &all),
        window("sliding", 5 * SLIDE, SLIDE, &["g", "h"], &all),
        window("all", 20 * SLIDE, 4 * SLIDE, &[], &all),
    ];
    spec
}

/// One event of the model.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    at: i64,
    id: u64,
    g: Option<&'static str>,
    h: Option<i32>,
    f: Option<f64>,
    i: Option<i64>,
    /// In hundredths.
    d: Option<i128>,
    ok: bool,
}

impl Event {
    fn json(&self) -> String {
        let mut out = format!(r#"{{"at":{},"id":"{}""#, self.at, self.id);
        if let Some(g) = self.g {
            out += &format!(r#","g":"{g}""#);
        }
        if let Some(h) = self.h {
            out += &format!(r#","h":{h}"#);
        }
        if let Some(f) = self.f {
            out += &format!(r#","f":{f}"#);
        }
        if let Some(i) = self.i {
            out += &format!(r#","i":{i}"#);
        }
        if let Some(d) = self.d {
            let sign = if d < 0 { "-" } else { "" };
            out += &format!(
                r#","d":{sign}{}.{:02}"#,
                d.abs() / 100,
                d.unsigned_abs() % 100
            );
        }
        if !self.ok {
            out += r#","ok":false"#;
        }
        out + "}"
    }

    /// What becomes of it under this delay.
    fn judge(&self, lane: &mut Model<(u64, Option<i32>)>, delay: i64) -> Fate {
        if self.ok {
            lane.judge((self.id, self.h), self.at, delay)
        } else {
            Fate::Rejected
        }
    }
}

/// A stream that wanders forward, with stragglers, repeats, jumps and rejected events far away.
fn stream(rng: &mut Random, len: usize) -> Vec<Event> {
    let mut newest = NOW + rng.range(-1_000_000, 1_000_000);
    let mut events: Vec<Event> = Vec::new();
    for _ in 0..len {
        if !events.is_empty() && rng.one_in(5) {
            let back = rng.place(events.len().min(200));
            let mut again = events[events.len() - 1 - back].clone();
            if rng.one_in(3) {
                again.at = newest - rng.range(0, DELAY);
            }
            events.push(again);
            continue;
        }
        let step = match rng.place(100) {
            0 => rng.range(0, 10 * DELAY),
            1..=9 => -rng.range(0, 2 * DELAY),
            _ => rng.range(-200, 250),
        };
        let ok = !rng.one_in(20);
        let mut at = newest + step;
        if !ok && rng.one_in(2) {
            at = rng.range(-1_000_000, 5_000_000_000_000_000);
        } else if ok {
            newest = newest.max(at);
        }
        let cents = rng.range(-99_999_999, 99_999_999);
        events.push(Event {
            at,
            id: rng.bits() % 3000,
            g: [None, Some(""), Some("a"), Some("b"), Some("é")][rng.place(5)],
            h: [None, Some(0), Some(-1)][rng.place(3)],
            f: (!rng.one_in(5)).then_some(cents as f64 / 100.0),
            i: (!rng.one_in(5)).then(|| {
                if rng.one_in(10) {
                    i64::MAX - rng.range(0, 5)
                } else {
                    rng.range(-1000, 1000)
                }
            }),
            d: (!rng.one_in(5)).then_some(i128::from(cents)),
            ok,
        });
    }
    events
}

fn model(events: &[Event]) -> (Vec<Fate>, Option<i64>) {
    let mut model = Model::new(None);
    let fates = events.iter().map(|event| event.judge(&mut model, DELAY));
    (fates.collect(), model.watermark)
}

/// Cuts a stream into chunks of random sizes, some of them empty.
fn chunks(rng: &mut Random, events: &[Event], longest: usize) -> Vec<std::ops::Range<usize>> {
    let mut out = Vec::new();
    let mut from = 0;
    while from < events.len() {
        let to = (from + rng.place(longest + 1)).min(events.len());
        out.push(from..to);
        from = to;
    }
    out
}

/// Runs chunks through a lane and keeps all that comes out.
struct Run {
    plan: Arc<Plan>,
    preparer: Preparer,
    lane: Lane,
    fates: Vec<Fate>,
    kept: Vec<RecordBatch>,
    closed: Vec<Vec<RecordBatch>>,
    /// The last live value of each window and group.
    live: Vec<BTreeMap<WindowKey, Totals>>,
    /// Values that are handed out at a time.
    live_max: usize,
    /// How often windows are closed: after each chunk, or once in so many.
    close_every: usize,
    absorbed: usize,
}

impl Run {
    fn new(plan: &Arc<Plan>, close_every: usize) -> Self {
        Run {
            plan: Arc::clone(plan),
            preparer: preparer(plan),
            lane: Lane::new(3, plan, None),
            fates: Vec::new(),
            kept: Vec::new(),
            closed: vec![Vec::new(); plan.windows().len()],
            live: vec![BTreeMap::new(); plan.windows().len()],
            live_max: usize::MAX,
            close_every,
            absorbed: 0,
        }
    }

    fn absorb(&mut self, from: usize, events: &[Event]) {
        let records: Vec<String> = events.iter().map(Event::json).collect();
        let chunk = chunk_at(from as i64, &records);
        let prepared = self.preparer.prepare(&chunk, NOW, &[]).expect("prepared");
        let verdict = self.lane.absorb(&prepared);
        self.fates.extend(fates(&prepared, &verdict));
        let keep = BooleanArray::from(verdict.keep);
        self.kept
            .push(filter_record_batch(&prepared.batch, &keep).expect("filtered"));
        self.absorbed += 1;
        if self.absorbed.is_multiple_of(self.close_every) {
            self.close();
        }
    }

    /// Takes live values until there are no more, and closes windows.
    fn close(&mut self) {
        if self.absorbed.is_multiple_of(7) {
            self.lane.show_windows_again();
        }
        loop {
            let mut changed: Vec<LiveWindows> = self
                .live
                .iter()
                .map(|_| LiveWindows::new(self.live_max))
                .collect();
            self.lane.changed_windows(&mut changed);
            let mut left = 0;
            for ((changed, window), live) in changed
                .into_iter()
                .zip(self.plan.windows())
                .zip(&mut self.live)
            {
                let (batch, left_out) = changed.into_parts(window).expect("a batch");
                assert!(batch.num_rows() <= self.live_max);
                let by_band = window.groups.iter().any(|(name, _)| name == "band");
                let second = if by_band { "band" } else { "h" };
                live.extend(emitted_as(window.size, &[batch], second));
                left += left_out.iter().map(|l| l.groups).sum::<u64>();
            }
            if left == 0 {
                break;
            }
        }
        let mut out: Vec<ClosedWindows> = self
            .closed
            .iter()
            .map(|_| ClosedWindows::default())
            .collect();
        self.lane.close_windows(&mut out);
        for ((closed, window), batches) in out
            .into_iter()
            .zip(self.plan.windows())
            .zip(&mut self.closed)
        {
            if closed.is_empty() {
                assert_eq!(closed.start_range(window), None);
                continue;
            }
            let range = closed.start_range(window).expect("not empty");
            let batch = closed.into_batch(window).expect("a batch");
            let starts = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            assert_eq!(starts.values().iter().min(), Some(&range.0));
            assert_eq!(starts.values().iter().max(), Some(&range.1));
            batches.push(batch);
        }
    }

    /// The lane as a restart finds it: rebuilt from the rows that were kept.
    fn restart(&mut self, rng: &mut Random) {
        self.close();
        let Some(watermark) = self.lane.watermark() else {
            return;
        };
        let mut lane = Lane::new(3, &self.plan, Some(watermark));
        let from = watermark - self.plan.horizon().as_micros() as i64;
        let mut preparer = preparer(&self.plan);
        let mut batches = self.kept.clone();
        if rng.one_in(2) {
            batches.reverse();
        }
        for batch in batches {
            let times = batch
                .column_by_name("at")
                .expect("the time")
                .as_primitive::<TimestampMicrosecondType>()
                .clone();
            let recent: BooleanArray = times.iter().map(|t| t.map(|t| t >= from)).collect();
            let batch = filter_record_batch(&batch, &recent).expect("filtered");
            let restored = preparer
                .restore(&state_columns(&self.plan, &batch))
                .expect("restored");
            let all: Vec<usize> = (0..batch.num_rows()).collect();
            lane.restore(&restored, &all);
        }
        self.lane = lane;
        self.preparer = preparer;
    }

    /// The same, with another configuration: the windows that it adds begin now, and are watched
    /// from now on.
    fn restart_as(&mut self, plan: &Arc<Plan>, rng: &mut Random) {
        self.close();
        self.closed.resize(plan.windows().len(), Vec::new());
        self.live.resize(plan.windows().len(), BTreeMap::new());
        self.plan = Arc::clone(plan);
        self.preparer = preparer(plan);
        let watermark = self.lane.watermark();
        self.lane = Lane::new(3, plan, watermark);
        self.restart(rng);
    }

    fn end(&mut self) {
        if let Some(end) = self.lane.last_end() {
            self.lane.follow(end);
        }
        self.close();
        assert_eq!(self.lane.last_end(), None);
    }
}

/// What state is rebuilt from, as far as the rows have it.
fn state_columns(plan: &Plan, batch: &RecordBatch) -> RecordBatch {
    let wanted = plan.state_columns().into_iter();
    let names = wanted.map(|column| plan.event_schema().field(column).name());
    let there: Vec<usize> = names
        .filter_map(|name| batch.schema().index_of(name).ok())
        .collect();
    batch.project(&there).expect("columns")
}

fn fates(prepared: &Prepared, verdict: &Verdict) -> Vec<Fate> {
    let late: std::collections::HashSet<u32> = verdict.late.iter().copied().collect();
    assert_eq!(
        verdict.keep.iter().filter(|k| **k).count() as u64,
        verdict.events
    );
    let fates: Vec<Fate> = (0..prepared.accepted.len())
        .map(|row| match prepared.accepted[row] {
            false => Fate::Rejected,
            true if late.contains(&(row as u32)) => Fate::Late,
            true if verdict.keep[row] => Fate::Event,
            true => Fate::Duplicate,
        })
        .collect();
    let duplicates = fates.iter().filter(|f| **f == Fate::Duplicate).count();
    assert_eq!(duplicates as u64, verdict.duplicates);
    fates
}

/// A row of a closed window without its aggregates: start, group columns.
type WindowKey = (i64, Option<String>, Option<i32>);

/// Aggregates as exact numbers; floats by their bits.
#[derive(Debug, Clone, PartialEq, Default)]
struct Totals {
    rows: i64,
    floats: (i64, Option<u64>, Option<u64>, Option<u64>),
    ints: (i64, Option<i128>, Option<i64>, Option<i64>),
    decimals: (i64, Option<i128>, Option<i128>, Option<i128>),
    times: (Option<i64>, Option<i64>),
}

/// The exact sum of floats with values like 123456.78, rounded once.
///
/// Each is a multiple of 2^-80 (the least is 0.01, with 53 bits), so the sum is a whole number of
/// them.
fn exact_sum(values: &[f64]) -> f64 {
    const SCALE: f64 = (1_u128 << 80) as f64;
    let sum: i128 = values.iter().map(|v| (v * SCALE) as i128).sum();
    sum as f64 / SCALE
}

fn totals(events: &[&Event]) -> Totals {
    let floats: Vec<f64> = events.iter().filter_map(|e| e.f).collect();
    let ints: Vec<i64> = events.iter().filter_map(|e| e.i).collect();
    let decimals: Vec<i128> = events.iter().filter_map(|e| e.d).collect();
    let some = |any: bool, value: f64| any.then_some(value.to_bits());
    let any = !floats.is_empty();
    Totals {
        rows: events.len() as i64,
        floats: (
            floats.len() as i64,
            some(any, exact_sum(&floats)),
            some(any, floats.iter().copied().fold(f64::INFINITY, f64::min)),
            some(
                any,
                floats.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ),
        ),
        ints: (
            ints.len() as i64,
            (!ints.is_empty()).then(|| ints.iter().map(|i| i128::from(*i)).sum()),
            ints.iter().min().copied(),
            ints.iter().max().copied(),
        ),
        decimals: (
            decimals.len() as i64,
            (!decimals.is_empty()).then(|| decimals.iter().sum()),
            decimals.iter().min().copied(),
            decimals.iter().max().copied(),
        ),
        times: (
            events.iter().map(|e| e.at).min(),
            events.iter().map(|e| e.at).max(),
        ),
    }
}

/// All windows of a plan over these events, by brute force.
fn windows_of(
    size: i64,
    slide: i64,
    groups: &[String],
    events: &[&Event],
) -> BTreeMap<WindowKey, Totals> {
    let mut by_key: BTreeMap<WindowKey, Vec<&Event>> = BTreeMap::new();
    for event in events {
        let g = groups.iter().any(|g| g == "g").then_some(event.g).flatten();
        let h = groups.iter().any(|g| g == "h").then_some(event.h).flatten();
        let mut start = event.at.div_euclid(slide) * slide;
        while start + size > event.at {
            by_key
                .entry((start, g.map(str::to_owned), h))
                .or_default()
                .push(event);
            start -= slide;
        }
    }
    by_key
        .into_iter()
        .map(|(key, events)| (key, totals(&events)))
        .collect()
}

/// The rows of closed windows; each window and group comes once.
fn emitted(size: i64, batches: &[RecordBatch]) -> BTreeMap<WindowKey, Totals> {
    emitted_as(size, batches, "h")
}

/// The same, where the second column of a group has this name.
fn emitted_as(size: i64, batches: &[RecordBatch], second: &str) -> BTreeMap<WindowKey, Totals> {
    let mut out = BTreeMap::new();
    for batch in batches {
        let int = |name: &str, row: usize| -> Option<i64> {
            let column = batch
                .column_by_name(name)
                .expect("a column")
                .as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        let float = |name: &str, row: usize| -> Option<u64> {
            let column = batch
                .column_by_name(name)
                .expect("a column")
                .as_primitive::<Float64Type>();
            column.is_valid(row).then(|| column.value(row).to_bits())
        };
        let decimal = |name: &str, row: usize| -> Option<i128> {
            let column = batch
                .column_by_name(name)
                .expect("a column")
                .as_primitive::<Decimal128Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        let time = |name: &str, row: usize| -> Option<i64> {
            let column = batch
                .column_by_name(name)
                .expect("a column")
                .as_primitive::<TimestampMicrosecondType>();
            column.is_valid(row).then(|| column.value(row))
        };
        for row in 0..batch.num_rows() {
            let start = time("window_start", row).expect("a start");
            assert_eq!(time("window_end", row), Some(start + size));
            let lane = batch
                .column_by_name("lane")
                .expect("a lane")
                .as_primitive::<Int32Type>();
            assert_eq!(lane.value(row), 3);
            let g = batch.column_by_name("g").and_then(|column| {
                let column = column.as_string::<i32>();
                column.is_valid(row).then(|| column.value(row).to_owned())
            });
            let h = batch.column_by_name(second).and_then(|column| {
                let column = column.as_primitive::<Int32Type>();
                column.is_valid(row).then(|| column.value(row))
            });
            let count = |name: &str| int(name, row).expect("a count");
            assert_eq!(float("fa__sum", row), float("fs", row));
            assert_eq!(count("fa__count"), count("fn"));
            assert_eq!(decimal("ia__sum", row), decimal("is", row));
            assert_eq!(decimal("da__sum", row), decimal("ds", row));
            let totals = Totals {
                rows: count("n"),
                floats: (
                    count("fn"),
                    float("fs", row),
                    float("f_low", row),
                    float("f_high", row),
                ),
                ints: (
                    count("ia__count"),
                    decimal("is", row),
                    int("i_low", row),
                    int("i_high", row),
                ),
                decimals: (
                    count("da__count"),
                    decimal("ds", row),
                    decimal("d_low", row),
                    decimal("d_high", row),
                ),
                times: (time("first", row), time("last", row)),
            };
            let before = out.insert((start, g, h), totals);
            assert!(before.is_none(), "a window was emitted twice");
        }
    }
    out
}
