//! A page in Markdown, as a list of steps.

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    /// Each with the line at which it begins.
    pub(crate) steps: Vec<(usize, Step)>,
}

/// What is to be done about one block or comment.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Commands that the page does not show.
    Setup(String),
    /// A file to write.
    File { name: String, text: String },
    /// A part of a configuration.
    Config(String),
    /// JSON.
    Json(String),
    /// SQL for DuckDB itself, over a job's files.
    DuckDb { folder: String, sql: String },
    /// What is put in the place of what, in all commands that follow.
    Instead(Vec<(String, String)>),
    /// What the steps need that follow.
    Needs(String),
    /// Commands, with arguments for each that is `tidegate`.
    Commands {
        with: String,
        commands: Vec<Command>,
    },
    /// Nothing; its first line.
    NotRun(String),
}

/// A command, and the lines that it prints.
#[derive(Debug, PartialEq)]
pub(crate) struct Command {
    pub(crate) text: String,
    pub(crate) prints: Vec<String>,
}

const COMMENT: &str = "<!-- test: ";

impl Page {
    /// Reads a page; what is wrong is said with its line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().enumerate();
        let mut steps = Vec::new();
        let mut said: Option<(usize, String)> = None;
        while let Some((at, line)) = lines.next() {
            if let Some(comment) = line.strip_prefix(COMMENT) {
                if let Some((before, _)) = &said {
                    return Err(format!(
                        "line {before}: there is no block after this comment"
                    ));
                }
                let mut comment = comment.to_owned();
                while !comment.trim_end().ends_with("-->") {
                    let (_, more) = lines
                        .next()
                        .ok_or_else(|| format!("line {}: the comment has no end", at + 1))?;
                    comment = format!("{comment}\n{more}");
                }
                let comment = comment.trim_end().trim_end_matches("-->").trim_end();
                match hidden(comment).map_err(|wrong| format!("line {}: {wrong}", at + 1))? {
                    Some(step) => steps.push((at + 1, step)),
                    None => said = Some((at + 1, comment.to_owned())),
                }
            } else if let Some(language) = line.strip_prefix("```") {
                let block = block(&mut lines)
                    .ok_or_else(|| format!("line {}: the block has no end", at + 1))?;
                let said = said.take().map(|(_, said)| said);
                let step = step(language, said.as_deref(), &block)
                    .map_err(|wrong| format!("line {}: {wrong}", at + 1))?;
                steps.push((at + 1, step));
            }
        }
        Ok(Page { steps })
    }
}

/// The step that a comment is by itself; none if it is about the block after it.
fn hidden(comment: &str) -> Result<Option<Step>, String> {
    let (kind, rest) = comment
        .split_once(char::is_whitespace)
        .unwrap_or((comment, ""));
    let rest = rest.trim();
    Ok(match kind {
        "setup" => Some(Step::Setup(rest.to_owned())),
        "needs" => Some(Step::Needs(rest.to_owned())),
        "instead" => {
            let pair = |line: &str| {
                let (from, to) = line.split_once(" => ")?;
                Some((from.to_owned(), to.to_owned()))
            };
            let pairs: Option<Vec<_>> = rest.lines().map(pair).collect();
            let pairs = pairs.ok_or("a line is not `THIS => THAT`")?;
            Some(Step::Instead(pairs))
        }
        _ => None,
    })
}

fn block<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<Vec<&'a str>> {
    let mut block = Vec::new();
    for (_, line) in lines {
        if line == "```" {
            return Some(block);
        }
        block.push(line);
    }
    None
}

fn step(language: &str, said: Option<&str>, block: &[&str]) -> Result<Step, String> {
    let text = || format!("{}\n", block.join("\n"));
    let (kind, rest) = said.map_or(("", ""), |said| said.split_once(' ').unwrap_or((said, "")));
    match (kind, language) {
        ("file", _) if !rest.is_empty() => Ok(Step::File {
            name: rest.to_owned(),
            text: text(),
        }),
        ("config", "toml") => Ok(Step::Config(text())),
        ("duckdb", "sql") if !rest.is_empty() => Ok(Step::DuckDb {
            folder: rest.to_owned(),
            sql: text(),
        }),
        ("sql", "sql") => Ok(Step::Commands {
            with: String::new(),
            commands: vec![Command {
                text: format!("tidegate query \"$(cat <<'SQL'\n{}SQL\n)\"", text()),
                prints: vec!["…".to_owned()],
            }],
        }),
        ("", "json") => Ok(Step::Json(text())),
        ("" | "with", "console") => Ok(Step::Commands {
            with: rest.to_owned(),
            commands: commands(block)?,
        }),
        ("", _) => {
            let first = block.first().copied().unwrap_or_default();
            Ok(Step::NotRun(first.trim().to_owned()))
        }
        _ => Err(format!("`test: {}` is not known", said.unwrap_or_default())),
    }
}

