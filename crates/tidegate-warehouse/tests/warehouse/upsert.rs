//! The latest row of each key wins, in whichever order rows arrive.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tidegate_warehouse::{LoaderOptions, Reach, TableKind, TableSpec};

use crate::job::{Event, Job, ask, events_batch, events_table};

/// Loads batches of events, each in its own load or all in one, and expects these rows: key and value.
fn check(batches: &[&[Event]], expect: &str) {
    for rows_max in [1, u64::MAX] {
        let mut job = Job::new();
        for batch in batches {
            job.commit("events", batch);
        }
        let mut loader = job.loader(
            vec![events_table()],
            LoaderOptions {
                rows_max,
                ..LoaderOptions::default()
            },
        );
        loader.catch_up(job.last_seq()).unwrap();
        let rows = ask(
            &loader.reader().unwrap(),
            "SELECT id, value FROM t ORDER BY id",
        );
        assert_eq!(rows, expect, "loads of up to {rows_max} rows");
    }
}

#[test]
fn the_latest_wins_whichever_comes_first() {
    let (old, new) = (Event("a", 1, 0, 0, 1.0), Event("a", 2, 0, 1, 2.0));
    check(&[&[old.clone(), new.clone()]], "a,2.0\n");
    check(&[&[new.clone(), old.clone()]], "a,2.0\n");
    check(
        &[std::slice::from_ref(&old), std::slice::from_ref(&new)],
        "a,2.0\n",
    );
    check(&[&[new], &[old]], "a,2.0\n");
}

#[test]
fn ties_are_decided_by_partition_and_then_offset() {
    check(
        &[
            &[Event("a", 1, 0, 5, 1.0)],
            &[Event("a", 1, 0, 7, 2.0)],
            &[Event("a", 1, 0, 6, 3.0)],
        ],
        "a,2.0\n",
    );
    check(
        &[&[Event("a", 1, 1, 0, 1.0)], &[Event("a", 1, 0, 9, 2.0)]],
        "a,1.0\n",
    );
}

#[test]
fn a_late_row_is_upserted_like_any_other() {
    let mut job = Job::new();
    job.commit("events", &[Event("a", 10, 0, 0, 1.0)]);
    job.commit(
        "late",
        &[Event("a", 5, 0, 1, 2.0), Event("b", 4, 0, 2, 3.0)],
    );
    let mut loader = job.loader(vec![events_table()], LoaderOptions::default());
    loader.catch_up(job.last_seq()).unwrap();
    assert_eq!(
        ask(
            &loader.reader().unwrap(),
            "SELECT id, value FROM t ORDER BY id"
        ),
        "a,1.0\nb,3.0\n"
    );
}

#[test]
fn a_report_tells_new_keys_from_updates() {
    let mut job = Job::new();
    let tables = vec![events_table()];
    job.commit(
        "events",
        &[
            Event("a", 1, 0, 0, 1.0),
            Event("b", 1, 0, 1, 1.0),
            Event("a", 2, 0, 2, 2.0),
        ],
    );
    let mut loader = job.loader(tables, LoaderOptions::default());
    let first = loader.tick().unwrap().load.unwrap();
    assert_eq!(
        (first.rows, first.inserted, first.updates, first.superseded),
        (3, 2, 1, 1)
    );
    job.commit(
        "events",
        &[
            Event("b", 2, 0, 3, 2.0),
            Event("a", 1, 0, 4, 9.0),
            Event("c", 1, 0, 5, 1.0),
        ],
    );
    let second = loader.tick().unwrap().load.unwrap();
    assert_eq!(
        (
            second.rows,
            second.inserted,
            second.updates,
            second.superseded
        ),
        (3, 1, 2, 1)
    );
    assert_eq!(
        ask(
            &loader.reader().unwrap(),
            "SELECT id, value FROM t ORDER BY id"
        ),
        "a,2.0\nb,2.0\nc,1.0\n"
    );
    let ledger = ask(
        &loader.reader().unwrap(),
        "SELECT last_seq, rows, inserted, updates FROM tidegate_ledger ORDER BY 1",
    );
    assert_eq!(ledger, "2,3,2,1\n3,3,1,2\n");
}

