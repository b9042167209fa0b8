//! Floats that are no numbers, and lanes without events.

use super::*;

/// Sums that leave the range of floats, and values that are not numbers, which only expressions
/// make.
#[test]
fn infinite_and_undefined_values() {
    let mut spec = plain_job(&["at!: timestamp_us", "g: string", "f: float64", "z: float64"]);
    spec.windows = vec![window(
        "w",
        1000,
        1000,
        &["g"],
        &["s = sum(f / z)", "low = min(f / z)", "high = max(f / z)"],
    )];
    let plan = plan(&spec);
    let records = [
        r#"{"at":0,"g":"inf","f":1,"z":0}"#,
        r#"{"at":0,"g":"inf","f":1,"z":1}"#,
        r#"{"at":0,"g":"nan","f":0,"z":0}"#,
        r#"{"at":0,"g":"nan","f":2,"z":1}"#,
        r#"{"at":0,"g":"only nan","f":0,"z":0}"#,
        r#"{"at":0,"g":"over","f":1.7e308,"z":1}"#,
        r#"{"at":0,"g":"over","f":1.7e308,"z":1}"#,
    ];
    let mut lane = Lane::new(0, &plan, None);
    lane.absorb(
        &preparer(&plan)
            .prepare(&chunk_at(0, &records), NOW, &[])
            .expect("prepared"),
    );
    lane.follow(1000);
    let mut out = [ClosedWindows::default()];
    lane.close_windows(&mut out);
    let [closed] = out;
    let batch = closed
        .into_batch(plan.windows().next().expect("a window"))
        .expect("a batch");
    let groups = batch
        .column_by_name("g")
        .expect("groups")
        .as_string::<i32>();
    let found: BTreeMap<&str, [String; 3]> = (0..batch.num_rows())
        .map(|row| {
            let text = |name: &str| {
                let column = batch.column_by_name(name).expect("a column");
                let value = column.as_primitive::<Float64Type>().value(row);
                if value.is_nan() {
                    "NaN".to_owned()
                } else {
                    value.to_string()
                }
            };
            (groups.value(row), [text("s"), text("low"), text("high")])
        })
        .collect();
    let huge = 1.7e308.to_string();
    let wanted: BTreeMap<&str, [String; 3]> = [
        ("inf", ["inf", "1", "inf"]),
        ("nan", ["NaN", "2", "NaN"]),
        ("only nan", ["NaN", "NaN", "NaN"]),
        ("over", ["inf", huge.as_str(), huge.as_str()]),
    ]
    .map(|(group, values)| (group, values.map(str::to_owned)))
    .into();
    assert_eq!(found, wanted);
}

#[test]
fn a_lane_without_events_has_no_windows() {
    let plan = plan(&job());
    let mut lane = Lane::new(0, &plan, None);
    let mut out: Vec<ClosedWindows> = plan.windows().map(|_| ClosedWindows::default()).collect();
    lane.close_windows(&mut out);
    lane.follow(NOW);
    lane.close_windows(&mut out);
    assert!(out.iter().all(ClosedWindows::is_empty));
    assert!(lane.is_empty());
    assert_eq!((lane.watermark(), lane.last_end()), (Some(NOW), None));
}
