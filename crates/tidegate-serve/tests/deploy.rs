//! What is in `deploy/` fits the program: metrics exist, alerts have a severity and a place in the
//! runbook, and numbers that stand in the program are the same in `deploy/` and in docs/.
#![allow(clippy::unwrap_used, reason = "a failed test is what it is for")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate_core::reject::{self, Code, Subject};
use tidegate_serve::{CONTRACT, Metric, MetricKind, Thresholds};

const DASHBOARDS: [&str; 2] = [
    "deploy/grafana/operations.json",
    "deploy/grafana/data-quality.json",
];
/// Tables of the loader, which the runbook asks.
const TABLES: [&str; 2] = ["tidegate_job", "tidegate_ledger"];
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
        if definition.kind == MetricKind::Histogram {
            let with_bound = [&labels[..], &["le"]].concat();
            known.insert(format!("{name}_bucket"), (name, with_bound));
            known.insert(format!("{name}_sum"), (name, labels.clone()));
            known.insert(format!("{name}_count"), (name, labels.clone()));
        }
        known.insert(name.to_owned(), (name, labels));
    }
    known
}

/// Names of metrics that occur in a text, each with the text after it.
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
        let is_ours = name.starts_with("tidegate_") && !TABLES.contains(&name);
        if is_ours || name.starts_with("process_") {
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
        for (name, after) in used {
            let (_, labels) = known
                .get(name)
                .unwrap_or_else(|| panic!("{path}: there is no metric {name}"));
            let Some((matchers, _)) = after
                .strip_prefix('{')
                .and_then(|after| after.split_once('}'))
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

/// The part of a text after a heading, up to the next one of the same depth.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let after = text.split_once(&format!("{heading}\n"));
    let (_, after) = after.unwrap_or_else(|| panic!("there is no {heading}"));
    after.split("\n### ").next().unwrap_or_default()
}

/// Each rate with the alert that watches it and the key of the configuration that bounds it.
const RATES: [(&str, &str, &str); 4] = [
    ("null_rate", "TidegateNullRateHigh", "quality.null-rate"),
    (
        "duplicate_rate",
        "TidegateDuplicateRateHigh",
        "quality.duplicate-rate",
    ),
    (
        "schema_violation_rate",
        "TidegateSchemaViolations",
        "quality.schema-violation-rate",
    ),
    (
        "business_rule_rate",
        "TidegateBusinessRuleRateHigh",
        "quality.business-rule-rate",
    ),
];

fn alert(alerts: &str, name: &str) -> String {
    let mut all = alerts.split("- alert: ").skip(1);
    let found = all.find(|alert| alert.lines().next() == Some(name));
    found
        .unwrap_or_else(|| panic!("there is no alert {name}"))
        .to_owned()
}

#[test]
fn rates_and_the_contract_are_compared_with_what_the_job_says_and_with_no_number() {
    let alerts = read(ALERTS);
    let board = read("deploy/grafana/data-quality.json");
    let named = Thresholds::default().named().map(|(rate, _)| rate);
    assert_eq!(named, RATES.map(|(rate, ..)| rate));
    for (rate, name, _) in RATES {
        let threshold = format!("tidegate_quality_threshold{{rate=\"{rate}\"}}");
        let alert = alert(&alerts, name);
        let compared = alert.matches("> on (pipeline, instance)").count();
        assert!(compared > 0, "{name}");
        assert_eq!(alert.matches(&threshold).count(), compared, "{name}");
        assert!(board.contains(&format!("rate=\\\"{rate}\\\"}}")), "{rate}");
    }
    let breached = alert(&alerts, "TidegateSlaBreached");
    let compared = breached.matches(" > max by (pipeline) (tidegate_contract_seconds)");
    assert_eq!(compared.count(), 2);
    assert!(read("deploy/grafana/operations.json").contains("tidegate_contract_seconds"));
}

#[test]
fn the_documentation_says_the_defaults_of_the_contract_and_of_the_rates() {
    let (configuration, runbook) = (read("docs/configuration.md"), read("docs/runbook.md"));
    for ((rate, default), (_, name, key)) in Thresholds::default().named().into_iter().zip(RATES) {
        let row = format!("| `{key}` | {default} |");
        assert!(configuration.contains(&row), "{row}");
        let section = section(&runbook, &format!("### {name}")).replace('\n', " ");
        let share = if default > 0.0 {
            format!("{} %", default * 100.0)
        } else {
            "none".to_owned()
        };
        let allowed = format!("`{key}` allows ({share})");
        assert!(section.contains(&allowed), "{rate}: {allowed}");
    }
    let minutes = CONTRACT.as_secs() / 60;
    let row = format!("| `contract.queryable` | `\"{minutes}m\"` |");
    assert!(configuration.contains(&row), "{row}");
    let breached = section(&runbook, "### TidegateSlaBreached").replace('\n', " ");
    let unless = format!("`contract.queryable` ({minutes} minutes unless");
    assert!(breached.contains(&unless), "{unless}");
}

/// The numbers from which on a panel of the dashboard has another colour.
fn steps(board: &Value, title: &str) -> Vec<f64> {
    let mut panels = board["panels"].as_array().unwrap().iter();
    let panel = panels.find(|panel| panel["title"] == title).unwrap();
    let steps = &panel["fieldConfig"]["defaults"]["thresholds"]["steps"];
    let steps = steps.as_array().unwrap().iter();
    steps.filter_map(|step| step["value"].as_f64()).collect()
}

#[test]
fn colours_of_the_dashboard_change_where_alerts_fire() {
    let alerts = read(ALERTS);
    let lag = |name| -> f64 {
        let alert = alert(&alerts, name);
        let expr = alert.split("expr: tidegate_lag_records > ").nth(1).unwrap();
        expr.lines().next().unwrap().parse().unwrap()
    };
    let lags = [
        lag("TidegateLagNoticeable"),
        lag("TidegateLagHigh"),
        lag("TidegateLagCritical"),
    ];
    let board = serde_json::from_str(&read(DASHBOARDS[0])).unwrap();
    assert_eq!(steps(&board, "Lag"), lags);
    let since = steps(&board, "Since the last commit and load");
    assert_eq!(since.last(), Some(&CONTRACT.as_secs_f64()));
}

#[test]
fn reasons_to_reject_are_told_apart_as_the_program_does() {
    let mut reasons: Vec<String> = Code::ALL.map(|code| code.as_str().to_owned()).into();
    reasons.extend([
        reject::rule("x"),
        reject::enrichment("x"),
        reject::window("x"),
    ]);
    let about = |subject: Subject| -> BTreeSet<&str> {
        let reasons = reasons.iter().map(String::as_str);
        reasons.filter(|it| Subject::of(it) == subject).collect()
    };
    assert_eq!(about(Subject::Missing), BTreeSet::from(["decode.missing"]));
    assert_eq!(about(Subject::Rule), BTreeSet::from(["rule.x"]));
    let families: BTreeSet<&str> = about(Subject::Schema)
        .into_iter()
        .filter_map(|reason| Some(reason.split_once('.')?.0))
        .collect();
    // In the dashboards, quotes and backslashes are escaped once more.
    for text in [read(ALERTS), read(DASHBOARDS[1]).replace("\\\"", "\"")] {
        let patterns: Vec<_> = text.split("reason=~\"(").skip(1).collect();
        assert!(!patterns.is_empty());
        for pattern in patterns {
            let (alternatives, after) = pattern.split_once(')').unwrap();
            assert_eq!(alternatives.split('|').collect::<BTreeSet<_>>(), families);
            let excluded = after.split('}').next().unwrap().replace(' ', "");
            assert!(
                excluded.ends_with("..+\",reason!=\"decode.missing\""),
                "{excluded}"
            );
        }
        assert!(text.contains("reason=\"decode.missing\""));
        assert!(text.contains("reason=~\"rule\\\\"));
    }
}
