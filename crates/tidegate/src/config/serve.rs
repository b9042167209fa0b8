//! Reads what is shown over HTTP: `[[http.charts]]` and `[hot]`.

use std::path::PathBuf;
use std::time::Duration;

use tidegate_core::spec::WindowSpec;
use tidegate_serve::{CONTRACT, Chart, ChartKind, HotOptions, Thresholds};

use super::diagnostics::nearest;
use super::reader::Section;

/// The charts of the dashboard, which show aggregates of `windows`.
pub fn charts(http: &Section<'_>, windows: &[WindowSpec]) -> Vec<Chart> {
    let charts = http.sections("charts");
    charts
        .iter()
        .filter_map(|section| chart(section, windows))
        .collect()
}

fn chart(section: &Section<'_>, windows: &[WindowSpec]) -> Option<Chart> {
    let view = section.required_string("view", "name the windows that it shows: view = \"...\"");
    let value = section.required_string("value", "name one of their aggregates: value = \"...\"");
    let by = section.string("by");
    let title = section.string("title");
    let unit = section.string("unit");
    let kind = section.parsed("kind", |text| match text {
        "line" => Ok(ChartKind::Line),
        "stacked" => Ok(ChartKind::Stacked),
        "top" => Ok(ChartKind::Top),
        "number" => Ok(ChartKind::Number),
        _ => Err(format!("`{text}` is not line, stacked, top or number")),
    });
    section.finish();
    if view.is_empty() {
        return None;
    }
    let names = windows.iter().map(|window| window.name.as_str());
    known(section, "view", "view", &view, names)?;
    let window = windows.iter().find(|window| window.name == view)?;
    let aggregates = window
        .aggregates
        .iter()
        .map(|aggregate| aggregate.name.as_str());
    let of_view = format!("aggregate of `{view}`");
    if !value.is_empty() {
        known(section, "value", &of_view, &value, aggregates)?;
    }
    if let Some(by) = &by {
        let groups = window.group_by.iter().map(String::as_str);
        known(section, "by", &format!("group of `{view}`"), by, groups)?;
    }
    Some(Chart {
        title: title.unwrap_or_else(|| value.clone()),
        view,
        value,
        by,
        kind: kind.unwrap_or(ChartKind::Line),
        unit,
    })
}

/// Reports a name that is not among those that there are.
fn known<'a>(
    section: &Section<'_>,
    key: &'static str,
    what: &str,
    name: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<()> {
    if names.clone().any(|known| known == name) {
        return Some(());
    }
    let entry = section.entry(key)?;
    let hint = match nearest(name, names.clone()) {
        Some(close) => format!("did you mean `{close}`?"),
        None => {
            let names: Vec<&str> = names.collect();
            if names.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there are {}", names.join(", "))
            }
        }
    };
    let wrong = section.refuse(entry, format!("there is no {what} called `{name}`"));
    section.context().report(wrong.hint(hint));
    None
}

/// Within which time events are to be queryable.
pub fn contract(section: &Section<'_>) -> Duration {
    let queryable = section.duration("queryable", Duration::from_millis(100));
    section.finish();
    queryable.unwrap_or(CONTRACT)
}

/// What may be wrong with the data before it is said: shares of the records.
pub fn quality(section: &Section<'_>) -> Thresholds {
    let defaults = Thresholds::default();
    let share = |key, default| section.number(key, 0.0, 1.0).unwrap_or(default);
    let thresholds = Thresholds {
        null_rate: share("null-rate", defaults.null_rate),
        duplicate_rate: share("duplicate-rate", defaults.duplicate_rate),
        schema_violation_rate: share("schema-violation-rate", defaults.schema_violation_rate),
        business_rule_rate: share("business-rule-rate", defaults.business_rule_rate),
    };
    section.finish();
    thresholds
}

/// Where live values are kept.
pub fn hot(section: &Section<'_>) -> HotOptions {
    let url = section.parsed("url", |text| {
        match text.split_once("://") {
            Some(("redis" | "rediss", host)) if !host.is_empty() => Ok(text.to_owned()),
            // Not shown: it may have a password in it.
            _ => {
                Err("is not a URL of a Redis, as in redis://localhost:6379, or rediss:// with TLS")
            }
        }
    });
    let ca = section.string("ca").map(PathBuf::from);
    if let Some(entry) = section.entry("ca")
        && (section.entry("url").is_none()
            || url.as_ref().is_some_and(|url| !url.starts_with("rediss:")))
    {
        let wrong = section.refuse(entry, "is only for a Redis with TLS");
        let hint = "write url = \"rediss://...\", or leave `ca` out";
        section.context().report(wrong.hint(hint));
    }
    let default = HotOptions::default();
    let options = HotOptions {
        url,
        is_cluster: section.boolean("cluster").unwrap_or(default.is_cluster),
        ca,
        keep: section
            .duration("keep", Duration::from_secs(60))
            .unwrap_or(default.keep),
    };
    section.finish();
    options
}
