//! Staged rows into the tables.

use super::stage::stage;
use super::table::RedshiftTable;
use super::{LoadPlan, Request, Role, SourceFile};
use crate::redshift::sql::{self, Compared};
use crate::table::{Reach, TableKind};

impl Request<'_> {
    /// Staged rows into the table.
    pub(super) fn apply(
        &self,
        index: usize,
        table: &RedshiftTable,
        files: &[&SourceFile<'_>],
        plan: &mut LoadPlan,
    ) {
        let target = self.qualified(&table.spec.name);
        // Columns are written with the table's own name: nobody has been seen to write the schema,
        // too.
        let name = sql::name(&table.spec.name);
        let key = table.spec.key().unwrap_or_default();
        let key: Vec<_> = key.into_iter().map(|name| table.compared(name)).collect();
        let mut from = stage(index);
        let mut fitting = table.fitting(&from, self.options.too_long);
        match &table.spec.kind {
            TableKind::Append => {}
            TableKind::Upsert { order, reach, .. } => {
                let upsert = Upsert {
                    index,
                    table,
                    target: &target,
                    key: &key,
                    order: order.iter().map(|name| table.compared(name)).collect(),
                    within: reach
                        .as_ref()
                        .map_or_else(String::new, |reach| within_reach(&name, reach, files)),
                };
                from = upsert.replace(&from, fitting.take().as_deref(), plan);
            }
            TableKind::WindowParts { .. } => plan.statements.push((
                Role::Replaced(index),
                format!(
                    "DELETE FROM {target} USING {from} WHERE {}{}",
                    sql::equal(&name, &from, &key),
                    fitting
                        .iter()
                        .map(|fits| format!(" AND {fits}"))
                        .collect::<String>(),
                ),
            )),
        }
        let values: Vec<_> = table
            .columns
            .iter()
            .map(|(column, ty)| match table.is_rejects() {
                true => table.rejected_value(column, self.options.too_long),
                false => ty.load(column),
            })
            .collect();
        plan.statements.push((
            Role::Inserted(index),
            format!(
                "INSERT INTO {target} ({}) SELECT {} FROM {from}{}",
                sql::names(table.columns.iter().map(|(column, _)| column.as_str())),
                values.join(", "),
                only(fitting.as_deref()),
            ),
        ));
    }
}

/// Rows that take the place of those of the same key.
struct Upsert<'a> {
    index: usize,
    table: &'a RedshiftTable,
    /// The table with its schema.
    target: &'a str,
    key: &'a [Compared<'a>],
    order: Vec<Compared<'a>>,
    /// Bounds the search for rows of the same key.
    within: String,
}

impl Upsert<'_> {
    /// Deletes the rows that are replaced, and gives the table with those that replace them.
    fn replace(&self, from: &str, fitting: Option<&str>, plan: &mut LoadPlan) -> String {
        let Upsert {
            index,
            table,
            target,
            key,
            order,
            within,
        } = self;
        let name = sql::name(&table.spec.name);
        let latest = format!("tidegate_latest_{index}");
        let newer = format!(
            "{} AND {}{within}",
            sql::equal("ranked", &name, key),
            sql::greater(&name, "ranked", order)
        );
        let ranked = ranked(table, from, fitting, key, order);
        let row = free_name(table, "tidegate_row");
        // A row of the table that is newer than the staged one stays: only a column that is
        // never null tells that there is none.
        match table.spec.required.first() {
            Some(required) => plan.statements.push((
                Role::Other,
                format!(
                    "CREATE TEMP TABLE {latest} AS SELECT {} FROM {ranked} LEFT JOIN {target} ON {newer} \
                     WHERE ranked.{row} = 1 AND {name}.{} IS NULL",
                    columns_of("ranked", table),
                    sql::name(required),
                ),
            )),
            None => {
                plan.statements.push((
                    Role::Other,
                    format!(
                        "CREATE TEMP TABLE {latest} AS SELECT {} FROM {ranked} WHERE ranked.{row} = 1",
                        columns_of("ranked", table),
                    ),
                ));
                plan.statements.push((
                    Role::Other,
                    format!(
                        "DELETE FROM {latest} USING {target} WHERE {} AND {}{within}",
                        sql::equal(&latest, &name, key),
                        sql::greater(&name, &latest, order),
                    ),
                ));
            }
        }
        plan.statements.push((
            Role::Replaced(*index),
            format!(
                "DELETE FROM {target} USING {latest} WHERE {}{within}",
                sql::equal(&name, &latest, key),
            ),
        ));
        latest
    }
}

/// A condition as the end of a statement.
fn only(condition: Option<&str>) -> String {
    condition.map_or_else(String::new, |condition| format!(" WHERE {condition}"))
}

/// The staged rows as `ranked`, with 1 as the `tidegate_row` of the latest of each key.
fn ranked(
    table: &RedshiftTable,
    from: &str,
    fitting: Option<&str>,
    key: &[Compared<'_>],
    order: &[Compared<'_>],
) -> String {
    let columns = sql::names(table.columns.iter().map(|(column, _)| column.as_str()));
    let row = free_name(table, "tidegate_row");
    format!(
        "(SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY {} ORDER BY {}) AS {row} FROM {from}{}) AS ranked",
        sql::distinct(key),
        sql::descending(order),
        only(fitting),
    )
}

/// The columns of a table, as those of `of`.
fn columns_of(of: &str, table: &RedshiftTable) -> String {
    let columns = table.columns.iter();
    let columns: Vec<_> = columns
        .map(|(column, _)| format!("{of}.{}", sql::name(column)))
        .collect();
    columns.join(", ")
}

/// A name that no column of the table has.
fn free_name(table: &RedshiftTable, name: &str) -> String {
    let mut free = name.to_owned();
    while table.spec.column_type(&free).is_some() {
        free.push('_');
    }
    free
}

/// Bounds the search for rows of the same key by the time that the files say they have.
fn within_reach(target: &str, reach: &Reach, files: &[&SourceFile<'_>]) -> String {
    let ranges = || files.iter().map(|file| file.entry.event_time);
    let (Some(least), Some(greatest)) = (
        ranges().map(|r| r.map_or(i64::MIN, |r| r.0)).min(),
        ranges().map(|r| r.map_or(i64::MAX, |r| r.1)).max(),
    ) else {
        return String::new();
    };
    let within = i64::try_from(reach.within.as_micros()).unwrap_or(i64::MAX);
    format!(
        " AND {target}.{} BETWEEN {} AND {}",
        sql::name(&reach.column),
        sql::instant(least.saturating_sub(within)),
        sql::instant(greatest.saturating_add(within)),
    )
}
