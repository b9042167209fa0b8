//! `tidegate load`: the loader as a process of its own.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_engine::{LoadAlone, Starting};
use tidegate_serve::{BindError, ServeOptions, Server};
use tidegate_warehouse::LoadReport;
use tidegate_warehouse::redshift::DryRun;
use tokio::runtime::Runtime;

use super::run::{cannot_listen, engine_options, http_runtime, serve_options};
use super::{config_file, failures, load_for, runtime};
use crate::cli::LoadArgs;
use crate::config::Purpose;
use crate::config::options::Config;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signals::Signals;

/// The configuration, of which nothing is computed here.
fn config(args: &LoadArgs) -> Result<Config, Failure> {
    let path = config_file(&args.config)?;
    Ok(load_for(Purpose::Tables, &path, &args.config.set)?.config)
}

/// Loads, or shows what would be loaded.
pub(super) fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    let config = config(args)?;
    let runtime = runtime()?;
    let options = engine_options(&config, false, None);
    if args.dry_run {
        let loader =
            LoadAlone::open(options, runtime.handle()).map_err(|error| failures::engine(&error))?;
        let plan = loader.dry_run().map_err(|error| failures::engine(&error))?;
        output::answer(&plan.map_or_else(
            || "nothing is left to load\n".to_owned(),
            |plan| show(&plan),
        ))?;
        return Ok(Exit::Success);
    }
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    let mut signals = {
        let _context = runtime.enter();
        Signals::new()?
    };
    let starting = Starting::new(&options);
    // With --once it ends by itself, and says how with its exit code.
    let served = if args.once {
        None
    } else {
        serve(&config, &starting)?
    };
    let io = runtime.handle().clone();
    let opening = runtime.spawn_blocking(move || LoadAlone::open_shown(options, &starting, &io));
    let opened = runtime.block_on(async {
        tokio::select! {
            opened = opening => Ok(opened),
            exit = signals.next() => Err(exit),
        }
    });
    let loader = match opened {
        Ok(Ok(opened)) => opened.map_err(|error| failures::engine(&error))?,
        Ok(Err(error)) => return Err(Failure::other(error)),
        Err(exit) => {
            runtime.shutdown_background();
            return Err(Failure::new(exit, "stopped while it was starting")
                .hint("nothing was loaded; start it again"));
        }
    };
    runtime.spawn(signals.watch(
        move || {
            tracing::info!("ending after the load that is under way; once more ends at once");
            stop.store(true, Ordering::Release);
        },
        || output::error("ended at once; what was under way is loaded whole or not at all\n"),
    ));
    let (mut loads, mut rows) = (0u64, 0u64);
    let loaded = loader.run(
        args.once,
        &|| stopped.load(Ordering::Acquire),
        &mut |report: &LoadReport| {
            loads += 1;
            rows += report.rows;
            tracing::info!(
                first_seq = report.first_seq,
                last_seq = report.last_seq,
                files = report.files,
                bytes = report.bytes,
                rows = report.rows,
                inserted = report.inserted,
                updates = report.updates,
                seconds = report.elapsed.as_secs_f64(),
                oldest_commit_us = report.committed_at.0,
                newest_commit_us = report.committed_at.1,
                "loaded"
            );
        },
    );
    if let Some(http) = served {
        http.shutdown_background();
    }
    loaded.map_err(|error| failures::engine(&error))?;
    output::answer(&format!("{loads} loads, {rows} rows\n"))?;
    Ok(Exit::Success)
}

/// Answers over HTTP at `load.listen`, else at `http.listen`; gives the threads that do.
///
/// `tidegate run` on the same machine has `http.listen`, and a file that was written before this
/// process answered has no other address: then loading goes on without, and says so.
fn serve(config: &Config, starting: &Starting) -> Result<Option<Runtime>, Failure> {
    let (address, key) = match (config.load_listen, config.http_listen) {
        (Some(address), _) => (address, "load.listen"),
        (None, Some(address)) => (address, "http.listen"),
        (None, None) => return Ok(None),
    };
    let http = http_runtime()?;
    // Events are taken in by the other process.
    let options = ServeOptions {
        ingest: None,
        ..serve_options(config, address, key)
    };
    let server = match http.block_on(Server::bind(options)) {
        Ok(server) => server,
        Err(BindError::Address { source, .. })
            if key == "http.listen" && source.kind() == ErrorKind::AddrInUse =>
        {
            tracing::warn!(
                %address,
                "nobody can see this process over HTTP: `tidegate run` or another process has \
                 http.listen; set load.listen to another address"
            );
            return Ok(None);
        }
        Err(error) => return Err(cannot_listen(error)),
    };
    tracing::info!(address = %server.address(), "HTTP: /healthz, /readyz, /metrics, /openapi.json and /v1/status");
    // It ends with its threads.
    http.spawn(server.serve_loads(starting.monitor(), std::future::pending()));
    Ok(Some(http))
}

fn show(plan: &DryRun) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let (first, last) = plan.records;
    let _ = writeln!(
        out,
        "-- records {first} to {last} of the commit log, in one transaction"
    );
    for (url, json) in &plan.manifests {
        let _ = writeln!(out, "-- manifest {url}\n-- {json}");
    }
    for statement in &plan.statements {
        let _ = writeln!(out, "{statement};");
    }
    out
}
