//! How long tests of chance run.

use std::env;
use std::ops::Range;
use std::panic::{RefUnwindSafe, catch_unwind};
use std::thread;

/// Whether the long tests are asked for: `TIDEGATE_TEST_LONG` is neither empty nor 0.
pub fn is_long() -> bool {
    env::var_os("TIDEGATE_TEST_LONG").is_some_and(|long| !long.is_empty() && long != "0")
}

/// The seeds that a test is run with: `short`, or `long` where the long tests are asked for, or
/// those that are named, as in `TIDEGATE_TEST_SEEDS=200..320`.
///
/// # Panics
///
/// If `TIDEGATE_TEST_SEEDS` is no range of numbers.
pub fn seeds(short: Range<u64>, long: Range<u64>) -> Range<u64> {
    match env::var("TIDEGATE_TEST_SEEDS") {
        Ok(named) if !named.is_empty() => {
            let numbers = named.split_once("..");
            let range = numbers.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
            range.unwrap_or_else(|| {
                panic!("TIDEGATE_TEST_SEEDS is `{named}`, and not like 200..320")
            })
        }
        _ if is_long() => long,
        _ => short,
    }
}

/// Runs a property over its [`seeds`], and says which one failed.
///
/// # Panics
///
/// If the property panics for a seed.
pub fn each_seed(short: Range<u64>, long: Range<u64>, property: impl Fn(u64) + RefUnwindSafe) {
    check(seeds(short, long), &property);
}

/// The same on all cores, for a property that takes nothing but its seed.
///
/// # Panics
///
/// If the property panics for a seed.
#[expect(clippy::disallowed_methods, reason = "no thread waits for another one")]
pub fn each_seed_on_all_cores(
    short: Range<u64>,
    long: Range<u64>,
    property: impl Fn(u64) + RefUnwindSafe + Sync,
) {
    let (seeds, property) = (seeds(short, long), &property);
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    thread::scope(|scope| {
        for thread in 0..threads {
            let seeds = seeds.clone().filter(move |seed| seed % threads == thread);
            scope.spawn(|| check(seeds, property));
        }
    });
}

fn check(seeds: impl Iterator<Item = u64>, property: &(impl Fn(u64) + RefUnwindSafe)) {
    for seed in seeds {
        assert!(
            catch_unwind(|| property(seed)).is_ok(),
            "seed {seed}; TIDEGATE_TEST_SEEDS={seed}..{} repeats it",
            seed + 1
        );
    }
}
