//! The text format of Prometheus, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::names::{Definition, Metric};

/// Values of metrics, on their way to text.
#[derive(Debug)]
pub(crate) struct Page {
    pipeline: String,
    samples: BTreeMap<Metric, String>,
}

impl Page {
    /// Nothing yet. Every value gets the label `pipeline`.
    pub(super) fn new(pipeline: &str) -> Self {
        Page {
            pipeline: escaped(pipeline),
            samples: BTreeMap::new(),
        }
    }

    /// Adds a value of a metric without labels of its own.
    pub(super) fn add(&mut self, metric: Metric, value: impl Into<MetricValue>) {
        self.sample(metric, None, value.into());
    }

    /// Adds a value of a metric with one label.
    pub(super) fn add_for(&mut self, metric: Metric, label: &str, value: impl Into<MetricValue>) {
        self.sample(metric, Some(label), value.into());
    }

    /// Adds a histogram: for each bucket its upper bound and how many are not above it, how many
    /// there are, and their sum.
    pub(super) fn add_histogram(
        &mut self,
        metric: Metric,
        label: Option<&str>,
        buckets: impl Iterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        for (bound, within) in buckets {
            let more = format!(",le=\"{bound}\"");
            self.line(metric, "_bucket", label, &more, within.into());
        }
        self.line(metric, "_bucket", label, ",le=\"+Inf\"", count.into());
        self.line(metric, "_sum", label, "", sum.into());
        self.line(metric, "_count", label, "", count.into());
    }

    fn sample(&mut self, metric: Metric, label: Option<&str>, value: MetricValue) {
        self.line(metric, "", label, "", value);
    }

    fn line(
        &mut self,
        metric: Metric,
        ending: &str,
        label: Option<&str>,
        more: &str,
        value: MetricValue,
    ) {
        let Definition { name, labels, .. } = metric.definition();
        debug_assert_eq!(labels.len(), usize::from(label.is_some()), "{name}");
        let lines = self.samples.entry(metric).or_default();
        // Writing to a String cannot fail.
        let _ = write!(lines, "{name}{ending}{{pipeline=\"{}\"", self.pipeline);
        if let (Some(key), Some(label)) = (labels.first(), label) {
            let _ = write!(lines, ",{key}=\"{}\"", escaped(label));
        }
        let _ = match value {
            MetricValue::Whole(value) => writeln!(lines, "{more}}} {value}"),
            MetricValue::Real(value) => writeln!(lines, "{more}}} {value}"),
        };
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for (metric, lines) in &self.samples {
            let Definition {
                name, kind, help, ..
            } = metric.definition();
            let _ = write!(
                out,
                "# HELP {name} {help}\n# TYPE {name} {}\n{lines}",
                kind.name()
            );
        }
        out
    }
}

/// A value: counts are exact, however large.
#[derive(Debug, Clone, Copy)]
pub(super) enum MetricValue {
    Whole(u64),
    Real(f64),
}

impl From<u64> for MetricValue {
    fn from(value: u64) -> Self {
        MetricValue::Whole(value)
    }
}

impl From<bool> for MetricValue {
    fn from(value: bool) -> Self {
        MetricValue::Whole(u64::from(value))
    }
}

impl From<f64> for MetricValue {
    fn from(value: f64) -> Self {
        MetricValue::Real(value)
    }
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_the_text_format() {
        let mut page = Page::new("a\"b");
        page.add_for(Metric::RejectReasons, "rule.x\\y\nz", 3_u64);
        page.add(Metric::StateBytes, 1.5);
        page.add_for(Metric::RejectReasons, "decode.syntax", u64::MAX);
        let text = page.text();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with("# HELP"))
            .collect();
        assert_eq!(
            lines,
            [
                "# TYPE tidegate_reject_reasons_total counter",
                "tidegate_reject_reasons_total{pipeline=\"a\\\"b\",reason=\"rule.x\\\\y\\nz\"} 3",
                "tidegate_reject_reasons_total{pipeline=\"a\\\"b\",reason=\"decode.syntax\"} 18446744073709551615",
                "# TYPE tidegate_state_bytes gauge",
                "tidegate_state_bytes{pipeline=\"a\\\"b\"} 1.5",
            ]
        );
    }
}
