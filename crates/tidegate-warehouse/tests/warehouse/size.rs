//! What DuckDB makes of a statement before it runs it: nothing ends that, so what would take long
//! is refused, and what is let through is planned in time.

use std::time::{Duration, Instant};

use tidegate_warehouse::{
    Loader, LoaderOptions, QueryError, QueryGuard, QueryLimits, WarehouseReader,
};

use crate::job::{Event, Job, ask, events_table};

/// How deep things are put into one another.
const DEEP: usize = 40;
/// Time to plan a statement, on a machine that does other things: usually it is a tenth of that.
const PLANNED: Duration = Duration::from_secs(5);

fn loaded() -> (Job, Loader) {
    let mut job = Job::new();
    job.commit("events", &[Event("a", 1, 0, 0, 1.5)]);
    let mut loader = job.loader(vec![events_table()], LoaderOptions::default());
    loader.tick().unwrap();
    (job, loader)
}

fn nested(template: &str, innermost: &str, depth: usize) -> String {
    (0..depth).fold(innermost.to_owned(), |inner, _| {
        template.replace('@', &inner)
    })
}

/// Whether a statement is let through; if so, it is planned.
#[track_caller]
fn plan(reader: &WarehouseReader, sql: &str) -> bool {
    let began = Instant::now();
    let explain = format!("EXPLAIN {sql}");
    let timeout = Duration::from_secs(60);
    let answer = reader.stream(&explain, usize::MAX, timeout, &mut |_| Ok(true));
    let took = began.elapsed();
    assert!(took < PLANNED, "{took:?}: {sql}: {answer:?}");
    !matches!(answer, Err(QueryError::Refused(_)))
}

/// Deeper and deeper, until it is refused.
#[track_caller]
fn plan_deep(reader: &WarehouseReader, statement: impl Fn(usize) -> String) -> usize {
    let depths = (1..=DEEP).take_while(|depth| plan(reader, &statement(*depth)));
    depths.last().unwrap_or(0)
}

/// Deeper and deeper; once, it can be planned.
#[track_caller]
fn plan_known(reader: &WarehouseReader, statement: impl Fn(usize) -> String) {
    let explain = format!("EXPLAIN {}", statement(1));
    let answer = reader.query(&explain, &QueryLimits::default());
    let is_wrong = explain.contains("no_such_column");
    assert_eq!(answer.is_err(), is_wrong, "{explain}: {:?}", answer.err());
    assert!(plan_deep(reader, statement) > 0, "{explain}");
}

/// Each is put into itself in the place of each of its arguments.
#[test]
fn every_macro_of_this_duckdb_is_planned_in_time_or_refused() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    let macros = "SELECT DISTINCT function_name, len(parameters) FROM duckdb_functions() \
                  WHERE function_type = 'macro' ORDER BY ALL";
    let mut asked = 0;
    for row in ask(&reader, macros).lines() {
        let (name, count) = row.rsplit_once(',').unwrap();
        let count: usize = count.parse().unwrap();
        if count == 0 {
            assert!(
                plan(&reader, &format!("SELECT \"{name}\"() FROM t")),
                "{name}"
            );
        }
        for innermost in ["value", "id", "[value]", "NULL"] {
            for place in 0..count {
                let mut arguments = vec![innermost; count];
                arguments[place] = "@";
                let call = format!("{name}({})", arguments.join(", "));
                let deep = plan_deep(&reader, |depth| {
                    format!("SELECT {} FROM t", nested(&call, innermost, depth))
                });
                assert!(deep > 0, "{call} is refused");
                asked += 1;
            }
        }
    }
    assert!(asked > 500, "{asked}");
}

#[test]
fn expressions_that_duckdb_plans_several_times_are_planned_in_time_or_refused() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    for (template, innermost) in [
        ("(@ BETWEEN false AND true)", "value = 1"),
        ("(@ NOT BETWEEN false AND true)", "value = 1"),
        ("(true BETWEEN @ AND true)", "value = 1"),
        ("((SELECT @) BETWEEN false AND true)", "value = 1"),
        ("CASE @ WHEN 1 THEN 2 WHEN 3 THEN 4 END", "value"),
        ("(@->'a')", "id::JSON"),
        ("(id::JSON->(@)::VARCHAR)", "id"),
        ("(@->>'a')", "id"),
        ("list_transform([1], lambda x: @[1])", "[value]"),
        ("list_transform(@, lambda x: x + 1)", "[value]"),
        ("list_transform(@, x -> x + 1)", "no_such_column"),
        ("list_reduce([1, 2], lambda x, y: x + @)", "value"),
        (
            "list_filter(list_filter([1], lambda x: x > @[1]), lambda x: x > 1)",
            "[value]",
        ),
        ("[x for x in [value] if x = (@)[1]]", "[value]"),
        ("(SELECT value FROM t WHERE value = @)", "value"),
        ("(SELECT max(value) FROM t WHERE value = @)", "value"),
        (
            "(SELECT max(u.value) FROM t u WHERE u.id = t.id AND u.value = @)",
            "1",
        ),
        ("(SELECT sum(value + @) OVER () FROM t LIMIT 1)", "t.value"),
        ("EXISTS (SELECT max(value) FROM t WHERE @)", "t.value = 1"),
        ("EXISTS (SELECT 1 FROM t GROUP BY id HAVING @)", "true"),
        (
            "(value IN (SELECT max(value) FROM t WHERE @))",
            "t.value = 1",
        ),
        ("(SELECT nullif(max(value) + @, 1) FROM t)", "1"),
        ("(SELECT weighted_avg(@, 1) FROM t)", "value"),
        ("(SELECT json_group_array(@) FROM t)", "value"),
        ("(value = ANY([@]))", "value"),
        ("((@, 1) IN ((true, 1), (false, 2)))", "value = 1"),
        ("(@ OR (value = 1 AND id = '2'))", "value = 1"),
        ("coalesce(@, value)", "value"),
    ] {
        plan_known(&reader, |depth| {
            format!("SELECT {} FROM t", nested(template, innermost, depth))
        });
        plan_known(&reader, |depth| {
            let nested = nested(template, innermost, depth);
            format!("SELECT 1 FROM t WHERE ({nested}) IS NULL ORDER BY {nested}")
        });
    }
}

