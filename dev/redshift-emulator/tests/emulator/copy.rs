//! COPY from Parquet files.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use serde_json::{Value, json};

use hyper_util::rt::TokioIo;
use object_store::ObjectStoreExt;
use redshift_emulator::{Objects, S3};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use crate::client::{Client, ROLE};

/// `n` rows of a number and a text.
fn numbered(first: i64, n: i64) -> RecordBatch {
    batch(vec![
        (
            "n",
            Arc::new(Int64Array::from_iter_values(first..first + n)),
        ),
        (
            "s",
            Arc::new(StringArray::from_iter(
                (first..first + n).map(|n| (n % 3 > 0).then(|| format!("row {n}"))),
            )),
        ),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

fn copy(from: &str, options: &str) -> String {
    format!("COPY t FROM 's3://b/{from}' {ROLE} FORMAT AS PARQUET {options}")
}

#[tokio::test]
async fn a_manifest_loads_and_loads_again() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n BIGINT, s VARCHAR(20))").await;
    // More than one row group each.
    let one = client.put_parquet("d/1.parquet", &numbered(0, 250)).await;
    let two = client.put_parquet("d/2.parquet", &numbered(250, 50)).await;
    client
        .put_manifest("m.json", &[("d/1.parquet", one), ("d/2.parquet", two)])
        .await;
    let described = client.ok(&copy("m.json", "MANIFEST")).await;
    assert_eq!(
        (&described["ResultRows"], &described["HasResultSet"]),
        (&json!(300), &json!(false))
    );
    let seen = "SELECT count(*), count(s), sum(n)::bigint, count(DISTINCT n) FROM t";
    assert_eq!(
        client.rows(seen).await,
        [[json!(300), json!(200), json!(44850), json!(300)]]
    );
    client.ok(&copy("m.json", "MANIFEST")).await;
    assert_eq!(client.value("SELECT count(*) FROM t").await, 600);
    assert_eq!(
        client
            .value(
                "SELECT sum(loaded_rows)::bigint FROM sys_load_history WHERE status = 'completed'"
            )
            .await,
        600
    );
    assert_eq!(
        client
            .value("SELECT count(*) FROM stl_load_commits WHERE filename = 's3://b/d/2.parquet'")
            .await,
        2
    );
}

#[tokio::test]
async fn a_prefix_loads_what_begins_with_it() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n BIGINT, s VARCHAR(20))").await;
    client
        .put_parquet("d/part-1.parquet", &numbered(0, 10))
        .await;
    client
        .put_parquet("d/part-2.parquet", &numbered(10, 10))
        .await;
    client
        .put_parquet("d/other.parquet", &numbered(20, 10))
        .await;
    client.ok(&copy("d/part-", "")).await;
    assert_eq!(client.value("SELECT count(*) FROM t").await, 20);
    assert!(
        client
            .error(&copy("d/nothing", ""))
            .await
            .contains("does not exist")
    );
}

#[tokio::test]
async fn every_type_arrives() {
    let Some(client) = Client::start().await else {
        return;
    };
    client
        .ok("CREATE TABLE t (i INTEGER, d DOUBLE PRECISION, b BOOLEAN, m DECIMAL(20,4), day DATE, at TIMESTAMP, tz TIMESTAMPTZ, \
             s VARCHAR(50), extra SUPER)")
        .await;
    let micros = 1_767_323_045_678_901;
    let map = {
        let field = Field::new("item", DataType::Int32, true);
        let values = arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![
            Some(1),
            None,
        ])]);
        let _ = field;
        values
    };
    let rows = batch(vec![
        ("i", Arc::new(Int32Array::from(vec![-5]))),
        ("d", Arc::new(Float64Array::from(vec![0.1]))),
        ("b", Arc::new(BooleanArray::from(vec![true]))),
        (
            "m",
            Arc::new(
                Decimal128Array::from(vec![-12_345_678])
                    .with_precision_and_scale(20, 4)
                    .unwrap(),
            ),
        ),
        ("day", Arc::new(Date32Array::from(vec![20_455]))),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![micros])),
        ),
        (
            "tz",
            Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")),
        ),
        ("s", Arc::new(StringArray::from(vec!["a\tb\\c\nd\re é"]))),
        ("extra", Arc::new(map)),
    ]);
    client.put_parquet("f.parquet", &rows).await;
    client.ok(&copy("f.parquet", "SERIALIZETOJSON")).await;
    assert_eq!(
        client.rows("SELECT * FROM t").await,
        [[
            json!(-5),
            json!(0.1),
            json!(true),
            json!("-1234.5678"),
            json!("2026-01-02"),
            json!("2026-01-02 03:04:05.678901"),
            json!("2026-01-02 03:04:05.678901+00"),
            json!("a\tb\\c\nd\re é"),
            json!("[1, null]")
        ]]
    );
    assert!(client.error(&copy("f.parquet", "")).await.contains("15007"));
}

