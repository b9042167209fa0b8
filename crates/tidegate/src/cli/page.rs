//! What `docs/cli.md` says of commands, options, defaults and exit codes is compared with the
//! program.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;
use crate::exit::Exit;

/// The part of the page that is made from the parser; it is the last one.
const GENERATED: &str = "## Every command and option\n";

const INTRODUCTION: &str = "
This part is made from the code: `TIDEGATE_UPDATE=1 cargo test -p tidegate --lib` writes it anew.

### Options of every command

";

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");

/// The page: what is written by hand, and what is made from the parser.
fn page() -> (String, String) {
    let page = std::fs::read_to_string(PATH).unwrap();
    let place = page.find(GENERATED).unwrap();
    (page[..place].to_owned(), page[place..].to_owned())
}

/// The last part of the page, as it has to be.
fn reference() -> String {
    let tidegate = Cli::command();
    let mut out = [GENERATED, INTRODUCTION].concat();
    options(&mut out, &tidegate);
    commands(&mut out, &tidegate, "tidegate");
    out
}

fn commands(out: &mut String, parent: &Command, path: &str) {
    for command in parent.get_subcommands() {
        let name = format!("{path} {}", command.get_name());
        let about = command.get_about().unwrap();
        let _ = write!(out, "\n### {name}\n\n{about}.\n");
        if command.get_arguments().next().is_some() {
            out.push('\n');
            options(out, command);
        }
        commands(out, command, &name);
    }
}

fn options(out: &mut String, command: &Command) {
    out.push_str("| option | default | |\n| --- | --- | --- |\n");
    for arg in command.get_arguments() {
        let help = arg.get_help().unwrap().to_string();
        // A default that depends on something is in the help.
        let (help, default) = match help.split_once(" [default: ") {
            Some((help, default)) => (help, default.trim_end_matches(']').to_owned()),
            None => (help.as_str(), default(arg)),
        };
        let env = arg.get_env().map(|name| name.to_string_lossy());
        let env = env.map(|name| format!(" (environment: `{name}`)"));
        let env = env.unwrap_or_default();
        let cells = [format!("`{}`", usage(arg)), default, format!("{help}{env}")];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

/// `-c, --config FILE`, or `SQL`.
fn usage(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<_> = short.into_iter().chain(long).collect();
    let mut parts = vec![names.join(", ")];
    if arg.get_action().takes_values() {
        let possible = arg.get_possible_values();
        let values: Vec<_> = possible.iter().map(|value| value.get_name()).collect();
        let named = arg.get_value_names().unwrap_or_default();
        parts.push(if values.is_empty() {
            named.join(" ")
        } else {
            values.join("|")
        });
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

fn default(arg: &Arg) -> String {
    let values = arg.get_default_values().iter();
    let values: Vec<_> = values
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    values.join(", ")
}

/// All options of a command and of those below it.
fn all_options(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(Arg::get_long);
    let mut options: BTreeSet<_> = own.map(|long| format!("--{long}")).collect();
    for command in command.get_subcommands() {
        options.extend(all_options(command));
    }
    options
}

#[test]
fn the_page_has_every_command_with_its_options_their_defaults_and_their_help() {
    let (by_hand, generated) = page();
    if std::env::var_os("TIDEGATE_UPDATE").is_some() {
        // Other tests read it meanwhile.
        let new = format!("{PATH}.new");
        std::fs::write(&new, by_hand + &reference()).unwrap();
        std::fs::rename(&new, PATH).unwrap();
        return;
    }
    assert!(
        generated == reference(),
        "docs/cli.md is not what the code says; TIDEGATE_UPDATE=1 writes it anew"
    );
}

#[test]
fn the_page_names_no_option_that_is_not_there() {
    let mut known = all_options(&Cli::command());
    known.insert("--help".to_owned());
    let (by_hand, _) = page();
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
    let mut named = BTreeSet::new();
    for after in by_hand.split(" --").chain(by_hand.split("`--")).skip(1) {
        let name = after.split(|c: char| !is_name(c)).next().unwrap();
        if name.starts_with(|c: char| c.is_ascii_lowercase()) {
            named.insert(format!("--{name}"));
        }
    }
    assert!(named.len() > 20, "{named:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_page_has_every_exit_code() {
    let codes = [
        Exit::Success,
        Exit::Failure,
        Exit::Usage,
        Exit::OtherWriter,
        Exit::LogDamaged,
        Exit::Temporary,
        Exit::InvalidConfig,
        Exit::Interrupted,
        Exit::Terminated,
    ];
    let codes: BTreeSet<u8> = codes.into_iter().map(|exit| exit as u8).collect();
    let (by_hand, _) = page();
    let (_, table) = by_hand.split_once("## Exit codes\n").unwrap();
    let numbers = |text: &str| -> BTreeSet<u8> {
        let rows = text
            .lines()
            .filter_map(|line| line.trim().split('|').nth(1));
        let cells = rows.flat_map(|cell| cell.split(','));
        cells.filter_map(|cell| cell.trim().parse().ok()).collect()
    };
    assert_eq!(numbers(table), codes);
    for code in codes {
        assert!(crate::exit::HELP.contains(&code.to_string()), "{code}");
    }
}
