//! The tables of a Redshift against those of a DuckDB that was loaded from the same input.

use std::fs;
use std::path::Path;

use duckdb::Connection;

use crate::common::Job;
use crate::world::World;

/// A job over the same input, loaded into DuckDB.
pub struct Reference {
    job: Job,
}

impl Reference {
    /// Runs the transactions example over the files in `input`.
    pub fn over(input: &Path) -> Self {
        let job = Job::new("transactions").set("source.path", input.display());
        job.catch_up();
        Reference { job }
    }

    /// The DuckDB that a job has loaded.
    pub fn of(job: Job) -> Self {
        Reference { job }
    }

    /// Compares every table of the schema with the DuckDB's. A payload that no column of Redshift
    /// can hold is left out on both sides.
    #[track_caller]
    pub fn check(&self, world: &World, schema: &str) {
        let connection = Connection::open_in_memory().unwrap();
        let run = |sql: &str| {
            connection
                .execute_batch(sql)
                .unwrap_or_else(|error| panic!("{error}\nin:\n{sql}"));
        };
        run("SET TimeZone = 'UTC'");
        run(&format!(
            "ATTACH '{}' AS expected (READ_ONLY)",
            self.job.path("warehouse.duckdb").display()
        ));
        for table in [
            "transactions",
            "rejected",
            "transactions_1m",
            "transactions_5m",
        ] {
            let columns = columns(&connection, table);
            self.fetch(world, schema, table, &columns, &run);
            let values = |from: &str| {
                let all: Vec<_> = columns
                    .iter()
                    .map(|(name, ty)| comparable(name, ty))
                    .collect();
                let fits = match table {
                    "rejected" => " WHERE strlen(payload) < 65535",
                    _ => "",
                };
                format!("SELECT {} FROM {from}.{table}{fits}", all.join(", "))
            };
            for (left, right, what) in [
                ("expected", "found", "missing"),
                ("found", "expected", "too much"),
            ] {
                let sql = format!("{} EXCEPT ALL {}", values(left), values(right));
                let rows: Vec<String> = connection
                    .prepare(&format!("SELECT r::VARCHAR FROM ({sql}) AS r LIMIT 5"))
                    .unwrap()
                    .query_map([], |row| row.get(0))
                    .unwrap()
                    .map(Result::unwrap)
                    .collect();
                assert!(
                    rows.is_empty(),
                    "table {table} of {schema}, rows that are {what}:\n{rows:#?}"
                );
            }
            run(&format!("DROP TABLE found.{table}"));
        }
    }

    fn fetch(
        &self,
        world: &World,
        schema: &str,
        table: &str,
        columns: &[(String, String)],
        run: &dyn Fn(&str),
    ) {
        let names: Vec<_> = columns
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        let csv = world.csv(&format!(
            "SELECT {} FROM {schema}.{table}",
            names.join(", ")
        ));
        let path = self.job.path(&format!("{schema}-{table}.csv"));
        fs::write(&path, csv).unwrap();
        let types: Vec<_> = columns
            .iter()
            .map(|(name, ty)| format!("'{name}': '{}'", if is_map(ty) { "VARCHAR" } else { ty }))
            .collect();
        let values: Vec<_> = columns
            .iter()
            .map(|(name, ty)| match is_map(ty) {
                true => format!("CAST(CAST(\"{name}\" AS JSON) AS {ty}) AS \"{name}\""),
                false => format!("\"{name}\""),
            })
            .collect();
        run(&format!(
            "CREATE SCHEMA IF NOT EXISTS found; CREATE TABLE found.{table} AS SELECT {} FROM read_csv('{}', \
             header = true, auto_detect = false, quote = '\"', escape = '\"', delim = ',', nullstr = '\\N', \
             max_line_size = 20000000, columns = {{{}}})",
            values.join(", "),
            path.display(),
            types.join(", ")
        ));
    }
}

fn is_map(ty: &str) -> bool {
    ty.starts_with("MAP")
}

fn columns(connection: &Connection, table: &str) -> Vec<(String, String)> {
    connection
        .prepare(&format!(
            "SELECT column_name, column_type FROM (DESCRIBE expected.{table})"
        ))
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// A value as it can be compared: members of a map in order, since JSON has none; sums of floats
/// rounded, since they are added up in another order.
fn comparable(name: &str, ty: &str) -> String {
    match ty {
        _ if is_map(ty) => format!("list_sort(map_entries(\"{name}\"))"),
        "DOUBLE" if name.starts_with("total") || name.starts_with("avg") => {
            format!("round(\"{name}\", 6)")
        }
        _ => format!("\"{name}\""),
    }
}
