//! Paths into SUPER: `m.x[0]` becomes `( m -> 'x' -> 0 )`, and so does what follows a function.
//! What stands in FROM as a path, after what it leads into, becomes a function that brings the
//! elements.
//!
//! What is a path and what the column of a table shows in the names of the statement's relations.

use std::borrow::Cow;

use sqlparser::tokenizer::Token;

use super::reserved::is_reserved;
use super::tokens::{after_parentheses, is, is_any, literal, name, qualified_name_len};

/// The tokens with paths as PostgreSQL has them.
pub(super) fn rewrite(tokens: &[Token]) -> Cow<'_, [Token]> {
    if !tokens.contains(&Token::Period) && !tokens.contains(&Token::LBracket) {
        return Cow::Borrowed(tokens);
    }
    let relations = Relations::of(tokens);
    let mut out = Vec::with_capacity(tokens.len());
    // For each open parenthesis, where in `out` what it belongs to begins.
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if let Some(unnested) = relations.unnested.iter().find(|found| found.from == at) {
            unnested.write(&relations, &mut out);
            at = unnested.end;
            continue;
        }
        if *token == Token::LParen {
            open.push(begin_of_call(&out));
        }
        if *token == Token::RParen {
            out.push(token.clone());
            at += 1;
            let (steps, end) = more_steps(tokens, at, Vec::new());
            if let Some(begin) = open.pop()
                && !steps.is_empty()
            {
                out.insert(begin, Token::LParen);
                arrows(&steps, &mut out);
                out.push(Token::RParen);
                at = end;
            }
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let begins = matches!(token, Token::Word(_))
            && !matches!(before, Some(Token::Period | Token::DoubleColon))
            && !relations.places.contains(&at);
        let (steps, end) = if begins {
            steps(tokens, at)
        } else {
            (Vec::new(), at)
        };
        let column = relations.column(&steps);
        if steps.len() <= column + 1 || tokens.get(end) == Some(&Token::LParen) {
            out.push(token.clone());
            at += 1;
            continue;
        }
        path(&steps, column, &mut out);
        at = end;
    }
    Cow::Owned(out)
}

