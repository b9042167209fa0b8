//! Reads what is shown over HTTP: `[http]` with its charts, and `[hot]`.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_core::spec::WindowSpec;
use tidegate_serve::{Chart, ChartKind, HotOptions};

use super::diagnostics::nearest;
use super::reader::Section;

/// Where the server listens, and the charts of its dashboard.
pub fn http(section: &Section<'_>, windows: &[WindowSpec]) -> (Option<SocketAddr>, Vec<Chart>) {
    let listen = section.parsed("listen", |text| {
        text.parse::<SocketAddr>()
            .map_err(|_| format!("`{text}` is not an address and a port, as in 127.0.0.1:8080"))
            .and_then(|address| {
                let refused = || {
                    format!(
                        "`{text}` can be reached from other machines, and this version has no access control; \
                         use 127.0.0.1:{}",
                        address.port()
                    )
                };
                if address.ip().is_loopback() { Ok(address) } else { Err(refused()) }
            })
    });
    let charts = section.sections("charts");
    let charts = charts
        .iter()
        .filter_map(|section| chart(section, windows))
        .collect();
    section.finish();
    (listen, charts)
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
    let default = HotOptions::default();
    let options = HotOptions {
        url,
        is_cluster: section.boolean("cluster").unwrap_or(default.is_cluster),
        keep: section
            .duration("keep", Duration::from_secs(60))
            .unwrap_or(default.keep),
    };
    section.finish();
    options
}
