//! `tidegate validate` and `tidegate config show`: the configuration, and nothing but it.

use std::fmt::Write as _;

use tidegate_core::plan::Plan;
use tidegate_engine::WarehouseKind;
use tidegate_sources::SourceOptions;
use tidegate_warehouse::redshift::options::Target;

use super::load_config;
use crate::cli::ValidateArgs;
use crate::config::options::Config;
use crate::config::show;
use crate::config::units::{show_count, show_duration, show_size};
use crate::exit::{Exit, Failure};
use crate::output;

/// Says whether a configuration is valid, and what it would do.
pub(super) fn validate(args: &ValidateArgs) -> Result<Exit, Failure> {
    let loaded = load_config(&args.config)?;
    output::answer(&format!("valid\n{}", describe(&loaded.config)))?;
    Ok(Exit::Success)
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
    for window in &spec.windows {
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
        let aggregates = count(window.aggregates.len(), "aggregate");
        line(
            "window",
            format!(
                "{}: {}{every}{by}, {aggregates}",
                window.name,
                show_duration(window.size)
            ),
        );
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
    line(
        "warehouse",
        match &config.warehouse {
            None => "none: files only".to_owned(),
            Some(warehouse) => {
                let key = match config.upsert_key.as_slice() {
                    [] => "appended".to_owned(),
                    key => format!("one row for each {}", key.join(", ")),
                };
                format!(
                    "{}, table {} ({key}), a load every {}{}",
                    place(&warehouse.kind),
                    warehouse.table,
                    show_duration(config.load.interval),
                    if config.load.separate {
                        " by `tidegate load`"
                    } else {
                        ""
                    }
                )
            }
        },
    );
    out
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
