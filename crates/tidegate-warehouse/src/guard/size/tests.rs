//! Which questions are too large or too long, and which are not.

use std::time::{Duration, Instant};

use crate::guard::QueryGuard;
use crate::reader::QueryError;

fn check(sql: &str) -> Result<(), QueryError> {
    QueryGuard::new(["events".to_owned(), "per_minute".to_owned()], 64 << 10)
        .unwrap()
        .check(sql, Duration::from_secs(60))
}

fn chain(links: usize, first: &str, link: impl Fn(usize) -> String) -> String {
    let names = (0..links).map(|i| format!(", a{} AS ({})", i + 1, link(i)));
    let names: String = names.collect();
    format!("WITH a0 AS ({first}){names} FROM a{links}")
}

fn list(count: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(separator)
}

/// Each of these takes DuckDB seconds, hours or the whole stack to plan.
#[test]
fn a_question_that_becomes_large_when_it_is_planned_is_refused_at_once() {
    let grouped = "SELECT x, count(*) AS c FROM a@ GROUP BY x HAVING count(*) > 0 ORDER BY x";
    let doubled = "SELECT {'a': x, 'b': x} AS x FROM a@";
    let each = |link: &'static str| move |i: usize| link.replace('@', &i.to_string());
    let join = |i: usize| format!("JOIN events e{i} ON e{i}.a = e0.a");
    for sql in [
        chain(400, "SELECT 1", each("FROM a@")),
        chain(
            254,
            "SELECT 1 AS x",
            each("SELECT x FROM a@ WHERE x IN (SELECT x FROM a0)"),
        ),
        chain(909, "SELECT 1", each("FROM a@")).replace("AS (", "AS MATERIALIZED ("),
        format!(
            "SELECT 1 AS a0, {}",
            list(200, ", ", |i| format!("a{i} + 1 AS a{}", i + 1))
        ),
        format!(
            "SELECT 1 AS a0, {}",
            list(14, ", ", |i| format!("a{i} + a{i} AS a{}", i + 1))
        ),
        chain(30, "SELECT a AS x FROM events", each(grouped)),
        chain(
            30,
            "SELECT a AS x FROM events",
            each("SELECT max(x) AS x FROM a@"),
        ),
        chain(16, "SELECT 1 AS x", each(doubled)),
        chain(16, "SELECT 1 AS x", each("SELECT a@ AS x, a@ AS y FROM a@")),
        chain(16, "SELECT 1 AS x", each("SELECT *, * FROM a@")),
        chain(40, "SELECT 1 AS x", each("SELECT l.x FROM a@ l, a@ r")),
        format!(
            "SELECT count(*) FROM events e0 {}",
            list(100, " ", |i| join(i + 1))
        ),
        format!(
            "SELECT 1 FROM events WHERE {}",
            list(1_000, " OR ", |i| format!("(a = {i} AND b = {i})"))
        ),
        format!(
            "SELECT 1 FROM {} WHERE {}",
            list(30, ", ", |i| format!("events e{i}")),
            list(435, " AND ", |i| format!(
                "e{}.c{i} = e{}.d{i}",
                i % 30,
                i % 29
            ))
        ),
    ] {
        let began = Instant::now();
        let error = check(&sql).unwrap_err();
        assert!(matches!(error, QueryError::Refused(_)), "{sql}: {error}");
        assert!(began.elapsed() < Duration::from_secs(5), "{sql}");
    }
}

#[test]
fn a_question_of_the_size_that_people_ask_is_let_through() {
    let grouped = "SELECT x, count(*) AS n, sum(x) AS s FROM a@ WHERE x > 1 GROUP BY x ORDER BY n";
    let columns = list(20, ", ", |i| format!("coalesce(c{i}, 0) + 1 AS c{i}"));
    let joins = |count| list(count, " ", |i| format!("JOIN events e{i} ON e{i}.a = e.a"));
    let either = |count| list(count, " OR ", |i| format!("(a = {i} AND b = {i})"));
    let in_list = list(1_000, ", ", |i| i.to_string());
    let pairs = list(500, ", ", |i| format!("({i}, {i})"));
    for sql in [
        chain(10, "SELECT a AS x FROM events", |i| {
            grouped.replace('@', &i.to_string())
        }),
        chain(10, "FROM events", |i| format!("SELECT {columns} FROM a{i}")),
        format!(
            "SELECT {columns} FROM events e {} WHERE e.a IN ({in_list})",
            joins(8)
        ),
        format!(
            "SELECT count(*), e.a FROM events e {} GROUP BY 2",
            joins(50)
        ),
        format!("SELECT {columns} FROM events e {}", joins(50)),
        format!(
            "SELECT * FROM events {}",
            list(50, " ", |i| format!("LEFT JOIN per_minute w{i} USING (a)"))
        ),
        format!(
            "SELECT e.a, f.b FROM events e {}",
            list(30, " ", |i| format!(
                "JOIN per_minute w{i} USING (window_start, status)"
            ))
        ),
        format!("SELECT count(*) FROM events WHERE {}", either(500)),
        format!(
            "SELECT b, count(*) FROM events WHERE {} GROUP BY b",
            list(500, " OR ", |i| format!(
                "a = {i} OR b LIKE 'x{i}%' OR c < {i}"
            ))
        ),
        format!("SELECT count(*) FROM events WHERE (a, b) IN ({pairs}) AND a IN ({in_list})"),
        "SELECT a + b AS total, total / 2 AS half, half * 100 AS percent FROM events \
         WHERE total > 1 GROUP BY ALL HAVING percent > 3 ORDER BY half"
            .to_owned(),
    ] {
        assert!(check(&sql).is_ok(), "{sql}: {:?}", check(&sql));
    }
}

#[test]
fn a_long_statement_is_refused_before_it_is_parsed() {
    let sql = format!("SELECT {}1", "/**/".repeat(20_000));
    let error = check(&sql).unwrap_err().to_string();
    assert!(error.contains("http.limits.sql"), "{error}");
}

/// DuckDB's lexer takes 20 s and more for this one; ours has taken the comments away.
#[test]
fn many_comments_cost_no_more_than_their_length() {
    let began = Instant::now();
    for comments in [
        "/**/".repeat(16_000),
        format!("{}{}", "/*".repeat(16_000), "*/".repeat(16_000)),
    ] {
        let sql = format!("SELECT {comments}1");
        assert!(check(&sql).is_ok());
    }
    assert!(check(&format!("SELECT {}", "/*".repeat(32_000))).is_err());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}
