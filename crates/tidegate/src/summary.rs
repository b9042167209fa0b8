//! The summary of a run, for people or as JSON.

use std::fmt::Write as _;

use serde_json::json;
use tidegate_engine::Summary;

use crate::cli::SummaryFormat;
use crate::config::units::show_count;
use crate::progress::{rounded, seconds};

/// Least width of the column with what is counted.
const LABEL_WIDTH: usize = 13;

/// What a run did.
#[derive(Debug)]
pub struct RunReport {
    name: String,
    summary: Summary,
    /// Lines of the log that could not be written.
    lines_lost: u64,
}

impl RunReport {
    /// The summary of the job `name`; `lines_lost` lines of its log could not be written.
    pub fn new(name: &str, summary: Summary, lines_lost: u64) -> Self {
        RunReport {
            name: name.to_owned(),
            summary,
            lines_lost,
        }
    }

    /// Writes it.
    pub fn show(&self, format: SummaryFormat) -> String {
        match format {
            SummaryFormat::Text => self.text(),
            SummaryFormat::Json => {
                let mut report = json!({ "job": self.name, "summary": self.summary });
                if self.lines_lost > 0 {
                    report["log_lines_lost"] = self.lines_lost.into();
                }
                format!("{report}\n")
            }
        }
    }

    fn text(&self) -> String {
        let Summary {
            status,
            read,
            seconds: took,
            complete,
        } = &self.summary;
        let mut out = String::new();
        let ended = if *complete {
            "complete: the source has ended, all windows are final"
        } else {
            "ended"
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}: {ended}", self.name);
        #[allow(clippy::cast_precision_loss)]
        let rate = rounded(*read as f64 / took.max(1e-9));
        let longest = status
            .rejected_by
            .keys()
            .map(|reason| reason.len() + 2)
            .max();
        let width = longest.unwrap_or(0).max(LABEL_WIDTH);
        let mut line = |label: &str, count: u64, note: &str| {
            let text = format!("{label:<width$} {:>15}  {note}", show_count(count));
            let _ = writeln!(out, "  {}", text.trim_end());
        };
        let pace = format!("records in {}, {}/s", seconds(*took), show_count(rate));
        line("this run", *read, &pace);
        line(
            "read",
            status.read,
            "since the job began: events + late + rejected + duplicates",
        );
        line("events", status.events, "");
        line("late", status.late, "");
        line("rejected", status.rejected, "");
        for (reason, count) in &status.rejected_by {
            line(&format!("  {reason}"), *count, "");
        }
        line("duplicates", status.duplicates, "");
        if status.gone > 0 {
            line(
                "gone",
                status.gone,
                "expired at the source before they could be read",
            );
        }
        line("commits", status.commits, "");
        line("loads", status.loads, "in this run");
        line("rows loaded", status.rows_loaded, "in this run");
        line(
            "updates",
            status.updates,
            "in this run: rows that replaced, or lost to, one of the same key",
        );
        if self.lines_lost > 0 {
            line(
                "lines lost",
                self.lines_lost,
                "of the log: standard error could not be written",
            );
        }
        out
    }
}
