//! The few commands that everybody runs, as `cargo xtask COMMAND`.
//!
//! Everything here is the standard library, so that the first command in a fresh clone starts
//! within seconds.

// A command-line program: printing is what it is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod check;
mod dashboard;
mod duckdb;
mod fetch;
mod instructions;
mod kafka;
mod openapi;
mod packages;
mod places;
mod process;
mod promtool;
mod running;
mod spark;
mod tidy;

use std::env;
use std::process::ExitCode;

use places::Places;
use process::{Failure, Step};

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Before a change lands:
  quick                 tidy, formatting, clippy, and the tests that need no server: minutes
  test [--long] [ARGS]  set up, and run the whole test suite; ARGS go to `cargo test`
                        --long: more seeds
                        --require-all: an error if Kafka, PostgreSQL, Redis, jq or promtool cannot
                        be had, or if a test was skipped, unless it was one that needs root
  lint [--no-advisories]
                        tidy, formatting, clippy and rustdoc with warnings as errors, cargo-deny.
                        Where the list of known vulnerabilities cannot be fetched, that is said;
                        with CI set in the environment it is an error
  tidy                  sizes of files and functions, widths, words and sleeps, as docs/style.md
                        has them; takes a second
  deny                  licences, sources and known vulnerabilities of the dependencies
  instructions [--update]
                        instructions a record of the hot stages, against
                        dev/bench/instructions.txt
  dashboard [FOLDER]    the dashboard in Chromium, against a demo that runs (Node 20); screenshots
                        go to FOLDER
  openapi               schemathesis against a job that runs: every answer is a documented one
  readers               other people's readers of Parquet (Python, Node, Go) over files of all types
  ci                    lint, test --require-all, instructions, dashboard and openapi

To look at it:
  setup [--kafka] [--postgres] [--redis]
                        fetch what building needs, and what the tests need: Kafka, PostgreSQL for
                        the Redshift emulator, and Redis
  demo [ARGS]           set up, build, and run `tidegate demo ARGS`
  kafka [TOPIC ...]     start a Kafka broker to play with, with these topics; Ctrl-C stops it
  bench [--quick] [MEASURE ...]
                        measure everything, or what is named; writes dev/bench/results.json and
                        dev/bench/results.svg
                        --quick: small sizes, which show that it works, and nothing is written there

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
        "instructions" => counted(&places, args.iter().any(|arg| arg == "--update")),
        "dashboard" => {
            setup(&places, false)?;
            dashboard::dashboard(&places, args)
        }
        "openapi" => openapi::openapi(&places),
        "readers" => readers(&places),
        "deny" => check::dependencies(&places, args),
        "lint" => check::lint(&places, args),
        "tidy" => tidy::tidy(&places),
        "quick" => check::quick(&places, args),
        "ci" => {
            check::lint(&places, &[])?;
            check::test(&places, &["--require-all".to_owned()])?;
            counted(&places, false)?;
            dashboard::dashboard(&places, &[])?;
            openapi::openapi(&places)
        }
        "kafka" => broker(&places, args),
        "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(Failure::new(format!("no such command\n\n{USAGE}"))),
    }
}

/// Builds the program, and reads what it writes with the readers of
/// `crates/tidegate/tests/readers`.
fn readers(places: &Places) -> Result<(), Failure> {
    setup(places, false)?;
    packages::install(packages::PYTHON)?;
    packages::install(packages::NODE)?;
    programs(places)?;
    Step::new(places.root.join("crates/tidegate/tests/readers/run.sh"))
        .args([places.release().join("tidegate")])
        .variable("LD_LIBRARY_PATH", places.root.join(".deps/duckdb"))
        .run()
}

fn counted(places: &Places, update: bool) -> Result<(), Failure> {
    setup(places, false)?;
    packages::install(packages::VALGRIND)?;
    instructions::instructions(places, update)
}

/// Builds the program and the examples, exactly as the tests build them. That takes the same
/// features of the workspace, and an example beside the program: only then does cargo turn on the
/// features that tests turn on in shared dependencies. Otherwise it would compile those twice.
fn programs(places: &Places) -> Result<(), Failure> {
    Step::cargo(["build", "--release", "--workspace"])
        .args(["--bin", "tidegate", "--examples"])
        .args(["--features", "failpoints"])
        .within(&places.root)
        .run()
}

/// Makes `cargo build` work, and with `kafka` the Kafka tests too. Does nothing, quickly, where all
/// is there.
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
    // Chosen by its name and not by `--package`: so cargo picks the features of the dependencies as
    // it does for the whole workspace, and the tests compile none of them again.
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

fn broker(places: &Places, topics: &[String]) -> Result<(), Failure> {
    setup(places, true)?;
    // Cargo says itself what it compiles, and that it waits for another one.
    println!("Building what starts the broker; the first time this takes some minutes");
    Step::cargo([
        "run",
        "--release",
        "--package",
        "tidegate-testkit",
        "--example",
        "broker",
        "--",
    ])
    .args(topics)
    .within(&places.root)
    .become_it()
}
