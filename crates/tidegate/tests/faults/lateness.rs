//! Clocks that are wrong, and files that hold the same hours.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::common::Job;
use crate::job::shops;

fn line(id: usize, shop: &str, minute: usize) -> String {
    let (day, hour, minute) = (
        2 + (5 + minute / 60) / 24,
        (5 + minute / 60) % 24,
        minute % 60,
    );
    format!(r#"{{"id":{id},"shop":"{shop}","at":"2026-03-{day:02}T{hour:02}:{minute:02}:00Z"}}"#)
        + "\n"
}

fn query(job: &Job, sql: &str) -> Vec<Value> {
    let output = job.output(&["query", "--format", "json", sql]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs to the end; the summary's status, and what was said.
fn run(job: &Job) -> (Value, String) {
    let output = job.output(&["run", "--summary", "json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    (report["summary"]["status"].clone(), said)
}

const SHOPS: [&str; 3] = ["berlin", "london", "paris"];

/// A file a shop, of the same three hours; the last one begins with lines that are none, and
/// repeats all of the first.
fn write_shops(job: &Job) {
    for (n, shop) in SHOPS.iter().enumerate() {
        let mut text = String::new();
        if n == 2 {
            text += "\nno event\n";
        }
        for minute in (0..180).step_by(2) {
            text += &line(1000 * n + minute, shop, minute);
            if n == 2 {
                text += &line(minute, SHOPS[0], minute);
            }
        }
        fs::write(job.path("in").join(format!("{shop}.ndjson")), text).unwrap();
    }
}

fn check_shops(job: &Job) {
    let windows = query(
        job,
        "SELECT shop, hour(window_start) AS hour, n FROM hourly ORDER BY ALL",
    );
    let found: Vec<String> = windows.iter().map(ToString::to_string).collect();
    let mut expected = Vec::new();
    for shop in SHOPS {
        for hour in 5..8 {
            expected.push(serde_json::json!({"shop": shop, "hour": hour, "n": 30}).to_string());
        }
    }
    assert_eq!(found, expected);
    let rows = query(
        job,
        "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM shops",
    );
    assert_eq!(rows[0], serde_json::json!({"n": 270, "ids": 270}));
}

#[test]
fn files_of_the_same_hours_do_not_make_each_other_late() {
    let job = shops();
    write_shops(&job);
    let (status, said) = run(&job);
    assert_eq!(
        (&status["events"], &status["late"], &status["duplicates"]),
        (&270.into(), &0.into(), &90.into())
    );
    assert!(!said.contains("events are late"), "{said}");
    check_shops(&job);
}

#[test]
fn files_of_one_hour_after_the_other_close_their_windows_on_the_way() {
    let job = shops().set("batch.max-rows", 1);
    let mut id = 0;
    for hour in 0..5 {
        let mut text = String::new();
        for minute in 0..60 {
            id += 1;
            text += &line(id, "berlin", 60 * hour + minute);
        }
        fs::write(job.path("in").join(format!("{hour}.ndjson")), text).unwrap();
    }
    let (status, _) = run(&job);
    assert_eq!(
        (&status["events"], &status["late"]),
        (&300.into(), &0.into())
    );
    let (_, records) = crate::job::log(&job);
    let with_windows = records.iter().filter(|record| {
        record
            .files
            .iter()
            .any(|file| file.dataset == "window:hourly")
    });
    assert!(
        with_windows.count() >= 5,
        "the state does not keep all of them"
    );
}

#[test]
fn an_event_far_ahead_is_rejected_and_makes_nothing_late() {
    let job = shops();
    let mut text = line(0, "berlin", 23 * 60);
    for minute in 0..180 {
        text += &line(1 + minute, "berlin", minute).repeat(2);
    }
    fs::write(job.path("in").join("a.ndjson"), text).unwrap();
    // The hours are some before noon; the event is of the next day.
    let (status, said) = run(&job);
    assert_eq!(
        (
            &status["events"],
            &status["duplicates"],
            &status["rejected"]
        ),
        (&180.into(), &180.into(), &1.into()),
        "{said}"
    );
}

#[test]
fn a_record_that_makes_others_late_is_named() {
    let job = shops().set("event-time.max-ahead", "none");
    let mut text = String::new();
    for minute in 0..100 {
        let _ = write!(text, "{}", line(minute, "berlin", minute));
        if minute == 50 {
            text += &line(9999, "berlin", 10 * 60);
        }
    }
    fs::write(job.path("in").join("a.ndjson"), text).unwrap();
    let (status, said) = run(&job);
    assert_eq!(
        (&status["late"], &status["watermark_jumps"]),
        (&49.into(), &1.into())
    );
    assert!(
        said.contains("one record was far ahead of the others"),
        "{said}"
    );
    assert!(said.contains("a.ndjson"), "{said}");
    assert!(said.contains("many events are late"), "{said}");
}

/// A shop's file of the same three hours as those of the others, after other lines.
fn write_shop(job: &Job, n: usize, before: &str) {
    let mut text = before.to_owned();
    for minute in 0..180 {
        text += &line(1000 * n + minute, SHOPS[n], minute);
    }
    fs::write(job.path("in").join(format!("{}.ndjson", SHOPS[n])), text).unwrap();
}

#[test]
fn rejects_at_the_beginning_of_a_file_make_nothing_late() {
    let wrong_type = r#"{"id":"one","shop":"x","at":"2026-03-02T05:00:00Z"}"#.to_owned() + "\n";
    let broken_rule = line(0, "nowhere", 7 * 60);
    let large = format!("{{\"id\":\"{}\"}}\n", "x".repeat(2 << 20));
    let beyond_all_looks = format!("{}\n", "x".repeat(1 << 20)).repeat(24);
    let beginnings = [
        wrong_type.repeat(100),
        broken_rule.repeat(100),
        "\n".repeat(100) + &wrong_type.repeat(17),
        large,
        // More than one look takes.
        wrong_type.repeat(20_000),
        broken_rule.repeat(5_000),
        beyond_all_looks,
    ];
    for beginning in beginnings {
        let job = shops();
        job.append("[rules]\nknown = \"shop <> 'nowhere'\"");
        write_shop(&job, 0, "");
        write_shop(&job, 1, &beginning);
        write_shop(&job, 2, &beginning);
        let (status, said) = run(&job);
        let about: String = beginning.chars().take(60).collect();
        assert_eq!(
            (&status["events"], &status["late"]),
            (&540.into(), &0.into()),
            "{about}\n{said}"
        );
        let hours = query(
            &job,
            "SELECT count(*) AS groups, min(n) AS least, max(n) AS most FROM hourly",
        );
        let expected = serde_json::json!({"groups": 9, "least": 60, "most": 60});
        assert_eq!(hours, [expected], "{about}");
    }
}

#[test]
fn a_file_without_any_event_holds_nobody_up() {
    let job = shops().set("batch.max-rows", 1);
    write_shop(&job, 0, "");
    fs::write(job.path("in/none.ndjson"), "no event\n".repeat(40)).unwrap();
    let (status, _) = run(&job);
    assert_eq!(
        (&status["events"], &status["rejected"]),
        (&180.into(), &40.into())
    );
    assert_eq!(
        query(&job, "SELECT count(*) AS n FROM hourly"),
        [serde_json::json!({"n": 3})]
    );
}
