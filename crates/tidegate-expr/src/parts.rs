//! The parts that a planned expression is made of, each of which can be computed by itself.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use chrono::format::{Item, StrftimeItems};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::text_check::text_of;
use crate::words::type_name;
use crate::{checked, compare};

/// Functions of a text that take any: whether they fail is up to their other arguments. What asks
/// for memory by these arguments is left out.
const OF_ANY_TEXT: [&str; 9] = [
    "overlay",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "split_part",
    "substr",
    "substr_index",
];
/// Functions that read a time from a text, by the formats after it.
const BY_FORMAT: [&str; 8] = [
    "to_date",
    "to_time",
    "to_timestamp",
    "to_timestamp_seconds",
    "to_timestamp_millis",
    "to_timestamp_micros",
    "to_timestamp_nanos",
    "to_unixtime",
];

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

    /// The type of what it is directly made of, where that is one value and constants.
    pub fn operand(&self, schema: &Schema) -> Option<DataType> {
        let place = self.operand_place()?;
        self.0.children()[place].data_type(schema).ok()
    }

    /// Whether it takes any text as its operand, such that its constants alone make it fail.
    pub fn takes_any_text(&self) -> bool {
        use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
        let call = self.0.downcast_ref::<ScalarFunctionExpr>();
        let binary = self.0.downcast_ref::<BinaryExpr>();
        self.operand_place() == Some(0)
            && (call.is_some_and(|call| OF_ANY_TEXT.contains(&call.name()))
                || binary.is_some_and(|binary| {
                    let op = binary.op();
                    matches!(
                        op,
                        RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch
                    )
                }))
    }

    /// Its values for these ones as the operand, whatever the operand is computed of.
    ///
    /// # Errors
    /// If one cannot be computed.
    pub fn evaluate_for(&self, operand: ArrayRef) -> Result<ArrayRef> {
        const NAME: &str = "operand";
        let mut children: Vec<_> = self.0.children().into_iter().cloned().collect();
        if let Some(place) = self.operand_place() {
            children[place] = Arc::new(Column::new(NAME, 0));
        }
        let rows = operand.len();
        let field = Field::new(NAME, operand.data_type().clone(), true);
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![operand])?;
        let part = Arc::clone(self.0).with_new_children(children)?;
        part.evaluate(&batch)?.into_array(rows)
    }

    /// The format by which it is to read a text, if none can be read by it: after a `%` there is
    /// what stands for nothing. None where another format can.
    pub fn wrong_format(&self, schema: &Schema) -> Option<String> {
        let call = self.0.downcast_ref::<ScalarFunctionExpr>()?;
        let (true, [text, formats @ ..]) = (BY_FORMAT.contains(&call.name()), call.args()) else {
            return None;
        };
        if !text.data_type(schema).is_ok_and(|ty| ty.is_string()) {
            return None;
        }
        let formats: Vec<String> = formats.iter().map(text_of).collect::<Option<_>>()?;
        let is_wrong = |format: &String| StrftimeItems::new(format).any(|item| item == Item::Error);
        let first = formats.first()?;
        formats.iter().all(is_wrong).then(|| first.clone())
    }

    /// Which of its children is no constant, where that is only one. Other kinds of expressions
    /// have children that are computed for some rows only.
    fn operand_place(&self) -> Option<usize> {
        let is_simple = self.0.downcast_ref::<ScalarFunctionExpr>().is_some()
            || self.0.downcast_ref::<BinaryExpr>().is_some()
            || self.0.downcast_ref::<CastExpr>().is_some();
        let children = self.0.children();
        let mut operands = (0..children.len()).filter(|place| !is_constant(children[*place]));
        let place = operands.next().filter(|_| is_simple)?;
        operands.next().is_none().then_some(place)
    }
}

fn is_constant(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let children = expression.children();
    match children.as_slice() {
        [] => expression.downcast_ref::<Literal>().is_some(),
        children => children.iter().all(|child| is_constant(child)),
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
            ([of, members @ ..], "get_field" | "array_element") => {
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
