//! The dialect: what Redshift takes is translated, what it refuses is refused.

use serde_json::{Value, json};

use crate::client::Client;

#[tokio::test]
async fn tables_take_what_redshift_adds() {
    let Some(client) = Client::start().await else {
        return;
    };
    for sql in [
        "CREATE SCHEMA IF NOT EXISTS app",
        "CREATE TABLE IF NOT EXISTS app.a (id BIGINT NOT NULL ENCODE az64 DISTKEY SORTKEY, s VARCHAR(MAX) ENCODE zstd, n NVARCHAR(20), \
         x TEXT, c CHAR(3) DEFAULT 'abc', m DECIMAL(38,10), b BOOLEAN DEFAULT true, at TIMESTAMPTZ DEFAULT GETDATE(), extra SUPER, \
         \"raw\" VARBYTE(100), PRIMARY KEY (id), UNIQUE (s)) BACKUP NO DISTSTYLE KEY DISTKEY (id) COMPOUND SORTKEY (id, at)",
        "CREATE TABLE b (id BIGINT PRIMARY KEY, a_id BIGINT REFERENCES app.a (id), at TIMESTAMP) DISTSTYLE AUTO SORTKEY AUTO ENCODE AUTO",
        "CREATE TABLE c (id BIGINT IDENTITY(1, 1), FOREIGN KEY (id) REFERENCES b (id)) INTERLEAVED SORTKEY (id)",
        "CREATE TEMP TABLE d (LIKE app.a INCLUDING DEFAULTS)",
        "CREATE TABLE e (LIKE app.a)",
        "CREATE TABLE f DISTSTYLE ALL SORTKEY (id) AS SELECT id, at FROM b",
        "CREATE MATERIALIZED VIEW g BACKUP NO DISTKEY (id) AUTO REFRESH YES AS SELECT id, count(*) AS n FROM b GROUP BY id",
        "REFRESH MATERIALIZED VIEW g",
        "CREATE OR REPLACE VIEW h AS SELECT id FROM b",
        "ALTER TABLE b ADD COLUMN extra SUPER",
        "ALTER TABLE b ADD COLUMN s VARCHAR(10) DEFAULT 'x' NOT NULL ENCODE lzo",
        "ALTER TABLE b ALTER DISTSTYLE EVEN",
        "EXPLAIN SELECT * FROM b",
        "VACUUM FULL b TO 75 PERCENT BOOST",
        "VACUUM",
    ] {
        client.ok(sql).await;
    }
}

#[tokio::test]
async fn keys_are_declared_and_not_enforced() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (id INTEGER PRIMARY KEY, u INTEGER UNIQUE, r INTEGER REFERENCES t (id))").await;
    client.ok("INSERT INTO t VALUES (1, 1, 7), (1, 1, 7)").await;
    assert_eq!(client.value("SELECT count(*) FROM t").await, 2);
    assert!(
        client
            .error("INSERT INTO t VALUES (NULL, 1, 1)")
            .await
            .contains("NULL value")
    );
}

#[tokio::test]
async fn lengths_count_bytes() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (s VARCHAR(4))").await;
    client.ok("CREATE TABLE u (LIKE t)").await;
    client.ok("CREATE TABLE v AS SELECT s FROM t").await;
    client.ok("CREATE TABLE w (x TEXT)").await;
    for table in ["t", "u", "v"] {
        client
            .ok(&format!("INSERT INTO {table} VALUES ('éé')"))
            .await;
        let error = client
            .error(&format!("INSERT INTO {table} VALUES ('ééé')"))
            .await;
        assert_eq!(error, "ERROR: value too long for type character varying(4)");
    }
    client
        .ok(&format!("INSERT INTO w VALUES ('{}')", "x".repeat(256)))
        .await;
    client
        .error(&format!("INSERT INTO w VALUES ('{}')", "é".repeat(129)))
        .await;
    client
        .ok("ALTER TABLE t ALTER COLUMN s TYPE VARCHAR(6)")
        .await;
    client.ok("INSERT INTO t VALUES ('ééé')").await;
    client.error("INSERT INTO t VALUES ('éééé')").await;
}

