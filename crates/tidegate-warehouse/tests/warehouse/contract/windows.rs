//! The view over window parts: final windows only, lanes merged.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::record_batch::RecordBatch;
use tidegate_core::meaning::Gap;
use tidegate_warehouse::{Loader, LoaderOptions, TableKind, TableSpec, ViewMerge};

use super::{Place, World};
use crate::job::{Event, NEW_YEAR, append_table, columns};

super::on_each_warehouse! {
    a_window_shows_once_every_lane_has_passed_it,
    groups_are_merged_over_lanes_null_included,
    a_part_that_comes_again_replaces_the_first,
    parts_of_one_load_are_all_kept,
    a_lane_without_watermark_holds_every_window_back,
    a_view_of_somebody_else_is_left_as_it_is,
    an_aggregate_and_a_group_are_removed_while_parts_with_them_wait,
    windows_that_some_lanes_have_no_parts_of_are_not_shown,
    a_window_that_is_no_more_gets_what_is_left_and_is_not_made_again,
    the_end_of_time_is_a_watermark_too,
    windows_begin_before_the_first_year_and_end_after_the_last_one,
}

/// Window start in minutes, status, lane, values.
pub(super) type Part<'a> = (i64, Option<&'a str>, i32, &'a [f64]);

pub(super) fn parts_batch(parts: &[Part<'_>]) -> RecordBatch {
    let status = StringArray::from_iter(parts.iter().map(|part| part.1));
    parts_by(parts, Arc::new(status))
}

/// Parts with another column for `status`.
fn parts_by(parts: &[Part<'_>], status: ArrayRef) -> RecordBatch {
    let at = |later: i64| {
        let minutes = parts.iter().map(|part| part.0 + later);
        let micros = minutes.map(|minute| NEW_YEAR + minute * 60_000_000);
        let times = TimestampMicrosecondArray::from_iter_values(micros);
        Arc::new(times.with_timezone("UTC")) as ArrayRef
    };
    let float = |of: &dyn Fn(&[f64]) -> f64| {
        let values = parts.iter().map(|part| of(part.3));
        Arc::new(Float64Array::from_iter_values(values)) as ArrayRef
    };
    let count = || {
        let counts = parts.iter().map(|part| part.3.len() as i64);
        Arc::new(Int64Array::from_iter_values(counts)) as ArrayRef
    };
    let lanes = parts.iter().map(|part| part.2);
    let least = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    RecordBatch::try_from_iter_with_nullable([
        ("window_start", at(0), true),
        ("window_end", at(1), true),
        ("status", status, true),
        ("lane", Arc::new(Int32Array::from_iter_values(lanes)), true),
        ("n", count(), true),
        ("total", float(&|v| v.iter().sum()), true),
        ("least", float(&least), true),
        ("most", float(&most), true),
        ("mean__sum", float(&|v| v.iter().sum()), true),
        ("mean__count", count(), true),
    ])
    .unwrap()
}

pub(super) fn window_table(batch: &RecordBatch) -> TableSpec {
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
        columns(batch),
        vec!["status".into()],
        aggregates
            .map(|(name, merge)| (name.to_owned(), merge))
            .into(),
    )
}

pub(super) struct Windows<'p> {
    pub(super) world: World<'p>,
    pub(super) loader: Loader,
}

impl<'p> Windows<'p> {
    pub(super) fn new(place: &'p Place) -> Self {
        let world = place.world();
        let table = window_table(&parts_batch(&[]));
        let loader = world.loader(vec![table], LoaderOptions::default());
        Windows { world, loader }
    }

