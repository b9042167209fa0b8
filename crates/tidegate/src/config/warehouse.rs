//! Reads `[warehouse]` and `[redshift]`: where rows go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_core::plan::Plan;
use tidegate_engine::WarehouseKind;
use tidegate_warehouse::redshift::WINDOWS_MAX;
use tidegate_warehouse::redshift::options::{Distribution, Identity, Layout, Target, VARCHAR_MAX};
use tidegate_warehouse::{DuckDbOptions, RedshiftOptions};

use super::diagnostics::Diagnostic;
use super::options::WarehouseConfig;
use super::reader::Section;
use super::tree::{Entry, Origin, Value};

/// Reads both sections; none to stage only.
pub fn read(root: &Section<'_>, job_name: &str) -> Option<WarehouseConfig> {
    let section = root.section("warehouse");
    let url = section.required_string(
        "url",
        "write url = \"duckdb:./data/warehouse.duckdb\" in [warehouse], or \"none\"",
    );
    let bounds = DuckDbOptions {
        memory_limit_bytes: section.size("memory-limit", 64 << 20),
        threads: section.count("threads", 1),
    };
    let redshift = root.section("redshift");
    let kind = match url.split_once(':') {
        _ if url.is_empty() || url == "none" => None,
        Some(("duckdb", path)) if !path.is_empty() => Some(WarehouseKind::DuckDb {
            path: PathBuf::from(path),
            bounds,
        }),
        Some(("redshift", place)) => redshift_place(&section, place)
            .and_then(|place| self::redshift(&redshift, place))
            .map(|options| WarehouseKind::Redshift(Box::new(options))),
        _ => {
            if let Some(entry) = section.entry("url") {
                let diagnostic = section.refuse(entry, format!("`{url}` is not a warehouse URL"));
                section.context().report(diagnostic.hint(
                    "write duckdb:PATH, redshift://DATABASE/SCHEMA, or none to stage files only",
                ));
            }
            None
        }
    };
    if url.starts_with("redshift:") {
        for key in ["memory-limit", "threads"] {
            if let Some(entry) = section.entry(key) {
                let diagnostic =
                    section.refuse(entry, "is for DuckDB, and warehouse.url names Redshift");
                section.context().report(diagnostic.hint("leave it out"));
            }
        }
    } else if redshift.is_present() && !url.is_empty() {
        let message = "[redshift] is there, and warehouse.url does not name Redshift";
        let diagnostic = Diagnostic::warning(redshift.origin().clone(), message);
        root.context().report(
            diagnostic.hint("write url = \"redshift://DATABASE/SCHEMA\", or leave [redshift] out"),
        );
    }
    let table = section
        .string("table")
        .unwrap_or_else(|| job_name.replace('-', "_"));
    let rejected_table = section
        .string("rejected-table")
        .unwrap_or_else(|| "rejected".to_owned());
    let reach = section.duration("reach", Duration::from_secs(1));
    section.finish();
    Some(WarehouseConfig {
        kind: kind?,
        table,
        rejected_table,
        reach,
    })
}

/// Database and schema, from what follows `redshift:`.
fn redshift_place(section: &Section<'_>, place: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = place.strip_prefix("//").unwrap_or("").split('/').collect();
    let (database, schema) = match parts.as_slice() {
        [database] | [database, ""] => (*database, "public"),
        [database, schema] => (*database, *schema),
        _ => ("", ""),
    };
    if database.is_empty() {
        if let Some(entry) = section.entry("url") {
            let diagnostic = section.refuse(entry, "names no database");
            section
                .context()
                .report(diagnostic.hint("write redshift://DATABASE or redshift://DATABASE/SCHEMA"));
        }
        return None;
    }
    Some((database.to_owned(), schema.to_owned()))
}

fn redshift(
    section: &Section<'_>,
    (database, schema): (String, String),
) -> Option<RedshiftOptions> {
    let target = match (section.string("workgroup"), section.string("cluster")) {
        (Some(workgroup), None) => Some(Target::Workgroup(workgroup)),
        (None, Some(cluster)) => Some(Target::Cluster(cluster)),
        (Some(_), Some(_)) => {
            if let Some(entry) = section.entry("cluster") {
                let diagnostic = section.refuse(entry, "and `workgroup` exclude each other");
                section.context().report(
                    diagnostic
                        .hint("a workgroup is Serverless, a cluster is provisioned: name one"),
                );
            }
            None
        }
        (None, None) => {
            section.missing("workgroup", "name the Serverless workgroup: workgroup = \"...\" in [redshift], or cluster = \"...\"");
            None
        }
    };
    let identity = match (section.string("secret-arn"), section.string("db-user")) {
        (Some(secret), None) => Some(Identity::Secret(secret)),
        (None, Some(user)) => Some(Identity::DbUser(user)),
        (None, None) => Some(Identity::Iam),
        (Some(_), Some(_)) => {
            if let Some(entry) = section.entry("db-user") {
                let diagnostic = section.refuse(entry, "and `secret-arn` exclude each other");
                section
                    .context()
                    .report(diagnostic.hint("the secret holds the user: leave one out"));
            }
            None
        }
    };
    if let (Some(Target::Workgroup(_)), Some(Identity::DbUser(_))) = (&target, &identity)
        && let Some(entry) = section.entry("db-user")
    {
        let diagnostic = section.refuse(entry, "is for provisioned clusters");
        section
            .context()
            .report(diagnostic.hint("a workgroup knows the IAM identity, or takes secret-arn"));
    }
    let iam_role = section.required_string(
        "iam-role",
        "the role with which COPY reads the files: iam-role = \"arn:aws:iam::...\" in [redshift], or \"default\"",
    );
    let (region, endpoint) = (section.string("region"), section.string("endpoint"));
    let layout = layout(section);
    let timeout = section
        .duration("timeout", Duration::from_secs(1))
        .unwrap_or(Duration::from_secs(600));
    section.finish();
    Some(RedshiftOptions {
        target: target?,
        identity: identity?,
        database,
        schema,
        iam_role,
        region,
        endpoint,
        layout,
        timeout,
        keys: None,
    })
}

