//! What a producer says at its end, for people or as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use tidegate_kafka::producer::ProduceReport;

use crate::cli::SummaryFormat;
use crate::config::units::{show_count, show_size};
use crate::progress::{rounded, seconds};

/// Writes it.
pub(super) fn show(report: &ProduceReport, format: SummaryFormat) -> String {
    match format {
        SummaryFormat::Text => text(report),
        SummaryFormat::Json => format!("{}\n", json(report)),
    }
}

/// A latency for people: `12.3 ms`.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn text(report: &ProduceReport) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "sent {} records, {} acknowledged ({}) in {}, {}/s, {:.1} MB/s",
        show_count(report.sent),
        show_count(report.acknowledged),
        show_size(report.bytes),
        seconds(report.seconds),
        show_count(rounded(report.rate())),
        report.byte_rate() / 1e6,
    );
    let mut line = |label: &str, text: String| {
        let _ = writeln!(out, "  {label:<13} {text}");
    };
    line("events", show_count(report.events));
    let latencies = &report.latencies;
    line(
        "latency",
        format!(
            "p50 {}, p95 {}, p99 {}, max {}",
            milliseconds(latencies.p50),
            milliseconds(latencies.p95),
            milliseconds(latencies.p99),
            milliseconds(latencies.max)
        ),
    );
    let client = &report.client;
    line(
        "batches",
        format!(
            "{}, on average {:.0} records and {} compressed, ratio {:.2}",
            show_count(client.batches),
            client.records_per_batch(),
            show_size(rounded(client.bytes_per_batch())),
            client.compression_ratio()
        ),
    );
    line(
        "buffer",
        format!(
            "{} of {} free",
            show_size(client.free_bytes()),
            show_size(client.buffer_bytes)
        ),
    );
    line("retries", show_count(client.retries));
    line(
        "errors",
        format!(
            "{} records not delivered, {} requests failed",
            show_count(report.failed),
            show_count(client.request_errors)
        ),
    );
    if let Some(transactions) = &report.transactions {
        line(
            "transactions",
            format!(
                "{} committed with {} events, {} aborted with {}",
                show_count(transactions.committed),
                show_count(transactions.events_committed),
                show_count(transactions.aborted),
                show_count(transactions.events_aborted)
            ),
        );
    }
    if let Some(failure) = &report.first_failure {
        line("first error", failure.reason.clone());
    }
    out
}

fn json(report: &ProduceReport) -> serde_json::Value {
    let (latencies, client) = (&report.latencies, &report.client);
    let ms = |time: Duration| round(time.as_secs_f64() * 1e3);
    json!({
        "events": report.events,
        "sent": report.sent,
        "acknowledged": report.acknowledged,
        "failed": report.failed,
        "first_error": report.first_failure.as_ref().map(|failure| &failure.reason),
        "bytes": report.bytes,
        "seconds": round(report.seconds),
        "records_per_second": round(report.rate()),
        "megabytes_per_second": round(report.byte_rate() / 1e6),
        "latency_ms": {
            "p50": ms(latencies.p50),
            "p95": ms(latencies.p95),
            "p99": ms(latencies.p99),
            "max": ms(latencies.max),
        },
        "batches": client.batches,
        "batch_records_avg": round(client.records_per_batch()),
        "batch_bytes_avg": round(client.bytes_per_batch()),
        "compression_ratio": round(client.compression_ratio()),
        "buffer_bytes": client.buffer_bytes,
        "buffer_free_bytes": client.free_bytes(),
        "retries": client.retries,
        "request_errors": client.request_errors,
        "transactions": report.transactions.as_ref().map(|transactions| json!({
            "committed": transactions.committed,
            "aborted": transactions.aborted,
            "events_committed": transactions.events_committed,
            "events_aborted": transactions.events_aborted,
        })),
    })
}

/// Three decimals are enough for everybody.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
