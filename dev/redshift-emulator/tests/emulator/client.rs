//! An emulator over a database of its own, and a small client.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, path::Path};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use redshift_emulator::{Emulator, Objects, Options};
use serde_json::{Value, json};
use tidegate_testkit::Postgres;
use tokio::net::TcpStream;

pub(crate) const ROLE: &str = "IAM_ROLE 'arn:aws:iam::123456789012:role/load'";
pub(crate) const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/redshift-data/aws4_request, \
     SignedHeaders=host;x-amz-date, Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) struct Client {
    pub(crate) emulator: Emulator,
    pub(crate) store: Arc<InMemory>,
}

/// What the emulator answered: a body, or the name and the message of an error; `None` where the
/// connection just ended.
pub(crate) type Answer = Option<Result<Value, (String, String)>>;

impl Client {
    /// `None` where there is no PostgreSQL: the test has then been counted as skipped.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(set: impl FnOnce(&mut Options)) -> Option<Self> {
        let postgres = Postgres::shared()?;
        let store = Arc::new(InMemory::new());
        let objects: Arc<InMemory> = Arc::clone(&store);
        let mut options = Options::new(postgres.new_database(), Objects::Store(objects));
        set(&mut options);
        let emulator = Emulator::start(options).await.unwrap();
        Some(Self { emulator, store })
    }

    pub(crate) async fn try_call(&self, operation: &str, body: Value) -> Answer {
        let target = format!("RedshiftData.{operation}");
        let sent = self.send("/", "POST", &target, SIGNATURE, body).await?;
        Some(match sent {
            (200, body) => Ok(body),
            (_, body) => Err((
                body["__type"].as_str().unwrap().to_owned(),
                body["Message"].as_str().unwrap_or_default().to_owned(),
            )),
        })
    }

    pub(crate) async fn call(&self, operation: &str, body: Value) -> Value {
        self.try_call(operation, body)
            .await
            .expect("an answer")
            .expect("a good answer")
    }

    pub(crate) async fn refused(&self, operation: &str, body: Value) -> (String, String) {
        self.try_call(operation, body)
            .await
            .expect("an answer")
            .expect_err("a refusal")
    }

    /// One request; `None` where no answer came.
    pub(crate) async fn send(
        &self,
        path: &str,
        method: &str,
        target: &str,
        authorization: &str,
        body: Value,
    ) -> Option<(u16, Value)> {
        let url = self.emulator.url();
        let address = url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", address)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .header("x-amz-date", "20260101T000000Z")
            .header("authorization", authorization)
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let response = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap()))
    }

    /// ExecuteStatement, and its description once it has ended.
    pub(crate) async fn run(&self, sql: &str) -> Value {
        let call = json!({"WorkgroupName": "test", "Database": "dev", "Sql": sql});
        let answer = self.call("ExecuteStatement", call).await;
        self.ended(answer["Id"].as_str().unwrap()).await
    }

    /// BatchExecuteStatement, and its description once it has ended.
    pub(crate) async fn batch(&self, sqls: &[&str]) -> Value {
        let call = json!({"WorkgroupName": "test", "Database": "dev", "Sqls": sqls});
        let answer = self.call("BatchExecuteStatement", call).await;
        self.ended(answer["Id"].as_str().unwrap()).await
    }

    pub(crate) async fn ended(&self, id: &str) -> Value {
        for _ in 0..4 {
            let call = json!({"Id": id, "WaitTimeSeconds": 15});
            let described = self.call("DescribeStatement", call).await;
            if ["FINISHED", "FAILED", "ABORTED"].contains(&described["Status"].as_str().unwrap()) {
                return described;
            }
        }
        panic!("statement {id} does not end");
    }

    /// Runs what has to succeed.
    pub(crate) async fn ok(&self, sql: &str) -> Value {
        let described = self.run(sql).await;
        assert_eq!(described["Status"], "FINISHED", "{sql}: {described:#}");
        described
    }

    /// The error of what has to fail.
    pub(crate) async fn error(&self, sql: &str) -> String {
        let described = self.run(sql).await;
        assert_eq!(described["Status"], "FAILED", "{sql}: {described:#}");
        described["Error"].as_str().unwrap().to_owned()
    }

    /// The rows of a query, as their fields' values.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        let described = self.ok(sql).await;
        let call = json!({"Id": described["Id"]});
        let answer = self.call("GetStatementResult", call).await;
        values(&answer)
    }

    /// The only value of a query.
    pub(crate) async fn value(&self, sql: &str) -> Value {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}");
        rows[0][0].clone()
    }

    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.store
            .put(&Path::from(key), bytes.into())
            .await
            .unwrap();
    }

    /// Puts a Parquet file, and returns its size.
    pub(crate) async fn put_parquet(&self, key: &str, batch: &RecordBatch) -> usize {
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(100))
            .build();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        let bytes = writer.into_inner().unwrap();
        let size = bytes.len();
        self.put(key, bytes).await;
        size
    }

    /// Puts a manifest over files of bucket `b`.
    pub(crate) async fn put_manifest(&self, key: &str, files: &[(&str, usize)]) {
        let entries: Vec<Value> = files
            .iter()
            .map(|(key, size)| {
                json!({"url": format!("s3://b/{key}"), "mandatory": true, "meta": {"content_length": size}})
            })
            .collect();
        self.put(key, json!({"entries": entries}).to_string().into_bytes())
            .await;
    }
}

/// The values of a page of results.
pub(crate) fn values(answer: &Value) -> Vec<Vec<Value>> {
    let rows = answer["Records"].as_array().unwrap().iter();
    rows.map(|row| row.as_array().unwrap().iter().map(value).collect())
        .collect()
}

fn value(field: &Value) -> Value {
    let (kind, value) = field.as_object().unwrap().iter().next().unwrap();
    if kind == "isNull" {
        Value::Null
    } else {
        value.clone()
    }
}

/// Waits for something that another task does, within bounds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    for _ in 0..1000 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come about");
}
