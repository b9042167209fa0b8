//! Tidegate against a loop that was written by hand for this one schema, on one core, from memory:
//! how much of what the machine can do is left.
//!
//! Both read the same lines from a file in memory (`/dev/shm`), do the same work with the same
//! Parquet settings, and write their files back there. The loop's time is without its start;
//! Tidegate's is of the whole process, its start, its commit log and checksums included. Both have
//! to count the same.

mod columns;
mod event;
mod run;
mod state;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tidegate_base::clock::Clock;
use tidegate_generator::{FileFormat, GeneratorOptions, generate_files};

pub(crate) use run::run;

use crate::proc;
use crate::process::{self, Tidegate};
use crate::spread::Spread;
use crate::{Bench, Outcome};

/// Records of a batch of the loop: about as many as 32 MiB hold, the `max-bytes` of the example.
const BATCH: usize = 115_000;
/// Records whose instructions are counted, beyond as many that make a start.
const COUNTED: usize = 40_000;
/// What both count; they have to agree.
const COUNTS: [&str; 5] = ["read", "events", "late", "rejected", "duplicates"];

/// Both, alternating.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let records = bench.size(3_000_000, 200_000);
    let runs = bench.size(5, 2);
    let memory = bench.memory()?;
    let dir = memory.path();
    let input = dir.join("input");
    let options = GeneratorOptions {
        count: Some(records as u64),
        ..GeneratorOptions::default()
    };
    let written = generate_files(&input, 1, FileFormat::Plain, &options, &Clock::System)?;
    let file = written.paths[0].clone();
    let core = proc::cores().first().copied().unwrap_or(0);
    let tidegate = bench.tidegate.on(&[core]);

    println!("\nby hand: {records} records from memory, on core {core}");
    let mut decoders = Vec::new();
    for decoder in run::DECODERS {
        let done = alone(&file, &dir.join("loop"), decoder, records, BATCH, core)?;
        let rate = rate(&done, "cpu_seconds");
        println!("the loop with {decoder}: {rate:.0} rows per CPU-second");
        decoders.push((rate, decoder));
    }
    let fastest = decoders.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0));
    let decoder = fastest.map_or(run::DECODERS[0], |(_, name)| name);

    println!(
        "{:>4}  {:>12}  {:>16}  {:>16}",
        "run", "", "rows/s", "rows/CPU-s"
    );
    let (mut ours, mut theirs) = <([Spread; 2], [Spread; 2])>::default();
    for number in 1..=runs {
        let by_hand = alone(&file, &dir.join("loop"), decoder, records, BATCH, core)?;
        let storage = dir.join("tidegate");
        let done = tidegate.run(&settings(&input, &storage))?;
        for count in COUNTS {
            let (a, b) = (by_hand[count].as_u64(), done.status(count)?);
            if a != Some(b) {
                return Err(format!("`{count}` is {a:?} by hand and {b} with Tidegate").into());
            }
        }
        std::fs::remove_dir_all(&storage)?;
        let rates = [
            (
                &mut theirs,
                "by hand",
                [rate(&by_hand, "seconds"), rate(&by_hand, "cpu_seconds")],
            ),
            (
                &mut ours,
                "Tidegate",
                [
                    records as f64 / done.seconds,
                    records as f64 / done.cpu_seconds,
                ],
            ),
        ];
        for (spread, name, [wall, cpu]) in rates {
            println!("{number:>4}  {name:>12}  {wall:>16.0}  {cpu:>16.0}");
            spread[0].push(wall);
            spread[1].push(cpu);
        }
    }
    let ratio = ours[1].median() / theirs[1].median();
    println!(
        "Tidegate has {:.0} % of the rows per CPU-second",
        100.0 * ratio
    );
    let instructions = instructions(&bench.tidegate, &file, dir, decoder)?;
    Ok(json!({
        "records": records,
        "bytes_per_record": written.bytes / written.events,
        "decoder": decoder,
        "decoders": decoders.iter().map(|(rate, name)| json!({ "name": name, "rows_per_cpu_second": rate })).collect::<Vec<_>>(),
        "by_hand": { "rows_per_second": theirs[0].json(), "rows_per_cpu_second": theirs[1].json() },
        "tidegate": { "rows_per_second": ours[0].json(), "rows_per_cpu_second": ours[1].json() },
        "share_of_rows_per_cpu_second": ratio,
        "instructions_per_row": instructions,
    }))
}

