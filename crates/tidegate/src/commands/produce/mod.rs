//! `tidegate produce`: synthetic transactions into Kafka topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_base::clock::Clock;
use tidegate_generator::GeneratorOptions;
use tidegate_kafka::producer::{
    Compression, ProduceOptions, ProduceReport, TransactionEvery, TransactionOptions,
    produce as send,
};

use super::{failures, runtime};
use crate::cli::{CompressionKind, EveryArg, ProduceArgs};
use crate::config::units::show_count;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signals::Signals;
use crate::terminal::Terminal;

mod progress;
mod report;

use progress::Progress;

/// Produces until the count is reached or a signal comes, and waits for every acknowledgement.
pub(super) fn produce(args: &ProduceArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut progress = Progress::new(&args.progress, args.count, terminal);
    let options = ProduceOptions {
        report_every: progress.every(),
        ..options(args)
    };
    if let Some(salts) = options.salt_hot_keys {
        output::error(&format!(
            "note: the keys of hot customers are spread over {salts} each, so the events of a customer are no longer \
             in order; what is said of one transaction is\n"
        ));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = runtime()?;
    let signals = runtime.block_on(async { Signals::new() })?;
    let flag = Arc::clone(&stop);
    let bars = terminal.bars().clone();
    runtime.spawn(signals.watch(
        move || {
            tracing::info!(
                "ending: waiting for what was sent to be acknowledged; once more ends at once"
            );
            flag.store(true, Ordering::Relaxed);
        },
        move || {
            let _ = bars.clear();
            output::error("ended at once; what was not acknowledged may be lost\n");
        },
    ));
    let sent = send(&options, &Clock::System, &stop, |report| {
        progress.show(report);
    });
    progress.clear();
    let report = sent.map_err(|error| failures::source(&error))?;
    output::answer(&report::show(&report, args.summary))?;
    outcome(&report, &args.topic.join(", "))
}

/// How it ends: 75 where it may go better later, 1 where it will not.
fn outcome(report: &ProduceReport, topics: &str) -> Result<Exit, Failure> {
    if report.is_complete() {
        return Ok(Exit::Success);
    }
    let (reason, is_temporary) = match &report.first_failure {
        Some(failure) => (failure.reason.as_str(), failure.is_temporary),
        None => ("unknown reason", false),
    };
    let (exit, hint) = if is_temporary {
        let hint = "check the brokers, and produce again with the same seed";
        (Exit::Temporary, hint)
    } else {
        (
            Exit::Failure,
            "it would fail again: change what is refused first",
        )
    };
    let aborted = report.transactions.map_or(0, |t| t.aborted);
    let what = match (report.failed, aborted) {
        (failed, 0) => format!("{} records could not be delivered", show_count(failed)),
        (_, aborted) => format!("{} transactions were aborted", show_count(aborted)),
    };
    let message = format!("{what} to {topics}: {reason}");
    Err(Failure::new(exit, message).hint(hint))
}

fn options(args: &ProduceArgs) -> ProduceOptions {
    let (events, sending) = (&args.events, &args.sending);
    let transactions = sending.transactional_id.clone().map(|id| {
        let every = match sending.transaction_every {
            Some(EveryArg::Events(events)) => TransactionEvery::Events(events),
            Some(EveryArg::Time(time)) => TransactionEvery::Time(time),
            None => TransactionEvery::Time(std::time::Duration::from_secs(1)),
        };
        let timeout = sending
            .transaction_timeout
            .unwrap_or(std::time::Duration::from_secs(60));
        TransactionOptions { id, every, timeout }
    });
    ProduceOptions {
        brokers: args.brokers.clone(),
        topics: args.topic.clone(),
        generator: GeneratorOptions {
            rate: args.rate,
            count: args.count,
            seed: events.seed,
            duplicates: events.duplicates,
            updates: events.updates,
            late: events.late,
            malformed: events.malformed,
            rule_breaking: events.rule_breaking,
            hot_key_share: events.hot_key_share,
            event_bytes: events.event_bytes.unwrap_or(0),
            ..GeneratorOptions::default()
        },
        compression: match sending.compression {
            CompressionKind::None => Compression::None,
            CompressionKind::Snappy => Compression::Snappy,
            CompressionKind::Lz4 => Compression::Lz4,
            CompressionKind::Zstd => Compression::Zstd,
            CompressionKind::Gzip => Compression::Gzip,
        },
        linger: sending.linger,
        batch_bytes: sending.batch_size,
        buffer_bytes: sending.buffer,
        delivery_timeout: sending.delivery_timeout,
        transactions,
        salt_hot_keys: events.salt_hot_keys,
        properties: sending.property.iter().cloned().collect(),
        ..ProduceOptions::default()
    }
}
