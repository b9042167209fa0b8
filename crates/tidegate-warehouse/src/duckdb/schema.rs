//! Tables and views: the loader's own, and those that the configuration asks for.

use std::collections::HashMap;

use duckdb::{Connection, OptionalExt, params};

use super::sql;
use crate::ledger::Ledger;
use crate::table::{TableKind, TableSpec, ViewMerge};

/// Version of the loader's own tables. Persisted: to change them, raise it and upgrade older ones.
const FORMAT: i32 = 1;

/// The loader's own tables.
///
/// - `tidegate_job`: one row, whose `loaded_seq` a load moves first of all, so that two loads collide
///   there and nowhere else.
/// - `tidegate_ledger`: one row for each load.
/// - `tidegate_watermarks`: the watermark of each lane, null for a lane that has none yet.
/// - `tidegate_maintenance`: when what was last done to the database, and how often.
const OWN_TABLES: &str = "
CREATE TABLE IF NOT EXISTS tidegate_job (
    job VARCHAR NOT NULL, format INTEGER NOT NULL, created_at TIMESTAMP NOT NULL,
    loaded_seq UBIGINT NOT NULL, loaded_crc32c UINTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tidegate_ledger (
    job VARCHAR NOT NULL, first_seq UBIGINT NOT NULL, last_seq UBIGINT NOT NULL, files UBIGINT NOT NULL,
    rows UBIGINT NOT NULL, inserted UBIGINT NOT NULL, updates UBIGINT NOT NULL, loaded_at TIMESTAMP NOT NULL,
    PRIMARY KEY (job, first_seq));
CREATE TABLE IF NOT EXISTS tidegate_watermarks (
    job VARCHAR NOT NULL, lane INTEGER NOT NULL, watermark TIMESTAMP, PRIMARY KEY (job, lane));
CREATE TABLE IF NOT EXISTS tidegate_maintenance (
    job VARCHAR NOT NULL, action VARCHAR NOT NULL, done_at TIMESTAMP NOT NULL, times UBIGINT NOT NULL,
    PRIMARY KEY (job, action));
";

/// Why the tables could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The database is another job's.
    #[error(
        "the database belongs to another job: it holds what job {found} has loaded, and this is job {wanted}. \
         Each job needs its own: choose another file, or remove this one to load everything again"
    )]
    OtherJob {
        /// The job that it belongs to.
        found: String,
        /// The job that was to be loaded.
        wanted: String,
    },
    /// The loader's own tables are from a newer program.
    #[error(
        "the database was written by a newer Tidegate (format {found}; this one knows up to {FORMAT}): use that one"
    )]
    Newer {
        /// Version of the format that was found.
        found: i32,
    },
    /// The ledger says something else than the job's row: someone has changed them.
    #[error(
        "the loader's tables in the database contradict each other: tidegate_job says that record {job} is the last \
         that was loaded, tidegate_ledger says {ledger}. They were changed by hand; restore the database from a \
         backup, or remove it to load everything again"
    )]
    Contradiction {
        /// What `tidegate_job` says.
        job: u64,
        /// What `tidegate_ledger` says.
        ledger: u64,
    },
    /// A type that no column can have.
    #[error("table `{table}`: column `{column}` has the type {ty}, which DuckDB has no column for")]
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
        "table `{table}`: column `{column}` is {found} in the database and {wanted} in the configuration. Types are \
         not changed: give the column another name, or convert it yourself with: {sql}"
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
    /// DuckDB refused.
    #[error("cannot {doing}: {}", super::error::message(.source))]
    Sql {
        /// What was being done.
        doing: String,
        /// What DuckDB says.
        source: duckdb::Error,
    },
}

pub(crate) fn doing<E: Into<String>>(what: E) -> impl FnOnce(duckdb::Error) -> SchemaError {
    move |source| SchemaError::Sql {
        doing: what.into(),
        source,
    }
}

/// Makes everything ready in one transaction, and tells where the ledger stands.
pub(crate) fn prepare(
    connection: &mut Connection,
    job: &str,
    now: i64,
    tables: &[TableSpec],
) -> Result<Ledger, SchemaError> {
    let transaction = connection
        .transaction()
        .map_err(doing("begin a transaction"))?;
    transaction
        .execute_batch(OWN_TABLES)
        .map_err(doing("make the loader's tables"))?;
    found_job(&transaction, job, now)?;
    for table in tables {
        prepare_table(&transaction, table)?;
        if let TableKind::WindowParts {
            view,
            group_by,
            aggregates,
        } = &table.kind
        {
            let sql = window_view(job, table, view, group_by, aggregates);
            transaction
                .execute_batch(&sql)
                .map_err(doing(format!("make the view `{view}`")))?;
        }
    }
    let ledger = read_ledger(&transaction).map_err(doing("read the ledger"))?;
    let rows: u64 = transaction
        .query_row(
            "SELECT coalesce(max(last_seq), 0) FROM tidegate_ledger",
            [],
            |row| row.get(0),
        )
        .map_err(doing("read the ledger"))?;
    if rows != ledger.seq {
        return Err(SchemaError::Contradiction {
            job: ledger.seq,
            ledger: rows,
        });
    }
    transaction.commit().map_err(doing("commit the tables"))?;
    Ok(ledger)
}

/// Where the ledger stands.
pub(crate) fn read_ledger(connection: &Connection) -> duckdb::Result<Ledger> {
    connection.query_row(
        "SELECT loaded_seq, loaded_crc32c FROM tidegate_job",
        [],
        |row| {
            Ok(Ledger {
                seq: row.get(0)?,
                crc32c: row.get(1)?,
            })
        },
    )
}

