//! The program from outside: what it prints, and the codes that it exits with.

#![allow(clippy::unwrap_used)] // A helper that cannot do its part ends the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program, in a folder of its own.
fn tidegate(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(args).current_dir(folder).stdin(Stdio::null());
    // Sockets of tests stay with the test.
    command.env("XDG_RUNTIME_DIR", folder);
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    tidegate(folder, args).output().unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, says: &str) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(says), "`{says}` is not in:\n{text}");
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The answer to an HTTP request, head and body.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Three payments, one of them twice and one that is not valid.
const EVENTS: &str = r#"{"id":"a","amount":1.5,"at":"2026-01-01T10:00:00Z"}
{"id":"b","amount":2.5,"at":"2026-01-01T10:00:30Z"}
{"id":"b","amount":2.5,"at":"2026-01-01T10:00:30Z"}
{"id":"c","amount":"much","at":"2026-01-01T10:01:00Z"}
{"id":"d","amount":4.0,"at":"2026-01-01T10:02:00Z"}
"#;

const CONFIG: &str = r#"
version = 1
name = "payments"
[source]
kind = "files"
path = "in"
[storage]
url = "file:./data"
[warehouse]
url = "duckdb:./payments.duckdb"
[schema]
id = { type = "string", required = true }
amount = { type = "float64", required = true }
at = { type = "timestamp", required = true }
[event-time]
field = "at"
[deduplication]
key = ["id", "amount", "at"]
[upsert]
key = ["id"]
[[windows]]
name = "payments_1m"
size = "1m"
[windows.aggregates]
n = "count(*)"
total = "sum(amount)"
"#;

fn payments() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("in/1.ndjson"), EVENTS).unwrap();
    std::fs::write(folder.path().join("tidegate.toml"), CONFIG).unwrap();
    folder
}

#[test]
fn the_command_line_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    check(&run(folder.path(), &["--help"]), 0, "Exit codes:");
    check(
        &run(folder.path(), &["run", "--no-such-option"]),
        2,
        "--no-such-option",
    );
    check(&run(folder.path(), &["validate"]), 2, "no configuration");
    check(
        &run(folder.path(), &["validate", "-c", "none.toml"]),
        78,
        "none.toml",
    );
}

#[test]
fn a_wrong_configuration_exits_78_and_touches_nothing() {
    let folder = payments();
    for command in ["validate", "run"] {
        let output = run(folder.path(), &[command, "--set", "batch.interval=soon"]);
        check(&output, 78, "--> --set batch.interval=soon");
    }
    check(&run(folder.path(), &["validate"]), 0, "valid");
    let mut names: Vec<_> = folder
        .path()
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["in", "tidegate.toml"]);
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let folder = payments();
    let output = run(
        folder.path(),
        &["config", "show", "--set", "batch.interval=7s"],
    );
    check(&output, 0, "interval = \"7s\"");
}

#[test]
fn files_become_rows_that_can_be_asked_for() {
    let folder = payments();
    let at = folder.path();
    check(&run(at, &["query", "SELECT 1"]), 1, "no database");
    check(&run(at, &["log", "inspect"]), 1, "nothing at");

    let output = run(
        at,
        &[
            "run",
            "--until-caught-up",
            "--summary",
            "json",
            "--log-format",
            "json",
        ],
    );
    check(&output, 0, "\"complete\":true");
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let status = &report["summary"]["status"];
    let counts =
        ["read", "events", "late", "rejected", "duplicates"].map(|name| status[name].as_u64());
    assert_eq!(counts, [5, 3, 0, 1, 1].map(Some), "{report}");

    let output = run(
        at,
        &[
            "query",
            "--format",
            "csv",
            "SELECT id, amount FROM payments ORDER BY id",
        ],
    );
    check(&output, 0, "id,amount");
    assert_eq!(
        stdout(&output).lines().skip(1).collect::<Vec<_>>(),
        ["a,1.5", "b,2.5", "d,4.0"]
    );
    let output = run(
        at,
        &[
            "query",
            "--format",
            "csv",
            "SELECT n, total FROM payments_1m ORDER BY window_start",
        ],
    );
    assert_eq!(
        stdout(&output).lines().skip(1).collect::<Vec<_>>(),
        ["2,4.0", "1,4.0"]
    );
    check(
        &run(at, &["query", "SELECT * FROM no_such_table"]),
        1,
        "no_such_table",
    );
    check(&run(at, &["query", "DELETE FROM payments"]), 1, "");

    // A second run has nothing left to do.
    let output = run(at, &["run", "--until-caught-up"]);
    check(&output, 0, "payments: complete");
    check(&run(at, &["log", "inspect"]), 0, "(adds up)");
    check(&run(at, &["log", "verify"]), 0, "good: ");
    check(&run(at, &["log", "gc"]), 0, "0 files");
}

