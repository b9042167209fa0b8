//! Whatever the rows, batches and loads: the table is what a map says that keeps the latest.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::Place;
use super::keys::{Row, batch, table};
use crate::job::{Event, events_table};

super::on_each_warehouse! {
    the_table_equals_a_map_of_the_latest,
    the_table_equals_a_map_of_the_latest_with_nulls_anywhere,
}

/// Key, time and partition of an event.
type Occurrence = (usize, i64, i32);

/// Key and order of a row.
type KeyAndOrder = (Option<&'static str>, Option<i64>, Option<i64>, Option<i64>);

/// Some differ in nothing but blanks.
const KEYS: [&str; 6] = ["a", "a ", " a", "", " ", "b"];

fn runner(place: &Place) -> TestRunner {
    TestRunner::new(ProptestConfig::with_cases(place.cases()))
}

/// Cuts `rows` into pieces as long as `cuts` says, over and over.
fn pieces<'a, T>(mut rows: &'a [T], cuts: &[usize]) -> Vec<&'a [T]> {
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if rows.is_empty() {
            break;
        }
        let (piece, rest) = rows.split_at((*cut).min(rows.len()));
        pieces.push(piece);
        rows = rest;
    }
    pieces
}

fn the_table_equals_a_map_of_the_latest(place: &Place) {
    let strategy = (
        prop::collection::vec((0usize..6, 0i64..4, 0i32..2), 1..60),
        prop::collection::vec(1usize..12, 1..10),
        1u64..40,
        any::<bool>(),
    );
    let test = |(rows, cuts, rows_max, late): (Vec<Occurrence>, Vec<usize>, u64, bool)| {
        let event = |(offset, (key, at, partition)): (usize, &Occurrence)| {
            Event(KEYS[*key], *at, *partition, offset as i64, offset as f64)
        };
        let events: Vec<Event> = rows.iter().enumerate().map(event).collect();
        let mut latest: HashMap<&str, &Event> = HashMap::new();
        for event in &events {
            let best = latest.entry(event.0).or_insert(event);
            if (event.1, event.2, event.3) > (best.1, best.2, best.3) {
                *best = event;
            }
        }
        let mut world = place.world();
        for (number, piece) in pieces(&events, &cuts).into_iter().enumerate() {
            let dataset = if late && number % 3 == 2 {
                "late"
            } else {
                "events"
            };
            world.job.commit(dataset, piece);
        }
        let options = tidegate_warehouse::LoaderOptions {
            rows_max,
            ..Default::default()
        };
        let mut loader = world.loader(vec![events_table()], options);
        let caught_up = loader.catch_up(world.job.last_seq()).unwrap();
        prop_assert_eq!(caught_up.rows, events.len() as u64);
        prop_assert_eq!(caught_up.inserted, latest.len() as u64);
        prop_assert_eq!(caught_up.updates, (events.len() - latest.len()) as u64);
        let line = |event: &&Event| format!("<{}>,{}", event.0, event.4);
        let mut expect: Vec<String> = latest.values().map(line).collect();
        expect.sort();
        let rows = world.ask("SELECT '<' || id || '>', value FROM t");
        let mut rows: Vec<&str> = rows.lines().collect();
        rows.sort_unstable();
        prop_assert_eq!(rows, expect);
        Ok(())
    };
    runner(place).run(&strategy, test).unwrap();
}

fn the_table_equals_a_map_of_the_latest_with_nulls_anywhere(place: &Place) {
    let maybe = || prop::option::of(-1i64..2);
    let word = prop::option::of(prop::sample::select(vec!["", " ", "a", "a ", "A"]));
    let row = (word, maybe(), maybe(), maybe());
    let strategy = (
        prop::collection::vec(row, 1..60),
        prop::collection::vec(1usize..12, 1..10),
        1u64..40,
    );
    let runner = &mut runner(place);
    let test = |(rows, cuts, rows_max): (Vec<KeyAndOrder>, Vec<usize>, u64)| {
        let mut latest: HashMap<(Option<&str>, Option<i64>), Row<'_>> = HashMap::new();
        let mut all: Vec<Row<'_>> = Vec::new();
        for (word, part, first, second) in rows {
            // A row's value follows from the rest: of two rows that tie, either can win.
            let value = first.unwrap_or(9) * 100 + second.unwrap_or(9);
            let row: Row<'_> = (word, part, first, second, value);
            all.push(row);
            let best = latest.entry((word, part)).or_insert(row);
            if (first, second) > (best.2, best.3) {
                *best = row;
            }
        }
        let mut world = place.world();
        for piece in pieces(&all, &cuts) {
            let file = world.job.file("events", &batch(piece));
            world.job.commit_with(vec![file], &[], &[]);
        }
        world.load_all(vec![table()], rows_max);
        let text = |value: Option<i64>| value.map_or(String::new(), |value| value.to_string());
        let mut expect: Vec<String> = latest
            .values()
            .map(|row| {
                let word = row.0.map_or("-".to_owned(), |word| format!("<{word}>"));
                format!("{word},{},{}", text(row.1), row.4)
            })
            .collect();
        expect.sort();
        let sql = "SELECT CASE WHEN word IS NULL THEN '-' ELSE '<' || word || '>' END, part, value FROM t";
        let rows = world.ask(sql);
        let mut rows: Vec<&str> = rows.lines().collect();
        rows.sort_unstable();
        prop_assert_eq!(rows, expect);
        Ok(())
    };
    runner.run(&strategy, test).unwrap();
}
