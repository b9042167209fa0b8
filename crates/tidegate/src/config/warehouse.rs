//! Reads `[warehouse]` and `[redshift]`: where rows go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use arrow::datatypes::{DataType, Field};
use tidegate_core::plan::Plan;
use tidegate_engine::WarehouseKind;
use tidegate_warehouse::redshift::WINDOWS_MAX;
use tidegate_warehouse::redshift::options::{
    Distribution, Identity, Layout, Target, Timestamps, TooLong, VARCHAR_MAX,
};
use tidegate_warehouse::{DuckDbOptions, RedshiftOptions, check_redshift_name};

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
            .map(|options| {
                redshift_names([&section, &redshift], &options);
                WarehouseKind::Redshift(Box::new(options))
            }),
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
    if let Some(WarehouseKind::DuckDb { path, .. }) = &kind
        && path.is_dir()
        && let Some(entry) = section.entry("url")
    {
        let message = format!("{} is a folder, and DuckDB needs a file", path.display());
        let diagnostic = section.refuse(entry, message);
        section
            .context()
            .report(diagnostic.hint("write duckdb:FOLDER/warehouse.duckdb"));
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

/// Names that Redshift would cut off.
fn redshift_names(sections: [&Section<'_>; 2], options: &RedshiftOptions) {
    let Err((setting, message)) = options.check_names() else {
        return;
    };
    let [warehouse, redshift] = sections;
    let (section, key) = match setting {
        "redshift.db-user" => (redshift, "db-user"),
        _ => (warehouse, "url"),
    };
    if let Some(entry) = section.entry(key) {
        section.context().report(section.refuse(entry, message));
    }
}

fn redshift(
    section: &Section<'_>,
    (database, schema): (String, String),
) -> Option<RedshiftOptions> {
    let target = target(section);
    check_target(section, target.as_ref());
    let identity = identity(section, target.as_ref());
    let iam_role = section.required_string(
        "iam-role",
        "the role with which COPY reads the files: iam-role = \"arn:aws:iam::...\" in [redshift], or \"default\"",
    );
    check_role(section, &iam_role);
    let (region, endpoint) = (section.string("region"), section.string("endpoint"));
    let layout = layout(section);
    let too_long = section.parsed("too-long", |text| match text {
        "reject" => Ok(TooLong::Reject),
        "cut" => Ok(TooLong::Cut),
        _ => Err(format!(
            "`{text}` is not what can be done; write reject or cut"
        )),
    });
    let timestamps = section.parsed("timestamps", |text| match text {
        "int64" => Ok(Timestamps::Int64),
        "int96" => Ok(Timestamps::Int96),
        _ => Err(format!(
            "`{text}` is no form of timestamps; write int64 or int96"
        )),
    });
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
        too_long: too_long.unwrap_or_default(),
        timestamps: timestamps.unwrap_or_default(),
        timeout,
        keys: None,
    })
}

/// Which service is asked, if exactly one is named.
fn target(section: &Section<'_>) -> Option<Target> {
    match (section.string("workgroup"), section.string("cluster")) {
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
    }
}

/// As whom it is asked.
fn identity(section: &Section<'_>, target: Option<&Target>) -> Option<Identity> {
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
    if let (Some(Target::Workgroup(_)), Some(Identity::DbUser(_))) = (target, &identity)
        && let Some(entry) = section.entry("db-user")
    {
        let diagnostic = section.refuse(entry, "is for provisioned clusters");
        section
            .context()
            .report(diagnostic.hint("a workgroup knows the IAM identity, or takes secret-arn"));
    }
    identity
}

/// The names that the service's model allows (botocore, redshift-data and redshift).
fn check_target(section: &Section<'_>, target: Option<&Target>) {
    let plain = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let (key, hint) = match target {
        Some(Target::Workgroup(name)) if !plain(name) || !(3..=63).contains(&name.len()) => (
            "workgroup",
            "a workgroup has 3 to 63 lower-case letters, digits and hyphens",
        ),
        Some(Target::Cluster(name))
            if !plain(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) =>
        {
            (
                "cluster",
                "a cluster has lower-case letters, digits and hyphens, and begins with a letter",
            )
        }
        _ => return,
    };
    if let Some(entry) = section.entry(key) {
        let diagnostic = section.refuse(entry, "is not a name that AWS gives");
        section.context().report(diagnostic.hint(hint));
    }
}

