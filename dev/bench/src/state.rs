//! The state of deduplication: its memory, and a restart that rebuilds it; with few keys, and with
//! all those of the largest stream that is wanted.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_core::dedup::Dedup;

use crate::log::Log;
use crate::proc::resident;
use crate::process::Tidegate;
use crate::{Bench, Outcome};

/// Seconds of the horizon: the delay of the transactions example.
const HORIZON_SECONDS: u64 = 600;
/// A run that has not filled the horizon by then never will.
const FILL_MAX: Duration = Duration::from_secs(480);
/// Looks at the log are this far apart.
const PAUSE: Duration = Duration::from_millis(5);
/// How often the memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Bytes for each key, and a restart with five million of them.
pub(crate) fn few_keys(bench: &Bench) -> Outcome<Value> {
    let keys = bench.size(5_000_000, 300_000);
    let bytes_per_key = bytes_per_key(keys);
    println!(
        "\nstate of deduplication, {keys} keys in a full horizon: {bytes_per_key:.1} bytes a key"
    );
    let mut results = fill_and_restart(&bench.tidegate, bench.dir(), keys, keys)?;
    results["bytes_per_key"] = bytes_per_key.into();
    Ok(results)
}

/// The memory of the whole process with 48 million keys, which 80,000 events a second make in ten
/// minutes, and for half a horizon more; and a restart with them.
pub(crate) fn many_keys(bench: &Bench) -> Outcome<Value> {
    let keys = bench.size(48_000_000, 3_000_000);
    println!("\nbig state: {keys} keys in the horizon");
    fill_and_restart(&bench.tidegate, bench.dir(), keys, keys + keys / 2)
}

/// Generates events, of which `keys` are in a horizon, as fast as possible, until `events` are
/// committed; kills the process; and starts it again, until the first new commit.
fn fill_and_restart(tidegate: &Tidegate, dir: &Path, keys: u64, events: u64) -> Outcome<Value> {
    let storage = dir.join("state");
    let settings = settings(&storage, keys, events);
    let mut log = Log::new(&storage);
    let filled = fill(tidegate, &settings, &mut log, events)?;
    let (full, after) = filled.resident(keys);
    println!(
        "{} events in {:.0} s; {} MiB at most",
        filled.events,
        filled.seconds,
        filled.peak_bytes >> 20
    );
    if let (Some(full), Some(after)) = (full, after) {
        let (full, after) = (full >> 20, after >> 20);
        println!(
            "resident: {full} MiB when the horizon was nearly full, at most {after} MiB after it"
        );
    }

    log.read()?;
    let before = log.commits.len();
    let started = Instant::now();
    let mut running = tidegate.start(&settings)?;
    while log.commits.len() == before {
        running.alive(PAUSE)?;
        log.read()?;
    }
    let restart_seconds = started.elapsed().as_secs_f64();
    let restart_peak_bytes = running.kill()?;
    println!(
        "killed and started again: {restart_seconds:.2} s to the first new commit, {} MiB at most",
        restart_peak_bytes >> 20
    );
    std::fs::remove_dir_all(&storage)?;
    Ok(json!({
        "keys": keys,
        "events": filled.events,
        "events_per_second": filled.events as f64 / filled.seconds,
        "peak_bytes": filled.peak_bytes,
        "resident_bytes_nearly_full": full,
        "resident_bytes_after_max": after,
        "resident_bytes": thinned(&filled.curve),
        "restart_seconds": restart_seconds,
        "restart_peak_bytes": restart_peak_bytes,
    }))
}

fn settings(storage: &Path, keys: u64, events: u64) -> Vec<String> {
    let mut settings = vec![
        "source.kind=generator".to_owned(),
        format!("source.count={}", 2 * events),
        format!("source.event-rate={}", keys / HORIZON_SECONDS),
        format!("storage.url=file:{}", storage.display()),
        "warehouse.url=none".to_owned(),
    ];
    // Every event is a key.
    for share in [
        "duplicates",
        "updates",
        "late",
        "malformed",
        "rule-breaking",
    ] {
        settings.push(format!("source.{share}=0.0"));
    }
    settings
}

/// A run that was killed once enough events were committed.
struct Filled {
    events: u64,
    seconds: f64,
    peak_bytes: u64,
    /// Resident bytes by committed events.
    curve: Vec<(u64, u64)>,
}

impl Filled {
    /// The most resident bytes: in the last tenth of the first horizon, while it fills, and in all
    /// that follows.
    fn resident(&self, keys: u64) -> (Option<u64>, Option<u64>) {
        let most = |from: u64, to: u64| {
            let within = self.curve.iter().filter(|(at, _)| (from..=to).contains(at));
            within.map(|(_, bytes)| *bytes).max()
        };
        (most(keys - keys / 10, keys), most(keys + 1, u64::MAX))
    }
}

fn fill(tidegate: &Tidegate, settings: &[String], log: &mut Log, events: u64) -> Outcome<Filled> {
    let mut running = tidegate.start(settings)?;
    let mut curve = Vec::new();
    let started = Instant::now();
    let mut looked = Instant::now();
    let mut seen = 0;
    while seen < events {
        running.alive(PAUSE)?;
        seen = log.read()?;
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            curve.push((seen, resident(running.pid()).unwrap_or(0)));
        }
        if started.elapsed() > FILL_MAX {
            let reached = format!("{seen} of {events} events after {FILL_MAX:?}");
            return Err(format!("the horizon cannot be filled in time: {reached}").into());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Filled {
        events: seen,
        seconds,
        peak_bytes: running.kill()?,
        curve,
    })
}

/// Some hundred points of a curve are enough to see its form.
fn thinned(curve: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let step = curve.len().div_ceil(100).max(1);
    curve.iter().step_by(step).copied().collect()
}

/// The most bytes a key, over three horizons of a stream that fills one with `keys`.
fn bytes_per_key(keys: u64) -> f64 {
    let horizon = Duration::from_secs(HORIZON_SECONDS);
    let micros = i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX);
    let mut dedup = Dedup::new(horizon);
    let mut worst: f64 = 0.0;
    for event in 0..3 * keys {
        let time = i64::try_from(u128::from(event) * horizon.as_micros() / u128::from(keys))
            .unwrap_or(i64::MAX);
        dedup.advance(time - micros);
        // Any bijection that spreads will do for a fingerprint.
        dedup.insert(
            u128::from(event + 1).wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645),
            time,
        );
        if event >= keys {
            worst = worst.max(dedup.bytes() as f64 / keys as f64);
        }
    }
    worst
}
