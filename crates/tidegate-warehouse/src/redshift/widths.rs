//! How wide text columns are: widened where they can be, and left where a view keeps them.

use std::collections::{BTreeMap, BTreeSet};

use super::client::DataApiClient;
use super::columns::found_columns;
use super::error::RedshiftError;
use super::options::{Layout, RedshiftOptions, VARCHAR_MAX};
use super::plan::RedshiftTable;
use super::schema::{SchemaError, doing, qualified};
use super::sql;
use crate::table::TableSpec;

/// A table or view: its schema and its name, as the catalog has them.
type Relation = (String, String);

/// Makes a text column wider; a statement of its own, since Redshift refuses it in a transaction.
fn widen(
    client: &DataApiClient,
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

/// As [`widen`]; false, and a warning, if Redshift refuses, which it does where a view uses the
/// column.
pub(super) fn widen_if_possible(
    client: &DataApiClient,
    options: &RedshiftOptions,
    table: &str,
    column: &str,
    bytes: u32,
) -> Result<bool, SchemaError> {
    match widen(client, options, table, column, bytes) {
        Ok(()) => Ok(true),
        Err(SchemaError::Sql { source, .. })
            if matches!(source, RedshiftError::Failed { .. }) && !source.is_transient() =>
        {
            let target = qualified(options, table);
            let column = sql::name(column);
            let views = views_of(client, options, table);
            let advice = what_to_run(&target, &column, views);
            tracing::warn!(
                "Redshift refuses to widen the column {column} of {target} to {bytes} bytes: {source}. Rows with \
                 longer values are rejected, or their values cut, until it is wider. {advice}"
            );
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The statements that let a column be widened which views keep from it.
fn what_to_run(target: &str, column: &str, views: Result<Vec<Relation>, RedshiftError>) -> String {
    let alter = format!("ALTER TABLE {target} ALTER COLUMN {column} TYPE VARCHAR({VARCHAR_MAX});");
    match views {
        Err(error) => format!(
            "Views that use the table are not known ({error}). Drop those that use the column, run `{alter}`, make \
             them again WITH NO SCHEMA BINDING, and start the loader again"
        ),
        Ok(views) if views.is_empty() => format!(
            "No view that can be seen uses the table. When what keeps the column is gone, run `{alter}`, and start \
             the loader again"
        ),
        Ok(views) => {
            let drop = |(schema, view): &Relation| {
                format!("DROP VIEW {}.{}; ", sql::name(schema), sql::name(view))
            };
            let drops: String = views.iter().map(drop).collect();
            format!(
                "Views use the table. Run `{drops}{alter}` in this order; a view that does not use the column can \
                 stay. Make the views again WITH NO SCHEMA BINDING, the last one first, and start the loader again"
            )
        }
    }
}

/// The views that depend on a table, those first that depend on others: in the order in which they
/// can be dropped.
fn views_of(
    client: &DataApiClient,
    options: &RedshiftOptions,
    table: &str,
) -> Result<Vec<Relation>, RedshiftError> {
    let rows = client.query(
        "SELECT DISTINCT relation_schema.nspname, relations.relname, view_schema.nspname, views.relname \
         FROM pg_depend AS used \
         JOIN pg_rewrite AS rules ON rules.oid = used.objid JOIN pg_class AS views ON views.oid = rules.ev_class \
         JOIN pg_namespace AS view_schema ON view_schema.oid = views.relnamespace \
         JOIN pg_class AS relations ON relations.oid = used.refobjid \
         JOIN pg_namespace AS relation_schema ON relation_schema.oid = relations.relnamespace \
         WHERE relations.oid <> views.oid AND view_schema.nspname NOT IN ('pg_catalog', 'information_schema')",
    )?;
    let mut users: BTreeMap<Relation, BTreeSet<Relation>> = BTreeMap::new();
    for row in rows {
        let mut names = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || names.next().unwrap_or_default();
        let (relation, view) = ((next(), next()), (next(), next()));
        users.entry(relation).or_default().insert(view);
    }
    let table = (options.schema.to_lowercase(), table.to_lowercase());
    Ok(dependants_first(&users, &table))
}

/// What depends on a relation, directly or through something else, each after all that depends on
/// it.
fn dependants_first(
    users: &BTreeMap<Relation, BTreeSet<Relation>>,
    of: &Relation,
) -> Vec<Relation> {
    fn visit(
        users: &BTreeMap<Relation, BTreeSet<Relation>>,
        of: &Relation,
        seen: &mut BTreeSet<Relation>,
        order: &mut Vec<Relation>,
    ) {
        for user in users.get(of).into_iter().flatten() {
            if seen.insert(user.clone()) {
                visit(users, user, seen, order);
                order.push(user.clone());
            }
        }
    }
    let mut order = Vec::new();
    visit(users, of, &mut BTreeSet::from([of.clone()]), &mut order);
    order
}

/// Widens text columns that are narrower than the values that are to go in, to the next power of
/// two. Rows that do not fit into those that cannot be widened are rejected or cut from now on.
/// Tells whether anything is different now.
pub(super) fn widen_to_fit(
    client: &DataApiClient,
    options: &RedshiftOptions,
    table: &mut RedshiftTable,
    needed: &BTreeMap<String, u32>,
) -> Result<bool, SchemaError> {
    let is_narrow = |table: &RedshiftTable, column: &str, needed: u32| {
        let bytes = table.widths.get(column);
        bytes.is_some_and(|bytes| *bytes < needed) && !table.stuck.contains(column)
    };
    let too_narrow = |table: &RedshiftTable| {
        let columns = needed
            .iter()
            .filter(|(column, needed)| is_narrow(table, column, **needed));
        columns.map(|(c, n)| (c.clone(), *n)).collect::<Vec<_>>()
    };
    if too_narrow(table).is_empty() {
        return Ok(false);
    }
    // Another loader may have been here, and what it has widened is neither made narrower nor
    // refused.
    look_at_widths(client, options, table)?;
    for (column, needed) in too_narrow(table) {
        let wider = needed.next_power_of_two().min(VARCHAR_MAX);
        if widen_if_possible(client, options, &table.spec.name, &column, wider)? {
            table.widths.insert(column, wider);
            continue;
        }
        look_at_widths(client, options, table)?;
        if is_narrow(table, &column, needed) {
            table.stuck.insert(column);
        }
    }
    table.widths.retain(|_, bytes| *bytes < VARCHAR_MAX);
    Ok(true)
}

/// Takes the widths of a table's narrow columns from the database.
fn look_at_widths(
    client: &DataApiClient,
    options: &RedshiftOptions,
    table: &mut RedshiftTable,
) -> Result<(), SchemaError> {
    let found = found_columns(client, options, &table.spec.name)?;
    for (column, bytes) in &mut table.widths {
        let now = found.get(&column.to_lowercase()).and_then(|it| it.bytes);
        *bytes = now.unwrap_or(*bytes);
    }
    Ok(())
}

/// Bytes of a text column when it is made. A key is as wide as text can be, so that it is never
/// stored other than it was staged.
pub(super) fn width(layout: &Layout, spec: &TableSpec, column: &str) -> u32 {
    let is_key = spec
        .key()
        .is_some_and(|key| key.iter().any(|name| name.eq_ignore_ascii_case(column)));
    match layout.varchar.get(column) {
        Some(bytes) if !is_key => *bytes,
        _ => VARCHAR_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(name: &str) -> Relation {
        ("s".to_owned(), name.to_owned())
    }

    #[test]
    fn views_are_dropped_after_those_that_depend_on_them() {
        let uses = [
            // `a` comes first by its name, and is used by all others.
            ("t", "a"),
            ("a", "b"),
            ("t", "b"),
            ("b", "c"),
            ("a", "c"),
            ("t", "d"),
            // Nothing of this table's.
            ("other", "e"),
        ];
        let mut users: BTreeMap<Relation, BTreeSet<Relation>> = BTreeMap::new();
        for (used, view) in uses {
            users
                .entry(relation(used))
                .or_default()
                .insert(relation(view));
        }
        let order = dependants_first(&users, &relation("t"));
        assert_eq!(order, ["c", "b", "a", "d"].map(relation));
        let advice = what_to_run("\"s\".\"t\"", "\"x\"", Ok(order));
        let statements = "`DROP VIEW \"s\".\"c\"; DROP VIEW \"s\".\"b\"; DROP VIEW \"s\".\"a\"; DROP VIEW \"s\".\"d\"; \
                          ALTER TABLE \"s\".\"t\" ALTER COLUMN \"x\" TYPE VARCHAR(65535);`";
        assert!(advice.contains(statements), "{advice}");
    }
}
