//! What is known of Redshift and was once believed otherwise: each test fails for a loader that
//! believes so. The emulator is as strict as the documentation and reports from clusters say.

use std::fs;
use std::process::Output;

use crate::common::Job;
use crate::world::{Loaded, World};

mod check;
mod text;

pub(crate) use text::narrow;

/// Events at 2026-01-01T00:00:00Z and after, in microseconds.
const AT: i64 = 1_767_225_600_000_000;

const JOB: &str = r#"
version = 1
name = "believed"

[source]
kind = "files"
path = "in"

[storage]
url = "memory:"

[warehouse]
url = "redshift://dev"

[redshift]
workgroup = "test"
iam-role = "default"
region = "us-east-1"
timeout = "30s"
# widths

[schema]
k = { type = "string", required = true }
g = "string"
v = "string"
amount = "decimal(9,2)"
at = { type = "timestamp_us", required = true }

[event-time]
field = "at"
delay = "1s"
max-ahead = "1d"

[upsert]
key = ["k"]

[[windows]]
name = "by_group"
size = "1m"
group-by = ["g"]

[windows.aggregates]
n = "count(*)"
# aggregates
"#;

/// A job that reads what [`write`] writes, and loads into a schema of its own.
pub(crate) fn job<'w>(world: &'w World, schema: &str) -> Loaded<'w> {
    world.loaded(
        Job::from_text(JOB).with_now("2026-01-02T00:00:00Z".to_owned()),
        schema,
    )
}

