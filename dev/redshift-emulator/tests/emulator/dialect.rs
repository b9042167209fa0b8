//! What Redshift does otherwise than PostgreSQL, statement by statement.

use serde_json::{Value, json};

use crate::client::Client;

/// Runs each statement, and compares what it brings: rows as `1 a; 2 b`, `ok` where it has none,
/// and for what has to fail `! ` with a piece of the error.
pub(crate) async fn check(statements: &[(&str, &str)]) {
    let Some(client) = Client::start().await else {
        return;
    };
    check_on(&client, statements).await;
}

async fn check_on(client: &Client, statements: &[(&str, &str)]) {
    for (sql, wanted) in statements {
        let described = client.run(sql).await;
        if let Some(piece) = wanted.strip_prefix("! ") {
            assert_eq!(described["Status"], "FAILED", "{sql}: {described:#}");
            let error = described["Error"].as_str().unwrap();
            assert!(error.contains(piece), "{sql}: {error}");
            continue;
        }
        assert_eq!(described["Status"], "FINISHED", "{sql}: {described:#}");
        let found = if described["HasResultSet"] == true {
            let call = json!({"Id": described["Id"]});
            rows(&client.call("GetStatementResult", call).await)
        } else {
            "ok".to_owned()
        };
        assert_eq!(found, *wanted, "{sql}");
    }
}

