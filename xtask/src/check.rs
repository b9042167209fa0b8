//! `test` and `lint`: what has to pass.

use std::fs;
use std::process;

use crate::packages;
use crate::places::Places;
use crate::process::{Failure, Step};
use crate::promtool::promtool;
use crate::setup;

const CARGO_DENY: &str = "0.20.2";

/// Runs the whole test suite, then says how many tests skipped themselves and why.
///
/// One profile, release, for running and for testing, so that the dependencies are compiled once.
pub(crate) fn test(places: &Places, args: &[String]) -> Result<(), Failure> {
    let (ours, theirs): (Vec<&String>, Vec<&String>) = args
        .iter()
        .partition(|arg| matches!(arg.as_str(), "--long" | "--require-kafka"));
    let long = ours.iter().any(|arg| *arg == "--long");
    let require_kafka = ours.iter().any(|arg| *arg == "--require-kafka");

    setup(places, false)?;
    or_skip("Kafka", setup(places, true), require_kafka)?;
    let postgres = packages::install(packages::POSTGRES);
    or_skip("the Redshift emulator", postgres, require_kafka)?;
    let redis = packages::install(packages::REDIS);
    or_skip("the hot tier in Redis", redis, require_kafka)?;
    let promtool = or_skip("the alert rules", promtool(places), require_kafka)?;

    let skipped = std::env::temp_dir().join(format!("tidegate-skipped-{}", process::id()));
    let tested = Step::cargo([
        "test",
        "--release",
        "--workspace",
        "--features",
        "failpoints",
    ])
    .args(theirs)
    .within(&places.root)
    .variable("TIDEGATE_TEST_LONG", if long { "1" } else { "" })
    .variable("TIDEGATE_TEST_SKIPPED", &skipped)
    .variable("PROMTOOL", promtool.unwrap_or_else(|| "promtool".into()))
    .run();
    let lines = fs::read_to_string(&skipped).unwrap_or_default();
    if !lines.is_empty() {
        println!("\n{} tests were skipped:\n{lines}", lines.lines().count());
        fs::remove_file(&skipped).map_err(|error| {
            Failure::new(format!("cannot remove {}: {error}", skipped.display()))
        })?;
    }
    tested?;
    if require_kafka && !lines.is_empty() {
        return Err(Failure::new(
            "tests were skipped, and --require-kafka forbids it",
        ));
    }
    Ok(())
}

/// What tests need and was got; where it was not, they are skipped, unless they are required.
fn or_skip<T>(tests: &str, got: Result<T, Failure>, required: bool) -> Result<Option<T>, Failure> {
    match got {
        Err(failure) if !required => {
            eprintln!("The tests of {tests} will be skipped: {failure}");
            Ok(None)
        }
        got => got.map(Some),
    }
}

/// Formatting, clippy, and what the dependencies bring with them.
pub(crate) fn lint(places: &Places) -> Result<(), Failure> {
    setup(places, false)?;
    Step::cargo(["fmt", "--all", "--check"])
        .within(&places.root)
        .run()?;
    let clippy = || Step::cargo(["clippy", "--release", "--workspace"]).within(&places.root);
    let strictly = ["--", "-D", "warnings"];
    clippy()
        .args(["--all-targets", "--features", "failpoints"])
        .args(strictly)
        .run()?;
    clippy().args(strictly).run()?; // as it is shipped: without failpoints
    deny(places)
}

/// Licences, doubled versions and sources always; known vulnerabilities where their list can be fetched.
fn deny(places: &Places) -> Result<(), Failure> {
    let tools = places.cache.join(format!("cargo-deny-{CARGO_DENY}"));
    let program = tools.join("bin/cargo-deny");
    if !program.is_file() {
        println!("Building cargo-deny {CARGO_DENY}, once");
        Step::cargo(["install", "--quiet", "--locked", "cargo-deny"])
            .args(["--version", CARGO_DENY, "--root"])
            .args([&tools])
            .variable("CARGO_TARGET_DIR", tools.join("target"))
            .run()?;
        fs::remove_dir_all(tools.join("target")).map_err(|error| {
            Failure::new(format!(
                "cannot remove {}: {error}",
                tools.join("target").display()
            ))
        })?;
    }
    let deny = |words: &str| {
        Step::new(&program)
            .args(words.split(' '))
            .within(&places.root)
    };
    deny("--log-level error check bans licenses sources").run()?;
    if deny("fetch db").succeeds() {
        deny("--log-level error check --disable-fetch advisories").run()
    } else {
        println!("advisories not checked: their list cannot be fetched from here");
        Ok(())
    }
}
