//! Columns that come and go, and those that views keep as narrow as they are.

use crate::beliefs::{edit, event, failed, job, narrow, run, write};
use crate::world::World;

/// What was taken out of the configuration before a load saw it is loaded, and nobody is asked to
/// put it back.
#[test]
fn what_was_added_and_removed_before_any_load_is_loaded_all_the_same() {
    let Some(world) = World::new(60) else { return };
    let job = job(&world, "unseen").set("load.separate", true);
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    run(&job);
    job.done(&["load", "--once"]);
    edit(&job, "[\"g\"]", "[\"g\", \"v\"]");
    edit(&job, "# aggregates", "total = \"sum(amount)\"");
    let more = "v = \"string\"\nmore = \"string\"\nnumber = \"int64\"";
    edit(&job, "v = \"string\"", more);
    let full = format!(
        "{},\"amount\":2.5,\"more\":\"longer\",\"number\":7",
        event("b", "x", "y")
    );
    write(&job, "2.jsonl", 100, &[full]);
    run(&job);
    edit(&job, more, "v = \"string\"");
    edit(&job, "total = \"sum(amount)\"", "# aggregates");
    edit(&job, "[\"g\", \"v\"]", "[\"g\"]");
    write(&job, "3.jsonl", 200, &[event("c", "x", "y")]);
    run(&job);
    // It shows what it would load, and adds nothing for that.
    let plan = job.done(&["load", "--dry-run"]);
    assert!(plan.contains("\"more\", \"number\""), "{plan}");
    let added = "SELECT count(*) FROM redshift_emulator.svv_columns WHERE table_schema = 'unseen' \
                 AND table_name = 'believed' AND column_name IN ('more', 'number')";
    assert_eq!(job.number(added), 0);
    job.done(&["load", "--once"]);
    assert_eq!(job.number(added), 2);
    job.check_ledger();
    let rows = "SELECT k || ' ' || coalesce(more, '-') || ' ' || coalesce(number::text, '-') \
                FROM unseen.believed ORDER BY k";
    assert_eq!(world.sql(rows), ["a - -", "b longer 7", "c - -"]);
    let groups = world.sql("SELECT g || ' ' || n FROM unseen.by_group ORDER BY window_start");
    assert_eq!(groups, ["x 1", "x 1", "x 1"]);
    assert_eq!(failed(&world), [""; 0]);
}

#[test]
fn views_are_named_in_an_order_in_which_they_can_be_dropped() {
    let Some(world) = World::new(61) else { return };
    let job = job(&world, "stacked");
    edit(&job, "# widths", "varchar = { v = 8 }");
    write(&job, "1.jsonl", 0, &[event("a", "x", "12345678")]);
    run(&job);
    // By their names, those that others use come first.
    world.sql(
        "CREATE VIEW stacked.report_1 AS SELECT v FROM stacked.believed; \
         CREATE VIEW stacked.report_2 AS SELECT v FROM stacked.report_1; \
         CREATE VIEW stacked.report_3 AS SELECT a.v FROM stacked.report_1 AS a, stacked.report_2 AS b, \
         stacked.believed AS c",
    );
    write(&job, "2.jsonl", 100, &[event("b", "x", "123456789")]);
    let err = run(&job);
    let (_, after) = err.split_once("Run `").expect("statements to run");
    let (statements, _) = after.split_once('`').unwrap();
    let drops: Vec<&str> = statements.split_inclusive(';').map(str::trim).collect();
    let (alter, drops) = drops.split_last().unwrap();
    assert!(
        alter.starts_with("ALTER TABLE \"stacked\".\"believed\" "),
        "{alter}"
    );
    assert_eq!(drops.len(), 3, "{statements}");
    for drop in drops {
        assert!(drop.starts_with("DROP VIEW "), "{drop}");
        world.sql(drop);
    }
    write(&job, "3.jsonl", 200, &[event("c", "x", "123456789")]);
    run(&job);
    let values = world.sql("SELECT v FROM stacked.believed ORDER BY k");
    assert_eq!(values, ["12345678", "123456789"]);
}

#[test]
fn a_reject_that_was_cut_when_it_was_written_says_so_once() {
    let Some(world) = World::new(62) else { return };
    let job = job(&world, "twice");
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    run(&job);
    narrow(&world, "twice", "rejected", &["payload"]);
    let long = format!("\"g\":\"{}\"", "x".repeat(70_000));
    write(&job, "2.jsonl", 100, &[long, "\"g\":\"no key\"".to_owned()]);
    run(&job);
    let encodings = world.sql("SELECT payload_encoding FROM twice.rejected");
    assert_eq!(encodings, ["utf8,cut", "utf8,cut"]);
}
