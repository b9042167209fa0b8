//! The runs of one measure: what is quoted is the median, with the least and the greatest.

use std::fmt;

use serde_json::{Value, json};

/// Figures of several runs, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The middle one; of an even number, the upper of the two.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The figure below which a share of all are; not a number where there are none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut figures = self.0.clone();
        figures.sort_by(f64::total_cmp);
        let at = (figures.len() as f64 * share) as usize;
        let last = figures.len().saturating_sub(1);
        figures.get(at.min(last)).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Median, least and greatest, and all of them.
    pub(crate) fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.min(), "max": self.max(), "runs": self.0 })
    }
}

impl FromIterator<f64> for Spread {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Spread(figures.into_iter().collect())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, min, max) = (self.median(), self.min(), self.max());
        write!(f, "{median:.0} ({min:.0} to {max:.0})")
    }
}
