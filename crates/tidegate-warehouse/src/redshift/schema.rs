//! Tables and views: the loader's own, and those that the configuration asks for.

use std::collections::BTreeMap;

use super::client::{Client, Value};
use super::error::RedshiftError;
use super::options::{Distribution, Layout, RedshiftOptions, VARCHAR_DEFAULT, VARCHAR_MAX};
use super::plan::Table;
use super::sql::{self, Type};
use crate::ledger::Ledger;
use crate::table::{TableKind, TableSpec, ViewMerge};

/// Version of the loader's own tables. Persisted: to change them, raise it and upgrade older ones.
const FORMAT: u32 = 1;

/// Why the tables could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The loader's own tables are from a newer program.
    #[error(
        "the loader's tables were written by a newer Tidegate (format {found}; this one knows up to {FORMAT}): use that one"
    )]
    Newer {
        /// Version of the format that was found.
        found: u32,
    },
    /// A type that no column can have.
    #[error(
        "table `{table}`: column `{column}` has the type {ty}, which Redshift has no column for"
    )]
    Type {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its Arrow type.
        ty: String,
    },
    /// A column has another type in the database.
    #[error(
        "table `{table}`: column `{column}` is {found} in Redshift and {wanted} in the configuration. Types are not \
         changed: give the column another name, or convert it yourself while nothing is loaded, with: {sql}"
    )]
    Changed {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Type in the database.
        found: String,
        /// Type in the configuration.
        wanted: String,
        /// What an operator would run.
        sql: String,
    },
    /// The ledger cannot be read.
    #[error("tidegate_job holds `{0}` where a number was expected; it was changed by hand")]
    Ledger(String),
    /// Redshift refused.
    #[error("cannot {doing}: {source}")]
    Sql {
        /// What was being done.
        doing: String,
        /// What Redshift says.
        source: RedshiftError,
    },
}

impl SchemaError {
    /// Whether it can pass by itself.
    pub fn is_transient(&self) -> bool {
        matches!(self, SchemaError::Sql { source, .. } if source.is_transient())
    }
}

fn doing<E: Into<String>>(what: E) -> impl FnOnce(RedshiftError) -> SchemaError {
    move |source| SchemaError::Sql {
        doing: what.into(),
        source,
    }
}

fn qualified(options: &RedshiftOptions, table: &str) -> String {
    format!("{}.{}", sql::name(&options.schema), sql::name(table))
}

/// The loader's own tables.
///
/// - `tidegate_job`: one row for each job, whose `loaded_seq` a load moves first of all, so that two
///   loads collide there and nowhere else; `claimed_by` names the attempt that moved it.
/// - `tidegate_ledger`: one row for each load.
/// - `tidegate_watermarks`: the watermark of each lane, null for a lane that has none yet.
/// - `tidegate_maintenance`: when what was last done, and how often.
fn own_tables(options: &RedshiftOptions) -> [String; 4] {
    let table = |name: &str| qualified(options, name);
    [
        format!(
            "CREATE TABLE IF NOT EXISTS {} (job VARCHAR(64) NOT NULL, format INTEGER NOT NULL, created_at TIMESTAMP \
             NOT NULL, loaded_seq BIGINT NOT NULL, loaded_crc32c BIGINT NOT NULL, claimed_by VARCHAR(64)) \
             DISTSTYLE ALL",
            table("tidegate_job")
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (job VARCHAR(64) NOT NULL, first_seq BIGINT NOT NULL, last_seq BIGINT \
             NOT NULL, files BIGINT NOT NULL, bytes BIGINT NOT NULL, rows BIGINT NOT NULL, \
             manifests VARCHAR({VARCHAR_MAX}) NOT NULL, loaded_at TIMESTAMP NOT NULL)",
            table("tidegate_ledger")
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (job VARCHAR(64) NOT NULL, lane INTEGER NOT NULL, watermark TIMESTAMP) \
             DISTSTYLE ALL",
            table("tidegate_watermarks")
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (job VARCHAR(64) NOT NULL, action VARCHAR(32) NOT NULL, done_at \
             TIMESTAMP NOT NULL, times BIGINT NOT NULL) DISTSTYLE ALL",
            table("tidegate_maintenance")
        ),
    ]
}

