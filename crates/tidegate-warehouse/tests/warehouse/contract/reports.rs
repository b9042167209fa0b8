//! What a load tells about itself.

use tidegate_warehouse::LoaderOptions;

use super::Place;
use crate::job::{Event, append_table, events_table};

super::on_each_warehouse! {
    a_report_tells_new_keys_from_updates,
    a_report_has_each_table,
    rows_of_a_dataset_without_a_table_are_told,
}

fn a_report_tells_new_keys_from_updates(place: &Place) {
    let mut world = place.world();
    let a_and_b = [
        Event("a", 1, 0, 0, 1.0),
        Event("b", 1, 0, 1, 1.0),
        Event("a", 2, 0, 2, 2.0),
    ];
    world.job.commit("events", &a_and_b);
    let mut loader = world.loader(vec![events_table()], LoaderOptions::default());
    let first = loader.tick().unwrap().load.unwrap();
    assert_eq!((first.first_seq, first.last_seq, first.files), (1, 2, 1));
    assert_eq!((first.rows, first.inserted), (3, 2));
    assert_eq!((first.updates, first.superseded), (1, 1));
    let b_old_a_and_c = [
        Event("b", 2, 0, 3, 2.0),
        Event("a", 1, 0, 4, 9.0),
        Event("c", 1, 0, 5, 1.0),
    ];
    world.job.commit("events", &b_old_a_and_c);
    let second = loader.tick().unwrap().load.unwrap();
    assert_eq!((second.first_seq, second.last_seq, second.files), (3, 3, 1));
    assert_eq!((second.rows, second.inserted), (3, 1));
    assert_eq!((second.updates, second.superseded), (2, 1));
    assert_eq!(
        world.ask("SELECT id, value FROM t ORDER BY id"),
        "a,2\nb,2\nc,1\n"
    );
    assert_eq!(
        world.ask("SELECT first_seq, last_seq, rows FROM tidegate_ledger ORDER BY 1"),
        "1,2,3\n3,3,3\n"
    );
}

fn a_report_has_each_table(place: &Place) {
    let mut world = place.world();
    let events = [Event("a", 1, 0, 0, 1.0), Event("a", 2, 0, 1, 2.0)];
    world.job.commit("events", &events);
    world.job.commit("rejected", &events);
    world.job.commit("rejected", &events);
    let tables = vec![events_table(), append_table("rejected", "rejected")];
    let mut warehouse = world.open(tables);
    let report = world.load(warehouse.as_mut(), 0..4).unwrap();
    assert_eq!((report.rows, report.inserted, report.files), (6, 5, 3));
    let of = |table: &str| {
        let table = report.tables[table];
        (table.rows, table.inserted, table.updates, table.superseded)
    };
    assert_eq!(of("t"), (2, 1, 1, 1));
    assert_eq!(of("rejected"), (4, 4, 0, 0));
    assert_eq!(report.tables.len(), 2);
}

fn rows_of_a_dataset_without_a_table_are_told(place: &Place) {
    let mut world = place.world();
    let rejected = [Event("a", 1, 0, 0, 1.0), Event("b", 1, 0, 1, 1.0)];
    world.job.commit("rejected", &rejected);
    let mut loader = world.loader(vec![events_table()], LoaderOptions::default());
    let load = loader.tick().unwrap().load.unwrap();
    assert_eq!(load.without_table.get("rejected"), Some(&2));
    assert_eq!((load.rows, loader.loaded_seq()), (0, 2));
}
