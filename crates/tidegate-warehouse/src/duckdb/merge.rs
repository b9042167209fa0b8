//! The view over the parts of a window: how the parts of all lanes become one value.
//!
//! The result must not show how events were spread over lanes, and must not fail: in DuckDB one sum
//! that has no room ends the whole question. So sums of floats are added up with what rounding took
//! from each (Neumaier's variant of Kahan's sum), and sums of decimals in two halves, which have
//! room for any number of lanes. A sum that has more digits than its type in the end is null; its
//! mean is not.

use arrow::datatypes::DataType;
use tidegate_core::window::sum::mean_count_max;

use super::sql;
use crate::layers::{FLOAT_EXACT, HALF_DIGITS, Layers, UPPER_END, outside, power_of_ten};
use crate::table::{TableSpec, ViewMerge, WindowView};

/// The digits of a sum that are divided at a time: with what is left of the digits before, which is
/// less than a count, they have room in a HUGEINT.
const PIECE_DIGITS: i32 = 19;

/// The view over the parts of a window: lanes merged, and only windows that every known lane has
/// passed. A lane without a watermark could still have any event, so it holds all windows back.
pub(super) fn window_view(job: &str, table: &TableSpec, parts: &WindowView<'_>) -> String {
    let WindowView {
        view,
        group_by,
        aggregates,
        gaps,
    } = *parts;
    let keys = ["window_start", "window_end"].into_iter();
    let keys: Vec<&str> = keys.chain(group_by.iter().map(String::as_str)).collect();
    // Where the layers' own names are used, every column of the parts can be seen.
    let columns = table.columns.iter().map(|(name, _)| name.as_str());
    let names: Vec<&str> = keys.iter().copied().chain(columns).collect();
    let mut merges = Merges(Layers::new(&names));
    let merged: Vec<String> = aggregates
        .iter()
        .map(|(name, merge)| {
            let value = merges.merge(table, name, *merge);
            format!(", {value} AS {}", sql::name(name))
        })
        .collect();
    let keys = sql::names(keys);
    // A window can end after the last instant that a watermark is written as.
    let end = format!("least(window_end, {})", sql::last_instant());
    let rows = merges.0.over(&format!(
        "FROM {parts} WHERE {end} <= (SELECT CASE WHEN count(*) = count(watermark) THEN min(watermark) END FROM \
         tidegate_watermarks WHERE job = {job}){whole} GROUP BY {keys}",
        parts = sql::name(&table.name),
        job = sql::text(job),
        whole = outside(gaps, &end, sql::instant, sql::instant),
    ), &keys);
    format!(
        "CREATE OR REPLACE VIEW {view} AS SELECT {keys}{merged} FROM {rows}",
        view = sql::name(view),
        merged = merged.concat(),
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
            ViewMerge::Min => self.0.add(0, &format!("min({column})")),
            ViewMerge::Max => self.0.add(0, &format!("max({column})")),
            ViewMerge::Sum => self.sum(table, aggregate).exact,
            ViewMerge::Avg => self.mean(table, aggregate),
        }
    }

    /// A mean: see [`tidegate_core::window::sum::WholeSum::mean`].
    fn mean(&mut self, table: &TableSpec, aggregate: &str) -> String {
        let column = format!("{aggregate}__sum");
        let Sum { exact, digits } = self.sum(table, &column);
        let count = self.plain_sum(table, &format!("{aggregate}__count"));
        let Some(digits) = digits else {
            return format!("{exact} / nullif({count}, 0)");
        };
        let scale = match table.column_type(&column) {
            Some(DataType::Decimal128(_, scale)) => *scale,
            _ => 0,
        };
        let few = self.mean_of_few(&exact, &count, scale);
        let parameters = self.0.parameters();
        let condition = format!("{few} IS NULL");
        let quotient = self
            .0
            .add(4, &divided(&digits, &count, &condition, &parameters));
        let exponent = -i32::from(scale) - 2 * PIECE_DIGITS - 1;
        format!(
            "coalesce({few}, CAST({quotient}.q || CASE WHEN {quotient}.r > 0 THEN '1' ELSE '0' END || 'e{exponent}' AS \
             DOUBLE))"
        )
    }

    /// A mean where floats hold what it is made of, and null elsewhere: see
    /// [`tidegate_core::window::sum::exact_mean`].
    fn mean_of_few(&mut self, exact: &str, count: &str, scale: i8) -> String {
        let Some(most) = mean_count_max(scale) else {
            return self.0.add(3, "NULL::DOUBLE");
        };
        let units = format!("TRY_CAST(replace(CAST({exact} AS VARCHAR), '.', '') AS BIGINT)");
        let float = |value: &str, from: i64, to: i64| {
            format!("CAST(CASE WHEN {value} BETWEEN {from} AND {to} THEN {value} END AS DOUBLE)")
        };
        let (units, parts) = (
            float(&units, -FLOAT_EXACT, FLOAT_EXACT),
            float(count, 1, most),
        );
        let unit = power_of_ten(i32::from(scale));
        self.0.add(
            3,
            &format!("{units} / ({parts} * CAST('{unit}' AS DOUBLE))"),
        )
    }

    /// A sum, over columns of layers up to the third.
    fn sum(&mut self, table: &TableSpec, column: &str) -> Sum {
        let over = format!("{column}__over");
        match table.column_type(column) {
            Some(ty) if ty.is_floating() => Sum {
                exact: self.float_sum(table, column),
                digits: None,
            },
            Some(DataType::Decimal128(_, scale)) if table.column_type(&over).is_some() => {
                self.decimal_sum(column, &over, i32::from(*scale))
            }
            _ => {
                let exact = self.plain_sum(table, column);
                let digits = Digits {
                    is_negative: format!("{exact} < 0"),
                    pieces: halves(&exact, PIECE_DIGITS).into(),
                };
                Sum {
                    exact,
                    digits: Some(digits),
                }
            }
        }
    }

    /// A sum of whole numbers, which have room.
    fn plain_sum(&mut self, table: &TableSpec, column: &str) -> String {
        let sum = format!("sum({})", sql::name(column));
        match table.column_type(column).and_then(sql::sql_type) {
            Some(ty) => self.0.add(0, &format!("CAST({sum} AS {ty})")),
            None => self.0.add(0, &sum),
        }
    }

    fn float_sum(&mut self, table: &TableSpec, column: &str) -> String {
        let low = format!("{column}__low");
        let low = match table.column_type(&low) {
            Some(_) => format!("coalesce({}, 0.0::DOUBLE)", sql::name(&low)),
            None => "0.0::DOUBLE".to_owned(),
        };
        let column = sql::name(column);
        let [a, b] = self.0.parameters();
        // An infinite sum has no error term.
        let sum = self.0.add(
            0,
            &format!(
                "list_reduce(list({{'h': {column}, 'l': {low}}}) FILTER (WHERE {column} IS NOT NULL), lambda {a}, \
                 {b}: {{'h': {a}.h + {b}.h, 'l': {a}.l + {b}.l + CASE WHEN NOT isfinite({a}.h + {b}.h) THEN 0.0 \
                 WHEN abs({a}.h) >= abs({b}.h) THEN ({a}.h - ({a}.h + {b}.h)) + {b}.h ELSE ({b}.h - ({a}.h + \
                 {b}.h)) + {a}.h END}})"
            ),
        );
        format!("({sum}.h + {sum}.l)")
    }

    fn decimal_sum(&mut self, column: &str, over: &str, scale: i32) -> Sum {
        let unit = power_of_ten(HALF_DIGITS - scale);
        let (base, base_float) = (
            format!("CAST('{unit}' AS DECIMAL(38,{scale}))"),
            format!("CAST('{unit}' AS DOUBLE)"),
        );
        // A whole number of units, after its rest is taken away: the float is right to much less
        // than one.
        let upper = |value: &str| {
            format!(
                "CAST(round(CAST({value} - {value} % {base} AS DOUBLE) / {base_float}) AS BIGINT)"
            )
        };
        let (column, over) = (sql::name(column), sql::name(over));
        let high = self.0.add(
            0,
            &format!(
                "CAST(sum({}) AS BIGINT) + {UPPER_END} * CAST(coalesce(sum({over}), 0) AS BIGINT)",
                upper(&column)
            ),
        );
        let low = self.0.add(
            0,
            &format!("CAST(sum({column} % {base}) AS DECIMAL(38,{scale}))"),
        );
        let (high, low) = (
            self.0.add(1, &format!("{high} + {}", upper(&low))),
            self.0.add(1, &format!("{low} % {base}")),
        );
        // Both halves of one sign, so that the upper one alone says whether there is room.
        let borrow = format!(
            "CASE WHEN {high} > 0 AND {low} < 0 THEN 1 WHEN {high} < 0 AND {low} > 0 THEN -1 ELSE 0 END"
        );
        let (high, low) = (
            self.0.add(2, &format!("{high} - {borrow}")),
            self.0.add(2, &format!("{low} + {borrow} * {base}")),
        );
        let exact = format!(
            "CASE WHEN abs({high}) < {UPPER_END} THEN CAST({high} AS DECIMAL(18,0)) * {base} + {low} END"
        );
        let upper = (format!("CAST(abs({high}) AS HUGEINT)"), PIECE_DIGITS);
        let [middle, lower] = halves(&low, HALF_DIGITS / 2);
        let digits = Digits {
            is_negative: format!("{high} < 0 OR {low} < 0"),
            pieces: vec![upper, middle, lower],
        };
        Sum {
            exact,
            digits: Some(digits),
        }
    }
}