#[test]
fn a_key_can_be_null() {
    use arrow::array::{ArrayRef, StringArray};
    use std::sync::Arc;
    let with_null = |offset: i64, value: f64| {
        let batch = events_batch(&[
            Event("x", offset, 0, offset, value),
            Event("a", offset, 0, offset, value),
        ]);
        let mut columns = batch.columns().to_vec();
        columns[0] = Arc::new(StringArray::from(vec![None, Some("a")])) as ArrayRef;
        let names = batch
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect::<Vec<_>>();
        arrow::record_batch::RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap()
    };
    let mut job = Job::new();
    for (offset, value) in [(1, 1.0), (3, 3.0), (2, 2.0)] {
        let file = job.file("events", &with_null(offset, value));
        job.commit_with(vec![file], &[], &[]);
    }
    let mut loader = job.loader(
        vec![events_table()],
        LoaderOptions {
            rows_max: 1,
            ..LoaderOptions::default()
        },
    );
    loader.catch_up(job.last_seq()).unwrap();
    assert_eq!(
        ask(
            &loader.reader().unwrap(),
            "SELECT id, value FROM t ORDER BY id NULLS FIRST"
        ),
        ",3.0\na,3.0\n"
    );
}

#[test]
fn within_its_reach_a_bounded_upsert_finds_the_row() {
    let TableKind::Upsert { key, order, .. } = events_table().kind else {
        unreachable!()
    };
    let reach = Some(Reach {
        column: "event_timestamp".into(),
        within: Duration::from_secs(60),
    });
    let table = TableSpec {
        required: vec![],
        kind: TableKind::Upsert { key, order, reach },
        ..events_table()
    };
    let mut job = Job::new();
    job.commit(
        "events",
        &[Event("a", 0, 0, 0, 1.0), Event("b", 0, 0, 1, 1.0)],
    );
    job.commit(
        "events",
        &[Event("a", 60, 0, 2, 2.0), Event("z", 100_000, 0, 3, 0.0)],
    );
    job.commit("events", &[Event("b", -60, 0, 4, 9.0)]);
    let mut loader = job.loader(
        vec![table],
        LoaderOptions {
            rows_max: 1,
            ..LoaderOptions::default()
        },
    );
    loader.catch_up(job.last_seq()).unwrap();
    assert_eq!(
        ask(
            &loader.reader().unwrap(),
            "SELECT id, value FROM t ORDER BY id"
        ),
        "a,2.0\nb,1.0\nz,0.0\n"
    );
}

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the rows, batches and loads: the table is what a map says that keeps the latest.
    #[test]
    fn the_table_equals_a_map_of_the_latest(
        rows in prop::collection::vec((0usize..6, 0i64..4, 0i32..2), 1..60),
        cuts in prop::collection::vec(1usize..12, 1..10),
        rows_max in 1u64..40,
        late in any::<bool>(),
    ) {
        let events: Vec<Event> = rows
            .iter()
            .enumerate()
            .map(|(offset, (key, at, partition))| Event(KEYS[*key], *at, *partition, offset as i64, offset as f64))
            .collect();
        let mut latest: HashMap<&str, &Event> = HashMap::new();
        for event in &events {
            let best = latest.entry(event.0).or_insert(event);
            if (event.1, event.2, event.3) > (best.1, best.2, best.3) {
                *best = event;
            }
        }
        let mut job = Job::new();
        let (mut rest, mut commits) = (&events[..], 0);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (batch, after) = rest.split_at((*cut).min(rest.len()));
            commits += 1;
            job.commit(if late && commits % 3 == 0 { "late" } else { "events" }, batch);
            rest = after;
        }
        let mut loader = job.loader(vec![events_table()], LoaderOptions { rows_max, ..LoaderOptions::default() });
        let caught_up = loader.catch_up(job.last_seq()).unwrap();
        prop_assert_eq!(caught_up.rows, events.len() as u64);
        prop_assert_eq!(caught_up.inserted, latest.len() as u64);
        prop_assert_eq!(caught_up.updates, (events.len() - latest.len()) as u64);
        let mut expect: Vec<String> = latest.values().map(|e| format!("{},{:?}\n", e.0, e.4)).collect();
        expect.sort();
        prop_assert_eq!(ask(&loader.reader().unwrap(), "SELECT id, value FROM t ORDER BY id"), expect.concat());
    }
}
