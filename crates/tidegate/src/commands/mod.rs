//! What each command does.

use std::path::{Path, PathBuf};

use crate::cli::{Command, ConfigArgs, ConfigCommand, LogCommand, RedshiftCommand};
use crate::config::{self, ConfigError, LoadedConfig, Purpose};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::terminal::Terminal;

mod bench;
mod demo;
mod failures;
mod ledger;
mod load;
mod log;
mod produce;
mod query;
mod redshift;
mod run;
mod secrets;
mod validate;

/// Runs a command to its end.
///
/// # Errors
/// Whatever stopped it, with the exit code that it deserves.
pub fn dispatch(command: Command, terminal: &Terminal) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => demo::demo(&args, terminal),
        Command::Run(args) => run::run(&args, terminal),
        Command::Load(args) => load::run(&args),
        Command::Validate(args) => validate::validate(&args),
        Command::Query(args) => query::query(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Produce(args) => produce::produce(&args, terminal),
        Command::Log(LogCommand::Inspect(args)) => log::inspect(&args),
        Command::Log(LogCommand::Verify(args)) => log::verify(&args),
        Command::Log(LogCommand::Gc(args)) => log::gc(&args),
        Command::Redshift(RedshiftCommand::Check(args)) => redshift::check(&args),
        Command::Config(ConfigCommand::Show(args)) => validate::show(&args),
    }
}

/// Where a configuration is looked for when none is named.
const DEFAULT_FILES: [&str; 2] = ["tidegate.toml", "tidegate-demo/tidegate.toml"];

/// The configuration file that is meant.
fn config_file(args: &ConfigArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = &args.config {
        return Ok(path.clone());
    }
    DEFAULT_FILES.iter().map(PathBuf::from).find(|path| path.is_file()).ok_or_else(|| {
        Failure::new(Exit::Usage, "no configuration: there is neither ./tidegate.toml nor ./tidegate-demo/tidegate.toml")
            .hint("name one with -c FILE, or run `tidegate demo` first")
    })
}

/// Loads the configuration that is meant, and prints its warnings.
fn load_config(args: &ConfigArgs) -> Result<LoadedConfig, Failure> {
    load_file(&config_file(args)?, &args.set)
}

fn load_file(path: &Path, sets: &[String]) -> Result<LoadedConfig, Failure> {
    load_for(Purpose::Events, path, sets)
}

fn load_for(purpose: Purpose, path: &Path, sets: &[String]) -> Result<LoadedConfig, Failure> {
    let loaded = config::load_for(purpose, path, sets).map_err(|error| refused(&error))?;
    output::error(&loaded.warnings);
    output::error(&secrets::warnings(path, &loaded));
    Ok(loaded)
}

/// Prints all that is wrong with a configuration.
fn refused(error: &ConfigError) -> Failure {
    match error {
        ConfigError::Io { .. } => {
            Failure::new(Exit::InvalidConfig, error).hint("name the file with -c FILE")
        }
        ConfigError::Invalid {
            rendered,
            count,
            file,
        } => {
            output::error(rendered);
            let errors = if *count == 1 {
                "1 error".to_owned()
            } else {
                format!("{count} errors")
            };
            Failure::new(
                Exit::InvalidConfig,
                format!("the configuration {file} is not valid: {errors}"),
            )
        }
    }
}

/// The threads on which commands wait.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // The CPU's work has threads of its own; these only wait.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("tidegate-io")
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start threads: {error}")))
}