/// Replaces a piece of the configuration.
pub(crate) fn edit(job: &Loaded<'_>, from: &str, to: &str) {
    let path = job.job.path("tidegate.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in the configuration");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// One more file with these events, each some seconds after the one before.
pub(crate) fn write(job: &Loaded<'_>, name: &str, from_second: i64, events: &[String]) {
    fs::create_dir_all(job.input()).unwrap();
    let lines: Vec<String> = (from_second..)
        .zip(events)
        .map(|(second, event)| format!("{{{event},\"at\":{}}}\n", AT + second * 1_000_000))
        .collect();
    fs::write(job.input().join(name), lines.concat()).unwrap();
}

pub(crate) fn event(k: &str, g: &str, v: &str) -> String {
    format!("\"k\":{k:?},\"g\":{g:?},\"v\":{v:?}")
}

pub(crate) fn run(job: &Loaded<'_>) -> String {
    log(&job.output(&["run", "--until-caught-up"]))
}

/// Statements that failed so far.
pub(crate) fn failed(world: &World) -> Vec<String> {
    world
        .sql("SELECT query_text FROM redshift_emulator.sys_query_history WHERE status <> 'success'")
}

#[track_caller]
fn log(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{err}", output.status);
    err
}

/// One table, rejects and one window: as few statements as the Data API is to be asked for.
#[test]
fn a_load_of_a_table_rejects_and_a_window_has_15_statements() {
    let Some(world) = World::new(49) else { return };
    let job = job(&world, "counted").set("load.separate", true);
    let events = [event("a", "x", "y"), "\"g\":\"no key\"".to_owned()];
    write(&job, "1.jsonl", 0, &events);
    run(&job);
    let plan = job.done(&["load", "--dry-run"]);
    for piece in [
        "CREATE TEMP TABLE tidegate_stage_0 (",
        "\"k\" VARCHAR(64), \"g\" VARCHAR(64)",
        "COPY tidegate_stage_0 (",
        "INSERT INTO \"counted\".\"believed\"",
        "COPY \"counted\".\"rejected\" (",
        "INSERT INTO \"counted\".\"by_group__parts\"",
    ] {
        assert!(plan.contains(piece), "{piece} is not in:\n{plan}");
    }
    let statements = plan.lines().filter(|line| line.ends_with(';')).count();
    assert_eq!(statements, 15, "{plan}");
    assert!(plan.len() < 10_000, "{} bytes:\n{plan}", plan.len());
}

/// Files from before and after a change of six windows are more statements than a batch takes.
#[test]
fn commits_that_do_not_fit_into_one_batch_are_loaded_in_several() {
    let Some(world) = World::new(53) else { return };
    let job = job(&world, "many").set("load.separate", true);
    let more: String = (2..=6)
        .map(|n| {
            format!(
                "\n[[windows]]\nname = \"by_group_{n}\"\nsize = \"{n}m\"\ngroup-by = [\"g\"]\n\
                 [windows.aggregates]\nn = \"count(*)\"\n# aggregates\n"
            )
        })
        .collect();
    edit(&job, "# aggregates\n", &format!("# aggregates\n{more}"));
    let reject = "\"g\":\"no key\"".to_owned();
    write(&job, "1.jsonl", 0, &[event("a", "x", "y"), reject.clone()]);
    run(&job);
    let path = job.job.path("tidegate.toml");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text
        .replace("# aggregates", "total = \"sum(amount)\"")
        .replace("v = \"string\"", "v = \"string\"\nmore = \"string\"");
    fs::write(&path, changed).unwrap();
    write(&job, "2.jsonl", 3_600, &[event("b", "x", "y"), reject]);
    run(&job);
    let plan = job.done(&["load", "--dry-run"]);
    let statements = plan.lines().filter(|line| line.ends_with(';')).count();
    assert!(statements <= 40, "{plan}");
    let loads = job.done(&["load", "--once"]);
    assert!(!loads.starts_with("1 "), "it all fits: {loads}");
    job.check_ledger();
    assert_eq!(job.number("SELECT count(*) FROM believed"), 2);
    assert_eq!(job.number("SELECT count(*) FROM rejected"), 2);
    for window in ["by_group", "by_group_2", "by_group_6"] {
        let sum = format!("SELECT sum(n) FROM {window}");
        assert_eq!(job.number(&sum), 2, "{window}");
    }
    assert_eq!(failed(&world), [""; 0]);
}

/// What is taken out of the configuration stays in the tables, and what waits fills it.
#[test]
fn an_aggregate_a_group_and_a_field_are_removed_while_a_commit_with_them_waits() {
    let Some(world) = World::new(54) else { return };
    let job = job(&world, "waiting").set("load.separate", true);
    edit(&job, "# widths", "varchar = { more = 4 }");
    edit(&job, "[\"g\"]", "[\"g\", \"v\"]");
    edit(&job, "# aggregates", "total = \"sum(amount)\"");
    edit(
        &job,
        "v = \"string\"",
        "v = \"string\"\nmore = \"string\"\nmap = \"map<string,string>\"",
    );
    let full = |k: &str, v: &str| {
        format!(
            "{},\"amount\":2.5,\"more\":\"longer\",\"map\":{{\"a\":\"b\"}}",
            event(k, "x", v)
        )
    };
    write(&job, "1.jsonl", 0, &[full("a", "y")]);
    run(&job);
    job.done(&["load", "--once"]);
    write(&job, "2.jsonl", 100, &[full("b", "y"), full("c", "z")]);
    run(&job);
    edit(&job, "varchar = { more = 4 }", "");
    edit(&job, "[\"g\", \"v\"]", "[\"g\"]");
    edit(&job, "total = \"sum(amount)\"\n", "");
    edit(
        &job,
        "\nmore = \"string\"\nmap = \"map<string,string>\"",
        "",
    );
    write(&job, "3.jsonl", 200, &[event("d", "x", "y")]);
    run(&job);
    job.done(&["load", "--once"]);
    job.check_ledger();
    let rows = "SELECT k || ' ' || coalesce(more, '-') || ' ' || (map IS NOT NULL) FROM waiting.believed ORDER BY k";
    let rows = world.sql(rows);
    assert_eq!(
        rows,
        [
            "a longer true",
            "b longer true",
            "c longer true",
            "d - false"
        ]
    );
    let groups = world.sql("SELECT g || ' ' || n FROM waiting.by_group ORDER BY window_start");
    assert_eq!(groups, ["x 1", "x 2", "x 1"]);
    let parts = world.sql(
        "SELECT coalesce(v || ' ' || total, '-') FROM waiting.by_group__parts ORDER BY window_start, v",
    );
    assert_eq!(parts, ["y 2.50", "y 2.50", "z 2.50", "-"]);
}

#[test]
fn an_aggregate_changes_its_type_and_is_taken_out_and_put_back_with_another() {
    let Some(world) = World::new(46) else { return };
    let job = job(&world, "retyped");
    let aggregates = [
        "# aggregates",
        "total = \"sum(amount)\"\n# aggregates",
        "total = \"sum(cast(amount AS double))\"\n# aggregates",
        "# aggregates",
        "total = \"max(at)\"\n# aggregates",
        "# aggregates",
        "total = \"count(*)\"\n# aggregates",
    ];
    for (n, pair) in aggregates.windows(2).enumerate() {
        edit(&job, pair[0], pair[1]);
        let event = format!("{},\"amount\":2.5", event(&n.to_string(), "x", "y"));
        write(&job, &format!("{n}.jsonl"), 100 * n as i64, &[event]);
        run(&job);
    }
    let totals = world.sql("SELECT total FROM retyped.by_group ORDER BY window_start");
    assert_eq!(totals, ["NULL", "NULL", "NULL", "NULL", "NULL", "1"]);
    let kept = world.sql(
        "SELECT coalesce(total__old::text, total__old_2::text, total__old_3::text) FROM \
         retyped.by_group__parts ORDER BY window_start",
    );
    assert_eq!(
        kept,
        ["2.50", "2.5", "NULL", "2026-01-01 00:05:00", "NULL", "NULL"]
    );
}

#[test]
fn blanks_beyond_a_sized_width_are_not_lost() {
    let Some(world) = World::new(33) else { return };
    let job = job(&world, "blanks");
    edit(&job, "# widths", "varchar = { v = 4 }");
    write(&job, "1.jsonl", 0, &[event("a", "x", "b         ")]);
    run(&job);
    assert_eq!(job.number("SELECT octet_length(v) FROM believed"), 10);
    assert_eq!(failed(&world), [""; 0]);
}

#[test]
fn a_first_long_text_widens_its_column_without_a_statement_that_fails() {
    let Some(world) = World::new(50) else { return };
    let job = job(&world, "long");
    edit(&job, "# widths", "varchar = { v = 4 }");
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    run(&job);
    write(&job, "2.jsonl", 100, &[event("b", "x", &"ä".repeat(1_000))]);
    run(&job);
    assert_eq!(
        job.number("SELECT max(octet_length(v)) FROM believed"),
        2_000
    );
    assert_eq!(failed(&world), [""; 0]);
}

#[test]
fn a_key_with_many_blanks_at_its_end_is_one_key() {
    let Some(world) = World::new(34) else { return };
    let job = job(&world, "keys");
    let key = format!("a{}", " ".repeat(300));
    for n in 0..3 {
        let name = format!("{n}.jsonl");
        write(
            &job,
            &name,
            10 * n,
            &[event(&key, "x", "y"), event("a", "x", "y")],
        );
        run(&job);
    }
    assert_eq!(job.number("SELECT count(*) FROM believed"), 2);
}

#[test]
fn groups_that_differ_in_blanks_at_their_end_are_two() {
    let Some(world) = World::new(35) else { return };
    let job = job(&world, "groups");
    let events = [
        event("a", "x", "v"),
        event("b", "x ", "v"),
        event("c", "x", "v"),
    ];
    write(&job, "1.jsonl", 0, &events);
    run(&job);
    let groups = world
        .sql("SELECT octet_length(g) || ' ' || n FROM groups.by_group ORDER BY octet_length(g)");
    assert_eq!(groups, ["1 2", "2 1"]);
}

#[test]
fn aggregates_and_groups_of_a_window_change_and_change_back() {
    let Some(world) = World::new(36) else { return };
    let job = job(&world, "shapes");
    let aggregates = [
        "# aggregates",
        "total = \"sum(amount)\"\n# aggregates",
        "# aggregates",
        "least = \"min(amount)\"\ntotal = \"sum(amount)\"\n# aggregates",
        "# aggregates",
    ];
    for (n, pair) in aggregates.windows(2).enumerate() {
        write(
            &job,
            &format!("{n}.jsonl"),
            100 * n as i64,
            &[event(&n.to_string(), "x", "y")],
        );
        run(&job);
        edit(&job, pair[0], pair[1]);
    }
    edit(&job, "group-by = [\"g\"]", "group-by = [\"v\", \"g\"]");
    write(&job, "8.jsonl", 800, &[event("8", "x", "y")]);
    run(&job);
    assert_eq!(job.number("SELECT count(*) FROM by_group WHERE v = 'y'"), 1);
    edit(&job, "group-by = [\"v\", \"g\"]", "group-by = [\"g\"]");
    write(&job, "9.jsonl", 900, &[event("9", "x", "y")]);
    run(&job);
    assert_eq!(job.number("SELECT sum(n) FROM by_group"), 6);
}

#[test]
fn a_view_of_an_older_version_that_binds_its_columns_gives_way() {
    let Some(world) = World::new(37) else { return };
    let job = job(&world, "older");
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    run(&job);
    world.sql("DROP VIEW older.by_group; CREATE VIEW older.by_group AS SELECT g, n FROM older.by_group__parts");
    write(&job, "2.jsonl", 100, &[event("b", "x", "y")]);
    run(&job);
    assert_eq!(job.number("SELECT count(window_end) FROM by_group"), 2);
}

#[test]
fn a_view_that_cannot_be_made_stops_nothing_else() {
    let Some(world) = World::new(38) else { return };
    let job = job(&world, "blocked");
    world.sql("CREATE TABLE blocked.by_group (somebodys INTEGER)");
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    let err = run(&job);
    assert!(err.contains("cannot make a window's view"), "{err}");
    assert_eq!(job.number("SELECT count(*) FROM believed"), 1);
    assert_eq!(job.number("SELECT count(*) FROM by_group__parts"), 1);
}

#[test]
fn a_view_of_somebody_else_with_a_windows_name_is_left_as_it_is() {
    let Some(world) = World::new(55) else { return };
    let job = job(&world, "theirs");
    world.sql(
        "CREATE TABLE theirs.sales (x INTEGER); INSERT INTO theirs.sales VALUES (7); \
         CREATE VIEW theirs.by_group AS SELECT x FROM theirs.sales",
    );
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    let err = run(&job);
    assert!(err.contains("cannot make a window's view"), "{err}");
    assert_eq!(job.number("SELECT x FROM by_group"), 7);
    assert_eq!(job.number("SELECT count(*) FROM by_group__parts"), 1);
}

#[test]
fn a_window_that_ends_after_the_last_year_of_events_is_loaded() {
    let Some(world) = World::new(56) else { return };
    let job = job(&world, "last");
    edit(&job, "max-ahead = \"1d\"", "max-ahead = \"none\"");
    fs::create_dir_all(job.input()).unwrap();
    let line = |k: &str, at: i64| format!("{{{},\"at\":{at}}}\n", event(k, "x", "y"));
    let lines = line("a", AT) + &line("b", 253_402_300_799_999_999);
    fs::write(job.input().join("1.jsonl"), lines).unwrap();
    run(&job);
    job.check_ledger();
    assert_eq!(job.number("SELECT count(*) FROM believed"), 2);
    let ends = world.sql("SELECT window_end FROM last.by_group ORDER BY 1");
    assert_eq!(ends, ["2026-01-01 00:01:00", "10000-01-01 00:00:00"]);
}

#[test]
fn a_cluster_that_misreads_times_refuses_the_first_load_whole() {
    let Some(world) = World::new(39) else { return };
    let job = job(&world, "misread");
    world.sql("UPDATE redshift_emulator.settings SET misread_timestamps = true");
    write(&job, "1.jsonl", 0, &[event("a", "x", "y")]);
    let output = job.output(&["run", "--until-caught-up"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    for piece in ["1970-01-21", "2026-01-01 00:00:00", "Nothing was loaded"] {
        assert!(err.contains(piece), "{piece} is not in\n{err}");
    }
    assert_eq!(job.number("SELECT count(*) FROM believed"), 0);
    assert_eq!(job.number("SELECT count(*) FROM tidegate_ledger"), 0);
    world.sql("UPDATE redshift_emulator.settings SET misread_timestamps = false");
    run(&job);
    assert_eq!(job.number("SELECT count(*) FROM believed"), 1);
}

#[test]
fn a_cluster_that_misreads_times_refuses_a_first_load_of_rejects_alone() {
    let Some(world) = World::new(47) else { return };
    let job = job(&world, "misread_rejects");
    world.sql("UPDATE redshift_emulator.settings SET misread_timestamps = true");
    write(&job, "1.jsonl", 0, &["\"g\":\"no key\"".to_owned()]);
    let output = job.output(&["run", "--until-caught-up"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    for piece in ["1970-01-21", "2026-01-02 00:00:00", "Nothing was loaded"] {
        assert!(err.contains(piece), "{piece} is not in\n{err}");
    }
    assert_eq!(job.number("SELECT count(*) FROM rejected"), 0);
    assert_eq!(job.number("SELECT count(*) FROM tidegate_ledger"), 0);
    world.sql("UPDATE redshift_emulator.settings SET misread_timestamps = false");
    run(&job);
    assert_eq!(job.number("SELECT count(*) FROM rejected"), 1);
}

#[test]
fn int96_is_what_a_cluster_reads_that_misreads_other_times() {
    let Some(world) = World::new(48) else { return };
    let job = job(&world, "twelve");
    world.sql("UPDATE redshift_emulator.settings SET misread_timestamps = true");
    edit(&job, "# widths", "timestamps = \"int96\"");
    edit(
        &job,
        "v = \"string\"",
        "v = \"string\"\nold = \"timestamp_us\"",
    );
    let old = |k: &str, micros: i64| format!("{},\"old\":{micros}", event(k, "x", "y"));
    let events = [
        old("a", -62_135_596_800_000_000),
        old("b", 253_402_300_799_999_999),
        "\"g\":\"no key\"".to_owned(),
    ];
    write(&job, "1.jsonl", 0, &events);
    run(&job);
    // The state is rebuilt from such files, too: a repeat, and an update.
    write(&job, "2.jsonl", 0, &[old("a", -62_135_596_800_000_000)]);
    write(&job, "3.jsonl", 2, &[old("c", -1)]);
    run(&job);
    let times = world.sql("SELECT k || ' ' || to_char(old, 'YYYY-MM-DD HH24:MI:SS.US') FROM twelve.believed ORDER BY k");
    let expected = [
        "a 0001-01-01 00:00:00.000000",
        "b 9999-12-31 23:59:59.999999",
        "c 1969-12-31 23:59:59.999999",
    ];
    assert_eq!(times, expected);
    let windows = world
        .sql("SELECT to_char(window_start, 'YYYY-MM-DD HH24:MI') || ' ' || n FROM twelve.by_group");
    // What came in the second run is late: the first one has ended the window.
    assert_eq!(windows, ["2026-01-01 00:00 2"]);
    assert_eq!(
        job.number("SELECT count(*) FROM rejected WHERE rejected_at = '2026-01-02'"),
        1
    );
}
