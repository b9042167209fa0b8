//! The latest row of each key wins, in whichever order rows arrive.

use std::time::Duration;

use tidegate_warehouse::{Reach, TableKind, TableSpec};

use super::Place;
use crate::job::{Event, events_table};

super::on_each_warehouse! {
    the_latest_wins_whichever_comes_first,
    ties_are_decided_by_partition_and_then_offset,
    a_late_row_is_upserted_like_any_other,
    a_row_that_comes_twice_is_there_once,
    within_its_reach_a_bounded_upsert_finds_the_row,
    what_is_out_of_reach_is_not_looked_for,
}

const ROWS: &str = "SELECT id, value FROM t ORDER BY id";

/// Loads batches of events, each in its own load or all in one, and expects these rows: key and
/// value.
fn check(place: &Place, batches: &[&[Event]], expect: &str) {
    place.in_loads_of_any_size(|mut world, rows_max| {
        for batch in batches {
            world.job.commit("events", batch);
        }
        world.load_all(vec![events_table()], rows_max);
        assert_eq!(world.ask(ROWS), expect, "loads of up to {rows_max} rows");
    });
}

fn the_latest_wins_whichever_comes_first(place: &Place) {
    let old = |id| Event(id, 1, 0, 0, 1.0);
    let new = |id| Event(id, 2, 0, 1, 2.0);
    check(
        place,
        &[
            &[old("a"), new("a"), new("b"), old("b")],
            &[old("c"), new("d")],
            &[new("c"), old("d")],
        ],
        "a,2\nb,2\nc,2\nd,2\n",
    );
}

fn ties_are_decided_by_partition_and_then_offset(place: &Place) {
    check(
        place,
        &[
            &[Event("a", 1, 0, 5, 1.0), Event("b", 1, 1, 0, 1.0)],
            &[Event("a", 1, 0, 7, 2.0), Event("b", 1, 0, 9, 2.0)],
            &[Event("a", 1, 0, 6, 3.0)],
        ],
        "a,2\nb,1\n",
    );
}

fn a_late_row_is_upserted_like_any_other(place: &Place) {
    let mut world = place.world();
    world.job.commit("events", &[Event("a", 10, 0, 0, 1.0)]);
    let late = [Event("a", 5, 0, 1, 2.0), Event("b", 4, 0, 2, 3.0)];
    world.job.commit("late", &late);
    world.load_all(vec![events_table()], u64::MAX);
    assert_eq!(world.ask(ROWS), "a,1\nb,3\n");
}

fn a_row_that_comes_twice_is_there_once(place: &Place) {
    let row = Event("a", 1, 0, 0, 1.0);
    let twice = [row.clone(), row.clone()];
    check(place, &[&twice, &[row]], "a,1\n");
}

/// The events' table, whose keys are looked for within a minute.
fn bounded() -> TableSpec {
    let TableKind::Upsert { key, order, .. } = events_table().kind else {
        unreachable!()
    };
    let reach = Some(Reach {
        column: "event_timestamp".into(),
        within: Duration::from_secs(60),
    });
    TableSpec {
        required: vec!["event_timestamp".into()],
        time: None,
        kind: TableKind::Upsert { key, order, reach },
        ..events_table()
    }
}

fn within_its_reach_a_bounded_upsert_finds_the_row(place: &Place) {
    let mut world = place.world();
    let first = [Event("a", 0, 0, 0, 1.0), Event("b", 0, 0, 1, 1.0)];
    let second = [Event("a", 60, 0, 2, 2.0), Event("z", 100_000, 0, 3, 0.0)];
    world.job.commit("events", &first);
    world.job.commit("events", &second);
    world.job.commit("events", &[Event("b", -60, 0, 4, 9.0)]);
    world.load_all(vec![bounded()], 1);
    assert_eq!(world.ask(ROWS), "a,2\nb,1\nz,0\n");
}

fn what_is_out_of_reach_is_not_looked_for(place: &Place) {
    let mut world = place.world();
    world.job.commit("events", &[Event("a", 0, 0, 0, 1.0)]);
    world.job.commit("events", &[Event("a", 61, 0, 1, 2.0)]);
    world.load_all(vec![bounded()], 1);
    let rows = world.ask("SELECT id, value FROM t ORDER BY value");
    assert_eq!(rows, "a,1\na,2\n", "as the configuration promises");
}
