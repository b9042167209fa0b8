//! Files to committed Parquet with the whole transactions example, on all cores, nothing loaded.

use serde_json::{Value, json};
use tidegate_base::clock::Clock;
use tidegate_generator::{FileFormat, GeneratorOptions, generate_files};

use crate::spread::Spread;
use crate::{Bench, Outcome, expect};

/// Files to committed Parquet, nothing loaded.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let (tidegate, dir) = (&bench.tidegate, bench.dir());
    let events: u64 = bench.size(4_000_000, 200_000);
    let runs = bench.size(5, 2);
    let input = dir.join("input");
    let options = GeneratorOptions {
        count: Some(events),
        partitions: 8,
        ..GeneratorOptions::default()
    };
    let written = generate_files(&input, 4, FileFormat::Plain, &options, &Clock::System)?;
    println!(
        "files to committed Parquet: {events} events, {} bytes each",
        written.bytes / events
    );
    println!(
        "{:>4}  {:>12}  {:>16}  {:>10}",
        "run", "events/s", "events/CPU-s", "peak MiB"
    );
    let [mut rates, mut cpu_rates, mut peaks] = <[Spread; 3]>::default();
    for run in 1..=runs {
        let storage = dir.join(format!("throughput-{run}"));
        let done = tidegate.run(&[
            "source.kind=files".to_owned(),
            format!("source.path={}", input.display()),
            format!("storage.url=file:{}", storage.display()),
            "warehouse.url=none".to_owned(),
        ])?;
        expect(&done, events)?;
        std::fs::remove_dir_all(&storage)?;
        println!(
            "{run:>4}  {:>12.0}  {:>16.0}  {:>10}",
            events as f64 / done.seconds,
            events as f64 / done.cpu_seconds,
            done.peak_bytes >> 20
        );
        rates.push(events as f64 / done.seconds);
        cpu_rates.push(events as f64 / done.cpu_seconds);
        peaks.push(done.peak_bytes as f64);
    }
    println!("median {rates} events/s, {cpu_rates} events per CPU-second");
    Ok(json!({
        "events": events,
        "bytes_per_event": written.bytes / events,
        "events_per_second": rates.json(),
        "events_per_cpu_second": cpu_rates.json(),
        "peak_bytes": peaks.max(),
    }))
}
