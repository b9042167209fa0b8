//! `tidegate validate` and `tidegate config show`: the configuration, and what it changes in a job
//! whose log is at hand.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tidegate_core::meaning::Change;
use tidegate_core::plan::Plan;
use tidegate_core::spec::{LookupSpec, WindowSpec};
use tidegate_engine::{EngineError, SourceOptions, WarehouseKind};
use tidegate_log::{OpenError, recover};
use tidegate_storage::Storage;
use tidegate_warehouse::StoredColumn;
use tidegate_warehouse::redshift::options::Target;

use super::run::{cannot_listen, engine_options, serve_options};
use super::{failures, load_config, query, refused, runtime};
use crate::cli::ValidateArgs;
use crate::config::LoadedConfig;
use crate::config::diagnostics::Diagnostic;
use crate::config::locate::locate;
use crate::config::options::Config;
use crate::config::show;
use crate::config::tree::Origin;
use crate::config::units::{show_count, show_duration, show_size};
use crate::exit::{Exit, Failure};
use crate::output;

/// Says whether a configuration is valid, and what it would do.
pub(super) fn validate(args: &ValidateArgs) -> Result<Exit, Failure> {
    let loaded = load_config(&args.config)?;
    check_lookups(&loaded)?;
    check_served(&loaded.config)?;
    let against_log = compare(&loaded.config)?;
    let against_tables = compare_tables(&loaded.config)?;
    output::answer(&format!(
        "valid\n{}{against_log}{against_tables}",
        describe(&loaded.config)
    ))?;
    Ok(Exit::Success)
}

/// What the configuration changes in the job that it names, where its log is at hand: in a folder.
/// Nothing is asked over a network, and nothing is written.
fn compare(config: &Config) -> Result<String, Failure> {
    if !config.storage.url.starts_with("file:") {
        return Ok(String::new());
    }
    let Ok(storage) = Storage::open_existing(&config.storage) else {
        return Ok(String::new());
    };
    let Ok(plan) = Plan::compile(&config.spec) else {
        return Ok(String::new());
    };
    let log = match runtime()?.block_on(recover(&storage, Duration::ZERO)) {
        Ok(Some(log)) => log,
        Ok(None) => return Ok(String::new()),
        Err(error) => return Ok(format!("  log        cannot be read: {error}\n")),
    };
    if log.name != config.name {
        return Err(failures::open(&OpenError::OtherJob {
            url: storage.url().to_owned(),
            expected: config.name.clone(),
            found: log.name,
        }));
    }
    let options = engine_options(config, false, None);
    let change = tidegate_engine::change(&options, &plan, &log);
    match change.map_err(|error| failures::engine(&error))? {
        Change::Same => Ok(String::new()),
        Change::Added(what) | Change::Restarts(what) => {
            let lines = what.iter().map(|what| format!("  changed    {what}\n"));
            Ok(lines.collect())
        }
        Change::Refused(refusals) => Err(failures::engine(&EngineError::Refused(refusals))),
    }
}

/// Compares the tables that are there with the configuration, as a run would; says so where it
/// cannot. Where a process has the file open, that process is asked.
fn compare_tables(config: &Config) -> Result<String, Failure> {
    let (Some(warehouse), Ok(plan)) = (config.warehouse_options(), Plan::compile(&config.spec))
    else {
        return Ok(String::new());
    };
    let bounds = config
        .embedded()
        .map_or_else(Default::default, |(_, bounds)| bounds);
    let ask = |file: &Path, sql: &str| {
        let rows = query::rows(file, &bounds, sql).map_err(|failure| failure.in_a_line())?;
        Ok(rows.iter().map(stored_column).collect())
    };
    let not_compared = tidegate_engine::compare_tables(&warehouse, &plan, ask)
        .map_err(|error| failures::engine(&error))?;
    Ok(not_compared.map_or(String::new(), |why| {
        format!("  tables     not compared: {why}\n")
    }))
}

fn stored_column(row: &Value) -> StoredColumn {
    let text = |member: &str| row[member].as_str().unwrap_or_default().to_owned();
    StoredColumn {
        table: text("table_name"),
        name: text("column_name"),
        ty: text("data_type"),
    }
}

/// Reads the files of the reference tables, as a run would: one that is not there stops it.
fn check_lookups(loaded: &LoadedConfig) -> Result<(), Failure> {
    let lookups = &loaded.config.spec.lookups;
    let wrong = tidegate_engine::check_lookups(lookups, &loaded.config.lookups);
    if wrong.is_empty() {
        return Ok(());
    }
    let diagnostics = wrong.iter().map(|error| {
        let EngineError::Lookup { name, fault, .. } = error else {
            return Diagnostic::error(Origin::Nowhere, error.to_string());
        };
        let place = lookups.iter().position(|lookup| lookup.name == *name);
        let place = place.unwrap_or_default();
        let mut path = vec!["lookups".to_owned(), place.to_string()];
        path.extend(lookup_key(&lookups[place], fault.column()));
        let origin = locate(&loaded.tree, &path);
        Diagnostic::error(origin, error.to_string()).hint(fault.help())
    });
    Err(refused(&loaded.refuse(&diagnostics.collect::<Vec<_>>())))
}

