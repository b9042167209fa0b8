//! `tidegate log`: the commit log for people. These commands only read, except `gc --delete`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_core::clock::Clock;
use tidegate_log::garbage::GarbageOptions;
use tidegate_log::{JobState, Record, Storage, collect_garbage, read_records, recover};

use super::{failures, load_config, runtime};
use crate::cli::{GcArgs, InspectArgs, SummaryFormat, VerifyArgs};
use crate::config::time;
use crate::config::units::{show_count, show_size};
use crate::exit::{Exit, Failure};
use crate::output;

/// Partitions and problems that are listed for people; JSON has them all.
const LISTED_MAX: usize = 20;

/// Shows where a job stands, and its last records.
pub(super) fn inspect(args: &InspectArgs) -> Result<Exit, Failure> {
    let config = load_config(&args.config)?.config;
    let storage = Storage::open_existing(&config.storage).map_err(|e| failures::storage(&e))?;
    let (state, records) = runtime()?.block_on(async {
        let state = recover(&storage, Duration::ZERO)
            .await
            .map_err(|e| failures::open(&e))?;
        let records = match &state {
            None => Vec::new(),
            Some(state) => {
                let count = args.records.min(state.last_seq);
                let from = state.last_seq - count + 1;
                let max = usize::try_from(count).unwrap_or(usize::MAX);
                read_records(&storage, from, max)
                    .await
                    .map_err(|e| failures::read(&e))?
            }
        };
        Ok::<_, Failure>((state, records))
    })?;
    let Some(state) = state else {
        return Err(
            Failure::other(format!("the log at {} is empty", storage.url()))
                .hint("the job has not run yet: start it with `tidegate run`"),
        );
    };
    let text = match args.format {
        SummaryFormat::Text => inspect_text(storage.url(), &state, &records),
        SummaryFormat::Json => {
            let value = json!({
                "storage": storage.url(),
                "job": state.job,
                "name": state.name,
                "created_at": state.created_at,
                "last_seq": state.last_seq,
                "last_written_at": state.last_written_at,
                "last_writer": state.last_writer,
                "commits": state.commits,
                "complete": state.complete,
                "totals": state.totals,
                "balanced": state.totals.is_balanced(),
                "rejected_by": state.rejected_by,
                "partitions": state.partitions,
                "watermarks": state.watermarks,
                "records": records,
            });
            format!("{value}\n")
        }
    };
    output::answer(&text)?;
    Ok(Exit::Success)
}

fn inspect_text(url: &str, state: &JobState, records: &[Record]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "job        {} ({}) at {url}", state.name, state.job);
    let _ = writeln!(
        out,
        "last       record {} of {} by {}{}",
        state.last_seq,
        time::show(state.last_written_at),
        state.last_writer,
        if state.complete {
            "; the source has ended"
        } else {
            ""
        }
    );
    let totals = &state.totals;
    let _ = writeln!(
        out,
        "totals     read {} = events {} + late {} + rejected {} + duplicates {}   {}",
        show_count(totals.read),
        show_count(totals.events),
        show_count(totals.late),
        show_count(totals.rejected),
        show_count(totals.duplicates),
        if totals.is_balanced() {
            "(adds up)"
        } else {
            "(DOES NOT ADD UP)"
        }
    );
    if totals.gone > 0 {
        let _ = writeln!(
            out,
            "gone       {} offsets expired at the source before they were read",
            show_count(totals.gone)
        );
    }
    for (reason, count) in &state.rejected_by {
        let _ = writeln!(out, "  rejected by {reason}: {}", show_count(*count));
    }
    let _ = writeln!(out, "\npartition  next offset           watermark");
    for (id, partition) in state.partitions.iter().take(LISTED_MAX) {
        let watermark = state
            .watermarks
            .get(&partition.lane)
            .map_or("none yet".to_owned(), |w| time::show(*w));
        let _ = writeln!(
            out,
            "{id:>9}  {:<20}  {watermark:<28}  {}",
            partition.offset, partition.name
        );
    }
    more(&mut out, state.partitions.len());
    let _ = writeln!(
        out,
        "\n   record  written                          read     files  bytes"
    );
    for record in records {
        let bytes: u64 = record.files.iter().map(|f| f.bytes).sum();
        let _ = writeln!(
            out,
            "{:>9}  {:<27}  {:>8}  {:>8}  {}",
            record.seq,
            time::show(record.written_at),
            show_count(record.counts.read),
            record.files.len(),
            show_size(bytes)
        );
        for file in &record.files {
            let _ = writeln!(
                out,
                "           {} rows  {}  {}",
                show_count(file.rows),
                show_size(file.bytes),
                file.path
            );
        }
    }
    out
}

