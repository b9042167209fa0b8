//! Names: whatever columns, tables, views and groups are called, rows get where they belong; or the
//! name is refused before anything is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tidegate_warehouse::{
    ArchiveFiles, DuckDbOptions, LoaderOptions, TableKind, TableSpec, ViewMerge, open_archive,
};

use crate::contract::{Place, World, on_each_warehouse};
use crate::job::{Job, NEW_YEAR, ask, columns, events_table, instant};

on_each_warehouse! {
    rows_are_found_and_replaced_whatever_columns_are_called,
    windows_are_shown_whatever_groups_and_aggregates_are_called,
    names_that_cannot_be_are_refused_with_a_reason,
}

/// For opening files.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Names that mean something to somebody: to SQL, to DuckDB, to the loader, to readers of folders.
const NAMES: [&str; 63] = [
    "select",
    "table",
    "order",
    "group",
    "user",
    "end",
    "left",
    "offset",
    "limit",
    "default",
    "null",
    "values",
    "timestamp",
    "interval",
    "current_date",
    "all",
    "rowid",
    "filename",
    "file_row_number",
    "file_index",
    "year",
    "month",
    "day",
    "hour",
    "tenant",
    "tidegate_row",
    "tidegate_stage",
    "tidegate_target",
    "target",
    "stage",
    "stored",
    "files",
    "met",
    "loser",
    "twice",
    "rid",
    "wins",
    "k0",
    "k1",
    "t0",
    "t1",
    "c0",
    "c1",
    "n0",
    "n1",
    "rows",
    "a",
    "b",
    "tidegate 1",
    "temp",
    "main",
    "a.b",
    "with \"quotes\"",
    "it's",
    "Upper",
    "Größe",
    "日本",
    "😀",
    "two words",
    "%s;--",
    "$1",
    "back\\slash",
    "İstanbul",
];

