//! Tables and views: the loader's own, and those that the configuration asks for.

use std::collections::HashMap;
use std::path::Path;

use duckdb::{Connection, OptionalExt, params};

use super::database::{Access, Database, DatabaseError, DuckDbOptions};
use super::{merge, sql};
use crate::ledger::Ledger;
use crate::table::{InItsPlace, TableSpec, WindowView, cannot_make_view, gone, is_new};

/// Version of the loader's own tables. Persisted: to change them, raise it and upgrade older ones.
const FORMAT: i32 = 1;

/// The loader's own tables.
///
/// - `tidegate_job`: one row, whose `loaded_seq` a load moves first of all, so that two loads
///   collide there and nowhere else.
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
    /// A table that loads have filled is not there any more.
    #[error("{}", gone(.table, *.seq))]
    Gone {
        /// The table.
        table: String,
        /// The last record that was loaded.
        seq: u64,
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

/// Makes everything ready in one transaction, and tells where the ledger stands. Leaves out tables
/// of windows that are no more, where somebody has dropped them.
pub(crate) fn prepare(
    connection: &mut Connection,
    job: &str,
    now: i64,
    tables: &mut Vec<TableSpec>,
) -> Result<Ledger, SchemaError> {
    let transaction = connection
        .transaction()
        .map_err(doing("begin a transaction"))?;
    transaction
        .execute_batch(OWN_TABLES)
        .map_err(doing("make the loader's tables"))?;
    found_job(&transaction, job, now)?;
    let ledger = read_ledger(&transaction).map_err(doing("read the ledger"))?;
    let mut left_out = Vec::new();
    for table in tables.iter() {
        if ledger.seq > 0 && stored(&transaction, &table.name)?.is_empty() {
            if table.is_done(ledger.seq) {
                left_out.push(table.name.clone());
                continue;
            }
            let has_view = match table.view() {
                Some(WindowView { view, .. }) => {
                    in_its_place(&transaction, &table.name, view)? == InItsPlace::Window
                }
                None => false,
            };
            is_new(table, has_view, ledger.seq).map_err(|table| SchemaError::Gone {
                table,
                seq: ledger.seq,
            })?;
        }
        prepare_table(&transaction, table)?;
        if let Some(parts) = table.view() {
            let view = parts.view;
            if in_its_place(&transaction, &table.name, view)? == InItsPlace::Other {
                cannot_make_view(view, "another view or a table has its name");
                continue;
            }
            let sql = merge::window_view(job, table, &parts);
            transaction
                .execute_batch(&sql)
                .map_err(doing(format!("make the view `{view}`")))?;
        }
    }
    tables.retain(|table| !left_out.contains(&table.name));
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

    let found: HashMap<String, String> = stored(connection, &table.name)?
        .into_iter()
        .map(|(column, ty)| (column.to_ascii_lowercase(), ty))
        .collect();
    for (column, wanted) in wanted {
        let quoted = sql::name(&column);
        match found.get(&column.to_ascii_lowercase()) {
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
                    sql: way_out(connection, &name, &column, found, &wanted),
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

/// What has the name of a window's view.
fn in_its_place(
    connection: &Connection,
    parts: &str,
    view: &str,
) -> Result<InItsPlace, SchemaError> {
    let definition: Option<String> = connection
        .query_row(
            "SELECT sql FROM duckdb_views() WHERE database_name = current_database() AND \
             schema_name = current_schema() AND lower(view_name) = lower(?)",
            [view],
            |row| row.get(0),
        )
        .optional()
        .map_err(doing(format!("look for the view `{view}`")))?;
    Ok(match definition {
        Some(definition) => InItsPlace::view(&definition, parts),
        None if stored(connection, view)?.is_empty() => InItsPlace::Nothing,
        None => InItsPlace::Other,
    })
}

/// Names and types of all columns that a table has in the database, in its order.
pub(crate) fn stored(
    connection: &Connection,
    table: &str,
) -> Result<Vec<(String, String)>, SchemaError> {
    connection
        .prepare(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() \
             AND schema_name = current_schema() AND lower(table_name) = lower(?) ORDER BY column_index",
        )
        .and_then(|mut statement| {
            statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .map_err(doing(format!("look at the table `{table}`")))
}

/// What an operator would run so that a column can have another type. Where nothing converts, the
/// old column stays under another name. `connection` is to any database.
fn way_out(
    connection: &Connection,
    table: &str,
    column: &str,
    found: &str,
    wanted: &str,
) -> String {
    let is_nested = |ty: &str| ["MAP(", "STRUCT("].iter().any(|kind| ty.starts_with(kind));
    let quoted = sql::name(column);
    if is_nested(found) || is_nested(wanted) || !converts(connection, found, wanted) {
        let old = sql::name(&format!("{column}_old"));
        return format!("ALTER TABLE {table} RENAME COLUMN {quoted} TO {old}");
    }
    format!("ALTER TABLE {table} ALTER COLUMN {quoted} SET DATA TYPE {wanted}")
}

/// Whether DuckDB makes values of one type of those of another. It has no list of that, and refuses
/// only values: so one is tried that the first type has.
fn converts(connection: &Connection, found: &str, wanted: &str) -> bool {
    let sql = format!(
        "SELECT coalesce(bool_or(TRY_CAST(TRY_CAST(value AS {found}) AS {wanted}) IS NOT NULL), false) \
         FROM (VALUES ('1'), ('true'), ('2020-01-01'), ('2020-01-01 10:00:00'), ('10:00:00'), ('[1]')) \
         AS samples(value)"
    );
    // What cannot be planned converts nothing.
    connection
        .query_row(&sql, [], |row| row.get(0))
        .unwrap_or(false)
}

/// A question whose rows are the columns that a database has: [`StoredColumn`], in the order of its
/// members.
pub const STORED_COLUMNS: &str = "SELECT table_name, column_name, data_type FROM \
     information_schema.columns WHERE table_schema = 'main' AND table_catalog NOT IN ('system', 'temp')";

/// A column that a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredColumn {
    /// Name of the table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Its type, as DuckDB writes it.
    pub ty: String,
}

/// Whether the tables of a database file could be those of a job: what opening it for loads would
/// refuse of their columns' types. Reads the file if it is there and nobody has it open, and
/// changes nothing. Where somebody has it open, nothing is compared, and the result says who.
///
/// # Errors
/// The first column that has another type, or that no type is for.
pub fn compare_types(
    path: &Path,
    tables: &[TableSpec],
) -> Result<Option<DatabaseError>, SchemaError> {
    let options = DuckDbOptions::default();
    let connection = Database::open(path, Access::Read, &options, Vec::new())
        .and_then(|database| database.connection());
    let connection = match connection {
        Ok(connection) => connection,
        Err(error @ (DatabaseError::Locked { .. } | DatabaseError::OpenHere { .. })) => {
            return Ok(Some(error));
        }
        // What else is wrong is said by who opens it for loads.
        Err(_) => return Ok(None),
    };
    let column = |row: &duckdb::Row<'_>| {
        Ok(StoredColumn {
            table: row.get(0)?,
            name: row.get(1)?,
            ty: row.get(2)?,
        })
    };
    let stored = connection
        .prepare(STORED_COLUMNS)
        .and_then(|mut statement| statement.query_map([], column)?.collect::<Result<_, _>>());
    let stored: Vec<StoredColumn> = stored.map_err(doing("look at the columns"))?;
    compare_stored(&stored, tables).map(|()| None)
}

/// The same, of columns that somebody has told who has the database open.
///
/// # Errors
/// The first column that has another type, or that no type is for.
pub fn compare_stored(stored: &[StoredColumn], tables: &[TableSpec]) -> Result<(), SchemaError> {
    let types = Connection::open_in_memory().map_err(doing("make a database in memory"))?;
    for table in tables {
        for (column, wanted) in columns(&types, table)? {
            let same = |stored: &&StoredColumn| {
                stored.table.eq_ignore_ascii_case(&table.name)
                    && stored.name.eq_ignore_ascii_case(&column)
            };
            if let Some(found) = stored.iter().find(same)
                && found.ty != wanted
            {
                return Err(SchemaError::Changed {
                    table: table.name.clone(),
                    sql: way_out(&types, &sql::name(&table.name), &column, &found.ty, &wanted),
                    column,
                    found: found.ty.clone(),
                    wanted,
                });
            }
        }
    }
    Ok(())
}