fn rows(answer: &Value) -> String {
    let rows = crate::client::values(answer);
    let rows = rows.iter().map(|row| {
        let fields: Vec<String> = row
            .iter()
            .map(|field| match field {
                Value::Null => "null".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
            .collect();
        fields.join(" ")
    });
    rows.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn blanks_at_the_end_are_not_seen() {
    check(&[
        ("CREATE TABLE t (a INT, s VARCHAR(10))", "ok"),
        ("INSERT INTO t VALUES (1, 'a'), (1, 'a ')", "ok"),
        ("SELECT COUNT(*) FROM t GROUP BY s", "2"),
        ("SELECT COUNT(*) FROM (SELECT DISTINCT s FROM t)", "1"),
        ("SELECT COUNT(DISTINCT s) FROM t", "1"),
        ("SELECT COUNT(*) FROM t x JOIN t y ON x.s = y.s", "4"),
        ("SELECT COUNT(*) FROM t WHERE s IN ('a  ')", "2"),
        ("SELECT COUNT(*) FROM t WHERE s <> 'a'", "0"),
        ("SELECT COUNT(*) FROM (SELECT s FROM t UNION SELECT s FROM t)", "1"),
        (
            "SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY s ORDER BY a) AS n FROM t) WHERE n = 1",
            "1",
        ),
        ("SELECT DISTINCT OCTET_LENGTH(s) FROM t ORDER BY 1", "1; 2"),
        ("SELECT COUNT(*) FROM t GROUP BY s, OCTET_LENGTH(s)", "1; 1"),
        ("SELECT COUNT(*) FROM t WHERE s LIKE 'a'", "1"),
        // What is no column: literals, functions, concatenations.
        ("SELECT 'a' = 'a '", "true"),
        ("SELECT 'a' < 'a ', 'a' <> 'a ', 'a' >= 'a  ', 'a' IN ('b', 'a ')", "false false true true"),
        ("SELECT COUNT(*) FROM t WHERE UPPER(s) = 'A  '", "2"),
        ("SELECT COUNT(*) FROM t GROUP BY UPPER(s)", "2"),
        ("SELECT COUNT(*) FROM t GROUP BY SUBSTRING(s, 1, 2)", "2"),
        ("SELECT COUNT(*) FROM t GROUP BY COALESCE(s, '')", "2"),
        ("SELECT COUNT(*) FROM t GROUP BY a || s", "1; 1"),
        ("SELECT COUNT(*) FROM t GROUP BY 'x' || s", "2"),
        ("SELECT COUNT(*) FROM t WHERE 'x' || s = 'xa'", "2"),
        ("SELECT COUNT(*) FROM t x JOIN t y ON UPPER(x.s) = 'A' || ' '", "4"),
        ("SELECT CASE s WHEN 'a  ' THEN 1 ELSE 0 END FROM t", "1; 1"),
        // Blanks beyond a width are cut off, and nothing else is.
        ("CREATE TABLE w (s VARCHAR(3))", "ok"),
        ("INSERT INTO w VALUES ('abc    ')", "ok"),
        ("INSERT INTO w VALUES ('abcd')", "! value too long for type character varying(3)"),
        ("SELECT OCTET_LENGTH(s) FROM w", "3"),
    ])
    .await;
}

#[tokio::test]
async fn a_column_is_widened_only_where_nothing_holds_it() {
    check(&[
        (
            "CREATE TABLE t (a INT, s VARCHAR(10), c VARCHAR(4) ENCODE BYTEDICT, f VARCHAR(5) DEFAULT 'x', p VARCHAR(5) PRIMARY KEY)",
            "ok",
        ),
        ("ALTER TABLE t ALTER COLUMN c TYPE VARCHAR(8)", "! encoding BYTEDICT"),
        ("ALTER TABLE t ALTER COLUMN f TYPE VARCHAR(8)", "! default"),
        ("ALTER TABLE t ALTER COLUMN p TYPE VARCHAR(8)", "! primary key"),
        ("ALTER TABLE t ALTER COLUMN s TYPE VARCHAR(10)", "! size should be different"),
        ("ALTER TABLE t ALTER COLUMN a TYPE VARCHAR(10)", "! not supported"),
        ("ALTER TABLE t ALTER COLUMN s TYPE VARCHAR(12)", "ok"),
        ("CREATE VIEW v AS SELECT s FROM t", "ok"),
        ("ALTER TABLE t ALTER COLUMN s TYPE VARCHAR(20)", "! used by a view"),
        ("DROP VIEW v", "ok"),
        ("CREATE VIEW v AS SELECT s FROM public.t WITH NO SCHEMA BINDING", "ok"),
        ("ALTER TABLE t ALTER COLUMN s TYPE VARCHAR(20)", "ok"),
        ("INSERT INTO t (s, p) VALUES ('12345678901234567890', 'k')", "ok"),
        ("SELECT s FROM v", "12345678901234567890"),
    ])
    .await;
}

#[tokio::test]
async fn views_keep_their_columns_unless_they_bind_late() {
    check(&[
        ("CREATE TABLE t (a INT, s VARCHAR(10))", "ok"),
        ("INSERT INTO t VALUES (1, 'x')", "ok"),
        ("CREATE VIEW v AS SELECT a FROM t", "ok"),
        (
            "CREATE OR REPLACE VIEW v AS SELECT a FROM t WHERE a > 0",
            "ok",
        ),
        (
            "CREATE OR REPLACE VIEW v AS SELECT a, s FROM t",
            "! identical set of columns",
        ),
        (
            "CREATE OR REPLACE VIEW v AS SELECT s FROM t",
            "! cannot change name of view column",
        ),
        (
            "CREATE VIEW l AS SELECT a FROM t WITH NO SCHEMA BINDING",
            "! should be qualified",
        ),
        (
            "CREATE VIEW l AS SELECT a FROM public.t WITH NO SCHEMA BINDING",
            "ok",
        ),
        (
            "CREATE OR REPLACE VIEW l AS SELECT s, a FROM public.t WITH NO SCHEMA BINDING",
            "ok",
        ),
        ("SELECT * FROM l", "x 1"),
        (
            "SELECT COUNT(*) FROM svv_columns WHERE table_name = 'l'",
            "0",
        ),
        // The table goes and comes again below it.
        ("DROP TABLE t", "! other objects depend on it"),
        ("DROP VIEW v", "ok"),
        ("DROP TABLE t", "ok"),
        ("SELECT * FROM l", "! \"public.t\" does not exist"),
        ("CREATE TABLE t (s INT, a INT)", "ok"),
        ("INSERT INTO t VALUES (7, 8)", "ok"),
        ("SELECT * FROM l", "7 8"),
        // A statement that names its table, and not the view, asks nothing of those that use it.
        ("CREATE TABLE w__parts (a INT)", "ok"),
        (
            "CREATE VIEW w AS SELECT a FROM public.w__parts WITH NO SCHEMA BINDING",
            "ok",
        ),
        ("CREATE VIEW bi AS SELECT a FROM w", "ok"),
        ("ALTER TABLE w__parts ADD COLUMN b INT", "ok"),
        ("INSERT INTO w__parts VALUES (1, 2)", "ok"),
        ("SELECT * FROM w__parts", "1 2"),
        // Its tables need not be there yet.
        (
            "CREATE VIEW early AS SELECT s FROM public.later WITH NO SCHEMA BINDING",
            "ok",
        ),
        ("SELECT * FROM early", "! \"public.later\" does not exist"),
        ("CREATE TABLE later (s INT)", "ok"),
        ("INSERT INTO later VALUES (3)", "ok"),
        ("SELECT * FROM early", "3"),
        ("DROP VIEW early", "ok"),
    ])
    .await;
}

#[tokio::test]
async fn queries_take_what_redshift_adds() {
    check(&[
        ("CREATE TABLE q (a INT, s VARCHAR(10), n DECIMAL(10,2))", "ok"),
        ("INSERT INTO q VALUES (1, 'x', 1.5), (2, 'y', 2.5), (3, 'x', NULL)", "ok"),
        ("SELECT COUNT(*) FROM (SELECT a FROM q)", "3"),
        ("SELECT * FROM (SELECT a FROM q) WHERE a = 1", "1"),
        ("SELECT x.a FROM (SELECT a FROM q) AS x JOIN (SELECT a FROM q WHERE a > 2) ON true ORDER BY 1", "1; 2; 3"),
        ("SELECT TOP 1 a FROM q ORDER BY a DESC", "3"),
        ("SELECT DISTINCT TOP 1 s FROM q ORDER BY s DESC", "y"),
        ("SELECT TOP 2 a FROM q UNION ALL SELECT 5 ORDER BY 1 DESC", "5; 2; 1"),
        ("SELECT 0 UNION ALL SELECT TOP 1 9 FROM q ORDER BY 1", "0; 9"),
        ("SELECT COUNT(*) FROM (SELECT TOP 2 a FROM q)", "2"),
        ("SELECT a FROM q MINUS SELECT 1 ORDER BY 1", "2; 3"),
        ("SELECT NVL2(n, 1, 0), DECODE(s, 'x', 1, 'y', 2, 0), STRTOL('ff', 16) FROM q ORDER BY a", "1 1 255; 1 2 255; 0 1 255"),
        ("SELECT DECODE(n, NULL, 'none', 'some') FROM q ORDER BY a", "some; some; none"),
        ("SELECT MEDIAN(a), MEDIAN(n) FROM q", "2.0000000000000000 2.0000000000000000"),
        ("SELECT MEDIAN(a) FROM q GROUP BY s ORDER BY 1", "2.0000000000000000; 2.0000000000000000"),
        ("SELECT a, CAST(MEDIAN(n) OVER (PARTITION BY s) AS DECIMAL(4,1)) FROM q ORDER BY a", "1 1.5; 2 2.5; 3 1.5"),
        ("SELECT LISTAGG(a) FROM q WHERE a = 1", "1"),
        ("SELECT LISTAGG(s, ',') WITHIN GROUP (ORDER BY a DESC) FROM q", "x,y,x"),
        ("SELECT LISTAGG(DISTINCT s, ',') WITHIN GROUP (ORDER BY s) FROM q", "x,y"),
        ("SELECT LISTAGG(DISTINCT s, '|') WITHIN GROUP (ORDER BY s DESC) FROM q", "y|x"),
        ("SELECT LISTAGG(a, ',') WITHIN GROUP (ORDER BY a DESC) OVER (PARTITION BY s) FROM q ORDER BY a", "3,1; 2; 3,1"),
        ("SELECT LISTAGG(a, ',') OVER (PARTITION BY s) FROM q WHERE s = 'y'", "2"),
        ("SELECT a, LISTAGG(DISTINCT s, ',') WITHIN GROUP (ORDER BY a DESC) OVER () FROM q ORDER BY a", "1 x,y; 2 x,y; 3 x,y"),
        ("SELECT a, LISTAGG(DISTINCT s) OVER (PARTITION BY s) FROM q ORDER BY a", "1 x; 2 y; 3 x"),
        ("SELECT LISTAGG(DISTINCT v, ',') OVER () FROM (SELECT 'a' AS v UNION ALL SELECT 'a ')", "a; a"),
        ("SELECT LISTAGG(DISTINCT n) OVER () FROM q WHERE a = 3", "null"),
        (
            "SELECT LISTAGG(v, ',') WITHIN GROUP (ORDER BY v) FROM (SELECT 'b' AS v UNION ALL SELECT '' UNION ALL SELECT NULL UNION ALL SELECT 'a')",
            "a,b",
        ),
        ("SELECT APPROXIMATE COUNT(DISTINCT s) FROM q", "2"),
        ("SELECT CONVERT_TIMEZONE('UTC', 'Europe/Berlin', TIMESTAMP '2026-01-01 00:00:00')", "2026-01-01 01:00:00"),
        ("SELECT column_name, encoding FROM svv_redshift_columns WHERE table_name = 'q' AND ordinal_position = 1", "a none"),
        ("SELECT database_name, database_isolation_level FROM svv_redshift_databases", "dev Snapshot Isolation"),
        // Text of an expression is VARCHAR in a table.
        ("CREATE TABLE made AS SELECT s, 'lit' AS l, s || 'x' AS m, a + 1 AS n FROM q", "ok"),
        (
            "SELECT column_name, data_type, character_maximum_length FROM svv_columns WHERE table_name = 'made' ORDER BY ordinal_position",
            "s character varying 10; l character varying 65535; m character varying 65535; n integer null",
        ),
        ("SELECT COUNT(*) FROM made WHERE m = 'xx '", "2"),
        ("CREATE VIEW shown AS SELECT s || 'x' AS m FROM q", "ok"),
        ("SELECT data_type FROM svv_columns WHERE table_name = 'shown'", "character varying"),
    ])
    .await;
}

#[tokio::test]
async fn the_median_of_days_is_a_day() {
    check(&[
        ("CREATE TABLE d (n INT, day DATE, at TIMESTAMPTZ)", "ok"),
        (
            "INSERT INTO d VALUES (1, '2026-01-01', '2026-01-01 00:00:00+00'), (2, '2026-01-04', '2026-01-02 12:00:00+00'), \
             (3, '2026-01-09', '2026-01-09 00:00:00+00'), (4, NULL, NULL), (5, '2026-01-10', NULL)",
            "ok",
        ),
        ("SELECT MEDIAN(day) FROM d WHERE n < 5", "2026-01-04"),
        ("SELECT MEDIAN(day) FROM d", "2026-01-06"),
        ("SELECT n, MEDIAN(day) OVER (PARTITION BY n < 3) FROM d WHERE n < 4 ORDER BY n", "1 2026-01-02; 2 2026-01-02; 3 2026-01-09"),
        ("SELECT MEDIAN(at) = '2026-01-02 12:00:00+00'::TIMESTAMPTZ FROM d", "true"),
        ("SELECT MEDIAN(day) FROM d WHERE n = 4", "null"),
    ])
    .await;
}

#[tokio::test]
async fn show_lists_what_is_there() {
    check(&[
        ("CREATE TABLE q (a INT NOT NULL, s VARCHAR(10))", "ok"),
        ("SHOW DATABASES", "dev 100 local null null Snapshot Isolation"),
        ("SHOW DATABASES LIKE 'x%'", ""),
        ("SHOW DATABASES FROM DATA CATALOG", "! lacks SHOW DATABASES FROM DATA CATALOG"),
        ("SHOW SCHEMAS FROM DATABASE dev LIKE 'pub%'", "dev public 100 local null null null"),
        ("SHOW SCHEMAS FROM DATABASE dev LIMIT 0", ""),
        ("SHOW SCHEMAS FROM DATABASE other", "! \"other\" does not exist"),
        ("SHOW SCHEMAS", "! syntax error"),
        ("SHOW TABLES FROM SCHEMA dev.public", "dev public q TABLE null null"),
        ("SHOW TABLES FROM SCHEMA other.public", "! \"other\" does not exist"),
        ("SHOW TABLES FROM SCHEMA public LIKE 'z%'", ""),
        ("SHOW TABLES FROM SCHEMA public LIKE '%' LIMIT 0", ""),
        ("SHOW TABLES", "! syntax error"),
        (
            "SHOW COLUMNS FROM TABLE dev.public.q",
            "dev public q a 1 null NO integer null 32 0 null; dev public q s 2 null YES character varying 10 null null null",
        ),
        (
            "SHOW COLUMNS FROM TABLE public.q LIKE 's' LIMIT 1",
            "dev public q s 2 null YES character varying 10 null null null",
        ),
        ("SHOW COLUMNS FROM TABLE q", "! syntax error"),
        // What would be in them is not kept.
        ("SHOW TABLE public.q", "! lacks SHOW TABLE"),
        ("SHOW VIEW public.v", "! lacks SHOW VIEW"),
        ("SHOW GRANTS ON TABLE public.q", "! lacks SHOW GRANTS"),
    ])
    .await;
}

#[tokio::test]
async fn qualify_filters_by_windows() {
    check(&[
        ("CREATE TABLE q (a INT, s VARCHAR(10))", "ok"),
        ("CREATE TABLE r (s VARCHAR(10), w INT)", "ok"),
        ("INSERT INTO q VALUES (1, 'x'), (2, 'y'), (3, 'x')", "ok"),
        ("INSERT INTO r VALUES ('x', 10), ('y', 20)", "ok"),
        ("SELECT a, s FROM q AS t QUALIFY ROW_NUMBER() OVER (PARTITION BY s ORDER BY a) = 1 ORDER BY a", "1 x; 2 y"),
        ("SELECT * FROM q t WHERE a > 0 QUALIFY ROW_NUMBER() OVER (PARTITION BY s ORDER BY a DESC) = 1 ORDER BY a DESC", "3 x; 2 y"),
        ("SELECT t.*, 1 AS one FROM q t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1", "1 x 1"),
        (
            "SELECT * FROM q t JOIN r ON t.s = r.s WHERE true QUALIFY ROW_NUMBER() OVER (PARTITION BY t.s ORDER BY a) = 2",
            "3 x x 10",
        ),
        ("SELECT * FROM (SELECT a FROM q) AS t QUALIFY RANK() OVER (ORDER BY a) <= 2 ORDER BY 1", "1; 2"),
        (
            "SELECT s, COUNT(*) AS n FROM q GROUP BY s QUALIFY ROW_NUMBER() OVER (ORDER BY COUNT(*) DESC) = 1",
            "x 2",
        ),
        // A label of the list stands for what it labels.
        ("SELECT a, ROW_NUMBER() OVER (ORDER BY a) AS n FROM q t QUALIFY n BETWEEN 2 AND 3 ORDER BY n DESC LIMIT 1", "3 3"),
        ("SELECT TOP 1 a FROM q t QUALIFY COUNT(*) OVER (PARTITION BY s) = 2 ORDER BY a DESC", "3"),
        ("SELECT DISTINCT s FROM q t QUALIFY COUNT(*) OVER (PARTITION BY s) = 2 ORDER BY s", "x"),
        ("SELECT a FROM q t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1 UNION ALL SELECT 9 ORDER BY 1 DESC", "9; 1"),
        ("SELECT COUNT(*) FROM (SELECT a FROM q t QUALIFY ROW_NUMBER() OVER (ORDER BY a) > 1)", "2"),
        ("CREATE TABLE kept AS SELECT a AS k FROM q t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1", "ok"),
        ("SELECT k FROM kept", "1"),
        // After a table it would be its alias.
        ("SELECT a FROM q QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1", "! syntax error at or near \"ROW_NUMBER\""),
    ])
    .await;
}

#[tokio::test]
async fn what_only_postgresql_takes_is_refused() {
    check(&[
        ("CREATE TABLE q (a INT, s VARCHAR(10))", "ok"),
        (
            "SELECT string_agg(s, ',') FROM q",
            "! function string_agg() does not exist",
        ),
        (
            "SELECT array_agg(s) FROM q",
            "! function array_agg() does not exist",
        ),
        (
            "SELECT to_jsonb(a) FROM q",
            "! function to_jsonb() does not exist",
        ),
        ("SELECT pg_sleep(0)", "! function pg_sleep() does not exist"),
        (
            "SELECT gen_random_uuid()",
            "! function gen_random_uuid() does not exist",
        ),
        (
            "SELECT a FROM q FETCH FIRST 1 ROWS ONLY",
            "! near \"FETCH\"",
        ),
        ("UPDATE q SET (a, s) = (1, 'z')", "! near \"SET\""),
        // On the leader node alone.
        ("SELECT generate_series(1, 2)", "1; 2"),
        ("SELECT COUNT(*) FROM generate_series(1, 2)", "2"),
        (
            "SELECT a, generate_series(1, 2) FROM q",
            "! not supported on Redshift tables",
        ),
        (
            "INSERT INTO q (a) SELECT generate_series(1, 2)",
            "! not supported on Redshift tables",
        ),
        (
            "CREATE TABLE r AS SELECT generate_series(1, 2) AS n",
            "! not supported on Redshift tables",
        ),
        (
            "CREATE TABLE r (a INT DISTKEY) DISTSTYLE EVEN",
            "! DISTSTYLE EVEN",
        ),
        (
            "CREATE TABLE r (a INT) DISTSTYLE ALL DISTKEY (a)",
            "! DISTSTYLE EVEN or ALL",
        ),
        (
            "CREATE TABLE r (a INT) DISTSTYLE KEY",
            "! requires a DISTKEY",
        ),
        ("CREATE TABLE r (a INT SORTKEY) DISTSTYLE EVEN", "ok"),
    ])
    .await;
}

#[tokio::test]
async fn reserved_words_need_quotes() {
    check(&[
        ("CREATE TABLE tag (a INT)", "! syntax error at or near \"tag\""),
        ("CREATE VIEW snapshot AS SELECT 1 AS a", "! near \"snapshot\""),
        ("CREATE TABLE r (a INT, raw INT)", "! near \"raw\""),
        ("CREATE TABLE r (percent INT)", "! near \"percent\""),
        ("CREATE TABLE r (timestamp TIMESTAMP)", "! near \"timestamp\""),
        ("CREATE TABLE r (a INT) SORTKEY (oid)", "! near \"oid\""),
        ("CREATE TABLE r (tag) AS SELECT 1", "! near \"tag\""),
        ("CREATE TABLE r (\"tag\" INT, \"timestamp\" TIMESTAMP, plain INT)", "ok"),
        ("INSERT INTO r VALUES (1, TIMESTAMP '2026-01-01 00:00:00', 2)", "ok"),
        ("INSERT INTO r (tag) VALUES (1)", "! near \"tag\""),
        ("SELECT tag FROM r", "! near \"tag\""),
        ("SELECT timestamp FROM r", "! near \"timestamp\""),
        ("SELECT r.tag, \"tag\", CAST(\"timestamp\" AS TIMESTAMP), \"timestamp\"::timestamp FROM r WHERE false", ""),
        ("SELECT r.tag AS raw FROM r", "1"),
        ("UPDATE r SET tag = 2", "! near \"tag\""),
        ("ALTER TABLE r ADD COLUMN raw INT", "! near \"raw\""),
        ("ALTER TABLE r ADD COLUMN \"raw\" INT", "ok"),
        ("ALTER TABLE r DROP COLUMN raw", "! near \"raw\""),
        ("ALTER TABLE r RENAME COLUMN plain TO wallet", "! near \"wallet\""),
        ("ALTER TABLE r RENAME TO backup", "! near \"backup\""),
        ("ALTER TABLE r RENAME TO kept", "ok"),
    ])
    .await;
}

#[tokio::test]
async fn names_have_127_bytes() {
    let stem = "n".repeat(62);
    let (x, y) = (format!("{stem}_x_first"), format!("{stem}_x_second"));
    let long = "m".repeat(130);
    let cut = "m".repeat(127);
    let Some(client) = Client::start().await else {
        return;
    };
    let statements = [
        (
            format!("CREATE TABLE {x} ({x} INT, {y} VARCHAR(5), \"{long}\" INT)"),
            "ok".to_owned(),
        ),
        (format!("CREATE TABLE \"{y}\" (a INT)"), "ok".to_owned()),
        (
            format!("INSERT INTO public.{x} ({y}, {x}) VALUES ('abc', 1)"),
            "ok".to_owned(),
        ),
        (
            format!("SELECT t.{y}, \"{x}\" FROM {x} AS t"),
            "abc 1".to_owned(),
        ),
        (
            format!(
                "SELECT column_name FROM svv_columns WHERE table_name = '{x}' ORDER BY ordinal_position"
            ),
            format!("{x}; {y}; {cut}"),
        ),
        (
            format!("SELECT table_name FROM svv_tables WHERE table_name = '{y}'"),
            y.clone(),
        ),
        (
            format!("SELECT \"column\" FROM pg_table_def WHERE tablename = '{y}'"),
            "a".to_owned(),
        ),
        (format!("SELECT {long} FROM {x}"), "null".to_owned()),
        (
            format!("ALTER TABLE {x} ADD COLUMN {y} INT"),
            format!("! column \"{y}\" of relation \"{x}\" already exists"),
        ),
        (
            format!("ALTER TABLE {x} ALTER COLUMN {y} TYPE VARCHAR(5)"),
            format!("! cannot alter column \"{y}\""),
        ),
        (
            format!("ALTER TABLE {x} ALTER COLUMN {y} TYPE VARCHAR(9)"),
            "ok".to_owned(),
        ),
        (
            format!("SELECT {stem}_missing_column FROM {x}"),
            format!("! column \"{stem}_missing_column\" does not exist"),
        ),
        (format!("ANALYZE {x} ({y})"), "ok".to_owned()),
        (format!("DROP TABLE {y}"), "ok".to_owned()),
    ];
    let statements: Vec<_> = statements
        .iter()
        .map(|(sql, wanted)| (sql.as_str(), wanted.as_str()))
        .collect();
    check_on(&client, &statements).await;

    let described = client.ok(&format!("SELECT {y} FROM {x}")).await;
    let call = json!({"Id": described["Id"]});
    let answer = client.call("GetStatementResult", call).await;
    assert_eq!(answer["ColumnMetadata"][0]["label"], json!(y));
    let call = json!({"WorkgroupName": "test", "Database": "dev", "Schema": "public", "Table": x});
    let answer = client.call("DescribeTable", call).await;
    assert_eq!(answer["ColumnList"][1]["name"], json!(y));
    let call = json!({"WorkgroupName": "test", "Database": "dev", "TablePattern": "nnn%"});
    let answer = client.call("ListTables", call).await;
    assert_eq!(answer["Tables"][0]["name"], json!(x));
}

#[tokio::test]
async fn paths_lead_into_super() {
    check(&[
        ("CREATE SCHEMA app", "ok"),
        ("CREATE TABLE app.sup (k INT, m SUPER)", "ok"),
        ("INSERT INTO app.sup SELECT 1, JSON_PARSE('{\"x\": \"u\", \"n\": 3, \"l\": [5, {\"y\": 6}]}')", "ok"),
        ("SELECT m.x::VARCHAR FROM app.sup", "u"),
        ("SELECT m.x FROM app.sup", "\"u\""),
        ("SELECT sup.m.x::VARCHAR, app.sup.m.n::INT, app.sup.k FROM app.sup", "u 3 1"),
        ("SELECT t.m.l[0], t.m.l[1].y FROM app.sup AS t", "5 6"),
        ("SELECT m.none, m.x.none FROM app.sup", "null null"),
        ("SELECT k FROM app.sup WHERE m.n::INT = 3 AND CAST(m.x AS VARCHAR) = 'u'", "1"),
        ("SELECT a.b.c FROM app.sup AS a", "! does not exist"),
        // What is a column of a table stays one.
        ("CREATE TABLE app.other (k INT)", "ok"),
        ("INSERT INTO app.other SELECT app.sup.k FROM app.sup", "ok"),
        ("DELETE FROM app.other USING app.sup AS s WHERE app.other.k = s.k AND other.k = 1", "ok"),
        ("UPDATE app.sup SET k = 2 FROM app.other WHERE sup.k = other.k", "ok"),
        ("SELECT x.k FROM (SELECT k FROM app.sup) x, app.other o WHERE o.k = x.k", ""),
        // From what a function brings.
        ("SELECT JSON_PARSE('{\"a\": {\"b\": [1, 2]}}').a.b[1]", "2"),
        ("SELECT JSON_PARSE(JSON_SERIALIZE(s.m)).l[1].y::INT + 1 FROM app.sup AS s", "7"),
        ("SELECT CAST(m AS SUPER).x::VARCHAR FROM app.sup", "u"),
    ])
    .await;
}

#[tokio::test]
async fn arrays_and_objects_are_unnested_in_from() {
    check(&[
        ("CREATE SCHEMA app", "ok"),
        ("CREATE TABLE app.sup (k INT, m SUPER)", "ok"),
        ("INSERT INTO app.sup SELECT 1, JSON_PARSE('{\"x\": \"u\", \"l\": [5, {\"y\": 6, \"z\": [7, 8]}]}')", "ok"),
        ("INSERT INTO app.sup VALUES (2, NULL)", "ok"),
        ("SELECT s.k, e FROM app.sup AS s, s.m.l AS e", "1 5; 1 {\"y\": 6, \"z\": [7, 8]}"),
        ("SELECT e.y, i FROM app.sup s, s.m.l e AT i ORDER BY i", "null 0; 6 1"),
        ("SELECT e.z[1]::INT FROM app.sup, sup.m.l AS e WHERE e.y::INT = 6", "8"),
        ("SELECT s.k, e.y, f FROM app.sup s, s.m.l e, e.z AS f ORDER BY f", "1 6 7; 1 6 8"),
        ("SELECT e FROM (SELECT JSON_PARSE('[[1, 2], [3]]') AS m) AS t, t.m AS a, a AS e", "1; 2; 3"),
        ("SELECT e FROM app.sup s, s.m.l[1].z AS e, app.sup t WHERE t.k = s.k ORDER BY e", "7; 8"),
        ("SELECT n, v FROM app.sup s, UNPIVOT s.m AS v AT n WHERE n = 'x'", "x \"u\""),
        // What is no array has no elements.
        ("SELECT COUNT(*) FROM app.sup s, s.m.x AS e", "0"),
        ("SELECT COUNT(*) FROM app.sup s, UNNEST(s.m.l) AS e", "! does not exist"),
        // A table of the schema stays one, also where another table has its name.
        ("CREATE TABLE app.app (k INT)", "ok"),
        ("SELECT COUNT(*) FROM app.app AS a, app.sup AS s", "0"),
    ])
    .await;
}

/// The SQL block of a section of docs/redshift.md.
fn sql_of_page(section: &str) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redshift.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let (_, block) = section.split_once("```sql\n").unwrap();
    block.split_once("\n```").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_grants_of_the_page_are_taken() {
    let Some(client) = Client::start().await else {
        return;
    };
    // Users and groups are those of the whole server below.
    let own = client.emulator.url().rsplit(':').next().unwrap().to_owned();
    let own = own.trim_end_matches('/');
    let block = sql_of_page("Grants")
        .replace("tidegate-loader", &format!("loader-{own}"))
        .replace("analysts", &format!("analysts_{own}"))
        .replace("DATABASE analytics", "DATABASE dev");
    let lines = block
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut run = 0;
    for statement in text.split(';').map(str::trim).filter(|s| !s.is_empty()) {
        client.ok(statement).await;
        run += 1;
    }
    assert!(run >= 8, "{block}");
    let other = block.replace("DATABASE dev", "DATABASE other");
    let grant = other
        .lines()
        .find(|line| line.contains("DATABASE"))
        .unwrap();
    assert!(
        client
            .error(grant.trim_end_matches(';'))
            .await
            .contains("\"other\" does not exist")
    );
    client.ok("CREATE TABLE finance.t (a INT)").await;
}
