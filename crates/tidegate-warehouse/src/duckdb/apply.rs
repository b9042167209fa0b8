//! One table's part of a load: rows from files into the table, within the load's transaction.
//!
//! The files are read twice, the wide columns only once: first key and order alone, to find which rows
//! lose, then all columns, straight into the table. So the memory that a load takes does not depend on
//! how wide the rows are.

use std::collections::HashMap;

use duckdb::Connection;

use super::{error, sql};
use crate::load::{LoadFault, TableLoad};
use crate::stage::StagedFile;
use crate::table::{Reach, TableKind, TableSpec};

/// Number of a staged row: file in the load, row in the file.
const ROW_ID: &str = "((file_index::BIGINT << 40) | file_row_number)";

pub(crate) fn fail<E: Into<String>>(doing: E) -> impl FnOnce(duckdb::Error) -> LoadFault {
    move |source| LoadFault::Warehouse {
        doing: doing.into(),
        message: error::message(&source),
        transient: error::is_transient(&source),
    }
}

/// A table with its columns' SQL types.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) spec: TableSpec,
    pub(crate) columns: Vec<(String, String)>,
}

/// A table and the files that go into it.
pub(crate) struct Apply<'a> {
    connection: &'a Connection,
    table: &'a Table,
    files: &'a [&'a StagedFile<'a>],
    /// `read_parquet([...])`
    source: String,
    /// Type of each column that the files have, by its name in lower case.
    found: HashMap<String, String>,
}

