//! Errors and warnings of a configuration, all of them at once, each with its place and a hint.

use std::fmt::Write as _;

use super::tree::Origin;

/// How serious a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How serious it is.
    pub severity: Severity,
    /// Where it is.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(origin: Origin, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            origin,
            message: message.into(),
            hint: None,
        }
    }

    /// A warning.
    pub fn warning(origin: Origin, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(origin, message)
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What diagnostics refer to: the file's name and text, and the overrides as they were given.
#[derive(Debug, Clone)]
pub struct SourceMap {
    /// Name of the file, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The arguments of `--set`.
    pub sets: Vec<String>,
}

impl SourceMap {
    /// Writes diagnostics for people: errors in the order of the file, then those of `--set`, then
    /// the count.
    pub fn render(&self, diagnostics: &[Diagnostic]) -> String {
        let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
        sorted.sort_by_key(|d| match &d.origin {
            Origin::Nowhere => (0, 0),
            Origin::File(span) => (1, span.start),
            Origin::Set(index) => (2, *index),
        });
        let mut out = String::new();
        for diagnostic in sorted {
            self.render_one(&mut out, diagnostic);
            out.push('\n');
        }
        out
    }

    fn render_one(&self, out: &mut String, diagnostic: &Diagnostic) {
        let label = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label}: {}", diagnostic.message);
        let mut gutter = 1;
        match &diagnostic.origin {
            Origin::Nowhere => {
                let _ = writeln!(out, "  --> {}", self.file);
            }
            Origin::Set(index) => {
                let argument = self.sets.get(*index).map_or("", String::as_str);
                let _ = writeln!(out, "  --> --set {argument}");
            }
            Origin::File(span) => {
                let place = self.place(span.start);
                let number = place.line.to_string();
                gutter = number.len();
                let blank = " ".repeat(gutter);
                let _ = writeln!(
                    out,
                    "{blank}--> {}:{}:{}",
                    self.file, place.line, place.column
                );
                let _ = writeln!(out, "{blank} |");
                let _ = writeln!(out, "{number} | {}", place.text);
                let lead: String = place
                    .text
                    .chars()
                    .take(place.column - 1)
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                let within = span.end.min(place.end).max(span.start);
                let width = self
                    .text
                    .get(span.start..within)
                    .map_or(1, |s| s.chars().count())
                    .max(1);
                let _ = writeln!(out, "{blank} | {lead}{}", "^".repeat(width));
            }
        }
        if let Some(hint) = &diagnostic.hint {
            let _ = writeln!(out, "{} = help: {hint}", " ".repeat(gutter));
        }
    }

    /// Line and column, both from 1, of a byte of the file.
    fn place(&self, at: usize) -> SourceLine<'_> {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let start = self.text[..at].rfind('\n').map_or(0, |i| i + 1);
        let end = self.text[at..]
            .find('\n')
            .map_or(self.text.len(), |i| at + i);
        SourceLine {
            line: self.text[..at].matches('\n').count() + 1,
            column: self.text[start..at].chars().count() + 1,
            text: self.text[start..end].trim_end(),
            end,
        }
    }
}

struct SourceLine<'a> {
    line: usize,
    column: usize,
    text: &'a str,
    end: usize,
}

/// The candidate that is most like `word`, if one is at all.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Names in a sentence: `a`, `b` and `c`.
pub fn listed<S: AsRef<str>>(names: &[S], last: &str) -> String {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [init @ .., end] => format!("{} {last} {end}", init.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_line_with_a_caret() {
        let map = SourceMap {
            file: "t.toml".into(),
            text: "a = 1\n\tb = \"é\" x\n".into(),
            sets: vec!["x.y=1".into()],
        };
        let at = map.text.find('x').unwrap();
        let shown = map.render(&[Diagnostic::error(Origin::File(at..at + 1), "no").hint("do")]);
        assert_eq!(
            shown,
            "error: no\n --> t.toml:2:10\n  |\n2 | \tb = \"é\" x\n  | \t        ^\n  = help: do\n\n"
        );
        assert!(
            map.render(&[Diagnostic::error(Origin::Set(0), "no")])
                .contains("--> --set x.y=1")
        );
        // A span after the end of the text is shown at its end.
        assert!(
            map.render(&[Diagnostic::error(Origin::File(999..1000), "no")])
                .contains("t.toml:3:1")
        );
    }

    #[test]
    fn the_nearest_name_is_found_only_if_it_is_near() {
        assert_eq!(
            nearest("intervall", ["interval", "max-rows"]),
            Some("interval")
        );
        assert_eq!(nearest("zzz", ["interval", "max-rows"]), None);
    }
}
