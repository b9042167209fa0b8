//! Whatever the parts, watermarks and loads: the view is what maps say that keep them.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::Place;
use super::windows::{Part, Windows};

super::on_each_warehouse! {
    the_view_equals_a_map_of_the_parts,
}

/// Some differ in nothing but blanks at their end.
const GROUPS: [Option<&str>; 6] = [None, Some("A"), Some("A "), Some(" "), Some(""), Some("a ")];
const VALUES: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

/// Parts (minute, group, lane, number of values) of one commit, and watermarks that move (lane, by
/// seconds).
type Step = (BTreeMap<(i64, usize, i32), usize>, BTreeMap<i32, i64>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let parts = prop::collection::btree_map((0i64..4, 0usize..6, 0i32..3), 1usize..6, 0..12);
    let watermarks = prop::collection::btree_map(0i32..3, 0i64..200, 0..3);
    prop::collection::vec((parts, watermarks), 1..6)
}

fn the_view_equals_a_map_of_the_parts(place: &Place) {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(place.cases()));
    let test = |steps: Vec<Step>| {
        let mut windows = Windows::new(place);
        let mut parts = HashMap::new();
        let mut lanes: BTreeMap<i32, i64> = BTreeMap::new();
        for (written, moved) in &steps {
            for (lane, by) in moved {
                *lanes.entry(*lane).or_default() += by;
            }
            parts.extend(written.clone());
            let rows: Vec<Part<'_>> = written
                .iter()
                .map(|((minute, group, lane), n)| (*minute, GROUPS[*group], *lane, &VALUES[..*n]))
                .collect();
            let moved: Vec<_> = moved.keys().map(|lane| (*lane, lanes[lane])).collect();
            windows.commit(&rows, &[], &moved);
            let mut groups: BTreeMap<(i64, bool, &str), Vec<f64>> = BTreeMap::new();
            // The harness counts no events, so lanes are those with a watermark.
            let passed = lanes.values().min().copied().unwrap_or(i64::MIN);
            for ((minute, group, _), n) in &parts {
                if (minute + 1) * 60 <= passed {
                    let group = GROUPS[*group];
                    let key = (*minute, group.is_none(), group.unwrap_or_default());
                    groups.entry(key).or_default().extend(&VALUES[..*n]);
                }
            }
            let line = |((minute, is_null, group), values): (&(i64, bool, &str), &Vec<f64>)| {
                let (n, total) = (values.len(), values.iter().sum::<f64>());
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let most = values.iter().copied().fold(0.0, f64::max);
                let mean = total / n as f64;
                let group = if *is_null {
                    "-".to_owned()
                } else {
                    format!("<{group}>")
                };
                format!("{minute},{group},{n},{total},{least},{most},{mean}")
            };
            let mut expect: Vec<String> = groups.iter().map(line).collect();
            expect.sort_unstable();
            let shown =
                windows.shown_by("CASE WHEN status IS NULL THEN '-' ELSE '<' || status || '>' END");
            let mut shown: Vec<&str> = shown.lines().collect();
            shown.sort_unstable();
            prop_assert_eq!(shown, expect);
        }
        Ok(())
    };
    runner.run(&steps(), test).unwrap();
}
