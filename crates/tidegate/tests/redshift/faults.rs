//! Everything fails by chance, from a seed: S3 and the Data API answer wrongly, late or not at all;
//! pipelines and loaders are killed, and two of them run at once. Afterwards each event is there
//! once.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::ops::Range;
use std::process::Child;
use std::thread;
use std::time::Duration;

use redshift_emulator::{RandomFaults, RedshiftFault, Rule as RedshiftRule};
use tidegate_testkit::{Fault, FaultProxy, Random, Rule};

use crate::common::{Job, repository_file};
use crate::compare::Reference;
use crate::world::{Loaded, REDSHIFT, World, write_input};

const EVENTS: u64 = 3_000;

/// Runs of the default suite, and with `TIDEGATE_TEST_LONG`; `TIDEGATE_TEST_SEEDS=200..320` names
/// others.
const SEEDS: Range<u64> = 0..10;
const SEEDS_LONG: Range<u64> = 0..300;
/// Runs that share a world: the S3 server looks through everything that it has for each listing.
const SEEDS_OF_WORLD: usize = 20;

fn millis(random: &mut Random, from: u64, to: u64) -> Duration {
    Duration::from_millis(from + random.below(to - from))
}

#[test]
fn whatever_fails_each_event_is_loaded_once() {
    let input = Job::new("transactions");
    write_input(&input, EVENTS, 3, 21);
    let reference = Reference::over(&input.path("in"));
    let seeds: Vec<u64> = tidegate_testkit::seeds(SEEDS, SEEDS_LONG).collect();
    for seeds in seeds.chunks(SEEDS_OF_WORLD) {
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
    let mut random = Random::new(seed);
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
            thread::sleep(millis(&mut random, 0, 300));
            processes.push(job.start(&["load"]));
        }
        thread::sleep(millis(&mut random, 50, 1500));
        while !processes.is_empty() {
            let which = random.below(processes.len() as u64) as usize;
            let mut process = processes.swap_remove(which);
            killed += u32::from(process.try_wait().unwrap().is_none());
            // It may have ended by itself.
            let _ = process.kill();
            process.wait().unwrap();
            thread::sleep(millis(&mut random, 0, 200));
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

/// Without faults, the pipeline ends well, and so does a loader: at the latest when the statements
/// of those who were killed have ended.
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

/// What passes by itself, as Redshift and its Data API say it.
#[test]
fn errors_that_pass_by_themselves_are_tried_again() {
    let Some(world) = World::new(78) else { return };
    let job = world.job("passing").set("load.separate", true);
    let says = |message: &str| RedshiftFault::FailsWith {
        message: message.to_owned(),
    };
    let faults = [
        RedshiftFault::BatchExecuteStatementError,
        RedshiftFault::SerializableViolation,
        says(
            "1023\n  Detail: Serializable isolation violation on table - 105, transactions forming the cycle are: 1, 2",
        ),
        says("could not open relation with OID 102938"),
        says("1018\n  Detail: Relation does not exist"),
        says(
            "\n  -----------------------------------------------\n  error:  System requested abort\n  code:      1020",
        ),
        says(
            "\n  -----------------------------------------------\n  error:  \n  code:      1020\n  context:  query",
        ),
        says("tuple concurrently updated"),
        says("could not complete because of conflict with concurrent transaction"),
        says("deadlock detected"),
        says("S3ServiceException:Please reduce your request rate.,Status 503,Error SlowDown,Rid X"),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        write_input(&job.job, 20, 1, number as u64);
        let input = job.input();
        let from = std::fs::read_dir(&input)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let from = from.filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
        for path in from.collect::<Vec<_>>() {
            std::fs::rename(&path, input.join(format!("{number}.ndjson"))).unwrap();
        }
        job.done(&["run", "--until-caught-up"]);
        let rule = RedshiftRule::next(fault).at("BatchExecuteStatement");
        let faults = world.emulator().faults();
        assert!(faults.add(rule.clone().times(1_000)));
        let output = job.output(&["load", "--once"]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{rule:?}\n{err}");
        faults.clear();
        assert!(faults.add(rule.clone()));
        let loaded = job.done(&["load", "--once"]);
        assert!(loaded.starts_with("1 load"), "{rule:?}: {loaded}");
        assert!(faults.pending().is_empty(), "{rule:?} has not struck");
    }
    job.check_ledger();
}

#[test]
fn while_redshift_is_away_at_the_start_commits_go_on_and_are_loaded_when_it_is_back() {
    let Some(world) = World::new(77) else {
        return;
    };
    let emulator = world.emulator().url();
    let address = emulator.trim_start_matches("http://").parse().unwrap();
    let between = FaultProxy::start(address, 1);
    between.inject(Rule::new(Fault::ResetBefore).chance(1.0));
    let job = world
        .job("away")
        .set("redshift.endpoint", between.endpoint())
        .set("source.follow", true);
    write_input(&job.job, EVENTS, 2, 5);
    let mut process = job.start(&["run"]);
    let mut wait = |what: &str, done: &dyn Fn() -> bool| {
        let began = std::time::Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(120), "no {what}");
            assert!(process.try_wait().unwrap().is_none(), "ended before {what}");
            thread::sleep(Duration::from_millis(100));
        }
    };
    let read = || {
        let log = job.output(&["log", "inspect", "--format", "json"]).stdout;
        let log = serde_json::from_slice(&log).unwrap_or(serde_json::Value::Null);
        log["totals"]["read"].as_u64().unwrap_or(0)
    };
    wait("commit", &|| read() >= EVENTS);
    between.clear();
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'away' \
                  AND table_name = 'tidegate_ledger'";
    let loaded =
        || world.sql(tables) == ["1"] && job.number("SELECT count(*) FROM tidegate_ledger") > 0;
    wait("load", &loaded);
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(process.wait().unwrap().success());
    job.check_ledger();
}

/// Nobody listens, nobody answers as the Data API does, and there are no credentials: each is said
/// in words, with what to do next.
#[test]
fn a_redshift_that_cannot_be_asked_is_said_in_plain_words() {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    // A port that is taken and then given back.
    let nobody = url(&listen());
    let other = listen();
    let stranger = url(&other);
    thread::spawn(move || {
        for client in other.incoming() {
            let mut client = client.unwrap();
            // What is not read of a request would break the connection before the answer.
            let pause = Some(Duration::from_millis(200));
            client.set_read_timeout(pause).unwrap();
            while client.read(&mut [0; 4_096]).is_ok_and(|read| read > 0) {}
            let _ = client.write_all(
                b"HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>",
            );
        }
    });
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let nothing = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ];
    for (endpoint, variables, says, next) in [
        (
            &nobody,
            &keys[..],
            "Connection refused",
            "see whether `redshift.endpoint` and `redshift.region` are right",
        ),
        (
            &stranger,
            &keys[..],
            "HTTP 404",
            "something else that `redshift.endpoint` or a proxy leads to",
        ),
        (
            &nobody,
            &nothing[..],
            "credential",
            "AWS credentials come from the environment",
        ),
    ] {
        let example = std::fs::read_to_string(repository_file("examples/transactions.toml"));
        let job = Job::from_text(&(example.unwrap() + REDSHIFT))
            .set("source.kind", "files")
            .set("source.path", "in")
            .set("storage.url", "s3://bucket/prefix")
            .set("warehouse.url", "redshift://dev/public")
            .set("redshift.endpoint", endpoint)
            .with_variables(variables.iter().copied());
        let output = job.output(&["redshift", "check"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{text}");
        for piece in [endpoint.as_str(), says, next] {
            assert!(text.contains(piece), "no {piece:?} in: {text}");
        }
        for debug in [" { ", "Failure(", "Some(", "Error("] {
            assert!(!text.contains(debug), "{debug:?} in: {text}");
        }
    }
}