fn layout(section: &Section<'_>) -> Layout {
    let dist = section.parsed("dist", |text| match text.split_once(':') {
        None if text == "auto" => Ok(Distribution::Auto),
        None if text == "even" => Ok(Distribution::Even),
        None if text == "all" => Ok(Distribution::All),
        Some(("key", column)) if !column.is_empty() => Ok(Distribution::Key(column.to_owned())),
        _ => Err(format!(
            "`{text}` is not a distribution; write auto, even, all or key:COLUMN"
        )),
    });
    let mut varchar = BTreeMap::new();
    let widths = section.section("varchar");
    for entry in widths.entries() {
        match &entry.node.value {
            Value::Integer(bytes) if (1..=i64::from(VARCHAR_MAX)).contains(bytes) => {
                varchar.insert(
                    entry.key.clone(),
                    u32::try_from(*bytes).unwrap_or(VARCHAR_MAX),
                );
            }
            _ => {
                let diagnostic = widths.refuse(
                    entry,
                    format!("must be a number of bytes from 1 to {VARCHAR_MAX}"),
                );
                widths
                    .context()
                    .report(diagnostic.hint("for example varchar = { merchant = 64 }"));
            }
        }
    }
    Layout {
        dist: dist.unwrap_or_default(),
        sort_key: section.strings("sort-key").unwrap_or_default(),
        varchar,
    }
}

/// A load into Redshift is one batch of the Data API, whose statements are limited.
pub fn window_count(root: &Section<'_>, warehouse: &WarehouseConfig, windows: usize) {
    if matches!(warehouse.kind, WarehouseKind::Redshift(_)) && windows > WINDOWS_MAX {
        let message = format!(
            "there are {windows} of [[windows]], and a load into Redshift can take {WINDOWS_MAX}"
        );
        let section = root.sections("windows").into_iter().nth(WINDOWS_MAX);
        let origin = section.map_or(Origin::Nowhere, |section| section.origin().clone());
        let hint =
            "group them into fewer windows, or compute some in another job over the same topic";
        root.context()
            .report(Diagnostic::error(origin, message).hint(hint));
    }
}

/// Redshift's COPY reads from S3.
pub fn storage(root: &Section<'_>, warehouse: &WarehouseConfig, url: &str) {
    let section = root.section("storage");
    if matches!(warehouse.kind, WarehouseKind::Redshift(_))
        && !url.starts_with("s3:")
        && let Some(entry) = section.entry("url")
    {
        let message = "is not in S3, and Redshift loads from there";
        let diagnostic = section.refuse(entry, message);
        root.context()
            .report(diagnostic.hint("write url = \"s3://BUCKET/PREFIX\" in [storage]"));
    }
}

/// The columns that `[redshift]` names are columns of an event.
pub fn layout_columns(root: &Section<'_>, warehouse: &WarehouseConfig, plan: &Plan) {
    let WarehouseKind::Redshift(options) = &warehouse.kind else {
        return;
    };
    let section = root.section("redshift");
    let known = |column: &str| plan.event_schema().index_of(column).is_ok();
    let refuse = |key: &'static str, column: &str| {
        if let Some(entry) = section.entry(key) {
            let diagnostic = section.refuse(entry, format!("there is no column `{column}`"));
            let fields = plan.event_schema().fields();
            let columns: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            root.context()
                .report(diagnostic.hint(format!("there are {}", columns.join(", "))));
        }
    };
    if let Distribution::Key(column) = &options.layout.dist
        && !known(column)
    {
        refuse("dist", column);
    }
    for column in options
        .layout
        .sort_key
        .iter()
        .filter(|column| !known(column))
    {
        refuse("sort-key", column);
    }
}

/// Names of tables are plain, and each is there once.
pub fn table_names(root: &Section<'_>, warehouse: &WarehouseConfig, windows: &[&str]) {
    let section = root.section("warehouse");
    let window_entries: Vec<Section<'_>> = root.sections("windows");
    let mut names: Vec<(&str, Option<&Entry>)> = vec![
        (&warehouse.table, section.entry("table")),
        (&warehouse.rejected_table, section.entry("rejected-table")),
    ];
    for (name, window) in windows.iter().zip(&window_entries) {
        names.push((name, window.entry("name")));
    }
    for (i, (name, entry)) in names.iter().enumerate() {
        let origin = entry.map_or(Origin::Nowhere, |e| e.node.origin.clone());
        let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.len() <= 100;
        let message = if name.is_empty() {
            continue;
        } else if !plain {
            format!(
                "`{name}` cannot name a table: use letters, digits and `_`, and begin with a letter"
            )
        } else if name.starts_with("tidegate_") || name.ends_with("__parts") {
            format!(
                "`{name}` cannot name a table: `tidegate_...` and `...__parts` are Tidegate's own"
            )
        } else if names[..i]
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
        {
            format!("two tables are called `{name}`")
        } else {
            continue;
        };
        let hint = "tables are warehouse.table (the job's name if it is left out), warehouse.rejected-table and one for each of [[windows]]";
        root.context()
            .report(Diagnostic::error(origin, message).hint(hint));
    }
}
