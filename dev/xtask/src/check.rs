//! `quick`, `test` and `lint`: what has to pass.

use std::env;
use std::fs;
use std::process;

use crate::packages;
use crate::places::Places;
use crate::process::{Failure, Step};
use crate::promtool::promtool;
use crate::setup;
use crate::tidy::tidy;

const CARGO_DENY: &str = "0.20.2";
/// How a test that only root can run says why it was skipped (`tidegate_testkit::skip_for_root`).
const NEEDS_ROOT: &str = "needs root";
/// The test programs that need no server and take seconds, of all crates. What else there is needs
/// minutes, Kafka, PostgreSQL or Redis.
const QUICK: [&str; 15] = [
    "commands",
    "configuration",
    "decode",
    "files",
    "files_ends",
    "files_identity",
    "generator",
    "lane",
    "lanes",
    "meaning",
    "options",
    "round_trip",
    "stored",
    "transform",
    "values",
];

/// Runs the whole test suite, then says how many tests skipped themselves and why.
///
/// One profile, release, for running and for testing, so that the dependencies are compiled once.
pub(crate) fn test(places: &Places, args: &[String]) -> Result<(), Failure> {
    let (ours, theirs): (Vec<&String>, Vec<&String>) = args
        .iter()
        .partition(|arg| matches!(arg.as_str(), "--long" | "--require-all"));
    let long = ours.iter().any(|arg| *arg == "--long");
    let require_all = ours.iter().any(|arg| *arg == "--require-all");

    setup(places, false)?;
    or_skip("Kafka", setup(places, true), require_all)?;
    let postgres = packages::install(packages::POSTGRES);
    or_skip("the Redshift emulator", postgres, require_all)?;
    let redis = packages::install(packages::REDIS);
    or_skip("the hot tier in Redis", redis, require_all)?;
    let jq = packages::install(packages::JQ);
    or_skip("pages with jq", jq, require_all)?;
    let promtool = or_skip("the alert rules", promtool(places), require_all)?;

    let skipped = env::temp_dir().join(format!("tidegate-skipped-{}", process::id()));
    let tested = Step::cargo([
        "test",
        "--release",
        "--workspace",
        "--features",
        "failpoints",
        // All that fails is of interest, and not only the first of it.
        "--no-fail-fast",
    ])
    .args(theirs)
    .within(&places.root)
    .variable("TIDEGATE_TEST_LONG", if long { "1" } else { "" })
    .variable("TIDEGATE_TEST_SKIPPED", &skipped)
    .variable("PROMTOOL", promtool.unwrap_or_else(|| "promtool".into()))
    .run();
    let lines = fs::read_to_string(&skipped).unwrap_or_default();
    if !lines.is_empty() {
        fs::remove_file(&skipped).map_err(|error| {
            Failure::new(format!("cannot remove {}: {error}", skipped.display()))
        })?;
    }
    // Root can be asked of nobody, so they are apart from what could be installed.
    let (for_root, others): (Vec<&str>, Vec<&str>) =
        lines.lines().partition(|line| line.contains(NEEDS_ROOT));
    for (why, tests) in [("", &others), (" because they need root", &for_root)] {
        if !tests.is_empty() {
            println!("\n{} tests were skipped{why}:", tests.len());
            println!("{}", tests.join("\n"));
        }
    }
    tested?;
    if require_all && !others.is_empty() {
        return Err(Failure::new(
            "tests were skipped, and --require-all forbids it",
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

/// What is worth knowing within minutes: style, clippy, and the tests that need no server.
pub(crate) fn quick(places: &Places, args: &[String]) -> Result<(), Failure> {
    if !args.is_empty() {
        return Err(Failure::new("quick takes nothing"));
    }
    style(places)?;
    let programs = QUICK.iter().flat_map(|program| ["--test", program]);
    Step::cargo(["test", "--release", "--workspace"])
        .args(["--features", "failpoints", "--no-fail-fast"])
        .args(["--lib", "--bins"])
        .args(programs)
        .within(&places.root)
        .run()
}

/// What is checked of all code as the tests build it: sizes and words, formatting, clippy.
fn style(places: &Places) -> Result<(), Failure> {
    tidy(places)?;
    setup(places, false)?;
    Step::cargo(["fmt", "--all", "--check"])
        .within(&places.root)
        .run()?;
    clippy(places, &["--all-targets", "--features", "failpoints"])
}

fn clippy(places: &Places, what: &[&str]) -> Result<(), Failure> {
    Step::cargo(["clippy", "--release", "--workspace"])
        .args(what)
        .args(["--", "-D", "warnings"])
        .within(&places.root)
        .run()
}

/// Style, documentation, and what the dependencies bring with them.
pub(crate) fn lint(places: &Places, args: &[String]) -> Result<(), Failure> {
    let advisories = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] if env::var_os("CI").is_some_and(|ci| !ci.is_empty()) => Advisories::Required,
        [] => Advisories::IfThere,
        ["--no-advisories"] => Advisories::Skipped,
        _ => return Err(Failure::new("lint takes nothing but --no-advisories")),
    };
    style(places)?;
    clippy(places, &[])?; // as it is shipped: without failpoints
    // What people who work here read has links to what is private, too.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    Step::cargo(["doc", "--release", "--workspace", "--no-deps"])
        .args(["--document-private-items", "--features", "failpoints"])
        .within(&places.root)
        .variable("RUSTDOCFLAGS", flags)
        .run()?;
    deny(places, advisories)
}

/// Whether dependencies are compared with the list of known vulnerabilities.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Advisories {
    /// In CI: where the list cannot be fetched, nobody would see that it is not looked at.
    Required,
    /// By hand.
    IfThere,
    Skipped,
}

/// What the dependencies bring with them, known vulnerabilities included.
pub(crate) fn dependencies(places: &Places, args: &[String]) -> Result<(), Failure> {
    if !args.is_empty() {
        return Err(Failure::new("deny takes nothing"));
    }
    let in_ci = env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    deny(
        places,
        if in_ci {
            Advisories::Required
        } else {
            Advisories::IfThere
        },
    )
}

/// Licences, doubled versions and sources always; known vulnerabilities as `advisories` says.
fn deny(places: &Places, advisories: Advisories) -> Result<(), Failure> {
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
    if advisories == Advisories::Skipped {
        println!("\nNOT CHECKED, as asked: known vulnerabilities of the dependencies");
        return Ok(());
    }
    if deny("fetch db").succeeds() {
        return deny("--log-level error check --disable-fetch advisories").run();
    }
    let what = "known vulnerabilities of the dependencies: their list cannot be fetched from here";
    if advisories == Advisories::Required {
        return Err(Failure::new(format!(
            "not checked: {what}. Run it where github.com can be reached; by hand, `cargo xtask lint --no-advisories` \
             goes without"
        )));
    }
    println!("\nNOT CHECKED: {what}. With CI set in the environment this is an error");
    Ok(())
}
