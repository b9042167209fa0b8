//! The loader as a process of its own, and what it does to Redshift beside loading.

use std::fs;

use crate::compare::Reference;
use crate::world::{Loaded, World, write_input};

#[test]
fn a_loader_of_its_own_loads_what_a_pipeline_commits() {
    let Some(world) = World::new(11) else { return };
    let job = world.job("apart").set("load.separate", true);
    write_input(&job.job, 5_000, 2, 11);
    job.done(&["run", "--until-caught-up"]);
    let plan = job.done(&["load", "--dry-run"]);
    for piece in [
        "COPY tidegate_stage_0 (",
        "FORMAT AS PARQUET MANIFEST STATUPDATE OFF;",
        "content_length",
        "ROW_NUMBER()",
    ] {
        assert!(plan.contains(piece), "{piece} is not in:\n{plan}");
    }
    assert_eq!(
        job.number("SELECT count(*) FROM transactions"),
        0,
        "a dry run loads nothing"
    );
    job.done(&["load", "--once"]);
    job.check_ledger();
    assert_eq!(job.done(&["load", "--once"]), "0 loads, 0 rows\n");
    assert_eq!(
        job.done(&["load", "--dry-run"]),
        "nothing is left to load\n"
    );
    Reference::over(&job.input()).check(&world, &job.schema);
}

#[test]
fn analyze_and_vacuum_happen_on_schedule() {
    let Some(world) = World::new(12) else { return };
    let mut job = world
        .job("kept")
        .set("load.analyze-every", "1s")
        .set("load.vacuum-every", "1s");
    write_input(&job.job, 1_000, 1, 12);
    job.done(&["run", "--until-caught-up"]);
    let done = |job: &Loaded<'_>, action: &str| {
        job.number(&format!(
            "SELECT max(times) FROM tidegate_maintenance WHERE action = '{action}'"
        ))
    };
    // What was never done is due with the first load.
    assert_eq!((done(&job, "analyze"), done(&job, "vacuum")), (1, 1));
    for seen in ["sys_vacuum_history", "sys_analyze_history"] {
        let rows = job.number(&format!(
            "SELECT count(*) FROM redshift_emulator.{seen} WHERE table_name = 'transactions'"
        ));
        assert!(rows > 0, "Redshift has not seen it in {seen}");
    }
    write_more(&job.input(), "more.jsonl");
    // Two seconds after `NOW`.
    job.job = job.job.with_now("2026-03-02T12:00:02Z".to_owned());
    job.done(&["run", "--until-caught-up"]);
    assert_eq!((done(&job, "analyze"), done(&job, "vacuum")), (2, 2));
}

#[test]
fn a_schema_that_has_grown_becomes_columns_and_another_type_is_refused_with_the_sql() {
    let Some(world) = World::new(13) else { return };
    let job = world.job("grows");
    write_input(&job.job, 1_000, 1, 13);
    job.done(&["run", "--until-caught-up"]);
    let config = job.job.path("tidegate.toml");
    let before = fs::read_to_string(&config).unwrap();
    let more = before
        .replace("[enrich]\n", "[enrich]\nis_large = \"amount > 900\"\n")
        .replace(
            "category = \"string\"\n",
            "category = \"string\"\nchannel = \"string\"\n",
        );
    fs::write(&config, more).unwrap();
    write_more(&job.input(), "more.jsonl");
    job.done(&["run", "--until-caught-up"]);
    assert_eq!(
        job.number("SELECT count(*) FROM transactions WHERE is_large"),
        1
    );
    assert_eq!(
        job.number("SELECT count(*) FROM transactions WHERE channel = 'web'"),
        1
    );
    assert!(job.number("SELECT count(*) FROM transactions WHERE channel IS NULL") > 500);

    fs::write(
        &config,
        before.replace("hour_of_day(event_timestamp)", "event_timestamp"),
    )
    .unwrap();
    let output = job.output(&["load", "--once"]);
    assert_eq!(output.status.code(), Some(78));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        err.contains("hour_of_day") && err.contains("ADD COLUMN"),
        "{err}"
    );
}

#[test]
fn a_file_that_is_gone_stops_the_load_and_not_the_pipeline() {
    let Some(world) = World::new(14) else { return };
    let job = world.job("broken").set("load.separate", true);
    write_input(&job.job, 1_000, 1, 14);
    job.done(&["run", "--until-caught-up"]);
    let folder = world.s3().folder().join("broken/data/events");
    let file = first_file(&folder);
    fs::remove_file(&file).unwrap();
    let output = job.output(&["load", "--once"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{err}");
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(err.contains(&name) && err.contains("is missing"), "{err}");
    job.done(&["run", "--until-caught-up"]);
}

#[test]
fn a_column_of_another_type_stops_the_load_and_names_file_and_column() {
    let Some(world) = World::new(15) else { return };
    let job = world.job("retyped").set("load.separate", true);
    write_input(&job.job, 1_000, 1, 15);
    job.done(&["run", "--until-caught-up"]);
    // Nothing is loaded yet, so that the table is made with the new type, and the files have the
    // old one.
    let config = job.job.path("tidegate.toml");
    let text = fs::read_to_string(&config).unwrap();
    let retyped = text.replace(
        "hour_of_day = \"hour_of_day(event_timestamp)\"",
        "hour_of_day = \"cast(hour_of_day(event_timestamp) AS varchar)\"",
    );
    assert_ne!(text, retyped);
    fs::write(&config, retyped).unwrap();
    let output = job.output(&["load", "--once"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    for piece in [
        "copy files for the table `transactions`",
        ".parquet",
        "hour_of_day",
    ] {
        assert!(err.contains(piece), "{piece} is not in:\n{err}");
    }
    assert_eq!(job.number("SELECT max(loaded_seq) FROM tidegate_job"), 0);
}

fn write_more(input: &std::path::Path, name: &str) {
    let line = r#"{"transaction_id":"TXN_910000000_0001","customer_id":"CUST_000001","amount":950.0,"currency":"EUR","status":"PENDING","channel":"web","timestamp":"2026-03-02T11:30:00+00:00"}"#;
    fs::write(input.join(name), line).unwrap();
}

fn first_file(folder: &std::path::Path) -> std::path::PathBuf {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    match entries.into_iter().next() {
        Some(path) if path.is_dir() => first_file(&path),
        Some(path) => path,
        None => panic!("nothing in {}", folder.display()),
    }
}
