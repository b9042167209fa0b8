//! Each stage alone, on one core: rows a second of CPU time, and instructions a row, which other
//! programs on the machine do not change.
//!
//! Stages are run through the public face of `tidegate-core`, with parts of the transactions
//! example taken out: so rules are what the stateless work takes longer with them, and
//! deduplication is a lane without windows. Parquet is written with the engine's settings, one
//! column after another.
//!
//! `examples/stages.rs` of `tidegate-core` runs stages, too, for `cargo xtask instructions`. It
//! stays apart: its records are its own, so that the committed counts change with the stages alone,
//! and not with the generator or the example's configuration, which are measured here.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};
use tidegate::config;
use tidegate_base::chunk::{Chunk, Payload};
use tidegate_base::clock::Clock;
use tidegate_core::decode::Decoder;
use tidegate_core::lane::Lane;
use tidegate_core::plan::Plan;
use tidegate_core::prepare::{Prepared, Preparer};
use tidegate_core::spec::JobSpec;
use tidegate_core::window::ClosedWindows;
use tidegate_engine::ParquetSettings;
use tidegate_generator::{Generator, GeneratorOptions};
use tidegate_parquet::{BatchRows, Draft};

use crate::spread::Spread;
use crate::{Bench, Outcome, process};

/// Records of a chunk.
const CHUNK: i64 = 4096;
/// What is run, and what of it is the stage: less what `less` takes, where there is one.
const STAGES: [(&str, StageWork, Option<StageWork>); 6] = [
    ("decode", StageWork::Decode, None),
    (
        "rules",
        StageWork::Prepare {
            rules: true,
            enrich: false,
        },
        Some(StageWork::Prepare {
            rules: false,
            enrich: false,
        }),
    ),
    (
        "enrichments",
        StageWork::Prepare {
            rules: true,
            enrich: true,
        },
        Some(StageWork::Prepare {
            rules: true,
            enrich: false,
        }),
    ),
    ("dedup", StageWork::Lane { dedup: true }, None),
    ("windows", StageWork::Lane { dedup: false }, None),
    ("parquet", StageWork::Parquet, None),
];

/// What is done to all chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StageWork {
    Decode,
    /// All stateless work but keys and windows, with these parts.
    Prepare {
        rules: bool,
        enrich: bool,
    },
    /// All stateful work, with deduplication and without windows, or the other way round.
    Lane {
        dedup: bool,
    },
    Parquet,
}

/// All stages in turn, several times; then their instructions.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let records: u64 = bench.size(1_000_000, 100_000);
    let runs = bench.size(5, 2);
    println!("\nstages on one core, {records} records");
    let mut took = [(); STAGES.len()].map(|()| Spread::default());
    for _ in 0..runs {
        for ((_, run, less), took) in STAGES.iter().zip(&mut took) {
            let seconds = |run: StageWork| -> Outcome<f64> {
                let mut work = Work::new(run, records)?;
                let before = cpu_time()?;
                work.pass()?;
                Ok((cpu_time()? - before).as_secs_f64())
            };
            let less = less.map_or(Ok(0.0), seconds)?;
            took.push(seconds(*run)? - less);
        }
    }
    println!(
        "{:<12}  {:>12}  {:>8}  {:>16}",
        "stage", "rows/s", "ns/row", "instructions/row"
    );
    let mut results = json!({ "records": records });
    for (stage, ((name, run, less), took)) in STAGES.iter().zip(&took).enumerate() {
        let counted = |run: StageWork, place: usize| instructions(stage, run, place);
        let count = match (
            counted(*run, 0)?,
            less.map_or(Ok(Some(0)), |less| counted(less, 1))?,
        ) {
            (Some(all), Some(less)) => Some(all.saturating_sub(less)),
            _ => None,
        };
        let rate = records as f64 / took.median();
        println!(
            "{name:<12}  {rate:>12.0}  {:>8.0}  {:>16}",
            1e9 / rate,
            count.map_or_else(|| "no valgrind".to_owned(), |count| count.to_string())
        );
        results[*name] = json!({
            "rows_per_second": rate,
            "seconds": took.json(),
            "instructions_per_row": count,
        });
    }
    Ok(results)
}

/// Instructions a row of a second pass, which a pass more takes, as callgrind counts them in this
/// program again.
fn instructions(stage: usize, run: StageWork, place: usize) -> Outcome<Option<u64>> {
    const RECORDS: u64 = 5 * CHUNK as u64;
    let mut counts = Vec::new();
    for passes in ["1", "2"] {
        let mut command: Vec<PathBuf> = vec![std::env::current_exe()?];
        let place = place.to_string();
        let arguments = [
            "--stage",
            &stage.to_string(),
            &place,
            &RECORDS.to_string(),
            passes,
        ];
        command.extend(arguments.map(PathBuf::from));
        match process::instructions(&command)? {
            Some(count) => counts.push(count),
            None => return Ok(None),
        }
    }
    let each = counts[1].saturating_sub(counts[0]) / RECORDS;
    if each == 0 {
        return Err(format!("no instructions were counted for {run:?}").into());
    }
    Ok(Some(each))
}