/// The types of a table's columns.
pub(super) fn typed(spec: TableSpec) -> Result<Table, SchemaError> {
    let mut columns = Vec::with_capacity(spec.columns.len());
    for (column, ty) in &spec.columns {
        match Type::of(ty) {
            Some(ty) => columns.push((column.clone(), ty)),
            None => {
                return Err(SchemaError::Type {
                    table: spec.name.clone(),
                    column: column.clone(),
                    ty: ty.to_string(),
                });
            }
        }
    }
    Ok(Table { spec, columns })
}

/// Makes everything ready, and tells where the ledger stands. Each step can be repeated: a start that
/// was cut off is made good by the next one.
pub(super) fn prepare(
    client: &Client,
    options: &RedshiftOptions,
    job: &str,
    now: i64,
    tables: &[Table],
) -> Result<Ledger, SchemaError> {
    for sql in own_tables(options) {
        client
            .run(&sql)
            .map_err(doing("make the loader's tables"))?;
    }
    found_job(client, options, job, now)?;
    for table in tables {
        prepare_table(client, options, table)?;
        if let TableKind::WindowParts {
            view,
            group_by,
            aggregates,
        } = &table.spec.kind
        {
            let sql = window_view(options, job, &table.spec, view, group_by, aggregates);
            client
                .run(&sql)
                .map_err(doing(format!("make the view `{view}`")))?;
        }
    }
    read_ledger(client, options, job).map(|(ledger, _)| ledger)
}

/// Where the ledger stands, and which attempt has moved it there.
pub(super) fn read_ledger(
    client: &Client,
    options: &RedshiftOptions,
    job: &str,
) -> Result<(Ledger, Option<String>), SchemaError> {
    let rows = client
        .query(&format!(
            "SELECT loaded_seq, loaded_crc32c, claimed_by, format FROM {} WHERE job = {} ORDER BY loaded_seq DESC",
            qualified(options, "tidegate_job"),
            sql::text(job)
        ))
        .map_err(doing("read the ledger"))?;
    let Some([seq, crc32c, claimed_by, format]) = rows.first().map(Vec::as_slice) else {
        return Err(SchemaError::Ledger(String::new()));
    };
    let format: u32 = number(format)?;
    if format > FORMAT {
        return Err(SchemaError::Newer { found: format });
    }
    let ledger = Ledger {
        seq: number(seq)?,
        crc32c: number(crc32c)?,
    };
    Ok((ledger, claimed_by.clone()))
}

fn number<T: std::str::FromStr>(value: &Value) -> Result<T, SchemaError> {
    let text = value.as_deref().unwrap_or("NULL");
    text.parse()
        .map_err(|_| SchemaError::Ledger(text.to_owned()))
}

/// The lock makes founders wait for each other: keys are not enforced, and a second row of a job would
/// let everything be loaded twice.
fn found_job(
    client: &Client,
    options: &RedshiftOptions,
    job: &str,
    now: i64,
) -> Result<(), SchemaError> {
    let table = qualified(options, "tidegate_job");
    let there = client
        .query(&format!(
            "SELECT COUNT(*) FROM {table} WHERE job = {}",
            sql::text(job)
        ))
        .map_err(doing("look for the job"))?;
    if there.first().and_then(|row| row.first()) != Some(&Some("0".to_owned())) {
        return Ok(());
    }
    let statements = [
        format!("LOCK {table}"),
        format!(
            "INSERT INTO {table} (job, format, created_at, loaded_seq, loaded_crc32c) SELECT {job}, {FORMAT}, {at}, 0, 0 \
             WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE job = {job})",
            job = sql::text(job),
            at = sql::instant(now),
        ),
    ];
    client
        .transaction(&statements, &uuid::Uuid::new_v4().to_string())
        .map_err(doing("found the job"))?;
    Ok(())
}

/// A column as Redshift describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// Its type, written as the configuration's types are.
    ty: String,
    /// Bytes, if it is text.
    bytes: Option<u32>,
}