/// A sum as the view has it: null where its type has no room.
struct Sum {
    exact: String,
    /// Of a sum of whole numbers or decimals. These always have room.
    digits: Option<Digits>,
}

/// The digits of a sum without its point.
struct Digits {
    is_negative: String,
    /// Whole numbers that stand one after the other, each with how many digits it stands for.
    pieces: Vec<(String, i32)>,
}

/// The digits of a decimal without its point, in two pieces of which the lower one has so many.
fn halves(decimal: &str, digits: i32) -> [(String, i32); 2] {
    let units = format!("CAST(replace(CAST(abs({decimal}) AS VARCHAR), '.', '') AS HUGEINT)");
    let unit = power_of_ten(digits);
    let half = |operator: &str| (format!("{units} {operator} {unit}"), digits);
    [half("//"), half("%")]
}

/// A sum divided by a count as on paper, where the condition holds: `q` is the text of the quotient
/// with [`PIECE_DIGITS`] digits twice after the point, which is left out, and `r` what is left.
///
/// It takes ten times as long as all else that is done with a mean.
fn divided(digits: &Digits, count: &str, condition: &str, [a, b]: &[String; 2]) -> String {
    let zero = ("0::HUGEINT".to_owned(), PIECE_DIGITS);
    let pieces = digits.pieces.iter().chain([&zero, &zero]);
    let pieces: String = pieces
        .map(|(piece, digits)| {
            let unit = power_of_ten(*digits);
            format!(", {{'q': '', 'r': {piece}, 'unit': {unit}::HUGEINT, 'digits': {digits}}}")
        })
        .collect();
    let value = format!("({a}.r * {b}.unit + {b}.r)");
    let count = format!("nullif({count}, 0)");
    format!(
        "list_reduce(CASE WHEN {condition} THEN [{{'q': CASE WHEN {negative} THEN '-' ELSE '' END, 'r': 0::HUGEINT, \
         'unit': 0::HUGEINT, 'digits': 0}}{pieces}] END, lambda {a}, {b}: {{'q': {a}.q || right(repeat('0', \
         {b}.digits) || CAST({value} // {count} AS VARCHAR), {b}.digits), 'r': {value} % {count}, 'unit': \
         0::HUGEINT, 'digits': 0}})",
        negative = digits.is_negative,
    )
}
