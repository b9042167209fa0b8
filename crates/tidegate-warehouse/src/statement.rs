//! Which SQL a reader may run: one statement, and one that reads.
//!
//! This is the first of two walls. The second is a transaction that DuckDB itself keeps read-only; but
//! that alone would let statements through that change settings or other files, and the driver runs
//! all but the last of several statements before it looks at the last.

/// What a statement that reads begins with.
const READING: [&str; 13] = [
    "SELECT",
    "WITH",
    "FROM",
    "VALUES",
    "SHOW",
    "DESCRIBE",
    "DESC",
    "SUMMARIZE",
    "TABLE",
    "PIVOT",
    "UNPIVOT",
    "PIVOT_WIDER",
    "PIVOT_LONGER",
];

/// Functions that change settings or the state of the database although a SELECT can call them, or that
/// run SQL out of a text.
const CHANGING: [&str; 8] = [
    "checkpoint",
    "force_checkpoint",
    "truncate_duckdb_logs",
    "add_parquet_key",
    "import_database",
    "query",
    "json_execute_serialized_sql",
    "copy_database",
];

/// Why a statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no statement")]
    Empty,
    #[error("this is more than one statement; run them one after the other")]
    Several,
    #[error(
        "`{0}` is not a statement that reads; use SELECT, FROM, WITH, SHOW, DESCRIBE, SUMMARIZE or EXPLAIN"
    )]
    NotReading(String),
    #[error(
        "a statement begins with a word: use SELECT, FROM, WITH, SHOW, DESCRIBE, SUMMARIZE or EXPLAIN"
    )]
    NoWord,
    #[error("the function `{0}` does more than read")]
    Changing(String),
    #[error("{0} is not closed")]
    Open(&'static str),
}

/// A piece of SQL, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A word or a quoted identifier.
    Word(String),
    /// Text in quotes, a number, a parameter, an operator.
    Other,
    Parenthesis,
    Semicolon,
}

/// The statement without what stands behind it.
///
/// # Errors
/// If it is not exactly one statement that reads.
pub(crate) fn check(sql: &str) -> Result<&str, Refusal> {
    let mut rest = Tokens { sql, at: 0 };
    let mut begin = Begin::Statement;
    let mut last_word: Option<String> = None;
    let mut end = None;
    while let Some(token) = rest.next()? {
        if token == Token::Semicolon {
            end.get_or_insert(rest.at - 1);
            continue;
        }
        if end.is_some() {
            return Err(if begin == Begin::Statement {
                Refusal::Empty
            } else {
                Refusal::Several
            });
        }
        let before = last_word.take();
        if token == Token::Parenthesis {
            refuse_changing(before)?;
        }
        begin = begin.next(&token)?;
        if let Token::Word(word) = token {
            last_word = Some(word);
        }
    }
    match begin {
        Begin::Done => Ok(&sql[..end.unwrap_or(sql.len())]),
        Begin::Statement => Err(Refusal::Empty),
        Begin::Explained => Err(Refusal::NotReading("EXPLAIN".to_owned())),
    }
}

/// How far the beginning of a statement has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// Nothing yet.
    Statement,
    /// What is explained comes next. `EXPLAIN ANALYZE` runs it, so it has to be one that reads too.
    Explained,
    /// It is one that reads.
    Done,
}

impl Begin {
    fn next(self, token: &Token) -> Result<Self, Refusal> {
        let word = match (self, token) {
            (Begin::Done, _) => return Ok(Begin::Done),
            // A parenthesis begins a query; whatever it is, it is not one that writes.
            (Begin::Statement, Token::Parenthesis) => return Ok(Begin::Done),
            // Behind EXPLAIN it begins a query or options: what is in it tells.
            (Begin::Explained, Token::Parenthesis) => return Ok(Begin::Explained),
            (_, Token::Word(word)) => word,
            _ => return Err(Refusal::NoWord),
        };
        match word.to_ascii_uppercase().as_str() {
            "EXPLAIN" if self == Begin::Statement => Ok(Begin::Explained),
            "ANALYZE" | "ANALYSE" if self == Begin::Explained => Ok(Begin::Explained),
            upper if READING.contains(&upper) => Ok(Begin::Done),
            _ => Err(Refusal::NotReading(word.clone())),
        }
    }
}

fn refuse_changing(function: Option<String>) -> Result<(), Refusal> {
    let Some(function) = function else {
        return Ok(());
    };
    let lower = function.to_ascii_lowercase();
    let switches = lower.starts_with("enable_") || lower.starts_with("disable_");
    if switches || CHANGING.contains(&lower.as_str()) {
        Err(Refusal::Changing(function))
    } else {
        Ok(())
    }
}

