//! Sums that do not show the order in which values were added, nor how they were spread over lanes.
//!
//! Each is kept in two numbers, which parts of windows have both of: what is merged is what was
//! added up, not what it was rounded to.

use std::fmt::Write as _;

/// A sum of floats with twice the precision of a float, so that the order in which values were
/// added does not show in the rounded result.
///
/// Knuth's TwoSum: T. J. Dekker, "A floating-point technique for extending the available
/// precision", 1971.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FloatSum {
    high: f64,
    low: f64,
}

impl FloatSum {
    /// The sum that [`FloatSum::parts`] has told of.
    pub fn of(high: f64, low: f64) -> Self {
        FloatSum { high, low }
    }

    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let sum = self.high + value;
        if !sum.is_finite() {
            // An infinite sum has no error term.
            *self = FloatSum {
                high: sum,
                low: 0.0,
            };
            return;
        }
        let back = sum - self.high;
        let error = (self.high - (sum - back)) + (value - back);
        let low = self.low + error;
        let high = sum + low;
        self.low = low - (high - sum);
        self.high = high;
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: FloatSum) {
        self.add(other.high);
        if other.low != 0.0 {
            self.add(other.low);
        }
    }

    /// The sum, rounded once.
    pub fn value(self) -> f64 {
        self.high + self.low
    }

    /// The rounded sum, and what rounding took from it.
    pub fn parts(self) -> (f64, f64) {
        let value = self.value();
        if !value.is_finite() {
            return (value, 0.0);
        }
        (value, (self.high - value) + self.low)
    }
}

/// What a decimal's unscaled value is below: more digits than 38 have no type.
pub const DECIMAL_END: i128 = 10_i128.pow(38);

/// An exact sum of whole numbers of up to 38 digits, as which decimals are kept: `over` times
/// [`DECIMAL_END`], and the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct WholeSum {
    /// May be beyond [`DECIMAL_END`] while values are added.
    rest: i128,
    over: i32,
}

impl WholeSum {
    /// The sum that [`WholeSum::parts`] has told of.
    pub fn of(rest: i128, over: i64) -> Self {
        let over = over.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        WholeSum {
            rest,
            over: over as i32,
        }
    }

    /// What [`WholeSum::raw`] has told of.
    pub(super) fn new(rest: i128, over: i32) -> Self {
        WholeSum { rest, over }
    }

    /// As it is, for whoever keeps the two apart.
    pub(super) fn raw(self) -> (i128, i32) {
        (self.rest, self.over)
    }

    /// With another value, as it is then.
    pub(super) fn plus(mut self, value: i128) -> (i128, i32) {
        self.add(value);
        self.raw()
    }

    /// Adds a value of up to 38 digits.
    #[inline]
    pub fn add(&mut self, value: i128) {
        match self.rest.checked_add(value) {
            Some(rest) => self.rest = rest,
            None => self.add_beyond(value),
        }
    }

    /// Adds a value that has no room in `rest`: both are of one sign.
    #[cold]
    fn add_beyond(&mut self, value: i128) {
        let sign = if value < 0 { -1 } else { 1 };
        self.over = self.over.saturating_add(sign);
        let rest = self.rest - i128::from(sign) * DECIMAL_END;
        self.rest = rest.saturating_add(value);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: WholeSum) {
        if other.over == 0
            && let Some(rest) = self.rest.checked_add(other.rest)
        {
            self.rest = rest;
            return;
        }
        let (rest, over) = other.parts();
        self.add(rest);
        self.over = self.over.saturating_add(over as i32);
    }

    /// The rest, and how many times [`DECIMAL_END`] it is to be added. The rest is less than that,
    /// and both are of one sign, so that equal sums are equal in both.
    pub fn parts(self) -> (i128, i64) {
        if self.over == 0 && self.rest.unsigned_abs() < DECIMAL_END.unsigned_abs() {
            return (self.rest, 0);
        }
        let mut over = i64::from(self.over) + (self.rest / DECIMAL_END) as i64;
        let mut rest = self.rest % DECIMAL_END;
        if over > 0 && rest < 0 {
            over -= 1;
            rest += DECIMAL_END;
        } else if over < 0 && rest > 0 {
            over += 1;
            rest -= DECIMAL_END;
        }
        (rest, over)
    }

