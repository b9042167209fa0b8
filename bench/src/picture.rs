//! The results as a picture: a panel for each measure, as SVG that reads well on light and on dark ground.

use std::fmt::Write as _;

use serde_json::Value;

/// Width of a panel, and what is around it, in pixels.
const WIDTH: f64 = 440.0;
const GAP: f64 = 24.0;
/// Height of the title, of a bar with its space, and of a curve.
const TITLE: f64 = 44.0;
const BAR: f64 = 26.0;
const CURVE: f64 = 150.0;
/// Where bars begin, and how long the longest is.
const LABELS: f64 = 132.0;
const LONGEST: f64 = WIDTH - LABELS - 76.0;

const STYLE: &str = "\
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 14px; }
.note { fill: #59636e; }
.ground { fill: #ffffff; }
.bar { fill: #8c959f; }
.ours { fill: #0969da; }
.range { stroke: #1f2328; stroke-width: 1.5; }
.curve { stroke: #0969da; stroke-width: 2; fill: none; }
.axis { stroke: #d1d9e0; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .note { fill: #9198a1; }
  .ground { fill: #0d1117; }
  .bar { fill: #656c76; }
  .ours { fill: #4493f8; }
  .range { stroke: #f0f6fc; }
  .curve { stroke: #4493f8; }
  .axis { stroke: #3d444d; }
}
</style>
";

/// One bar; `range` is of the runs of which it is the median.
struct Bar {
    label: String,
    value: f64,
    range: Option<(f64, f64)>,
    is_ours: bool,
}

enum Content {
    Bars(Vec<Bar>),
    /// Points from left to right, and what their axes are.
    Curve(Vec<(f64, f64)>, &'static str),
}

struct Panel {
    title: &'static str,
    /// What the numbers are.
    unit: &'static str,
    content: Content,
}

/// Draws what there is of the results.
pub(crate) fn draw(results: &Value) -> String {
    let panels = panels(results);
    let heights: Vec<f64> = panels.iter().map(Panel::height).collect();
    let mut bottoms = [GAP; 2];
    let mut body = String::new();
    for (panel, height) in panels.iter().zip(heights) {
        // Into the column that is shorter so far.
        let column = usize::from(bottoms[1] < bottoms[0]);
        let x = GAP + column as f64 * (WIDTH + GAP);
        let _ = writeln!(
            body,
            "<g transform=\"translate({x:.0} {:.0})\">",
            bottoms[column]
        );
        panel.draw(&mut body);
        body.push_str("</g>\n");
        bottoms[column] += height + GAP;
    }
    let (width, height) = (2.0 * WIDTH + 3.0 * GAP, bottoms[0].max(bottoms[1]) + GAP);
    let about = |key: &str| escaped(results[key].as_str().unwrap_or_default());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n\
         <title>Tidegate: benchmarks</title>\n{STYLE}\
         <rect class=\"ground\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n{body}\
         <text class=\"note\" x=\"{GAP:.0}\" y=\"{:.0}\">{}, {}; bars are medians, lines the least and the greatest</text>\n</svg>\n",
        height - 12.0,
        about("date"),
        about("machine"),
    )
}

/// What is shown of each measure.
fn panels(results: &Value) -> Vec<Panel> {
    let spread = |label: &str, path: &str, is_ours| -> Option<Bar> {
        let found = results.pointer(path)?;
        Some(Bar {
            label: label.to_owned(),
            value: found["median"].as_f64()?,
            range: found["min"].as_f64().zip(found["max"].as_f64()),
            is_ours,
        })
    };
    let single = |label: &str, path: &str| -> Option<Bar> {
        Some(Bar {
            label: label.to_owned(),
            value: results.pointer(path)?.as_f64()?,
            range: None,
            is_ours: true,
        })
    };
    let against_spark = |figure: &str| {
        let bar = |label, name, is_ours| spread(label, &format!("/kafka/{name}/{figure}"), is_ours);
        [
            bar("Tidegate", "tidegate", true),
            bar("Spark, its batches", "spark_batches", false),
            bar("Spark, in all", "spark_in_all", false),
        ]
    };
    let by_hand = ["tidegate", "by_hand"].map(|name| {
        let label = if name == "tidegate" {
            "Tidegate"
        } else {
            "a loop by hand"
        };
        let path = format!("/hand-loop/{name}/rows_per_cpu_second");
        spread(label, &path, name == "tidegate")
    });
    let cores = (0..16).map(|place| {
        let number = results.pointer(&format!("/cores/by_cores/{place}/cores"))?;
        let path = format!("/cores/by_cores/{place}/events_per_second");
        spread(
            &format!("{number} core{}", if number == 1 { "" } else { "s" }),
            &path,
            true,
        )
    });
    let skew = [
        ("even", "spread evenly"),
        ("hot-key", "a hot key"),
        ("hot-partition", "a hot partition"),
    ]
    .map(|(name, label)| spread(label, &format!("/skew/{name}/events_per_second"), true));
    let latency =
        ["p50", "p95", "p99"].map(|name| single(name, &format!("/latency/latency_seconds/{name}")));
    let stages = [
        "decode",
        "rules",
        "enrichments",
        "dedup",
        "windows",
        "parquet",
    ];
    let instructions =
        stages.map(|name| single(name, &format!("/stages/{name}/instructions_per_row")));
    let rates = stages.map(|name| single(name, &format!("/stages/{name}/rows_per_second")));
    let mut panels: Vec<Panel> = [
        (
            "Kafka to Parquet, the whole example",
            "rows/s",
            bars(against_spark("rows_per_second")),
        ),
        (
            "Kafka to Parquet",
            "rows per CPU-second",
            bars(against_spark("rows_per_cpu_second")),
        ),
        (
            "From memory, on one core",
            "rows per CPU-second",
            bars(by_hand),
        ),
        ("Cores", "events/s", bars(cores)),
        ("Skew: 60 % of the traffic", "events/s", bars(skew)),
        (
            "Event to queryable in DuckDB, 50,000 events/s",
            "s",
            bars(latency),
        ),
        ("Stages alone, on one core", "rows/s", bars(rates)),
        ("Stages alone", "instructions a row", bars(instructions)),
    ]
    .into_iter()
    .filter(|(_, _, bars)| !bars.is_empty())
    .map(|(title, unit, bars)| Panel {
        title,
        unit,
        content: Content::Bars(bars),
    })
    .collect();
    let points = results
        .pointer("/big-state/resident_bytes")
        .and_then(Value::as_array);
    let points: Vec<(f64, f64)> = points
        .into_iter()
        .flatten()
        .filter_map(|point| Some((point[0].as_f64()? / 1e6, point[1].as_f64()? / 1_048_576.0)))
        .collect();
    if points.len() > 1 {
        panels.push(Panel {
            title: "Memory of the process as the horizon fills",
            unit: "MiB",
            content: Content::Curve(points, "million events"),
        });
    }
    panels
}

/// Those that were measured.
fn bars(bars: impl IntoIterator<Item = Option<Bar>>) -> Vec<Bar> {
    bars.into_iter().flatten().collect()
}

impl Panel {
    fn height(&self) -> f64 {
        TITLE
            + match &self.content {
                Content::Bars(bars) => BAR * bars.len() as f64,
                Content::Curve(..) => CURVE + 24.0,
            }
    }

    fn draw(&self, out: &mut String) {
        let (title, unit) = (escaped(self.title), escaped(self.unit));
        let _ = writeln!(
            out,
            "<text class=\"title\" y=\"14\">{title}</text><text class=\"note\" y=\"31\">{unit}</text>"
        );
        match &self.content {
            Content::Bars(bars) => draw_bars(bars, out),
            Content::Curve(points, axis) => draw_curve(points, axis, out),
        }
    }
}

fn draw_bars(bars: &[Bar], out: &mut String) {
    let most = bars
        .iter()
        .map(|bar| bar.range.map_or(bar.value, |(_, max)| max))
        .fold(f64::MIN_POSITIVE, f64::max);
    let length = |value: f64| value / most * LONGEST;
    for (place, bar) in bars.iter().enumerate() {
        let y = TITLE + BAR * place as f64;
        let class = if bar.is_ours { "ours" } else { "bar" };
        let end = LABELS + length(bar.value);
        let _ = writeln!(
            out,
            "<text y=\"{:.0}\">{}</text><rect class=\"{class}\" x=\"{LABELS}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"16\" rx=\"2\"/>",
            y + 12.0,
            escaped(&bar.label),
            length(bar.value),
        );
        let mut text = end;
        if let Some((min, max)) = bar.range {
            let (from, to, middle) = (LABELS + length(min), LABELS + length(max), y + 8.0);
            text = text.max(to);
            let _ = writeln!(
                out,
                "<line class=\"range\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.0}\" y2=\"{middle:.0}\"/>"
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            text + 6.0,
            y + 12.0,
            shown(bar.value)
        );
    }
}

fn draw_curve(points: &[(f64, f64)], axis: &str, out: &mut String) {
    let (left, right, bottom) = (48.0, WIDTH - 12.0, TITLE + CURVE);
    let most =
        |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).fold(f64::MIN_POSITIVE, f64::max);
    let (x_most, y_most) = (most(|p| p.0), most(|p| p.1));
    for share in [0.0, 0.5, 1.0] {
        let y = bottom - share * (CURVE - 16.0);
        let _ = writeln!(
            out,
            "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"note\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 4.0,
            shown(share * y_most)
        );
    }
    let place = |(x, y): &(f64, f64)| {
        let (x, y) = (
            left + x / x_most * (right - left),
            bottom - y / y_most * (CURVE - 16.0),
        );
        format!("{x:.1},{y:.1}")
    };
    let line: Vec<String> = points.iter().map(place).collect();
    let _ = writeln!(
        out,
        "<polyline class=\"curve\" points=\"{}\"/><text class=\"note\" x=\"{right}\" y=\"{:.0}\" text-anchor=\"end\">{} {}</text>",
        line.join(" "),
        bottom + 18.0,
        shown(x_most),
        escaped(axis)
    );
}

/// A number with as many digits as one can read: thousands apart, decimals where it is small.
fn shown(value: f64) -> String {
    if value < 100.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (value, text) in [
            (0.0, "0"),
            (2.5, "2.5"),
            (99.994, "99.99"),
            (1234.0, "1,234"),
            (123_456_789.0, "123,456,789"),
        ] {
            assert_eq!(shown(value), text);
        }
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let spread = json!({ "median": 400.0, "min": 300.0, "max": 500.0 });
        let results =
            json!({ "machine": "a < b", "skew": { "even": { "events_per_second": spread } } });
        let picture = draw(&results);
        assert!(
            picture.contains("Skew") && picture.contains(">400<"),
            "{picture}"
        );
        assert!(
            !picture.contains("Cores") && picture.contains("a &lt; b"),
            "{picture}"
        );
    }
}
