//! What is counted while a job is measured, and how it is shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread::available_parallelism;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;
use tidegate_engine::Status;

use super::usage::{Usage, peak_memory};
use super::verdict::{Facts, Stage, bottleneck};
use crate::cli::SummaryFormat;
use crate::config::units::{show_count, show_size};
use crate::progress::{rounded, seconds};

/// A measurement under way.
#[derive(Debug)]
pub(super) struct Measuring {
    started: Instant,
    usage: Usage,
    first: Status,
    last_seq: u64,
    loads: u64,
    batches: Vec<BatchTiming>,
    loading_seconds: f64,
}

#[derive(Debug, Clone, Copy)]
struct BatchTiming {
    bytes: u64,
    commit_seconds: f64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    seconds: f64,
    cores: usize,
    /// Records that were committed.
    records: u64,
    records_per_second: f64,
    records_per_cpu_second: f64,
    rows_loaded_per_second: f64,
    batches: usize,
    /// Bytes of Parquet for a record.
    bytes_per_record: f64,
    commit_seconds_median: f64,
    commit_seconds_max: f64,
    peak_memory_bytes: u64,
    cpu_seconds: f64,
    /// Share of the process's CPU time.
    cpu_share: BTreeMap<Stage, f64>,
    bottleneck: String,
}

impl Measuring {
    /// Begins now.
    pub(super) fn begin(status: &Status) -> Self {
        Measuring {
            started: Instant::now(),
            usage: Usage::now(),
            first: status.clone(),
            last_seq: status.last_seq,
            loads: status.loads,
            batches: Vec::new(),
            loading_seconds: 0.0,
        }
    }

    /// Takes in what has happened; called much more often than there are batches.
    pub(super) fn look(&mut self, status: &Status) {
        if status.last_seq > self.last_seq {
            self.last_seq = status.last_seq;
            self.batches.push(BatchTiming {
                bytes: status.last_batch.bytes,
                commit_seconds: status.last_batch.commit_seconds,
            });
        }
        if status.loads > self.loads {
            self.loads = status.loads;
            self.loading_seconds += status.last_load.seconds;
        }
    }

    /// Ends now.
    pub(super) fn end(mut self, status: &Status) -> Measured {
        self.look(status);
        let seconds = self.started.elapsed().as_secs_f64();
        let usage = Usage::now().since(&self.usage);
        let cores = available_parallelism().map_or(1, usize::from);
        let records = status.read - self.first.read;
        let mut commits: Vec<f64> = self.batches.iter().map(|b| b.commit_seconds).collect();
        commits.sort_by(f64::total_cmp);
        let behind = |status: &Status| status.last_seq.saturating_sub(status.loaded_seq);
        let facts = Facts {
            seconds,
            cores: cores as f64,
            usage: usage.clone(),
            committing: commits.iter().sum::<f64>() / seconds,
            loading: self.loading_seconds / seconds,
            loads_fall_behind: behind(status) > behind(&self.first) + 2,
        };
        let bytes: u64 = self.batches.iter().map(|b| b.bytes).sum();
        let share = |seconds: &f64| seconds / usage.all.max(1e-9);
        Measured {
            seconds,
            cores,
            records,
            records_per_second: records as f64 / seconds,
            records_per_cpu_second: records as f64 / usage.all.max(1e-9),
            rows_loaded_per_second: (status.rows_loaded - self.first.rows_loaded) as f64 / seconds,
            batches: self.batches.len(),
            bytes_per_record: bytes as f64 / records.max(1) as f64,
            commit_seconds_median: commits.get(commits.len() / 2).copied().unwrap_or(0.0),
            commit_seconds_max: commits.last().copied().unwrap_or(0.0),
            peak_memory_bytes: peak_memory(),
            cpu_seconds: usage.all,
            cpu_share: usage
                .by_stage
                .iter()
                .map(|(stage, s)| (*stage, share(s)))
                .collect(),
            bottleneck: bottleneck(&facts),
        }
    }
}

impl Measured {
    /// Writes it.
    pub(super) fn show(&self, format: SummaryFormat) -> String {
        match format {
            SummaryFormat::Text => self.text(),
            SummaryFormat::Json => format!("{}\n", json!(self)),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |label: &str, value: &str, note: &str| {
            let text = format!("  {label:<28} {value:>12}  {note}");
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", text.trim_end());
        };
        let count = |rate: f64| show_count(rounded(rate));
        line(
            "records/s",
            &count(self.records_per_second),
            &format!("over {}, committed", seconds(self.seconds)),
        );
        line(
            "records per CPU-second",
            &count(self.records_per_cpu_second),
            &format!("of {} cores", self.cores),
        );
        line("rows loaded/s", &count(self.rows_loaded_per_second), "");
        let commit = format!(
            "committed in {}, at most {}",
            seconds(self.commit_seconds_median),
            seconds(self.commit_seconds_max)
        );
        line("batches", &show_count(self.batches as u64), &commit);
        line(
            "bytes of Parquet a record",
            &format!("{:.0}", self.bytes_per_record),
            "",
        );
        line("peak memory", &show_size(self.peak_memory_bytes), "");
        let mut shares: Vec<_> = self
            .cpu_share
            .iter()
            .filter(|(_, share)| **share >= 0.005)
            .collect();
        shares.sort_by(|a, b| b.1.total_cmp(a.1));
        line("CPU time", &format!("{:.1} s", self.cpu_seconds), "");
        for (stage, share) in shares {
            line(
                &format!("  {stage}"),
                &format!("{:.0} %", 100.0 * share),
                "",
            );
        }
        out.push('\n');
        out.push_str(&self.bottleneck);
        out.push('\n');
        out
    }
}