#[tokio::test]
async fn columns_go_by_position_and_count() {
    let Some(client) = Client::start().await else {
        return;
    };
    client
        .ok("CREATE TABLE t (s VARCHAR(20) DEFAULT 'none', n BIGINT, x INTEGER DEFAULT 5)")
        .await;
    client.put_parquet("f.parquet", &numbered(0, 3)).await;
    let error = client.error(&copy("f.parquet", "")).await;
    assert!(
        error.contains("Unmatched number of columns")
            && error.contains("Table columns: 3, Data columns: 2"),
        "{error}"
    );
    // In the table's order a number would go into a text.
    let list = |columns: &str| {
        format!("COPY t ({columns}) FROM 's3://b/f.parquet' {ROLE} FORMAT AS PARQUET")
    };
    let error = client.error(&list("s, n")).await;
    assert!(error.contains("code:      15007"), "{error}");
    assert!(error.contains("for column 's3://b/f.parquet.s'. Column type: VARCHAR(20), Parquet schema:\noptional int64 n"), "{error}");
    client.ok(&list("n, s")).await;
    assert_eq!(client.value("SELECT sum(x)::bigint FROM t").await, 15);
    client.error(&list("n, nothing")).await;
    client
        .ok("CREATE TABLE u (n BIGINT, s VARCHAR(20), x INTEGER DEFAULT 5)")
        .await;
    client
        .ok(&copy("f.parquet", "FILLRECORD").replace("COPY t", "COPY u"))
        .await;
    assert_eq!(client.value("SELECT count(x) FROM u").await, 0);
}

#[tokio::test]
async fn types_that_do_not_agree_are_refused() {
    let Some(client) = Client::start().await else {
        return;
    };
    let one: Vec<(&str, ArrayRef)> = vec![
        ("BIGINT", Arc::new(Int32Array::from(vec![1]))),
        ("INTEGER", Arc::new(Int64Array::from(vec![1]))),
        ("REAL", Arc::new(Float64Array::from(vec![1.0]))),
        ("VARCHAR(10)", Arc::new(Int64Array::from(vec![1]))),
        (
            "TIMESTAMP",
            Arc::new(TimestampNanosecondArray::from(vec![1])),
        ),
        (
            "DECIMAL(10,2)",
            Arc::new(
                Decimal128Array::from(vec![1])
                    .with_precision_and_scale(10, 3)
                    .unwrap(),
            ),
        ),
        ("DATE", Arc::new(StringArray::from(vec!["2026-01-01"]))),
        ("SUPER", Arc::new(StringArray::from(vec!["{}"]))),
    ];
    for (kind, array) in one {
        client
            .put_parquet("f.parquet", &batch(vec![("c", array)]))
            .await;
        client.ok(&format!("CREATE TABLE t (c {kind})")).await;
        let error = client.error(&copy("f.parquet", "")).await;
        assert!(
            error.contains("15007") && error.contains("incompatible Parquet schema"),
            "{kind}: {error}"
        );
        client.ok("DROP TABLE t").await;
    }
}

