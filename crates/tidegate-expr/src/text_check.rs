//! What a rule asks of a text, in one step instead of Arrow's kernels.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, StringArray};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;

use crate::matches::Pattern;
use crate::one_of::OneOf;

/// Puts checks of texts in the place of what does the same for more.
pub(crate) fn specialise(
    expression: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let specialised = expression.transform(|node| {
        Ok(match TextCheck::new(&node, schema) {
            Some(check) => Transformed::yes(Arc::new(check) as Arc<dyn PhysicalExpr>),
            None => Transformed::no(node),
        })
    });
    specialised.map(|transformed| transformed.data)
}

/// The text that a literal has.
pub(crate) fn text_of(literal: &Arc<dyn PhysicalExpr>) -> Option<String> {
    match literal.downcast_ref::<Literal>()?.value() {
        ScalarValue::Utf8(Some(text)) => Some(text.clone()),
        _ => None,
    }
}

/// Whether a text passes a check; null is null.
#[derive(Debug, Clone)]
pub(crate) struct TextCheck {
    text: Arc<dyn PhysicalExpr>,
    check: Check,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Check {
    Matches(Pattern),
    OneOf(OneOf),
}

impl TextCheck {
    /// What does the same as `node`, if that is such a check.
    fn new(node: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Self> {
        let (text, check) = match Pattern::of(node) {
            Some((text, pattern)) => (text, Check::Matches(pattern)),
            None => {
                let (text, one_of) = OneOf::of(node)?;
                (text, Check::OneOf(one_of))
            }
        };
        let is_text = text.data_type(schema).ok()? == DataType::Utf8;
        is_text.then_some(TextCheck { text, check })
    }

    /// The text and what it is compared with, if `node` is such a check.
    pub(crate) fn one_of(node: &Arc<dyn PhysicalExpr>) -> Option<(&Arc<dyn PhysicalExpr>, &OneOf)> {
        match node.downcast_ref::<TextCheck>()? {
            TextCheck {
                text,
                check: Check::OneOf(one_of),
            } => Some((text, one_of)),
            _ => None,
        }
    }

    fn run(&self, texts: &StringArray) -> BooleanArray {
        let passed = match &self.check {
            Check::Matches(pattern) => pattern.run(texts),
            Check::OneOf(one_of) => one_of.run(texts),
        };
        BooleanArray::new(passed, texts.nulls().cloned())
    }
}

// Derived, it would move the text.
impl PartialEq for TextCheck {
    fn eq(&self, other: &Self) -> bool {
        self.check == other.check && self.text.eq(&other.text)
    }
}

impl Eq for TextCheck {}

impl Hash for TextCheck {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.check.hash(state);
        self.text.hash(state);
    }
}

impl fmt::Display for TextCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.check {
            Check::Matches(pattern) => write!(f, "{} {pattern}", self.text),
            Check::OneOf(one_of) => write!(f, "{} {one_of}", self.text),
        }
    }
}

impl PhysicalExpr for TextCheck {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.text.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        match self.text.evaluate(batch)? {
            ColumnarValue::Array(texts) => {
                let passed = self.run(texts.as_string::<i32>());
                Ok(ColumnarValue::Array(Arc::new(passed)))
            }
            ColumnarValue::Scalar(ScalarValue::Utf8(text)) => {
                let passed = self.run(&StringArray::from(vec![text]));
                let passed = passed.is_valid(0).then(|| passed.value(0));
                Ok(ColumnarValue::Scalar(ScalarValue::Boolean(passed)))
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
        Ok(Arc::new(TextCheck {
            text: Arc::clone(&children[0]),
            check: self.check.clone(),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
