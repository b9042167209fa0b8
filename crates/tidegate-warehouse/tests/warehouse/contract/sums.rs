//! Sums of window parts over lanes: they do not show how events were spread over them, and never
//! fail.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tidegate_core::window::sum::{DECIMAL_END, FloatSum, WholeSum, exact_mean};
use tidegate_warehouse::{LoaderOptions, TableSpec, ViewMerge};

use super::Place;
use crate::job::{NEW_YEAR, columns};

super::on_each_warehouse! {
    decimals_of_lanes_are_added_up_exactly,
    a_sum_of_lanes_without_room_is_null_for_its_group_alone,
    sums_do_not_show_how_values_are_spread,
    a_part_without_room_makes_one_sum_null,
    a_mean_of_decimals_is_rounded_once,
    parts_of_older_versions_are_merged_too,
}

/// The sums of a lane for a group.
#[derive(Debug, Clone)]
struct Part {
    group: String,
    lane: i32,
    whole: WholeSum,
    float: FloatSum,
    count: i64,
}

fn part(group: &str, lane: i32, wholes: &[i128], floats: &[f64]) -> Part {
    let mut part = Part {
        group: group.to_owned(),
        lane,
        whole: WholeSum::default(),
        float: FloatSum::default(),
        count: wholes.len().max(floats.len()) as i64,
    };
    wholes.iter().for_each(|value| part.whole.add(*value));
    floats.iter().for_each(|value| part.float.add(*value));
    part
}

/// A whole number, a float, and the lane that has both.
type Summands = (i128, f64, i32);

/// Parts of one window as a lane writes them; those of older versions lack what is beside the sums.
fn batch(parts: &[Part], scale: i8, is_old: bool) -> RecordBatch {
    let time = |at: i64| -> ArrayRef {
        let times = TimestampMicrosecondArray::from_value(NEW_YEAR + at, parts.len());
        Arc::new(times.with_timezone("UTC"))
    };
    let decimal = || -> ArrayRef {
        let values = parts.iter().map(|part| part.whole.parts().0);
        let values = Decimal128Array::from_iter_values(values);
        Arc::new(values.with_precision_and_scale(38, scale).unwrap())
    };
    let over = || -> ArrayRef {
        let values = parts.iter().map(|part| part.whole.parts().1);
        Arc::new(Int64Array::from_iter_values(values))
    };
    let high = || -> ArrayRef {
        let values = parts.iter().map(|part| part.float.parts().0);
        Arc::new(Float64Array::from_iter_values(values))
    };
    let low = || -> ArrayRef {
        let values = parts.iter().map(|part| part.float.parts().1);
        Arc::new(Float64Array::from_iter_values(values))
    };
    let count = || -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            parts.iter().map(|part| part.count),
        ))
    };
    let groups = StringArray::from_iter_values(parts.iter().map(|part| &part.group));
    let lanes = Int32Array::from_iter_values(parts.iter().map(|part| part.lane));
    let mut columns = vec![
        ("window_start", time(0)),
        ("window_end", time(60_000_000)),
        ("g", Arc::new(groups) as ArrayRef),
        ("lane", Arc::new(lanes) as ArrayRef),
        ("exact", decimal()),
        ("mean__sum", decimal()),
        ("mean__count", count()),
        ("total", high()),
        ("average__sum", high()),
        ("average__count", count()),
    ];
    if !is_old {
        columns.extend([
            ("exact__over", over()),
            ("mean__sum__over", over()),
            ("total__low", low()),
            ("average__sum__low", low()),
        ]);
    }
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

fn table(scale: i8) -> TableSpec {
    let merges = [
        ("exact", ViewMerge::Sum),
        ("mean", ViewMerge::Avg),
        ("total", ViewMerge::Sum),
        ("average", ViewMerge::Avg),
    ];
    TableSpec::window_parts(
        "t_1m",
        vec!["window:t_1m".into()],
        columns(&batch(&[], scale, false)),
        vec!["g".into()],
        merges.map(|(name, merge)| (name.to_owned(), merge)).into(),
    )
}