struct Tokens<'a> {
    sql: &'a str,
    at: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Token>, Refusal> {
        self.skip_space()?;
        let rest = &self.sql[self.at..];
        let Some(c) = rest.chars().next() else {
            return Ok(None);
        };
        let token = match c {
            ';' => {
                self.at += 1;
                Token::Semicolon
            }
            '(' => {
                self.at += 1;
                Token::Parenthesis
            }
            '\'' => {
                self.quoted('\'', "a text in quotes")?;
                Token::Other
            }
            '"' => Token::Word(self.quoted('"', "a name in quotes")?),
            '$' => {
                self.dollar()?;
                Token::Other
            }
            c if is_word_start(c) => {
                let end = rest.find(|c: char| !is_word_part(c)).unwrap_or(rest.len());
                let word = &rest[..end];
                self.at += end;
                if word.eq_ignore_ascii_case("e") && self.sql[self.at..].starts_with('\'') {
                    self.escaped()?;
                    Token::Other
                } else {
                    Token::Word(word.to_owned())
                }
            }
            c if c.is_ascii_digit() => {
                // Digits and what sticks to them, so that the `$` of `1$a$` begins nothing.
                self.at += rest.find(|c: char| !is_word_part(c)).unwrap_or(rest.len());
                Token::Other
            }
            c => {
                self.at += c.len_utf8();
                Token::Other
            }
        };
        Ok(Some(token))
    }

    fn skip_space(&mut self) -> Result<(), Refusal> {
        loop {
            let rest = &self.sql[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += trimmed.find(['\n', '\r']).unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.comment()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Skips a comment. They nest, as in DuckDB's parser.
    fn comment(&mut self) -> Result<(), Refusal> {
        let mut depth = 0usize;
        loop {
            let rest = &self.sql[self.at..];
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.at += rest
                    .chars()
                    .next()
                    .ok_or(Refusal::Open("a comment"))?
                    .len_utf8();
            }
        }
    }

    /// What stands in quotes, in which a quote is written twice.
    fn quoted(&mut self, quote: char, what: &'static str) -> Result<String, Refusal> {
        let mut content = String::new();
        let mut chars = self.sql[self.at + 1..].char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            if c != quote {
                content.push(c);
            } else if chars.next_if(|(_, next)| *next == quote).is_some() {
                content.push(quote);
            } else {
                self.at += 1 + i + 1;
                return Ok(content);
            }
        }
        Err(Refusal::Open(what))
    }

    /// A text `e'...'`, in which a backslash takes the meaning from what follows it.
    fn escaped(&mut self) -> Result<(), Refusal> {
        let mut chars = self.sql[self.at + 1..].char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => {
                    chars.next();
                }
                '\'' if chars.next_if(|(_, next)| *next == '\'').is_none() => {
                    self.at += 1 + i + 1;
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(Refusal::Open("a text in quotes"))
    }

    /// `$$text$$`, `$tag$text$tag$`, or a parameter `$1`.
    fn dollar(&mut self) -> Result<(), Refusal> {
        let rest = &self.sql[self.at..];
        let tag = rest[1..]
            .find(|c: char| !is_word_part(c) || c == '$')
            .map_or("", |end| &rest[1..=end]);
        let named = tag.is_empty() || tag.starts_with(is_word_start);
        if !named || !rest[1 + tag.len()..].starts_with('$') {
            self.at += 1;
            return Ok(());
        }
        let mark = &rest[..tag.len() + 2];
        let close = rest[mark.len()..]
            .find(mark)
            .ok_or(Refusal::Open("a text in dollar quotes"))?;
        self.at += mark.len() + close + mark.len();
        Ok(())
    }
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_' || !c.is_ascii() && !c.is_whitespace()
}

fn is_word_part(c: char) -> bool {
    is_word_start(c) || c.is_ascii_digit() || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_read_are_let_through() {
        for sql in [
            "SELECT 1",
            "  select 1 ; ;; -- done",
            "/* a /* nested */ ; */ from t",
            "(select 1) union (select 2)",
            "select ';', \"a;b\", $$;$$, $x$ ; $$ $x$, e'\\';' -- ; drop table t",
            "select 'it''s; fine'",
            "with a as (select 1) select * from a",
            "summarize t",
            "select * from t where x = $1",
        ] {
            assert!(check(sql).is_ok(), "{sql}: {:?}", check(sql));
        }
        assert_eq!(check("select 1 ; ").unwrap(), "select 1 ");
    }

    #[test]
    fn others_are_refused() {
        for (sql, refusal) in [
            ("", Refusal::Empty),
            (" ; -- nothing", Refusal::Empty),
            ("select 1; drop table t", Refusal::Several),
            ("select 1;;select 2", Refusal::Several),
            ("select $a$b$a$; drop table t", Refusal::Several),
            ("select '\\'; drop table t --'", Refusal::Several),
            ("select 1$$; drop table t; --$$", Refusal::Several),
            ("drop table t", Refusal::NotReading("drop".into())),
            ("COPY t TO 'x'", Refusal::NotReading("COPY".into())),
            (
                "select * from enable_logging()",
                Refusal::Changing("enable_logging".into()),
            ),
            (
                "from \"checkpoint\" ()",
                Refusal::Changing("checkpoint".into()),
            ),
            (
                "from force_checkpoint /* */ ()",
                Refusal::Changing("force_checkpoint".into()),
            ),
            (
                "explain analyze copy t to 'x'",
                Refusal::NotReading("copy".into()),
            ),
            ("explain (analyze) copy t to 'x'", Refusal::NoWord),
            (
                "explain explain select 1",
                Refusal::NotReading("explain".into()),
            ),
            ("explain", Refusal::NotReading("EXPLAIN".into())),
            ("'select'", Refusal::NoWord),
            ("select 'a", Refusal::Open("a text in quotes")),
            ("select /* a", Refusal::Open("a comment")),
            ("select $$ a", Refusal::Open("a text in dollar quotes")),
        ] {
            assert_eq!(check(sql), Err(refusal), "{sql}");
        }
    }
}