#[tokio::test]
async fn a_manifest_needs_the_length_of_every_file() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n BIGINT, s VARCHAR(20))").await;
    let size = client.put_parquet("f.parquet", &numbered(0, 3)).await;
    let url = "s3://b/f.parquet";
    for (entries, part) in [
        (json!([{"url": url}]), "15003"),
        (json!([{"url": url, "meta": {}}]), "15003"),
        (
            json!([{"url": url, "meta": {"content_length": size + 1}}]),
            "content_length",
        ),
        (json!([]), "does not exist"),
        (
            json!([{"url": "s3://b/gone.parquet", "meta": {"content_length": 1}}]),
            "does not exist",
        ),
        (
            json!([{"url": url, "meta": {"content_length": size}}, {"url": "s3://b/gone.parquet", "mandatory": true, "meta": {"content_length": 1}}]),
            "NoSuchKey",
        ),
    ] {
        let manifest = json!({"entries": entries});
        client
            .put("m.json", manifest.to_string().into_bytes())
            .await;
        let error = client.error(&copy("m.json", "MANIFEST")).await;
        assert!(error.contains(part), "{manifest}: {error}");
    }
    client.put("m.json", b"{".to_vec()).await;
    assert!(
        client
            .error(&copy("m.json", "MANIFEST"))
            .await
            .contains("not well-formed")
    );
    assert!(
        client
            .error(&copy("none.json", "MANIFEST"))
            .await
            .contains("NoSuchKey")
    );
    client.put("m.json", b"{}".to_vec()).await;
    assert!(
        client
            .error(&copy("m.json", ""))
            .await
            .contains("not a valid Parquet file")
    );
    // What is not mandatory may be missing, as long as something is there.
    let manifest = json!({"entries": [
        {"url": url, "meta": {"content_length": size}}, {"url": "s3://b/gone.parquet", "mandatory": false, "meta": {"content_length": 1}}
    ]});
    client
        .put("m.json", manifest.to_string().into_bytes())
        .await;
    client.ok(&copy("m.json", "MANIFEST")).await;
    assert_eq!(client.value("SELECT count(*) FROM t").await, 3);
}

#[tokio::test]
async fn a_bad_row_loads_nothing_and_is_recorded() {
    let Some(client) = Client::start().await else {
        return;
    };
    client
        .ok("CREATE TABLE t (n BIGINT NOT NULL, s VARCHAR(5))")
        .await;
    let long = batch(vec![
        ("n", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("s", Arc::new(StringArray::from(vec!["a", "ééé", "c"]))),
    ]);
    let null = batch(vec![
        ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
        ("s", Arc::new(StringArray::from(vec!["a", "b"]))),
    ]);
    let good = client.put_parquet("good.parquet", &numbered(0, 1)).await;
    for (rows, column, line, code) in [(long, "s", 2, 1204), (null, "n", 2, 1213)] {
        let size = client.put_parquet("bad.parquet", &rows).await;
        client
            .put_manifest("m.json", &[("good.parquet", good), ("bad.parquet", size)])
            .await;
        let error = client.error(&copy("m.json", "MANIFEST")).await;
        assert!(error.starts_with("ERROR: "), "{error}");
        let detail = "SELECT file_name, line_number, column_name, error_code FROM sys_load_error_detail ORDER BY query_id DESC LIMIT 1";
        assert_eq!(
            client.rows(detail).await,
            [[
                json!("s3://b/bad.parquet"),
                json!(line),
                json!(column),
                json!(code)
            ]]
        );
        assert_eq!(client.value("SELECT count(*) FROM t").await, 0);
    }
    let length =
        "SELECT column_type, column_length FROM sys_load_error_detail WHERE error_code = 1204";
    assert_eq!(
        client.rows(length).await,
        [[json!("varchar(5)"), json!("5")]]
    );
}

#[tokio::test]
async fn options_that_parquet_does_not_take_are_refused_by_name() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n BIGINT, s VARCHAR(20))").await;
    client.put_parquet("f.parquet", &numbered(0, 3)).await;
    for option in [
        "MAXERROR 5",
        "REGION 'us-east-1'",
        "TIMEFORMAT 'auto'",
        "DATEFORMAT 'auto'",
        "COMPUPDATE OFF",
        "TRUNCATECOLUMNS",
        "ACCEPTANYDATE",
        "IGNOREALLERRORS",
        "GZIP",
        "DELIMITER ','",
        "NULL AS 'x'",
        "IGNOREHEADER 1",
    ] {
        let error = client.error(&copy("f.parquet", option)).await;
        assert!(
            error.contains(option.split(' ').next().unwrap()),
            "{option}: {error}"
        );
    }
    for sql in [
        format!("COPY t FROM 's3://b/f.parquet' {ROLE} CSV"),
        format!("COPY t FROM 's3://b/f.parquet' {ROLE} FORMAT AS JSON 'auto'"),
        format!("COPY t FROM 's3://b/f.parquet' {ROLE}"),
        "COPY t FROM 's3://b/f.parquet' FORMAT AS PARQUET".to_owned(),
        "COPY t FROM 's3://b/f.parquet' IAM_ROLE 'nobody' FORMAT AS PARQUET".to_owned(),
        format!("COPY t FROM '/etc/passwd' {ROLE} FORMAT AS PARQUET"),
        format!("COPY nowhere FROM 's3://b/f.parquet' {ROLE} FORMAT AS PARQUET"),
    ] {
        client.error(&sql).await;
    }
    client
        .ok(&copy("f.parquet", "STATUPDATE OFF ACCEPTINVCHARS AS '?'"))
        .await;
    client
        .ok("COPY t FROM 's3://b/f.parquet' IAM_ROLE default FORMAT PARQUET")
        .await;
    assert_eq!(client.value("SELECT count(*) FROM t").await, 6);
}

