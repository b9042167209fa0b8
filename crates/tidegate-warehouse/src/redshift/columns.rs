//! Columns of the tables: made, added, and given room where they can be.

use std::collections::BTreeMap;

use super::client::{DataApiClient, SqlValue};
use super::options::{RedshiftOptions, VARCHAR_MAX};
use super::plan::RedshiftTable;
use super::schema::{SchemaError, doing, layout, qualified};
use super::sql::{self, Type};
use super::widths::{widen_if_possible, width};
use crate::table::{REDSHIFT_BYTES_MAX, REDSHIFT_COLUMNS_MAX, TableKind, TableSpec};

/// A column as Redshift describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CatalogColumn {
    /// Its type, written as the configuration's types are.
    ty: String,
    /// Bytes, if it is text.
    pub(super) bytes: Option<u32>,
}

impl CatalogColumn {
    fn into_type(self) -> Type {
        match self.bytes {
            Some(_) => Type::Text,
            None if self.ty == "SUPER" => Type::Super,
            None => Type::Plain(self.ty),
        }
    }
}

pub(super) fn found_columns(
    client: &DataApiClient,
    options: &RedshiftOptions,
    table: &str,
) -> Result<BTreeMap<String, CatalogColumn>, SchemaError> {
    let rows = client
        .query(&format!(
            "SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale FROM svv_columns \
             WHERE table_schema = {} AND table_name = {}",
            sql::in_catalog(&options.schema),
            sql::in_catalog(table)
        ))
        .map_err(doing(format!("look at the table `{table}`")))?;
    let column = |row: Vec<SqlValue>| {
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
        (name, CatalogColumn { ty, bytes })
    };
    Ok(rows.into_iter().map(column).collect())
}

/// What a start does about a column.
#[derive(Clone, Copy)]
enum ColumnChange {
    /// It is as it should be.
    Nothing,
    /// It is not there.
    Add,
    /// It has another type: the old one is kept under another name.
    KeepOld,
    /// It is text with so many bytes, which can be made wider.
    Fit(u32),
}

/// What is to be done about a column; none if it has a type that is not changed.
fn step(
    spec: &TableSpec,
    column: &str,
    ty: &Type,
    wanted: &str,
    found: Option<&CatalogColumn>,
) -> Option<ColumnChange> {
    match found {
        None => Some(ColumnChange::Add),
        Some(CatalogColumn {
            bytes: Some(bytes), ..
        }) if *ty == Type::Text => Some(ColumnChange::Fit(*bytes)),
        Some(old) if old.ty == wanted => Some(ColumnChange::Nothing),
        Some(_) if is_aggregate(spec, column) => Some(ColumnChange::KeepOld),
        Some(_) => None,
    }
}

/// Makes a table that is not there, and adds the columns that it lacks.
pub(super) fn prepare_table(
    client: &DataApiClient,
    options: &RedshiftOptions,
    table: &mut RedshiftTable,
) -> Result<(), SchemaError> {
    let name = &table.spec.name;
    make_table(client, options, table)?;
    let found = found_columns(client, options, name)?;
    let mut steps = Vec::with_capacity(table.columns.len());
    for (column, ty) in &table.columns {
        let wanted = ty.stored(width(&options.layout, &table.spec, column));
        let there = found.get(&column.to_lowercase());
        match step(&table.spec, column, ty, &wanted, there) {
            Some(step) => steps.push((column, ty, wanted, step)),
            None => {
                return Err(SchemaError::Changed {
                    table: name.clone(),
                    column: column.clone(),
                    found: there.map_or_else(String::new, |found| found.ty.clone()),
                    sql: conversion(&qualified(options, name), column, &wanted),
                    wanted,
                });
            }
        }
    }
    let is_new = |step: &ColumnChange| matches!(step, ColumnChange::Add | ColumnChange::KeepOld);
    let new = steps.iter().filter(|(.., step)| is_new(step)).count();
    check_count(name, found.len() + new)?;
    let mut widths = BTreeMap::new();
    for (column, ty, wanted, step) in steps {
        let bytes = take(
            client,
            options,
            &table.spec,
            (column, &wanted),
            step,
            &found,
        )?;
        if *ty == Type::Text {
            widths.insert(column.clone(), bytes);
        }
    }
    let is_known = |name: &str| {
        let mut columns = table.columns.iter();
        columns.any(|(column, _)| column.to_lowercase() == name)
    };
    let beside: Vec<_> = found
        .into_iter()
        .filter(|(name, _)| !is_known(name))
        .collect();
    for (column, found) in &beside {
        widths.extend(found.bytes.map(|bytes| (column.clone(), bytes)));
    }
    widths.retain(|_, bytes| *bytes < VARCHAR_MAX);
    table.widths = widths;
    table.beside = beside
        .into_iter()
        .map(|(column, found)| (column, found.into_type()))
        .collect();
    Ok(())
}

/// Makes a table that is not there.
fn make_table(
    client: &DataApiClient,
    options: &RedshiftOptions,
    table: &RedshiftTable,
) -> Result<(), SchemaError> {
    let name = &table.spec.name;
    let definition = |(column, ty): &(String, Type)| {
        let not_null = match table.spec.is_required(column) {
            true => " NOT NULL",
            false => "",
        };
        let stored = ty.stored(width(&options.layout, &table.spec, column));
        format!("{} {stored}{not_null}", sql::name(column))
    };
    let definitions: Vec<_> = table.columns.iter().map(definition).collect();
    client
        .run(&format!(
            "CREATE TABLE IF NOT EXISTS {} ({}){}",
            qualified(options, name),
            definitions.join(", "),
            layout(&table.spec, &options.layout)
        ))
        .map_err(doing(format!("make the table `{name}`")))?;
    Ok(())
}