#[tokio::test]
async fn identifiers_fold_to_lower_case_even_quoted() {
    let Some(client) = Client::start().await else {
        return;
    };
    client
        .ok("CREATE TABLE \"Mixed\" (\"Camel\" INTEGER)")
        .await;
    client.ok("INSERT INTO mixed VALUES (1)").await;
    assert_eq!(client.value("SELECT CAMEL FROM \"MIXED\"").await, 1);
}

#[tokio::test]
async fn functions_of_redshift_are_there() {
    let Some(client) = Client::start().await else {
        return;
    };
    for (sql, value) in [
        ("SELECT NVL(NULL, 3)", json!(3)),
        (
            "SELECT JSON_SERIALIZE(JSON_PARSE('{\"a\": 1}'))",
            json!("{\"a\": 1}"),
        ),
        ("SELECT IS_VALID_JSON('{')", json!(false)),
        (
            "SELECT DATEADD(day, 1, '2026-01-31'::timestamp)::varchar",
            json!("2026-02-01 00:00:00"),
        ),
        (
            "SELECT DATEDIFF(hour, '2026-01-01 00:59:00', '2026-01-01 02:01:00')",
            json!(2),
        ),
        (
            "SELECT LISTAGG(s, ',') FROM (SELECT 'a' AS s UNION ALL SELECT 'b') AS x",
            json!("a,b"),
        ),
        (
            "SELECT GETDATE() <= SYSDATE + interval '1 second'",
            json!(true),
        ),
        ("SELECT 'abcdef'::varchar(3)", json!("abc")),
        ("SELECT CAST('1.005' AS DECIMAL(10, 2))", json!("1.01")),
        (
            "SELECT isolation_level FROM stv_db_isolation_level",
            json!(1),
        ),
        ("SELECT 'a\\'b'", json!("a'b")),
    ] {
        assert_eq!(client.value(sql).await, value, "{sql}");
    }
}

/// Statements, and a part of what Redshift says to them.
const LACKING: [(&str, &str); 36] = [
    (
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "syntax error at or near \"ON\"",
    ),
    (
        "INSERT INTO t VALUES (1) RETURNING id",
        "near \"RETURNING\"",
    ),
    ("DELETE FROM t AS x WHERE x.id = 1", "near \"AS\""),
    ("DELETE FROM t x USING t y WHERE x.id = y.id", "near \"x\""),
    ("SELECT DISTINCT ON (id) id FROM t", "near \"DISTINCT\""),
    (
        "SELECT 1 FROM t WHERE id IS NOT DISTINCT FROM 1",
        "near \"DISTINCT\"",
    ),
    ("SELECT * FROM t FOR UPDATE", "not supported"),
    ("SELECT * FROM (VALUES (1)) AS v (n)", "syntax error"),
    (
        "SELECT count(*) FILTER (WHERE id = 1) FROM t",
        "syntax error",
    ),
    ("SELECT ARRAY[1, 2]", "syntax error"),
    ("CREATE INDEX i ON t (id)", "not supported"),
    ("CREATE TABLE x (id SERIAL)", "not supported"),
    ("CREATE TABLE x (id UUID)", "not supported"),
    ("CREATE TABLE x (j JSONB)", "not supported"),
    ("CREATE TABLE x (b BYTEA)", "not supported"),
    ("CREATE TABLE x (a INTEGER[])", "not supported"),
    ("CREATE TABLE x (a DECIMAL(39, 0))", "between 1 and 38"),
    ("CREATE TABLE x (a VARCHAR(65536))", "cannot exceed"),
    (
        "CREATE TABLE x (a SUPER) SORTKEY (a)",
        "cannot be a distribution or sort key",
    ),
    ("CREATE TABLE x (a INTEGER) SORTKEY (b)", "does not exist"),
    ("CREATE TABLE x (a INTEGER CHECK (a > 0))", "syntax error"),
    ("CREATE TYPE mood AS ENUM ('a')", "syntax error"),
    (
        "ALTER TABLE t ADD COLUMN a INTEGER, ADD COLUMN b INTEGER",
        "syntax error",
    ),
    ("ALTER TABLE t ADD COLUMN a INTEGER UNIQUE", "UNIQUE"),
    (
        "ALTER TABLE t ADD COLUMN a INTEGER NOT NULL",
        "non-null default",
    ),
    (
        "ALTER TABLE t ALTER COLUMN id TYPE BIGINT",
        "only supported",
    ),
    (
        "ALTER TABLE t ALTER COLUMN id TYPE VARCHAR(10)",
        "not supported",
    ),
    (
        "MERGE INTO t USING (SELECT 1) AS s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "syntax error",
    ),
    ("DO $$ BEGIN END $$", "syntax error"),
    ("EXPLAIN EXPLAIN SELECT 1", "syntax error"),
    ("SELECT 1 / 0", "Divide by zero"),
    ("SELECT 'unfinished", "syntax error"),
    ("SELECT :: FROM", "does not exist"),
    ("((((", "syntax error"),
    ("COPY", "syntax error"),
    ("VACUUM t TO 500 PERCENT", "syntax error"),
];

