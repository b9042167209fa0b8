//! The program: parses the command line, runs the command, turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use tidegate::cli::Cli;
use tidegate::commands;
use tidegate::output;
use tidegate::terminal::Terminal;

/// Many threads allocate and free batches; this allocator gives freed memory back and scales.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let _failpoints = tidegate_log::failpoint::setup();
    let cli = Cli::parse();
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