    /// The sum, if it has no more than 38 digits.
    pub fn value(self) -> Option<i128> {
        let (rest, over) = self.parts();
        (over == 0).then_some(rest)
    }

    /// The sum as a float, rounded once.
    pub fn rounded(self) -> f64 {
        let text = match self.parts() {
            (rest, 0) => rest.to_string(),
            (rest, over) => format!("{over}{:038}", rest.unsigned_abs()),
        };
        text.parse().unwrap_or(f64::NAN)
    }

    /// The mean of `count` decimals with `scale` digits after the point of which this is the
    /// unscaled sum, rounded once. None where there are none.
    ///
    /// It is divided as on paper, to 38 digits more than whole ones, and a last one that says
    /// whether something is left. The warehouse's view does the same.
    pub fn mean(self, scale: i8, count: i64) -> Option<f64> {
        let (rest, over) = self.parts();
        if over == 0
            && let Some(mean) = exact_mean(rest, scale, count.into())
        {
            return Some(mean);
        }
        let count = u128::try_from(count).ok().filter(|count| *count > 0)?;
        let mut text = String::from(if rest < 0 || over < 0 { "-" } else { "" });
        let (over, rest) = (u128::from(over.unsigned_abs()), rest.unsigned_abs());
        let mut left = 0;
        for digits in [over, rest / PIECE, rest % PIECE, 0, 0] {
            // There is room: what is left is less than a count, and that less than 2^63.
            let value = left * PIECE + digits;
            let _ = write!(text, "{:0PIECE_DIGITS$}", value / count);
            left = value % count;
        }
        let (sticky, exponent) = (u8::from(left > 0), -i32::from(scale) - 39);
        format!("{text}{sticky}e{exponent}").parse().ok()
    }
}

/// The digits of a sum that are divided at a time, and what they are less than.
const PIECE_DIGITS: usize = 19;
const PIECE: u128 = 10_u128.pow(19);

/// Whole numbers up to this are floats.
const FLOAT_EXACT: i128 = 1 << 53;

/// The greatest count by which a sum with so many digits after the point is divided in one step:
/// see [`exact_mean`]. None where there are too many digits.
pub fn mean_count_max(scale: i8) -> Option<i64> {
    let units = 10_i64.checked_pow(u32::try_from(scale).ok()?)?;
    let most = i64::try_from(FLOAT_EXACT).ok()? / units;
    (most > 0).then_some(most)
}