#[tokio::test]
async fn what_redshift_lacks_is_refused() {
    let Some(client) = Client::start().await else {
        return;
    };
    client
        .ok("CREATE TABLE t (id INTEGER, s VARCHAR(10), at TIMESTAMP)")
        .await;
    for (sql, part) in LACKING {
        let error = client.error(sql).await;
        assert!(
            error.starts_with("ERROR: ") && error.contains(part),
            "{sql}: {error}"
        );
    }
}

#[tokio::test]
async fn the_documented_upsert_works() {
    let Some(client) = Client::start().await else {
        return;
    };
    client
        .ok("CREATE TABLE t (id INTEGER, s VARCHAR(10))")
        .await;
    client
        .ok("INSERT INTO t VALUES (1, 'old'), (2, 'old')")
        .await;
    let described = client
        .batch(&[
            "CREATE TEMP TABLE stage (LIKE t)",
            "INSERT INTO stage VALUES (2, 'new'), (3, 'new')",
            "DELETE FROM public.t USING stage AS r WHERE public.t.id = r.id",
            "INSERT INTO t SELECT id, s FROM (SELECT *, row_number() OVER (PARTITION BY id ORDER BY s) AS n FROM stage) AS x WHERE n = 1",
            "DROP TABLE stage",
        ])
        .await;
    assert_eq!(described["Status"], "FINISHED", "{described:#}");
    let rows: Vec<Vec<Value>> = client.rows("SELECT id, s FROM t ORDER BY id").await;
    assert_eq!(
        rows,
        [
            [json!(1), json!("old")],
            [json!(2), json!("new")],
            [json!(3), json!("new")]
        ]
    );
    client
        .ok("CREATE TABLE s (id INTEGER, s VARCHAR(10))")
        .await;
    client
        .ok("INSERT INTO s VALUES (3, 'merged'), (4, 'merged')")
        .await;
    client
        .ok("MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET s = s.s WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.s)")
        .await;
    assert_eq!(
        client
            .value("SELECT count(*) FROM t WHERE s = 'merged'")
            .await,
        2
    );
}

#[tokio::test]
async fn system_views_show_tables_and_queries() {
    let Some(client) = Client::start().await else {
        return;
    };
    client
        .ok("CREATE TABLE t (s VARCHAR(30) NOT NULL, extra SUPER)")
        .await;
    let columns = client
        .rows("SELECT column_name, data_type, character_maximum_length, is_nullable FROM svv_columns WHERE table_name = 't' ORDER BY ordinal_position")
        .await;
    assert_eq!(
        columns,
        [
            [
                json!("s"),
                json!("character varying"),
                json!(30),
                json!("NO")
            ],
            [json!("extra"), json!("super"), Value::Null, json!("YES")]
        ]
    );
    assert_eq!(
        client
            .value("SELECT \"column\" FROM pg_table_def WHERE tablename = 't' AND \"notnull\"")
            .await,
        "s"
    );
    assert_eq!(
        client.value("SELECT \"table\" FROM svv_table_info").await,
        "t"
    );
    assert_eq!(
        client.value("SELECT character_maximum_length FROM information_schema.columns WHERE column_name = 's' AND table_name = 't'").await,
        30
    );
    assert_eq!(
        client
            .value("SELECT data_type FROM information_schema.columns WHERE column_name = 'extra'")
            .await,
        "super"
    );
    assert_eq!(
        client
            .value("SELECT isolation_level FROM pg_catalog.stv_db_isolation_level")
            .await,
        1
    );
    client.error("SELECT nothing").await;
    let failed = "SELECT count(*) FROM sys_query_history WHERE status = 'failed' AND query_text = 'SELECT nothing'";
    assert_eq!(client.value(failed).await, 1);
}
