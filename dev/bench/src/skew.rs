//! Skew: one customer with 60 % of the traffic, with salted keys (a hot key in even partitions) and
//! without (which makes its partition hot, too), against the same load spread evenly. Over a real
//! broker.

use serde_json::{Value, json};

use crate::spread::Spread;
use crate::{Bench, Outcome, expect, topic};

const PARTITIONS: i32 = 8;

/// Each load, with what `tidegate produce` makes it of.
const LOADS: [(&str, &[&str]); 3] = [
    ("even", &[]),
    (
        "hot-key",
        &["--hot-key-share", "0.6", "--salt-hot-keys", "256"],
    ),
    ("hot-partition", &["--hot-key-share", "0.6"]),
];

/// All loads in turn, several times.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let events: u64 = bench.size(4_000_000, 200_000);
    let runs = bench.size(5, 2);
    let kafka = topic::broker()?;
    println!("\nskew: {events} events in {PARTITIONS} partitions, events/s");
    for (name, options) in LOADS {
        topic::filled(&bench.tidegate, &kafka, name, PARTITIONS, events, options)?;
    }
    let mut rates = [(); LOADS.len()].map(|()| Spread::default());
    let mut largest = [0.0; LOADS.len()];
    for run in 1..=runs {
        for (load, (name, _)) in LOADS.iter().enumerate() {
            let storage = bench.dir().join("skew");
            let done = bench
                .tidegate
                .run(&topic::settings(&kafka, name, &storage, "none"))?;
            expect(&done, events)?;
            largest[load] = largest_share(&storage)?;
            std::fs::remove_dir_all(&storage)?;
            let rate = events as f64 / done.seconds;
            println!("{run:>4}  {name:<14}  {rate:>12.0}");
            rates[load].push(rate);
        }
    }
    let even = rates[0].median();
    let mut results = json!({ "events": events });
    for (load, (name, _)) in LOADS.iter().enumerate() {
        let share = rates[load].median() / even;
        println!(
            "{name}: {} ({:.0} % of the traffic in one partition), {:.0} % of the even load's rate",
            rates[load],
            100.0 * largest[load],
            100.0 * share
        );
        results[*name] = json!({
            "events_per_second": rates[load].json(),
            "share_of_the_even_rate": share,
            "traffic_of_the_largest_partition": largest[load],
        });
    }
    Ok(results)
}

/// The share of the records that the partition with the most of them has.
fn largest_share(storage: &std::path::Path) -> Outcome<f64> {
    let mut log = crate::log::Log::new(storage);
    let all = log.read()?;
    let mut counts = std::collections::BTreeMap::new();
    for (partition, from, to) in log.commits.iter().flat_map(|commit| &commit.spans) {
        *counts.entry(partition).or_insert(0) += to - from;
    }
    let most = counts.values().max().copied().unwrap_or(0);
    Ok(most as f64 / all as f64)
}
