//! The guard against DuckDB itself: what it lets through is run in a database that has more than
//! may be read, and DuckDB's own plan says what it reads.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use duckdb::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_warehouse::{ArchiveFiles, DuckDbOptions, QueryGuard, QueryLimits, open_archive};

use crate::job::much_memory;

/// What is in each bait.
const SECRET: &str = "hunter2";
/// Tables that may be read.
const TABLES: [&str; 2] = ["t", "v"];

/// Makes statements. A seed makes the same ones each time.
struct Maker {
    state: u64,
    /// Names that can stand after FROM: tables, baits, and what WITH may or may not have defined.
    names: Vec<String>,
}

impl Maker {
    fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % n as u64).unwrap()
    }

    fn name(&mut self) -> String {
        let place = self.below(self.names.len());
        self.names[place].clone()
    }

    /// A query; `depth` bounds what is in it.
    fn query(&mut self, depth: usize) -> String {
        let with = match self.below(5) {
            0 | 1 if depth > 0 => self.with(depth - 1),
            _ => String::new(),
        };
        let body = match self.below(8) {
            0 if depth > 0 => format!(
                "({}) {} ({})",
                self.query(depth - 1),
                ["UNION ALL", "EXCEPT", "INTERSECT"][self.below(3)],
                self.query(depth - 1)
            ),
            1 => format!("FROM {}", self.relation(depth)),
            _ => {
                let relation = self.relation(depth);
                let condition = self.condition(depth);
                format!("SELECT * FROM {relation} WHERE {condition}")
            }
        };
        with + &body
    }

    fn with(&mut self, depth: usize) -> String {
        let recursive = if self.below(4) == 0 { "RECURSIVE " } else { "" };
        let count = 1 + self.below(2);
        let parts: Vec<_> = (0..count)
            .map(|_| {
                let name = self.name();
                let materialized = ["", "MATERIALIZED ", "NOT MATERIALIZED "][self.below(3)];
                let query = match self.below(4) {
                    0 => format!("SELECT 'x' AS a UNION ALL (SELECT a FROM {name} LIMIT 1)"),
                    _ => self.query(depth),
                };
                format!("{name} AS {materialized}({query})")
            })
            .collect();
        format!("WITH {recursive}{} ", parts.join(", "))
    }

    fn relation(&mut self, depth: usize) -> String {
        match self.below(9) {
            0 if depth > 0 => format!("({}) AS s", self.query(depth - 1)),
            1 if depth > 0 => format!(
                "{} AS l, LATERAL ({}) AS r",
                self.name(),
                self.query(depth - 1)
            ),
            2 if depth > 0 => format!(
                "{} AS l JOIN ({}) AS r ON true",
                self.name(),
                self.query(depth - 1)
            ),
            3 => format!(
                "{}.{}",
                ["main", "temp", "information_schema", "x"][self.below(4)],
                self.name()
            ),
            4 => [
                "range(2)",
                "glob('*')",
                "read_csv('{bait}')",
                "duckdb_settings()",
                "query_table('bait')",
                "unnest([1])",
            ][self.below(6)]
            .to_owned(),
            5 => "(VALUES ('y')) AS y(a)".to_owned(),
            _ => self.name(),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        match self.below(6) {
            0 if depth > 0 => format!("EXISTS ({})", self.query(depth - 1)),
            1 if depth > 0 => format!(
                "(SELECT count(*) FROM ({}) AS c) >= 0",
                self.query(depth - 1)
            ),
            2 => "random() < 2".to_owned(),
            3 => "length('a') = 1".to_owned(),
            _ => "true".to_owned(),
        }
    }
}

/// What a plan scans, by what DuckDB says of each operator.
fn scanned(plan: &Value, found: &mut BTreeSet<String>) {
    match plan {
        Value::Array(items) => items.iter().for_each(|item| scanned(item, found)),
        Value::Object(members) => {
            let operator = members
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let more = &plan["extra_info"];
            for key in ["Table", "Function", "Filename(s)"] {
                if let Some(text) = more.get(key).and_then(Value::as_str) {
                    found.insert(format!("{key} {text}"));
                }
            }
            if operator.contains("READ_") || operator.contains("PARQUET") {
                found.insert(format!("Operator {operator}"));
            }
            members.values().for_each(|member| scanned(member, found));
        }
        _ => {}
    }
}

