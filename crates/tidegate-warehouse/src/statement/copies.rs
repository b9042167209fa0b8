//! How much DuckDB's parser makes of a statement by copying.
//!
//! The operand of a CASE is copied for each WHEN, what WINDOW gives a name for each OVER, and what
//! a PIVOT reads for each column that it makes of values it has to look up. Within one another,
//! these multiply. The parser looks neither at an interrupt nor at a memory limit, so what it would
//! copy is counted before it sees the statement.

use super::{StatementRefusal, Token, tokens};

/// What the parser adds to a statement, in tokens, at most: some hundred megabytes.
pub(super) const COPIES_MAX: u64 = 100_000;

/// What is within a pair of parentheses, or within a CASE.
#[derive(Debug, Default)]
struct Frame {
    kind: FrameKind,
    /// Tokens, with all copies.
    size: u64,
    /// How often OVER stands in it, with all copies.
    overs: u64,
    /// What it has before its WINDOW.
    before_window: Option<u64>,
    /// Commas that it has in its PIVOT.
    pivot: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum FrameKind {
    #[default]
    Parentheses,
    /// Before the first WHEN.
    Case,
    /// What the operand has: tokens, and how often OVER stands in it.
    When(u64, u64),
}

impl Frame {
    fn new(kind: FrameKind) -> Self {
        Frame {
            kind,
            ..Frame::default()
        }
    }

    fn add(&mut self, size: u64, overs: u64) {
        self.size = self.size.saturating_add(size);
        self.overs = self.overs.saturating_add(overs);
    }

    /// A word that is no name.
    fn keyword(&mut self, word: &str) {
        match (word, self.kind) {
            ("WHEN", FrameKind::Case) => self.kind = FrameKind::When(self.size, self.overs),
            ("WHEN", FrameKind::When(size, overs)) => self.add(size, overs),
            ("OVER", _) => self.overs = self.overs.saturating_add(1),
            ("WINDOW", _) => {
                self.before_window.get_or_insert(self.size);
            }
            ("PIVOT" | "PIVOT_WIDER", _) => {
                self.pivot.get_or_insert(0);
            }
            _ => {}
        }
    }

    /// Tokens and OVERs, when all of it is known.
    fn close(self) -> (u64, u64) {
        let named = self
            .before_window
            .map_or(0, |before| self.size.saturating_sub(before));
        let windows = named.saturating_mul(self.overs);
        let pivots = self
            .pivot
            .map_or(0, |commas| self.size.saturating_mul(commas));
        let copies = windows.saturating_add(pivots);
        (self.size.saturating_add(copies), self.overs)
    }
}

/// Refuses a statement of which the parser would make too much.
pub(super) fn check(statement: &str) -> Result<(), StatementRefusal> {
    let copies = copies(statement)?;
    if copies > COPIES_MAX {
        return Err(StatementRefusal::Copies(copies));
    }
    Ok(())
}

/// Tokens that the parser adds.
fn copies(statement: &str) -> Result<u64, StatementRefusal> {
    let mut tokens = tokens(statement);
    let mut frames = vec![Frame::default()];
    let mut written = 0u64;
    let (mut is_name, mut is_number) = (false, false);
    while let Some(token) = tokens.next()? {
        let text = &statement[tokens.start..tokens.at];
        written += 1;
        let word = match token {
            Token::Word(word) if !is_name && !text.starts_with('"') => word.to_ascii_uppercase(),
            _ => String::new(),
        };
        // Behind AS and a dot any word is a name; but the dot of `1.` belongs to a number.
        is_name = word == "AS" || text == "." && !is_number;
        let is_parameter = statement[..tokens.start].ends_with(['$', '?']);
        is_number = text.starts_with(|c: char| c.is_ascii_digit()) && !is_parameter;
        let is_end = word == "END" && in_case(&frames);
        if is_end {
            close(&mut frames);
        }
        if text == ")" {
            while in_case(&frames) {
                close(&mut frames);
            }
            close(&mut frames);
        }
        if let Some(frame) = frames.last_mut() {
            frame.keyword(&word);
            frame.add(1, 0);
            if let Some(commas) = frame.pivot.as_mut().filter(|_| text == ",") {
                *commas += 1;
            }
        }
        if word == "CASE" {
            frames.push(Frame::new(FrameKind::Case));
        }
        if text == "(" {
            frames.push(Frame::new(FrameKind::Parentheses));
        }
    }
    while frames.len() > 1 {
        close(&mut frames);
    }
    let (size, _) = frames.pop().unwrap_or_default().close();
    Ok(size.saturating_sub(written))
}

fn in_case(frames: &[Frame]) -> bool {
    frames
        .last()
        .is_some_and(|frame| frame.kind != FrameKind::Parentheses)
}

/// Puts what a frame has into the one around it. The outermost stays.
fn close(frames: &mut Vec<Frame>) {
    if frames.len() > 1
        && let Some(frame) = frames.pop()
        && let Some(outer) = frames.last_mut()
    {
        let (size, overs) = frame.close();
        outer.add(size, overs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_copies_is_counted() {
        for (sql, added) in [
            ("select case when a then 1 when b then 2 end", 0),
            ("select case a when 1 then 2 end", 0),
            ("select case a when 1 then 2 when 3 then 4 end", 1),
            (
                "select case f(a) when 1 then 2 when 3 then 4 when 5 then 6 end",
                8,
            ),
            // Whatever is called like that, and numbers.
            (
                "select case a.case when 1. then 2. when 3. then 4 end as case",
                3,
            ),
            (
                "select case \"case\" when 'case' then \"end\" when 3 then 4 end",
                1,
            ),
            ("select case $1.case when 1 then 2 when 3 then 4 end", 4),
            (
                "select sum(a) over w, max(a) over w from t window w as (order by a)",
                16,
            ),
            ("select sum(a) over (order by a)", 0),
            ("pivot t on a, b", 6),
            ("select * from t order by a, b", 0),
        ] {
            assert_eq!(copies(sql), Ok(added), "{sql}");
        }
    }

    #[test]
    fn copies_of_copies_multiply() {
        let nested = |depth| {
            let operand = (0..depth).fold("x".to_owned(), |inner, _| {
                format!("case {inner} when 1 then 2 when 3 then 4 end")
            });
            format!("select {operand}")
        };
        assert!(check(&nested(8)).is_ok());
        for depth in [20, 100] {
            assert!(matches!(
                check(&nested(depth)),
                Err(StatementRefusal::Copies(_))
            ));
        }
        let windows = |overs, width| {
            format!(
                "select {} from t window w as (partition by {})",
                vec!["sum(a) over w"; overs].join(", "),
                vec!["1"; width].join(", ")
            )
        };
        assert!(check(&windows(100, 100)).is_ok());
        assert!(check(&windows(400, 1_600)).is_err());
        let pivot = |columns, width| {
            format!(
                "pivot (select {}) on {}",
                vec!["1"; width].join(", "),
                vec!["a"; columns].join(", ")
            )
        };
        assert!(check(&pivot(5, 1_000)).is_ok());
        assert!(check(&pivot(400, 1_600)).is_err());
    }
}
