//! Files of this user alone, secrets that others can read, and databases that were only begun.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use duckdb::{AccessMode, Config, Connection};

use crate::check;
use crate::common::Job;
use crate::job::{bounded, check_loaded, records};
use crate::running::Running;

fn loaded() -> Job {
    bounded().set("warehouse.url", "duckdb:warehouse.duckdb")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn check_modes(folder: &Path) {
    assert_eq!(mode(folder), 0o700, "{}", folder.display());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check_modes(&path);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

#[test]
fn what_a_job_writes_is_for_its_user_alone() {
    let job = loaded();
    let mut process = Running::start(job.command(&["run"]));
    // While it runs, so that the database has its write-ahead log.
    process.wait_until("commits", |_| records(&job) >= 3);
    check_modes(&job.path("data"));
    let databases = fs::read_dir(job.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for path in databases.filter(|path| path.to_string_lossy().contains("warehouse.duckdb")) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        seen += 1;
    }
    assert!(seen > 0, "no database");
    process.end_well();
}

#[test]
fn secrets_that_others_can_read_are_warned_of() {
    let job = bounded();
    let (config, token) = (job.path("tidegate.toml"), job.path("token"));
    let text = fs::read_to_string(&config).unwrap();
    let with_secrets = format!(
        "{text}\n[http]\nlisten = \"127.0.0.1:0\"\n[hot]\nurl = \"redis://ada:hunter2@localhost\"\n[[http.tokens]]\n\
         name = \"a\"\nroles = [\"read\"]\ntoken-file = \"{}\"\n",
        token.display()
    );
    fs::write(&config, with_secrets).unwrap();
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let warnings = |mode: u32| {
        for path in [&config, &token] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let output = job.output(&["validate"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        text
    };
    let text = warnings(0o644);
    for part in [
        "token (mode 0644)",
        "tidegate.toml (mode 0644)",
        "chmod 600",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let text = warnings(0o600);
    assert!(!text.contains("other users can read"), "{text}");
}

#[test]
fn a_database_that_was_only_begun_is_made_anew() {
    let mut header = vec![0; 4096];
    header[8..12].copy_from_slice(b"DUCK");
    for begun in [
        vec![],
        header.clone(),
        vec![0; 4096],
        [header, vec![0; 4096]].concat(),
    ] {
        let job = loaded();
        fs::write(job.path("warehouse.duckdb"), &begun).unwrap();
        job.catch_up();
        check_loaded(&job);
        assert!(!job.path("warehouse.duckdb.new").exists());
    }
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_is() {
    let job = loaded();
    let notes = "notes that somebody has written, and not a database";
    fs::write(job.path("warehouse.duckdb"), notes).unwrap();
    let output = job.output(&["run", "--until-caught-up"]);
    check(
        &output,
        1,
        &["cannot open the database", "warehouse.duckdb"],
    );
    assert_eq!(
        fs::read_to_string(job.path("warehouse.duckdb")).unwrap(),
        notes
    );
}

/// Kills the first run as soon as there is anything of the database.
#[test]
fn killed_in_the_first_moments_of_its_database_a_job_starts_again() {
    for micros in [0, 0, 100, 200, 400, 800, 1_500, 3_000, 6_000, 12_000] {
        let job = loaded().set("source.count", 2_000);
        let mut child = job.command(&["run", "--until-caught-up"]).spawn().unwrap();
        let folder = job.path("");
        let is_there = || {
            let names = fs::read_dir(&folder).unwrap();
            names.flatten().any(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .contains("warehouse.duckdb")
            })
        };
        while !is_there() && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(micros));
        child.kill().unwrap();
        child.wait().unwrap();
        job.catch_up();
        check_loaded(&job);
        assert!(!job.path("warehouse.duckdb.new").exists());
    }
}

#[test]
fn a_query_that_ends_soon_does_not_keep_a_job_from_starting() {
    let job = loaded();
    job.catch_up();
    // As `tidegate query` has it open while the job is down.
    let config = Config::default().access_mode(AccessMode::ReadOnly).unwrap();
    let query = Connection::open_with_flags(job.path("warehouse.duckdb"), config).unwrap();
    let mut process = Running::start(job.command(&["run", "--until-caught-up"]));
    process.wait_until("its waiting", |text| {
        text.contains("in use by another process")
    });
    let text = process.text();
    let command = fs::read("/proc/self/cmdline").unwrap();
    let program = String::from_utf8_lossy(command.split(|b| *b == 0).next().unwrap()).into_owned();
    for part in [
        format!("PID {}", std::process::id()),
        program,
        "Waiting for it".to_owned(),
    ] {
        assert!(text.contains(&part), "`{part}` is not in:\n{text}");
    }
    drop(query);
    let (status, text) = process.end();
    assert!(status.success(), "{status}\n{text}");
    check_loaded(&job);
}

#[test]
fn folders_for_temporary_files_that_a_killed_process_left_are_removed() {
    let job = loaded().set("http.listen", "127.0.0.1:0");
    let temporary = job.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let left = ["tidegate-serve-left", "tidegate-load-left"].map(|name| temporary.join(name));
    for folder in &left {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("1.parquet"), "x").unwrap();
        let touched = Command::new("touch")
            .args(["-d", "1 hour ago"])
            .arg(folder)
            .status();
        assert!(touched.unwrap().success());
    }
    let mut command = job.command(&["run", "--until-caught-up"]);
    let output = command.env("TMPDIR", &temporary).output().unwrap();
    check(&output, 0, &[]);
    for folder in &left {
        assert!(!folder.exists(), "{}", folder.display());
    }
    assert_eq!(
        fs::read_dir(&temporary).unwrap().count(),
        0,
        "and nothing new stays"
    );
}