/// A path of which the step `column` is a column.
fn path(steps: &[PathStep<'_>], column: usize, out: &mut Vec<Token>) {
    let (names, rest) = steps.split_at(steps.len().min(column + 1));
    out.push(Token::LParen);
    for (at, step) in names.iter().enumerate() {
        if at > 0 {
            out.push(Token::Period);
        }
        let (PathStep::Name(token) | PathStep::Index(token)) = step;
        out.push((*token).clone());
    }
    arrows(rest, out);
    out.push(Token::RParen);
}

/// Steps into a value.
fn arrows(steps: &[PathStep<'_>], out: &mut Vec<Token>) {
    for step in steps {
        out.push(Token::Arrow);
        match step {
            PathStep::Name(word) => {
                let literal = literal(&name(Some(word)).unwrap_or_default());
                let inside = literal.get(1..literal.len().saturating_sub(1));
                out.push(Token::SingleQuotedString(
                    inside.unwrap_or_default().to_owned(),
                ));
            }
            PathStep::Index(number) => out.push((*number).clone()),
        }
    }
}

/// Where a call whose parenthesis comes next begins: with its name, if it has one.
fn begin_of_call(out: &[Token]) -> usize {
    let is_name = |token: Option<&Token>| {
        matches!(token, Some(Token::Word(word)) if word.quote_style.is_some())
            || matches!(token, Some(Token::Word(_))) && !is_reserved(token)
    };
    let before = |at: usize| at.checked_sub(1).and_then(|before| out.get(before));
    let mut begin = out.len();
    if !is_name(before(begin)) && !is(before(begin), "CAST") {
        return begin;
    }
    begin -= 1;
    while before(begin) == Some(&Token::Period) && is_name(before(begin - 1)) {
        begin -= 2;
    }
    begin
}

/// A part of `a.b[0]`.
#[derive(Debug, Clone, Copy)]
enum PathStep<'a> {
    Name(&'a Token),
    Index(&'a Token),
}

/// The steps from the word at `at` on, and the place after them. None where something else than
/// names and numbers is among them.
fn steps(tokens: &[Token], at: usize) -> (Vec<PathStep<'_>>, usize) {
    let first = tokens.get(at).map(PathStep::Name);
    more_steps(tokens, at + 1, first.into_iter().collect())
}

/// The same for what comes after some steps, or after a value.
fn more_steps<'a>(
    tokens: &'a [Token],
    at: usize,
    mut steps: Vec<PathStep<'a>>,
) -> (Vec<PathStep<'a>>, usize) {
    let mut at = at;
    loop {
        match tokens.get(at..).unwrap_or_default() {
            [Token::Period, word @ Token::Word(_), ..] => {
                steps.push(PathStep::Name(word));
                at += 2;
            }
            [
                Token::LBracket,
                number @ Token::Number(..),
                Token::RBracket,
                ..,
            ] => {
                steps.push(PathStep::Index(number));
                at += 3;
            }
            [Token::Period | Token::LBracket, ..] => return (Vec::new(), at),
            _ => return (steps, at),
        }
    }
}

/// An item of FROM that is a path: `t.path [AS] item [AT place]`, or the same after UNPIVOT.
#[derive(Debug)]
struct Unnested<'a> {
    /// Its first token, and the place after its last one.
    from: usize,
    end: usize,
    steps: Vec<PathStep<'a>>,
    unpivot: bool,
    item: &'a Token,
    place: Option<&'a Token>,
}

impl<'a> Unnested<'a> {
    /// The item at `at`, which comes after others that can be called by `names`.
    fn parse(tokens: &'a [Token], at: usize, names: &RelationNames) -> Option<Self> {
        let unpivot = is(tokens.get(at), "UNPIVOT");
        let first = at + usize::from(unpivot);
        let (steps, end) = steps(tokens, first);
        let relation = names.relation(&steps);
        if steps.len() <= relation || (relation == 0 && !names.is_item(&steps)) {
            return None;
        }
        let alias = |at: usize| match tokens.get(at) {
            Some(found @ Token::Word(word))
                if word.quote_style.is_some() || !is_reserved(Some(found)) =>
            {
                Some(found)
            }
            _ => None,
        };
        let end = end + usize::from(is(tokens.get(end), "AS"));
        let item = alias(end)?;
        let has_place = is(tokens.get(end + 1), "AT");
        let place = alias(end + 2).filter(|_| has_place);
        Some(Unnested {
            from: at,
            end: end + 1 + 2 * usize::from(place.is_some()),
            steps,
            unpivot,
            item,
            place,
        })
    }

    fn write(&self, relations: &Relations<'_>, out: &mut Vec<Token>) {
        let function = if self.unpivot {
            "attributes"
        } else {
            "elements"
        };
        for word in ["LATERAL", "redshift_emulator"] {
            out.push(Token::make_word(word, None));
        }
        out.extend([Token::Period, Token::make_word(function, None)]);
        path(&self.steps, relations.column(&self.steps), out);
        out.extend([
            Token::make_word("AS", None),
            self.item.clone(),
            Token::LParen,
        ]);
        out.push(self.item.clone());
        if let Some(place) = self.place {
            out.extend([Token::Comma, place.clone()]);
        }
        out.push(Token::RParen);
    }
}

/// By what relations can be called.
#[derive(Debug, Default)]
struct RelationNames {
    /// What may stand before a column.
    relations: Vec<Vec<String>>,
    /// Items of arrays and objects: each is a column that has its own name.
    items: Vec<String>,
}

impl RelationNames {
    fn add_relation(&mut self, words: &[String]) {
        // It can be called by its last name alone.
        self.relations
            .extend((0..words.len()).filter_map(|first| words.get(first..).map(<[_]>::to_vec)));
    }

    fn is_item(&self, steps: &[PathStep<'_>]) -> bool {
        match steps.first() {
            Some(PathStep::Name(word)) => {
                name(Some(word)).is_some_and(|name| self.items.contains(&name))
            }
            _ => false,
        }
    }

    /// How many of the steps are the name of a relation.
    fn relation(&self, steps: &[PathStep<'_>]) -> usize {
        if self.is_item(steps) {
            return 0;
        }
        let path: Vec<String> = steps
            .iter()
            .map_while(|step| match step {
                PathStep::Name(word) => name(Some(word)),
                PathStep::Index(_) => None,
            })
            .collect();
        let before = self.relations.iter().filter(|name| path.starts_with(name));
        before.map(Vec::len).max().unwrap_or_default()
    }
}

/// The relations that a statement names.
#[derive(Debug, Default)]
struct Relations<'a> {
    names: RelationNames,
    /// Where words are parts of their names.
    places: Vec<usize>,
    unnested: Vec<Unnested<'a>>,
}

impl<'a> Relations<'a> {
    fn of(tokens: &'a [Token]) -> Self {
        let mut relations = Self::default();
        let statement = [
            "SELECT", "WITH", "INSERT", "UPDATE", "MERGE", "CREATE", "EXPLAIN",
        ];
        if !is_any(tokens.first(), &statement) {
            // DELETE comes without the words before its target.
            relations.list(tokens, 0);
        }
        let before = ["FROM", "JOIN", "USING", "INTO", "UPDATE", "VIEW"];
        for (at, token) in tokens.iter().enumerate() {
            if is_any(Some(token), &before) {
                relations.list(tokens, at + 1);
            }
        }
        relations
    }

    /// Relations with commas between them.
    fn list(&mut self, tokens: &'a [Token], at: usize) {
        let mut at = at;
        // Of this list.
        let mut names = RelationNames::default();
        loop {
            if let Some(unnested) = Unnested::parse(tokens, at, &names) {
                at = unnested.end;
                let item = name(Some(unnested.item));
                names.items.extend(item.clone());
                self.names.items.extend(item);
                self.unnested.push(unnested);
                if tokens.get(at) != Some(&Token::Comma) {
                    return;
                }
                at += 1;
                continue;
            }
            let len = qualified_name_len(tokens.get(at..).unwrap_or_default());
            let mut words: Vec<Vec<String>> = Vec::new();
            if len > 0 {
                let name = (at..at + len).filter_map(|place| name(tokens.get(place)));
                words.push(name.collect());
                self.places.extend(at..at + len);
                at += len;
            } else if let (Some(Token::LParen), Ok(end)) =
                (tokens.get(at), after_parentheses(tokens, at))
            {
                at = end;
            } else {
                return;
            }
            let alias = at + usize::from(is(tokens.get(at), "AS"));
            if let Some(found @ Token::Word(word)) = tokens.get(alias)
                && (word.quote_style.is_some() || !is_reserved(Some(found)))
            {
                words.extend(name(Some(found)).map(|alias| vec![alias]));
                at = alias + 1;
            }
            // What has another name cannot be called by its own; but a statement's target can.
            if let Some(called) = words.last() {
                names.add_relation(called);
            }
            for words in &words {
                self.names.add_relation(words);
            }
            if tokens.get(at) != Some(&Token::Comma) {
                return;
            }
            at += 1;
        }
    }

    /// Which of the steps is a column.
    fn column(&self, steps: &[PathStep<'_>]) -> usize {
        self.names.relation(steps)
    }
}