    pub(super) fn commit(&mut self, parts: &[Part<'_>], lanes: &[i32], watermarks: &[(i32, i64)]) {
        let files = if parts.is_empty() {
            vec![]
        } else {
            vec![self.world.job.file("window:t_1m", &parts_batch(parts))]
        };
        self.world.job.commit_with(files, lanes, watermarks);
    }

    /// Loads what is committed, and tells what the view shows.
    pub(super) fn shown(&mut self) -> String {
        self.shown_by("status")
    }

    /// The same, with this in place of the group.
    pub(super) fn shown_by(&mut self, group: &str) -> String {
        self.loader.catch_up(self.world.job.last_seq()).unwrap();
        self.world.ask(&format!(
            "SELECT EXTRACT(MINUTE FROM window_start), {group}, n, total, \"least\", most, mean FROM t_1m \
             ORDER BY 1, status NULLS LAST"
        ))
    }

    /// Commits and loads parts, new lanes and watermarks (in seconds), and tells what the view
    /// shows.
    fn step(&mut self, parts: &[Part<'_>], lanes: &[i32], watermarks: &[(i32, i64)]) -> String {
        self.commit(parts, lanes, watermarks);
        self.shown()
    }
}

fn a_window_shows_once_every_lane_has_passed_it(place: &Place) {
    let mut windows = Windows::new(place);
    assert_eq!(windows.step(&[], &[0, 1], &[(0, 10)]), "");
    let part = (0, Some("OK"), 0, [1.0, 2.0].as_slice());
    let shown = windows.step(&[part], &[], &[(0, 60)]);
    assert_eq!(shown, "", "lane 1 has no watermark");
    let shown = windows.step(&[], &[], &[(1, 59)]);
    assert_eq!(shown, "", "lane 1 is in the window");
    let shown = windows.step(&[(0, Some("OK"), 1, &[9.0])], &[], &[(1, 60)]);
    assert_eq!(shown, "0,OK,3,12,1,9,4\n");
}

fn a_lane_without_watermark_holds_every_window_back(place: &Place) {
    let mut windows = Windows::new(place);
    let shown = windows.step(&[(0, Some("A"), 0, &[1.0])], &[0], &[(0, 60)]);
    assert_eq!(shown, "0,A,1,1,1,1,1\n");
    let with_new_lane = windows.step(&[], &[1], &[]);
    assert_eq!(with_new_lane, "", "it could still have such events");
    // Lane 0 is named without a watermark, and keeps the one that it has.
    assert_eq!(windows.step(&[], &[0], &[(1, i64::from(u32::MAX))]), shown);
}

fn groups_are_merged_over_lanes_null_included(place: &Place) {
    let mut windows = Windows::new(place);
    let lane_0: [Part<'_>; 3] = [
        (0, Some("A"), 0, &[1.0]),
        (0, None, 0, &[2.0]),
        (1, Some("A"), 0, &[0.5; 10]),
    ];
    let lane_1: [Part<'_>; 2] = [(0, None, 1, &[4.0, 6.0]), (1, Some("A"), 1, &[0.25])];
    windows.step(&lane_0, &[0, 1], &[(0, 180), (1, 0)]);
    assert_eq!(
        windows.step(&lane_1, &[], &[(1, 120)]),
        "0,A,1,1,1,1,1\n0,,3,12,2,6,4\n1,A,11,5.25,0.25,0.5,0.4772727272727273\n"
    );
}

fn a_part_that_comes_again_replaces_the_first(place: &Place) {
    let mut windows = Windows::new(place);
    let first: [Part<'_>; 3] = [
        (0, Some("A"), 0, &[1.0]),
        (0, None, 0, &[1.0]),
        (0, None, 1, &[2.0]),
    ];
    windows.step(&first, &[0, 1], &[(0, 60), (1, 60)]);
    let again: [Part<'_>; 2] = [(0, None, 0, &[5.0]), (1, None, 0, &[9.0])];
    let shown = windows.step(&again, &[], &[]);
    assert_eq!(shown, "0,A,1,1,1,1,1\n0,,2,7,2,5,3.5\n");
}

/// Zero and minus zero are two groups to a lane, which closes a window once, and one to a
/// warehouse.
fn parts_of_one_load_are_all_kept(place: &Place) {
    let mut world = place.world();
    let parts: [Part<'_>; 3] = [
        (0, None, 0, &[1.0]),
        (0, None, 0, &[2.0, 3.0]),
        (0, None, 0, &[4.0]),
    ];
    let zeros = Float64Array::from(vec![0.0, -0.0, 1.0]);
    let batch = parts_by(&parts, Arc::new(zeros));
    let mut loader = world.loader(vec![window_table(&batch)], LoaderOptions::default());
    for _ in 0..2 {
        let file = world.job.file("window:t_1m", &batch);
        world.job.commit_with(vec![file], &[0], &[(0, 60)]);
        let load = loader.tick().unwrap().load.unwrap();
        assert_eq!((load.rows, load.updates, load.superseded), (3, 0, 0));
        let shown = world.ask("SELECT ABS(status), n, total FROM t_1m ORDER BY 1");
        assert_eq!(shown, "0,3,6\n1,1,4\n");
    }
}

fn a_view_of_somebody_else_is_left_as_it_is(place: &Place) {
    let mut world = place.world();
    world.job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let events = append_table("other", "events");
    drop(world.load_all(vec![events.clone()], u64::MAX));
    // It only has a name like that of the parts.
    world.execute("CREATE VIEW t_1m AS SELECT value AS xt_1m__parts FROM other");
    let batch = parts_batch(&[(0, Some("A"), 0, &[2.0])]);
    let file = world.job.file("window:t_1m", &batch);
    // The events are of lane 1000.
    let watermarks = [(0, 60), (1000, 60)];
    world.job.commit_with(vec![file], &[0], &watermarks);
    let tables = vec![events, window_table(&batch)];
    let loader = world.load_all(tables.clone(), u64::MAX);
    assert_eq!(world.ask("SELECT xt_1m__parts FROM t_1m"), "1\n");
    assert_eq!(world.ask("SELECT total FROM t_1m__parts"), "2\n");
    drop(loader);
    world.execute("DROP VIEW t_1m");
    world.execute("CREATE TABLE t_1m (x INTEGER)");
    drop(world.open(tables.clone()));
    world.execute("DROP TABLE t_1m");
    let _warehouse = world.open(tables);
    assert_eq!(world.ask("SELECT total FROM t_1m"), "2\n");
}

fn an_aggregate_and_a_group_are_removed_while_parts_with_them_wait(place: &Place) {
    let mut windows = Windows::new(place);
    windows.step(&[(0, Some("A"), 0, &[1.0])], &[0], &[(0, 60)]);
    let more: [Part<'_>; 2] = [(1, Some("A"), 0, &[1.0, 2.0]), (1, Some("B"), 0, &[4.0])];
    windows.commit(&more, &[], &[(0, 120)]);
    let Windows { world, loader } = windows;
    drop(loader);
    let mut table = window_table(&parts_batch(&[]));
    let gone = ["status", "most", "mean__sum"];
    table
        .columns
        .retain(|(column, _)| !gone.contains(&column.as_str()));
    table.kind = TableKind::WindowParts {
        view: "t_1m".into(),
        group_by: Vec::new(),
        aggregates: [("n", ViewMerge::Count), ("total", ViewMerge::Sum)]
            .map(|(name, merge)| (name.to_owned(), merge))
            .into(),
        gaps: Vec::new(),
        last_record: None,
    };
    let mut loader = world.loader(vec![table], LoaderOptions::default());
    loader.catch_up(world.job.last_seq()).unwrap();
    let shown = "SELECT EXTRACT(MINUTE FROM window_start), n, total FROM t_1m ORDER BY 1";
    assert_eq!(world.ask(shown), "0,1,1\n1,3,7\n");
    let parts = "SELECT EXTRACT(MINUTE FROM window_start), status, most, mean__sum FROM t_1m__parts ORDER BY 1, 2";
    assert_eq!(world.ask(parts), "0,A,1,1\n1,A,2,3\n1,B,4,4\n");
}

fn windows_that_some_lanes_have_no_parts_of_are_not_shown(place: &Place) {
    let mut windows = Windows::new(place);
    let ahead: Vec<Part<'_>> = (0..5).map(|minute| (minute, None, 0, &[1.0][..])).collect();
    windows.step(&ahead, &[0, 1], &[(0, 300)]);
    let behind: Vec<Part<'_>> = (0..2).map(|minute| (minute, None, 1, &[2.0][..])).collect();
    windows.step(&behind, &[], &[(1, 120)]);
    // Lane 1 goes on, and the window is not there any more.
    windows.commit(&[], &[], &[(1, 600)]);
    let Windows { world, mut loader } = windows;
    let minute = |minute: i64| Some(NEW_YEAR + minute * 60_000_000);
    let gap = |after, before| Gap { after, before };
    let cases = [
        (vec![], "0,2\n1,2\n2,1\n3,1\n4,1\n"),
        (vec![gap(minute(2), None)], "0,2\n1,2\n"),
        (vec![gap(minute(2), minute(4))], "0,2\n1,2\n4,1\n"),
        (vec![gap(None, minute(3))], "3,1\n4,1\n"),
        (vec![gap(None, None)], ""),
        (
            vec![gap(minute(1), minute(2)), gap(minute(4), None)],
            "0,2\n2,1\n3,1\n",
        ),
    ];
    for (gaps, shown) in cases {
        drop(loader);
        let table = window_table(&parts_batch(&[])).with_gaps(&gaps, None);
        loader = world.load_all(vec![table], u64::MAX);
        let sql = "SELECT EXTRACT(MINUTE FROM window_start), n FROM t_1m ORDER BY 1";
        assert_eq!(world.ask(sql), shown, "{gaps:?}");
    }
}

fn a_window_that_is_no_more_gets_what_is_left_and_is_not_made_again(place: &Place) {
    let mut world = place.world();
    let batch = parts_batch(&[(0, Some("A"), 0, &[2.0])]);
    let file = world.job.file("window:t_1m", &batch);
    world.job.commit_with(vec![file], &[0], &[(0, 60)]);
    let last = world.job.last_seq();
    world.job.commit_with(vec![], &[], &[(0, 120)]);
    let tables = || vec![window_table(&batch).with_gaps(&[], Some(last))];
    // The table was not there before.
    drop(world.load_all(tables(), u64::MAX));
    assert_eq!(world.ask("SELECT total FROM t_1m"), "2\n");
    drop(world.open(tables()));
    assert_eq!(world.ask("SELECT total FROM t_1m"), "2\n");
    // Who drops it is not told to bring it back, nor is it made again.
    world.execute("DROP VIEW t_1m");
    world.execute("DROP TABLE t_1m__parts");
    drop(world.open(tables()));
    world.execute("CREATE TABLE t_1m__parts (x INTEGER)");
}

fn the_end_of_time_is_a_watermark_too(place: &Place) {
    let mut windows = Windows::new(place);
    let end = i64::MAX / 1_000_000 - NEW_YEAR / 1_000_000 - 1;
    let shown = windows.step(&[(0, Some("A"), 0, &[1.0])], &[0], &[(0, end)]);
    assert_eq!(shown, "0,A,1,1,1,1,1\n");
}

fn windows_begin_before_the_first_year_and_end_after_the_last_one(place: &Place) {
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_10000: i64 = 253_402_300_800;
    let minute = |second: i64| (second - NEW_YEAR / 1_000_000) / 60;
    let parts: [Part<'_>; 2] = [
        (minute(YEAR_1) - 1, Some("first"), 0, &[1.0]),
        (minute(YEAR_10000) - 1, Some("last"), 0, &[2.0]),
    ];
    let mut windows = Windows::new(place);
    let second = |second: i64| second - NEW_YEAR / 1_000_000;
    windows.commit(&parts, &[0], &[(0, second(YEAR_10000) - 1)]);
    windows
        .loader
        .catch_up(windows.world.job.last_seq())
        .unwrap();
    let shown = "SELECT status, total FROM t_1m ORDER BY 1";
    assert_eq!(windows.world.ask(shown), "first,1\n");
    windows.commit(&[], &[], &[(0, second(YEAR_10000))]);
    windows
        .loader
        .catch_up(windows.world.job.last_seq())
        .unwrap();
    assert_eq!(windows.world.ask(shown), "first,1\nlast,2\n");
    let year = "SELECT EXTRACT(YEAR FROM window_end) FROM t_1m ORDER BY window_end DESC LIMIT 1";
    assert_eq!(windows.world.ask(year), "10000\n");
}
