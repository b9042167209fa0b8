//! One table's part of a load: rows from files into the table, within the load's transaction.
//!
//! The files are read twice, the wide columns only once: first key and order alone, to find which
//! rows lose, then all columns, straight into the table. So the memory that a load takes does not
//! depend on how wide the rows are.

use std::collections::BTreeSet;

use duckdb::Connection;

use super::files::{ParquetFiles, ROW_ID};
use super::taken::{DuckDbTable, TableFiles, file_list};
use super::{error, sql};
use crate::load::{LoadFault, TableLoad};
use crate::stage::StagedFile;
use crate::table::{Reach, TableKind};

pub(crate) fn fail<E: Into<String>>(doing: E) -> impl FnOnce(duckdb::Error) -> LoadFault {
    move |source| LoadFault::Warehouse {
        doing: doing.into(),
        message: error::message(&source),
        transient: error::is_transient(&source),
    }
}

/// Columns of a table that rows are found and ordered by. Between the statements of a load they are
/// called by their number, so that no name of a user is in scope.
struct Keyed<'a> {
    /// Those of the key are the first.
    columns: Vec<&'a str>,
    key: Vec<String>,
    order: Vec<String>,
    /// What says when a row happened, and how far apart rows of a key can be.
    reach: Option<(String, &'a Reach)>,
}

impl<'a> Keyed<'a> {
    fn new(key: &[&'a str], order: &[&'a str], reach: Option<&'a Reach>) -> Self {
        let mut columns: Vec<&'a str> = Vec::new();
        let mut named = |column: &'a str| {
            let known = columns
                .iter()
                .position(|other| other.eq_ignore_ascii_case(column));
            let place = known.unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            });
            format!("k{place}")
        };
        // A column that the key names twice is one column.
        let places: BTreeSet<String> = key.iter().copied().map(&mut named).collect();
        let order = order.iter().copied().map(&mut named).collect();
        let reach = reach.map(|reach| (named(&reach.column), reach));
        Keyed {
            columns,
            key: (0..places.len()).map(|place| format!("k{place}")).collect(),
            order,
            reach,
        }
    }

    fn key(&self) -> Vec<&str> {
        self.key.iter().map(String::as_str).collect()
    }

    fn order(&self) -> Vec<&str> {
        self.order.iter().map(String::as_str).collect()
    }
}

/// A table and the files that go into it.
pub(crate) struct Apply<'a> {
    connection: &'a Connection,
    table: &'a DuckDbTable,
    files: &'a [&'a StagedFile<'a>],
    source: &'a ParquetFiles,
}

