use duckdb::Connection;

use super::*;

fn check(sql: &str) -> Result<(), QueryError> {
    QueryGuard::new(["events".to_owned(), "per_minute".to_owned()], 64 << 10)
        .unwrap()
        .check(sql, Duration::from_secs(60))
}

#[test]
fn questions_about_the_tables_are_let_through() {
    for sql in [
        "SELECT count(*) FROM events",
        "select a, sum(b) FROM main.events e JOIN Per_Minute m ON e.a = m.a GROUP BY ALL ORDER BY 2 DESC LIMIT 3",
        "WITH recent AS (SELECT * FROM events WHERE a > 1) SELECT * FROM recent UNION ALL SELECT * FROM events",
        "FROM events SELECT a",
        "SELECT * FROM (VALUES (1), (2)) AS t(x), range(3), unnest([1, 2])",
        "SELECT row_number() OVER (PARTITION BY a ORDER BY b) FROM events QUALIFY true",
        "SELECT table_name FROM information_schema.tables",
        "SELECT 1; ",
        "SELECT (SELECT max(a) FROM events), EXISTS (SELECT 1 FROM per_minute)",
        "WITH a AS (FROM events), b AS (FROM a) SELECT (WITH c AS (FROM b) SELECT count(*) FROM c) FROM a, b",
        "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM r WHERE x < 3) FROM r",
        "WITH a AS (FROM events) FROM a UNION ALL (WITH b AS (FROM a) FROM b)",
        "WITH events AS (FROM events) FROM events",
        "SELECT date_trunc('hour', now()), list_transform([1], lambda x: x + 1), a::DATE, a IN (1, 2), a LIKE 'x%' FROM events",
        "DESCRIBE events",
        "SHOW TABLES",
        "SELECT /* of /* all */ */ count(*) -- rows\nFROM events",
        "SELECT * FROM generate_series(1, 3), main.range(2)",
        "SELECT a LIKE '%x%y%z%', a ILIKE '%x%', a LIKE 'x_%y', a GLOB '*x*' FROM events",
        "SELECT replace(a, b, 'c'), regexp_matches(a, '^x.*y'), a SIMILAR TO 'x+' FROM events",
    ] {
        assert!(check(sql).is_ok(), "{sql}: {:?}", check(sql));
    }
}

#[test]
fn everything_else_is_refused() {
    for sql in [
        "INSERT INTO events VALUES (1)",
        "UPDATE events SET a = 1",
        "DELETE FROM events",
        "DROP TABLE events",
        "CREATE TABLE t AS SELECT 1",
        "COPY events TO '/tmp/x.csv'",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "EXPORT DATABASE '/tmp/x'",
        "ATTACH '/tmp/x.duckdb' AS x",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '1TB'",
        "RESET memory_limit",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "CHECKPOINT",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE events",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_parquet('s3://bucket/x')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM 'x.csv'",
        "SELECT (SELECT content FROM read_text('/etc/passwd'))",
        "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x",
        "WITH x AS MATERIALIZED (FROM glob('*')) FROM x",
        "SELECT * FROM events WHERE a IN (SELECT file FROM glob('/etc/*'))",
        "SELECT * FROM events ORDER BY (SELECT count(*) FROM glob('*'))",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM pragma_database_list()",
        "SELECT getenv('HOME')",
        "SELECT current_setting('home_directory')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('events')",
        "SELECT * FROM other.main.events",
        "SELECT * FROM tidegate_ledger",
        "SELECT nextval('s')",
        "DESCRIBE SELECT * FROM read_text('/etc/passwd')",
        "SUMMARIZE SELECT * FROM glob('*')",
        "PIVOT (SELECT * FROM glob('*')) ON file USING count(*)",
    ] {
        assert!(check(sql).is_err(), "{sql}");
    }
}

#[test]
fn names_of_with_are_refused_where_they_are_not_known() {
    for sql in [
        "SELECT * FROM bait, (WITH bait AS (SELECT 1) FROM bait)",
        "SELECT (WITH bait AS (SELECT 1) SELECT count(*) FROM bait), b.* FROM bait b",
        "WITH a AS (FROM b), b AS (SELECT 1) FROM a",
        "WITH a AS (FROM a) FROM a",
        "WITH RECURSIVE r AS (SELECT * FROM r UNION ALL SELECT 1) FROM r",
        "(WITH a AS (SELECT 1) FROM a) UNION ALL FROM a",
        "WITH a AS (WITH b AS (SELECT 1) FROM b) FROM b",
        "WITH \"x.csv\" AS (SELECT 1) FROM \"x.csv\"",
        "WITH a AS (SELECT 1) FROM main.a",
    ] {
        assert!(check(sql).is_err(), "{sql}");
    }
}

#[test]
fn functions_and_patterns_that_are_not_let_through_are_refused() {
    for sql in [
        "SELECT * FROM information_schema.csv",
        "SELECT sleep_ms(1)",
        "SELECT pg_sleep(1)",
        "SELECT \"SLEEP_MS\"(1)",
        "SELECT random()",
        "SELECT current_query()",
        "SELECT range(3)",
        "SELECT * FROM range(len(generate_series(1, 3)))",
        "SELECT * FROM x.range(3)",
        "SELECT a LIKE '%x_%y' FROM events",
        "SELECT a ILIKE '%x%y' FROM events",
        "SELECT a LIKE a FROM events",
        "SELECT a LIKE '%x%y' ESCAPE '!' FROM events",
        "SELECT a GLOB '*x*y' FROM events",
        "SELECT regexp_matches(a, a) FROM events",
        "SELECT replace(a, 'x', a) FROM events",
        "SELECT a SIMILAR TO a FROM events",
        "SELECT \"~~\"(a, '%x%y%_z') FROM events",
        "SHOW DATABASES",
        "SHOW ALL TABLES",
        "",
    ] {
        assert!(check(sql).is_err(), "{sql}");
    }
}

/// A new version of DuckDB brings new functions: somebody has to look at each of them.
#[test]
fn every_function_of_this_duckdb_has_been_looked_at() {
    let connection = Connection::open_in_memory().unwrap();
    let names = |condition: &str| -> Vec<String> {
        let sql = format!(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE {condition} ORDER BY 1"
        );
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let refused: HashSet<&str> = include_str!("refused.txt").split_whitespace().collect();
    let twice: Vec<_> = ALLOWED.intersection(&refused).collect();
    assert_eq!(twice, Vec::<&&str>::new(), "in both lists");
    // Pragmas are statements. The others are made by the optimizer, or one for each language.
    let known = |name: &String| {
        ALLOWED.contains(name.as_str())
            || refused.contains(name.as_str())
            || ["__internal_", "icu_collate_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    let mut new = names("function_type <> 'pragma'");
    new.retain(|name| !known(name));
    assert_eq!(
        new,
        Vec::<String>::new(),
        "put them into guard/allowed.txt or guard/refused.txt"
    );
    let mut volatile = names("function_type = 'scalar' AND stability = 'VOLATILE'");
    volatile.retain(|name| ALLOWED.contains(name.as_str()));
    assert_eq!(volatile, Vec::<String>::new());
}
