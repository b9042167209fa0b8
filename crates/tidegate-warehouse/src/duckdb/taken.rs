//! What a load takes for each table: its files, and the columns that they have in it.

use duckdb::Connection;

use super::apply::fail;
use super::files::{self, ParquetFiles};
use super::sql;
use crate::load::LoadFault;
use crate::stage::StagedFile;
use crate::table::TableSpec;

/// A table with its columns' SQL types.
#[derive(Debug)]
pub(crate) struct DuckDbTable {
    pub(crate) spec: TableSpec,
    pub(crate) columns: Vec<(String, String)>,
    /// All columns that the table has in the database, in its order.
    pub(crate) stored: Vec<(String, String)>,
}

impl DuckDbTable {
    /// The columns of the database that these files fill: those of the configuration, and of the
    /// others those that any of the files has.
    pub(super) fn filled(&self, source: &ParquetFiles) -> Vec<(String, String)> {
        let beside = source.beside(&self.columns);
        let is_in_files = |column: &str| {
            let mut beside = beside.iter();
            beside.any(|(known, _)| known.eq_ignore_ascii_case(column))
        };
        let more = self.stored.iter().filter(|(column, _)| is_in_files(column));
        self.columns.iter().chain(more).cloned().collect()
    }
}

/// Files of a load that go into one table.
pub(crate) struct TableFiles<'a> {
    /// Place of the table.
    pub(crate) table: usize,
    pub(crate) files: Vec<&'a StagedFile<'a>>,
    pub(crate) source: ParquetFiles,
}

impl<'a> TableFiles<'a> {
    /// Looks into the files; none if none goes into the table.
    pub(crate) fn open(
        connection: &Connection,
        (place, table): (usize, &DuckDbTable),
        staged: &'a [StagedFile<'a>],
    ) -> Result<Option<Self>, LoadFault> {
        let files = staged.iter();
        let files: Vec<_> = files
            .filter(|file| table.spec.takes(&file.entry.dataset))
            .collect();
        if files.is_empty() {
            return Ok(None);
        }
        let list = file_list(&files)?;
        let source = ParquetFiles::open(connection, &list).map_err(fail(format!(
            "look into the files for the table `{}`",
            table.spec.name
        )))?;
        Ok(Some(TableFiles {
            table: place,
            files,
            source,
        }))
    }

    /// Adds columns that the files have and the table lacks: they were taken out of the
    /// configuration before anything with them was loaded.
    ///
    /// # Errors
    /// If the table has such a column with a type that does not hold what the files have.
    pub(crate) fn add_columns(
        &self,
        connection: &Connection,
        table: &mut DuckDbTable,
    ) -> Result<(), LoadFault> {
        let name = &table.spec.name;
        for (column, ty) in self.source.beside(&table.columns) {
            let quoted = (sql::name(name), sql::name(&column));
            let mut stored = table.stored.iter();
            match stored.find(|(known, _)| known.eq_ignore_ascii_case(&column)) {
                Some((_, found)) if sql::holds(found, &ty) => {}
                Some((_, found)) => return Err(self.does_not_hold(table, &column, found, &ty)),
                None => {
                    tracing::info!(
                        table = name,
                        column,
                        r#type = ty,
                        "adding a column that files have and the configuration does not"
                    );
                    let sql = format!("ALTER TABLE {} ADD COLUMN {} {ty}", quoted.0, quoted.1);
                    connection.execute_batch(&sql).map_err(fail(format!(
                        "add the column `{column}` to the table `{name}`"
                    )))?;
                    table.stored.push((column, ty));
                }
            }
        }
        Ok(())
    }

    fn does_not_hold(&self, table: &DuckDbTable, column: &str, found: &str, ty: &str) -> LoadFault {
        let name = &table.spec.name;
        let seqs = self.files.iter().map(|file| file.seq);
        let (first, last) = (seqs.clone().min(), seqs.max());
        LoadFault::Warehouse {
            doing: format!("load the column `{column}` into the table `{name}`"),
            message: format!(
                "it is {found} there, and {ty} in files of records {} to {}, whose configuration had it. Stop the loader, \
                 make room for it, and start again: ALTER TABLE {} RENAME COLUMN {} TO {}",
                first.unwrap_or_default(),
                last.unwrap_or_default(),
                sql::name(name),
                sql::name(column),
                sql::name(&format!("{column}_old")),
            ),
            transient: false,
        }
    }
}

/// Files as a list, which is a literal.
pub(super) fn file_list(files: &[&StagedFile<'_>]) -> Result<String, LoadFault> {
    let one = |file: &&'_ StagedFile<'_>| match file.path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => Err(file.fault("has a path that is not UTF-8")),
    };
    let paths = files.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(files::list(paths.iter().map(String::as_str)))
}
