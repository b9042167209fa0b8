//! The view over the parts of a window: how the parts of all lanes become one value.
//!
//! A sum that overflows ends the whole question in Redshift, for all groups. So sums of decimals
//! are added up in two halves, which have room for any number of lanes, and one that has more
//! digits than its type in the end is null. Products are kept to few digits: Redshift gives a
//! product of decimals as many digits as both have together, and not more than 38.

use arrow::datatypes::DataType;
use tidegate_core::window::sum::mean_count_max;

use super::options::RedshiftOptions;
use super::schema::qualified;
use super::sql::{self, Type};
use crate::layers::{FLOAT_EXACT, HALF_DIGITS, Layers, UPPER_END, outside, power_of_ten};
use crate::table::{TableSpec, ViewMerge, WindowView};

/// The view over the parts of a window: lanes merged, and only windows that every known lane has
/// passed. A lane without a watermark could still have any event, so it holds all windows back.
pub(super) fn window_view(
    options: &RedshiftOptions,
    job: &str,
    table: &TableSpec,
    view: &WindowView<'_>,
) -> String {
    let WindowView {
        group_by,
        aggregates,
        gaps,
        ..
    } = *view;
    let keys: Vec<&str> = ["window_start", "window_end"]
        .into_iter()
        .chain(group_by.iter().map(String::as_str))
        .collect();
    // Blanks at the end are part of a group, and only its length shows them.
    let lengths: String = group_by
        .iter()
        .filter(|name| table.column_type(name).and_then(Type::of) == Some(Type::Text))
        .map(|name| format!(", OCTET_LENGTH({})", sql::name(name)))
        .collect();
    let mut merges = Merges(Layers::new(&keys));
    let merged: String = aggregates
        .iter()
        .map(|(name, merge)| {
            let value = merges.merge(table, name, *merge);
            format!(", {value} AS {}", sql::name(name))
        })
        .collect();
    let keys = sql::names(keys);
    // A window can end after the last instant that a watermark is written as.
    let end = format!("LEAST(window_end, {})", sql::last_instant());
    let parts = format!(
        "FROM {parts} WHERE {end} <= (SELECT CASE WHEN COUNT(*) = COUNT(watermark) THEN MIN(watermark) END FROM \
         {watermarks} WHERE job = {job}){whole} GROUP BY {keys}{lengths}",
        parts = qualified(options, &table.name),
        whole = outside(gaps, &end, sql::exact_instant, sql::instant),
        watermarks = qualified(options, "tidegate_watermarks"),
        job = sql::text(job),
    );
    format!(
        "SELECT {keys}{merged} FROM {} AS merged",
        merges.0.over(&parts, &keys)
    )
}

/// What aggregates become, over columns of layers.
struct Merges(Layers);

impl Merges {
    /// The merged value of an aggregate, over the outermost layer.
    fn merge(&mut self, table: &TableSpec, aggregate: &str, merge: ViewMerge) -> String {
        let column = sql::name(aggregate);
        match merge {
            ViewMerge::Count => self.plain_sum(table, aggregate),
            ViewMerge::Min => self.0.add(0, &format!("MIN({column})")),
            ViewMerge::Max => self.0.add(0, &format!("MAX({column})")),
            ViewMerge::Sum => self.sum(table, aggregate).0,
            ViewMerge::Avg => self.mean(table, aggregate),
        }
    }

    /// A mean, which is rounded once where floats hold what it is made of: see
    /// [`tidegate_core::window::sum::exact_mean`].
    fn mean(&mut self, table: &TableSpec, aggregate: &str) -> String {
        let column = format!("{aggregate}__sum");
        let (exact, sum) = self.sum(table, &column);
        let count = self.plain_sum(table, &format!("{aggregate}__count"));
        let rounded_twice = format!("{sum} / NULLIF({count}, 0)");
        let Some(DataType::Decimal128(_, scale)) = table.column_type(&column) else {
            return rounded_twice;
        };
        let Some(most) = mean_count_max(*scale) else {
            return rounded_twice;
        };
        // Null before it is cast and multiplied, whatever Redshift computes first.
        let unit = power_of_ten(i32::from(*scale));
        let last = scaled(FLOAT_EXACT, *scale);
        let few = format!(
            "CASE WHEN ABS({exact}) <= CAST('{last}' AS DECIMAL(38,{scale})) THEN {exact} END"
        );
        let units = format!(
            "CAST(CAST(CAST({few} AS DECIMAL(18,{scale})) * CAST('{unit}' AS DECIMAL({},0)) AS BIGINT) AS DOUBLE PRECISION)",
            scale + 1
        );
        let parts = format!(
            "CAST(CASE WHEN {count} > 0 AND {count} <= {most} THEN {count} END AS DOUBLE PRECISION)"
        );
        format!(
            "COALESCE({units} / ({parts} * CAST('{unit}' AS DOUBLE PRECISION)), {rounded_twice})"
        )
    }