impl<'a> Apply<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        table: &'a Table,
        files: &'a [&'a StagedFile<'a>],
    ) -> Result<Self, LoadFault> {
        let list = file_list(files)?;
        let source = format!("read_parquet({list}, union_by_name = true)");
        let found = connection
            .prepare(&format!(
                "SELECT lower(column_name), column_type FROM (DESCRIBE SELECT * FROM {source})"
            ))
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .map_err(fail(format!(
                "look into the files for the table `{}`",
                table.spec.name
            )))?;
        Ok(Apply {
            connection,
            table,
            files,
            source,
            found,
        })
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
                let order: Vec<&str> = order.iter().map(String::as_str).collect();
                self.upsert(&order, reach.as_ref())
            }
            TableKind::WindowParts { .. } => self.replace_parts(),
        }
    }

    /// All rows replace those of the same key that the table has.
    fn replace_parts(&self) -> Result<TableLoad, LoadFault> {
        let key = self.table.spec.key().unwrap_or_default();
        let rows = self.stage_keys(&key, &[], None)?;
        self.check_rows(rows)?;
        let nullable = self.has_null(&key)?;
        let target = sql::name(&self.table.spec.name);
        let deleted = self.execute(
            "delete parts that are replaced",
            &format!(
                "DELETE FROM {target} WHERE rowid IN (SELECT target.rowid FROM {target} AS target SEMI JOIN \
                 temp.tidegate_stage AS stage ON {})",
                sql::equal("stage", "target", &key, nullable)
            ),
        )?;
        let inserted = self.insert("")?;
        self.drop_stage("tidegate_stage")?;
        Ok(TableLoad {
            rows,
            inserted: inserted.saturating_sub(deleted),
            ..TableLoad::default()
        })
    }

    /// Rows replace those of the same key: the greatest in `order` wins.
    fn upsert(&self, order: &[&str], reach: Option<&Reach>) -> Result<TableLoad, LoadFault> {
        let key = self.table.spec.key().unwrap_or_default();
        let rows = self.stage_keys(&key, order, reach)?;
        self.check_rows(rows)?;
        let nullable = self.has_null(&key)?;
        let overtaken = self.find_overtaken(&key, order, nullable)?;
        self.find_met(&key, order, reach, nullable, overtaken > 0)?;
        let older = self.execute(
            "set aside rows that are older than the table's",
            "INSERT INTO temp.tidegate_losers SELECT DISTINCT tidegate_row FROM temp.tidegate_met WHERE NOT wins",
        )?;
        let deleted = self.execute(
            "delete rows that are replaced",
            &format!(
                "DELETE FROM {} WHERE rowid IN (SELECT rid FROM temp.tidegate_met WHERE wins)",
                sql::name(&self.table.spec.name)
            ),
        )?;
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
        })
    }

    fn drop_stage(&self, stage: &str) -> Result<(), LoadFault> {
        let sql = format!("DROP TABLE temp.{stage}");
        self.execute("remove a temporary table", &sql).map(drop)
    }

    /// Key and order of each row, and where it is.
    fn stage_keys(
        &self,
        key: &[&str],
        order: &[&str],
        reach: Option<&Reach>,
    ) -> Result<u64, LoadFault> {
        let mut wanted: Vec<&str> = Vec::new();
        for column in key
            .iter()
            .chain(order)
            .copied()
            .chain(reach.map(|reach| reach.column.as_str()))
        {
            if !wanted
                .iter()
                .any(|other| other.eq_ignore_ascii_case(column))
            {
                wanted.push(column);
            }
        }
        let columns: Vec<_> = wanted
            .iter()
            .map(|column| format!("{} AS {}", self.read(column), sql::name(column)))
            .collect();
        self.execute(
            "read the keys",
            &format!(
                "CREATE TEMP TABLE tidegate_stage AS SELECT {}, {ROW_ID} AS tidegate_row FROM {}",
                columns.join(", "),
                self.source
            ),
        )?;
        self.count("SELECT count(*) FROM temp.tidegate_stage")
    }

    fn has_null(&self, key: &[&str]) -> Result<bool, LoadFault> {
        let any: Vec<_> = key
            .iter()
            .map(|column| format!("{} IS NULL", sql::name(column)))
            .collect();
        let sql = format!(
            "SELECT count(*) FROM temp.tidegate_stage WHERE {}",
            any.join(" OR ")
        );
        Ok(self.count(&sql)? > 0)
    }

    /// Rows that another row of the load overtakes. Only keys that are there twice are sorted.
    fn find_overtaken(
        &self,
        key: &[&str],
        order: &[&str],
        nullable: bool,
    ) -> Result<u64, LoadFault> {
        let keys = sql::names(key.iter().copied());
        self.execute(
            "find the latest row of each key",
            &format!(
                "CREATE TEMP TABLE tidegate_losers AS SELECT tidegate_row FROM (SELECT stage.tidegate_row, row_number() OVER \
                 (PARTITION BY {qualified} ORDER BY {order}stage.tidegate_row DESC) AS place FROM temp.tidegate_stage AS stage SEMI JOIN \
                 (SELECT {keys} FROM temp.tidegate_stage GROUP BY {keys} HAVING count(*) > 1) AS twice ON {same}) \
                 WHERE place > 1",
                order = sql::descending("stage", order),
                qualified = sql::qualified("stage", key),
                same = sql::equal("stage", "twice", key, nullable),
            ),
        )?;
        self.count("SELECT count(*) FROM temp.tidegate_losers")
    }

    /// Pairs of a row of the load and a row of the table with the same key, and whether the first one
    /// is the later one.
    fn find_met(
        &self,
        key: &[&str],
        order: &[&str],
        reach: Option<&Reach>,
        nullable: bool,
        overtaken: bool,
    ) -> Result<(), LoadFault> {
        let wins = sql::greater("stage", "target", order);
        let mut conditions = String::new();
        if overtaken {
            conditions.push_str(
                " AND stage.tidegate_row NOT IN (SELECT tidegate_row FROM temp.tidegate_losers)",
            );
        }
        if let Some(reach) = reach {
            conditions.push_str(&self.within_reach(reach)?);
        }
        self.execute(
            "find the rows of the same keys",
            &format!(
                "CREATE TEMP TABLE tidegate_met AS SELECT target.rowid AS rid, stage.tidegate_row, {wins} AS wins \
                 FROM {target} AS target JOIN temp.tidegate_stage AS stage ON {same}{conditions}",
                target = sql::name(&self.table.spec.name),
                same = sql::equal("stage", "target", key, nullable),
            ),
        )?;
        Ok(())
    }

    fn within_reach(&self, reach: &Reach) -> Result<String, LoadFault> {
        let column = sql::name(&reach.column);
        let sql = format!(
            "SELECT epoch_us(min({column})), epoch_us(max({column})) FROM temp.tidegate_stage"
        );
        let range: (Option<i64>, Option<i64>) = self
            .connection
            .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(fail("find the range of time"))?;
        let (Some(least), Some(greatest)) = range else {
            return Ok(String::new());
        };
        let within = i64::try_from(reach.within.as_micros()).unwrap_or(i64::MAX);
        let (from, to) = (
            least.saturating_sub(within),
            greatest.saturating_add(within),
        );
        Ok(format!(
            " AND target.{column} BETWEEN {} AND {}",
            sql::instant(from),
            sql::instant(to)
        ))
    }

    /// Inserts all columns of the rows that `keep` leaves; tells how many.
    fn insert(&self, keep: &str) -> Result<u64, LoadFault> {
        let names = sql::names(self.table.columns.iter().map(|(column, _)| column.as_str()));
        let values: Vec<_> = self
            .table
            .columns
            .iter()
            .map(|(column, _)| self.read(column))
            .collect();
        let table = sql::name(&self.table.spec.name);
        self.execute(
            "insert the rows",
            &format!(
                "INSERT INTO {table} ({names}) SELECT {} FROM {}{keep}",
                values.join(", "),
                self.source
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
        sql::read_column(
            column,
            self.found.get(&column.to_lowercase()).map(String::as_str),
            wanted,
        )
    }

    /// Compares the rows that were read with those that the log promises, and names the file if they
    /// differ.
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

fn file_list(files: &[&StagedFile<'_>]) -> Result<String, LoadFault> {
    let one = |file: &&StagedFile<'_>| match file.path.to_str() {
        Some(path) => Ok(sql::text(path)),
        None => Err(file.fault("has a path that is not UTF-8")),
    };
    Ok(format!(
        "[{}]",
        files
            .iter()
            .map(one)
            .collect::<Result<Vec<_>, _>>()?
            .join(", ")
    ))
}