#[test]
fn a_damaged_file_is_found() {
    let folder = payments();
    check(
        &run(folder.path(), &["run", "--until-caught-up"]),
        0,
        "payments: complete",
    );
    let record = folder.path().join("data/log/00000000000000000002.json");
    let mut bytes = std::fs::read(&record).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&record, bytes).unwrap();
    check(&run(folder.path(), &["log", "verify"]), 4, "record 2");
    check(
        &run(folder.path(), &["run", "--until-caught-up"]),
        4,
        "tidegate log verify",
    );
}

#[test]
fn a_running_pipeline_answers_queries_and_ends_cleanly() {
    let folder = payments();
    let at = folder.path();
    let mut child = tidegate(
        at,
        &[
            "run",
            "--set",
            "source.follow=true",
            "--set",
            "http.listen=127.0.0.1:0",
            "--progress-every",
            "100ms",
        ],
    )
    .stderr(Stdio::piped())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let line = log
        .find(|line| line.contains("address="))
        .expect("it says where HTTP is");
    let (_, address) = line.split_once("address=").unwrap();
    let address = address.split_whitespace().next().unwrap().to_owned();
    let reader = std::thread::spawn(move || log.filter(|line| line.contains("progress")).count());

    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = run(
            at,
            &["query", "--format", "csv", "SELECT count(*) FROM payments"],
        );
        if output.status.success() && stdout(&output).lines().nth(1) == Some("3") {
            break;
        }
        assert!(Instant::now() < deadline, "{output:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(get(&address, "/healthz").starts_with("HTTP/1.0 200"));
    assert!(get(&address, "/readyz").ends_with("running\n"));
    let status = get(&address, "/v1/status");
    assert!(status.contains("\"read\":5"), "{status}");
    assert!(status.contains("\"events\":3"), "{status}");
    // Another process cannot have the same job.
    let second = run(at, &["run", "--set", "source.follow=true"]);
    check(&second, 3, "in use by another process");

    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    check(&output, 0, "payments: ended");
    assert!(
        reader.join().unwrap() > 0,
        "there were log lines about progress"
    );
}

#[test]
fn the_demo_runs_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let output = run(
            folder.path(),
            &[
                "demo",
                "--rate",
                "2000",
                "--for",
                "3s",
                "--progress",
                "none",
            ],
        );
        check(&output, 0, "tidegate-demo/tidegate.toml");
    }
    let output = run(
        folder.path(),
        &[
            "query",
            "--format",
            "csv",
            "SELECT count(*) > 2000 AS enough FROM transactions",
        ],
    );
    check(&output, 0, "true");
    check(&run(folder.path(), &["log", "verify"]), 0, "good: ");
}

#[test]
fn bench_measures_the_example_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        folder.path(),
        &[
            "bench",
            "--for",
            "2s",
            "--dir",
            ".",
            "--format",
            "json",
            "--log-level",
            "warn",
        ],
    );
    check(&output, 0, "The bottleneck is ");
    let answer: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let number = |key: &str| answer[key].as_f64().unwrap();
    assert!(number("records_per_second") > 1_000.0, "{answer}");
    assert!(number("records_per_cpu_second") > 1_000.0, "{answer}");
    assert!(number("batches") >= 1.0, "{answer}");
    let shares = answer["cpu_share"].as_object().unwrap();
    let all: f64 = shares.values().filter_map(serde_json::Value::as_f64).sum();
    assert!((0.9..1.2).contains(&all), "{answer}");
    assert!(shares["parquet"].as_f64().unwrap() > 0.01, "{answer}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn validate_refuses_files_for_http_that_cannot_be_used() {
    let folder = payments();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("payments.pem", "amount = 5\n");
    let no_certificate = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    write("broken.pem", no_certificate);
    let listen = "http.listen=127.0.0.1:0";
    for (sets, says) in [
        (
            &["http.tls.certificate=none.crt", "http.tls.key=none.key"][..],
            "cannot read none.crt (http.tls.certificate)",
        ),
        (
            &["hot.url=rediss://localhost:1", "hot.ca=none.pem"],
            "cannot read none.pem (hot.ca)",
        ),
        (
            &["hot.url=rediss://localhost:1", "hot.ca=payments.pem"],
            "cannot read payments.pem (hot.ca): there is no certificate in it",
        ),
        (
            &["hot.url=rediss://localhost:1", "hot.ca=broken.pem"],
            "cannot read broken.pem (hot.ca)",
        ),
    ] {
        for command in ["validate", "run"] {
            let mut args = vec![command, "-c", "tidegate.toml", "--set", listen];
            args.extend(sets.iter().flat_map(|set| ["--set", set]));
            check(&run(folder.path(), &args), 78, says);
        }
    }
}