/// The key of a lookup that says which column of its file is meant, or which file.
fn lookup_key(lookup: &LookupSpec, column: Option<&str>) -> Vec<String> {
    let Some(column) = column else {
        return vec!["path".to_owned()];
    };
    match lookup.columns.iter().find(|taken| taken.from == column) {
        Some(taken) => vec!["columns".to_owned(), taken.name.clone()],
        None if lookup.key == lookup.on => vec!["on".to_owned()],
        None => vec!["key".to_owned()],
    }
}

/// Reads tokens and certificates, as a run would.
fn check_served(config: &Config) -> Result<(), Failure> {
    let addresses = [
        (config.http_listen, "http.listen"),
        (config.load_listen, "load.listen"),
    ];
    for (address, key) in addresses {
        if let Some(address) = address {
            let options = serve_options(config, address, key);
            tidegate_serve::check(&options).map_err(cannot_listen)?;
        }
    }
    Ok(())
}

/// Prints the effective configuration.
pub(super) fn show(args: &ValidateArgs) -> Result<Exit, Failure> {
    let loaded = load_config(&args.config)?;
    output::answer(&show::show(&loaded.tree))?;
    Ok(Exit::Success)
}

/// What a configuration does, in a few lines.
pub(super) fn describe(config: &Config) -> String {
    let spec = &config.spec;
    let mut out = String::new();
    let mut line = |label: &str, text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {label:<10} {text}");
    };
    line("job", config.name.clone());
    line("source", source(&config.source));
    let columns = Plan::compile(spec).map_or(0, |plan| plan.event_schema().fields().len());
    line(
        "event",
        format!(
            "{} of {columns} columns; time is `{}`, late after {}",
            count(spec.fields.len(), "field"),
            spec.event_time.field,
            show_duration(spec.event_time.delay)
        ),
    );
    let names = |names: Vec<&str>| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    line(
        "rules",
        names(spec.rules.iter().map(|r| r.name.as_str()).collect()),
    );
    line(
        "enrich",
        names(spec.enrich.iter().map(|e| e.name.as_str()).collect()),
    );
    if !spec.lookups.is_empty() {
        line(
            "lookups",
            names(spec.lookups.iter().map(|l| l.name.as_str()).collect()),
        );
    }
    line(
        "duplicates",
        if spec.dedup_key.is_empty() {
            "kept: there is no [deduplication] key".to_owned()
        } else {
            format!("dropped by {}", spec.dedup_key.join(", "))
        },
    );
    for spec in &spec.windows {
        line("window", window(spec));
    }
    line(
        "storage",
        format!(
            "{}, a batch every {}, {} rows or {}",
            config.storage.url,
            show_duration(config.batch.interval),
            show_count(config.batch.max_rows as u64),
            show_size(config.batch.max_bytes as u64)
        ),
    );
    line("warehouse", warehouse(config));
    out
}

fn window(window: &WindowSpec) -> String {
    let every = if window.slide == window.size {
        String::new()
    } else {
        format!(" every {}", show_duration(window.slide))
    };
    let by = if window.group_by.is_empty() {
        String::new()
    } else {
        format!(" by {}", window.group_by.join(", "))
    };
    let (size, aggregates) = (window.size, count(window.aggregates.len(), "aggregate"));
    format!(
        "{}: {}{every}{by}, {aggregates}",
        window.name,
        show_duration(size)
    )
}

fn warehouse(config: &Config) -> String {
    let Some(warehouse) = &config.warehouse else {
        return "none: files only".to_owned();
    };
    let key = match config.upsert_key.as_slice() {
        [] => "appended".to_owned(),
        key => format!("one row for each {}", key.join(", ")),
    };
    let by = if config.load.separate {
        " by `tidegate load`"
    } else {
        ""
    };
    format!(
        "{}, table {} ({key}), a load every {}{by}",
        place(&warehouse.kind),
        warehouse.table,
        show_duration(config.load.interval),
    )
}

fn place(kind: &WarehouseKind) -> String {
    match kind {
        WarehouseKind::DuckDb { path, .. } => path.display().to_string(),
        WarehouseKind::Redshift(redshift) => {
            let target = match &redshift.target {
                Target::Workgroup(name) => format!("workgroup {name}"),
                Target::Cluster(name) => format!("cluster {name}"),
            };
            format!(
                "Redshift {target}, {}.{}",
                redshift.database, redshift.schema
            )
        }
    }
}

fn source(source: &SourceOptions) -> String {
    match source {
        SourceOptions::Kafka(kafka) => {
            format!(
                "Kafka topic {} at {}, group {}",
                kafka.topic, kafka.brokers, kafka.group
            )
        }
        SourceOptions::Files(files) => {
            let follow = if files.follow {
                ", waiting for more"
            } else {
                ""
            };
            format!("files at {}{follow}", files.path)
        }
        SourceOptions::Generator(generator) => {
            let rate = if generator.rate == 0 {
                "as fast as possible".to_owned()
            } else {
                format!("{}/s", generator.rate)
            };
            let end = generator
                .count
                .map_or(String::new(), |count| format!(", {count} in all"));
            format!(
                "synthetic transactions, {rate}{end}, {} partitions",
                generator.partitions
            )
        }
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}
