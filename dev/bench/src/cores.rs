//! How the rate grows with the cores: the same files, with the program kept to one core, to two,
//! and to more where there are more.

use serde_json::{Value, json};
use tidegate_base::clock::Clock;
use tidegate_generator::{FileFormat, GeneratorOptions, generate_files};

use crate::proc::cores;
use crate::spread::Spread;
use crate::{Bench, Outcome, expect};

/// All numbers of cores in turn, and that several times. Files come from memory and go there, so
/// that no disk is measured.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let events: u64 = bench.size(12_000_000, 200_000);
    let runs = bench.size(5, 2);
    let memory = bench.memory()?;
    let input = memory.path().join("input");
    let options = GeneratorOptions {
        count: Some(events),
        ..GeneratorOptions::default()
    };
    generate_files(&input, 4, FileFormat::Plain, &options, &Clock::System)?;
    let all = cores();
    let numbers: Vec<usize> = std::iter::successors(Some(1), |n| Some(2 * n))
        .take_while(|n| *n <= all.len())
        .collect();
    println!("\ncores: {events} events from files in memory, events/s");
    let mut rates = vec![Spread::default(); numbers.len()];
    // Against one core of the same turn: what else the machine does changes from turn to turn.
    let mut speedups = rates.clone();
    for run in 1..=runs {
        let mut one = f64::NAN;
        for ((number, rates), speedups) in numbers.iter().zip(&mut rates).zip(&mut speedups) {
            let storage = memory.path().join("storage");
            let done = bench.tidegate.on(&all[..*number]).run(&[
                "source.kind=files".to_owned(),
                format!("source.path={}", input.display()),
                format!("storage.url=file:{}", storage.display()),
                "warehouse.url=none".to_owned(),
            ])?;
            expect(&done, events)?;
            std::fs::remove_dir_all(&storage)?;
            let rate = events as f64 / done.seconds;
            println!("{run:>4}  {number:>3} cores  {rate:>12.0}");
            rates.push(rate);
            if *number == 1 {
                one = rate;
            }
            speedups.push(rate / one);
        }
    }
    let mut results = Vec::new();
    for ((number, rates), speedups) in numbers.iter().zip(&rates).zip(&speedups) {
        let (speedup, least, greatest) = (speedups.median(), speedups.min(), speedups.max());
        println!("{number} cores: {rates}, {speedup:.2}x ({least:.2} to {greatest:.2})");
        results.push(json!({
            "cores": number,
            "events_per_second": rates.json(),
            "speedup": speedup,
            "speedups": speedups.json(),
        }));
    }
    Ok(json!({ "events": events, "by_cores": results }))
}
