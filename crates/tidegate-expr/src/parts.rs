//! The parts that a planned expression is made of, each of which can be computed by itself.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use datafusion_common::{Result, ScalarValue};
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Literal};
use datafusion_physical_expr::utils::collect_columns;
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::{checked, compare};

/// A part of an expression, down to its columns and constants. It displays as SQL, for people: what
/// was known when the expression was planned is computed already.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a>(&'a Arc<dyn PhysicalExpr>);

/// An expression's parts, each after those that it is made of; the last one is the whole.
pub(crate) fn of(expression: &Arc<dyn PhysicalExpr>) -> Vec<Part<'_>> {
    fn collect<'a>(expression: &'a Arc<dyn PhysicalExpr>, parts: &mut Vec<Part<'a>>) {
        for child in expression.children() {
            collect(child, parts);
        }
        parts.push(Part(expression));
    }
    let mut parts = Vec::new();
    collect(expression, &mut parts);
    parts
}

impl Part<'_> {
    /// Names of the columns that it reads.
    pub fn columns(&self) -> Vec<String> {
        let columns = collect_columns(self.0).into_iter();
        columns.map(|column| column.name().to_owned()).collect()
    }

    /// The values for all rows of a batch that the whole expression can be computed over.
    ///
    /// # Errors
    /// If a row cannot be computed.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        self.0.evaluate(batch)?.into_array(batch.num_rows())
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(literal) = self.0.downcast_ref::<Literal>() {
            return match literal.value() {
                ScalarValue::Utf8(Some(text))
                | ScalarValue::LargeUtf8(Some(text))
                | ScalarValue::Utf8View(Some(text)) => {
                    write!(f, "'{}'", text.replace('\'', "''"))
                }
                value => write!(f, "{value}"),
            };
        }
        if let Some(binary) = self.0.downcast_ref::<BinaryExpr>() {
            let (left, right) = (Operand(binary.left()), Operand(binary.right()));
            return write!(f, "{left} {} {right}", binary.op());
        }
        if let Some(cast) = self.0.downcast_ref::<CastExpr>() {
            return write!(f, "CAST({} AS {})", Part(cast.expr()), cast.cast_type());
        }
        let Some(call) = self.0.downcast_ref::<ScalarFunctionExpr>() else {
            return self.0.fmt_sql(f);
        };
        match (call.args(), call.name()) {
            ([left, right], operator) if checked::is_operator(call.fun()) => {
                write!(f, "{} {operator} {}", Operand(left), Operand(right))
            }
            ([only], _) if checked::is_operator(call.fun()) => write!(f, "-{}", Operand(only)),
            ([only], _) if compare::is_canonical(call.fun()) => write!(f, "{}", Part(only)),
            (arguments, name) => {
                write!(f, "{name}(")?;
                for (place, argument) in arguments.iter().enumerate() {
                    let comma = if place > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", Part(argument))?;
                }
                f.write_str(")")
            }
        }
    }
}

/// A part beside an operator.
struct Operand<'a>(&'a Arc<dyn PhysicalExpr>);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.0.downcast_ref::<ScalarFunctionExpr>();
        let has_operator = self.0.downcast_ref::<BinaryExpr>().is_some()
            || call.is_some_and(|call| checked::is_operator(call.fun()));
        match has_operator {
            true => write!(f, "({})", Part(self.0)),
            false => write!(f, "{}", Part(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use crate::{Planner, visible_schema};

    #[test]
    fn parts_read_as_they_were_written() {
        let fields = [
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
        ];
        for (sql, parts) in [
            ("n / 0", &["n", "0", "n / 0"][..]),
            ("-n", &["n", "-n"]),
            (
                "(n + 1) * 2 % n",
                &[
                    "n",
                    "1",
                    "n + 1",
                    "2",
                    "(n + 1) * 2",
                    "n",
                    "((n + 1) * 2) % n",
                ],
            ),
            (
                "date_trunc('it''s', now())",
                &["'it''s'", "now()", "date_trunc('it''s', now())"],
            ),
            ("CAST(s AS BIGINT)", &["s", "CAST(s AS Int64)"]),
        ] {
            let expression = Planner::default().plan(sql, &visible_schema(&fields));
            let expression = expression.expect(sql);
            let found: Vec<String> = expression.parts().iter().map(ToString::to_string).collect();
            assert_eq!(found, parts, "{sql}");
        }
    }
}
