//! `tidegate produce`: synthetic transactions into a Kafka topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_core::clock::Clock;
use tidegate_sources::GeneratorOptions;
use tidegate_sources::produce::{ProduceOptions, ProduceReport, produce as send};

use super::{failures, runtime};
use crate::cli::ProduceArgs;
use crate::config::units::{show_count, show_size};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::progress::{rounded, seconds};
use crate::signals::Signals;

/// Produces until the count is reached or a signal comes, and waits for every acknowledgement.
pub(super) fn produce(args: &ProduceArgs) -> Result<Exit, Failure> {
    let options = ProduceOptions {
        brokers: args.brokers.clone(),
        topic: args.topic.clone(),
        generator: GeneratorOptions {
            rate: args.rate,
            count: args.count,
            seed: args.seed,
            duplicates: args.duplicates,
            updates: args.updates,
            late: args.late,
            malformed: args.malformed,
            rule_breaking: args.rule_breaking,
            ..GeneratorOptions::default()
        },
        properties: args.property.iter().cloned().collect(),
        ..ProduceOptions::default()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = runtime()?;
    let signals = runtime.block_on(async { Signals::new() })?;
    let flag = Arc::clone(&stop);
    runtime.spawn(signals.watch(
        move || {
            output::error(
                "ending: waiting for what was sent to be acknowledged; once more ends at once\n",
            );
            flag.store(true, Ordering::Relaxed);
        },
        || output::error("ended at once; what was not acknowledged may be lost\n"),
    ));
    let report = send(&options, &Clock::System, &stop, |report| {
        tracing::info!(
            sent = report.sent,
            acknowledged = report.acknowledged,
            failed = report.failed,
            rate = rounded(report.rate()),
            "progress"
        );
    })
    .map_err(|error| failures::source(&error))?;
    output::answer(&show(&report))?;
    if report.failed == 0 {
        return Ok(Exit::Success);
    }
    let reason = report.first_failure.as_deref().unwrap_or("unknown reason");
    let message = format!(
        "{} records could not be delivered to {}: {reason}",
        show_count(report.failed),
        args.topic
    );
    Err(Failure::new(Exit::Temporary, message)
        .hint("check the brokers, and produce again with the same seed"))
}

fn show(report: &ProduceReport) -> String {
    format!(
        "sent {} records, {} acknowledged ({}) in {}, {}/s\n",
        show_count(report.sent),
        show_count(report.acknowledged),
        show_size(report.bytes),
        seconds(report.seconds),
        show_count(rounded(report.rate()))
    )
}
