//! The few commands that everybody runs, as `cargo xtask COMMAND`.
//!
//! Everything here is the standard library, so that the first command in a fresh clone starts within seconds.

// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod check;
mod dashboard;
mod duckdb;
mod fetch;
mod guard;
mod kafka;
mod packages;
mod places;
mod process;
mod promtool;
mod spark;

use std::env;
use std::process::ExitCode;

use places::Places;
use process::{Failure, Step};

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  setup [--kafka] [--postgres] [--redis]
                        fetch what building needs, and what the tests need: Kafka, PostgreSQL for the Redshift emulator, and Redis
  demo [ARGS]           set up, build, and run `tidegate demo ARGS`
  test [--long] [ARGS]  set up, and run the whole test suite; ARGS go to `cargo test`
                        --long: more seeds; --require-kafka: fail if a test was skipped
  bench [--quick] [MEASURE ...]
                        measure everything, or what is named; writes bench/results.json and bench/results.svg
                        --quick: small sizes, which show that it works, and nothing is written there
  guard [--update]      instructions a record of the hot stages, against bench/instructions.txt
  dashboard [FOLDER]    the dashboard in Chromium, against a demo that runs (Node 20); screenshots go to FOLDER
  lint                  formatting, clippy with warnings as errors, cargo-deny
  ci                    lint, then test --require-kafka, then guard
  kafka                 start a Kafka broker to play with; Ctrl-C stops it

What is fetched is kept in $TIDEGATE_CACHE (default ~/.cache/tidegate) and linked into .deps/.
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    match run(command, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask {command}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, args: &[String]) -> Result<(), Failure> {
    let places = Places::find()?;
    match command {
        "setup" => {
            let wanted = |name: &str| args.iter().any(|arg| arg == name);
            setup(&places, wanted("--kafka"))?;
            if wanted("--postgres") {
                packages::install(packages::POSTGRES)?;
            }
            if wanted("--redis") {
                packages::install(packages::REDIS)?;
            }
            Ok(())
        }
        "demo" => demo(&places, args),
        "test" => check::test(&places, args),
        "bench" => bench(&places, args),
        "guard" => guarded(&places, args.iter().any(|arg| arg == "--update")),
        "dashboard" => {
            setup(&places, false)?;
            dashboard::dashboard(&places, args)
        }
        "lint" => check::lint(&places),
        "ci" => {
            check::lint(&places)?;
            check::test(&places, &["--require-kafka".to_owned()])?;
            guarded(&places, false)
        }
        "kafka" => broker(&places),
        "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(Failure::new(format!("no such command\n\n{USAGE}"))),
    }
}

fn guarded(places: &Places, update: bool) -> Result<(), Failure> {
    setup(places, false)?;
    packages::install(packages::VALGRIND)?;
    guard::guard(places, update)
}

/// Makes `cargo build` work, and with `kafka` the Kafka tests too. Does nothing, quickly, where all is there.
fn setup(places: &Places, kafka: bool) -> Result<(), Failure> {
    packages::install(packages::BUILDING)?;
    duckdb::fetch(places)?;
    if kafka {
        packages::install(packages::KAFKA)?;
        kafka::fetch(places)?;
    }
    Ok(())
}

fn demo(places: &Places, args: &[String]) -> Result<(), Failure> {
    setup(places, false)?;
    // Chosen by its name and not by `--package`: so cargo picks the features of the dependencies as it does for the whole
    // workspace, and the tests compile none of them again.
    Step::cargo(["run", "--release", "--bin", "tidegate", "--", "demo"])
        .args(args)
        .become_it()
}

fn bench(places: &Places, args: &[String]) -> Result<(), Failure> {
    let measures: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let any = |names: &[&str]| {
        measures.is_empty()
            || measures
                .iter()
                .any(|measure| names.contains(&measure.as_str()))
    };
    setup(places, any(&["kafka", "skew", "latency", "backlog"]))?;
    if any(&["kafka"]) {
        spark::fetch(places)?;
    }
    if any(&["loads"]) {
        packages::install(packages::POSTGRES)?;
    }
    if any(&["hand-loop", "stages"]) {
        packages::install(packages::VALGRIND)?;
    }
    Step::cargo([
        "build",
        "--release",
        "--bin",
        "tidegate",
        "--bin",
        "tidegate-bench",
    ])
    .within(&places.root)
    .run()?;
    Step::cargo([
        "run",
        "--release",
        "--quiet",
        "--bin",
        "tidegate-bench",
        "--",
    ])
    .args(args)
    .within(&places.root)
    .become_it()
}

fn broker(places: &Places) -> Result<(), Failure> {
    setup(places, true)?;
    Step::cargo([
        "run",
        "--release",
        "--quiet",
        "--package",
        "tidegate-testkit",
        "--example",
        "broker",
    ])
    .within(&places.root)
    .become_it()
}
