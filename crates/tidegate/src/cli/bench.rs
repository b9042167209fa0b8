//! `tidegate bench` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::SummaryFormat;
use crate::config::units;

/// `tidegate bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Configuration file whose events, source and limits are measured [default: the transactions
    /// example, generated]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Changes a key: --set engine.threads=4; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder for the files and the database, which are removed afterwards: take one on the disk
    /// that is meant
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How long it is measured, after a few seconds to get going
    #[arg(long = "for", value_name = "DURATION", default_value = "30s", value_parser = units::duration)]
    pub duration: Duration,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "text")]
    pub format: SummaryFormat,
}
