//! The results as a picture: a panel for each measure, as SVG that reads well on light and on dark
//! ground.

mod panel;

use std::fmt::Write as _;

use serde_json::Value;

use panel::{Bar, Content, GAP, Panel, WIDTH, escaped};

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
    let found = Results(results);
    let pipelines = found.pipelines().into_iter();
    let bars = pipelines
        .chain(found.loads())
        .chain(found.stages())
        .filter(|(_, _, bars)| !bars.is_empty())
        .map(|(title, unit, bars)| Panel {
            title,
            unit,
            content: Content::Bars(bars),
        });
    let costs = found.costs().into_iter();
    let curves = costs
        .chain([found.memory()])
        .filter(|curve| curve.points.len() > 1)
        .map(|curve| Panel {
            title: curve.title,
            unit: curve.unit,
            content: Content::Curve(curve.points, curve.axis),
        });
    bars.chain(curves).collect()
}

/// A panel's title, the unit of its numbers, and the bars that were measured.
type Bars = (&'static str, &'static str, Vec<Bar>);

/// A curve to be drawn, if it has points enough.
struct Curve {
    title: &'static str,
    unit: &'static str,
    axis: &'static str,
    points: Vec<(f64, f64)>,
}

/// The results, as they are looked into.
struct Results<'a>(&'a Value);

impl Results<'_> {
    /// The median of several runs, with the least and the greatest.
    fn spread(&self, label: &str, path: &str, is_ours: bool) -> Option<Bar> {
        let found = self.0.pointer(path)?;
        Some(Bar {
            label: label.to_owned(),
            value: found["median"].as_f64()?,
            range: found["min"].as_f64().zip(found["max"].as_f64()),
            is_ours,
        })
    }

    fn single(&self, label: &str, path: &str) -> Option<Bar> {
        Some(Bar {
            label: label.to_owned(),
            value: self.0.pointer(path)?.as_f64()?,
            range: None,
            is_ours: true,
        })
    }

    /// The whole program, against others and by cores.
    fn pipelines(&self) -> [Bars; 4] {
        let against_spark = |figure: &str| {
            let bar = |label, name, is_ours| {
                self.spread(label, &format!("/kafka/{name}/{figure}"), is_ours)
            };
            bars([
                bar("Tidegate", "tidegate", true),
                bar("Spark, its batches", "spark_batches", false),
                bar("Spark, in all", "spark_in_all", false),
            ])
        };
        let by_hand =
            [("tidegate", "Tidegate"), ("by_hand", "a loop by hand")].map(|(name, label)| {
                let path = format!("/hand-loop/{name}/rows_per_cpu_second");
                self.spread(label, &path, name == "tidegate")
            });
        let cores = (0..16).map(|place| {
            let number = self.0.pointer(&format!("/cores/by_cores/{place}/cores"))?;
            let path = format!("/cores/by_cores/{place}/events_per_second");
            let label = format!("{number} core{}", if number == 1 { "" } else { "s" });
            self.spread(&label, &path, true)
        });
        [
            (
                "Kafka to Parquet, the whole example",
                "rows/s",
                against_spark("rows_per_second"),
            ),
            (
                "Kafka to Parquet",
                "rows per CPU-second",
                against_spark("rows_per_cpu_second"),
            ),
            (
                "From memory, on one core",
                "rows per CPU-second",
                bars(by_hand),
            ),
            ("Cores", "events/s", bars(cores)),
        ]
    }

    /// The whole program under traffic that is not even, or is to be quick, or is looked at.
    fn loads(&self) -> [Bars; 3] {
        let skew = [
            ("even", "spread evenly"),
            ("hot-key", "a hot key"),
            ("hot-partition", "a hot partition"),
        ]
        .map(|(name, label)| self.spread(label, &format!("/skew/{name}/events_per_second"), true));
        let latency = ["p50", "p95", "p99"]
            .map(|name| self.single(name, &format!("/latency/latency_seconds/{name}")));
        let looked_at = [
            ("steady", "without", "steady, alone"),
            ("steady", "with", "steady, looked at"),
            ("full-speed", "without", "full speed, alone"),
            ("full-speed", "with", "full speed, looked at"),
        ]
        .map(|(case, load, label)| {
            let path = format!("/serve/{case}/events_per_second/{load}");
            self.spread(label, &path, load == "with")
        });
        [
            ("Skew: 60 % of the traffic", "events/s", bars(skew)),
            (
                "Event to queryable in DuckDB, 50,000 events/s",
                "s",
                bars(latency),
            ),
            (
                "5,000 reads/s and 1,000 WebSockets beside it",
                "events/s",
                bars(looked_at),
            ),
        ]
    }

    fn stages(&self) -> [Bars; 2] {
        let all = |figure: &str| {
            let stages = [
                "decode",
                "rules",
                "enrichments",
                "dedup",
                "windows",
                "parquet",
            ];
            bars(stages.map(|name| self.single(name, &format!("/stages/{name}/{figure}"))))
        };
        [
            (
                "Stages alone, on one core",
                "rows/s",
                all("rows_per_second"),
            ),
            (
                "Stages alone",
                "instructions a row",
                all("instructions_per_row"),
            ),
        ]
    }

    /// What a record costs, by what there is of something.
    fn costs(&self) -> [Curve; 4] {
        [
            (
                "fields",
                "CPU time a record by fields of an event",
                "fields",
            ),
            (
                "partitions",
                "CPU time a record by partitions",
                "partitions",
            ),
            (
                "keys",
                "CPU time a record by keys in the horizon",
                "million keys",
            ),
            ("windows", "CPU time a record by windows", "windows"),
        ]
        .map(|(name, title, axis)| {
            let scale = if name == "keys" { 1e6 } else { 1.0 };
            let of = |point: &Value| {
                let cost = point.pointer("/cpu_micros_per_record/median")?.as_f64()?;
                Some((point["x"].as_f64()? / scale, cost))
            };
            Curve {
                title,
                unit: "microseconds",
                axis,
                points: points(self.0, &format!("/curves/{name}"), of),
            }
        })
    }

    fn memory(&self) -> Curve {
        let of = |point: &Value| Some((point[0].as_f64()? / 1e6, point[1].as_f64()? / 1_048_576.0));
        Curve {
            title: "Memory of the process as the horizon fills",
            unit: "MiB",
            axis: "million events",
            points: points(self.0, "/big-state/resident_bytes", of),
        }
    }
}

/// The points of a curve, as far as it was measured.
fn points(
    results: &Value,
    path: &str,
    of: impl Fn(&Value) -> Option<(f64, f64)>,
) -> Vec<(f64, f64)> {
    let points = results.pointer(path).and_then(Value::as_array);
    points.into_iter().flatten().filter_map(of).collect()
}

/// Those that were measured.
fn bars(bars: impl IntoIterator<Item = Option<Bar>>) -> Vec<Bar> {
    bars.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