impl<'a> Apply<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        table: &'a DuckDbTable,
        taken: &'a TableFiles<'a>,
    ) -> Self {
        Apply {
            connection,
            table,
            files: &taken.files,
            source: &taken.source,
        }
    }

    /// Applies the files to the table.
    pub(crate) fn run(&self) -> Result<TableLoad, LoadFault> {
        match &self.table.spec.kind {
            TableKind::Append => {
                let rows = self.insert("")?;
                self.check_rows(rows)?;
                Ok(TableLoad {
                    rows,
                    inserted: rows,
                    ..TableLoad::default()
                })
            }
            TableKind::Upsert { order, reach, .. } => {
                let key = self.table.spec.key().unwrap_or_default();
                let order: Vec<&str> = order.iter().map(String::as_str).collect();
                self.upsert(&Keyed::new(&key, &order, reach.as_ref()))
            }
            TableKind::WindowParts { .. } => {
                let key = self.table.spec.key().unwrap_or_default();
                self.replace_parts(&Keyed::new(&key, &[], None))
            }
        }
    }

    /// All rows replace those of the same key that the table has.
    fn replace_parts(&self, keyed: &Keyed<'_>) -> Result<TableLoad, LoadFault> {
        let rows = self.stage_keys(keyed)?;
        self.check_rows(rows)?;
        let nullable = self.has_null(keyed)?;
        let met = format!(
            "SELECT target.rid FROM {} SEMI JOIN temp.tidegate_stage AS stage ON {}",
            self.target(keyed),
            sql::equal("stage", "target", &keyed.key(), nullable)
        );
        let keys = format!(
            "SELECT DISTINCT {} FROM temp.tidegate_stage",
            keyed.key.join(", ")
        );
        let deleted = self.delete(keyed, &met, &keys, "", nullable)?;
        let inserted = self.insert("")?;
        self.drop_stage("tidegate_stage")?;
        Ok(TableLoad {
            rows,
            inserted: inserted.saturating_sub(deleted),
            ..TableLoad::default()
        })
    }

    /// Rows replace those of the same key: the greatest in the order wins.
    fn upsert(&self, keyed: &Keyed<'_>) -> Result<TableLoad, LoadFault> {
        let rows = self.stage_keys(keyed)?;
        self.check_rows(rows)?;
        let nullable = self.has_null(keyed)?;
        let range = self.range_of_time(keyed)?;
        let overtaken = self.find_overtaken(keyed, nullable)?;
        self.find_met(keyed, range, nullable, overtaken > 0)?;
        let older = self.execute(
            "set aside rows that are older than the table's",
            "INSERT INTO temp.tidegate_losers SELECT DISTINCT tidegate_row FROM temp.tidegate_met WHERE NOT wins",
        )?;
        let within = match (&keyed.reach, range) {
            (Some((_, reach)), Some(range)) => {
                within("tidegate_target", &sql::name(&reach.column), range)
            }
            _ => String::new(),
        };
        let met = "SELECT rid FROM temp.tidegate_met WHERE wins";
        let keys = format!(
            "SELECT DISTINCT {} FROM temp.tidegate_met WHERE wins",
            keyed.key.join(", ")
        );
        let deleted = self.delete(keyed, met, &keys, &within, nullable)?;
        let superseded = overtaken + older;
        let keep = if superseded == 0 {
            String::new()
        } else {
            format!(" ANTI JOIN temp.tidegate_losers AS loser ON {ROW_ID} = loser.tidegate_row")
        };
        let inserted = self.insert(&keep)?;
        if inserted + superseded != rows || deleted > inserted {
            let message = format!(
                "of {rows} rows, {superseded} were to be left out, {inserted} were inserted and {deleted} replaced"
            );
            return Err(LoadFault::Count {
                table: self.table.spec.name.clone(),
                message,
            });
        }
        for stage in ["tidegate_stage", "tidegate_losers", "tidegate_met"] {
            self.drop_stage(stage)?;
        }
        let net = inserted - deleted;
        Ok(TableLoad {
            rows,
            inserted: net,
            updates: rows - net,
            superseded,
            ..TableLoad::default()
        })
    }

    fn drop_stage(&self, stage: &str) -> Result<(), LoadFault> {
        let sql = format!("DROP TABLE temp.{stage}");
        self.execute("remove a temporary table", &sql).map(drop)
    }

    /// Key and order of each row, and where it is.
    fn stage_keys(&self, keyed: &Keyed<'_>) -> Result<u64, LoadFault> {
        let columns: Vec<_> = keyed
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| format!("{} AS k{place}", self.read(column)))
            .collect();
        self.execute(
            "read the keys",
            &format!(
                "CREATE TEMP TABLE tidegate_stage AS SELECT {}, {ROW_ID} AS tidegate_row FROM {}",
                columns.join(", "),
                self.source.from
            ),
        )?;
        self.count("SELECT count(*) FROM temp.tidegate_stage")
    }

    /// The table as a relation `target`: the number of each row, and the columns that it is found
    /// and ordered by. All columns are renamed, because one that is called `rowid` would hide the
    /// number.
    fn target(&self, keyed: &Keyed<'_>) -> String {
        let stored = &self.table.stored;
        let all: Vec<_> = (0..stored.len()).map(|place| format!("t{place}")).collect();
        let wanted: Vec<_> = keyed
            .columns
            .iter()
            .enumerate()
            .map(|(number, column)| {
                let place = stored
                    .iter()
                    .position(|(name, _)| name.eq_ignore_ascii_case(column));
                // A column that is not there is an error of DuckDB's, with its name.
                let from = place.map_or_else(|| sql::name(column), |place| format!("t{place}"));
                format!("{from} AS k{number}")
            })
            .collect();
        format!(
            "(SELECT rowid AS rid, {} FROM {} AS stored({})) AS target",
            wanted.join(", "),
            sql::name(&self.table.spec.name),
            all.join(", ")
        )
    }

    /// Whether a column of the table hides the number that DuckDB gives each row.
    fn hides_rowid(&self) -> bool {
        let mut stored = self.table.stored.iter();
        stored.any(|(name, _)| name.eq_ignore_ascii_case("rowid"))
    }

    /// Deletes rows of the table: by their numbers (`rids`), or where a column hides those, by
    /// their keys (`keys`) and `within`, a condition on `tidegate_target`.
    fn delete(
        &self,
        keyed: &Keyed<'_>,
        rids: &str,
        keys: &str,
        within: &str,
        nullable: bool,
    ) -> Result<u64, LoadFault> {
        let table = sql::name(&self.table.spec.name);
        let sql = if self.hides_rowid() {
            let operator = if nullable {
                "IS NOT DISTINCT FROM"
            } else {
                "="
            };
            let pairs = keyed.key.iter().zip(&keyed.columns);
            let same: Vec<_> = pairs
                .map(|(place, column)| {
                    let column = sql::name(column);
                    format!("tidegate_target.{column} {operator} met.{place}")
                })
                .collect();
            format!(
                "DELETE FROM {table} AS tidegate_target USING ({keys}) AS met WHERE {}{within}",
                same.join(" AND ")
            )
        } else {
            format!("DELETE FROM {table} WHERE rowid IN ({rids})")
        };
        self.execute("delete rows that are replaced", &sql)
    }

    fn has_null(&self, keyed: &Keyed<'_>) -> Result<bool, LoadFault> {
        let any: Vec<_> = keyed
            .key
            .iter()
            .map(|column| format!("{column} IS NULL"))
            .collect();
        let sql = format!(
            "SELECT count(*) FROM temp.tidegate_stage WHERE {}",
            any.join(" OR ")
        );
        Ok(self.count(&sql)? > 0)
    }

    /// Rows that another row of the load overtakes. Only keys that are there twice are sorted.
    fn find_overtaken(&self, keyed: &Keyed<'_>, nullable: bool) -> Result<u64, LoadFault> {
        let key = keyed.key();
        let keys = key.join(", ");
        self.execute(
            "find the latest row of each key",
            &format!(
                "CREATE TEMP TABLE tidegate_losers AS SELECT tidegate_row FROM (SELECT stage.tidegate_row, row_number() OVER \
                 (PARTITION BY {qualified} ORDER BY {order}stage.tidegate_row DESC) AS place FROM temp.tidegate_stage AS stage SEMI JOIN \
                 (SELECT {keys} FROM temp.tidegate_stage GROUP BY {keys} HAVING count(*) > 1) AS twice ON {same}) \
                 WHERE place > 1",
                order = sql::descending("stage", &keyed.order()),
                qualified = sql::qualified("stage", &key),
                same = sql::equal("stage", "twice", &key, nullable),
            ),
        )?;
        self.count("SELECT count(*) FROM temp.tidegate_losers")
    }

    /// Pairs of a row of the load and a row of the table with the same key, and whether the first
    /// one is the later one.
    fn find_met(
        &self,
        keyed: &Keyed<'_>,
        range: Option<(i64, i64)>,
        nullable: bool,
        overtaken: bool,
    ) -> Result<(), LoadFault> {
        let wins = sql::greater("stage", "target", &keyed.order());
        let mut conditions = String::new();
        if overtaken {
            conditions.push_str(
                " AND stage.tidegate_row NOT IN (SELECT tidegate_row FROM temp.tidegate_losers)",
            );
        }
        if let (Some((column, _)), Some(range)) = (&keyed.reach, range) {
            conditions.push_str(&within("target", column, range));
        }
        let key = keyed.key();
        let keys = if self.hides_rowid() {
            format!("{}, ", sql::qualified("stage", &key))
        } else {
            String::new()
        };
        self.execute(
            "find the rows of the same keys",
            &format!(
                "CREATE TEMP TABLE tidegate_met AS SELECT target.rid, {keys}stage.tidegate_row, {wins} AS wins \
                 FROM {target} JOIN temp.tidegate_stage AS stage ON {same}{conditions}",
                target = self.target(keyed),
                same = sql::equal("stage", "target", &key, nullable),
            ),
        )?;
        Ok(())
    }

    /// The times in which rows of the load's keys can be, in microseconds; none where any can be.
    fn range_of_time(&self, keyed: &Keyed<'_>) -> Result<Option<(i64, i64)>, LoadFault> {
        let Some((column, reach)) = &keyed.reach else {
            return Ok(None);
        };
        let sql = format!(
            "SELECT epoch_us(min({column})), epoch_us(max({column})) FROM temp.tidegate_stage"
        );
        let range: (Option<i64>, Option<i64>) = self
            .connection
            .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(fail("find the range of time"))?;
        let (Some(least), Some(greatest)) = range else {
            return Ok(None);
        };
        let within = i64::try_from(reach.within.as_micros()).unwrap_or(i64::MAX);
        Ok(Some((
            least.saturating_sub(within),
            greatest.saturating_add(within),
        )))
    }

    /// Inserts all columns of the rows that `keep` leaves; tells how many.
    fn insert(&self, keep: &str) -> Result<u64, LoadFault> {
        let columns = self.table.filled(self.source);
        let names = sql::names(columns.iter().map(|(column, _)| column.as_str()));
        let values: Vec<_> = columns
            .iter()
            .map(|(column, ty)| self.source.read(column, ty))
            .collect();
        let table = sql::name(&self.table.spec.name);
        self.execute(
            "insert the rows",
            &format!(
                "INSERT INTO {table} ({names}) SELECT {} FROM {}{keep}",
                values.join(", "),
                self.source.from
            ),
        )
    }

    /// The expression that reads a column from the files as the table wants it.
    fn read(&self, column: &str) -> String {
        let wanted = self
            .table
            .columns
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(column));
        let wanted = wanted.map_or("VARCHAR", |(_, ty)| ty.as_str());
        self.source.read(column, wanted)
    }

    /// Compares the rows that were read with those that the log promises, and names the file if
    /// they differ.
    fn check_rows(&self, rows: u64) -> Result<(), LoadFault> {
        let promised: u64 = self.files.iter().map(|file| file.entry.rows).sum();
        if rows == promised {
            return Ok(());
        }
        for file in self.files {
            let sql = format!(
                "SELECT num_rows FROM parquet_file_metadata({})",
                file_list(&[file])?
            );
            let found = self.count(&sql)?;
            if found != file.entry.rows {
                return Err(file.fault(format!("has {found} rows instead of {}", file.entry.rows)));
            }
        }
        let message = format!("{rows} rows were read from files with {promised}");
        Err(LoadFault::Count {
            table: self.table.spec.name.clone(),
            message,
        })
    }

    fn execute(&self, doing: &str, sql: &str) -> Result<u64, LoadFault> {
        let table = &self.table.spec.name;
        let rows = self
            .connection
            .execute(sql, [])
            .map_err(fail(format!("{doing} (table `{table}`)")))?;
        Ok(rows as u64)
    }

    fn count(&self, sql: &str) -> Result<u64, LoadFault> {
        let doing = format!("count rows (table `{}`)", self.table.spec.name);
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(fail(doing))
    }
}

/// A condition on the time of a row; `column` is written as SQL.
fn within(row: &str, column: &str, (from, to): (i64, i64)) -> String {
    format!(
        " AND {row}.{column} BETWEEN {} AND {}",
        sql::instant(from),
        sql::instant(to)
    )
}
