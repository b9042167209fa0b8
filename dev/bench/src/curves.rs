//! How the cost of a record grows: with the fields of an event, the partitions, the keys within the
//! horizon, and the windows.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};
use tidegate_base::clock::Clock;
use tidegate_generator::{FileFormat, GeneratorOptions, generate_files};

use crate::spread::Spread;
use crate::{Bench, Outcome, expect};

/// Seconds of the horizon: the delay of the transactions example.
const HORIZON_SECONDS: u64 = 600;

/// One point of a curve: what stands below it, how many events are read, and with which settings.
struct CurvePoint {
    x: u64,
    events: u64,
    settings: Vec<String>,
}

/// CPU time a record along each curve.
pub(crate) fn measure(bench: &Bench) -> Outcome<Value> {
    let memory = bench.memory()?;
    let curves = [
        ("fields", fields(bench, memory.path())?),
        ("partitions", partitions(bench)),
        ("keys", keys(bench)),
        ("windows", windows(bench, memory.path())?),
    ];
    let mut results = json!({});
    for (name, points) in curves {
        println!("\ncurves: CPU microseconds a record by {name}");
        results[name] = curve(bench, memory.path(), &points)?;
    }
    Ok(results)
}

/// Runs all points in turn, and that several times.
fn curve(bench: &Bench, memory: &Path, points: &[CurvePoint]) -> Outcome<Value> {
    let mut costs = vec![Spread::default(); points.len()];
    let mut peaks = vec![Spread::default(); points.len()];
    for _ in 0..bench.size(3, 1) {
        for ((point, costs), peaks) in points.iter().zip(&mut costs).zip(&mut peaks) {
            let storage = memory.join("storage");
            let mut settings = point.settings.clone();
            settings.push(format!("storage.url=file:{}", storage.display()));
            settings.push("warehouse.url=none".to_owned());
            let done = bench.tidegate.run(&settings)?;
            expect(&done, point.events)?;
            fs::remove_dir_all(&storage)?;
            costs.push(done.cpu_seconds * 1e6 / point.events as f64);
            peaks.push(done.peak_bytes as f64);
        }
    }
    let results = points.iter().zip(&costs).zip(&peaks);
    let results = results.map(|((point, costs), peaks)| {
        println!(
            "{:>10}  {:.2} us ({:.2} to {:.2}), {:.0} MiB",
            point.x,
            costs.median(),
            costs.min(),
            costs.max(),
            peaks.max() / 1_048_576.0
        );
        json!({ "x": point.x, "cpu_micros_per_record": costs.json(), "peak_bytes": peaks.max() })
    });
    Ok(results.collect())
}

fn from_files(input: &Path) -> Vec<String> {
    vec![
        "source.kind=files".to_owned(),
        format!("source.path={}", input.display()),
    ]
}

/// Generated transactions, in files in memory.
fn write_events(input: &Path, count: u64) -> Outcome<()> {
    let options = GeneratorOptions {
        count: Some(count),
        ..GeneratorOptions::default()
    };
    generate_files(input, 4, FileFormat::Plain, &options, &Clock::System)?;
    Ok(())
}

/// The example's nine fields, and more: texts of few values, texts of many, whole numbers and
/// floats in turn.
fn fields(bench: &Bench, memory: &Path) -> Outcome<Vec<CurvePoint>> {
    const TYPES: [&str; 4] = ["string", "string", "int64", "float64"];
    let events = bench.size(500_000, 20_000);
    let plain = memory.join("fields-0");
    write_events(&plain, events)?;
    let point = |more: u64| -> Outcome<CurvePoint> {
        let input = memory.join(format!("fields-{more}"));
        if more > 0 {
            fs::create_dir(&input)?;
            for file in fs::read_dir(&plain)? {
                let file = file?;
                // Malformed ones are no text.
                let lines = BufReader::new(File::open(file.path())?).split(b'\n');
                let mut out = BufWriter::new(File::create(input.join(file.file_name()))?);
                for (number, line) in lines.enumerate() {
                    out.write_all(&with_fields(line?, more, number as u64))?;
                    out.write_all(b"\n")?;
                }
                out.flush()?;
            }
        }
        let mut settings = from_files(&input);
        for place in 0..more {
            let kind = TYPES[place as usize % TYPES.len()];
            settings.push(format!("schema.more_{place}={kind}"));
        }
        Ok(CurvePoint {
            x: 9 + more,
            events,
            settings,
        })
    };
    [0, 8, 16, 32, 64].into_iter().map(point).collect()
}

