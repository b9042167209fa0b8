//! `tidy`: what can be checked of style without compiling (docs/style.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::places::Places;
use crate::process::Failure;

/// Lines of a file, and of a function, at most.
const FILE_MAX: usize = 600;
const FUNCTION_MAX: usize = 80;
/// Columns of a line of a comment or of a page, at most.
const WIDTH_MAX: usize = 100;

/// Files that define a type of the same name, at most: a name has one meaning.
const DEFINITIONS_MAX: usize = 2;

/// Where something is found, and how much of it: lines over a limit, or the length of a file or a
/// function.
type Findings = BTreeMap<String, usize>;

/// Checks all files that git knows.
pub(crate) fn tidy(places: &Places) -> Result<(), Failure> {
    let mut found = Findings::new();
    let mut types: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in tracked(&places.root)? {
        let is_rust = path.ends_with(".rs");
        if !is_rust && !path.ends_with(".md") {
            continue;
        }
        // A file that is deleted and not yet committed.
        let Ok(text) = fs::read_to_string(places.root.join(&path)) else {
            continue;
        };
        if is_rust {
            check_rust(&path, &text, &mut found);
            for name in defined_types(&path, &text) {
                types
                    .entry(name.to_owned())
                    .or_default()
                    .insert(path.clone());
            }
        } else {
            check_page(&path, &text, &mut found);
        }
    }
    for (name, files) in types {
        if files.len() > DEFINITIONS_MAX {
            found.insert(format!("files that define a type `{name}`"), files.len());
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let lines = found.iter().map(|(what, count)| format!("{what}: {count}"));
    let wrong: Vec<String> = lines.collect();
    Err(Failure::new(format!(
        "not tidy (docs/style.md says what is wanted):\n  {}",
        wrong.join("\n  ")
    )))
}

fn tracked(root: &Path) -> Result<Vec<String>, Failure> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .map_err(|error| Failure::new(format!("cannot list the files with git: {error}")))?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    Ok(listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect())
}

fn check_rust(path: &str, text: &str, found: &mut Findings) {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > FILE_MAX {
        found.insert(format!("{path}, lines of the file"), lines.len());
    }
    let is_test = path.contains("/tests/") || path.ends_with("tests.rs");
    for (number, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let is_comment = code.starts_with("//");
        if is_comment && line.chars().count() > WIDTH_MAX && code.contains(' ') {
            count(found, format!("{path}, comments over {WIDTH_MAX} columns"));
        }
        if is_comment && misuses_behind(code) {
            count(found, format!("{path}, \"behind\" for \"after\""));
        }
        if is_test && sleeps(code) && !is_in_loop(&lines[..number]) {
            count(found, format!("{path}, fixed sleeps"));
        }
        if let Some((name, length)) = function(&lines[number..])
            && length > FUNCTION_MAX
        {
            found.insert(format!("{path}, lines of `{name}`"), length);
        }
    }
}

/// Names of the types that a file defines, tests apart.
fn defined_types<'a>(path: &str, text: &'a str) -> Vec<&'a str> {
    if path.contains("/tests/") || path.ends_with("tests.rs") {
        return Vec::new();
    }
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let names = code.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        let kind = if first.starts_with("pub") {
            words.next()?
        } else {
            first
        };
        // An indented `type` belongs to a trait.
        let is_type = ["struct", "enum", "trait", "union"].contains(&kind)
            || (kind == "type" && !line.starts_with(' '));
        let name = words.next().filter(|_| is_type)?;
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
        Some(&name[..end.unwrap_or(name.len())])
    });
    names.filter(|name| !name.is_empty()).collect()
}

fn check_page(path: &str, text: &str, found: &mut Findings) {
    let (mut is_code, mut is_hidden) = (false, false);
    for line in text.lines() {
        let start = line.trim_start();
        is_hidden |= start.starts_with("<!--");
        if start.starts_with("```") {
            is_code = !is_code;
        } else if !is_code && !is_hidden && !start.starts_with(['|', '!', '[']) {
            if line.chars().count() > WIDTH_MAX {
                count(found, format!("{path}, lines over {WIDTH_MAX} columns"));
            }
            if misuses_behind(line) {
                count(found, format!("{path}, \"behind\" for \"after\""));
            }
        }
        is_hidden &= !line.contains("-->");
    }
}