#[test]
fn what_the_guard_lets_through_scans_known_tables_only() {
    let folder = TempDir::new().unwrap();
    let bait = folder.path().join("bait.csv").display().to_string();
    std::fs::write(&bait, format!("a\n{SECRET}\n")).unwrap();
    let connection = Connection::open_in_memory().unwrap();
    let tables = format!(
        "CREATE TABLE t (a VARCHAR); INSERT INTO t VALUES ('one'), ('two'); CREATE VIEW v AS SELECT a FROM t; \
         CREATE TABLE bait (a VARCHAR); INSERT INTO bait VALUES ('{SECRET}'); \
         CREATE TABLE tidegate_ledger AS SELECT '{SECRET}' AS a"
    );
    connection.execute_batch(&tables).unwrap();
    let guard = QueryGuard::new(TABLES.map(str::to_owned), 64 << 10).unwrap();
    let names = [
        "t",
        "v",
        "bait",
        "tidegate_ledger",
        "duckdb_tables",
        "sqlite_master",
        "x",
        "y",
    ];
    let mut names: Vec<String> = names.map(str::to_owned).into();
    names.push(format!("\"{bait}\""));
    let (mut passed, mut answered) = (0, 0);
    for seed in tidegate_testkit::seeds(1..2_001, 1..200_001) {
        let mut maker = Maker {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            names: names.clone(),
        };
        let sql = maker.query(3).replace("{bait}", &bait);
        if guard.check(&sql, Duration::from_secs(60)).is_err() {
            continue;
        }
        passed += 1;
        let explain = format!("EXPLAIN (FORMAT json) {sql}");
        let plan: duckdb::Result<String> = connection.query_row(&explain, [], |row| row.get(1));
        // What DuckDB cannot make a plan of reads nothing.
        let Ok(plan) = plan else { continue };
        answered += 1;
        let mut found = BTreeSet::new();
        scanned(&serde_json::from_str(&plan).unwrap(), &mut found);
        let unknown: Vec<_> = found
            .iter()
            .filter(|what| {
                let known = ["Function RANGE", "Function UNNEST", "Function SEQ_SCAN"];
                let is_table = what.strip_prefix("Table ").is_some_and(|table| {
                    let table = table.rsplit('.').next().unwrap_or(table);
                    TABLES.contains(&table)
                });
                // The schema that describes tables is made of these functions.
                let describes =
                    what.starts_with("Function DUCKDB_") && sql.contains("information_schema.");
                !is_table
                    && !describes
                    && !known
                        .contains(&what.to_uppercase().replace("FUNCTION", "Function").as_str())
            })
            .collect();
        assert!(unknown.is_empty(), "seed {seed}: {sql}\nreads {unknown:?}");
        // A recursion may have no end.
        if sql.contains("RECURSIVE") {
            continue;
        }
        let rows = format!("SELECT count(*) FROM ({sql}) AS r WHERE r::VARCHAR LIKE '%{SECRET}%'");
        if let Ok(secrets) = connection.query_row(&rows, [], |row| row.get::<_, i64>(0)) {
            assert_eq!(secrets, 0, "seed {seed}: {sql}");
        }
    }
    assert!(
        passed > 50 && answered > 20,
        "{passed} passed, {answered} had a plan"
    );
}

/// A statement of about so many bytes: what stands first, what is repeated, and what stands last.
fn long(first: &str, repeated: &str, last: &str, bytes: usize) -> String {
    format!("{first}{}{last}", repeated.repeat(bytes / repeated.len()))
}

#[test]
fn a_check_takes_no_longer_than_the_length_of_the_statement_says() {
    let guard = QueryGuard::new(TABLES.map(str::to_owned), 1 << 20).unwrap();
    let check = |sql: &str| {
        let begin = Instant::now();
        // What is refused is refused in time, too.
        let _ = guard.check(sql, Duration::from_secs(60));
        begin.elapsed()
    };
    for (first, repeated, last) in [
        ("SELECT ", "+", "1"),
        ("SELECT ", "- ", "1"),
        ("SELECT ", "-/**/", "1"),
        ("SELECT 1", " @@ ~ ", "1"),
        ("SELECT 1", "=", "1"),
        ("SELECT 1", " + 1", ""),
        ("SELECT 1", " AND 1", ""),
        ("SELECT ", "NOT ", "true"),
        ("SELECT ", "(", "1"),
        ("SELECT ", "[", "1"),
        ("SELECT 1", ", 1", ""),
        ("SELECT 1", "::INTEGER", ""),
        ("SELECT a", ".a", " FROM t"),
        ("SELECT a", "[1]", " FROM t"),
        ("SELECT 'x'", " || 'x'", ""),
        ("SELECT 1", " UNION ALL SELECT 1", ""),
        ("SELECT * FROM t", ", t", ""),
        ("SELECT 1 IN (1", ", 1", ")"),
        ("SELECT CASE", " WHEN true THEN 1", " END"),
        ("SELECT '", "''", "'"),
        ("SELECT \"", "\"\"", "\""),
        ("SELECT ", "'x' ", ""),
        ("SELECT ", "\"x\" ", ""),
        ("SELECT ", "$$x$$ ", ""),
        ("SELECT ", "x ", ""),
        ("SELECT ", "1 ", ""),
        ("SELECT 1 -- ", "x", ""),
        ("SELECT 1", " -- x\n", ""),
        ("SELECT 1", ";", ""),
        ("SELECT ", "é", ""),
    ] {
        let sizes = [16, 32, 64].map(|kib| long(first, repeated, last, kib << 10));
        let times = sizes.each_ref().map(|sql| check(sql));
        assert!(
            times[2] < Duration::from_secs(4),
            "{first}{repeated}{last}: {times:?}"
        );
        // Where it takes long enough to be told from what else goes on.
        if times[2] > Duration::from_millis(500) {
            let often = times[2].as_secs_f64() / times[1].as_secs_f64();
            assert!(often < 5.0, "{first}{repeated}{last}: {times:?}");
        }
    }
}

