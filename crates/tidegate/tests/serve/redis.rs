//! Live values in Redis outlive the process: after a restart only those count that are of the
//! windows as they are now.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tidegate_testkit::Redis;

use crate::common::Job;
use crate::server::Server;
use crate::{RANGE, aggregates, job, records, rounded};

const VIEWS: [&str; 2] = ["transactions_1m", "transactions_5m"];

/// Takes the input away, and gives its files in the order of the stream.
fn take_away(job: &Job) -> Vec<PathBuf> {
    let away = job.path("away");
    fs::rename(job.path("in"), &away).unwrap();
    fs::create_dir(job.path("in")).unwrap();
    let files = fs::read_dir(away).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn bring(job: &Job, file: &PathBuf) {
    fs::rename(file, job.path("in").join(file.file_name().unwrap())).unwrap();
}

/// Replaces the columns that both windows are grouped by.
fn group_by(job: &Job, from: &str, to: &str) {
    let path = job.path("tidegate.toml");
    let config = fs::read_to_string(&path).unwrap();
    let (from, to) = (format!("group-by = {from}"), format!("group-by = {to}"));
    assert_eq!(config.matches(&from).count(), VIEWS.len());
    fs::write(path, config.replace(&from, &to)).unwrap();
}

/// Waits until the hot tier has of its final windows what the warehouse has of them. Gives where
/// the first of them starts.
#[track_caller]
fn until_hot_is_as_warm(server: &Server, view: &str) -> String {
    let warm = aggregates(server, view, "&tier=warm");
    let warm = rounded(&warm["rows"], true);
    let path = format!("/v1/aggregates?view={view}&{RANGE}&limit=100000&tier=hot");
    let start = |row: &Value| row["window_start"].as_str().unwrap().to_owned();
    let answer = server.until(&path, |answer| {
        let hot = rounded(&answer["rows"], true);
        let Some(first) = hot.first().map(start) else {
            return false;
        };
        let same = warm.iter().filter(|row| start(row) >= first);
        hot.iter().eq(same)
    });
    start(&rounded(&answer["rows"], true)[0])
}

#[test]
fn redis_has_the_present_groups_after_a_restart_with_another_group_by() {
    let Some(redis) = Redis::start() else { return };
    let job = job().set("hot.url", redis.url());
    let files = take_away(&job);
    let groups = [
        r#"["status"]"#,
        r#"["currency"]"#,
        r#"["status", "currency"]"#,
        r#"["currency", "status"]"#,
    ];
    let mut watermark = None;
    let mut definitions = Vec::new();
    for (n, by) in groups.iter().enumerate() {
        if n > 0 {
            group_by(&job, groups[n - 1], by);
        }
        // The last restart has no new events: all that is open is shown anew.
        if let Some(file) = files.get(n) {
            bring(&job, file);
        }
        let server = Server::start(&job);
        let status = server.until_loaded(records(&job));
        for view in VIEWS {
            if n < files.len() {
                let first = until_hot_is_as_warm(&server, view);
                // Windows that were open at the restart are among them.
                assert!(watermark.as_ref().is_none_or(|before| first < *before));
            }
        }
        let path = format!("/v1/aggregates?view={}&{RANGE}&tier=hot", VIEWS[0]);
        let hot = server.until(&path, |hot| !hot["rows"].as_array().unwrap().is_empty());
        for row in hot["rows"].as_array().unwrap() {
            for column in ["status", "currency"] {
                let has = row.get(column).is_some_and(|group| !group.is_null());
                assert_eq!(has, by.contains(column), "{row}");
            }
        }
        // Others find the present windows by the definition.
        let name = format!("tidegate:transactions:{}", VIEWS[0]);
        let definition = redis.ask(&["GET", &name]).trim().to_owned();
        assert!(
            !redis
                .ask(&["KEYS", &format!("{name}:{definition}:*")])
                .trim()
                .is_empty()
        );
        assert!(!definitions.contains(&definition), "{definitions:?}");
        definitions.push(definition);
        watermark = Some(status["watermarks"]["0"].as_str().unwrap().to_owned());
    }
}

#[test]
fn a_job_that_begins_anew_shows_nothing_of_its_earlier_life_from_redis() {
    let Some(redis) = Redis::start() else { return };
    let job = job().set("hot.url", redis.url());
    let files = take_away(&job);
    bring(&job, &files[0]);
    let mut server = Server::start(&job);
    server.until_loaded(records(&job));
    for view in VIEWS {
        until_hot_is_as_warm(&server, view);
    }
    server.kill();

    fs::remove_dir_all(job.path("data")).unwrap();
    fs::remove_file(job.path("warehouse.duckdb")).unwrap();
    let _ = fs::remove_file(job.path("warehouse.duckdb.wal"));
    let input = job.path("in").join(files[0].file_name().unwrap());
    // Some records are no text.
    let lines = fs::read(&input).unwrap();
    let has_failed = |line: &&[u8]| line.windows(6).any(|word| word == b"FAILED");
    let fewer = lines.split_inclusive(|byte| *byte == b'\n');
    let fewer: Vec<u8> = fewer
        .filter(|line| !has_failed(line))
        .flatten()
        .copied()
        .collect();
    assert!(fewer.len() < lines.len());
    fs::write(&input, fewer).unwrap();
    let server = Server::start(&job);
    server.until_loaded(records(&job));
    for view in VIEWS {
        until_hot_is_as_warm(&server, view);
    }
}