fn found_job(connection: &Connection, job: &str, now: i64) -> Result<(), SchemaError> {
    let owner: Option<(String, i32)> = connection
        .query_row("SELECT job, format FROM tidegate_job", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .map_err(doing("read whose database it is"))?;
    match owner {
        Some((_, format)) if format > FORMAT => Err(SchemaError::Newer { found: format }),
        Some((found, _)) if found != job => Err(SchemaError::OtherJob {
            found,
            wanted: job.to_owned(),
        }),
        Some(_) => Ok(()),
        None => {
            let sql = "INSERT INTO tidegate_job VALUES (?, ?, make_timestamp(?), 0, 0)";
            connection
                .execute(sql, params![job, FORMAT, now])
                .map_err(doing("found the job"))?;
            Ok(())
        }
    }
}

/// Names and SQL types of a table's columns, as DuckDB writes them.
pub(crate) fn columns(
    connection: &Connection,
    table: &TableSpec,
) -> Result<Vec<(String, String)>, SchemaError> {
    let one = |(column, ty): &(String, arrow::datatypes::DataType)| {
        let refused = || SchemaError::Type {
            table: table.name.clone(),
            column: column.clone(),
            ty: ty.to_string(),
        };
        let wanted = sql::sql_type(ty).ok_or_else(refused)?;
        let canonical: String = connection
            .query_row(
                &format!("SELECT typeof(CAST(NULL AS {wanted}))"),
                [],
                |row| row.get(0),
            )
            .map_err(|_| refused())?;
        Ok((column.clone(), canonical))
    };
    table.columns.iter().map(one).collect()
}

fn prepare_table(connection: &Connection, table: &TableSpec) -> Result<(), SchemaError> {
    let wanted = columns(connection, table)?;
    let name = sql::name(&table.name);
    let definitions: Vec<_> = wanted
        .iter()
        .map(|(column, ty)| format!("{} {ty}", sql::name(column)))
        .collect();
    connection
        .execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {name} ({})",
            definitions.join(", ")
        ))
        .map_err(doing(format!("make the table `{}`", table.name)))?;

    let found: HashMap<String, String> = connection
        .prepare(
            "SELECT lower(column_name), data_type FROM duckdb_columns() WHERE database_name = current_database() \
             AND schema_name = current_schema() AND lower(table_name) = lower(?)",
        )
        .and_then(|mut statement| {
            statement.query_map([&table.name], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .map_err(doing(format!("look at the table `{}`", table.name)))?;
    for (column, wanted) in wanted {
        let quoted = sql::name(&column);
        match found.get(&column.to_lowercase()) {
            None => {
                tracing::info!(
                    table = table.name,
                    column,
                    r#type = wanted,
                    "adding a column"
                );
                connection
                    .execute_batch(&format!("ALTER TABLE {name} ADD COLUMN {quoted} {wanted}"))
                    .map_err(doing(format!(
                        "add the column `{column}` to the table `{}`",
                        table.name
                    )))?;
            }
            Some(found) if *found != wanted => {
                return Err(SchemaError::Changed {
                    table: table.name.clone(),
                    sql: format!("ALTER TABLE {name} ALTER COLUMN {quoted} SET DATA TYPE {wanted}"),
                    column,
                    found: found.clone(),
                    wanted,
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The view over the parts of a window: lanes merged, and only windows that every known lane has
/// passed. A lane without a watermark could still have any event, so it holds all windows back.
pub(crate) fn window_view(
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
    let merged: Vec<_> = aggregates
        .iter()
        .map(|(name, merge)| merged(table, name, *merge))
        .collect();
    let comma = if merged.is_empty() { "" } else { ", " };
    format!(
        "CREATE OR REPLACE VIEW {view} AS SELECT {keys}{comma}{merged} FROM {parts} WHERE window_end <= \
         (SELECT CASE WHEN count(*) = count(watermark) THEN min(watermark) END FROM tidegate_watermarks \
         WHERE job = {job}) GROUP BY {keys}",
        view = sql::name(view),
        merged = merged.join(", "),
        parts = sql::name(&table.name),
        job = sql::text(job),
    )
}

fn merged(table: &TableSpec, aggregate: &str, merge: ViewMerge) -> String {
    let column = sql::name(aggregate);
    // `fsum` compensates for rounding, so that the number of lanes does not show in a sum of floats.
    let sum = |column_name: &str| match table.column_type(column_name) {
        Some(ty) if ty.is_floating() => format!("fsum({})", sql::name(column_name)),
        Some(ty) => match sql::sql_type(ty) {
            Some(ty) => format!("CAST(sum({}) AS {ty})", sql::name(column_name)),
            None => format!("sum({})", sql::name(column_name)),
        },
        None => format!("sum({})", sql::name(column_name)),
    };
    let value = match merge {
        ViewMerge::Count | ViewMerge::Sum => sum(aggregate),
        ViewMerge::Min => format!("min({column})"),
        ViewMerge::Max => format!("max({column})"),
        ViewMerge::Avg => {
            let (sums, counts) = (
                sum(&format!("{aggregate}__sum")),
                sum(&format!("{aggregate}__count")),
            );
            format!("CAST({sums} AS DOUBLE) / nullif({counts}, 0)")
        }
    };
    format!("{value} AS {column}")
}
