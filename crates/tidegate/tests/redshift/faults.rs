//! Everything fails by chance, from a seed: S3 and the Data API answer wrongly, late or not at all;
//! pipelines and loaders are killed, and two of them run at once. Afterwards each event is there once.

use std::io::Write as _;
use std::ops::Range;
use std::process::Child;
use std::thread;
use std::time::Duration;

use redshift_emulator::RandomFaults;
use tidegate_testkit::{Fault, Rule};

use crate::common::Job;
use crate::compare::Reference;
use crate::world::{Loaded, World, write_input};

const EVENTS: u64 = 3_000;

/// Runs of the default suite, and with `TIDEGATE_TEST_LONG`; `TIDEGATE_TEST_SEEDS=200..320` names others.
const SEEDS: Range<u64> = 0..10;
const SEEDS_LONG: Range<u64> = 0..300;
/// Runs that share a world: the S3 server looks through everything that it has for each listing.
const SEEDS_OF_WORLD: usize = 20;

fn seeds() -> Vec<u64> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let named = set("TIDEGATE_TEST_SEEDS");
    let named = named.as_deref().and_then(|text| text.split_once(".."));
    match named.map(|(from, to)| from.parse().unwrap()..to.parse().unwrap()) {
        Some(range) => range.collect(),
        None if set("TIDEGATE_TEST_LONG").is_some() => SEEDS_LONG.collect(),
        None => SEEDS.collect(),
    }
}

/// Numbers from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

#[test]
fn whatever_fails_each_event_is_loaded_once() {
    let input = Job::new("transactions");
    write_input(&input, EVENTS, 3, 21);
    let reference = Reference::over(&input.path("in"));
    for seeds in seeds().chunks(SEEDS_OF_WORLD) {
        let Some(world) = World::new(seeds[0]) else {
            return;
        };
        for seed in seeds {
            let schema = format!("run_{seed}");
            let job = world
                .job(&schema)
                .set("source.path", input.path("in").display());
            let injected = disturb(&world, &job, *seed);
            finish(&world, &job);
            job.check_ledger();
            reference.check(&world, &schema);
            let _ = writeln!(std::io::stdout(), "seed {seed}: {injected}");
        }
    }
}

/// Three rounds of processes, with faults around them, each killed at some time.
fn disturb(world: &World, job: &Loaded<'_>, seed: u64) -> String {
    let mut random = Random(seed);
    for fault in Fault::ALL {
        let chance = random.below(7) as f64 / 100.0;
        world.proxy.inject(Rule::new(fault).chance(chance));
    }
    let mut chance = |percent: u64| random.below(percent + 1) as f64 / 100.0;
    world.emulator().faults().set_random(Some(RandomFaults {
        seed,
        serializable_violation: chance(5),
        abort_batch: chance(10),
        lost_answer: chance(5),
        throttle: chance(5),
        active_statements_exceeded: chance(5),
        internal_error: chance(3),
        internal_error_after_effect: chance(5),
        slow: chance(20),
        slow_ms_max: 300,
        failed_though_committed: chance(10),
        aborted_though_committed: chance(10),
        forgotten: chance(5),
    }));
    let mut killed = 0;
    for _ in 0..3 {
        let separate = random.below(2) == 0;
        let run: &[&str] = if separate {
            &["run", "--until-caught-up", "--set", "load.separate=true"]
        } else {
            &["run", "--until-caught-up"]
        };
        let mut processes: Vec<Child> = vec![job.start(run)];
        for _ in 0..random.below(3) {
            thread::sleep(random.millis(0, 300));
            processes.push(job.start(&["load"]));
        }
        thread::sleep(random.millis(50, 1500));
        while !processes.is_empty() {
            let which = random.below(processes.len() as u64) as usize;
            let mut process = processes.swap_remove(which);
            killed += u32::from(process.try_wait().unwrap().is_none());
            // It may have ended by itself.
            let _ = process.kill();
            process.wait().unwrap();
            thread::sleep(random.millis(0, 200));
        }
    }
    let faults = (
        world.proxy.stats().total(),
        world.emulator().stats().faults.values().sum::<u64>(),
    );
    world.proxy.clear();
    world.emulator().faults().clear();
    world.emulator().faults().set_random(None);
    format!(
        "{killed} processes killed, {} faults in S3 and {} in Redshift so far",
        faults.0, faults.1
    )
}

/// Without faults, the pipeline ends well, and so does a loader: at the latest when the statements of those
/// who were killed have ended.
fn finish(world: &World, job: &Loaded<'_>) {
    job.done(&["run", "--until-caught-up", "--set", "load.separate=true"]);
    for _ in 0..20 {
        let output = job.output(&["load", "--once"]);
        if output.status.success() {
            return;
        }
        assert_eq!(
            output.status.code(),
            Some(75),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        thread::sleep(Duration::from_millis(300));
    }
    panic!("the loader does not get on: {:?}", world.emulator().stats());
}
