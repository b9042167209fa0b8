//! One job that is killed and started again, until it ends by itself.

use std::path::Path;

use tidegate_log::path;

use crate::common::Job;
use crate::extras::Extras;
use crate::kill::{self, Kill};
use crate::outcome::Outcome;
use crate::random::Random;
use crate::say;
use crate::workload::{Workload, now};

/// Records between snapshots: `SNAPSHOT_EVERY` of the engine.
const SNAPSHOT_EVERY: u64 = 100;

/// A job with its runs.
pub(crate) struct Chain<'a> {
    workload: &'a Workload,
    job: Job,
    /// How it is cut into batches and loads, for messages.
    cut: String,
    extras: Extras,
    starts: u64,
    kills: Vec<Kill>,
    /// Whether each of the source's chunks becomes a commit.
    commits_chunks: bool,
}

impl<'a> Chain<'a> {
    /// A new job, with batches and loads of random sizes.
    pub(crate) fn new(workload: &'a Workload, random: &mut Random) -> Self {
        let rows = *random.choose(&[1, 1, 1, 500]);
        let cut = [
            ("batch.max-rows", rows.to_string()),
            (
                "batch.interval",
                random.choose(&["10ms", "25ms", "60ms"]).to_string(),
            ),
            (
                "load.interval",
                random.choose(&["10ms", "30ms", "100ms"]).to_string(),
            ),
            (
                "load.max-rows",
                random.choose(&["700", "5000000"]).to_string(),
            ),
            (
                "engine.threads",
                random.choose(&["1", "2", "3"]).to_string(),
            ),
            (
                "memory.in-flight",
                random.choose(&["16MiB", "64MiB"]).to_string(),
            ),
        ];
        let mut job = workload.job();
        for (key, value) in &cut {
            job = job.set(key, value);
        }
        Chain {
            workload,
            job,
            cut: format!("{cut:?}"),
            extras: Extras::changing(random),
            starts: 0,
            kills: Vec::new(),
            commits_chunks: rows == 1,
        }
    }

    /// Starts the job; true if it was killed, false if it came to its end.
    pub(crate) fn start(&mut self, kill: Kill) -> bool {
        let now = now(self.starts);
        self.change_what_must_not_show();
        self.extras.configure(&self.job, self.starts);
        self.starts += 1;
        let command = self
            .job
            .command(&["run", "--until-caught-up", "--now", &now]);
        let killed = kill::run(command, kill);
        if killed {
            self.kills.push(kill);
        }
        killed
    }

    /// Each start has another configuration in what decides about no row.
    fn change_what_must_not_show(&mut self) {
        let start = self.starts as usize;
        for (key, values) in [
            ("engine.threads", ["2", "1", "3"]),
            ("memory.in-flight", ["16MiB", "64MiB", "32MiB"]),
            ("load.interval", ["30ms", "10ms", "100ms"]),
            ("load.max-rows", ["700", "5000000", "20000"]),
            ("event-time.idle-after", ["1h", "2h", "90m"]),
            ("batch.max-bytes", ["32MiB", "64MiB", "16MiB"]),
        ] {
            self.job.change(key, values[start % values.len()]);
        }
    }

    /// How often it was killed.
    pub(crate) fn kills(&self) -> usize {
        self.kills.len()
    }

    /// Records of the log.
    pub(crate) fn records(&self) -> u64 {
        let Ok(folder) = self.job.path("data").join(path::LOG).read_dir() else {
            return 0; // Killed before it was made.
        };
        folder
            .filter_map(|entry| path::seq_of_json(entry.unwrap().file_name().to_str()?))
            .count() as u64
    }

    /// Whether a snapshot is due before the stream ends, and soon.
    pub(crate) fn is_before_snapshot(&self) -> bool {
        let records = self.records();
        self.commits_chunks
            && self.workload.chunks() > SNAPSHOT_EVERY
            && (SNAPSHOT_EVERY - 25..SNAPSHOT_EVERY).contains(&records)
    }

    /// Lets the job come to its end, and compares.
    ///
    /// # Panics
    /// If anything is not as in an undisturbed run.
    pub(crate) fn check(mut self) {
        // Once more where it ended already: that changes nothing.
        self.start(Kill::Never);
        let verified = self.job.output(&["log", "verify"]);
        let text = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success(), "{text}");
        self.remove_garbage();
        let outcome = Outcome::of(&self.job);
        if let Some(difference) = self.workload.undisturbed().difference(&outcome) {
            panic!("{difference}");
        }
        self.extras.check(&self.job, self.workload.shown());
    }

    /// What a crash leaves behind can be told from what is committed: after garbage collection
    /// there are no files but those.
    fn remove_garbage(&self) {
        let collected = self.job.output(&["log", "gc", "--grace", "0s", "--delete"]);
        let text = String::from_utf8_lossy(&collected.stdout);
        assert!(collected.status.success(), "{text}");
        let mut found = Vec::new();
        files(&self.job.path("data").join(path::DATA), &mut found);
        let named = Outcome::files(&self.job);
        assert_eq!(found.len(), named, "{text}\n{found:#?}");
    }

    fn history(&self) -> String {
        format!(
            "{}, {}, killed {} times: {:#?}",
            self.workload.name(),
            self.cut,
            self.kills.len(),
            self.kills
        )
    }
}

impl Drop for Chain<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&self.history());
        }
    }
}

fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path.display().to_string());
        }
    }
}
