//! What is taken out of the configuration before it was loaded: it is in the warehouse as if it had
//! been loaded before.

use duckdb::Connection;

use crate::changed::{catch_up, orders, write};
use crate::check;
use crate::common::Job;
use crate::job::check_whole;

/// What a job has at first, beside [`orders`]: an enrichment, a window of it, more aggregates, and
/// another order of groups.
const MORE: &str = r#"
[enrich]
band = "CASE WHEN amount < 50 THEN 'small' ELSE 'large' END"
[[windows]]
name = "by_band"
size = "1m"
group-by = ["band"]
[windows.aggregates]
n = "count(*)"
first = "min(at)"
"#;

/// A step in the life of a job.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// The next file is there, and is committed.
    Commit,
    /// The same, loaded in the same process with what waits.
    CommitAndLoad,
    /// A process of its own loads what waits.
    Load,
    /// What was there at first is taken out of the configuration.
    TakeOut,
}
use Step::{Commit, CommitAndLoad, Load, TakeOut};

/// A job that has gone these steps.
fn after(steps: &[Step]) -> Job {
    let mut job = orders();
    let plain = std::fs::read_to_string(job.path("tidegate.toml")).unwrap();
    let full = plain
        .replace("[\"shop\"]", "[\"amount\", \"shop\"]")
        .replace(
            "n = \"count(*)\"",
            "n = \"count(*)\"\ntotal = \"sum(amount)\"\nmean = \"avg(cast(amount AS double))\"",
        );
    std::fs::write(job.path("tidegate.toml"), full + MORE).unwrap();
    let mut files = 0;
    for step in steps {
        job.change("load.separate", *step != CommitAndLoad);
        match step {
            Commit | CommitAndLoad => {
                let from = files * 3000;
                files += 1;
                write(&job, &format!("{files}.ndjson"), from..from + 3000);
                catch_up(&job);
            }
            Load => {
                let output = job.output(&["load", "--once"]);
                check(&output, 0, &[]);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(!said.contains("not loaded"), "{said}");
            }
            TakeOut => {
                let plain = plain.replace("amount = \"int64\"\n", "");
                std::fs::write(job.path("tidegate.toml"), plain).unwrap();
            }
        }
    }
    check_whole(&job);
    job
}

/// All rows of a table or view, with its columns by their names.
fn rows(job: &Job, table: &str) -> Vec<String> {
    let connection = Connection::open(job.path("warehouse.duckdb")).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let columns = texts(&format!(
        "SELECT '\"' || column_name || '\"' FROM information_schema.columns WHERE table_name = '{table}' ORDER BY 1"
    ));
    assert!(!columns.is_empty(), "there is no {table}");
    texts(&format!(
        "SELECT CAST(line AS VARCHAR) FROM (SELECT {} FROM {table}) AS line ORDER BY 1",
        columns.join(", ")
    ))
}

#[test]
fn what_was_taken_out_before_it_was_loaded_is_there_as_if_it_had_been_loaded_before() {
    let before = after(&[Commit, Load, TakeOut, Commit, Load]);
    let orders = rows(&before, "orders");
    assert_eq!(orders.len(), 6000);
    let full = |rows: &[String], text: &str| rows.iter().filter(|row| row.contains(text)).count();
    assert_eq!(full(&orders, "'band': NULL"), 3000);
    let parts = rows(&before, "by_shop__parts");
    assert!(full(&parts, "'total': NULL") < parts.len(), "{}", parts[0]);
    for (waits, steps) in [
        ("for a loader", &[Commit, TakeOut, Commit, Load][..]),
        (
            "while nothing is committed by the new configuration",
            &[Commit, TakeOut, Load, Commit, Load][..],
        ),
        (
            "for a run that loads",
            &[Commit, TakeOut, CommitAndLoad][..],
        ),
    ] {
        let after = after(steps);
        for table in [
            "orders",
            "by_shop__parts",
            "by_shop",
            "by_band__parts",
            "by_band",
        ] {
            assert_eq!(
                rows(&after, table),
                rows(&before, table),
                "{waits}: {table}"
            );
        }
    }
}

/// It finds columns and a window in the log that its own configuration does not have yet.
#[test]
fn a_loader_with_an_older_configuration_leaves_nothing_out() {
    let plain_first = |loads: &[&str]| {
        let job = orders().set("load.separate", true);
        let path = job.path("tidegate.toml");
        let plain = std::fs::read_to_string(&path).unwrap();
        let full = plain.replace(
            "n = \"count(*)\"",
            "n = \"count(*)\"\ntotal = \"sum(amount)\"",
        ) + MORE;
        write(&job, "1.ndjson", 0..3000);
        catch_up(&job);
        check(&job.output(&["load", "--once"]), 0, &[]);
        std::fs::write(&path, &full).unwrap();
        write(&job, "2.ndjson", 3000..6000);
        catch_up(&job);
        for loads in loads {
            let config = if *loads == "older" { &plain } else { &full };
            std::fs::write(&path, config).unwrap();
            check(&job.output(&["load", "--once"]), 0, &[]);
        }
        job
    };
    let newer = plain_first(&["newer"]);
    let older = plain_first(&["older", "newer"]);
    for table in ["orders", "by_shop__parts", "by_shop", "by_band"] {
        assert_eq!(rows(&older, table), rows(&newer, table), "{table}");
    }
}
