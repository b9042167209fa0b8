//! Commands of ours that stand in the text of a page: each has to be there, with its options.

use std::process::Command;
use std::sync::LazyLock;

use clap::CommandFactory as _;
use serde_json::Value;
use tidegate::cli::Cli;

use crate::repository;

/// What `cargo xtask` says of itself.
const XTASK: &str = include_str!("../../../../dev/xtask/src/main.rs");

/// What can be named for cargo: `package tidegate`, `bin tidegate`, `test pages`, and the commands
/// of xtask.
pub(crate) fn cargo_names() -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(repository())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let commands = xtask().into_iter();
    let mut names: Vec<String> = commands.map(|name| format!("xtask {name}")).collect();
    let text = |value: &Value, member: &str| value[member].as_str().unwrap().to_owned();
    for package in metadata["packages"].as_array().unwrap() {
        names.push(format!("package {}", text(package, "name")));
        for target in package["targets"].as_array().unwrap() {
            let kinds = target["kind"].as_array().unwrap().iter();
            let name = text(target, "name");
            names.extend(kinds.map(|kind| format!("{} {name}", kind.as_str().unwrap())));
        }
    }
    names
}

/// The commands of `cargo xtask`.
pub(crate) fn xtask() -> Vec<&'static str> {
    let lines = usage().lines();
    let commands = lines.filter_map(|line| line.strip_prefix("  "));
    commands
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split(' ').next())
        .collect()
}

fn usage() -> &'static str {
    let (_, usage) = XTASK.split_once("const USAGE: &str = \"").unwrap();
    usage.split_once("\n\";").unwrap().0
}

/// Code in the text of a page, outside of its blocks, that begins as a command of ours does.
pub(crate) fn commands(page: &str) -> Vec<String> {
    let mut is_block = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if !is_block {
            lines.push(line);
        }
    }
    let text = lines.join("\n");
    let code = text.split('`').skip(1).step_by(2);
    let code = code.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "));
    code.filter(|code| {
        ["tidegate ", "cargo "]
            .iter()
            .any(|begin| code.starts_with(begin))
    })
    .collect()
}

/// Says what is not there of a command.
pub(crate) fn check(command: &str) -> Result<(), String> {
    if let Some(rest) = command.strip_prefix("cargo xtask ") {
        return check_xtask(rest);
    }
    match command.strip_prefix("cargo ") {
        Some(rest) => check_cargo(rest),
        None => check_tidegate(command),
    }
}

fn check_cargo(rest: &str) -> Result<(), String> {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(cargo_names);
    let words: Vec<&str> = rest.split(' ').collect();
    for pair in words.windows(2) {
        let kind = match pair[0] {
            "-p" | "--package" => "package",
            "--bin" | "--example" | "--test" => &pair[0][2..],
            _ => continue,
        };
        let name = format!("{kind} {}", pair[1]);
        if !NAMES.contains(&name) {
            return Err(format!("there is no {name}"));
        }
    }
    Ok(())
}

fn check_xtask(rest: &str) -> Result<(), String> {
    let mut words = rest.split(' ');
    let name = words.next().unwrap_or_default();
    if name != "COMMAND" && !xtask().contains(&name) {
        return Err("there is no such command of xtask".to_owned());
    }
    let known = |option: &str| usage().contains(option);
    match words.find(|word| word.starts_with("--") && !known(word)) {
        Some(option) => Err(format!("xtask has no option {option}")),
        None => Ok(()),
    }
}

fn check_tidegate(command: &str) -> Result<(), String> {
    let mut all = Cli::command();
    all.build();
    let mut found = &all;
    let mut words = command.split(' ').skip(1).peekable();
    if words.peek() == Some(&"COMMAND") {
        return Ok(());
    }
    while let Some(inner) = words.peek().and_then(|word| found.find_subcommand(word)) {
        found = inner;
        words.next();
    }
    if found.get_name() == all.get_name() {
        return Err("there is no such command".to_owned());
    }
    for word in words {
        let word = word.trim_matches(['[', ']', '"']);
        let Some(option) = word.strip_prefix("--") else {
            continue;
        };
        let option = option.split('=').next().unwrap_or_default();
        let mut arguments = found.get_arguments();
        if option != "help" && !arguments.any(|argument| argument.get_long() == Some(option)) {
            return Err(format!("it has no option --{option}"));
        }
    }
    Ok(())
}

#[test]
fn a_command_that_is_not_there_is_found() {
    let page = "Ask `tidegate query --fromat csv`, `tidegate serve` or\n`cargo xtask\ntset`; \
                `tidegate log verify -c FILE` is, `cargo test --test pages` is, `cargo build --bin x` is \
                not.\n```\n`tidegate x`\n```\n";
    let commands = commands(page);
    assert_eq!(commands.len(), 6, "{commands:?}");
    let known: Vec<bool> = commands.iter().map(|it| check(it).is_ok()).collect();
    let wanted = [false, false, false, true, true, false];
    assert_eq!(known, wanted, "{commands:?}");
    assert!(
        xtask().contains(&"test") && xtask().contains(&"ci"),
        "{:?}",
        xtask()
    );
}
