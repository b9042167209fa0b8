//! Puts the stages together, starts them, and waits for them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use tidegate_core::lookup::LookupTables;
use tidegate_core::plan::Plan;
use tidegate_core::prepare::Preparer;
use tidegate_log::{CommitLog, JobState, OpenOptions, Storage, WriterId};
use tidegate_sources::{ChunkLimits, Resume, ResumePartition, SourceOptions};
use tidegate_warehouse::{TableSpec, WarehouseReader};
use tokio::runtime;

use crate::error::EngineError;
use crate::latency::Latency;
use crate::live::Live;
use crate::options::EngineOptions;
use crate::shared::Shared;
use crate::state::{EndsAt, State};
use crate::status::{Phase, Status, Summary};
use crate::work::CurrentLookups;
use crate::{commit, encode, load, lookups, read, restore, work};

/// Records between snapshots of the log.
const SNAPSHOT_EVERY: u64 = 100;

/// Starts jobs.
#[derive(Debug)]
pub struct Engine;

/// A running job.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    /// Threads with their names, in the order in which they end.
    threads: Vec<(&'static str, JoinHandle<()>)>,
    reader: Option<WarehouseReader>,
    plan: Arc<Plan>,
    storage: Storage,
    live: Option<Live>,
    tables: Vec<TableSpec>,
    lookups: Arc<CurrentLookups>,
    started: Instant,
    read_before: u64,
}

impl Engine {
    /// Recovers the job from its log, or founds it, and starts it. Call it from a tokio runtime with
    /// several threads, which the job uses for its IO as long as it runs.
    ///
    /// # Errors
    /// If something that the job needs cannot be opened, or its log is not whole.
    pub async fn start(options: EngineOptions) -> Result<Handle, EngineError> {
        let runtime = runtime::Handle::current();
        tokio::task::spawn_blocking(move || start(options, &runtime))
            .await
            .unwrap_or(Err(EngineError::Panicked("starting")))
    }
}

fn start(options: EngineOptions, runtime: &runtime::Handle) -> Result<Handle, EngineError> {
    let started = Instant::now();
    let bounded = is_bounded(&options.source);
    if options.until_caught_up && !bounded && matches!(options.source, SourceOptions::Generator(_))
    {
        return Err(EngineError::Unbounded);
    }
    let plan = Arc::new(Plan::compile(&options.spec).map_err(EngineError::Spec)?);
    let threads = options.threads.max(1);
    let mut tables = Vec::new();
    for (spec, source) in options.spec.lookups.iter().zip(&options.lookups) {
        tables.push(Arc::new(lookups::load(spec, source)?));
    }
    let tables: LookupTables = Arc::new(tables);

    let storage = Storage::open(&options.storage)?;
    let log = runtime.block_on(CommitLog::open(
        storage.clone(),
        OpenOptions {
            job_name: options.job.clone(),
            writer: WriterId::new(),
            clock: options.clock.clone(),
            keep: plan.horizon(),
            snapshot_every: SNAPSHOT_EVERY,
        },
    ))?;
    let shared = Arc::new(Shared::new(options.clock.clone(), options.memory));
    shared.show_log(log.state());
    let lanes = restore::restore(&plan, log.state(), &storage, runtime, threads)?;
    let keys: usize = lanes.values().map(tidegate_core::lane::Lane::len).sum();
    tracing::info!(
        job = %options.job,
        commits = log.state().last_seq,
        keys,
        seconds = started.elapsed().as_secs_f64(),
        "job recovered"
    );

    let names = options.warehouse.as_ref().map(load::TableNames::of);
    let table_specs = load::tables(&names.unwrap_or_default(), &plan);
    let place = load::Place {
        plan: &plan,
        log: log.state(),
        storage: &storage,
        runtime,
        clock: &options.clock,
    };
    let loader = match &options.warehouse {
        Some(warehouse) if !options.load.separate => {
            Some(load::open(warehouse, &options.load, &place)?)
        }
        _ => None,
    };
    let reader = loader.as_ref().and_then(load::JobLoader::reader);
    let source = tidegate_sources::open(
        &options.source,
        &resume(log.state()),
        &ChunkLimits::default(),
        &options.clock,
    )?;

    let mut preparers = Vec::new();
    for _ in 0..threads {
        preparers.push(Preparer::new(
            Arc::clone(&plan),
            log.state().fingerprint_seed,
        )?);
    }
    let ends_at = if options.until_caught_up && !bounded {
        EndsAt::CaughtUp
    } else {
        EndsAt::SourceEnd
    };
    let live = options.live.then(|| Live::new(&plan));
    let state = State::new(
        Arc::clone(&plan),
        Arc::clone(&shared),
        options.batch.clone(),
        ends_at,
        log.state(),
        lanes,
        live.clone(),
    );
    let read_before = log.state().totals.read;
    let current = Arc::new(RwLock::new(tables));
    let mut handle = Handle {
        shared,
        threads: Vec::new(),
        reader,
        plan: Arc::clone(&plan),
        storage,
        live,
        tables: table_specs,
        lookups: Arc::clone(&current),
        started,
        read_before,
    };
    shared_phase(&handle.shared, Phase::Running);

    let (task_in, task_out) = crossbeam_channel::bounded(2 * threads);
    let (item_in, item_out) = crossbeam_channel::bounded(4 * threads);
    let (batch_in, batch_out) = crossbeam_channel::bounded(0);
    let (encoded_in, encoded_out) = crossbeam_channel::bounded(0);

    let items = item_in.clone();
    handle.spawn("source", move |shared| {
        read::read(source, shared, task_in, items)
    })?;
    for preparer in preparers {
        let (current, tasks, items) = (Arc::clone(&current), task_out.clone(), item_in.clone());
        handle.spawn("worker", move |shared| {
            work::work(preparer, shared, &current, &tasks, &items)
        })?;
    }
    drop((task_out, item_in));
    handle.spawn("state", move |_| state.run(&item_out, &batch_in))?;
    handle.spawn("encoder", move |shared| {
        encode::encode(&plan, threads, shared, &batch_out, &encoded_in)
    })?;
    let io = runtime.clone();
    handle.spawn("committer", move |shared| {
        commit::commit(log, shared, &io, &encoded_out)
    })?;
    if let Some(loader) = loader {
        handle.spawn("loader", move |shared| loader.run(shared))?;
    }
    if !options.lookups.is_empty() {
        let (specs, sources) = (options.spec.lookups, options.lookups);
        handle.spawn("lookups", move |shared| {
            lookups::watch(&specs, &sources, &current, shared)
        })?;
    }
    Ok(handle)
}

