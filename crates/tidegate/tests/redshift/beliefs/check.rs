//! `tidegate redshift check`: what it finds, and what it leaves.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn the_check_of_a_redshift_finds_nothing_different_and_leaves_nothing() {
    let Some(world) = World::new(40) else { return };
    let job = job(&world, "checked");
    let before =
        world.sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'checked'::regnamespace");
    let text = job.done(&["redshift", "check"]);
    assert!(text.ends_with(" 0 different\n"), "{text}");
    assert!(text.lines().count() > 30, "{text}");
    let tables = "SELECT relname FROM pg_class WHERE relnamespace = 'checked'::regnamespace \
                  AND relkind IN ('r', 'v') ORDER BY 1";
    let nothing: Vec<String> = Vec::new();
    assert_eq!((before, world.sql(tables)), (vec!["0".to_owned()], nothing));
    assert_eq!(files_below(&world.s3().folder().join("checked")), 0);
    // What a job has made is there afterwards, without rows of the check.
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    run(&job);
    let made = world.sql(tables);
    let json = job.done(&["redshift", "check", "--format", "json"]);
    assert_eq!(world.sql(tables), made);
    for table in ["job", "ledger", "watermarks"] {
        let jobs = format!("SELECT count(DISTINCT job) FROM tidegate_{table}");
        assert_eq!(job.number(&jobs), 1, "{table}");
    }
    for line in json.lines() {
        let outcome: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(outcome["as_believed"], true, "{outcome}");
    }
}

/// Redshift folds the schema's name, so that it is the same one.
#[test]
fn the_check_of_a_schema_written_with_a_capital_leaves_its_job_whole() {
    let Some(world) = World::new(51) else { return };
    let job = job(&world, "folded");
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    run(&job);
    let job = job.set("warehouse.url", "redshift://dev/Folded");
    let text = job.done(&["redshift", "check"]);
    assert!(text.ends_with(" 0 different\n"), "{text}");
    for table in ["job", "ledger", "watermarks"] {
        let jobs = format!("SELECT count(DISTINCT job) FROM tidegate_{table}");
        assert_eq!(job.number(&jobs), 1, "{table}");
    }
    write(&job, "2.jsonl", 100, &[event("b", "x", "y")]);
    run(&job);
    assert_eq!(job.number("SELECT count(*) FROM believed"), 2);
    assert_eq!(job.number("SELECT sum(n) FROM by_group"), 2);
    job.check_ledger();
}

#[test]
fn the_check_leaves_the_tables_that_a_job_has_begun_to_use_meanwhile() {
    let Some(world) = World::new(52) else { return };
    let job = job(&world, "meanwhile");
    let mut check = job.start(&["redshift", "check"]);
    let founded = "SELECT (to_regclass('meanwhile.tidegate_job') IS NOT NULL)::int";
    while world.sql(founded) != ["1"] {
        assert!(check.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    world.sql(
        "INSERT INTO meanwhile.tidegate_job (job, format, created_at, loaded_seq, loaded_crc32c) \
         VALUES ('other', 1, '2026-01-01', 0, 0)",
    );
    assert!(check.wait().unwrap().success());
    let jobs = world.sql("SELECT job FROM meanwhile.tidegate_job");
    assert_eq!(jobs, ["other"]);
    assert_eq!(job.number("SELECT count(*) FROM tidegate_ledger"), 0);
}

#[test]
fn the_check_removes_what_it_made_when_it_is_stopped() {
    for (seed, schema, signal, code) in [(57, "ended", "-TERM", 143), (58, "broken", "-INT", 130)] {
        let Some(world) = World::new(seed) else {
            return;
        };
        let job = job(&world, schema);
        let mut check = job.start(&["redshift", "check"]);
        let begun = format!(
            "SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relname LIKE 'check%'"
        );
        while world.sql(&begun) == ["0"] {
            assert!(check.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        let killed = Command::new("kill")
            .args([signal, &check.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        assert_eq!(check.wait().unwrap().code(), Some(code));
        let left =
            format!("SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace");
        assert_eq!(world.sql(&left), ["0"]);
        assert_eq!(files_below(&world.s3().folder().join(schema)), 0);
    }
}

#[test]
fn the_check_says_first_that_there_is_no_schema_or_no_storage() {
    let Some(world) = World::new(59) else { return };
    for (key, value, said) in [
        (
            "warehouse.url",
            "redshift://dev/nowhere",
            "no schema `nowhere`",
        ),
        (
            "storage.endpoint",
            "http://127.0.0.1:1",
            "cannot write to the storage",
        ),
    ] {
        let job = job(&world, "absent").set(key, value);
        let started = Instant::now();
        let output = job.output(&["redshift", "check"]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{err}");
        assert!(err.contains(said), "{err}");
        assert!(output.stdout.is_empty(), "nothing was asked: {output:?}");
        assert!(started.elapsed() < Duration::from_secs(45), "{err}");
    }
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'absent'::regnamespace";
    assert_eq!(world.sql(tables), ["0"]);
}

#[test]
fn the_check_tells_a_redshift_that_is_different() {
    let Some(world) = World::new(41) else { return };
    let job = job(&world, "strange");
    world.sql("UPDATE redshift_emulator.settings SET misread_timestamps = true");
    let output = job.output(&["redshift", "check"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("DIFFERENT    a load, with a reject"),
        "{text}"
    );
    assert!(text.contains("1970-01-21"), "{text}");
}

/// How many files there are; folders without any do not count.
fn files_below(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}
