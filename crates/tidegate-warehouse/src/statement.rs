//! Which SQL a reader may run: one statement, and one that reads.
//!
//! This is the first of two walls. The second is a transaction that DuckDB itself keeps read-only;
//! but that alone would let statements through that change settings or other files, and the driver
//! runs all but the last of several statements before it looks at the last.

use std::ops::Range;

mod copies;

use copies::COPIES_MAX;

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

/// Functions that change settings or the state of the database although a SELECT can call them, or
/// that run SQL out of a text.
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

/// Characters that operators are made of.
const OPERATORS: &str = "+-*/<>=~!@#^&|%`?:";
/// Operator characters in a row, at most: the time that DuckDB's parser takes grows with the cube
/// of their number. No operator has more than a few.
const OPERATOR_MAX: usize = 32;

/// Why a statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StatementRefusal {
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
    #[error(
        "there are more than {OPERATOR_MAX} signs in a row that stand for no value (`{0}`); put \
         parentheses or values between them"
    )]
    Operators(char),
    #[error(
        "the statement is too large to be parsed: DuckDB's parser would repeat {0} words of it, and \
         may repeat {COPIES_MAX}. It repeats the operand of CASE for each WHEN, what WINDOW names \
         for each OVER, and what PIVOT reads for each column of ON; make these shorter, or ask in \
         several questions"
    )]
    Copies(u64),
}

/// A piece of SQL, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A word or a quoted identifier.
    Word(String),
    /// Text in quotes, a number, a parameter.
    Other,
    /// A character of an operator. With blanks or comments between them they are several operators
    /// and cost the parser as much.
    Operator(char),
    Parenthesis,
    Semicolon,
}

/// The statement without what stands after it, and with blanks for its comments: DuckDB's lexer
/// goes back to the beginning at each of them, so that their cost grows with their square.
///
/// # Errors
/// If it is not exactly one statement that reads.
pub(crate) fn check(sql: &str) -> Result<String, StatementRefusal> {
    let mut rest = tokens(sql);
    let mut begin = Begin::Statement;
    let mut last_word: Option<String> = None;
    let mut end = None;
    let mut operators = 0;
    while let Some(token) = rest.next()? {
        if token == Token::Semicolon {
            end.get_or_insert(rest.at - 1);
            continue;
        }
        if end.is_some() {
            return Err(if begin == Begin::Statement {
                StatementRefusal::Empty
            } else {
                StatementRefusal::Several
            });
        }
        let before = last_word.take();
        operators = match token {
            Token::Operator(_) => operators + 1,
            _ => 0,
        };
        if let Token::Operator(sign) = token
            && operators > OPERATOR_MAX
        {
            return Err(StatementRefusal::Operators(sign));
        }
        if token == Token::Parenthesis {
            refuse_changing(before)?;
        }
        begin = begin.next(&token)?;
        if let Token::Word(word) = token {
            last_word = Some(word);
        }
    }
    match begin {
        Begin::Done => {
            let statement = blank(&sql[..end.unwrap_or(sql.len())], &rest.comments);
            copies::check(&statement)?;
            Ok(statement)
        }
        Begin::Statement => Err(StatementRefusal::Empty),
        Begin::Explained => Err(StatementRefusal::NotReading("EXPLAIN".to_owned())),
    }
}

/// What a statement explains that begins with EXPLAIN, or the statement itself. It is one that
/// [`check`] has let through.
pub(crate) fn explained(statement: &str) -> &str {
    let mut tokens = tokens(statement);
    let mut query = statement;
    let mut is_explain = false;
    while let Ok(Some(token)) = tokens.next() {
        match token {
            Token::Word(word) if !is_explain && word.eq_ignore_ascii_case("EXPLAIN") => {
                is_explain = true;
            }
            Token::Word(word)
                if is_explain && ["ANALYZE", "ANALYSE"].contains(&&*word.to_ascii_uppercase()) => {}
            // Options, unless a query begins with it: `EXPLAIN (FORMAT json) SELECT 1`.
            Token::Parenthesis if is_explain => {
                let inside = &statement[tokens.at..];
                match check(inside.split(')').next().unwrap_or_default()) {
                    Err(StatementRefusal::NotReading(_)) => {
                        tokens.at += inside.find(')').map_or(inside.len(), |end| end + 1);
                    }
                    _ => return query,
                }
            }
            _ => return query,
        }
        query = &statement[tokens.at..];
    }
    query
}

/// What can come after a PIVOT.
const AFTER_PIVOT: [&str; 6] = ["ORDER", "LIMIT", "OFFSET", "UNION", "EXCEPT", "INTERSECT"];

