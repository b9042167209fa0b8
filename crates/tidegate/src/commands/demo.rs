//! `tidegate demo`: the transactions example with everything embedded.

use std::fs;
use std::path::Path;

use super::{load_file, run};
use crate::cli::{DemoArgs, SummaryFormat};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::terminal::Terminal;

/// Where things come from and go to.
const PLACES: &str = include_str!("demo.toml");
/// Windows beside those of the example, for the dashboard.
const WINDOWS: &str = include_str!("demo_windows.toml");
/// What happens to an event: as in the example, below this line.
const EXAMPLE: &str = include_str!("../../../../examples/transactions.toml");
const MARK: &str = "# ---- What happens to an event ----";

/// Writes the configuration unless it is there, and runs it.
pub(super) fn demo(args: &DemoArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let file = args.dir.join("tidegate.toml");
    if !file.exists() {
        write(&args.dir, &file)?;
    }
    let sets: Vec<String> = args
        .rate
        .iter()
        .map(|rate| format!("source.rate={rate}"))
        .collect();
    let loaded = load_file(&file, &sets)?;
    output::error(&introduction(&args.dir, &file));
    let how = run::How {
        until_caught_up: false,
        now: None,
        duration: args.duration,
        progress: args.progress.clone(),
        any_port: true,
    };
    let summary = run::run_config(&loaded.config, &how, terminal)?;
    output::answer(&summary.show(SummaryFormat::Text))?;
    output::error(&format!(
        "\nEverything that was read is in the table. `{program} demo{dir}` goes on where it stopped; \
         for your own topic, copy {file} and set [source].\n",
        program = program(),
        dir = dir_argument(&args.dir),
        file = file.display()
    ));
    Ok(Exit::Success)
}

fn write(dir: &Path, file: &Path) -> Result<(), Failure> {
    let text = configuration(dir)?;
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(file, text))
        .map_err(|error| {
            Failure::other(format!("cannot write {}: {error}", file.display()))
                .hint("choose another folder with --dir")
        })
}

/// The demo's configuration: its own places, the example's events, and a watermark that a person
/// has the patience for.
pub(super) fn configuration(dir: &Path) -> Result<String, Failure> {
    let shown = dir.display().to_string();
    if shown.contains(['"', '\\', '\n', '$']) {
        return Err(Failure::new(
            Exit::Usage,
            format!("the folder `{shown}` has a character that a configuration cannot hold"),
        )
        .hint("choose another folder with --dir"));
    }
    let events = EXAMPLE.split_once(MARK).map_or("", |(_, events)| events);
    let events = events
        .replace("delay = \"10m\"", "delay = \"10s\"")
        .replace("idle-after = \"1m\"", "idle-after = \"5s\"");
    let places = PLACES.replace("{dir}", &shown);
    Ok(format!("{places}{MARK}{events}{WINDOWS}"))
}

fn introduction(dir: &Path, file: &Path) -> String {
    let program = program();
    let config = if is_default(dir) {
        String::new()
    } else {
        format!(" -c {}", file.display())
    };
    format!(
        "\
Synthetic transactions become rows in DuckDB, each exactly once. It all is in {dir}:
  {file}    what it does: change it, and start again
  {dir}/data             Parquet files and the commit log
  {dir}/transactions.duckdb

Ask it, from another terminal, while it runs:
  {program} query{config} \"SELECT status, count(*) AS n, round(sum(amount), 2) AS total FROM transactions GROUP BY status\"
  {program} query{config} \"SELECT * FROM transactions_1m ORDER BY window_start DESC, status LIMIT 9\"   (after a minute)
  {program} query{config} \"SELECT reasons, count(*) AS n FROM rejected GROUP BY reasons ORDER BY n DESC\"
  {program} log inspect{config}
Ctrl-C ends it cleanly; kill -9 loses nothing either.

",
        dir = dir.display(),
        file = file.display(),
    )
}

fn is_default(dir: &Path) -> bool {
    dir == Path::new("tidegate-demo")
}

fn dir_argument(dir: &Path) -> String {
    if is_default(dir) {
        String::new()
    } else {
        format!(" --dir {}", dir.display())
    }
}

/// How this program was called, so that what is printed can be typed.
fn program() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "tidegate".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_configuration_of_the_demo_is_valid() {
        let text = configuration(Path::new("some dir")).unwrap();
        let loaded =
            config::read("demo.toml", text, &["source.rate=5".to_owned()], &|_| None).unwrap();
        assert_eq!(loaded.warnings, "");
        assert_eq!(loaded.config.storage.url, "file:some dir/data");
        assert_eq!(loaded.config.spec.event_time.delay.as_secs(), 10);
        assert_eq!(loaded.config.spec.event_time.idle_after.as_secs(), 5);
        assert_eq!(loaded.config.spec.windows.len(), 4);
        assert!(configuration(Path::new("a\"b")).is_err());
    }
}
