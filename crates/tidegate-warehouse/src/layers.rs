//! Nested questions, out of which a warehouse's view over the parts of a window is made.

use tidegate_core::meaning::Gap;

/// Digits of the lower half of a decimal: sums of it have room for 10^8 lanes.
pub(crate) const HALF_DIGITS: i32 = 30;
/// Whole numbers up to this are floats.
pub(crate) const FLOAT_EXACT: i64 = 1 << 53;
/// What the upper half of a decimal with 38 digits is less than.
pub(crate) const UPPER_END: i64 = 100_000_000;

/// What follows the condition of a window's view, so that it leaves out the windows in the gaps.
/// `end` is the end of a window, and `start` and `after` write the times that starts and ends are
/// compared with.
pub(crate) fn outside(
    gaps: &[Gap],
    end: &str,
    start: impl Fn(i64) -> String,
    after: impl Fn(i64) -> String,
) -> String {
    let one = |gap: &Gap| {
        let ends = gap.after.map(|time| format!("{end} <= {}", after(time)));
        let begins = gap
            .before
            .map(|time| format!("window_start >= {}", start(time)));
        match (ends, begins) {
            (Some(ends), Some(begins)) => format!(" AND ({ends} OR {begins})"),
            (Some(one), None) | (None, Some(one)) => format!(" AND {one}"),
            (None, None) => " AND 1 = 0".to_owned(),
        }
    };
    gaps.iter().map(one).collect()
}

/// Columns of nested questions, each of which sees those of the ones within it.
pub(crate) struct Layers {
    /// What columns of the layers begin with: none of the names that it was made with does.
    mark: String,
    /// The innermost adds up parts; the others work on its columns.
    layers: [Vec<String>; 5],
    count: usize,
}

impl Layers {
    pub(crate) fn new(names: &[&str]) -> Self {
        let mut mark = "tidegate".to_owned();
        while names
            .iter()
            .any(|name| name.to_lowercase().starts_with(&mark))
        {
            mark.push('_');
        }
        Layers {
            mark,
            layers: Default::default(),
            count: 0,
        }
    }

    /// The parameters of a function without a name: no column is called so, which DuckDB would take
    /// instead.
    pub(crate) fn parameters(&self) -> [String; 2] {
        ["a", "b"].map(|name| format!("\"{} {name}\"", self.mark))
    }

    /// Adds a column to a layer, and tells its name, quoted.
    pub(crate) fn add(&mut self, layer: usize, value: &str) -> String {
        self.count += 1;
        let name = format!("\"{} {}\"", self.mark, self.count);
        self.layers[layer].push(format!("{value} AS {name}"));
        name
    }

    /// All layers, over parts that are grouped by `keys`. What is around them gives it a name.
    pub(crate) fn over(&self, parts: &str, keys: &str) -> String {
        let [sums, others @ ..] = &self.layers;
        let columns = |columns: &[String]| -> String {
            columns.iter().map(|column| format!(", {column}")).collect()
        };
        let mut rows = format!("(SELECT {keys}{} {parts})", columns(sums));
        for (at, layer) in others.iter().enumerate().filter(|(_, it)| !it.is_empty()) {
            rows = format!("(SELECT *{} FROM {rows} AS layer_{at})", columns(layer));
        }
        rows
    }
}

/// A power of ten as digits.
pub(crate) fn power_of_ten(exponent: i32) -> String {
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    if exponent >= 0 {
        format!("1{}", zeros(exponent))
    } else {
        format!("0.{}1", zeros(-exponent - 1))
    }
}