/// Takes a step, and tells the bytes that the column then has if it is text.
fn take(
    client: &DataApiClient,
    options: &RedshiftOptions,
    spec: &TableSpec,
    (column, wanted): (&str, &str),
    step: ColumnChange,
    found: &BTreeMap<String, CatalogColumn>,
) -> Result<u32, SchemaError> {
    let width = width(&options.layout, spec, column);
    match step {
        ColumnChange::Nothing => {}
        ColumnChange::Add => add_column(client, options, &spec.name, column, wanted)?,
        ColumnChange::KeepOld => {
            keep_old(
                client,
                &qualified(options, &spec.name),
                column,
                found,
                wanted,
            )?;
        }
        ColumnChange::Fit(bytes) => {
            let fits = options.layout.varchar.contains_key(column)
                && width > bytes
                && widen_if_possible(client, options, &spec.name, column, width)?;
            return Ok(if fits { width } else { bytes });
        }
    }
    Ok(width)
}

fn add_column(
    client: &DataApiClient,
    options: &RedshiftOptions,
    table: &str,
    column: &str,
    ty: &str,
) -> Result<(), SchemaError> {
    tracing::info!(table, column, r#type = ty, "adding a column");
    client
        .run(&format!(
            "ALTER TABLE {} ADD COLUMN {} {ty}",
            qualified(options, table),
            sql::name(column)
        ))
        .map_err(doing(format!(
            "add the column `{column}` to the table `{table}`"
        )))?;
    Ok(())
}

/// Adds columns that files have and the table lacks, named in lower case: they were taken out of
/// the configuration before anything with them was loaded.
pub(super) fn add_columns(
    client: &DataApiClient,
    options: &RedshiftOptions,
    table: &mut RedshiftTable,
    lacking: BTreeMap<String, Type>,
) -> Result<(), SchemaError> {
    if lacking.is_empty() {
        return Ok(());
    }
    // Another loader may have been here.
    let found = found_columns(client, options, &table.spec.name)?;
    let new = lacking.keys().filter(|column| !found.contains_key(*column));
    check_count(&table.spec.name, found.len() + new.count())?;
    for (column, ty) in lacking {
        let mut bytes = width(&options.layout, &table.spec, &column);
        let ty = match found.get(&column) {
            Some(there) => {
                bytes = there.bytes.unwrap_or(bytes);
                there.clone().into_type()
            }
            None => {
                add_column(
                    client,
                    options,
                    &table.spec.name,
                    &column,
                    &ty.stored(bytes),
                )?;
                ty
            }
        };
        if ty == Type::Text && bytes < VARCHAR_MAX {
            table.widths.insert(column.clone(), bytes);
        }
        table.beside.push((column, ty));
    }
    Ok(())
}

/// Whether a table can have so many columns.
fn check_count(table: &str, columns: usize) -> Result<(), SchemaError> {
    match columns <= REDSHIFT_COLUMNS_MAX {
        true => Ok(()),
        false => Err(SchemaError::TooManyColumns {
            table: table.to_owned(),
            columns,
        }),
    }
}

/// Whether a column of a window's parts is not what makes them the parts that they are.
fn is_aggregate(spec: &TableSpec, column: &str) -> bool {
    matches!(spec.kind, TableKind::WindowParts { .. }) && !spec.is_required(column)
}

/// Gives a column of a window's parts another type: the old one is kept under another name, and the
/// new one is null in the parts that are there, as one is that the window did not have before.
fn keep_old(
    client: &DataApiClient,
    target: &str,
    column: &str,
    found: &BTreeMap<String, CatalogColumn>,
    wanted: &str,
) -> Result<(), SchemaError> {
    let mut kept = derived(column, "__old");
    let mut number = 1;
    while found.contains_key(&kept) {
        number += 1;
        kept = derived(column, &format!("__old_{number}"));
    }
    tracing::warn!(
        table = target,
        column,
        kept,
        r#type = wanted,
        "a column of a window has another type: the old one is kept under another name, and windows that were \
         closed before have null in the new one"
    );
    let column_name = sql::name(column);
    let statements = [
        format!(
            "ALTER TABLE {target} RENAME COLUMN {column_name} TO {}",
            sql::name(&kept)
        ),
        format!("ALTER TABLE {target} ADD COLUMN {column_name} {wanted}"),
    ];
    // Each can be repeated: a start that was cut off between them finds no column, and adds it.
    for statement in statements {
        client.run(&statement).map_err(doing(format!(
            "give the column `{column}` of {target} another type"
        )))?;
    }
    Ok(())
}

/// The name of a column with something after it, in as many bytes as a name can have.
fn derived(column: &str, suffix: &str) -> String {
    let column = column.to_lowercase();
    let end = column.floor_char_boundary(REDSHIFT_BYTES_MAX - suffix.len());
    format!("{}{suffix}", &column[..end])
}

/// What an operator would run to give a column another type: Redshift changes none but text's
/// width.
fn conversion(target: &str, column: &str, wanted: &str) -> String {
    let (old, new) = (sql::name(column), sql::name(&derived(column, "__new")));
    format!(
        "ALTER TABLE {target} ADD COLUMN {new} {wanted}; UPDATE {target} SET {new} = CAST({old} AS {wanted}); ALTER TABLE \
         {target} DROP COLUMN {old}; ALTER TABLE {target} RENAME COLUMN {new} TO {old};"
    )
}
