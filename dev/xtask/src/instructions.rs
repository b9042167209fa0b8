//! `instructions`: instructions a record of the hot stages, against what is committed.
//! Instructions, and not time, since other programs on the machine do not show in them.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use xtask::callgrind;

use crate::places::Places;
use crate::process::Failure;
use crate::programs;

/// What is committed: a line `stage instructions` for each stage.
const BASELINE: &str = "dev/bench/instructions.txt";
/// How much more than that may be taken, in percent. The counts of one build are the same each
/// time; another processor takes other ways through the libraries, and threads and hash maps of the
/// whole program are not quite the same.
const TOLERANCE: u64 = 2;
/// The function of each stage, as it is called in the program; `decode` is also called by
/// `prepare`.
const STAGES: [(&str, &str, u64); 3] = [
    ("decode", "tidegate_core::decode::Decoder::decode", 2),
    ("prepare", "tidegate_core::prepare::Preparer::prepare", 1),
    ("absorb", "tidegate_core::lane::Lane::absorb", 1),
];

/// Counts, and compares with the baseline, or with `update` makes the counts the new one.
pub(crate) fn instructions(places: &Places, update: bool) -> Result<(), Failure> {
    // Failpoints are not on the path of a record.
    programs(places)?;
    let release = places.release();
    let mut found = BTreeMap::new();
    for (stage, function, calls) in STAGES {
        let toggle = format!("--toggle-collect={function}");
        let stage_of = |records: u64| {
            let mut program = Command::new(release.join("examples/stages"));
            program.arg(records.to_string());
            count(program, std::slice::from_ref(&toggle), places)
        };
        found.insert(stage, each(stage_of, 8_192)? / calls);
    }
    let out = env::temp_dir().join(format!("tidegate-instructions-{}", std::process::id()));
    let pipeline = |records: u64| {
        let mut program = Command::new(release.join("tidegate"));
        program.args(pipeline(records, &out));
        let count = count(program, &[], places);
        // Only what the run before has written; the next one founds its job anew.
        let _ = fs::remove_dir_all(&out);
        count
    };
    found.insert("pipeline", each(pipeline, 40_000)?);

    let path = places.root.join(BASELINE);
    if update {
        let lines: String = found
            .iter()
            .map(|(stage, count)| format!("{stage} {count}\n"))
            .collect();
        fs::write(&path, &lines)
            .map_err(|error| Failure::new(format!("cannot write {BASELINE}: {error}")))?;
        print!("{lines}");
        return Ok(());
    }
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::new(format!("cannot read {BASELINE}: {error}")))?;
    compare(&text, &found)
}

/// Instructions of each further record: what a start costs is not counted.
fn each(count: impl Fn(u64) -> Result<u64, Failure>, records: u64) -> Result<u64, Failure> {
    let (once, twice) = (count(records)?, count(2 * records)?);
    Ok(twice.saturating_sub(once) / records)
}

/// The whole program: the transactions example from the generator to committed Parquet.
fn pipeline(records: u64, out: &Path) -> Vec<String> {
    let mut args: Vec<String> =
        "run -c examples/transactions.toml --until-caught-up --progress none --log-level error"
            .split(' ')
            .map(str::to_owned)
            .collect();
    for set in [
        "source.kind=generator".to_owned(),
        "source.rate=0".to_owned(),
        format!("source.count={records}"),
        format!("storage.url=file:{}", out.display()),
        "warehouse.url=none".to_owned(),
        // Batches by rows, since time passes slowly here.
        "batch.interval=1h".to_owned(),
        "batch.max-rows=20000".to_owned(),
        "engine.threads=1".to_owned(),
    ] {
        args.extend(["--set".to_owned(), set]);
    }
    args
}

/// Instructions of a program, run from the root of the repository.
fn count(mut program: Command, options: &[String], places: &Places) -> Result<u64, Failure> {
    program
        .current_dir(&places.root)
        .env("LD_LIBRARY_PATH", places.root.join(".deps/duckdb"));
    callgrind::instructions(&program, options)
        .map_err(|error| Failure::new(format!("{}: {error}", program.get_program().display())))
}

fn compare(baseline: &str, found: &BTreeMap<&str, u64>) -> Result<(), Failure> {
    let mut worse = Vec::new();
    println!(
        "{:<10} {:>14} {:>10} {:>8}",
        "stage", "instructions", "baseline", "change"
    );
    for (stage, count) in found {
        let committed = baseline
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find_map(|(name, count)| (name == *stage).then(|| count.trim().parse::<u64>().ok())?)
            .filter(|count| *count > 0)
            .ok_or_else(|| {
                Failure::new(format!(
                    "{BASELINE} has no count for {stage}; `cargo xtask instructions --update` writes it"
                ))
            })?;
        let change = 100.0 * (*count as f64 / committed as f64 - 1.0);
        println!("{stage:<10} {count:>14} {committed:>10} {change:>+7.1}%");
        if *count * 100 > committed * (100 + TOLERANCE) {
            worse.push(format!(
                "{stage} takes {change:.1} % more instructions a record"
            ));
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}. If that is worth it, say why in the commit, and take `cargo xtask instructions --update` along",
        worse.join("; ")
    )))
}
