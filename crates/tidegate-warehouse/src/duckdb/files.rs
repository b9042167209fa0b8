//! Parquet files as a relation: with every option of the reader said, and with names that nothing
//! in the files can hide.
//!
//! Left to itself, DuckDB reads columns out of the folders' names (`year=2026`), and a column of
//! the files that is called like one of its own (`file_row_number`, `rowid`) hides that one. So
//! columns are renamed by their position: after that, no name of a user is in scope.

use duckdb::Connection;

use super::sql;

/// All options of `read_parquet` that say what is read.
///
/// `can_have_nan`: files that older versions wrote have a greatest value that leaves NaN out.
const OPTIONS: &str = "union_by_name = true, hive_partitioning = false, hive_types_autocast = false, \
     filename = false, file_row_number = false, binary_as_string = false, can_have_nan = true";

/// Number of a row: file in the list, row in the file.
pub(crate) const ROW_ID: &str = "((files.file_index::BIGINT << 40) | files.file_row_number)";

/// Files that are read together.
#[derive(Debug)]
pub(crate) struct ParquetFiles {
    /// What stands after FROM; the relation is called `files`.
    pub(crate) from: String,
    /// Name and type of each column, in order.
    columns: Vec<(String, String)>,
}

impl ParquetFiles {
    /// Looks into the files of a list, which is a literal: `['a.parquet', 'b.parquet']`.
    pub(crate) fn open(connection: &Connection, list: &str) -> duckdb::Result<Self> {
        let read = format!("read_parquet({list}, {OPTIONS})");
        let columns: Vec<(String, String)> = connection
            .prepare(&format!(
                "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {read})"
            ))?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<duckdb::Result<_>>()?;
        let places: Vec<_> = (0..columns.len())
            .map(|place| format!("c{place}"))
            .collect();
        Ok(ParquetFiles {
            from: format!("{read} AS files({})", places.join(", ")),
            columns,
        })
    }

    /// The expression that reads a column as `wanted`; null where no file has it.
    pub(crate) fn read(&self, column: &str, wanted: &str) -> String {
        let place =
            |is_it: &dyn Fn(&str) -> bool| self.columns.iter().position(|(name, _)| is_it(name));
        // DuckDB gives the second of two names that differ by case another one.
        let place = place(&|name| name == column)
            .or_else(|| place(&|name| name.eq_ignore_ascii_case(column)));
        match place {
            None => format!("CAST(NULL AS {wanted})"),
            Some(place) => sql::read_as(&format!("files.c{place}"), &self.columns[place].1, wanted),
        }
    }

    /// Columns that the files have beside these, with the types that a table would have them in:
    /// the configuration that the files were written under had them.
    pub(crate) fn beside(&self, known: &[(String, String)]) -> Vec<(String, String)> {
        let is_known = |name: &str| {
            let mut known = known.iter();
            known.any(|(column, _)| column.eq_ignore_ascii_case(name))
        };
        let beside = self.columns.iter().filter(|(name, _)| !is_known(name));
        beside
            .map(|(name, ty)| (name.clone(), sql::table_type(ty)))
            .collect()
    }
}

/// A list of files, as a literal.
pub(crate) fn list<'a>(paths: impl IntoIterator<Item = &'a str>) -> String {
    let paths: Vec<_> = paths.into_iter().map(sql::text).collect();
    format!("[{}]", paths.join(", "))
}
