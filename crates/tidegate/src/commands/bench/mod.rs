//! `tidegate bench`: how fast this machine takes this configuration, end to end, and what holds it
//! up.
//!
//! The configuration's own events and source, or the transactions example from the generator, go as
//! fast as they can into a folder and a DuckDB of their own, which are removed afterwards. Nothing
//! of the job itself is touched: it has another name, another consumer group and other places.

mod report;
mod usage;
mod verdict;

use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_engine::Engine;
use tidegate_engine::SourceOptions;
use tidegate_warehouse::scratch::{self, Scratch};

use self::report::{Measured, Measuring};
use super::{demo, failures, load_file, run, runtime};
use crate::cli::BenchArgs;
use crate::config::options::Config;
use crate::config::{self, LoadedConfig};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signals::Signals;

/// How the names of the folders begin.
const FOLDER: &str = "tidegate-bench-";
/// Time to get going: recovery, first connections, caches.
const WARM_UP: Duration = Duration::from_secs(3);
/// How often the job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Measures, and tells.
pub(super) fn bench(args: &BenchArgs) -> Result<Exit, Failure> {
    let place = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    scratch::collect_in(&place, FOLDER);
    let dir = Scratch::new_in(&place, FOLDER).map_err(|error| {
        Failure::other(format!("cannot make a folder to measure in: {error}"))
            .hint("name one with --dir")
    })?;
    let mut config = configuration(args, dir.path())?.config;
    let source = at_full_speed(&mut config);
    output::error(&format!(
        "measuring {source} for {} s in {}\n",
        args.duration.as_secs(),
        dir.path().display()
    ));
    let runtime = runtime()?;
    let measured = runtime.block_on(measure(&config, args.duration));
    runtime.shutdown_timeout(Duration::from_secs(10));
    output::answer(&measured?.show(args.format))?;
    Ok(Exit::Success)
}

/// The configuration, with places of its own.
fn configuration(args: &BenchArgs, dir: &Path) -> Result<LoadedConfig, Failure> {
    let shown = dir.display();
    let mut sets = vec![
        format!("storage.url=file:{shown}/data"),
        format!("warehouse.url=duckdb:{shown}/bench.duckdb"),
    ];
    match &args.config {
        Some(file) => {
            sets.extend_from_slice(&args.set);
            load_file(file, &sets)
        }
        None => {
            sets.extend(["source.rate=0".to_owned(), "batch.interval=1s".to_owned()]);
            sets.extend_from_slice(&args.set);
            let text = demo::configuration(dir)?;
            config::read("the example", text, &sets, &|name| std::env::var(name).ok())
                .map_err(|error| Failure::new(Exit::InvalidConfig, error))
        }
    }
}

/// Takes away what holds the source back, and what it shares with the real job. Says what it is.
fn at_full_speed(config: &mut Config) -> &'static str {
    config.name = format!("{}-bench", config.name);
    config.http_listen = None;
    match &mut config.source {
        SourceOptions::Kafka(kafka) => {
            kafka.group = format!("{}-bench", kafka.group);
            "the topic from the configured start on"
        }
        SourceOptions::Files(_) => "the files",
        SourceOptions::Generator(generator) => {
            generator.rate = 0;
            generator.count = None;
            "generated events"
        }
    }
}

async fn measure(config: &Config, duration: Duration) -> Result<Measured, Failure> {
    let mut signals = Signals::new()?;
    let job = Engine::start(run::engine_options(config, false, None))
        .await
        .map_err(|error| failures::engine(&error))?;
    let handle = job.handle().clone();
    let waiting = job.wait();
    tokio::pin!(waiting);
    let started = Instant::now();
    let mut measuring = Measuring::begin(&handle.status());
    let mut is_warm = false;
    let summary = loop {
        tokio::select! {
            // A bounded source has ended: what was seen of it counts.
            outcome = &mut waiting => break Some(outcome.map_err(|error| failures::engine(&error))?),
            exit = signals.next() => return Err(Failure::new(exit, "stopped before it was measured")),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        measuring.look(&handle.status());
        if !is_warm && started.elapsed() >= WARM_UP {
            is_warm = true;
            measuring = Measuring::begin(&handle.status());
        }
        if is_warm && started.elapsed() >= WARM_UP + duration {
            break None;
        }
    };
    match summary {
        Some(summary) => Ok(measuring.end(&summary.status)),
        None => {
            let measured = measuring.end(&handle.status());
            handle.stop();
            waiting.await.map_err(|error| failures::engine(&error))?;
            Ok(measured)
        }
    }
}