/// An event with more fields at its end; what is no object stays as it is.
fn with_fields(mut line: Vec<u8>, more: u64, number: u64) -> Vec<u8> {
    if line.last() != Some(&b'}') {
        return line;
    }
    line.pop();
    let mut fields = String::new();
    for place in 0..more {
        // Spread over all bits, so that values look like real ones.
        let value = (number * 64 + place + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let _ = match place % 4 {
            0 => write!(fields, ",\"more_{place}\":\"value {}\"", value % 100),
            1 => write!(fields, ",\"more_{place}\":\"{value:016x}\""),
            2 => write!(fields, ",\"more_{place}\":{}", value % 1_000_000),
            _ => write!(
                fields,
                ",\"more_{place}\":{}.{:02}",
                value % 10_000,
                value % 97
            ),
        };
    }
    line.extend_from_slice(fields.as_bytes());
    line.push(b'}');
    line
}

/// From the generator, whose own cost is the same at each point.
fn partitions(bench: &Bench) -> Vec<CurvePoint> {
    let events = bench.size(1_000_000, 50_000);
    let point = |partitions| CurvePoint {
        x: partitions,
        events,
        settings: vec![
            "source.kind=generator".to_owned(),
            format!("source.count={events}"),
            format!("source.partitions={partitions}"),
        ],
    };
    [1, 4, 16, 64, 256].map(point).into()
}

/// From the generator, with the horizon filled once and a half.
fn keys(bench: &Bench) -> Vec<CurvePoint> {
    let point = |keys: u64| {
        let keys = bench.size(keys, keys / 20);
        let events = keys + keys / 2;
        CurvePoint {
            x: keys,
            events,
            settings: vec![
                "source.kind=generator".to_owned(),
                format!("source.count={events}"),
                format!("source.event-rate={}", keys / HORIZON_SECONDS),
            ],
        }
    };
    [600_000, 1_200_000, 2_400_000, 4_800_000, 9_600_000]
        .map(point)
        .into()
}

/// Windows of a minute, each with the aggregates of the example.
fn windows(bench: &Bench, memory: &Path) -> Outcome<Vec<CurvePoint>> {
    let events = bench.size(1_000_000, 50_000);
    let input = memory.join("windows");
    write_events(&input, events)?;
    let point = |count: u64| {
        let window = |place| {
            format!(
                "{{ name = \"w{place}\", size = \"1m\", group-by = [\"status\"], aggregates = {{ n = \"count(*)\", \
                 total = \"sum(amount)\", avg = \"avg(amount)\", most = \"max(amount)\", least = \"min(amount)\" }} }}"
            )
        };
        let windows: Vec<String> = (0..count).map(window).collect();
        let mut settings = from_files(&input);
        settings.push(format!("windows=[{}]", windows.join(", ")));
        CurvePoint {
            x: count,
            events,
            settings,
        }
    };
    Ok([0, 1, 2, 4, 8, 16].map(point).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_fields_are_those_of_the_schema_and_what_is_no_object_stays() {
        let event = with_fields(b"{\"a\":1}".to_vec(), 5, 3);
        let event: Value = serde_json::from_slice(&event).unwrap_or_default();
        assert!(
            event["more_0"].is_string()
                && event["more_1"].is_string()
                && event["more_4"].is_string()
        );
        assert!(
            event["more_2"].is_u64() && event["more_3"].is_f64(),
            "{event}"
        );
        assert_eq!(with_fields(b"{\"a\":".to_vec(), 5, 3), b"{\"a\":");
    }
}
