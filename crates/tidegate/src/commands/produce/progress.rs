//! What a producer shows while it sends: a line on a terminal, otherwise a log line per interval.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tidegate_kafka::producer::ProduceReport;

use crate::cli::{ProgressArgs, ProgressKind};
use crate::config::units::{show_count, show_size};
use crate::progress::rounded;
use crate::terminal::Terminal;

use super::report::milliseconds;

/// Time between two paintings of the line.
const LINE_EVERY: Duration = Duration::from_millis(500);

/// Shows how far it has come.
pub(super) struct Progress {
    line: Option<ProgressBar>,
    is_silent: bool,
    every: Duration,
    count: Option<u64>,
    /// Records acknowledged, and seconds since the start, at the last time.
    last: (u64, f64),
}

impl Progress {
    /// Decides how it is shown; `count` is the number of events that are to come, if it is known.
    pub(super) fn new(args: &ProgressArgs, count: Option<u64>, terminal: &Terminal) -> Self {
        let is_line = match args.progress {
            ProgressKind::Auto => std::io::stderr().is_terminal(),
            ProgressKind::Panel => true,
            ProgressKind::Log | ProgressKind::None => false,
        };
        let line = is_line.then(|| {
            let style = ProgressStyle::with_template("{msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            terminal
                .bars()
                .add(ProgressBar::no_length().with_style(style))
        });
        Progress {
            line,
            is_silent: args.progress == ProgressKind::None,
            every: if is_line {
                LINE_EVERY
            } else {
                args.progress_every.max(Duration::from_millis(100))
            },
            count,
            last: (0, 0.0),
        }
    }

    /// How often [`Progress::show`] is to be called.
    pub(super) fn every(&self) -> Duration {
        self.every
    }

    /// Shows it; the rate is that since the last time.
    pub(super) fn show(&mut self, report: &ProduceReport) {
        let (acknowledged, seconds) = self.last;
        #[allow(clippy::cast_precision_loss)]
        let since = report.acknowledged.saturating_sub(acknowledged) as f64;
        let rate = rounded(since / (report.seconds - seconds).max(1e-3));
        self.last = (report.acknowledged, report.seconds);
        let in_flight = report.sent - report.acknowledged - report.failed;
        let free = report.client.free_bytes();
        if let Some(line) = &self.line {
            let of = self
                .count
                .map_or(String::new(), |count| format!(" of {}", show_count(count)));
            let failed = match report.failed {
                0 => String::new(),
                failed => format!(", {} failed", show_count(failed)),
            };
            line.set_message(format!(
                "{} events{of}, {}/s, p99 {}, {} in flight, {} of the buffer free{failed}",
                show_count(report.events),
                show_count(rate),
                milliseconds(report.latencies.p99),
                show_count(in_flight),
                show_size(free),
            ));
        } else if !self.is_silent {
            tracing::info!(
                events = report.events,
                acknowledged = report.acknowledged,
                failed = report.failed,
                rate,
                in_flight,
                buffer_free = free,
                retries = report.client.retries,
                "progress"
            );
        }
    }

    /// Takes the line away, so that what follows has the terminal.
    pub(super) fn clear(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}
