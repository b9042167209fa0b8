//! The parts that a planned expression is made of, each of which can be computed by itself.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion_common::{Result, ScalarValue};
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::{checked, compare};

/// A part of an expression, down to its columns and constants. It displays as SQL, for people: what
/// was known when the expression was planned is computed already.
#[derive(Debug, Clone, Copy)]
pub struct Subexpression<'a>(&'a Arc<dyn PhysicalExpr>);

/// An expression's parts, each after those that it is made of; the last one is the whole.
pub(crate) fn of(expression: &Arc<dyn PhysicalExpr>) -> Vec<Subexpression<'_>> {
    fn collect<'a>(expression: &'a Arc<dyn PhysicalExpr>, parts: &mut Vec<Subexpression<'a>>) {
        for child in expression.children() {
            collect(child, parts);
        }
        parts.push(Subexpression(expression));
    }
    let mut parts = Vec::new();
    collect(expression, &mut parts);
    parts
}

impl Subexpression<'_> {
    /// Types of what it reads of an event: of columns, and of members where it reads no more of a
    /// struct. For an entry of a map it is the map's.
    pub fn reads(&self, schema: &Schema) -> Vec<DataType> {
        let mut types = Vec::new();
        reads(self.0, schema, &mut types);
        types
    }

    /// The values for all rows of a batch that the whole expression can be computed over.
    ///
    /// # Errors
    /// If a row cannot be computed.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        self.0.evaluate(batch)?.into_array(batch.num_rows())
    }
}

fn reads(expression: &Arc<dyn PhysicalExpr>, schema: &Schema, types: &mut Vec<DataType>) {
    let is_column = expression.downcast_ref::<Column>().is_some();
    if (is_column || is_member(expression, schema))
        && let Ok(ty) = expression.data_type(schema)
    {
        return types.push(ty);
    }
    for child in expression.children() {
        reads(child, schema, types);
    }
}

/// Whether it is a member of a struct that is a column, or of one that is a member itself.
fn is_member(expression: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let Some(call) = expression.downcast_ref::<ScalarFunctionExpr>() else {
        return false;
    };
    let ("get_field", [of, ..]) = (call.name(), call.args()) else {
        return false;
    };
    let is_struct = matches!(of.data_type(schema), Ok(DataType::Struct(_)));
    is_struct && (of.downcast_ref::<Column>().is_some() || is_member(of, schema))
}

/// A constant as SQL.
fn literal(value: &ScalarValue) -> String {
    let shown = value
        .to_array()
        .and_then(|array| Ok(array_value_to_string(&array, 0)?));
    let (true, Ok(shown)) = (!value.is_null(), shown) else {
        return if value.is_null() {
            "NULL".to_owned()
        } else {
            value.to_string()
        };
    };
    match value.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            format!("'{}'", shown.replace('\'', "''"))
        }
        DataType::Interval(_) => format!("INTERVAL '{shown}'"),
        DataType::Timestamp(..) => format!("TIMESTAMP '{shown}'"),
        DataType::Date32 => format!("DATE '{shown}'"),
        _ => shown,
    }
}

/// The name of a type in SQL.
fn type_name(ty: &DataType) -> String {
    match ty {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        ty => ty.to_string(),
    }
}

impl fmt::Display for Subexpression<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(constant) = self.0.downcast_ref::<Literal>() {
            return f.write_str(&literal(constant.value()));
        }
        if let Some(binary) = self.0.downcast_ref::<BinaryExpr>() {
            let (left, right) = (Operand(binary.left()), Operand(binary.right()));
            return write!(f, "{left} {} {right}", binary.op());
        }
        if let Some(cast) = self.0.downcast_ref::<CastExpr>() {
            let ty = type_name(cast.cast_type());
            return write!(f, "CAST({} AS {ty})", Subexpression(cast.expr()));
        }
        let Some(call) = self.0.downcast_ref::<ScalarFunctionExpr>() else {
            return self.0.fmt_sql(f);
        };
        match (call.args(), call.name()) {
            ([of, members @ ..], "get_field") => {
                write!(f, "{}", Subexpression(of))?;
                members
                    .iter()
                    .try_for_each(|member| write!(f, "[{}]", Subexpression(member)))
            }
            ([left, right], operator) if checked::is_operator(call.fun()) => {
                write!(f, "{} {operator} {}", Operand(left), Operand(right))
            }
            ([only], _) if checked::is_operator(call.fun()) => write!(f, "-{}", Operand(only)),
            ([only], _) if compare::is_canonical(call.fun()) => {
                write!(f, "{}", Subexpression(only))
            }
            (arguments, name) => {
                write!(f, "{name}(")?;
                for (place, argument) in arguments.iter().enumerate() {
                    let comma = if place > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", Subexpression(argument))?;
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
            true => write!(f, "({})", Subexpression(self.0)),
            false => write!(f, "{}", Subexpression(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use crate::{Planner, visible_schema};

    #[test]
    fn a_part_reads_columns_and_members() {
        let members = vec![
            Field::new("age", DataType::Int32, true),
            Field::new("name", DataType::Utf8, true),
        ];
        let user = DataType::Struct(members.into());
        let fields = [
            Field::new("n", DataType::Int64, true),
            Field::new("user", user.clone(), true),
        ];
        let schema = visible_schema(&fields);
        for (sql, types) in [
            ("n / 0", vec![DataType::Int64]),
            ("user['age'] + n", vec![DataType::Int32, DataType::Int64]),
            ("user['name']", vec![DataType::Utf8]),
            ("user IS NULL", vec![user]),
        ] {
            let expression = Planner::default().plan(sql, &schema).expect(sql);
            let whole = expression.parts().pop().expect(sql);
            assert_eq!(whole.reads(&schema), types, "{sql}");
        }
    }

    #[test]
    fn parts_read_as_they_were_written() {
        let members = vec![Field::new("age", DataType::Int32, true)];
        let fields = [
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("d", DataType::Decimal128(9, 2), true),
            Field::new("u", DataType::Struct(members.into()), true),
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
            ("d", &["d"]),
            (
                "now() - INTERVAL '1 day'",
                &["now()", "INTERVAL '1 days'", "now() - INTERVAL '1 days'"],
            ),
            (
                "u['age'] = 1",
                &["u", "'age'", "u['age']", "1", "u['age'] = 1"],
            ),
            ("CAST(s AS BIGINT)", &["s", "CAST(s AS BIGINT)"]),
        ] {
            let expression = Planner::default().plan(sql, &visible_schema(&fields));
            let expression = expression.expect(sql);
            let found: Vec<String> = expression.parts().iter().map(ToString::to_string).collect();
            assert_eq!(found, parts, "{sql}");
        }
    }
}
