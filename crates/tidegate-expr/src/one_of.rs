//! Texts that are compared with a few known ones: `status = 'DONE'`, `currency IN ('USD', 'EUR')`. Arrow's kernels go over a column
//! once for each of them, and once more for each `OR`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, InListExpr, Literal};

/// Bytes of a text that are compared at once.
const HEAD: usize = 8;

/// Whether a text is one of these; null is null.
#[derive(Debug, Clone)]
pub(crate) struct OneOf {
    text: Arc<dyn PhysicalExpr>,
    known: Vec<Known>,
}

/// A text that others are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Known {
    text: String,
    /// Its first bytes, zeros behind a shorter one.
    head: u64,
}

impl PartialEq for OneOf {
    fn eq(&self, other: &Self) -> bool {
        self.known == other.known && self.text.eq(&other.text)
    }
}

impl Eq for OneOf {}

impl Hash for OneOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.known.hash(state);
        self.text.hash(state);
    }
}

impl OneOf {
    /// What does the same as `node`, if that is such a comparison. Its children have been looked at before.
    pub(crate) fn new(node: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        if let Some(list) = node.downcast_ref::<InListExpr>() {
            let known = list.list().iter().map(known).collect::<Option<_>>()?;
            return (!list.negated()).then(|| OneOf::of(list.expr(), known, schema))?;
        }
        let binary = node.downcast_ref::<BinaryExpr>()?;
        match binary.op() {
            Operator::Eq => OneOf::of(binary.left(), vec![known(binary.right())?], schema),
            Operator::Or => {
                let left = binary.left().downcast_ref::<OneOf>()?;
                let right = binary.right().downcast_ref::<OneOf>()?;
                let both = left.known.iter().chain(&right.known);
                left.text.eq(&right.text).then(|| OneOf {
                    text: Arc::clone(&left.text),
                    known: both.cloned().collect(),
                })
            }
            _ => None,
        }
    }

    fn of(text: &Arc<dyn PhysicalExpr>, known: Vec<Known>, schema: &Schema) -> Option<Self> {
        let is_text = text.data_type(schema).ok()? == DataType::Utf8;
        is_text.then(|| OneOf {
            text: Arc::clone(text),
            known,
        })
    }

    fn run(&self, texts: &StringArray) -> BooleanBuffer {
        let bytes = texts.value_data();
        let offsets = texts.value_offsets();
        BooleanBuffer::collect_bool(texts.len(), |i| {
            let (from, to) = (offsets[i] as usize, offsets[i + 1] as usize);
            let head = head(bytes, from, to);
            self.known.iter().any(|known| {
                known.head == head
                    && known.text.len() == to - from
                    && (to - from <= HEAD
                        || known.text.as_bytes()[HEAD..] == bytes[from + HEAD..to])
            })
        })
    }
}

fn known(literal: &Arc<dyn PhysicalExpr>) -> Option<Known> {
    let literal = literal.downcast_ref::<Literal>()?;
    let ScalarValue::Utf8(Some(text)) = literal.value() else {
        return None;
    };
    Some(Known {
        text: text.clone(),
        head: head(text.as_bytes(), 0, text.len()),
    })
}

/// The first bytes of a text, zeros behind a shorter one.
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
        let known: Vec<String> = self.known.iter().map(|k| format!("'{}'", k.text)).collect();
        write!(f, "{} IN ({})", self.text, known.join(", "))
    }
}

impl PhysicalExpr for OneOf {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.text.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        match self.text.evaluate(batch)? {
            ColumnarValue::Array(texts) => {
                let texts = texts.as_string::<i32>();
                let found = BooleanArray::new(self.run(texts), texts.nulls().cloned());
                Ok(ColumnarValue::Array(Arc::new(found)))
            }
            ColumnarValue::Scalar(ScalarValue::Utf8(text)) => {
                let found = text.map(|text| self.known.iter().any(|known| known.text == text));
                Ok(ColumnarValue::Scalar(ScalarValue::Boolean(found)))
            }
            ColumnarValue::Scalar(other) => internal_err!("{other} is no text"),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.text]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(OneOf {
            text: Arc::clone(&children[0]),
            known: self.known.clone(),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::ArrayRef;
    use arrow::datatypes::Field;
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
        planned(sql).physical.downcast_ref::<OneOf>().is_some()
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
