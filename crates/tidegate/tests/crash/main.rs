//! The process is killed with SIGKILL, again and again, at random instants and at every failpoint,
//! and started again. Afterwards the log, the rows of the committed files, and all tables and views
//! of the warehouse are those of a run that nothing disturbed.
//!
//! A chain is one job: killed runs, then one that is left alone. Chains differ in how they cut the
//! stream into batches and loads, because that must not show either. Each start has another
//! configuration: in what decides about no row, and in windows and lookups, of which nothing may
//! show but what the documentation says. `TIDEGATE_TEST_LONG=1` kills
//! thousands of times.

// What a test cannot do ends it.
#![allow(clippy::unwrap_used)]

mod chain;
#[path = "../common/mod.rs"]
mod common;
mod extras;
mod kill;
mod outcome;
mod random;
mod workload;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Instant;

use chain::Chain;
use kill::{Kill, POINTS, Point};
use random::Random;
use workload::Workload;

/// Kills of each test, unless it is a long one.
const KILLS: u64 = 110;
/// Kills of one job, so that there are many jobs.
const KILLS_OF_JOB: usize = 16;
/// Kills of each test with `TIDEGATE_TEST_LONG=1`.
const KILLS_LONG: u64 = 2_000;

fn kills_wanted() -> u64 {
    if tidegate_testkit::is_long() {
        KILLS_LONG
    } else {
        KILLS
    }
}

/// Past the test runner's capture: how often something was killed is worth knowing when all is
/// well.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

#[test]
fn killed_at_random_instants() {
    let wanted = kills_wanted();
    let began = Instant::now();
    let workloads = [Workload::files(1), Workload::generator(2)];
    let (mut kills, mut chains) = (0, 0);
    for seed in 0.. {
        if kills >= wanted {
            break;
        }
        let workload = &workloads[seed as usize % workloads.len()];
        let mut random = Random::new(seed);
        let mut chain = Chain::new(workload, &mut random);
        let (idle, full) = (workload.idle(), workload.full());
        while chain.kills() < KILLS_OF_JOB {
            // One in four while it starts, the others somewhere in the next part of the stream.
            let after = if random.below(4) == 0 {
                random.share(idle)
            } else {
                idle / 2 + random.share(full / 6)
            };
            if !chain.start(Kill::After(after)) {
                break;
            }
            kills += 1;
        }
        chain.check();
        chains += 1;
    }
    say(&format!(
        "killed {kills} times at random instants, in {chains} jobs and {:.0?}; all as undisturbed",
        began.elapsed()
    ));
}

#[test]
fn killed_at_failpoints() {
    if !cfg!(feature = "failpoints") {
        tidegate_testkit::skip("built without the feature `failpoints`");
        return;
    }
    let wanted = kills_wanted();
    let began = Instant::now();
    let workloads = [Workload::files(3), Workload::generator(4)];
    let mut counts: BTreeMap<&str, u64> = POINTS.iter().map(|p| (p.name, 0)).collect();
    let mut chains = 0;
    // Each point often enough, too.
    let least = |counts: &BTreeMap<&str, u64>| counts.values().min().copied().unwrap_or(0);
    for seed in 0.. {
        if counts.values().sum::<u64>() >= wanted && least(&counts) >= wanted / 40 {
            break;
        }
        // Only the files make enough commits for a snapshot.
        let workload = &workloads[usize::from(seed % 4 == 3)];
        let mut random = Random::new(1_000 + seed);
        let mut chain = Chain::new(workload, &mut random);
        while let Some(point) = next_point(&chain, &counts, &mut random) {
            let hit = random.below(point.hits);
            if !chain.start(Kill::At { point, hit }) {
                break;
            }
            *counts.entry(point.name).or_default() += 1;
        }
        chain.check();
        chains += 1;
    }
    let total: u64 = counts.values().sum();
    say(&format!(
        "killed {total} times at failpoints, in {chains} jobs and {:.0?}; all as undisturbed: {counts:?}",
        began.elapsed()
    ));
}

/// The point that was reached least often of those that can be reached from where the chain is;
/// none when it was killed often enough.
fn next_point(
    chain: &Chain<'_>,
    counts: &BTreeMap<&str, u64>,
    random: &mut Random,
) -> Option<&'static Point> {
    if chain.kills() >= KILLS_OF_JOB {
        return None;
    }
    let near_snapshot = chain.is_before_snapshot();
    let mut points: Vec<&Point> = POINTS
        .iter()
        .filter(|point| point.at_snapshot == near_snapshot)
        .collect();
    random.shuffle(&mut points);
    points.into_iter().min_by_key(|point| counts[point.name])
}

#[test]
fn a_kill_is_seen_in_the_log_where_it_was_meant() {
    if !cfg!(feature = "failpoints") {
        tidegate_testkit::skip("built without the feature `failpoints`");
        return;
    }
    let workload = Workload::files(5);
    for (name, more) in [("log.put.before", 0), ("log.put.after", 1)] {
        let point = POINTS.iter().find(|point| point.name == name).unwrap();
        let mut chain = Chain::new(&workload, &mut Random::new(7));
        let mut expected = 0;
        for hit in [0, 1, 3, 0] {
            assert!(chain.start(Kill::At { point, hit }), "{name} {hit}");
            expected += hit + more;
            assert_eq!(chain.records(), expected, "{name} {hit}");
        }
        chain.check();
    }
}