/// The role of COPY is a role, not a user: `arn:PARTITION:iam::ACCOUNT:role/NAME`, several with
/// commas.
fn check_role(section: &Section<'_>, iam_role: &str) {
    let is_role = |arn: &str| match arn.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, "iam", "", account, role] => {
            partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|b| b.is_ascii_digit())
                && role
                    .strip_prefix("role/")
                    .is_some_and(|name| !name.is_empty())
        }
        _ => false,
    };
    if iam_role.is_empty() || iam_role == "default" || iam_role.split(',').all(is_role) {
        return;
    }
    if let Some(entry) = section.entry("iam-role") {
        let diagnostic = section.refuse(entry, "is not the ARN of a role");
        section.context().report(diagnostic.hint(
            "write iam-role = \"arn:aws:iam::123456789012:role/NAME\", or \"default\" for the one of the cluster",
        ));
    }
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
pub fn layout_columns(
    root: &Section<'_>,
    warehouse: &WarehouseConfig,
    plan: &Plan,
    upsert_key: &[String],
) {
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
    let nested = |column: &str| {
        let field = plan.event_schema().field_with_name(column);
        field.is_ok_and(|field| field.data_type().is_nested())
    };
    let dist = match &options.layout.dist {
        Distribution::Key(column) => Some(("dist", column)),
        _ => None,
    };
    let sort = options.layout.sort_key.iter();
    let keys = dist
        .into_iter()
        .chain(sort.map(|column| ("sort-key", column)));
    for (key, column) in keys.filter(|(_, column)| nested(column)) {
        if let Some(entry) = section.entry(key) {
            let message = format!("`{column}` is nested, which becomes SUPER in Redshift");
            let diagnostic = section.refuse(entry, message);
            root.context().report(diagnostic.hint(
                "Redshift takes no SUPER as a distribution or sort key: name a plain column",
            ));
        }
    }
    text_widths(root, plan, upsert_key);
}

/// `varchar` sizes columns that there are and that are text, and no keys: a key that was cut would
/// be another key. Groups of windows are columns of events, which can be sized: the parts keep
/// theirs as wide as text can be.
fn text_widths(root: &Section<'_>, plan: &Plan, upsert_key: &[String]) {
    let widths = root.section("redshift").section("varchar");
    let events = plan.event_schema();
    for entry in widths.entries() {
        let name = &entry.key;
        let rejects = tidegate_core::rejected::rejected_schema();
        let parts = plan.windows().map(|window| window.part_schema());
        let types: Vec<DataType> = [events, &rejects]
            .into_iter()
            .cloned()
            .chain(parts)
            .filter_map(|schema| Some(schema.field_with_name(name).ok()?.data_type().clone()))
            .collect();
        let is_text = |ty: &DataType| {
            matches!(
                ty,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            )
        };
        let is_key = upsert_key.contains(name);
        let (message, hint) = if !types.is_empty() && !types.iter().any(is_text) {
            (
                "sizes a column that is not text",
                "leave it out: only text has a width".to_owned(),
            )
        } else if types.is_empty() {
            let columns: Vec<&str> = events.fields().iter().map(|f| f.name().as_str()).collect();
            (
                "names no column of a table",
                format!("the table of events has {}", columns.join(", ")),
            )
        } else if is_key {
            (
                "sizes a key",
                format!(
                    "leave it out: keys have {VARCHAR_MAX} bytes, so that they are stored as they came"
                ),
            )
        } else {
            continue;
        };
        let diagnostic = widths.refuse(entry, message);
        widths.context().report(diagnostic.hint(hint));
    }
}

/// Names and types that Redshift has no column for.
pub fn redshift_columns(root: &Section<'_>, warehouse: &WarehouseConfig, plan: &Plan) {
    if !matches!(warehouse.kind, WarehouseKind::Redshift(_)) {
        return;
    }
    let schema = root.section("schema");
    let entries = schema.entries();
    for field in plan.event_schema().fields() {
        let entry = entries.iter().find(|entry| entry.key == *field.name());
        let origin = entry.map_or(Origin::Nowhere, |entry| entry.node.origin.clone());
        redshift_column(root, origin, field);
    }
    for (window, section) in plan.windows().zip(root.sections("windows")) {
        // A group that is a column of the event has been looked at.
        let is_known = |field: &Field| {
            let known = plan.event_schema().field_with_name(field.name());
            known.is_ok_and(|known| known.data_type() == field.data_type())
        };
        let parts = window.part_schema();
        for field in parts.fields().iter().filter(|field| !is_known(field)) {
            redshift_column(root, section.origin().clone(), field);
        }
    }
}

fn redshift_column(root: &Section<'_>, origin: Origin, field: &Field) {
    let name = field.name();
    if let Err(message) = check_redshift_name("a column", name) {
        root.context().report(Diagnostic::error(origin, message));
        return;
    }
    let (message, hint) = match field.data_type() {
        DataType::Decimal128(precision, scale) if *scale > 37 => (
            format!(
                "`{name}` is decimal({precision},{scale}), and Redshift has at most 37 digits after the point"
            ),
            "take a smaller scale",
        ),
        DataType::Decimal128(19, scale) => (
            format!(
                "`{name}` is decimal(19,{scale}), which Redshift stores in eight bytes: not every value of 19 digits \
                 fits"
            ),
            "write decimal(20,...), which has sixteen bytes",
        ),
        _ => return,
    };
    root.context()
        .report(Diagnostic::error(origin, message).hint(hint));
}

/// Whether a name is one of those that the loader keeps for itself; case makes no difference to a
/// warehouse.
fn is_own(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("tidegate_") || name.ends_with("__parts")
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
        } else if is_own(name) {
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
