//! The tables of a job out of its files alone: views over Parquet in a database in memory, for questions about
//! what no warehouse at hand has.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use duckdb::Connection;

use super::database::{Database, DatabaseError, DuckDbOptions};
use super::schema::{self, SchemaError};
use super::sql;
use crate::reader::WarehouseReader;
use crate::table::{TableKind, TableSpec};

/// The files that an archive shows.
#[derive(Debug, Clone, Default)]
pub struct ArchiveFiles {
    /// Where the files of each dataset are, on this machine.
    pub datasets: BTreeMap<String, Vec<PathBuf>>,
    /// The watermark of each lane; none for a lane that has none yet, which holds all windows back.
    pub watermarks: BTreeMap<i32, Option<i64>>,
    /// Folders below which the files are: nothing else can be read.
    pub folders: Vec<PathBuf>,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is no database in memory.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A table cannot be shown.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A path is not UTF-8.
    #[error("the path {} is not UTF-8; move the storage to one that is", .0.display())]
    Path(PathBuf),
}

/// Opens an archive: tables and views have the names that they have in a warehouse, and hold what a warehouse
/// would that these files alone were loaded into. Blocks.
///
/// # Errors
/// If a file cannot be read as Parquet, or does not fit the table.
pub fn open_archive(
    tables: &[TableSpec],
    files: &ArchiveFiles,
    options: &DuckDbOptions,
) -> Result<WarehouseReader, ArchiveError> {
    let database = Database::in_memory(options)?;
    let connection = database.connection()?;
    let run = |what: String, sql: &str| connection.execute_batch(sql).map_err(schema::doing(what));
    for table in tables {
        let text = show(&connection, table, files)?;
        run(format!("show the files of `{}`", table.name), &text)?;
    }
    let lanes = files.watermarks.iter().map(|(lane, watermark)| {
        let watermark = watermark.map_or("NULL".to_owned(), sql::instant);
        format!("INSERT INTO tidegate_watermarks VALUES ('', {lane}, {watermark});")
    });
    let watermarks = format!(
        "CREATE TABLE tidegate_watermarks (job VARCHAR NOT NULL, lane INTEGER NOT NULL, watermark TIMESTAMP);{}",
        lanes.collect::<String>()
    );
    run("note the watermarks".to_owned(), &watermarks)?;
    for table in tables {
        if let TableKind::WindowParts {
            view,
            group_by,
            aggregates,
        } = &table.kind
        {
            let text = schema::window_view("", table, view, group_by, aggregates);
            run(format!("make the view `{view}`"), &text)?;
        }
    }
    let folders = files
        .folders
        .iter()
        .map(|folder| Ok(sql::text(utf8(folder)?)));
    let folders = folders
        .collect::<Result<Vec<_>, ArchiveError>>()?
        .join(", ");
    // From here on nothing can be reached but the files, and nobody can change that.
    let lock = format!(
        "SET GLOBAL allowed_directories = [{folders}]; SET GLOBAL enable_external_access = false; \
         SET GLOBAL lock_configuration = true"
    );
    run("close everything but the files".to_owned(), &lock)?;
    Ok(WarehouseReader::new(database))
}

fn utf8(path: &Path) -> Result<&str, ArchiveError> {
    path.to_str()
        .ok_or_else(|| ArchiveError::Path(path.to_owned()))
}

/// The view over a table's files.
fn show(
    connection: &Connection,
    table: &TableSpec,
    files: &ArchiveFiles,
) -> Result<String, ArchiveError> {
    let columns = schema::columns(connection, table)?;
    let taken = table
        .datasets
        .iter()
        .flat_map(|dataset| files.datasets.get(dataset).into_iter().flatten());
    let paths = taken
        .map(|path| Ok(sql::text(utf8(path)?)))
        .collect::<Result<Vec<_>, ArchiveError>>()?;
    let name = sql::name(&table.name);
    if paths.is_empty() {
        let nothing: Vec<_> = columns
            .iter()
            .map(|(column, ty)| format!("CAST(NULL AS {ty}) AS {}", sql::name(column)))
            .collect();
        return Ok(format!(
            "CREATE VIEW {name} AS SELECT {} WHERE false",
            nothing.join(", ")
        ));
    }
    let source = format!("read_parquet([{}], union_by_name = true)", paths.join(", "));
    let found: HashMap<String, String> = connection
        .prepare(&format!(
            "SELECT lower(column_name), column_type FROM (DESCRIBE SELECT * FROM {source})"
        ))
        .and_then(|mut statement| {
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .map_err(schema::doing(format!(
            "look into the files of `{}`",
            table.name
        )))?;
    let read: Vec<_> = columns
        .iter()
        .map(|(column, ty)| {
            let found = found.get(&column.to_lowercase()).map(String::as_str);
            format!(
                "{} AS {}",
                sql::read_column(column, found, ty),
                sql::name(column)
            )
        })
        .collect();
    let rows = format!("SELECT {} FROM {source}", read.join(", "));
    Ok(match &table.kind {
        TableKind::Append | TableKind::WindowParts { .. } => {
            format!("CREATE VIEW {name} AS {rows}")
        }
        TableKind::Upsert { key, order, .. } => {
            let order: Vec<&str> = order.iter().map(String::as_str).collect();
            let order = sql::descending("rows", &order);
            format!(
                "CREATE VIEW {name} AS SELECT * FROM ({rows}) AS rows QUALIFY row_number() OVER (PARTITION BY {} \
                 ORDER BY {}) = 1",
                sql::names(key.iter().map(String::as_str)),
                order.trim_end_matches(", "),
            )
        }
    })
}