    /// A sum, and the same as a float, which always has room.
    fn sum(&mut self, table: &TableSpec, column: &str) -> (String, String) {
        let beside = |suffix: &str| {
            let beside = format!("{column}{suffix}");
            table.column_type(&beside).map(|_| sql::name(&beside))
        };
        if let Some(low) = beside("__low") {
            let sum = format!("SUM({}) + COALESCE(SUM({low}), 0)", sql::name(column));
            let sum = self.0.add(0, &sum);
            return (sum.clone(), sum);
        }
        match (beside("__over"), table.column_type(column)) {
            (Some(over), Some(DataType::Decimal128(_, scale))) => {
                self.decimal_sum(&sql::name(column), &over, i32::from(*scale))
            }
            _ => {
                let sum = self.plain_sum(table, column);
                (sum.clone(), format!("CAST({sum} AS DOUBLE PRECISION)"))
            }
        }
    }

    /// A sum of whole numbers, which have room. Redshift's is wider than they are; the view's
    /// column is as the parts' are.
    fn plain_sum(&mut self, table: &TableSpec, column: &str) -> String {
        let sum = format!("SUM({})", sql::name(column));
        match table.column_type(column).and_then(Type::of) {
            Some(Type::Plain(ty)) => self.0.add(0, &format!("CAST({sum} AS {ty})")),
            _ => self.0.add(0, &sum),
        }
    }

    fn decimal_sum(&mut self, column: &str, over: &str, scale: i32) -> (String, String) {
        let unit = power_of_ten(HALF_DIGITS - scale);
        let decimal = format!("DECIMAL(38,{scale})");
        let (base, base_float) = (
            format!("CAST('{unit}' AS {decimal})"),
            format!("CAST('{unit}' AS DOUBLE PRECISION)"),
        );
        // A whole number of units, after its rest is taken away: the float is right to much less
        // than one.
        let upper = |value: &str| {
            format!(
                "CAST(ROUND(CAST({value} - {value} % {base} AS DOUBLE PRECISION) / {base_float}) AS BIGINT)"
            )
        };
        let high = self.0.add(
            0,
            &format!(
                "CAST(SUM({}) AS BIGINT) + {UPPER_END} * CAST(COALESCE(SUM({over}), 0) AS BIGINT)",
                upper(column)
            ),
        );
        let low = self
            .0
            .add(0, &format!("CAST(SUM({column} % {base}) AS {decimal})"));
        let (high, low) = (
            self.0.add(1, &format!("{high} + {}", upper(&low))),
            self.0.add(1, &format!("{low} % {base}")),
        );
        // Both halves of one sign, so that the upper one alone says whether there is room.
        let borrow = |value: &str, more: &str, less: &str| {
            format!(
                "CASE WHEN {high} > 0 AND {low} < 0 THEN {value} {less} WHEN {high} < 0 AND {low} > 0 THEN \
                 {value} {more} ELSE {value} END"
            )
        };
        let borrowed_high = borrow(&high, "+ 1", "- 1");
        let borrowed_low = borrow(&low, &format!("- {base}"), &format!("+ {base}"));
        let (high, low) = (self.0.add(2, &borrowed_high), self.0.add(2, &borrowed_low));
        // Null before it is multiplied, whatever Redshift computes first.
        let fits = format!("ABS({high}) < {UPPER_END}");
        let digits = match HALF_DIGITS - scale {
            whole @ 0.. => format!("DECIMAL({},0)", whole + 1),
            parts => format!("DECIMAL({parts},{parts})", parts = -parts),
        };
        let units = format!("CAST(CASE WHEN {fits} THEN {high} END AS DECIMAL(9,0))");
        let exact = format!(
            "CASE WHEN {fits} THEN CAST(CAST({units} * CAST('{unit}' AS {digits}) AS {decimal}) + {low} AS {decimal}) \
             END"
        );
        let float = format!(
            "COALESCE(CAST({exact} AS DOUBLE PRECISION), CAST({high} AS DOUBLE PRECISION) * {base_float} + \
             CAST({low} AS DOUBLE PRECISION))"
        );
        (exact, float)
    }
}

/// An unscaled value as digits with a point.
fn scaled(value: i64, scale: i8) -> String {
    let digits = value.to_string();
    let point = digits
        .len()
        .saturating_sub(usize::try_from(scale).unwrap_or(0));
    match digits.split_at(point) {
        (all, "") => all.to_owned(),
        (whole, parts) => format!("{whole}.{parts}"),
    }
}
