//! Texts that are compared with a few known ones: `status = 'DONE'`, `currency IN ('USD', 'EUR')`.
//! Arrow's kernels go over a column once for each of them, and once more for each `OR`.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, StringArray};
use arrow::buffer::BooleanBuffer;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, InListExpr};

use crate::text_check::{TextCheck, text_of};

/// Bytes of a text that are compared at once.
const HEAD: usize = 8;

/// Texts that others are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OneOf(Vec<Candidate>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Candidate {
    text: String,
    /// Its first bytes, zeros after a shorter one.
    head: u64,
}

impl OneOf {
    /// The text and what it is compared with, if `node` is such a comparison. Its children have
    /// been looked at before.
    pub(crate) fn of(node: &Arc<dyn PhysicalExpr>) -> Option<(Arc<dyn PhysicalExpr>, Self)> {
        if let Some(list) = node.downcast_ref::<InListExpr>() {
            let known = list.list().iter().map(known).collect::<Option<_>>()?;
            return (!list.negated()).then(|| (Arc::clone(list.expr()), OneOf(known)));
        }
        let binary = node.downcast_ref::<BinaryExpr>()?;
        match binary.op() {
            Operator::Eq => {
                let known = vec![known(binary.right())?];
                Some((Arc::clone(binary.left()), OneOf(known)))
            }
            Operator::Or => {
                let (text, left) = TextCheck::one_of(binary.left())?;
                let (other, right) = TextCheck::one_of(binary.right())?;
                let both = left.0.iter().chain(&right.0).cloned();
                text.eq(other)
                    .then(|| (Arc::clone(text), OneOf(both.collect())))
            }
            _ => None,
        }
    }

    /// Which of the texts are among them.
    pub(crate) fn run(&self, texts: &StringArray) -> BooleanBuffer {
        let bytes = texts.value_data();
        let offsets = texts.value_offsets();
        BooleanBuffer::collect_bool(texts.len(), |i| {
            let (from, to) = (offsets[i] as usize, offsets[i + 1] as usize);
            let head = head(bytes, from, to);
            self.0.iter().any(|known| {
                known.head == head
                    && known.text.len() == to - from
                    && (to - from <= HEAD
                        || known.text.as_bytes()[HEAD..] == bytes[from + HEAD..to])
            })
        })
    }
}

fn known(literal: &Arc<dyn PhysicalExpr>) -> Option<Candidate> {
    let text = text_of(literal)?;
    let head = head(text.as_bytes(), 0, text.len());
    Some(Candidate { text, head })
}

/// The first bytes of a text, zeros after a shorter one.
#[inline]
fn head(bytes: &[u8], from: usize, to: usize) -> u64 {
    let length = (to - from).min(HEAD);
    if let Some(head) = bytes[from..].first_chunk() {
        let unused = 8 * (HEAD - length) as u32;
        return u64::from_le_bytes(*head) & u64::MAX.checked_shr(unused).unwrap_or(0);
    }
    let mut head = [0; HEAD];
    head[..length].copy_from_slice(&bytes[from..from + length]);
    u64::from_le_bytes(head)
}

impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<String> = self.0.iter().map(|k| format!("'{}'", k.text)).collect();
        write!(f, "IN ({})", known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, BooleanArray};
    use arrow::datatypes::{DataType, Field};
    use proptest::prelude::*;

    use super::*;
    use crate::{Expression, Planner, visible_batch, visible_schema};

    fn planned(sql: &str) -> Expression {
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Utf8, true));
        Planner::default()
            .plan(sql, &visible_schema(&fields))
            .unwrap()
    }

    fn is_one_of(sql: &str) -> bool {
        TextCheck::one_of(&planned(sql).physical).is_some()
    }

    #[test]
    fn comparisons_with_known_texts_are_one_step() {
        for sql in [
            "a = 'x'",
            "'x' = a",
            "a = 'x' OR a = 'y' OR a = 'z'",
            "a IN ('USD', 'EUR', 'GBP')",
            "a IN ('1', '2', '3', '4', '5', '6')",
        ] {
            assert!(is_one_of(sql), "{sql}");
        }
        for sql in [
            "a = b",
            "a = 'x' OR b = 'x'",
            "a <> 'x'",
            "a NOT IN ('1', '2', '3', '4', '5', '6')",
            "a IN ('1', '2', '3', '4', '5', NULL)",
        ] {
            assert!(!is_one_of(sql), "{sql}");
        }
    }

    proptest! {
        #[test]
        fn it_finds_the_texts_that_are_the_same(
            texts in prop::collection::vec(prop::option::of("(COMPLETED|PENDING|[ab]{0,3}|abcdefgh[ab]?|)"), 0..40),
            known in prop::collection::vec("(COMPLETED|COMPLETEX|PENDING|[ab]{0,3}|abcdefgh[ab]?|)", 1..7),
        ) {
            let quoted: Vec<String> = known.iter().map(|k| format!("'{k}'")).collect();
            let expression = planned(&format!("a IN ({})", quoted.join(",")));
            let column: ArrayRef = Arc::new(StringArray::from(texts.clone()));
            let schema = visible_schema(&["a", "b"].map(|name| Field::new(name, DataType::Utf8, true)));
            let batch = visible_batch(&schema, 0, texts.len(), &[Arc::clone(&column), column]).unwrap();
            let found = expression.evaluate(&batch).unwrap();
            let expected: Vec<Option<bool>> = texts.iter().map(|text| text.as_ref().map(|t| known.contains(t))).collect();
            prop_assert_eq!(found.as_boolean(), &BooleanArray::from(expected));
        }
    }
}