#[tokio::test]
async fn copy_in_a_batch_goes_with_the_batch() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n BIGINT, s VARCHAR(20))").await;
    client.put_parquet("f.parquet", &numbered(0, 3)).await;
    let described = client.batch(&[&copy("f.parquet", ""), "SELECT 1/0"]).await;
    assert_eq!(described["SubStatements"][0]["ResultRows"], 3);
    assert_eq!(client.value("SELECT count(*) FROM t").await, 0);
    client
        .batch(&[
            "CREATE TEMP TABLE stage (LIKE t)",
            &copy("f.parquet", "").replace("COPY t", "COPY stage"),
            "INSERT INTO t SELECT * FROM stage",
        ])
        .await;
    assert_eq!(client.value("SELECT count(*) FROM t").await, 3);
}

#[tokio::test]
async fn a_file_without_rows_or_with_nonsense_does_no_harm() {
    let Some(client) = Client::start().await else {
        return;
    };
    client.ok("CREATE TABLE t (n BIGINT, s VARCHAR(20))").await;
    let schema = Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
    ]);
    client
        .put_parquet("empty.parquet", &RecordBatch::new_empty(Arc::new(schema)))
        .await;
    assert_eq!(client.ok(&copy("empty.parquet", "")).await["ResultRows"], 0);
    let mut bytes = vec![b'x'; 4000];
    bytes.extend_from_slice(&2000u32.to_le_bytes());
    bytes.extend_from_slice(b"PAR1");
    client.put("bad.parquet", bytes).await;
    let error: Value = client.error(&copy("bad.parquet", "")).await.into();
    assert!(
        error.as_str().unwrap().contains("not a valid Parquet file"),
        "{error}"
    );
}

/// An S3 server over `folder`, for as long as the test runs.
async fn s3_server(folder: &std::path::Path) -> S3 {
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(SimpleAuth::from_single("key", "secret"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(connection);
        }
    });
    S3 {
        endpoint,
        region: "us-east-1".to_owned(),
        access_key_id: "key".to_owned(),
        secret_access_key: "secret".to_owned(),
    }
}

#[tokio::test]
async fn files_come_from_an_s3_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = folder.path().join("bucket");
    std::fs::create_dir_all(bucket.join("d")).unwrap();
    let s3 = s3_server(folder.path()).await;
    let Some(client) = Client::start_with(|options| options.objects = Objects::S3(s3)).await else {
        return;
    };
    client.ok("CREATE TABLE t (n BIGINT, s VARCHAR(20))").await;
    // Made as for the other tests, and put where the server finds them.
    let size = client.put_parquet("d/1.parquet", &numbered(0, 250)).await;
    let bytes = client
        .store
        .get(&"d/1.parquet".into())
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    std::fs::write(bucket.join("d/1.parquet"), bytes).unwrap();
    let entry = json!({"url": "s3://bucket/d/1.parquet", "mandatory": true, "meta": {"content_length": size}});
    std::fs::write(
        bucket.join("m.json"),
        json!({"entries": [entry]}).to_string(),
    )
    .unwrap();

    let copy = |from, options| copy(from, options).replace("s3://b/", "s3://bucket/");
    client.ok(&copy("m.json", "MANIFEST")).await;
    client.ok(&copy("d/", "")).await;
    assert_eq!(client.value("SELECT count(*) FROM t").await, 500);
    assert!(
        client
            .error(&copy("none.json", "MANIFEST"))
            .await
            .contains("NoSuchKey")
    );
    assert!(
        client
            .error(&copy("none/", ""))
            .await
            .contains("does not exist")
    );
}