fn settings(input: &Path, storage: &Path) -> [String; 5] {
    [
        "source.kind=files".to_owned(),
        format!("source.path={}", input.display()),
        format!("storage.url=file:{}", storage.display()),
        "warehouse.url=none".to_owned(),
        "engine.threads=1".to_owned(),
    ]
}

fn rate(done: &Value, seconds: &str) -> f64 {
    let number = |key: &str| done[key].as_f64().unwrap_or(f64::NAN);
    number("read") / number(seconds)
}

/// The loop in a process of its own: this program again.
fn alone(
    file: &Path,
    out: &Path,
    decoder: &str,
    records: usize,
    batch: usize,
    core: usize,
) -> Outcome<Value> {
    let mut command = Command::new("taskset");
    command
        // As the program does for itself.
        .env("MIMALLOC_PURGE_DELAY", "10000")
        .args(["-c", &core.to_string()])
        .args(own_arguments(file, out, decoder, records, batch)?);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the loop ended with {}", output.status).into());
    }
    std::fs::remove_dir_all(out)?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn own_arguments(
    file: &Path,
    out: &Path,
    decoder: &str,
    records: usize,
    batch: usize,
) -> Outcome<Vec<PathBuf>> {
    Ok(vec![
        std::env::current_exe()?,
        "--hand-loop".into(),
        file.into(),
        out.into(),
        decoder.into(),
        records.to_string().into(),
        batch.to_string().into(),
    ])
}

/// Instructions of each further record, as callgrind counts them; null where there is no valgrind.
fn instructions(tidegate: &Tidegate, file: &Path, dir: &Path, decoder: &str) -> Outcome<Value> {
    let mut found = json!({});
    for name in ["by_hand", "tidegate"] {
        let mut counts = Vec::new();
        for records in [COUNTED, 2 * COUNTED] {
            let out = dir.join("counted");
            let arguments = if name == "by_hand" {
                own_arguments(file, &out, decoder, records, COUNTED / 2)?
            } else {
                let input = dir.join("counted-input");
                std::fs::create_dir_all(&input)?;
                first_lines(file, &input.join("events.jsonl"), records)?;
                tidegate_arguments(tidegate, &settings(&input, &out))
            };
            let Some(count) = process::instructions(&arguments)? else {
                println!("instructions are not counted: there is no valgrind");
                return Ok(Value::Null);
            };
            std::fs::remove_dir_all(&out)?;
            counts.push(count);
        }
        let each = counts[1].saturating_sub(counts[0]) / COUNTED as u64;
        println!("{name}: {each} instructions a row");
        found[name] = each.into();
    }
    Ok(found)
}

fn tidegate_arguments(tidegate: &Tidegate, settings: &[String]) -> Vec<PathBuf> {
    let how =
        "run -c examples/transactions.toml --until-caught-up --progress none --log-level error";
    let mut arguments = vec![tidegate.program().to_owned()];
    arguments.extend(how.split(' ').map(PathBuf::from));
    // Batches by rows, since time passes slowly under valgrind.
    let batches = [
        "batch.interval=1h".to_owned(),
        format!("batch.max-rows={}", COUNTED / 2),
    ];
    for setting in settings.iter().chain(&batches) {
        arguments.extend(["--set".into(), setting.into()]);
    }
    arguments
}

fn first_lines(from: &Path, to: &Path, lines: usize) -> Outcome<()> {
    let text = std::fs::read(from)?;
    let end = memchr::memchr_iter(b'\n', &text).nth(lines - 1);
    let end = end.ok_or_else(|| format!("{} has fewer than {lines} lines", from.display()))?;
    Ok(std::fs::write(to, &text[..=end])?)
}