/// The mean of decimals, rounded once: the float that is nearest to the unscaled `sum` divided by
/// `count` times `10^scale`. None where one of these is beyond what floats hold exactly.
#[allow(clippy::cast_precision_loss)]
pub fn exact_mean(sum: i128, scale: i8, count: i128) -> Option<f64> {
    let most = mean_count_max(scale)?;
    let fits = sum.abs() <= FLOAT_EXACT && (1..=i128::from(most)).contains(&count);
    let units = 10_i128.checked_pow(u32::try_from(scale).ok()?)?;
    fits.then(|| sum as f64 / (count * units) as f64)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::i256;
    use proptest::prelude::*;

    use super::*;

    fn far() -> impl Strategy<Value = i128> {
        let end = DECIMAL_END - 1;
        prop_oneof![Just(end), Just(-end), -end..=end, -10..10_i128]
    }

    fn exact(values: &[i128]) -> i256 {
        let values = values.iter().map(|value| i256::from_i128(*value));
        values.fold(i256::ZERO, |sum, value| sum + value)
    }

    proptest! {
        #[test]
        fn a_whole_sum_is_exact_in_any_order(
            values in prop::collection::vec(far(), 0..60), cut in 0..60_usize
        ) {
            let sum_of = |values: &[i128]| {
                let mut sum = WholeSum::default();
                values.iter().for_each(|value| sum.add(*value));
                sum
            };
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = sum_of(right);
            merged.merge(sum_of(left));
            let (rest, over) = merged.parts();
            prop_assert_eq!((rest, over), sum_of(&values).parts());
            prop_assert!(rest.abs() < DECIMAL_END);
            let end = i256::from_i128(DECIMAL_END);
            let found = i256::from_i128(rest) + i256::from_i128(over.into()) * end;
            prop_assert_eq!(found, exact(&values));
            let fits = found > -end && found < end;
            prop_assert_eq!(merged.value(), fits.then_some(rest));
            prop_assert_eq!(WholeSum::of(rest, over).parts(), (rest, over));
        }

        #[test]
        fn a_float_sum_is_rounded_once_however_it_is_cut(
            cents in prop::collection::vec(-10_000_000_000..10_000_000_000_i64, 1..60), cut in 0..60_usize
        ) {
            let values: Vec<f64> = cents.iter().map(|cents| *cents as f64 / 64.0).collect();
            let sum_of = |values: &[f64]| {
                let mut sum = FloatSum::default();
                values.iter().for_each(|value| sum.add(value * 1e-3));
                sum
            };
            let (left, right) = values.split_at(cut.min(values.len()));
            let (high, low) = sum_of(left).parts();
            let mut merged = sum_of(right);
            merged.merge(FloatSum::of(high, low));
            prop_assert_eq!(merged.value().to_bits(), sum_of(&values).value().to_bits());
        }
    }

    #[test]
    fn a_mean_of_decimals_is_rounded_once() {
        assert_eq!(exact_mean(336, 2, 3), Some(1.12));
        // As the mean of floats is, and once was that of decimals.
        assert_eq!(3.36 / 3.0, 1.119_999_999_999_999_9);
        assert_eq!(exact_mean(-336, 2, 3), Some(-1.12));
        assert_eq!(exact_mean(7, 0, 2), Some(3.5));
        assert_eq!(exact_mean(0, 15, 9), Some(0.0));
        assert_eq!(exact_mean(1, 15, 9), Some(1.0 / 9e15));
        for (sum, scale, count) in [
            (1, 2, 0),
            (1, 15, 10),
            (1, 16, 1),
            (1, -1, 1),
            (FLOAT_EXACT + 1, 0, 1),
            (i128::MAX, 0, 1),
            (1, 0, FLOAT_EXACT + 1),
        ] {
            assert_eq!(exact_mean(sum, scale, count), None, "{sum} {scale} {count}");
        }
    }

    #[test]
    fn the_mean_of_equal_decimals_is_each_of_them() {
        let end = DECIMAL_END - 1;
        for value in [1, -7, 112, FLOAT_EXACT + 1, end / 3, -end / 7, end] {
            for scale in [0, 2, 30, 37, 38] {
                let mut sum = WholeSum::default();
                assert_eq!(sum.mean(scale, 0), None);
                for count in 1..100 {
                    sum.add(value);
                    let nearest = format!("{value}e-{scale}").parse().ok();
                    assert_eq!(sum.mean(scale, count), nearest, "{value} {scale} {count}");
                }
            }
        }
    }

    #[test]
    fn a_mean_of_anything_is_rounded_once() {
        // Halved, it is halfway between two floats, of which the lower one is even.
        let halfway = (1_i128 << 54) + 2;
        for (sum, count, mean) in [
            (halfway, 2, (1_i64 << 53) as f64),
            (halfway * 3, 6, (1_i64 << 53) as f64),
            (halfway * 3 + 1, 6, ((1_i64 << 53) + 2) as f64),
            (-halfway * 3 - 1, 6, -((1_i64 << 53) + 2) as f64),
            (1, i64::MAX, 1.0 / i64::MAX as f64),
        ] {
            assert_eq!(
                WholeSum::of(sum, 0).mean(0, count),
                Some(mean),
                "{sum} {count}"
            );
        }
        assert_eq!(WholeSum::of(0, 3).mean(0, 3), Some(1e38));
        assert_eq!(WholeSum::of(-1, -3).mean(38, 3), Some(-1.0));
        assert_eq!(
            WholeSum::of(DECIMAL_END - 1, i64::from(i32::MAX)).mean(38, 1),
            Some(2_147_483_648.0)
        );
    }

    #[test]
    fn a_float_sum_that_is_no_number_has_no_rest() {
        let mut sum = FloatSum::default();
        for value in [f64::MAX, f64::MAX, 1.0] {
            sum.add(value);
        }
        assert_eq!(sum.parts(), (f64::INFINITY, 0.0));
        sum.add(f64::NEG_INFINITY);
        assert!(sum.value().is_nan());
    }
}
