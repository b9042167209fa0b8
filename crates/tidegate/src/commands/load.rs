//! `tidegate load`: the loader as a process of its own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_engine::LoadAlone;
use tidegate_warehouse::LoadReport;
use tidegate_warehouse::redshift::DryRun;

use super::run::engine_options;
use super::{failures, load_config, runtime};
use crate::cli::LoadArgs;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signals::Signals;

/// Loads, or shows what would be loaded.
pub(super) fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    let config = load_config(&args.config)?.config;
    let runtime = runtime()?;
    let options = engine_options(&config, false, None);
    let loader =
        LoadAlone::open(options, runtime.handle()).map_err(|error| failures::engine(&error))?;
    if args.dry_run {
        let plan = loader.dry_run().map_err(|error| failures::engine(&error))?;
        output::answer(&plan.map_or_else(
            || "nothing is left to load\n".to_owned(),
            |plan| show(&plan),
        ))?;
        return Ok(Exit::Success);
    }
    let stopped = Arc::new(AtomicBool::new(false));
    let (stop, _context) = (Arc::clone(&stopped), runtime.enter());
    let signals = Signals::new()?;
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
    loaded.map_err(|error| failures::engine(&error))?;
    output::answer(&format!("{loads} loads, {rows} rows\n"))?;
    Ok(Exit::Success)
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
