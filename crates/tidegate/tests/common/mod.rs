//! What the tests share that run whole pipelines: a job in a folder of its own, made from an
//! example.

// Each test program uses a part of it, and a helper that cannot do its part ends the test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fmt::Display;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The present of all runs, so that rules with `now()` decide the same each time.
pub const NOW: &str = "2026-03-02T12:00:00Z";
/// [`NOW`] in microseconds since 1970.
pub const NOW_MICROS: i64 = 1_772_452_800_000_000;

/// A file of the repository, by its path from the root.
pub fn repository_file(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(path).canonicalize().unwrap()
}

/// A job from an example, in a folder of its own: the configuration is `tidegate.toml`, the commit
/// log and its files are in `data`, the database is `warehouse.duckdb`, and files are read from
/// `in`.
pub struct Job {
    folder: TempDir,
    sets: Vec<String>,
    now: Option<String>,
    variables: Vec<(&'static str, &'static str)>,
}

impl Job {
    /// A job from `examples/<example>.toml`.
    pub fn new(example: &str) -> Self {
        let text = std::fs::read_to_string(repository_file(&format!("examples/{example}.toml")));
        Job::from_text(&text.unwrap())
            .set("storage.url", "file:data")
            .set("warehouse.url", "duckdb:warehouse.duckdb")
            .set("source.kind", "files")
            .set("source.path", "in")
    }

    /// A job with this configuration.
    pub fn from_text(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tidegate.toml"), config).unwrap();
        Job {
            folder,
            sets: Vec::new(),
            now: Some(NOW.to_owned()),
            variables: Vec::new(),
        }
    }

    /// Runs take the machine's clock instead of [`NOW`].
    pub fn with_the_machines_clock(mut self) -> Self {
        self.now = None;
        self
    }

    /// Runs take this for the present instead of [`NOW`].
    pub fn with_now(mut self, now: String) -> Self {
        self.now = Some(now);
        self
    }

    /// Every command has these in its environment.
    pub fn with_variables(
        mut self,
        variables: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> Self {
        self.variables.extend(variables);
        self
    }

    /// Changes a key of the configuration, for every command.
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        self.sets.push(format!("{key}={value}"));
        self
    }

    /// Changes a key that may have been changed before: as a restart with another configuration
    /// does.
    pub fn change(&mut self, key: &str, value: impl Display) {
        let before = format!("{key}=");
        self.sets.retain(|set| !set.starts_with(&before));
        self.sets.push(format!("{key}={value}"));
    }

    /// Adds to the configuration file.
    pub fn append(&self, text: &str) {
        let path = self.path("tidegate.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{config}\n{text}\n")).unwrap();
    }

    /// A path in the job's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command over the job, `["run", "--until-caught-up"]` for example. A run takes [`NOW`] for
    /// the present, unless it is the machine's clock.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(args);
        for set in &self.sets {
            command.args(["--set", set]);
        }
        if args.first() == Some(&"run") {
            command.args(["--progress", "none"]);
            command.args(self.now.iter().flat_map(|now| ["--now", now.as_str()]));
        }
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .envs(self.variables.iter().copied())
            // Sockets of tests stay with the test.
            .env("XDG_RUNTIME_DIR", self.folder.path());
        command
    }

    /// Runs a command to its end.
    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Processes what the source holds, and returns the job's summary.
    ///
    /// # Panics
    /// If the run does not succeed.
    #[track_caller]
    pub fn catch_up(&self) -> Value {
        let output = self.output(&["run", "--until-caught-up", "--summary", "json"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}: {text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let mut report: Value = serde_json::from_str(&text).unwrap();
        report["summary"].take()
    }
}

/// What a failed test leaves behind can be looked at.
impl Drop for Job {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            let note = format!("the job is in {}\n", self.folder.path().display());
            let _ = std::io::stderr().write_all(note.as_bytes());
        }
    }
}
