//! The view over window parts: final windows only, lanes merged.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::record_batch::RecordBatch;
use tidegate_warehouse::{Loader, LoaderOptions, TableSpec, ViewMerge};

use crate::job::{Job, NEW_YEAR, ask, columns};

/// Window start in minutes, status, lane, values.
type Part<'a> = (i64, Option<&'a str>, i32, &'a [f64]);

fn parts_batch(parts: &[Part<'_>]) -> RecordBatch {
    let minute = |m: i64| NEW_YEAR + m * 60_000_000;
    let at = |minutes: Vec<i64>| {
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(minutes.into_iter().map(minute))
                .with_timezone("UTC"),
        )
    };
    let float = |f: &dyn Fn(&[f64]) -> f64| {
        Arc::new(Float64Array::from_iter_values(parts.iter().map(|p| f(p.3))))
    };
    let count = || {
        Arc::new(Int64Array::from_iter_values(
            parts.iter().map(|p| p.3.len() as i64),
        ))
    };
    RecordBatch::try_from_iter_with_nullable([
        (
            "window_start",
            at(parts.iter().map(|p| p.0).collect()) as ArrayRef,
            true,
        ),
        (
            "window_end",
            at(parts.iter().map(|p| p.0 + 1).collect()),
            true,
        ),
        (
            "status",
            Arc::new(StringArray::from_iter(parts.iter().map(|p| p.1))),
            true,
        ),
        (
            "lane",
            Arc::new(Int32Array::from_iter_values(parts.iter().map(|p| p.2))),
            true,
        ),
        ("n", count(), true),
        ("total", float(&|v| v.iter().sum()), true),
        (
            "least",
            float(&|v| v.iter().copied().fold(f64::INFINITY, f64::min)),
            true,
        ),
        (
            "most",
            float(&|v| v.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            true,
        ),
        ("mean__sum", float(&|v| v.iter().sum()), true),
        ("mean__count", count(), true),
    ])
    .unwrap()
}

fn window_table() -> TableSpec {
    let aggregates = [
        ("n", ViewMerge::Count),
        ("total", ViewMerge::Sum),
        ("least", ViewMerge::Min),
        ("most", ViewMerge::Max),
        ("mean", ViewMerge::Avg),
    ];
    TableSpec::window_parts(
        "t_1m",
        vec!["window:t_1m".into()],
        columns(&parts_batch(&[])),
        vec!["status".into()],
        aggregates
            .map(|(name, merge)| (name.to_owned(), merge))
            .into(),
    )
}

struct Windows {
    job: Job,
    loader: Loader,
}

impl Windows {
    fn new() -> Self {
        let job = Job::new();
        let loader = job.loader(vec![window_table()], LoaderOptions::default());
        Windows { job, loader }
    }

    /// Commits and loads parts, new lanes and watermarks (in seconds), and tells what the view shows.
    fn step(&mut self, parts: &[Part<'_>], lanes: &[i32], watermarks: &[(i32, i64)]) -> String {
        let files = if parts.is_empty() {
            vec![]
        } else {
            vec![self.job.file("window:t_1m", &parts_batch(parts))]
        };
        self.job.commit_with(files, lanes, watermarks);
        self.loader.catch_up(self.job.last_seq()).unwrap();
        let sql = "SELECT minute(window_start) AS m, * EXCLUDE (window_start, window_end) FROM t_1m ORDER BY ALL";
        ask(&self.loader.reader().unwrap(), sql)
    }
}

#[test]
fn a_window_shows_once_every_lane_has_passed_it() {
    let mut windows = Windows::new();
    assert_eq!(windows.step(&[], &[0, 1], &[(0, 10)]), "");
    assert_eq!(
        windows.step(&[(0, Some("OK"), 0, &[1.0, 2.0])], &[], &[(0, 60)]),
        "",
        "lane 1 has no watermark"
    );
    assert_eq!(
        windows.step(&[], &[], &[(1, 59)]),
        "",
        "lane 1 is in the window"
    );
    let shown = windows.step(&[(0, Some("OK"), 1, &[9.0])], &[], &[(1, 60)]);
    assert_eq!(shown, "0,OK,3,12.0,1.0,9.0,4.0\n");
    assert_eq!(
        windows.step(&[], &[2], &[]),
        "",
        "a new lane could still have such events"
    );
    assert_eq!(windows.step(&[], &[], &[(2, i64::from(u32::MAX))]), shown);
}

#[test]
fn groups_are_merged_over_lanes_null_included() {
    let mut windows = Windows::new();
    let lane_0: [Part<'_>; 3] = [
        (0, Some("A"), 0, &[1.0]),
        (0, None, 0, &[2.0]),
        (1, Some("A"), 0, &[0.5; 10]),
    ];
    let lane_1: [Part<'_>; 2] = [(0, None, 1, &[4.0, 6.0]), (1, Some("A"), 1, &[0.25])];
    windows.step(&lane_0, &[0, 1], &[(0, 180), (1, 0)]);
    assert_eq!(
        windows.step(&lane_1, &[], &[(1, 120)]),
        "0,A,1,1.0,1.0,1.0,1.0\n0,,3,12.0,2.0,6.0,4.0\n1,A,11,5.25,0.25,0.5,0.4772727272727273\n"
    );
}

#[test]
fn a_part_that_comes_again_replaces_the_first() {
    let mut windows = Windows::new();
    windows.step(
        &[(0, Some("A"), 0, &[1.0]), (0, None, 0, &[1.0])],
        &[0],
        &[(0, 60)],
    );
    let shown = windows.step(&[(0, None, 0, &[5.0]), (0, None, 0, &[7.0])], &[], &[]);
    assert_eq!(shown, "0,A,1,1.0,1.0,1.0,1.0\n0,,1,7.0,7.0,7.0,7.0\n");
}

#[test]
fn the_end_of_time_is_a_watermark_too() {
    let mut windows = Windows::new();
    let end = i64::MAX / 1_000_000 - NEW_YEAR / 1_000_000 - 1;
    assert_eq!(
        windows.step(&[(0, Some("A"), 0, &[1.0])], &[0], &[(0, end)]),
        "0,A,1,1.0,1.0,1.0,1.0\n"
    );
}
