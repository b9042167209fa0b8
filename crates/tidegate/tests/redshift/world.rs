//! An S3 server, an emulator over a PostgreSQL, and jobs between them.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use redshift_emulator::{Emulator, Objects, Options};
use tidegate_base::clock::Clock;
use tidegate_generator::{FileFormat, GeneratorOptions, generate_files};
use tidegate_testkit::{FaultProxy, Postgres, S3};
use tokio::runtime::Runtime;

use crate::common::{Job, NOW_MICROS, repository_file};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

/// What a warehouse of a job needs beside the example.
pub const REDSHIFT: &str = r#"
[redshift]
workgroup = "test"
iam-role = "default"
region = "us-east-1"
timeout = "30s"
"#;

/// A world with one Redshift and one S3.
pub struct World {
    runtime: Runtime,
    /// What to connect to PostgreSQL with.
    postgres: String,
    s3: S3,
    pub proxy: FaultProxy,
    emulator: Emulator,
}

impl World {
    /// A new one; none where there is no PostgreSQL.
    pub fn new(seed: u64) -> Option<Self> {
        let postgres = Postgres::shared()?.new_database();
        let runtime = Runtime::new().unwrap();
        let s3 = S3::start();
        let objects = Objects::S3(redshift_emulator::S3 {
            endpoint: s3.endpoint(),
            region: "us-east-1".to_owned(),
            access_key_id: S3::ACCESS_KEY.to_owned(),
            secret_access_key: S3::SECRET_KEY.to_owned(),
        });
        let options = Options::new(&postgres, objects);
        let emulator = runtime.block_on(Emulator::start(options)).unwrap();
        let proxy = FaultProxy::start(s3.address(), seed);
        Some(World {
            runtime,
            postgres,
            s3,
            proxy,
            emulator,
        })
    }

    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    pub fn s3(&self) -> &S3 {
        &self.s3
    }

    /// A job from the transactions example that reads files, with its own files under the prefix
    /// `name`, and loads into the schema `name`.
    pub fn job(&self, name: &str) -> Loaded<'_> {
        self.job_from(name, &[("kind", "files"), ("path", "in")])
    }

    /// The same with another source.
    pub fn job_from(&self, name: &str, source: &[(&str, &str)]) -> Loaded<'_> {
        let example = std::fs::read_to_string(repository_file("examples/transactions.toml"));
        let job = from(Job::from_text(&(example.unwrap() + REDSHIFT)), source);
        self.loaded(job, name)
    }

    /// A job with its own files under the prefix `name`, which loads into the schema `name`.
    pub fn loaded(&self, job: Job, name: &str) -> Loaded<'_> {
        self.sql(&format!("CREATE SCHEMA IF NOT EXISTS {name}"));
        let job = job
            .set("storage.url", format!("s3://{}/{name}", S3::BUCKET))
            .set("storage.endpoint", self.proxy.endpoint())
            .set("storage.allow-http", true)
            .set("storage.timeout", "1s")
            .set("storage.retry-for", "3s")
            .set("warehouse.url", format!("redshift://dev/{name}"))
            .set("redshift.endpoint", self.emulator.url())
            .set("batch.interval", "50ms")
            .set("load.interval", "100ms")
            .with_variables(S3::environment());
        Loaded {
            world: self,
            job,
            schema: name.to_owned(),
        }
    }

    /// Runs SQL on the PostgreSQL underneath, and returns the first column as text.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> Vec<String> {
        self.runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.postgres, tokio_postgres::NoTls)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let messages = client.simple_query(sql).await;
            let messages = messages.unwrap_or_else(|error| panic!("{error:?}\nin:\n{sql}"));
            messages
                .into_iter()
                .filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => {
                        Some(row.get(0).unwrap_or("NULL").to_owned())
                    }
                    _ => None,
                })
                .collect()
        })
    }

    /// A query's rows as CSV with a head.
    #[track_caller]
    pub fn csv(&self, query: &str) -> Vec<u8> {
        use futures::StreamExt as _;
        self.runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.postgres, tokio_postgres::NoTls)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let copy = format!("COPY ({query}) TO STDOUT (FORMAT csv, HEADER, NULL '\\N')");
            let rows = client
                .copy_out(&copy)
                .await
                .unwrap_or_else(|error| panic!("{error:?}\nin:\n{copy}"));
            let mut rows = std::pin::pin!(rows);
            let mut out = Vec::new();
            while let Some(piece) = rows.next().await {
                out.extend_from_slice(&piece.unwrap());
            }
            out
        })
    }
}

/// A job that loads into a Redshift.
pub struct Loaded<'w> {
    world: &'w World,
    pub job: Job,
    pub schema: String,
}

impl Loaded<'_> {
    /// Changes a key of the configuration, for every command.
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        self.job = self.job.set(key, value);
        self
    }

    /// The job's input.
    pub fn input(&self) -> PathBuf {
        self.job.path("in")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.job.command(args)
    }

    /// Runs a command to its end.
    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that has to succeed, and returns what it prints.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success(),
            "{args:?}: {}\n{out}{err}",
            output.status
        );
        out.into_owned()
    }

    /// Starts a command whose end is not waited for.
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// One number from the job's schema, in which the query finds its tables.
    #[track_caller]
    pub fn number(&self, sql: &str) -> i64 {
        let answer = self
            .world
            .sql(&format!("SET search_path = {}; {sql}", self.schema));
        answer[0].parse().unwrap()
    }

    /// Checks that the ledger begins with the first record, has no gap and no overlap, and ends
    /// where the log does.
    #[track_caller]
    pub fn check_ledger(&self) {
        let spans = self.world.sql(&format!(
            "SELECT first_seq || ' ' || last_seq FROM {}.tidegate_ledger ORDER BY first_seq",
            self.schema
        ));
        let mut next = 1;
        for span in spans {
            let (first, last) = span.split_once(' ').unwrap();
            let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
            assert_eq!(first, next, "the ledger has a gap or an overlap");
            next = last + 1;
        }
        let log = self.done(&["log", "inspect", "--format", "json"]);
        let log: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!(Some(next - 1), log["last_seq"].as_u64(), "{log}");
        let jobs = self.number("SELECT count(*) FROM tidegate_job");
        assert_eq!(jobs, 1, "founded twice");
    }
}

/// The job with another source.
pub fn from(job: Job, source: &[(&str, &str)]) -> Job {
    source.iter().fold(job, |job, (key, value)| {
        job.set(&format!("source.{key}"), format!("{value:?}"))
    })
}

/// A stream with repeats, updates, late events and rejects, in `files` files in the folder of a
/// job.
pub fn write_input(job: &Job, events: u64, files: usize, seed: u64) {
    let options = GeneratorOptions {
        event_rate: 20,
        count: Some(events),
        seed,
        start_time: Some(NOW_MICROS - 6 * HOUR),
        duplicates: 0.05,
        updates: 0.1,
        late: 0.02,
        malformed: 0.01,
        rule_breaking: 0.01,
        ..GeneratorOptions::default()
    };
    generate_files(
        &job.path("in"),
        files,
        FileFormat::Plain,
        &options,
        &Clock::manual(NOW_MICROS),
    )
    .unwrap();
}
