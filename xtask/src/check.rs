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
    match setup(places, true) {
        Err(failure) if require_kafka => return Err(failure),
        Err(failure) => eprintln!("The Kafka tests will be skipped: {failure}"),
        Ok(()) => {}
    }
    for (what, needs) in [
        ("the Redshift emulator", packages::POSTGRES),
        ("the hot tier in Redis", packages::REDIS),
    ] {
        match packages::install(needs) {
            Err(failure) if require_kafka => return Err(failure),
            Err(failure) => eprintln!("The tests of {what} will be skipped: {failure}"),
            Ok(()) => {}
        }
    }

    let promtool = match promtool(places) {
        Err(failure) if require_kafka => return Err(failure),
        Err(failure) => {
            eprintln!("The test of the alert rules will be skipped: {failure}");
            "promtool".into()
        }
        Ok(program) => program,
    };

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
    .variable("PROMTOOL", promtool)
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