fn shared_phase(shared: &Shared, phase: Phase) {
    shared.update().phase = phase;
}

fn is_bounded(source: &SourceOptions) -> bool {
    match source {
        SourceOptions::Kafka(_) => false,
        SourceOptions::Files(files) => !files.follow,
        SourceOptions::Generator(generator) => generator.count.is_some(),
    }
}

fn resume(log: &JobState) -> Resume {
    let partitions: BTreeMap<i32, ResumePartition> = log
        .partitions
        .iter()
        .map(|(id, p)| {
            (
                *id,
                ResumePartition {
                    name: p.name.clone(),
                    lane: p.lane,
                    offset: p.offset,
                },
            )
        })
        .collect();
    Resume { partitions }
}

impl Handle {
    fn spawn(
        &mut self,
        name: &'static str,
        body: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<(), EngineError> {
        let shared = Arc::clone(&self.shared);
        let guarded = move || {
            if catch_unwind(AssertUnwindSafe(|| body(&shared))).is_err() {
                shared.fail(EngineError::Panicked(name));
                shared.note_drained();
            }
        };
        let spawned = std::thread::Builder::new()
            .name(format!("tg-{name}"))
            .spawn(guarded);
        match spawned {
            Ok(thread) => {
                self.threads.push((name, thread));
                Ok(())
            }
            Err(error) => {
                self.shared
                    .fail(EngineError::Thread(std::io::Error::from(error.kind())));
                self.shared.note_drained();
                Err(EngineError::Thread(error))
            }
        }
    }

    /// The job as it is now. Cheap.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Something that shows the status as long as the job runs, for another task.
    pub fn watch(&self) -> impl Fn() -> Status + Send + Sync + Clone + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.status()
    }

    /// Something that shows how long events are under way, for another task.
    pub fn watch_latency(&self) -> impl Fn() -> Latency + Send + Sync + Clone + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.measured().latency()
    }

    /// Asks the job to end: what is in flight is committed and loaded.
    pub fn stop(&self) {
        shared_phase(&self.shared, Phase::Stopping);
        self.shared.stop();
    }

    /// Something that stops the job, for another task.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + Clone + use<> {
        let shared = Arc::clone(&self.shared);
        move || {
            shared_phase(&shared, Phase::Stopping);
            shared.stop();
        }
    }

    /// Read-only queries on the warehouse while the job runs.
    pub fn warehouse(&self) -> Option<WarehouseReader> {
        self.reader.clone()
    }

    /// What the job does to an event.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Live values of the windows, if they were asked for.
    pub fn live(&self) -> Option<Live> {
        self.live.clone()
    }

    /// The tables of the job, as a warehouse has them. Where there is no warehouse they have the names
    /// `events` and `rejected`.
    pub fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    /// Something that gives the reference tables of the lookups as they are, for another task.
    pub fn lookups(&self) -> impl Fn() -> LookupTables + Send + Sync + Clone + use<> {
        let lookups = Arc::clone(&self.lookups);
        move || Arc::clone(&lookups.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the job's files are.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Waits until the job has ended.
    ///
    /// # Errors
    /// What made it stop, if not its source's end or [`Handle::stop`].
    pub async fn wait(self) -> Result<Summary, EngineError> {
        let Handle {
            shared,
            threads,
            started,
            read_before,
            ..
        } = self;
        let joined = tokio::task::spawn_blocking(move || {
            for (_, thread) in threads {
                // A panic has been noted where it happened.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
        shared_phase(&shared, Phase::Stopped);
        if let Some(error) = shared.take_error() {
            return Err(error);
        }
        let status = shared.status();
        Ok(Summary {
            read: status.read.saturating_sub(read_before),
            complete: status.complete,
            seconds: started.elapsed().as_secs_f64(),
            status,
        })
    }
}
