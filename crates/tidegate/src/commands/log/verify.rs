//! `tidegate log verify`: everything is read again.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_log::VerifyReport;
use tidegate_storage::Storage;

use super::{LISTED_MAX, more};
use crate::cli::{SummaryFormat, VerifyArgs};
use crate::commands::ledger::{self, Looked};
use crate::commands::{failures, load_config, runtime};
use crate::config::units::{show_count, show_size};
use crate::exit::{Exit, Failure};
use crate::output;

/// Reads everything again.
pub(in crate::commands) fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let config = load_config(&args.config)?.config;
    let storage = Storage::open_existing(&config.storage).map_err(|e| failures::storage(&e))?;
    let is_live = std::io::stderr().is_terminal();
    let mut last = Instant::now();
    // Before the log: what is loaded by now is in the log by then.
    let ledger = config.warehouse.as_ref().map(ledger::look);
    let runtime = runtime()?;
    let report = runtime.block_on(tidegate_log::verify(&storage, &mut |progress| {
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
    let mut problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    let mut problem_count = report.problem_count;
    if let Some(Looked::Found(ledger)) = &ledger
        && let Some(problem) = runtime.block_on(ledger::compare(ledger, &storage, &report))
    {
        problems.push(problem);
        problem_count += 1;
    }
    let verified = Verified {
        url: storage.url(),
        report,
        ledger,
        problems,
        problem_count,
    };
    output::answer(&match args.format {
        SummaryFormat::Json => verified.json(),
        SummaryFormat::Text => verified.text(),
    })?;
    if verified.is_good() {
        return Ok(Exit::Success);
    }
    let problems = match verified.problem_count {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    Err(Failure::new(
        Exit::LogDamaged,
        format!("the log at {} has {problems}", verified.url),
    )
    .hint(
        "keep a copy of everything as it is, then restore what is named above from a backup; without one, \
         docs/runbook.md says what to do with a damaged log",
    ))
}

/// What was found.
struct Verified<'a> {
    url: &'a str,
    report: VerifyReport,
    ledger: Option<Looked>,
    problems: Vec<String>,
    problem_count: u64,
}

impl Verified<'_> {
    fn is_good(&self) -> bool {
        self.problem_count == 0
    }

    fn json(&self) -> String {
        let value = json!({
            "storage": self.url,
            "good": self.is_good(),
            "records": self.report.progress.records,
            "files": self.report.progress.files,
            "bytes": self.report.progress.bytes,
            "problem_count": self.problem_count,
            "problems": self.problems,
            "snapshots_unusable": self.report.snapshots_unusable,
            "orphans": self.report.orphans,
            "orphan_bytes": self.report.orphan_bytes,
            "unread": self.report.unread,
            "unread_bytes": self.report.unread_bytes,
            "ahead": self.report.ahead,
            "ahead_bytes": self.report.ahead_bytes,
            "loaded_seq": match &self.ledger {
                Some(Looked::Found(ledger)) => Some(ledger.loaded_seq),
                _ => None,
            },
            "totals": self.report.state.as_ref().map(|s| s.totals),
        });
        format!("{value}\n")
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "checked    {} records and {} files ({}) at {}",
            show_count(self.report.progress.records),
            show_count(self.report.progress.files),
            show_size(self.report.progress.bytes),
            self.url
        );
        if let Some(state) = &self.report.state {
            let _ = writeln!(
                out,
                "totals     read {}: the sums of all records add up",
                show_count(state.totals.read)
            );
        }
        match &self.ledger {
            Some(Looked::Found(ledger)) => {
                let _ = writeln!(
                    out,
                    "warehouse  has loaded up to record {}",
                    ledger.loaded_seq
                );
            }
            Some(Looked::Away(why)) => {
                let _ = writeln!(out, "warehouse  not compared: {why}");
            }
            Some(Looked::Nothing) | None => {}
        }
        self.list_unnamed(&mut out);
        for seq in &self.report.snapshots_unusable {
            let _ = writeln!(
                out,
                "snapshot   {seq} cannot be used; harmless: recovery passes it over"
            );
        }
        for problem in self.problems.iter().take(LISTED_MAX) {
            let _ = writeln!(out, "problem    {problem}");
        }
        more(&mut out, self.problems.len());
        if self.is_good() {
            out.push_str("good: every checksum and every sum is right\n");
        }
        out
    }

    /// Files that no record names.
    fn list_unnamed(&self, out: &mut String) {
        for (files, bytes, what) in [
            (
                self.report.orphans,
                self.report.orphan_bytes,
                "that no record names; harmless: `tidegate log gc` removes old ones",
            ),
            (
                self.report.ahead,
                self.report.ahead_bytes,
                "for records after the last one: a commit is under way or was given up; or records were lost",
            ),
            (
                self.report.unread,
                self.report.unread_bytes,
                "of records that are missing or cannot be read: keep them",
            ),
        ] {
            if files > 0 {
                let _ = writeln!(
                    out,
                    "unnamed    {files} files ({}) {what}",
                    show_size(bytes)
                );
            }
        }
    }
}