fn commands(block: &[&str]) -> Result<Vec<Command>, String> {
    let mut commands: Vec<Command> = Vec::new();
    let mut goes_on = false;
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(text), _) => commands.push(Command {
                text: text.to_owned(),
                prints: Vec::new(),
            }),
            (None, Some(last)) if goes_on => last.text = format!("{}\n{line}", last.text),
            (None, Some(last)) => {
                last.prints.push((*line).to_owned());
                continue;
            }
            (None, None) => return Err("the first line of the block is no command".to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    Ok(commands)
}

/// Whether what is printed is what the page says. Spaces at the ends of lines do not count.
pub(crate) fn fits(says: &[String], printed: &str) -> bool {
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let says: Vec<&str> = says.iter().map(|line| line.trim_end()).collect();
    fit(&says, &printed)
}

fn fit(says: &[&str], printed: &[&str]) -> bool {
    match (says, printed) {
        ([], printed) => printed.is_empty(),
        (["…", says @ ..], printed) => {
            (0..=printed.len()).any(|skipped| fit(says, &printed[skipped..]))
        }
        ([line, says @ ..], [found, printed @ ..]) => line_fits(line, found) && fit(says, printed),
        (_, []) => false,
    }
}

fn line_fits(says: &str, found: &str) -> bool {
    let Some((before, after)) = says.split_once('…') else {
        return says == found;
    };
    let Some(rest) = found.strip_prefix(before) else {
        return false;
    };
    let places = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    places.into_iter().any(|at| line_fits(after, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_steps() {
        let page = "text\n<!-- test: setup\necho a\n-->\n<!-- test: file x.toml -->\n```toml\na = 1\n```\n\
                    <!-- test: with --set a=2 -->\n```console\n$ tidegate run \\\n  --now\nok\n$ echo\n```\n";
        let steps = Page::parse(page).unwrap().steps;
        let commands = vec![
            Command {
                text: "tidegate run \\\n  --now".to_owned(),
                prints: vec!["ok".to_owned()],
            },
            Command {
                text: "echo".to_owned(),
                prints: Vec::new(),
            },
        ];
        let file = Step::File {
            name: "x.toml".to_owned(),
            text: "a = 1\n".to_owned(),
        };
        let with = "--set a=2".to_owned();
        let expected = vec![
            (2, Step::Setup("echo a".to_owned())),
            (6, file),
            (10, Step::Commands { with, commands }),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn comments_that_stand_for_themselves_are_steps() {
        let page = "<!-- test: needs kafka -->\n<!-- test: instead\na b => c\nd => e f\n-->\n";
        let pairs = [("a b", "c"), ("d", "e f")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(
            Page::parse(page).unwrap().steps,
            [
                (1, Step::Needs("kafka".to_owned())),
                (2, Step::Instead(pairs.into()))
            ]
        );
    }

    #[test]
    fn a_block_that_nothing_says_what_it_is_is_not_run() {
        for block in [
            "```\n  ls\nx\n```\n",
            "```toml\nls\n```\n",
            "```sql\nls\n```\n",
        ] {
            let steps = Page::parse(block).unwrap().steps;
            assert_eq!(steps, [(1, Step::NotRun("ls".to_owned()))], "{block}");
        }
    }

    #[test]
    fn a_block_that_is_not_what_its_comment_says_is_refused() {
        for page in [
            "<!-- test: skip why -->\n```\nls\n```\n",
            "<!-- test: config -->\n```\nls\n```\n",
            "<!-- test: instead\nthis\n-->\n",
            "<!-- test: nonsense -->\n```console\n$ ls\n```\n",
            "```console\nno command\n```\n",
            "```console\n$ ls\n",
        ] {
            assert!(Page::parse(page).is_err(), "{page}");
        }
    }

    #[test]
    fn an_ellipsis_stands_for_anything() {
        let says = |lines: &[&str]| {
            lines
                .iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>()
        };
        for (lines, printed, wanted) in [
            (says(&[]), "", true),
            (says(&[]), "a\n", false),
            (says(&["a"]), "a  \n", true),
            (says(&["a…c"]), "abc\n", true),
            (says(&["a…c"]), "abd\n", false),
            (says(&["…", "b"]), "x\ny\nb\n", true),
            (says(&["a", "…"]), "a\n", true),
            (says(&["a"]), "a\nb\n", false),
        ] {
            assert_eq!(fits(&lines, printed), wanted, "{lines:?} {printed:?}");
        }
    }
}