/// Runs what a stage takes, or (`place` 1) what it takes less, so often over so many records: for
/// counting.
pub(crate) fn run(stage: usize, place: usize, records: u64, passes: u64) -> Outcome<()> {
    let (_, run, less) = STAGES.get(stage).ok_or("no such stage")?;
    let run = if place == 0 { Some(*run) } else { *less };
    let mut work = Work::new(run.ok_or("nothing is to be subtracted")?, records)?;
    for _ in 0..passes {
        work.pass()?;
    }
    Ok(())
}

/// Chunks, and what a run needs ready before it begins.
struct Work {
    run: StageWork,
    now: i64,
    plan: Arc<Plan>,
    decoder: Decoder,
    preparer: Preparer,
    chunks: Vec<Chunk>,
    prepared: Vec<Prepared>,
    batches: Vec<RecordBatch>,
}

impl Work {
    fn new(run: StageWork, records: u64) -> Outcome<Self> {
        let mut spec: JobSpec = config::load(Path::new("examples/transactions.toml"), &[])?
            .config
            .spec;
        match run {
            StageWork::Decode | StageWork::Parquet => {}
            StageWork::Prepare { rules, enrich } => {
                spec.dedup_key.clear();
                spec.windows.clear();
                if !rules {
                    spec.rules.clear();
                }
                if !enrich {
                    spec.enrich.clear();
                }
            }
            StageWork::Lane { dedup: true } => spec.windows.clear(),
            StageWork::Lane { dedup: false } => spec.dedup_key.clear(),
        }
        let plan = Plan::compile(&spec).map_err(|errors| format!("{errors:?}"))?;
        let plan = Arc::new(plan);
        let mut preparer = Preparer::new(Arc::clone(&plan), 1)?;
        let now = Clock::System.now_micros();
        let chunks = chunks(records, now)?;
        let mut prepared = Vec::new();
        if matches!(run, StageWork::Lane { .. } | StageWork::Parquet) {
            for chunk in &chunks {
                prepared.push(preparer.prepare(chunk, now, &[])?);
            }
        }
        let batches = prepared.iter().map(|chunk| chunk.batch.clone()).collect();
        Ok(Work {
            run,
            now,
            plan,
            decoder: Decoder::new(&spec.fields),
            preparer,
            chunks,
            prepared,
            batches,
        })
    }

    /// Takes all chunks once.
    fn pass(&mut self) -> Outcome<()> {
        match self.run {
            StageWork::Decode => {
                for chunk in &self.chunks {
                    black_box(self.decoder.decode(chunk)?);
                }
            }
            StageWork::Prepare { .. } => {
                for chunk in &self.chunks {
                    black_box(self.preparer.prepare(chunk, self.now, &[])?);
                }
            }
            StageWork::Lane { .. } => {
                let mut lane = Lane::new(0, &self.plan, None);
                let windows = self.plan.windows();
                let mut closed: Vec<ClosedWindows> =
                    windows.map(|_| ClosedWindows::default()).collect();
                for chunk in &self.prepared {
                    black_box(lane.absorb(chunk));
                    lane.close_windows(&mut closed);
                }
            }
            StageWork::Parquet => {
                let draft = Draft {
                    schema: Arc::clone(self.plan.stored_schema()),
                    properties: ParquetSettings::new(&self.plan).events,
                    decimals_as_bytes: false,
                    int96: false,
                    longest_texts: false,
                    parts: self.batches.iter().cloned().map(BatchRows::all).collect(),
                };
                black_box(tidegate_parquet::encode(&[draft], 1)?);
            }
        }
        Ok(())
    }
}

/// The generator's first records, of one partition.
fn chunks(records: u64, now: i64) -> Outcome<Vec<Chunk>> {
    let options = GeneratorOptions {
        partitions: 1,
        ..GeneratorOptions::default()
    };
    let start = now - (records * 1_000_000 / options.event_rate) as i64;
    let generator = Generator::new(&options, start)?;
    let records = i64::try_from(records)?;
    let mut chunks = Vec::new();
    let mut payload = Vec::new();
    for from in (0..records).step_by(CHUNK as usize) {
        let mut chunk = Chunk::new(0, 0, from);
        for offset in from..records.min(from + CHUNK) {
            payload.clear();
            generator.write_event(0, offset, &mut payload);
            let time = generator.event_time(0, offset);
            chunk.push(offset, Some(time), Payload::Bytes, &payload);
        }
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// Time that this thread has run so far.
fn cpu_time() -> Outcome<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanos))
}
