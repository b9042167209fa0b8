//! Regular expressions in a planned expression: compiled once, and not for each batch. Simple ones,
//! of which formats of numbers and names are, need no engine.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, StringArray};
use arrow::buffer::BooleanBuffer;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::BinaryExpr;
use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::text_check::text_of;

/// A pattern that texts are matched with.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pattern: String,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    Steps(Vec<PatternStep>),
    Regex(Regex),
}

impl Pattern {
    /// The text and the pattern of `node`, if it matches one with a pattern that can be compiled.
    /// What cannot be compiled stays, and fails when it is run.
    pub(crate) fn of(node: &Arc<dyn PhysicalExpr>) -> Option<(Arc<dyn PhysicalExpr>, Self)> {
        let binary = node.downcast_ref::<BinaryExpr>()?;
        if *binary.op() != Operator::RegexMatch {
            return None;
        }
        let pattern = text_of(binary.right())?;
        let matcher = Matcher::new(&pattern)?;
        Some((Arc::clone(binary.left()), Pattern { pattern, matcher }))
    }

    /// Which of the texts match.
    pub(crate) fn run(&self, texts: &StringArray) -> BooleanBuffer {
        self.matcher.run(texts.len(), |i| texts.value(i))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pattern.hash(state);
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~ '{}'", self.pattern)
    }
}

impl Matcher {
    fn new(pattern: &str) -> Option<Self> {
        match steps(&regex_syntax::parse(pattern).ok()?) {
            Some(steps) => Some(Matcher::Steps(steps)),
            None => Regex::new(pattern).ok().map(Matcher::Regex),
        }
    }

    /// Whether texts match.
    fn run<'a>(&self, count: usize, text: impl Fn(usize) -> &'a str) -> BooleanBuffer {
        match self {
            Matcher::Steps(steps) => {
                BooleanBuffer::collect_bool(count, |i| all(steps, text(i).as_bytes()))
            }
            Matcher::Regex(regex) => {
                // A copy has scratch space of its own, which threads would take turns with.
                let regex = regex.clone();
                BooleanBuffer::collect_bool(count, |i| regex.is_match(text(i)))
            }
        }
    }
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternStep {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Bytes of a set, so many of them.
    Set {
        set: Box<[bool; 256]>,
        least: usize,
        most: usize,
    },
}

/// Whether a text is made of these steps, and nothing else.
fn all(steps: &[PatternStep], text: &[u8]) -> bool {
    let mut rest = text;
    for step in steps {
        let taken = match step {
            PatternStep::Bytes(bytes) if rest.starts_with(bytes) => bytes.len(),
            PatternStep::Bytes(_) => return false,
            PatternStep::Set { set, least, most } => {
                let inside = rest.iter().take(*most);
                let taken = inside.take_while(|byte| set[usize::from(**byte)]).count();
                if taken < *least {
                    return false;
                }
                taken
            }
        };
        rest = &rest[taken..];
    }
    rest.is_empty()
}

/// The steps of a pattern for a whole text in which no step has a choice: where one may take fewer
/// or more bytes, none that it could take begins what follows. None of any other pattern.
fn steps(pattern: &Hir) -> Option<Vec<PatternStep>> {
    let HirKind::Concat(parts) = pattern.kind() else {
        return None;
    };
    let [start, parts @ .., end] = parts.as_slice() else {
        return None;
    };
    if *start.kind() != HirKind::Look(Look::Start) || *end.kind() != HirKind::Look(Look::End) {
        return None;
    }
    let steps: Vec<PatternStep> = parts.iter().map(step).collect::<Option<_>>()?;
    for (i, step) in steps.iter().enumerate() {
        if let PatternStep::Set { set, least, most } = step
            && least < most
        {
            for next in &steps[i + 1..] {
                if (0..=u8::MAX).any(|byte| set[usize::from(byte)] && next.can_begin(byte)) {
                    return None;
                }
                if !next.can_be_empty() {
                    break;
                }
            }
        }
    }
    Some(steps)
}

fn step(part: &Hir) -> Option<PatternStep> {
    Some(match part.kind() {
        HirKind::Literal(literal) => PatternStep::Bytes(literal.0.to_vec()),
        HirKind::Class(_) => PatternStep::Set {
            set: set(part)?,
            least: 1,
            most: 1,
        },
        HirKind::Repetition(repetition) => PatternStep::Set {
            set: set(&repetition.sub)?,
            least: repetition.min as usize,
            most: repetition.max.map_or(usize::MAX, |most| most as usize),
        },
        _ => return None,
    })
}

/// The bytes of a class of ASCII characters, or of one such character.
fn set(part: &Hir) -> Option<Box<[bool; 256]>> {
    let mut set = Box::new([false; 256]);
    match part.kind() {
        HirKind::Literal(literal) => {
            let [byte @ 0..128] = *literal.0 else {
                return None;
            };
            set[usize::from(byte)] = true;
        }
        HirKind::Class(Class::Unicode(class)) if class.is_ascii() => {
            for range in class.ranges() {
                set[range.start() as usize..=range.end() as usize].fill(true);
            }
        }
        _ => return None,
    }
    Some(set)
}

impl PatternStep {
    fn can_begin(&self, byte: u8) -> bool {
        match self {
            PatternStep::Bytes(bytes) => bytes.first() == Some(&byte),
            PatternStep::Set { set, .. } => set[usize::from(byte)],
        }
    }

    fn can_be_empty(&self) -> bool {
        match self {
            PatternStep::Bytes(bytes) => bytes.is_empty(),
            PatternStep::Set { least, .. } => *least == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_simple(pattern: &str) -> bool {
        matches!(Matcher::new(pattern), Some(Matcher::Steps(_)))
    }

    #[test]
    fn formats_of_names_are_simple() {
        for pattern in [
            "^TXN_[0-9]+_[0-9]{4}$",
            "^CUST_[0-9]{6}$",
            "^[A-Za-z]{2}-[0-9]{1,3}$",
            "^[a-w]*[0-9]?x$",
        ] {
            assert!(is_simple(pattern), "{pattern}");
        }
    }

    #[test]
    fn what_has_a_choice_needs_the_engine() {
        for pattern in [
            "TXN",
            "^TXN",
            "^[0-9]+[0-9]$",
            "^[0-9]*a?[0-9]$",
            "^(a|bc)$",
            r"^\d+$",
            "(?m)^a[0-9]$",
            "^ä+$",
        ] {
            assert!(!is_simple(pattern), "{pattern}");
        }
    }

    fn part() -> impl Strategy<Value = String> {
        let set = prop_oneof![
            "[ab]",
            Just("[a-c]".to_owned()),
            Just("[^a]".to_owned()),
            Just("ä".to_owned()),
            "[a-d]"
        ];
        let count = prop_oneof![
            "",
            "[+*?]",
            Just("{2}".to_owned()),
            Just("{1,2}".to_owned()),
            Just("{2,}?".to_owned())
        ];
        (set, count).prop_map(|(set, count)| set + &count)
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_engine(parts in proptest::collection::vec(part(), 1..5), texts in proptest::collection::vec("[abcdä]{0,6}", 20)) {
            let pattern = format!("^{}$", parts.concat());
            let matcher = Matcher::new(&pattern).unwrap();
            let regex = Regex::new(&pattern).unwrap();
            let found = matcher.run(texts.len(), |i| &texts[i]);
            for (text, found) in texts.iter().zip(&found) {
                prop_assert_eq!(found, regex.is_match(text), "{} {}", &pattern, text);
            }
        }
    }
}
