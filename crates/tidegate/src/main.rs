//! The program: parses the command line, runs the command, turns its outcome into an exit code.

mod allocator;

use std::process::ExitCode;

use clap::Parser as _;
use rustix::fs::Mode;
use tidegate::cli::Cli;
use tidegate::commands;
use tidegate::output;
use tidegate::terminal::Terminal;

fn main() -> ExitCode {
    // What a job writes holds its events, rejected payloads too: files for this user alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let _failpoints = tidegate_base::failpoint::setup();
    let cli = Cli::parse();
    if cli.command.works_on_events() {
        allocator::keep_freed_memory();
    }
    let terminal = Terminal::new();
    terminal.log(cli.log_level, cli.log_format);
    match commands::dispatch(cli.command, &terminal) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::error(&format!("error: {failure}\n"));
            failure.exit.into()
        }
    }
}
