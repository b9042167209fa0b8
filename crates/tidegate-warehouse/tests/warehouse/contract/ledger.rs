//! Each record is loaded once: what the ledger says is what the tables hold.

use tidegate_warehouse::{LoadFault, LoadRequest, LoaderError, LoaderOptions};

use super::{Place, World};
use crate::job::{Event, append_table, events_table};

super::on_each_warehouse! {
    the_same_records_are_not_loaded_twice,
    no_record_is_skipped,
    the_ledger_survives_and_the_loader_goes_on_behind_it,
    a_record_of_another_job_is_refused,
    a_log_that_was_replaced_is_noticed,
    the_log_must_reach_as_far_as_asked,
}

const COUNT: &str = "SELECT COUNT(*) FROM t";

fn three_commits(place: &Place) -> World<'_> {
    let mut world = place.world();
    for i in 0..3 {
        let events = [Event("a", i, 0, i, i as f64), Event("b", i, 0, i, i as f64)];
        world.job.commit("events", &events);
    }
    world
}

fn the_same_records_are_not_loaded_twice(place: &Place) {
    let world = three_commits(place);
    let mut warehouse = world.open(vec![append_table("t", "events")]);
    assert_eq!(warehouse.loaded_seq(), 0);
    assert_eq!(world.load(warehouse.as_mut(), 0..3).unwrap().rows, 4);
    assert_eq!(warehouse.loaded_seq(), 3);
    for again in [0..3, 2..4] {
        let error = world.load(warehouse.as_mut(), again).unwrap_err();
        assert!(
            matches!(error.fault, LoadFault::NotNext { ledger: 3 }),
            "{error}"
        );
        assert!(error.is_transient(), "the next try goes on after it");
    }
    assert_eq!(world.ask(COUNT), "4\n");
    assert_eq!(world.load(warehouse.as_mut(), 3..4).unwrap().rows, 2);
    assert_eq!(world.ask(COUNT), "6\n");
}

fn no_record_is_skipped(place: &Place) {
    let world = three_commits(place);
    let mut warehouse = world.open(vec![events_table()]);
    let error = world.load(warehouse.as_mut(), 1..3).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::NotNext { ledger: 0 }),
        "{error}"
    );
    let error = world.load(warehouse.as_mut(), 0..0).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::Gap { missing: 1 }),
        "{error}"
    );
    let mut records = world.job.records();
    records.remove(1);
    let request = LoadRequest {
        records: &records,
        storage: &world.job.storage,
        runtime: world.job.runtime.handle(),
        now: 0,
    };
    let error = warehouse.load(&request).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::Gap { missing: 2 }),
        "{error}"
    );
    assert_eq!(world.ask(COUNT), "0\n");
}

fn the_ledger_survives_and_the_loader_goes_on_behind_it(place: &Place) {
    let mut world = three_commits(place);
    let tables = || vec![append_table("t", "events")];
    drop(world.load_all(tables(), u64::MAX));
    world.job.commit("events", &[Event("c", 9, 0, 9, 9.0)]);
    let mut loader = world.loader(tables(), LoaderOptions::default());
    assert_eq!(loader.loaded_seq(), 4);
    assert_eq!(loader.tick().unwrap().load.unwrap().rows, 1);
    assert_eq!(loader.tick().unwrap().load, None);
    assert_eq!(world.ask(COUNT), "7\n");
}

fn a_record_of_another_job_is_refused(place: &Place) {
    let (world, mut other) = (three_commits(place), place.world());
    other.job.commit("events", &[Event("a", 1, 0, 0, 1.0)]);
    let mut warehouse = world.open(vec![events_table()]);
    let error = other.load(warehouse.as_mut(), 0..2).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::OtherJob { seq: 1, .. }),
        "{error}"
    );
    assert!(!error.is_transient());
    assert_eq!(world.load(warehouse.as_mut(), 0..4).unwrap().rows, 6);
}

fn a_log_that_was_replaced_is_noticed(place: &Place) {
    let world = three_commits(place);
    let mut warehouse = world.open(vec![events_table()]);
    world.load(warehouse.as_mut(), 0..2).unwrap();
    let mut records = world.job.records();
    records[2].prev_crc32c ^= 1;
    let request = LoadRequest {
        records: &records[2..3],
        storage: &world.job.storage,
        runtime: world.job.runtime.handle(),
        now: 0,
    };
    let error = warehouse.load(&request).unwrap_err();
    assert!(
        matches!(error.fault, LoadFault::OtherHistory { seq: 3 }),
        "{error}"
    );
    assert!(!error.is_transient());
}

fn the_log_must_reach_as_far_as_asked(place: &Place) {
    let world = three_commits(place);
    let mut loader = world.loader(vec![events_table()], LoaderOptions::default());
    let error = loader.catch_up(9).unwrap_err();
    let LoaderError::LogEnds { last_seq, to_seq } = error else {
        panic!("{error}")
    };
    assert_eq!((last_seq, to_seq), (4, 9));
}