/// Says that there is more than is listed.
fn more(out: &mut String, count: usize) {
    if count > LISTED_MAX {
        let _ = writeln!(
            out,
            "  ... and {} more (--format json has them all)",
            count - LISTED_MAX
        );
    }
}

/// Reads everything again.
pub(super) fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let config = load_config(&args.config)?.config;
    let storage = Storage::open_existing(&config.storage).map_err(|e| failures::storage(&e))?;
    let is_live = std::io::stderr().is_terminal();
    let mut last = Instant::now();
    let report = runtime()?.block_on(tidegate_log::verify(&storage, &mut |progress| {
        if is_live && last.elapsed() > Duration::from_millis(200) {
            last = Instant::now();
            output::error(&format!(
                "\r{} of {} records, {} files, {}\x1b[K",
                progress.records,
                progress.records_total,
                progress.files,
                show_size(progress.bytes)
            ));
        }
    }));
    if is_live {
        output::error("\r\x1b[K");
    }
    let report = report.map_err(|error| failures::other(&error))?;
    let state = report.state.as_ref();
    let text = match args.format {
        SummaryFormat::Json => {
            let value = json!({
                "storage": storage.url(),
                "good": report.is_good(),
                "records": report.progress.records,
                "files": report.progress.files,
                "bytes": report.progress.bytes,
                "problem_count": report.problem_count,
                "problems": report.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "snapshots_unusable": report.snapshots_unusable,
                "orphans": report.orphans,
                "orphan_bytes": report.orphan_bytes,
                "totals": state.map(|s| s.totals),
            });
            format!("{value}\n")
        }
        SummaryFormat::Text => {
            let mut out = String::new();
            let _ = writeln!(
                out,
                "checked    {} records and {} files ({}) at {}",
                show_count(report.progress.records),
                show_count(report.progress.files),
                show_size(report.progress.bytes),
                storage.url()
            );
            if let Some(state) = state {
                let _ = writeln!(
                    out,
                    "totals     read {}: the sums of all records add up",
                    show_count(state.totals.read)
                );
            }
            if report.orphans > 0 {
                let size = show_size(report.orphan_bytes);
                let _ = writeln!(
                    out,
                    "unnamed    {} files ({size}) that no record names; harmless: `tidegate log gc` removes old ones",
                    report.orphans
                );
            }
            for seq in &report.snapshots_unusable {
                let _ = writeln!(
                    out,
                    "snapshot   {seq} cannot be used; harmless: recovery passes it over"
                );
            }
            for problem in report.problems.iter().take(LISTED_MAX) {
                let _ = writeln!(out, "problem    {problem}");
            }
            more(&mut out, report.problems.len());
            if report.is_good() {
                out.push_str("good: every checksum and every sum is right\n");
            }
            out
        }
    };
    output::answer(&text)?;
    if report.is_good() {
        return Ok(Exit::Success);
    }
    let problems = if report.problem_count == 1 {
        "1 problem".to_owned()
    } else {
        format!("{} problems", report.problem_count)
    };
    Err(Failure::new(
        Exit::LogDamaged,
        format!("the log at {} has {problems}", storage.url()),
    )
    .hint("keep a copy of everything as it is, then restore what is named above from a backup"))
}

/// Finds, and removes if asked to, what crashes left behind.
pub(super) fn gc(args: &GcArgs) -> Result<Exit, Failure> {
    let config = load_config(&args.config)?.config;
    let storage = Storage::open_existing(&config.storage).map_err(|e| failures::storage(&e))?;
    let options = GarbageOptions {
        grace: args.grace,
        dry_run: !args.delete,
        clock: Clock::System,
    };
    let report = runtime()?
        .block_on(collect_garbage(&storage, &options))
        .map_err(|e| failures::garbage(&e))?;
    let verb = if args.delete {
        "removed"
    } else {
        "would be removed"
    };
    let mut out = String::new();
    for path in &report.removed {
        let _ = writeln!(out, "{path}");
    }
    let _ = writeln!(
        out,
        "{} files ({}) and {} temporary files {verb}; {} files are in use, {} may still be committed",
        report.removed.len(),
        show_size(report.removed_bytes),
        report.temporary,
        show_count(report.named),
        report.waiting
    );
    if !args.delete && (!report.removed.is_empty() || report.temporary > 0) {
        out.push_str("nothing was touched: add --delete to remove them\n");
    }
    output::answer(&out)?;
    Ok(Exit::Success)
}