fn found_columns(
    client: &Client,
    options: &RedshiftOptions,
    table: &str,
) -> Result<BTreeMap<String, Found>, SchemaError> {
    let rows = client
        .query(&format!(
            "SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale FROM svv_columns \
             WHERE table_schema = {} AND table_name = {}",
            sql::text(&options.schema.to_lowercase()),
            sql::text(&table.to_lowercase())
        ))
        .map_err(doing(format!("look at the table `{table}`")))?;
    let column = |row: Vec<Value>| {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let (name, ty, length, precision, scale) = (next(), next(), next(), next(), next());
        let bytes = length
            .parse()
            .ok()
            .filter(|_| ty.starts_with("character varying"));
        let ty = match ty.as_str() {
            "character varying" => format!("VARCHAR({length})"),
            "timestamp without time zone" => "TIMESTAMP".to_owned(),
            "numeric" => format!("DECIMAL({precision},{scale})"),
            other => other.to_uppercase(),
        };
        (name, Found { ty, bytes })
    };
    Ok(rows.into_iter().map(column).collect())
}

fn prepare_table(
    client: &Client,
    options: &RedshiftOptions,
    table: &Table,
) -> Result<(), SchemaError> {
    let name = &table.spec.name;
    let target = qualified(options, name);
    let width = |column: &str| width(&options.layout, column);
    let definitions: Vec<_> = table
        .columns
        .iter()
        .map(|(column, ty)| {
            let not_null = if table.spec.is_required(column) {
                " NOT NULL"
            } else {
                ""
            };
            format!(
                "{} {}{not_null}",
                sql::name(column),
                ty.stored(width(column))
            )
        })
        .collect();
    client
        .run(&format!(
            "CREATE TABLE IF NOT EXISTS {target} ({}){}",
            definitions.join(", "),
            layout(&table.spec, &options.layout)
        ))
        .map_err(doing(format!("make the table `{name}`")))?;

    let found = found_columns(client, options, name)?;
    for (column, ty) in &table.columns {
        let wanted = ty.stored(width(column));
        match found.get(&column.to_lowercase()) {
            None => {
                tracing::info!(table = name, column, r#type = wanted, "adding a column");
                client
                    .run(&format!(
                        "ALTER TABLE {target} ADD COLUMN {} {wanted}",
                        sql::name(column)
                    ))
                    .map_err(doing(format!(
                        "add the column `{column}` to the table `{name}`"
                    )))?;
            }
            Some(Found {
                bytes: Some(bytes), ..
            }) if *ty == Type::Text => {
                if options
                    .layout
                    .varchar
                    .get(column)
                    .is_some_and(|wanted| wanted > bytes)
                {
                    widen(client, options, name, column, width(column))?;
                }
            }
            Some(found) if found.ty != wanted => {
                return Err(SchemaError::Changed {
                    table: name.clone(),
                    column: column.clone(),
                    found: found.ty.clone(),
                    sql: conversion(&target, column, &wanted),
                    wanted,
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// What an operator would run to give a column another type: Redshift changes none but text's width.
fn conversion(target: &str, column: &str, wanted: &str) -> String {
    let (old, new) = (sql::name(column), sql::name(&format!("{column}__new")));
    format!(
        "ALTER TABLE {target} ADD COLUMN {new} {wanted}; UPDATE {target} SET {new} = CAST({old} AS {wanted}); ALTER TABLE \
         {target} DROP COLUMN {old}; ALTER TABLE {target} RENAME COLUMN {new} TO {old};"
    )
}

/// Makes a text column wider; a statement of its own, since Redshift refuses it in a transaction.
fn widen(
    client: &Client,
    options: &RedshiftOptions,
    table: &str,
    column: &str,
    bytes: u32,
) -> Result<(), SchemaError> {
    tracing::info!(table, column, bytes, "widening a column");
    let target = qualified(options, table);
    client
        .run(&format!(
            "ALTER TABLE {target} ALTER COLUMN {} TYPE VARCHAR({bytes})",
            sql::name(column)
        ))
        .map_err(doing(format!(
            "widen the column `{column}` of the table `{table}`"
        )))?;
    Ok(())
}

/// Widens text columns that are narrower than the values that are to go in, to the next power of two;
/// tells how many were.
pub(super) fn widen_to_fit(
    client: &Client,
    options: &RedshiftOptions,
    table: &str,
    needed: &BTreeMap<String, u32>,
) -> Result<usize, SchemaError> {
    let found = found_columns(client, options, table)?;
    let mut widened = 0;
    for (column, needed) in needed {
        let bytes = found
            .get(&column.to_lowercase())
            .and_then(|found| found.bytes);
        if bytes.is_some_and(|bytes| bytes < *needed) {
            widen(
                client,
                options,
                table,
                column,
                needed.next_power_of_two().min(VARCHAR_MAX),
            )?;
            widened += 1;
        }
    }
    Ok(widened)
}

/// Bytes of a text column when it is made.
fn width(layout: &Layout, column: &str) -> u32 {
    layout
        .varchar
        .get(column)
        .copied()
        .unwrap_or(VARCHAR_DEFAULT)
}

/// Distribution and sort key. Only tables of events are laid out by the configuration.
fn layout(spec: &TableSpec, layout: &Layout) -> String {
    if !matches!(spec.kind, TableKind::Upsert { .. }) && !spec.takes("events") {
        return " DISTSTYLE AUTO SORTKEY AUTO".to_owned();
    }
    let dist = match &layout.dist {
        Distribution::Auto => " DISTSTYLE AUTO".to_owned(),
        Distribution::Even => " DISTSTYLE EVEN".to_owned(),
        Distribution::All => " DISTSTYLE ALL".to_owned(),
        Distribution::Key(column) => format!(" DISTSTYLE KEY DISTKEY ({})", sql::name(column)),
    };
    let sort = if layout.sort_key.is_empty() {
        " SORTKEY AUTO".to_owned()
    } else {
        format!(
            " COMPOUND SORTKEY ({})",
            sql::names(layout.sort_key.iter().map(String::as_str))
        )
    };
    dist + &sort
}

/// The view over the parts of a window: lanes merged, and only windows that every known lane has
/// passed. A lane without a watermark could still have any event, so it holds all windows back.
fn window_view(
    options: &RedshiftOptions,
    job: &str,
    table: &TableSpec,
    view: &str,
    group_by: &[String],
    aggregates: &[(String, ViewMerge)],
) -> String {
    let keys = sql::names(
        ["window_start", "window_end"]
            .into_iter()
            .chain(group_by.iter().map(String::as_str)),
    );
    let merged: String = aggregates
        .iter()
        .map(|(name, merge)| format!(", {} AS {}", merged(table, name, *merge), sql::name(name)))
        .collect();
    format!(
        "CREATE OR REPLACE VIEW {view} AS SELECT {keys}{merged} FROM {parts} WHERE window_end <= (SELECT CASE WHEN \
         COUNT(*) = COUNT(watermark) THEN MIN(watermark) END FROM {watermarks} WHERE job = {job}) GROUP BY {keys}",
        view = qualified(options, view),
        parts = qualified(options, &table.name),
        watermarks = qualified(options, "tidegate_watermarks"),
        job = sql::text(job),
    )
}

fn merged(table: &TableSpec, aggregate: &str, merge: ViewMerge) -> String {
    let column = sql::name(aggregate);
    let sum = |name: &str| {
        let sum = format!("SUM({})", sql::name(name));
        // A sum of integers is wider than they are; the view's column is as the parts' are.
        match table.column_type(name).and_then(Type::of) {
            Some(Type::Plain(ty)) => format!("CAST({sum} AS {ty})"),
            _ => sum,
        }
    };
    match merge {
        ViewMerge::Count | ViewMerge::Sum => sum(aggregate),
        ViewMerge::Min => format!("MIN({column})"),
        ViewMerge::Max => format!("MAX({column})"),
        ViewMerge::Avg => format!(
            "CAST({} AS DOUBLE PRECISION) / NULLIF({}, 0)",
            sum(&format!("{aggregate}__sum")),
            sum(&format!("{aggregate}__count"))
        ),
    }
}