/// Of a PIVOT over one table, a query that selects all that it computes, so that its size can be
/// told: DuckDB makes several statements of the PIVOT itself, of which there is no tree.
pub(crate) fn pivot_as_select(statement: &str) -> Option<String> {
    let mut tokens = tokens(statement);
    let Ok(Some(Token::Word(first))) = tokens.next() else {
        return None;
    };
    if !["PIVOT", "PIVOT_WIDER"].contains(&&*first.to_ascii_uppercase()) {
        return None;
    }
    let begin = tokens.at;
    let (mut table, mut selected) = (None, Vec::new());
    let (mut depth, mut last) = (0usize, begin);
    let mut end = statement.len();
    while let Some(token) = tokens.next().ok()? {
        let text = &statement[tokens.start..tokens.at];
        match text {
            "(" => depth += 1,
            ")" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        let is_word = matches!(token, Token::Word(_));
        let is_one_of =
            |words: &[&str]| is_word && words.iter().any(|word| text.eq_ignore_ascii_case(word));
        if depth == 0 && table.is_some() && is_one_of(&AFTER_PIVOT) {
            end = tokens.start;
            break;
        }
        if depth == 0 && is_one_of(&["ON", "USING", "GROUP"]) {
            match table {
                Some(_) => selected.push(&statement[last..tokens.start]),
                None => table = Some(&statement[begin..tokens.start]),
            }
            if is_one_of(&["GROUP"]) {
                // BY.
                tokens.next().ok()?;
            }
            last = tokens.at;
        } else if table.is_none() && !is_word && text != "." {
            return None;
        }
    }
    selected.push(&statement[last..end]);
    let selected: Vec<_> = selected.into_iter().map(str::trim).collect();
    let (selected, table) = (selected.join(", "), table?.trim());
    Some(format!(
        "SELECT {selected} FROM {table} {}",
        &statement[end..]
    ))
}

/// A text with blanks in the place of what stands in `ranges`, so that all else stays where it is.
fn blank(text: &str, ranges: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges.iter().filter(|range| range.end <= text.len()) {
        out.push_str(&text[at..range.start]);
        out.extend(std::iter::repeat_n(' ', range.len()));
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
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
    fn next(self, token: &Token) -> Result<Self, StatementRefusal> {
        let word = match (self, token) {
            (Begin::Done, _) => return Ok(Begin::Done),
            // A parenthesis begins a query; whatever it is, it is not one that writes.
            (Begin::Statement, Token::Parenthesis) => return Ok(Begin::Done),
            // Behind EXPLAIN it begins a query or options: what is in it tells.
            (Begin::Explained, Token::Parenthesis) => return Ok(Begin::Explained),
            (_, Token::Word(word)) => word,
            _ => return Err(StatementRefusal::NoWord),
        };
        match word.to_ascii_uppercase().as_str() {
            "EXPLAIN" if self == Begin::Statement => Ok(Begin::Explained),
            "ANALYZE" | "ANALYSE" if self == Begin::Explained => Ok(Begin::Explained),
            upper if READING.contains(&upper) => Ok(Begin::Done),
            _ => Err(StatementRefusal::NotReading(word.clone())),
        }
    }
}

fn refuse_changing(function: Option<String>) -> Result<(), StatementRefusal> {
    let Some(function) = function else {
        return Ok(());
    };
    let lower = function.to_ascii_lowercase();
    let switches = lower.starts_with("enable_") || lower.starts_with("disable_");
    if switches || CHANGING.contains(&lower.as_str()) {
        Err(StatementRefusal::Changing(function))
    } else {
        Ok(())
    }
}

fn tokens(sql: &str) -> Tokens<'_> {
    Tokens {
        sql,
        start: 0,
        at: 0,
        comments: Vec::new(),
    }
}

struct Tokens<'a> {
    sql: &'a str,
    /// Where the last token begins.
    start: usize,
    at: usize,
    /// Where comments were.
    comments: Vec<Range<usize>>,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Token>, StatementRefusal> {
        self.skip_space()?;
        self.start = self.at;
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
                if OPERATORS.contains(c) {
                    Token::Operator(c)
                } else {
                    Token::Other
                }
            }
        };
        Ok(Some(token))
    }

    fn skip_space(&mut self) -> Result<(), StatementRefusal> {
        loop {
            let rest = &self.sql[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let start = self.at;
            if trimmed.starts_with("--") {
                self.at += trimmed.find(['\n', '\r']).unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.comment()?;
            } else {
                return Ok(());
            }
            self.comments.push(start..self.at);
        }
    }

    /// Skips a comment. They nest, as in DuckDB's parser.
    fn comment(&mut self) -> Result<(), StatementRefusal> {
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
                    .ok_or(StatementRefusal::Open("a comment"))?
                    .len_utf8();
            }
        }
    }

    /// What stands in quotes, in which a quote is written twice.
    fn quoted(&mut self, quote: char, what: &'static str) -> Result<String, StatementRefusal> {
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
        Err(StatementRefusal::Open(what))
    }

    /// A text `e'...'`, in which a backslash takes the meaning from what follows it.
    fn escaped(&mut self) -> Result<(), StatementRefusal> {
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
        Err(StatementRefusal::Open("a text in quotes"))
    }

    /// `$$text$$`, `$tag$text$tag$`, or a parameter `$1`.
    fn dollar(&mut self) -> Result<(), StatementRefusal> {
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
            .ok_or(StatementRefusal::Open("a text in dollar quotes"))?;
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
            "select a->>'b', 1 <= 2, 3 * -+-4",
        ] {
            assert!(check(sql).is_ok(), "{sql}: {:?}", check(sql));
        }
        assert_eq!(check("select 1 ; ").unwrap(), "select 1 ");
        assert_eq!(
            check("select/*a\n/*b*/*/'--' -- c\n, 1/* ; */;--d").unwrap(),
            "select           '--'     \n, 1       "
        );
    }

    #[test]
    fn what_is_explained_is_told_from_how() {
        for (sql, query) in [
            ("select 1", "select 1"),
            ("explain select 1", " select 1"),
            ("explain analyze (select 1)", " (select 1)"),
            (
                "explain (select 1) union (select 2)",
                " (select 1) union (select 2)",
            ),
            ("explain (format json) from t", " from t"),
            ("explain (analyze, format json) from t", " from t"),
            ("explain ((select 1))", " ((select 1))"),
        ] {
            assert_eq!(explained(sql), query, "{sql}");
        }
    }

    #[test]
    fn a_pivot_over_one_table_computes_what_a_select_does() {
        for (sql, select) in [
            (
                "pivot t on a, f(b) using sum(b) as s, max(c) group by c, d order by c limit 3",
                "SELECT a, f(b), sum(b) as s, max(c), c, d FROM t order by c limit 3",
            ),
            (
                "PIVOT main.\"on\" ON \"using\"",
                "SELECT \"using\" FROM main.\"on\" ",
            ),
            ("pivot t using sum(f(x, y))", "SELECT sum(f(x, y)) FROM t "),
            (
                "pivot t on a using max((select b from t group by b))",
                "SELECT a, max((select b from t group by b)) FROM t ",
            ),
        ] {
            assert_eq!(pivot_as_select(sql).as_deref(), Some(select), "{sql}");
        }
        for sql in [
            "pivot (select 1) on a",
            "pivot t",
            "with x as (from t) pivot x on a",
            "select 1",
        ] {
            assert_eq!(pivot_as_select(sql), None, "{sql}");
        }
    }

    #[test]
    fn others_are_refused() {
        for (sql, refusal) in [
            ("", StatementRefusal::Empty),
            (" ; -- nothing", StatementRefusal::Empty),
            ("select 1; drop table t", StatementRefusal::Several),
            ("select 1;;select 2", StatementRefusal::Several),
            ("select $a$b$a$; drop table t", StatementRefusal::Several),
            ("select '\\'; drop table t --'", StatementRefusal::Several),
            ("select 1$$; drop table t; --$$", StatementRefusal::Several),
            ("drop table t", StatementRefusal::NotReading("drop".into())),
            ("COPY t TO 'x'", StatementRefusal::NotReading("COPY".into())),
            (
                "select * from enable_logging()",
                StatementRefusal::Changing("enable_logging".into()),
            ),
            (
                "from \"checkpoint\" ()",
                StatementRefusal::Changing("checkpoint".into()),
            ),
            (
                "from force_checkpoint /* */ ()",
                StatementRefusal::Changing("force_checkpoint".into()),
            ),
            (
                "explain analyze copy t to 'x'",
                StatementRefusal::NotReading("copy".into()),
            ),
            ("explain (analyze) copy t to 'x'", StatementRefusal::NoWord),
            (
                "explain explain select 1",
                StatementRefusal::NotReading("explain".into()),
            ),
            ("explain", StatementRefusal::NotReading("EXPLAIN".into())),
            ("'select'", StatementRefusal::NoWord),
            ("select 'a", StatementRefusal::Open("a text in quotes")),
            ("select /* a", StatementRefusal::Open("a comment")),
            (
                "select $$ a",
                StatementRefusal::Open("a text in dollar quotes"),
            ),
            (
                &*format!("select {}1", "+".repeat(33)),
                StatementRefusal::Operators('+'),
            ),
            (
                &*format!("select {}1", "- ".repeat(33)),
                StatementRefusal::Operators('-'),
            ),
        ] {
            assert_eq!(check(sql), Err(refusal), "{sql}");
        }
    }
}