/// What the view shows after these parts were loaded, each list in a file of its own.
fn shown(place: &Place, scale: i8, files: &[(&[Part], bool)], sql: &str) -> String {
    let mut world = place.world();
    let mut loader = world.loader(vec![table(scale)], LoaderOptions::default());
    for (parts, is_old) in files {
        let file = world.job.file("window:t_1m", &batch(parts, scale, *is_old));
        let mut lanes: Vec<i32> = parts.iter().map(|part| part.lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let watermarks: Vec<(i32, i64)> = lanes.iter().map(|lane| (*lane, 60)).collect();
        world.job.commit_with(vec![file], &lanes, &watermarks);
        loader.catch_up(world.job.last_seq()).unwrap();
    }
    world.ask(sql)
}

const ALL: &str = "SELECT g, exact, mean, total, average FROM t_1m ORDER BY g";

fn decimals_of_lanes_are_added_up_exactly(place: &Place) {
    // Unscaled: 44,000,000 and a half, with 30 digits after the point.
    let value = 44_000_000 * 10_i128.pow(30) + 5 * 10_i128.pow(29);
    let parts = [
        part("a", 0, &[value], &[]),
        part("a", 1, &[value], &[]),
        part("b", 0, &[value, 1], &[]),
        part("b", 1, &[-value], &[]),
    ];
    let shown = shown(place, 30, &[(&parts, false)], ALL);
    let rows: Vec<&str> = shown
        .lines()
        .map(|line| line.split(',').nth(1).unwrap())
        .collect();
    assert_eq!(
        rows,
        [
            "88000001.000000000000000000000000000000",
            "0.000000000000000000000000000001"
        ]
    );
}

/// Every part has room, and their sum has none: once, Redshift gave an error for all groups.
fn a_sum_of_lanes_without_room_is_null_for_its_group_alone(place: &Place) {
    for scale in [0, 10, 30, 37] {
        let far = 90_000_000 * 10_i128.pow(30);
        let parts = [
            part("a", 0, &[far], &[]),
            part("a", 1, &[far], &[]),
            part("b", 0, &[far, 7], &[]),
            part("b", 1, &[-far], &[]),
            part("c", 0, &[DECIMAL_END - 1], &[]),
            part("c", 1, &[1], &[]),
            part("d", 0, &[1 - DECIMAL_END], &[]),
        ];
        let shown = shown(
            place,
            scale,
            &[(&parts, false)],
            "SELECT g, exact FROM t_1m ORDER BY g",
        );
        let rows: Vec<Option<i128>> = shown
            .lines()
            .map(|line| {
                line.split(',')
                    .nth(1)
                    .unwrap()
                    .replace('.', "")
                    .parse()
                    .ok()
            })
            .collect();
        let expect = [None, Some(7), None, Some(1 - DECIMAL_END)];
        assert_eq!(rows, expect, "decimal(38,{scale})\n{shown}");
    }
}

fn a_part_without_room_makes_one_sum_null(place: &Place) {
    let far = 90_000_000 * 10_i128.pow(30);
    let parts = [
        part("a", 0, &[far, far], &[]),
        part("b", 0, &[far, 7, -far], &[]),
        part("c", 0, &[7], &[]),
    ];
    let sql = "SELECT g, exact, mean FROM t_1m ORDER BY g";
    let shown = shown(place, 30, &[(&parts, false)], sql);
    let rows: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(rows[0][1], "");
    let mean: f64 = rows[0][2].parse().unwrap();
    assert!((mean - 90_000_000.0).abs() < 1e-3, "{mean}");
    for row in &rows[1..] {
        assert_eq!(row[1], "0.000000000000000000000000000007");
    }
}

/// As floats, 3.36 / 3 is 1.1199999999999999.
fn a_mean_of_decimals_is_rounded_once(place: &Place) {
    let last = 1 << 53;
    let cases: [(i8, &[i128]); 8] = [
        (2, &[112, 112, 112]),
        (2, &[-5, -4, -1]),
        (0, &[3, 4]),
        (4, &[1, 1, 2]),
        (15, &[9, 1, 1]),
        (2, &[last - 1, 1]),
        (2, &[1 - last, -1]),
        (2, &[0, 0, 0]),
    ];
    for (scale, values) in cases {
        let parts = [
            part("a", 0, &values[..1], &[]),
            part("a", 1, &values[1..], &[]),
        ];
        let found = shown(place, scale, &[(&parts, false)], "SELECT mean FROM t_1m");
        let found: f64 = found.trim_end().parse().unwrap();
        let mean = exact_mean(values.iter().sum(), scale, values.len() as i128);
        assert_eq!(Some(found), mean, "{values:?} with {scale} digits");
    }
}

/// Redshift has no way to it.
#[test]
fn floats_of_lanes_are_rounded_once() {
    let place = &Place::duckdb();
    let parts = [
        part("a", 0, &[], &[0.1, 0.2]),
        part("a", 1, &[], &[0.3]),
        part("b", 0, &[], &[f64::INFINITY]),
        part("b", 1, &[], &[1.0]),
    ];
    let sql = "SELECT g, total, average FROM t_1m ORDER BY g";
    // Rounded by lane it would be 0.6000000000000001.
    assert_eq!(
        shown(place, 2, &[(&parts, false)], sql)
            .to_lowercase()
            .replace("infinity", "inf"),
        "a,0.6,0.19999999999999998\nb,inf,inf\n"
    );
}

fn parts_of_older_versions_are_merged_too(place: &Place) {
    let (old, new) = (
        [part("a", 0, &[150], &[0.5])],
        [part("a", 1, &[25], &[0.25])],
    );
    let files: [(&[Part], bool); 2] = [(&old, true), (&new, false)];
    assert_eq!(shown(place, 2, &files, ALL), "a,1.75,0.875,0.75,0.375\n");
}

/// Values of 38 digits and less, whose sums often have no room.
fn far() -> impl Strategy<Value = i128> {
    let end = DECIMAL_END - 1;
    prop_oneof![
        Just(end),
        Just(-end),
        -end..=end,
        -10..10_i128,
        Just(10_i128.pow(30)),
        Just(-(10_i128.pow(30)) + 1),
    ]
}

fn near() -> impl Strategy<Value = f64> {
    prop_oneof![
        -1e6..1e6_f64,
        (-1000..1000_i32).prop_map(|cents| f64::from(cents) / 100.0)
    ]
}

/// A group's sums are those of all its values, however they are spread over lanes; one that has no
/// room is null, and the others stay.
fn sums_do_not_show_how_values_are_spread(place: &Place) {
    let group = prop::collection::vec((far(), near(), 0..5_i32), 1..12);
    // Redshift's decimals have 37 digits after the point at most.
    let scale = prop::sample::select(vec![0_i8, 2, 18, 30, 37]);
    let strategy = (prop::collection::vec(group, 1..30), scale);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(place.cases()));
    let test = |(groups, scale): (Vec<Vec<Summands>>, i8)| {
        let mut parts = Vec::new();
        for (group, values) in groups.iter().enumerate() {
            for lane in 0..5 {
                let of_lane = || values.iter().filter(|value| value.2 == lane);
                if of_lane().next().is_some() {
                    let wholes: Vec<i128> = of_lane().map(|value| value.0).collect();
                    let floats: Vec<f64> = of_lane().map(|value| value.1).collect();
                    parts.push(part(&format!("{group:03}"), lane, &wholes, &floats));
                }
            }
        }
        let sql = "SELECT g, exact, total FROM t_1m ORDER BY g";
        let found = shown(place, scale, &[(&parts, false)], sql);
        let rows: Vec<Vec<&str>> = found
            .lines()
            .map(|line| line.split(',').collect())
            .collect();
        prop_assert_eq!(rows.len(), groups.len());
        for (row, values) in groups.iter().enumerate() {
            let wholes: Vec<i128> = values.iter().map(|value| value.0).collect();
            let floats: Vec<f64> = values.iter().map(|value| value.1).collect();
            let all = part("", 0, &wholes, &floats);
            let exact: Option<i128> = rows[row][1].replace('.', "").parse().ok();
            prop_assert_eq!(exact, all.whole.value());
            let total: f64 = rows[row][2].parse().unwrap();
            match place {
                Place::DuckDb => prop_assert_eq!(total, all.float.value()),
                // Rounded once for each lane.
                Place::Redshift(_) => prop_assert!((total - all.float.value()).abs() < 1e-6),
            }
        }
        Ok(())
    };
    runner.run(&strategy, test).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    /// As the hot tier has them: rounded once.
    #[test]
    fn means_of_decimals_are_those_of_exact_sums(
        groups in prop::collection::vec(prop::collection::vec((prop_oneof![far(), -10_i128.pow(9)..10_i128.pow(9)], 0..5_i32), 1..12), 1..40),
        scale in prop::sample::select(vec![0_i8, 2, 19, 30, 38]),
    ) {
        let mut parts = Vec::new();
        for (group, values) in groups.iter().enumerate() {
            for lane in 0..5 {
                let of_lane = values.iter().filter(|value| value.1 == lane);
                let of_lane: Vec<i128> = of_lane.map(|value| value.0).collect();
                if !of_lane.is_empty() {
                    parts.push(part(&format!("{group:03}"), lane, &of_lane, &[]));
                }
            }
        }
        let found = shown(&Place::duckdb(), scale, &[(&parts, false)], "SELECT mean FROM t_1m ORDER BY g");
        for (found, values) in found.lines().zip(&groups) {
            let wholes: Vec<i128> = values.iter().map(|value| value.0).collect();
            let sum = part("", 0, &wholes, &[]).whole;
            let found: f64 = found.parse().unwrap();
            prop_assert_eq!(Some(found), sum.mean(scale, values.len() as i64));
        }
    }
}
