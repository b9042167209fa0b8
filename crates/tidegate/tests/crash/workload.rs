//! What is processed, and what comes out of it when nothing disturbs it.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use tempfile::TempDir;
use tidegate_base::clock::Clock;
use tidegate_generator::{FileFormat, GeneratorOptions, generate_files};

use crate::common::{Job, NOW_MICROS, repository_file};
use crate::extras::{Extras, Shown};
use crate::kill::{self, Kill};
use crate::outcome::Outcome;

/// Event time of the first event: some hours ago.
const START_MICROS: i64 = NOW_MICROS - 10 * 3_600_000_000;
/// Events in a second of event time: 12,000 take twenty minutes.
const EVENT_RATE: u64 = 10;

/// A stream of transactions, with the outcome and the times of an undisturbed run.
pub(crate) struct Workload {
    name: String,
    sets: Vec<(&'static str, String)>,
    chunks: u64,
    undisturbed: Outcome,
    shown: Shown,
    full: Duration,
    idle: Duration,
    _input: Option<TempDir>,
}

impl Workload {
    /// Files, all in one lane; each is a chunk, so that there are many commits.
    pub(crate) fn files(seed: u64) -> Self {
        let (count, files) = (12_000, 120);
        let input = tempfile::tempdir().unwrap();
        let options = GeneratorOptions {
            event_rate: EVENT_RATE,
            count: Some(count),
            seed,
            start_time: Some(START_MICROS),
            delay: Duration::from_secs(120),
            duplicates: 0.05,
            updates: 0.05,
            late: 0.02,
            malformed: 0.01,
            rule_breaking: 0.02,
            ..GeneratorOptions::default()
        };
        let clock = Clock::manual(NOW_MICROS);
        generate_files(input.path(), files, FileFormat::Plain, &options, &clock).unwrap();
        let sets = vec![
            ("source.kind", "files".to_owned()),
            ("source.path", input.path().display().to_string()),
        ];
        Workload::measure("files", sets, files as u64, Some(input))
    }

    /// The generator: several lanes of several chunks each.
    pub(crate) fn generator(seed: u64) -> Self {
        let (count, partitions) = (30_000, 3);
        let start = DateTime::from_timestamp_micros(START_MICROS).unwrap();
        let sets = [
            ("source.kind", "generator".to_owned()),
            ("source.count", count.to_string()),
            ("source.partitions", partitions.to_string()),
            ("source.seed", seed.to_string()),
            ("source.event-rate", EVENT_RATE.to_string()),
            (
                "source.start-time",
                start.to_rfc3339_opts(SecondsFormat::Secs, true),
            ),
            ("source.duplicates", "0.05".to_owned()),
            ("source.updates", "0.05".to_owned()),
            ("source.late", "0.02".to_owned()),
            ("source.malformed", "0.01".to_owned()),
            ("source.rule-breaking", "0.02".to_owned()),
        ];
        Workload::measure("generator", sets.into(), 9, None)
    }

    fn measure(
        name: &str,
        sets: Vec<(&'static str, String)>,
        chunks: u64,
        input: Option<TempDir>,
    ) -> Self {
        let job = job(&sets);
        let extras = Extras::undisturbed();
        extras.configure(&job, 0);
        let run = |starts| {
            let began = Instant::now();
            let now = now(starts);
            let command = job.command(&["run", "--until-caught-up", "--now", &now]);
            kill::run(command, Kill::Never);
            began.elapsed()
        };
        let full = run(0);
        let undisturbed = Outcome::of(&job);
        let shown = Shown::of(&job);
        extras.check(&job, &shown);
        // There is nothing left to do: this is the time of starting and ending.
        let idle = run(1);
        if let Some(difference) = undisturbed.difference(&Outcome::of(&job)) {
            panic!("{name}: a run with nothing to do changed something\n{difference}");
        }
        undisturbed.check_is_interesting();
        shown.check_is_interesting();
        Workload {
            name: name.to_owned(),
            sets,
            chunks,
            undisturbed,
            shown,
            full,
            idle,
            _input: input,
        }
    }

    /// A new job over this stream.
    pub(crate) fn job(&self) -> Job {
        job(&self.sets)
    }

    /// How messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Chunks that its source hands over.
    pub(crate) fn chunks(&self) -> u64 {
        self.chunks
    }

    /// What comes out when nothing disturbs it.
    pub(crate) fn undisturbed(&self) -> &Outcome {
        &self.undisturbed
    }

    /// What the windows show that a chain adds and takes away.
    pub(crate) fn shown(&self) -> &Shown {
        &self.shown
    }

    /// How long an undisturbed run takes.
    pub(crate) fn full(&self) -> Duration {
        self.full
    }

    /// How long a run takes that has nothing to do.
    pub(crate) fn idle(&self) -> Duration {
        self.idle
    }
}

/// The configuration that all are made from.
pub(crate) fn example() -> String {
    std::fs::read_to_string(repository_file("examples/transactions.toml")).unwrap()
}

/// The transactions example over a stream, with a short delay and much maintenance.
fn job(sets: &[(&'static str, String)]) -> Job {
    let job = Job::from_text(&example())
        .with_the_machines_clock() // Each run is told its own present.
        .set("storage.url", "file:data")
        .set("warehouse.url", "duckdb:warehouse.duckdb")
        .set("event-time.delay", "2m")
        .set("batch.interval", "30ms")
        .set("batch.max-rows", 1)
        .set("load.interval", "50ms")
        .set("load.analyze-every", "1s")
        .set("load.checkpoint-every", "1s");
    sets.iter()
        .fold(job, |job, (key, value)| job.set(key, value))
}

/// The present of a job's n-th run: a second later each time, so that maintenance is due.
pub(crate) fn now(starts: u64) -> String {
    let micros = NOW_MICROS + 1_000_000 * starts as i64;
    DateTime::from_timestamp_micros(micros)
        .unwrap()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The start whose present this is.
pub(crate) fn start_at(micros: i64) -> u64 {
    ((micros - NOW_MICROS) / 1_000_000) as u64
}
