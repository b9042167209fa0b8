//! What is in `deploy/` fits the program: metrics exist, alerts have a severity and a place in the runbook.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate_serve::{Kind, Metric};

const DASHBOARDS: [&str; 2] = [
    "deploy/grafana/operations.json",
    "deploy/grafana/data-quality.json",
];
const ALERTS: &str = "deploy/prometheus/alerts.yml";
const ALERTS_TEST: &str = "deploy/prometheus/alerts_test.yml";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names of series, each with its metric's name and labels.
fn known() -> BTreeMap<String, (&'static str, Vec<&'static str>)> {
    let mut known = BTreeMap::new();
    for metric in Metric::ALL {
        let definition = metric.definition();
        let (name, labels) = (definition.name, definition.labels.to_vec());
        if definition.kind == Kind::Histogram {
            let with_bound = [&labels[..], &["le"]].concat();
            known.insert(format!("{name}_bucket"), (name, with_bound));
            known.insert(format!("{name}_sum"), (name, labels.clone()));
            known.insert(format!("{name}_count"), (name, labels.clone()));
        }
        known.insert(name.to_owned(), (name, labels));
    }
    known
}

/// Names of metrics that occur in a text, each with the text behind it.
fn used(text: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut used = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..]
            .find(|c| !is_name(c))
            .map_or(rest.len(), |length| start + length);
        let name = &rest[start..end];
        rest = &rest[end..];
        if name.starts_with("tidegate_") || name.starts_with("process_") {
            used.push((name, rest));
        }
    }
    used
}

#[test]
fn every_metric_that_is_used_exists_and_has_the_labels() {
    let known = known();
    for path in DASHBOARDS
        .into_iter()
        .chain([ALERTS, ALERTS_TEST, "docs/runbook.md"])
    {
        let text = read(path);
        let used = used(&text);
        assert!(!used.is_empty(), "{path}");
        for (name, behind) in used {
            let (_, labels) = known
                .get(name)
                .unwrap_or_else(|| panic!("{path}: there is no metric {name}"));
            let Some((matchers, _)) = behind
                .strip_prefix('{')
                .and_then(|behind| behind.split_once('}'))
            else {
                continue;
            };
            for matcher in matchers.split(',').map(str::trim) {
                let label = matcher.split(['=', '!']).next().unwrap();
                let is_known = labels.contains(&label) || matches!(label, "pipeline" | "instance");
                assert!(is_known, "{path}: {name} has no label {label}");
            }
        }
    }
}

#[test]
fn every_metric_is_on_a_dashboard_or_in_an_alert_or_named_here_why_not() {
    let known = known();
    let texts: Vec<_> = DASHBOARDS.into_iter().chain([ALERTS]).map(read).collect();
    let used: BTreeSet<_> = texts
        .iter()
        .flat_map(|text| used(text))
        .map(|(name, _)| known[name].0)
        .collect();
    let names: BTreeSet<_> = Metric::ALL
        .iter()
        .map(|metric| metric.definition().name)
        .collect();
    let unused: Vec<_> = names.difference(&used).copied().collect();
    // The phase is for whoever looks; the rows of one load say little beside its time.
    assert_eq!(unused, ["tidegate_last_load_rows", "tidegate_phase"]);
}

#[test]
fn dashboards_have_a_name_and_panels_that_ask_something() {
    for path in DASHBOARDS {
        let board: Value = serde_json::from_str(&read(path)).unwrap();
        assert!(
            board["title"].is_string() && board["uid"].is_string(),
            "{path}"
        );
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{path}: {panel}");
            if panel["type"] != "row" {
                assert!(
                    !panel["targets"].as_array().unwrap().is_empty(),
                    "{path}: {panel}"
                );
            }
        }
    }
}

#[test]
fn every_alert_has_a_severity_and_a_section_in_the_runbook() {
    let alerts = read(ALERTS);
    let runbook = read("docs/runbook.md");
    let mut severity = "";
    let mut sections = BTreeMap::new();
    for line in runbook.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            severity = name;
        } else if let Some(name) = line.strip_prefix("### ") {
            sections.insert(name, severity);
        }
    }
    let alerts: Vec<_> = alerts.split("- alert: ").skip(1).collect();
    let names: BTreeSet<_> = alerts
        .iter()
        .map(|alert| alert.lines().next().unwrap())
        .collect();
    assert_eq!(names, sections.keys().copied().collect());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        assert!(
            alert.contains(&format!("labels: {{ severity: {} }}", sections[name])),
            "{name}"
        );
        let anchor = format!("/docs/runbook.md#{}\n", name.to_lowercase());
        assert!(alert.contains(&anchor), "{name} leads elsewhere");
        assert!(
            alert.contains("summary: ") && alert.contains("description: "),
            "{name}"
        );
    }
}

/// Where Prometheus is installed (Debian's package `prometheus`), or `PROMTOOL` names its tool.
#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    let program = std::env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    for args in [["check", "rules", ALERTS], ["test", "rules", ALERTS_TEST]] {
        let output = Command::new(&program)
            .args(&args[..2])
            .arg(file(args[2]))
            .output();
        let output = match output {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return tidegate_testkit::skip(
                    "promtool is not here: it is in Debian's package prometheus",
                );
            }
            output => output.unwrap(),
        };
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&said)
        );
    }
}