/// An argument of a type that makes a function work hard; none where there is no such type here.
fn large(parameter: &str) -> Option<&'static str> {
    let argument = match parameter {
        "VARCHAR" | "VARCHAR COLLATE" => "(SELECT string_agg('x', '') FROM range(200000))",
        "BLOB" => "(SELECT string_agg('x', '') FROM range(200000))::BLOB",
        "BIT" => "(SELECT string_agg('1', '') FROM range(200000))::BIT",
        "JSON" => "(SELECT list(range) FROM range(200000))::JSON",
        "DOUBLE" | "FLOAT" => "3e8",
        "DATE" => "DATE '2024-01-01'",
        "INTERVAL" => "INTERVAL 1 SECOND",
        "BOOLEAN" => "true",
        "LAMBDA" => "lambda x: x",
        "VARCHAR[]" => "(SELECT list(range::VARCHAR) FROM range(200000))",
        "DOUBLE[]" | "FLOAT[]" => "(SELECT list(range::DOUBLE) FROM range(200000))",
        "ANY" | "T" | "DECIMAL" => "300000000",
        other if other.ends_with("INT") || other.ends_with("INTEGER") => "300000000",
        other if other.starts_with("TIMESTAMP") => "TIMESTAMP '2024-01-01'",
        other if other.ends_with("[]") => "(SELECT list(range) FROM range(200000))",
        _ => return None,
    };
    Some(argument)
}

/// Bytes of this process, the most since the last time that this was asked.
fn memory_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().split(' ').next().unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    kib.parse::<u64>().unwrap() << 10
}

#[test]
fn functions_that_are_let_through_are_bounded_in_memory_and_time() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    const MEMORY: u64 = 1 << 30;
    let _alone = much_memory();
    let guard = QueryGuard::new(TABLES.map(str::to_owned), 64 << 10).unwrap();
    let options = DuckDbOptions {
        memory_limit_bytes: Some(256 << 20),
        threads: Some(2),
    };
    let reader = open_archive(
        &[],
        &ArchiveFiles::default(),
        &options,
        Duration::from_secs(60),
    )
    .unwrap();
    let connection = Connection::open_in_memory().unwrap();
    let functions = "SELECT DISTINCT function_name, array_to_string(parameter_types, '|'), coalesce(varargs, '') \
         FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate') ORDER BY ALL";
    let mut statement = connection.prepare(functions).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut asked = 0;
    while let Some(row) = rows.next().unwrap() {
        let name: String = row.get(0).unwrap();
        let (types, more): (String, String) = (row.get(1).unwrap(), row.get(2).unwrap());
        let types = types.split('|').filter(|name| !name.is_empty());
        let more = [more.as_str(), more.as_str()];
        let types = types.chain(more.into_iter().filter(|name| !name.is_empty()));
        let Some(arguments) = types.map(large).collect::<Option<Vec<_>>>() else {
            continue;
        };
        let sql = format!("SELECT \"{name}\"({}) IS NULL", arguments.join(", "));
        if guard.check(&sql, TIMEOUT).is_err() {
            continue;
        }
        let (before, begin) = (memory_max(), Instant::now());
        let limits = QueryLimits {
            timeout: TIMEOUT,
            ..QueryLimits::default()
        };
        // Many want other arguments, which is an answer like another.
        let answer = reader.query(&sql, &limits);
        let (took, more) = (begin.elapsed(), memory_max().saturating_sub(before));
        asked += 1;
        assert!(
            took < TIMEOUT + Duration::from_secs(2),
            "{sql}: {took:?} {answer:?}"
        );
        assert!(more < MEMORY, "{sql}: {} MiB", more >> 20);
    }
    assert!(asked > 300, "{asked}");
}
