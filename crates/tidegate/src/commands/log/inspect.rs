//! `tidegate log inspect`: where a job stands.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use tidegate_log::{JobState, Record, read_records, recover};
use tidegate_storage::Storage;

use super::{LISTED_MAX, more};
use crate::cli::{InspectArgs, SummaryFormat};
use crate::commands::{failures, load_config, runtime};
use crate::config::time;
use crate::config::units::{show_count, show_size};
use crate::exit::{Exit, Failure};
use crate::output;

/// Shows where a job stands, and its last records.
pub(in crate::commands) fn inspect(args: &InspectArgs) -> Result<Exit, Failure> {
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
                "idle": state.idle,
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
    list_partitions(&mut out, state);
    list_records(&mut out, records);
    out
}

fn list_partitions(out: &mut String, state: &JobState) {
    let _ = writeln!(out, "\npartition  next offset           watermark");
    for (id, partition) in state.partitions.iter().take(LISTED_MAX) {
        let watermark = state
            .watermarks
            .get(&partition.lane)
            .map_or("none yet".to_owned(), |w| time::show(*w));
        let idle = match state.idle.get(&partition.lane) {
            Some(since) => format!("  idle since {}", time::show(*since)),
            None => String::new(),
        };
        let _ = writeln!(
            out,
            "{id:>9}  {:<20}  {watermark:<28}  {}{idle}",
            partition.offset, partition.name
        );
    }
    more(out, state.partitions.len());
}

fn list_records(out: &mut String, records: &[Record]) {
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
}
