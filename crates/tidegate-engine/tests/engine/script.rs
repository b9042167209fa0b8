//! A job whose source hands over what the test says, when it says so.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_base::chunk::{Chunk, Payload};
use tidegate_base::clock::Clock;
use tidegate_engine::SourceOptions;
use tidegate_engine::{
    BatchOptions, Engine, EngineError, EngineOptions, LoadOptions, OpenSource, RunningJob, Status,
    Summary,
};
use tidegate_kafka::KafkaOptions;
use tidegate_source::{Resume, Source, SourceError, SourceEvent};
use tidegate_storage::{Keys, S3Options, StorageOptions};
use tidegate_testkit::{FaultProxy, S3};
use tokio::runtime::Runtime;

use crate::found::Found;
use crate::spec::spec;

pub(crate) const SECOND: i64 = 1_000_000;
/// 2026-01-01T00:00:00Z, where a window begins.
pub(crate) const START: i64 = 1_767_225_600 * SECOND;
pub(crate) const DELAY: Duration = Duration::from_secs(10);

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(3_600);
/// How long a condition may take to come about.
const PATIENCE: Duration = Duration::from_secs(120);

/// A job's storage, and what runs it.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) storage: StorageOptions,
}

/// A job that runs.
pub(crate) struct Run<'a> {
    world: &'a World,
    pub(crate) job: RunningJob,
    script: Sender<Result<SourceEvent, SourceError>>,
    /// Where the log had the source go on.
    pub(crate) resume: Resume,
    /// Records that the source was given.
    given: Cell<u64>,
}

/// The source of such a job.
struct Scripted(Receiver<Result<SourceEvent, SourceError>>);

impl Source for Scripted {
    fn poll(&mut self, wait: Duration) -> Result<SourceEvent, SourceError> {
        self.0
            .recv_timeout(wait)
            .unwrap_or(Ok(SourceEvent::Nothing))
    }

    fn committed(&mut self, _: &BTreeMap<i32, i64>) {}

    fn lag(&self) -> BTreeMap<i32, u64> {
        BTreeMap::new()
    }
}

impl World {
    /// A storage in memory, which goes by this name.
    pub(crate) fn in_memory(name: &str) -> Self {
        Self::over(StorageOptions::new(format!("memory:{name}")))
    }

    /// A storage in S3 over a network that can fail. Requests are made once: whatever fails is for
    /// the job to try again.
    pub(crate) fn in_s3() -> (Self, FaultProxy, S3) {
        let s3 = S3::start();
        let proxy = FaultProxy::start(s3.address(), 1);
        let storage = StorageOptions {
            url: format!("s3://{}/job", S3::BUCKET),
            s3: S3Options {
                endpoint: Some(proxy.endpoint()),
                allow_http: true,
                retry_for: Duration::ZERO,
                keys: Some(Keys {
                    id: S3::ACCESS_KEY.to_owned(),
                    secret: S3::SECRET_KEY.to_owned(),
                }),
                ..S3Options::default()
            },
        };
        (Self::over(storage), proxy, s3)
    }

    fn over(storage: StorageOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        World {
            runtime: runtime.expect("a runtime"),
            storage,
        }
    }

    /// Starts the job. A batch is committed when it has so many rows, or when the job is stopped.
    pub(crate) fn start(&self, rows: usize) -> Run<'_> {
        self.start_with(rows, 64 << 20).expect("it starts")
    }

    /// The same, with so many bytes of memory for what is in flight.
    pub(crate) fn start_with(&self, rows: usize, memory: usize) -> Result<Run<'_>, EngineError> {
        let options = EngineOptions {
            job: "scripted".to_owned(),
            spec: spec(DELAY, LONG),
            source: SourceOptions::Kafka(KafkaOptions::default()),
            storage: self.storage.clone(),
            warehouse: None,
            batch: BatchOptions {
                interval: LONG,
                max_rows: rows,
                max_bytes: usize::MAX,
            },
            memory,
            threads: 2,
            load: LoadOptions::default(),
            lookups: Vec::new(),
            until_caught_up: false,
            live: false,
            clock: Clock::System,
        };
        let (script, scripted) = mpsc::channel();
        let (opened, resumed) = mpsc::channel();
        let open: OpenSource = Box::new(move |resume, _, _| {
            opened.send(resume.clone()).expect("the test waits for it");
            Ok(Box::new(Scripted(scripted)))
        });
        let job = self.runtime.block_on(Engine::start_over(options, open))?;
        Ok(Run {
            world: self,
            job,
            script,
            resume: resumed.recv().expect("the source is open"),
            given: Cell::new(0),
        })
    }

    /// What is committed.
    pub(crate) fn found(&self) -> Found {
        Found::read(&self.storage, &self.runtime)
    }
}

impl Run<'_> {
    fn say(&self, what: Result<SourceEvent, SourceError>) {
        self.script.send(what).expect("the source is read");
    }

    /// Announces partitions, each with a lane of its own.
    pub(crate) fn announce(&self, partitions: &[i32]) {
        for id in partitions {
            let (id, name) = (*id, format!("p{id}"));
            self.say(Ok(SourceEvent::Partition { id, lane: id, name }));
        }
    }

    /// Hands over the records of a partition from an offset on: seconds after [`START`], and keys.
    /// The source recognises the partition by the offset after them.
    pub(crate) fn give(&self, partition: i32, from: i64, events: &[(i64, &str)]) {
        let mut chunk = Chunk::new(partition, partition, from);
        for (offset, (at, id)) in (from..).zip(events) {
            let at = START + at * SECOND;
            let record = format!(r#"{{"at":{at},"id":"{id}","ok":true}}"#);
            chunk.push(offset, None, Payload::Bytes, record.as_bytes());
        }
        chunk.identity = Some(format!("{partition}-{}", chunk.to).into());
        self.given.set(self.given.get() + chunk.len() as u64);
        self.say(Ok(SourceEvent::Chunk(chunk)));
    }

    /// The source cannot go on.
    pub(crate) fn fail(&self) {
        self.say(Err(SourceError::Kafka {
            topic: "scripted".to_owned(),
            action: "go on",
            reason: "as the test wants it".to_owned(),
        }));
    }

    /// Waits until the job shows something.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let begun = Instant::now();
        loop {
            let status = self.job.handle().status();
            if is_so(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {status:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until this is the last record of the log.
    pub(crate) fn until_committed(&self, seq: u64) -> Status {
        self.until("it is committed", |status| status.last_seq == seq)
    }

    /// Stops the job when it has read everything that its source was given.
    pub(crate) fn stop(self) -> Result<Summary, EngineError> {
        let given = self.given.get();
        self.until("all is read", |status| status.read_live == given);
        self.job.handle().stop();
        self.end()
    }

    /// Waits for the end of a job that ends by itself.
    pub(crate) fn end(self) -> Result<Summary, EngineError> {
        let Run {
            world,
            job,
            script: _script,
            ..
        } = self;
        world.runtime.block_on(job.wait())
    }
}