fn count(found: &mut Findings, what: String) {
    *found.entry(what).or_default() += 1;
}

/// Whether "behind" stands before what something can only come after.
fn misuses_behind(line: &str) -> bool {
    const AFTERS: [&str; 5] = [
        "behind the last",
        "behind the end",
        "behind the first",
        "behind the point",
        "goes on behind",
    ];
    let line = line.to_lowercase();
    AFTERS.iter().any(|after| line.contains(after))
}

/// Whether a line sleeps: a call, and not SQL in a text that is named so.
fn sleeps(code: &str) -> bool {
    code.match_indices("sleep(")
        .any(|(at, _)| code[..at].matches('"').count().is_multiple_of(2))
}

/// Whether the line after these is in a loop, which waits for something: looked for where the
/// indentation falls, up to the function.
fn is_in_loop(before: &[&str]) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut inner = usize::MAX;
    for line in before.iter().rev().filter(|line| !line.trim().is_empty()) {
        if indent(line) >= inner {
            continue;
        }
        inner = indent(line);
        let code = line.trim_start();
        if ["loop", "while ", "for "]
            .iter()
            .any(|word| code.contains(word))
        {
            return true;
        }
        if code.contains("fn ") {
            return false;
        }
    }
    false
}

/// The function that begins with the first line, and how many lines it has.
fn function<'a>(lines: &[&'a str]) -> Option<(&'a str, usize)> {
    let first = lines.first()?;
    let code = first.trim_start();
    let before = code.split("fn ").next()?;
    let is_function = code.contains("fn ")
        && before
            .split_whitespace()
            .all(|word| matches!(word, "const" | "async" | "unsafe") || word.starts_with("pub"));
    if !is_function || code.starts_with("//") {
        return None;
    }
    let name = code.split("fn ").nth(1)?;
    let name = name.split(['(', '<']).next()?;
    let indent = &first[..first.len() - code.len()];
    let end = format!("{indent}}}");
    let length = lines.iter().position(|line| **line == end)? + 1;
    // A declaration without a body ends before the next function does.
    let head = lines
        .iter()
        .find(|line| line.trim_end().ends_with(['{', ';']))?;
    head.trim_end().ends_with('{').then_some((name, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(String, usize)> {
        let mut found = Findings::new();
        check_rust(path, text, &mut found);
        found.into_iter().collect()
    }

    #[test]
    fn a_sleep_counts_where_a_test_calls_it_and_waits_for_nothing() {
        let sleeps = |text| found("crates/a/tests/a.rs", text);
        let one = [("crates/a/tests/a.rs, fixed sleeps".to_owned(), 1)];
        assert_eq!(sleeps("fn a() {\n    sleep(SECOND);\n}\n"), one);
        assert_eq!(sleeps("fn a() {\n    thread::sleep(of(\"x\"));\n}\n"), one);
        assert_eq!(
            sleeps("fn a() {\n    while b() {\n        sleep(SECOND);\n    }\n}\n"),
            []
        );
        assert_eq!(
            sleeps("fn a() {\n    sql(\"SELECT pg_sleep(1)\");\n}\n"),
            []
        );
        assert_eq!(
            found("crates/a/src/a.rs", "fn a() {\n    sleep(SECOND);\n}\n"),
            []
        );
    }

    #[test]
    fn a_function_counts_from_its_first_line_to_its_brace() {
        let body = "    b();\n".repeat(FUNCTION_MAX - 1);
        let long = format!("pub(crate) fn a(x: u8) {{\n{body}}}\n");
        let what = "crates/a/src/a.rs, lines of `a`".to_owned();
        assert_eq!(
            found("crates/a/src/a.rs", &long),
            [(what, FUNCTION_MAX + 1)]
        );
        let short = long.replacen("    b();\n", "", 1);
        assert_eq!(found("crates/a/src/a.rs", &short), []);
    }
}
