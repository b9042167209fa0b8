//! The pages as a test: every block of code in README, CONTRIBUTING and docs is run or read, or
//! stands in [`not_run`] with the reason; what a command prints is compared with what the page says
//! it prints. Commands of ours that stand in the text have to be there, with their options.
//!
//! Blocks of one page run in order, in one shell, in an empty folder. What a block is stands in its
//! language, and in a comment before it that readers of the page do not see:
//!
//! - A block `console` has commands, each from `$ ` on, and after each what it prints to standard
//!   output. A line `…` stands for any lines, `…` in a line for any text. A command has to succeed.
//! - A block `json` is read as JSON.
//! - `<!-- test: with ARGS -->`: `tidegate` gets these arguments, too, in the block: other places
//!   than those of the page.
//! - `<!-- test: file NAME -->`: the block is written to this file.
//! - `<!-- test: config -->`: the block is a part of a configuration: it is read as TOML.
//! - `<!-- test: sql -->`: a question in SQL, which `tidegate query` has to be able to answer.
//! - `<!-- test: duckdb FOLDER -->`: SQL for DuckDB itself, over a job's files in this folder.
//! - `<!-- test: setup`, lines, `-->`: commands that the page does not show.
//! - `<!-- test: instead`, lines `THIS => THAT`, `-->`: replaces text in all commands that follow,
//!   because ports of the page may be taken.
//! - `<!-- test: needs SERVER -->`: what follows, up to `needs nothing`, needs this, and what else
//!   was said to be needed; see [`servers`].
//!
//! `127.0.0.1:8080` of a page is `$ADDRESS` for curl; `serve` starts the job of the page and sets
//! it.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

mod inline;
mod not_run;
mod page;
mod servers;
mod shell;
mod superusers;

use std::path::{Path, PathBuf};

use duckdb::Connection;
use not_run::NOT_RUN;
use page::{Page, Step};
use shell::Shell;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap()
}

fn page(path: &str) -> Page {
    Page::parse(&text(path)).unwrap_or_else(|wrong| panic!("{path}: {wrong}"))
}

fn run(path: &str) {
    let page = page(path);
    let mut shell = Shell::start();
    let mut instead: Vec<(String, String)> = Vec::new();
    let mut is_met = true;
    let put = |text: &str, instead: &[(String, String)]| {
        let replaced = |text: String, (from, to): &(String, String)| text.replace(from, to);
        instead.iter().fold(text.to_owned(), replaced)
    };
    for (line, step) in &page.steps {
        let place = format!("{path}:{line}");
        match step {
            Step::Needs(server) if server == "nothing" => is_met = true,
            Step::Needs(server) => is_met = is_met && servers::get(server, &mut shell),
            _ if !is_met => {}
            Step::Setup(script) => {
                shell.run(&place, script);
            }
            Step::Instead(pairs) => instead.extend_from_slice(pairs),
            Step::File { name, text } => std::fs::write(shell.folder().join(name), text).unwrap(),
            Step::Config(text) => {
                let read = text.parse::<toml::Table>();
                assert!(read.is_ok(), "{place}: {}", read.unwrap_err());
            }
            Step::Json(text) => {
                let read = serde_json::from_str::<serde_json::Value>(text);
                assert!(read.is_ok(), "{place}: {}", read.unwrap_err());
            }
            Step::DuckDb { folder, sql } => {
                let data = format!("'{}/data/", shell.folder().join(folder).display());
                let asked = Connection::open_in_memory()
                    .and_then(|connection| connection.execute_batch(&sql.replace("'data/", &data)));
                assert!(asked.is_ok(), "{place}: {}", asked.unwrap_err());
            }
            Step::Commands { with, commands } => {
                for command in commands {
                    let script = put(&command.text, &instead);
                    let printed = shell.run_with(&place, with, &script);
                    assert!(
                        page::fits(&command.prints, &printed),
                        "{place}: `{}` prints\n{printed}\nand the page says\n{}",
                        command.text,
                        command.prints.join("\n")
                    );
                }
            }
            Step::NotRun(_) => {}
        }
    }
}

#[test]
fn the_readme_does_what_it_says() {
    run("README.md");
}

#[test]
fn the_page_of_the_command_line_does_what_it_says() {
    run("docs/cli.md");
}

#[test]
fn the_page_of_the_configuration_does_what_it_says() {
    run("docs/configuration.md");
}

#[test]
fn the_page_of_the_interface_does_what_it_says() {
    run("docs/api.md");
}

#[test]
fn the_page_of_windows_does_what_it_says() {
    run("docs/windows.md");
}

#[test]
fn the_page_of_rejects_does_what_it_says() {
    run("docs/rejects.md");
}

#[test]
fn the_page_of_changes_does_what_it_says() {
    run("docs/changing.md");
}

#[test]
fn the_page_of_redshift_does_what_it_says() {
    run("docs/redshift.md");
}

#[test]
fn the_page_of_files_does_what_it_says() {
    run("docs/files.md");
}

#[test]
fn the_runbook_does_what_it_says() {
    run("docs/runbook.md");
}

/// README, CONTRIBUTING, ARCHITECTURE, SECURITY, and all pages below docs.
fn pages() -> Vec<String> {
    let root = repository();
    let mut pages: Vec<String> = ["README", "CONTRIBUTING", "ARCHITECTURE", "SECURITY"]
        .map(|name| format!("{name}.md"))
        .into();
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let path = path.strip_prefix(&root).unwrap();
                pages.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    pages.sort();
    pages
}

#[test]
fn every_block_of_every_page_is_run_or_listed_with_a_reason() {
    let this = include_str!("main.rs");
    let mut listed = vec![false; NOT_RUN.len()];
    for path in pages() {
        let steps = page(&path).steps;
        for (line, step) in &steps {
            let Step::NotRun(first) = step else { continue };
            let place = NOT_RUN
                .iter()
                .position(|(page, begin, _)| *page == path && first.starts_with(begin));
            let Some(place) = place else {
                panic!(
                    "{path}:{line}: this block is not run (`{first}`): say with a comment what it \
                     is, or put it into not_run.rs with the reason"
                );
            };
            listed[place] = true;
        }
        let has_more = steps
            .iter()
            .any(|(_, step)| !matches!(step, Step::NotRun(_)));
        let is_run = this.contains(&format!("run(\"{path}\");"));
        assert!(
            is_run || !has_more,
            "{path} has blocks to run, and no test here"
        );
    }
    for ((path, begin, reason), listed) in NOT_RUN.iter().zip(listed) {
        assert!(listed, "{path} has no block that begins with `{begin}`");
        assert!(reason.len() > 10, "{path}: `{begin}` needs a reason");
    }
}

#[test]
fn every_command_that_stands_in_the_text_is_there() {
    let mut seen = 0;
    for path in pages() {
        for command in inline::commands(&text(&path)) {
            let known = inline::check(&command);
            assert!(known.is_ok(), "{path}: `{command}`: {}", known.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} commands were found");
}

/// One cause is one row, wherever in a record it is found.
#[test]
fn pages_count_rejects_by_cause_in_one_way() {
    let cause = r"regexp_replace(detail, ' (at|from) byte .*|, found \W.*', '') AS cause";
    for path in ["docs/rejects.md", "docs/runbook.md"] {
        assert!(text(path).contains(cause), "{path} counts in another way");
    }
    for path in pages() {
        let text = text(&path);
        assert!(!text.contains("GROUP BY detail"), "{path}");
    }
}
