//! The command line as it is typed. `docs/cli.md` describes it for users, and its last part is made
//! from here (`page`).

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{time, units};
use crate::exit;

mod bench;
#[cfg(test)]
mod page;
mod produce;

pub use bench::BenchArgs;
pub use produce::{CompressionKind, EveryArg, ProduceArgs};

/// Exactly-once streaming from Kafka to a warehouse, in one program.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    /// What is logged.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "info",
        env = "TIDEGATE_LOG_LEVEL",
        help_heading = "Logging"
    )]
    pub log_level: LogLevel,
    /// How it is logged, on standard error.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        help_heading = "Logging"
    )]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows the whole pipeline with everything embedded: synthetic events, local files, DuckDB
    Demo(DemoArgs),
    /// Runs a pipeline until Ctrl-C or SIGTERM, or until its source has been read
    Run(RunArgs),
    /// Loads what another process commits: the loader as a process of its own
    Load(LoadArgs),
    /// Checks a configuration without touching anything: every error at once
    Validate(ValidateArgs),
    /// Asks the warehouse a question in SQL, also while the pipeline runs
    Query(QueryArgs),
    /// Measures how fast this machine takes a configuration, and tells what the bottleneck is
    Bench(BenchArgs),
    /// Writes synthetic transactions into a Kafka topic
    Produce(Box<ProduceArgs>),
    /// Shows, checks and cleans the commit log
    #[command(subcommand)]
    Log(LogCommand),
    /// Looks whether a Redshift behaves as Tidegate believes
    #[command(subcommand)]
    Redshift(RedshiftCommand),
    /// Shows the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

impl Command {
    /// Whether it works on events itself. The loader has a warehouse do that.
    pub fn works_on_events(&self) -> bool {
        !matches!(self, Command::Load(_))
    }
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Configuration file [default: ./tidegate.toml, else ./tidegate-demo/tidegate.toml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Changes a key: --set source.kind=files; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `tidegate demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder of the demo: its configuration, files and database
    #[arg(long, value_name = "DIR", default_value = "tidegate-demo")]
    pub dir: PathBuf,
    /// Events per second; 0 for as many as possible
    #[arg(long, value_name = "N")]
    pub rate: Option<u64>,
    /// Ends by itself after this time, as in 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    pub duration: Option<Duration>,
    /// How it is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// `tidegate run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Processes what the source holds now, loads it, prints a summary and ends
    #[arg(long)]
    pub until_caught_up: bool,
    /// Form of the summary
    #[arg(long, value_enum, default_value = "text")]
    pub summary: SummaryFormat,
    /// Takes TIME for the present, for runs that can be repeated, as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub now: Option<i64>,
    /// How it is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// `tidegate load`
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Loads what is committed now, and ends
    #[arg(long)]
    pub once: bool,
    /// Prints the SQL and the manifests of the next load into Redshift, and loads nothing
    #[arg(long, conflicts_with = "once")]
    pub dry_run: bool,
}

/// How progress is shown.
#[derive(Debug, Clone, Args)]
pub struct ProgressArgs {
    /// Live panel, log lines, or nothing; auto is a panel on a terminal
    #[arg(long, value_enum, default_value = "auto")]
    pub progress: ProgressKind,
    /// Time between log lines about progress
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = units::duration)]
    pub progress_every: Duration,
}

/// `tidegate validate`
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `tidegate query`
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "table")]
    pub format: QueryFormat,
    /// The query is interrupted after this time
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = units::duration)]
    pub timeout: Duration,
    /// The question; - reads it from standard input
    #[arg(value_name = "SQL")]
    pub sql: String,
}

/// `tidegate log`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Shows positions, watermarks, totals and the last records
    Inspect(InspectArgs),
    /// Reads every record and every file again and checks every checksum and the sums
    Verify(VerifyArgs),
    /// Finds files that no record refers to; removes them only with --delete
    Gc(GcArgs),
}

/// `tidegate log inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How many of the last records are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub records: u64,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "text")]
    pub format: SummaryFormat,
}

/// `tidegate log verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Form of the answer
    #[arg(long, value_enum, default_value = "text")]
    pub format: SummaryFormat,
}

/// `tidegate log gc`
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Removes what is found
    #[arg(long)]
    pub delete: bool,
    /// Leaves files alone that are younger than this: a running process may be about to commit them
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration)]
    pub grace: Duration,
}

/// `tidegate redshift`
#[derive(Debug, Subcommand)]
pub enum RedshiftCommand {
    /// Runs some thirty probes and a small job of its own, and says what is different; takes
    /// minutes
    Check(RedshiftCheckArgs),
}

/// `tidegate redshift check`
#[derive(Debug, Args)]
pub struct RedshiftCheckArgs {
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Form of the answer; json has one object a line, to be sent in
    #[arg(long, value_enum, default_value = "text")]
    pub format: SummaryFormat,
    /// Leaves its tables and files in place
    #[arg(long)]
    pub keep: bool,
}

/// `tidegate config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints the effective configuration: --set applied, secrets masked
    Show(ValidateArgs),
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What stops the pipeline.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happens.
    Info,
    /// How it happens.
    Debug,
    /// Everything.
    Trace,
}

/// How it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Form of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SummaryFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    /// A panel on a terminal, else log lines.
    Auto,
    /// A live panel.
    Panel,
    /// Log lines.
    Log,
    /// Nothing.
    None,
}

/// Form of the answer to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueryFormat {
    /// Aligned columns.
    Table,
    /// With a header.
    Csv,
    /// An array of objects, one a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
