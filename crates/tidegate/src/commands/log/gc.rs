//! `tidegate log gc`: files that no record names.

use std::fmt::Write as _;

use tidegate_base::clock::Clock;
use tidegate_log::collect_garbage;
use tidegate_log::garbage::GarbageOptions;
use tidegate_storage::Storage;

use crate::cli::GcArgs;
use crate::commands::{failures, load_config, runtime};
use crate::config::units::{show_count, show_size};
use crate::exit::{Exit, Failure};
use crate::output;

/// Finds, and removes if asked to, what crashes left behind.
pub(in crate::commands) fn gc(args: &GcArgs) -> Result<Exit, Failure> {
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