#[test]
fn queries_that_duckdb_plans_several_times_are_planned_in_time_or_refused() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    for template in [
        "(SUMMARIZE FROM @)",
        "(DESCRIBE FROM @)",
        "(FROM (PIVOT @ ON value IN (1, 2) USING count(*) GROUP BY id) q(id, x, y) \
         SELECT id, x AS value)",
        "(SELECT v AS value, 1 AS w FROM (UNPIVOT (SELECT value, 1::DOUBLE AS w FROM @) \
         ON value, w INTO NAME n VALUE v))",
        "(SELECT max(value) AS value FROM @)",
        "(SELECT value FROM @ GROUP BY ALL HAVING count(*) > 0)",
        "(SELECT count(*) AS value FROM @ GROUP BY ROLLUP (value))",
        "(SELECT sum(sum(value)) OVER () AS value FROM @)",
        "(SELECT (SELECT max(value) FROM @) AS value)",
        "(SELECT value FROM t WHERE value = (SELECT max(value) FROM @))",
        "(SELECT value FROM t ORDER BY value LIMIT (SELECT count(*) FROM @))",
        "(SELECT value FROM t r, LATERAL (SELECT max(value) FROM @ q WHERE q.value = r.value))",
        "(SELECT DISTINCT value FROM @)",
        "(SELECT value FROM @ UNION SELECT 1)",
        "(SELECT q.value FROM @ q ASOF JOIN t u ON q.value >= u.value)",
    ] {
        plan_known(&reader, |depth| {
            format!("SELECT * FROM {}", nested(template, "t", depth))
        });
    }
}

#[test]
fn statements_with_many_of_the_same_are_planned_in_time_or_refused() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    for (select, each) in [
        (
            "SELECT value = 1 OR value = 2 OR value = 3 FROM t ORDER BY @",
            "1",
        ),
        (
            "SELECT value = 1 OR value = 2 OR value = 3 FROM t GROUP BY @",
            "1",
        ),
        ("SELECT DISTINCT ON (@) value + 1 + 2 + 3 + 4 FROM t", "1"),
        ("SELECT count(*) FROM @", "information_schema.columns"),
        ("SELECT 1 FROM t WHERE @", "value BETWEEN 1 AND 2"),
    ] {
        let separator = if select.contains("WHERE") {
            " OR "
        } else {
            ", "
        };
        plan_known(&reader, |depth| {
            select.replace('@', &vec![each; depth * 20].join(separator))
        });
    }
}

/// The parser copies, too, and no limit of memory is kept meanwhile: each of these would take
/// gigabytes.
#[test]
fn what_the_parser_would_repeat_too_often_is_refused_at_once() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    let guard = QueryGuard::new(["t".to_owned()], 64 << 10).unwrap();
    let whens: String = (0..50).map(|i| format!(" WHEN {i} THEN {i}")).collect();
    let case = nested(&format!("CASE @{whens} END"), "value", 6);
    let many = |item: &str, count: usize| vec![item; count].join(", ");
    for sql in [
        format!("SELECT {case} FROM t"),
        format!(
            "SELECT {} FROM t WINDOW w AS (PARTITION BY {})",
            many("sum(value) OVER w", 1_000),
            many("value", 2_000)
        ),
        format!(
            "PIVOT (SELECT {} FROM t) ON {}",
            many("value", 2_000),
            many("id", 2_000)
        ),
    ] {
        let began = Instant::now();
        let refused = [
            reader.query(&sql, &QueryLimits::default()).map(|_| ()),
            guard.check(&sql, Duration::from_secs(60)),
        ];
        for answer in refused {
            let text = answer.unwrap_err().to_string();
            assert!(text.contains("too large to be parsed"), "{text}");
        }
        assert!(began.elapsed() < PLANNED, "{:?}", began.elapsed());
    }
}

#[test]
fn a_pivot_computes_nothing_that_is_too_large_to_be_planned() {
    let (_job, loader) = loaded();
    let reader = loader.reader().unwrap();
    let deep = nested("nullif(@, 'x')", "id", DEEP);
    for sql in [
        format!("PIVOT t ON {deep}"),
        format!("PIVOT t ON id USING max({deep})"),
        format!("PIVOT t ON id USING count(*) UNION ALL SELECT {deep} FROM t"),
    ] {
        assert!(!plan(&reader, &sql), "{sql}");
    }
    for sql in [
        "PIVOT t ON id",
        "PIVOT t ON nullif(id, 'x') USING sum(value) AS s, max(value)",
        "PIVOT t ON id USING sum(value) GROUP BY source_partition ORDER BY 1 LIMIT 3",
    ] {
        let answer = reader.stream(sql, 10, Duration::from_secs(60), &mut |_| Ok(true));
        assert!(answer.is_ok(), "{sql}: {:?}", answer.err());
    }
}
