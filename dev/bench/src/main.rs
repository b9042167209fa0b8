//! Measures the program that is shipped, as a user would run it: `cargo xtask bench [--quick]
//! [MEASURE ...]`.
//!
//! A module for each measure, in the order of [`MEASURES`]; `docs/benchmarks.md` says what each of
//! them is. What they measure is the whole process, but for `stages`. Where one thing is compared
//! with another, both alternate, and the median of several runs counts.

// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod backlog;
mod cores;
mod curves;
mod hand_loop;
mod http;
mod latency;
mod loads;
mod log;
mod picture;
mod proc;
mod process;
mod serve;
mod skew;
mod spark;
mod spread;
mod stages;
mod state;
mod throughput;
mod topic;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use process::{CompletedRun, Tidegate};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the program is built with, so that the loop by hand has no other allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What all measures work with.
pub(crate) struct Bench {
    pub(crate) tidegate: Tidegate,
    dir: TempDir,
    /// Sizes that show that a measure works, and nothing else.
    quick: bool,
}

impl Bench {
    /// A folder for what a measure makes; on disk, and gone at the end.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A folder in memory, gone when it is dropped.
    pub(crate) fn memory(&self) -> Outcome<TempDir> {
        Ok(tempfile::Builder::new()
            .prefix("tidegate-bench-")
            .tempdir_in("/dev/shm")?)
    }

    /// The size of a measure: `full`, or `quick` in a run that only shows that it works.
    pub(crate) fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

type Measure = fn(&Bench) -> Outcome<Value>;

/// All measures, in the order in which they run.
const MEASURES: [(&str, Measure); 13] = [
    ("throughput", throughput::measure),
    ("hand-loop", hand_loop::measure),
    ("cores", cores::measure),
    ("stages", stages::measure),
    ("curves", curves::measure),
    ("kafka", spark::measure),
    ("skew", skew::measure),
    ("latency", latency::measure),
    ("backlog", backlog::measure),
    ("state", state::few_keys),
    ("big-state", state::many_keys),
    ("loads", loads::measure),
    ("serve", serve::measure),
];

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All measures, or those that the arguments name; the others keep what was measured before.
fn measure() -> Outcome<()> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, input, out, decoder, records, batch] = names.as_slice()
        && flag == "--hand-loop"
    {
        let (input, out) = (Path::new(input), Path::new(out));
        println!(
            "{}",
            hand_loop::run(input, out, decoder, records.parse()?, batch.parse()?)?
        );
        return Ok(());
    }
    if let [flag, stage, place, records, passes] = names.as_slice()
        && flag == "--stage"
    {
        return stages::run(
            stage.parse()?,
            place.parse()?,
            records.parse()?,
            passes.parse()?,
        );
    }
    let quick = names.iter().any(|name| name == "--quick");
    names.retain(|name| name != "--quick");
    if let Some(unknown) = names
        .iter()
        .find(|name| MEASURES.iter().all(|(known, _)| known != name))
    {
        let known = MEASURES.map(|(name, _)| name).join(", ");
        return Err(format!("no measure `{unknown}`; there are {known}").into());
    }
    let bench = Bench {
        tidegate: Tidegate::find()?,
        dir: tempfile::tempdir()?,
        quick,
    };
    // What a quick run finds says nothing about the machine.
    let out = if quick {
        std::env::current_exe()?.with_file_name("bench-quick.json")
    } else {
        PathBuf::from("dev/bench/results.json")
    };
    let before = std::fs::read_to_string(&out).unwrap_or_default();
    let mut results: Value = serde_json::from_str(&before).unwrap_or_else(|_| json!({}));
    results["machine"] = proc::machine().into();
    results["date"] = chrono::Utc::now().format("%Y-%m-%d").to_string().into();
    let mut failed = Vec::new();
    for (name, measure) in MEASURES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            // One that fails takes none of the others along.
            match measure(&bench) {
                Ok(figures) => results[name] = figures,
                Err(error) => {
                    eprintln!("bench: {name}: {error}");
                    failed.push(name);
                }
            }
            std::fs::write(&out, serde_json::to_string_pretty(&results)? + "\n")?;
        }
    }
    let picture = out.with_extension("svg");
    std::fs::write(&picture, picture::draw(&results))?;
    println!("\nwritten to {} and {}", out.display(), picture.display());
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("not measured: {}", failed.join(", ")).into())
    }
}

/// A figure of a run that did something else is worthless.
fn expect(run: &CompletedRun, events: u64) -> Outcome<()> {
    let read = run.status("read")?;
    if read == events {
        Ok(())
    } else {
        Err(format!("{read} of {events} events were read").into())
    }
}