#[test]
fn a_query_that_becomes_large_when_it_is_planned_is_refused_at_once() {
    let folder = payments();
    check(&run(folder.path(), &["run", "--progress", "none"]), 0, "");
    let doubled: Vec<_> = (0..60)
        .map(|i| format!("a{i} + a{i} AS a{}", i + 1))
        .collect();
    let sql = format!("SELECT 1 AS a0, {}", doubled.join(", "));
    let began = Instant::now();
    let output = run(folder.path(), &["query", &sql]);
    check(&output, 1, "too large to be planned");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_producer_is_told_which_broker_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["produce", "--brokers", "a:1,foo:99999"]);
    check(&output, 2, "`foo:99999` has the port `99999`");
}

#[test]
fn plans_are_shown_whole_and_members_of_an_object_have_names_of_their_own() {
    let folder = payments();
    let at = folder.path();
    check(&run(at, &["run", "--progress", "none"]), 0, "");
    let explain = "EXPLAIN SELECT id, sum(amount) FROM payments GROUP BY id";
    let output = run(at, &["query", explain]);
    check(&output, 0, "GROUP_BY");
    let plan = stdout(&output);
    assert!(plan.lines().count() > 10, "{plan}");
    assert!(
        !plan.contains(['…', '⏎']) && !plan.contains("row)"),
        "{plan}"
    );

    let json = |sql: &str| stdout(&run(at, &["query", "--format", "json", sql]));
    assert_eq!(
        json("SELECT 1 AS a, 2 AS a, 3 AS b, 4 AS a"),
        "[\n{\"a\":1,\"a_1\":2,\"b\":3,\"a_2\":4}\n]\n"
    );
    assert_eq!(
        json("SELECT 1 AS a, 2 AS a_1, 3 AS a"),
        "[\n{\"a\":1,\"a_1\":2,\"a_2\":3}\n]\n"
    );
}

#[test]
fn a_query_has_the_memory_that_the_configuration_says() {
    let folder = payments();
    let at = folder.path();
    check(&run(at, &["run", "--progress", "none"]), 0, "");
    let list = "SELECT len(list(range)) FROM range(20000000)";
    let ask = |limit: &str, sql: &str| {
        let set = format!("warehouse.memory-limit={limit}");
        run(at, &["query", "--format", "csv", "--set", &set, sql])
    };
    check(&ask("64MiB", list), 1, "raise `warehouse.memory-limit`");
    check(&ask("4GiB", list), 0, "20000000");
    let threads = "SELECT current_setting('threads')";
    check(
        &run(at, &["query", "--set", "warehouse.threads=3", threads]),
        0,
        "3",
    );
}

/// What Ctrl-C sends. Shells let what they start in the background ignore it, and so its children:
/// there it is what `kill` sends.
fn interrupt() -> rustix::process::Signal {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    if ignored.is_some_and(|mask| mask & 0b10 != 0) {
        rustix::process::Signal::TERM
    } else {
        rustix::process::Signal::INT
    }
}

#[test]
fn a_query_ends_at_the_first_ctrl_c() {
    let folder = payments();
    check(&run(folder.path(), &["run", "--progress", "none"]), 0, "");
    let hours = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b";
    let mut asked = tidegate(folder.path(), &["query", "--timeout", "10m", hours])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let tasks = format!("/proc/{}/task", asked.id());
    let is_asking = || {
        let tasks = std::fs::read_dir(&tasks).unwrap();
        let mut names =
            tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.any(|name| name.trim() == "query")
    };
    let begin = Instant::now();
    while !is_asking() {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&asked);
    rustix::process::kill_process(pid, interrupt()).unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = asked.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > Duration::from_secs(30) {
            asked.kill().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(!status.success(), "{status}");
}

#[test]
fn bench_removes_what_a_killed_one_has_left() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().to_str().unwrap().to_owned();
    let folders = || {
        let entries = std::fs::read_dir(place.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let mut killed = tidegate(place.path(), &["bench", "--for", "60s", "--dir", &dir])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let is_named = |folder: &std::path::PathBuf| {
        let name = folder.file_name().unwrap().to_string_lossy();
        name.starts_with("tidegate")
    };
    while !folders().iter().any(is_named) {
        assert!(begin.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = folders();
    let output = run(place.path(), &["bench", "--for", "1s", "--dir", &dir]);
    check(&output, 0, "");
    assert_eq!(folders(), Vec::<std::path::PathBuf>::new(), "{left:?}");
}

#[test]
fn bench_measures_all_of_a_source_that_ends_and_leaves_the_job_alone() {
    let folder = payments();
    let output = run(
        folder.path(),
        &["bench", "-c", "tidegate.toml", "--for", "1s"],
    );
    check(&output, 0, "The bottleneck is ");
    assert!(!folder.path().join("data").exists());
    assert!(!folder.path().join("payments.duckdb").exists());
}