/// Key of two parts, order, and the rest.
type Row = (i64, Option<&'static str>, i64, i64);

fn batch(names: &[&str], rows: &[Row]) -> RecordBatch {
    let int = |of: fn(&Row) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of)));
    let text = |of: fn(&Row) -> Option<String>| {
        Arc::new(StringArray::from_iter(rows.iter().map(of))) as ArrayRef
    };
    // Text where DuckDB would read a number or a date out of the name of a folder.
    let mut all: Vec<ArrayRef> = vec![
        int(|row| row.0),
        text(|row| row.1.map(str::to_owned)),
        int(|row| row.2),
        text(|row| Some(format!("value {}", row.3))),
    ];
    while all.len() < names.len() {
        all.push(int(|row| row.3));
    }
    let named = names.iter().copied().zip(all);
    RecordBatch::try_from_iter_with_nullable(named.map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// What a table or view holds, one line a row, sorted.
fn shown(world: &World<'_>, place: &Place, table: &str, names: &[&str]) -> Vec<String> {
    let names: Vec<_> = names.iter().map(|name| place.quote(name)).collect();
    let sql = format!("SELECT {} FROM {}", names.join(", "), place.quote(table));
    let mut rows: Vec<_> = world.ask(&sql).lines().map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

fn rows_are_found_and_replaced_whatever_columns_are_called(place: &Place) {
    let row = (
        0i64..3,
        prop::option::of(prop::sample::select(vec!["a", "b"])),
        0i64..4,
    );
    let strategy = (
        Just(NAMES.to_vec()).prop_shuffle(),
        prop::collection::vec(prop::collection::vec(row, 1..6), 1..5),
        1u64..12,
    );
    let test = |(names, commits, rows_max): (Vec<&'static str>, Vec<Vec<_>>, u64)| {
        let (table, names) = (names[0], &names[1..9]);
        // The loader's own tables begin like that, and no other can.
        let table = table.replace("tidegate_", "t_");
        let mut world = place.world();
        let mut latest: BTreeMap<(i64, Option<&str>), Row> = BTreeMap::new();
        let mut value = 0;
        for commit in commits {
            let rows: Vec<Row> = commit
                .into_iter()
                .map(|(id, word, order)| {
                    value += 1;
                    // The order tells rows of a key apart, so that it is known which one wins.
                    (id, word, order * 1000 + value, value)
                })
                .collect();
            for row in &rows {
                let best = latest.entry((row.0, row.1)).or_insert(*row);
                if row.2 > best.2 {
                    *best = *row;
                }
            }
            let file = world.job.file("events", &batch(names, &rows));
            world.job.commit_with(vec![file], &[], &[]);
        }
        let spec = TableSpec {
            name: table.clone(),
            datasets: vec!["events".into()],
            columns: columns(&batch(names, &[])),
            required: vec![],
            time: None,
            kind: TableKind::Upsert {
                key: vec![names[0].into(), names[1].into()],
                order: vec![names[2].into()],
                reach: None,
            },
        };
        world.load_all(vec![spec.clone()], rows_max);
        let mut expect: Vec<String> = latest
            .values()
            .map(|(id, word, order, value)| {
                let rest = vec![value.to_string(); names.len() - 4].join(",");
                format!(
                    "{id},{},{order},value {value},{rest}",
                    word.unwrap_or_default()
                )
            })
            .collect();
        expect.sort_unstable();
        prop_assert_eq!(shown(&world, place, &table, names), expect.clone());
        if matches!(place, Place::DuckDb) {
            let reader = open_archive(
                &[spec],
                &archive(&world.job),
                &DuckDbOptions::default(),
                TIMEOUT,
            );
            let names: Vec<_> = names.iter().map(|name| place.quote(name)).collect();
            let sql = format!("SELECT {} FROM {}", names.join(", "), place.quote(&table));
            let answer = ask(&reader.unwrap(), &sql);
            let mut rows: Vec<_> = answer.lines().map(str::to_owned).collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, expect, "out of files");
        }
        Ok(())
    };
    runner(place).run(&strategy, test).unwrap();
}

/// All files of a job.
fn archive(job: &Job) -> ArchiveFiles {
    let mut files = ArchiveFiles {
        folders: vec![job.storage.local_root().unwrap().to_owned()],
        ..ArchiveFiles::default()
    };
    for record in job.records() {
        for entry in &record.files {
            let path = job.storage.local_path(&entry.path).unwrap();
            files
                .datasets
                .entry(entry.dataset.clone())
                .or_default()
                .push(path);
        }
        for (lane, watermark) in &record.watermarks {
            files.watermarks.insert(*lane, Some(*watermark));
        }
    }
    files
}

fn windows_are_shown_whatever_groups_and_aggregates_are_called(place: &Place) {
    let strategy = Just(NAMES.to_vec()).prop_shuffle();
    let test = |names: Vec<&'static str>| {
        let view = names[0].replace("tidegate_", "t_");
        let (groups, sums, float) = (&names[1..4], &names[4..7], names[7]);
        let parts = |lane: i32, n: i64| {
            let at = |minute: i64| {
                let times =
                    TimestampMicrosecondArray::from(vec![NEW_YEAR + minute * 60_000_000; 2]);
                Arc::new(times.with_timezone("UTC")) as ArrayRef
            };
            let mut all = vec![("window_start", at(0)), ("window_end", at(1))];
            for group in groups {
                let column = StringArray::from(vec![Some("A"), None]);
                all.push((*group, Arc::new(column) as ArrayRef));
            }
            all.push((
                "lane",
                Arc::new(Int32Array::from(vec![lane; 2])) as ArrayRef,
            ));
            for sum in sums {
                all.push((
                    *sum,
                    Arc::new(Int64Array::from(vec![n, 10 * n])) as ArrayRef,
                ));
            }
            let floats = Float64Array::from(vec![n as f64 / 2.0, n as f64]);
            all.push((float, Arc::new(floats)));
            let all = all.into_iter().map(|(name, column)| (name, column, true));
            RecordBatch::try_from_iter_with_nullable(all).unwrap()
        };
        let dataset = "window:w";
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let spec = TableSpec::window_parts(
            &view,
            vec![dataset.to_owned()],
            columns(&parts(0, 1)),
            owned(groups),
            sums.iter()
                .chain([&float])
                .map(|sum| ((*sum).to_owned(), ViewMerge::Sum))
                .collect(),
        );
        let mut world = place.world();
        // The second part of lane 0 replaces the first one.
        for (lane, n) in [(0, 5), (1, 2), (0, 1)] {
            let file = world.job.file(dataset, &parts(lane, n));
            world.job.commit_with(vec![file], &[lane], &[(lane, 60)]);
        }
        world.load_all(vec![spec], 1);
        let names: Vec<&str> = groups.iter().chain(sums).copied().collect();
        let expect = vec![",,,30,30,30".to_owned(), "A,A,A,3,3,3".to_owned()];
        prop_assert_eq!(shown(&world, place, &view, &names), expect);
        let floats = shown(&world, place, &view, &[float]);
        let floats: Vec<f64> = floats.iter().filter_map(|sum| sum.parse().ok()).collect();
        prop_assert_eq!(floats, [1.5, 3.0]);
        Ok(())
    };
    runner(place).run(&strategy, test).unwrap();
}

fn names_that_cannot_be_are_refused_with_a_reason(place: &Place) {
    let world = place.world();
    let long = "x".repeat(128);
    let mut refused = vec!["", "a\0b"];
    if matches!(place, Place::Redshift(_)) {
        refused.extend(["ctid", "XMIN", "oid", "a\nb", &long]);
    }
    for name in refused {
        let mut table = events_table();
        table.columns.push((name.to_owned(), DataType::Utf8));
        let error = world.try_open(vec![table]).unwrap_err();
        assert!(error.contains("table `t`"), "{error}");
        let checked = world.try_open(vec![events_table()]);
        assert!(checked.is_ok(), "nothing was made: {checked:?}");
    }
    // Of a struct, DuckDB makes members; in Redshift it is text.
    let members = vec![
        Field::new("a", instant(), true),
        Field::new("A", instant(), true),
    ];
    let mut table = events_table();
    let ty = DataType::Struct(members.into());
    table.columns.push(("s".to_owned(), ty));
    let opened = world.try_open(vec![table]);
    match place {
        Place::DuckDb => assert!(opened.unwrap_err().contains("member `A` twice")),
        Place::Redshift(_) => assert!(opened.is_ok(), "{opened:?}"),
    }
}

fn runner(place: &Place) -> TestRunner {
    TestRunner::new(ProptestConfig::with_cases(place.cases()))
}

/// The names are told apart without regard to case, or the properties would be about that.
#[test]
fn the_names_are_different_ones() {
    let folded: BTreeSet<String> = NAMES.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(folded.len(), NAMES.len());
}

/// What files say is read, whatever folders they are in, and whatever columns are called.
#[test]
fn columns_that_are_called_like_folders_hold_what_was_sent() {
    let mut job = Job::new();
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("tenant", text("globex")),
        ("year", Arc::new(Int64Array::from(vec![1998])) as ArrayRef),
        ("month", text("March")),
        ("day", Arc::new(Int64Array::from(vec![3]))),
        ("hour", text("late")),
    ])
    .unwrap();
    let file = job.file("events", &batch);
    job.commit_with(vec![file], &[], &[]);
    let table = TableSpec {
        name: "t".into(),
        datasets: vec!["events".into()],
        columns: columns(&batch),
        required: vec![],
        time: None,
        kind: TableKind::Append,
    };
    let mut loader = job.loader(vec![table.clone()], LoaderOptions::default());
    loader.tick().unwrap();
    let line = "globex,1998,March,3,late\n";
    assert_eq!(ask(&loader.reader().unwrap(), "FROM t"), line);
    let cold = open_archive(&[table], &archive(&job), &DuckDbOptions::default(), TIMEOUT).unwrap();
    assert_eq!(ask(&cold, "FROM t"), line);
}

/// Rows of a table with a column `rowid` whose values repeat.
#[test]
fn an_update_replaces_its_row_where_a_column_hides_the_number_of_rows() {
    let mut job = Job::new();
    let rows = |rows: &[(i64, i64, i64)]| {
        let int = |of: fn(&(i64, i64, i64)) -> i64| {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef
        };
        RecordBatch::try_from_iter([
            ("id", int(|row| row.0)),
            ("rowid", int(|row| row.1)),
            ("at", int(|row| row.2)),
        ])
        .unwrap()
    };
    for batch in [rows(&[(1, 7, 1), (2, 7, 1), (3, 7, 1)]), rows(&[(2, 0, 2)])] {
        let file = job.file("events", &batch);
        job.commit_with(vec![file], &[], &[]);
    }
    let table = TableSpec {
        name: "t".into(),
        datasets: vec!["events".into()],
        columns: columns(&rows(&[])),
        required: vec![],
        time: None,
        kind: TableKind::Upsert {
            key: vec!["id".into()],
            order: vec!["at".into()],
            reach: None,
        },
    };
    let options = LoaderOptions {
        rows_max: 1,
        ..LoaderOptions::default()
    };
    let mut loader = job.loader(vec![table], options);
    loader.catch_up(job.last_seq()).unwrap();
    assert_eq!(
        ask(&loader.reader().unwrap(), "FROM t ORDER BY id"),
        "1,7,1\n2,0,2\n3,7,1\n"
    );
}
