//! Starts a job: recovers it from its log, opens what it needs, and puts the stages together.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Instant;

use tidegate_base::clock::Clock;
use tidegate_core::lane::Lane;
use tidegate_core::lookup::LookupTables;
use tidegate_core::meaning::Meaning;
use tidegate_core::plan::Plan;
use tidegate_core::prepare::Preparer;
use tidegate_log::{CommitLog, Draft, JobState, OpenOptions, ReadError, WriterId, read_records};
use tidegate_source::{ChunkLimits, Resume, ResumePartition, Source, SourceError};
use tidegate_storage::Storage;
use tokio::runtime;

use crate::error::EngineError;
use crate::handle::{Handle, RunningJob};
use crate::live::Live;
use crate::load::JobLoader;
use crate::options::EngineOptions;
use crate::shared::Shared;
use crate::source::SourceOptions;
use crate::stages::Stages;
use crate::starting::Starting;
use crate::state::{EndsAt, State};
use crate::status::{Before, Phase};
use crate::tables::known_tables;
use crate::warehouse::LoaderSetup;
use crate::{adopt, lookups, restore};

/// Records between snapshots of the log.
const SNAPSHOT_EVERY: u64 = 100;

/// Starts jobs.
///
/// # Examples
///
/// Reads a thousand made-up transactions, and commits them to a log in memory:
/// ```
/// use std::time::Duration;
///
/// use tidegate_base::clock::Clock;
/// use tidegate_core::spec::{EventTimeSpec, FieldSpec, JobSpec, StoredForm};
/// use tidegate_engine::{BatchOptions, Engine, EngineOptions, LoadOptions, SourceOptions};
/// use tidegate_generator::GeneratorOptions;
/// use tidegate_storage::StorageOptions;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let field = |name: &str| FieldSpec {
///     name: name.to_owned(),
///     ty: "string".parse().unwrap(),
///     required: true,
/// };
/// let options = EngineOptions {
///     job: "payments".to_owned(),
///     spec: JobSpec {
///         fields: vec![field("transaction_id"), field("timestamp")],
///         event_time: EventTimeSpec {
///             field: "timestamp".to_owned(),
///             column: "event_timestamp".to_owned(),
///             delay: Duration::from_secs(600),
///             max_ahead: None,
///             idle_after: Duration::from_secs(60),
///         },
///         rules: Vec::new(),
///         enrich: Vec::new(),
///         lookups: Vec::new(),
///         dedup_key: vec!["transaction_id".to_owned()],
///         windows: Vec::new(),
///         stored: StoredForm::default(),
///     },
///     source: SourceOptions::Generator(GeneratorOptions {
///         count: Some(1_000),
///         ..GeneratorOptions::default()
///     }),
///     storage: StorageOptions::new("memory:"),
///     warehouse: None,
///     batch: BatchOptions::default(),
///     memory: 64 << 20,
///     threads: 2,
///     load: LoadOptions::default(),
///     lookups: Vec::new(),
///     until_caught_up: true,
///     live: false,
///     clock: Clock::System,
/// };
/// let summary = Engine::start(options).await?.wait().await?;
/// let status = &summary.status;
/// assert_eq!(status.read, 1_000);
/// let ends = status.events + status.late + status.rejected + status.duplicates;
/// assert_eq!(ends, status.read);
/// # Ok::<(), tidegate_engine::EngineError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Recovers the job from its log, or founds it, and starts it. Call it from a tokio runtime
    /// with several threads, which the job uses for its IO as long as it runs.
    ///
    /// # Errors
    /// If something that the job needs cannot be opened, or its log is not whole.
    pub async fn start(options: EngineOptions) -> Result<RunningJob, EngineError> {
        Starting::new(&options).start(options).await
    }

    /// As [`Engine::start`], over a source of the caller's own, which has no end; `options.source`
    /// is not looked at. For programs that have their events from elsewhere, and for tests that say
    /// what comes when.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn start_over(
        options: EngineOptions,
        open: OpenSource,
    ) -> Result<RunningJob, EngineError> {
        Starting::new(&options)
            .start_over(options, open, false)
            .await
    }
}

/// Opens a source at the positions of the log.
pub type OpenSource =
    Box<dyn FnOnce(&Resume, &ChunkLimits, &Clock) -> Result<Box<dyn Source>, SourceError> + Send>;

impl Starting {
    /// Starts the job: see [`Engine::start`]. The options are those that this was made with.
    ///
    /// # Errors
    /// If something that the job needs cannot be opened, or its log is not whole.
    pub async fn start(self, options: EngineOptions) -> Result<RunningJob, EngineError> {
        let bounded = options.source.is_bounded();
        if options.until_caught_up
            && !bounded
            && matches!(options.source, SourceOptions::Generator(_))
        {
            return Err(EngineError::Unbounded);
        }
        let source = options.source.clone();
        let open = move |resume: &Resume, limits: &ChunkLimits, clock: &Clock| {
            source.open(resume, *limits, clock)
        };
        self.start_over(options, Box::new(open), bounded).await
    }

    async fn start_over(
        self,
        options: EngineOptions,
        open: OpenSource,
        bounded: bool,
    ) -> Result<RunningJob, EngineError> {
        let runtime = runtime::Handle::current();
        tokio::task::spawn_blocking(move || start(options, open, bounded, &self, &runtime))
            .await
            .unwrap_or(Err(EngineError::Panicked("starting")))
    }
}

fn start(
    options: EngineOptions,
    open: OpenSource,
    bounded: bool,
    starting: &Starting,
    runtime: &runtime::Handle,
) -> Result<RunningJob, EngineError> {
    let started = Instant::now();
    let plan = Arc::new(Plan::compile(&options.spec).map_err(EngineError::Spec)?);
    let reference = load_lookups(&options)?;
    starting.reach_storage(&options, runtime)?;
    let storage = Storage::open(&options.storage)?;
    let shared = Arc::clone(&starting.shared);
    let recovered = recover(&options, &plan, &storage, &shared, runtime)?;
    let Recovered {
        mut log,
        lanes,
        meaning,
    } = recovered;

    let known = known_tables(options.warehouse.as_ref(), &plan, &meaning);
    let loader = open_loader(&options, &plan, &meaning, &log, &storage, &shared, runtime)?;
    let limits = ChunkLimits::default();
    let source = open(&resume(log.state()), &limits, &options.clock)?;

    let news = commit_change(&mut log, &meaning, runtime)?;
    shared.show_log(log.state());

    let preparers = preparers(&options, &plan, log.state())?;
    let live = options.live.then(|| Live::new(&plan));
    let mut state = State::new(
        Arc::clone(&plan),
        Arc::clone(&shared),
        options.batch.clone(),
        ends_at(&options, bounded),
        log.state(),
        lanes,
        live.clone(),
    );
    state.announce_meaning(news);
    shared.update().phase = Phase::Running;
    let mut job = RunningJob {
        handle: Handle {
            monitor: starting.monitor(),
            job: log.state().job.clone(),
            plan,
            storage,
            tables: known.all.into(),
            removed: known.removed.into(),
            lookups: Arc::new(RwLock::new(reference)),
            reader: loader.as_ref().and_then(JobLoader::reader),
            live,
        },
        threads: Vec::new(),
        started,
        read_before: log.state().totals.read,
    };
    job.spawn_stages(Stages {
        source,
        preparers,
        state,
        log,
        loader,
        runtime: runtime.clone(),
    })?;
    watch_lookups(&mut job, options)?;
    Ok(job)
}

/// The reference tables, one for each lookup of the spec.
fn load_lookups(options: &EngineOptions) -> Result<LookupTables, EngineError> {
    let mut tables = Vec::new();
    for (spec, source) in options.spec.lookups.iter().zip(&options.lookups) {
        tables.push(Arc::new(lookups::load(spec, source)?));
    }
    Ok(Arc::new(tables))
}

/// Starts the thread that loads reference tables again when their files change, if there are any.
fn watch_lookups(job: &mut RunningJob, options: EngineOptions) -> Result<(), EngineError> {
    if options.lookups.is_empty() {
        return Ok(());
    }
    let (specs, sources) = (options.spec.lookups, options.lookups);
    let current = Arc::clone(&job.handle.lookups);
    job.spawn("lookups", move |shared| {
        lookups::watch(&specs, &sources, &current, shared)
    })
}

/// A preparer for each worker.
fn preparers(
    options: &EngineOptions,
    plan: &Arc<Plan>,
    log: &JobState,
) -> Result<Vec<Preparer>, EngineError> {
    let workers = 0..options.threads.max(1);
    let preparers = workers.map(|_| Preparer::new(Arc::clone(plan), log.fingerprint_seed));
    Ok(preparers.collect::<Result<Vec<_>, _>>()?)
}

/// A job with an end of its own ends there, and no earlier.
fn ends_at(options: &EngineOptions, bounded: bool) -> EndsAt {
    if options.until_caught_up && !bounded {
        EndsAt::CaughtUp
    } else {
        EndsAt::SourceEnd
    }
}

/// What a job goes on from.
struct Recovered {
    log: CommitLog,
    lanes: BTreeMap<i32, Lane>,
    meaning: Meaning,
}

/// Recovers the log, or founds it, compares the configuration with it, and rebuilds the lanes.
fn recover(
    options: &EngineOptions,
    plan: &Arc<Plan>,
    storage: &Storage,
    shared: &Arc<Shared>,
    runtime: &runtime::Handle,
) -> Result<Recovered, EngineError> {
    let started = Instant::now();
    let log = open_log(options, plan, storage, shared, runtime)?;
    let adopted = adopt::adopt(options, plan, log.state())?;
    let threads = options.threads.max(1);
    let rebuilt = restore::restore(plan, log.state(), storage, runtime, threads)?;
    let meaning = adopted.begin(plan, log.state(), &rebuilt);
    let lanes = rebuilt.lanes;
    let keys: usize = lanes.values().map(Lane::len).sum();
    let seconds = started.elapsed().as_secs_f64();
    match log.state().last_seq {
        1 => tracing::info!(job = %options.job, seconds, "job is new: nothing is committed yet"),
        commits => tracing::info!(job = %options.job, commits, keys, seconds, "job recovered"),
    }
    Ok(Recovered {
        log,
        lanes,
        meaning,
    })
}

/// Recovers the log, or founds it, and shows what it says.
fn open_log(
    options: &EngineOptions,
    plan: &Plan,
    storage: &Storage,
    shared: &Arc<Shared>,
    runtime: &runtime::Handle,
) -> Result<CommitLog, EngineError> {
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
    shared.show_log(log.state());
    shared.update().before = Before {
        read: log.state().totals.read,
        rejected_by: log.state().rejected_by.clone(),
    };
    if log.state().totals.gone > 0 {
        let (shared, storage) = (Arc::clone(shared), storage.clone());
        runtime.spawn(show_lately_gone(shared, storage, log.state().last_seq));
    }
    Ok(log)
}

/// The loader, where this process loads.
fn open_loader(
    options: &EngineOptions,
    plan: &Arc<Plan>,
    meaning: &Meaning,
    log: &CommitLog,
    storage: &Storage,
    shared: &Arc<Shared>,
    runtime: &runtime::Handle,
) -> Result<Option<JobLoader>, EngineError> {
    let Some(warehouse) = options
        .warehouse
        .as_ref()
        .filter(|_| !options.load.separate)
    else {
        return Ok(None);
    };
    let setup = LoaderSetup {
        warehouse: warehouse.bounded(options.memory),
        load: options.load.clone(),
        plan: Arc::clone(plan),
        meaning: meaning.clone(),
        meaning_at: log.state().last_seq,
        job: log.state().job.clone(),
        storage: storage.clone(),
        runtime: runtime.clone(),
        clock: options.clock.clone(),
    };
    JobLoader::open(setup, shared).map(Some)
}

/// Shows when a commit of the last hour, up to the record `last_seq`, said that offsets had expired
/// at the source, so that a process which is started again before anybody asked still says so. It
/// may have to read all commits of that hour, which the start does not wait for.
async fn show_lately_gone(shared: Arc<Shared>, storage: Storage, last_seq: u64) {
    match lately_gone(&storage, last_seq, shared.clock.now_micros()).await {
        Ok(None) => {}
        Ok(at) => {
            let mut status = shared.update();
            // What has been committed since is later.
            status.gone_at = status.gone_at.or(at);
        }
        Err(error) => tracing::warn!(
            "it is not known whether offsets expired at the source in the last hour: {error}"
        ),
    }
}

async fn lately_gone(storage: &Storage, last_seq: u64, now: i64) -> Result<Option<i64>, ReadError> {
    const HOUR_MICROS: i64 = 3_600_000_000;
    const READ_AT_ONCE: u64 = 64;
    const READ_MAX: u64 = 4_096;
    let mut last = last_seq;
    while last > last_seq.saturating_sub(READ_MAX) {
        let first = last.saturating_sub(READ_AT_ONCE - 1).max(1);
        let count = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
        let records = read_records(storage, first, count).await?;
        for record in records.iter().rev() {
            if record.written_at < now.saturating_sub(HOUR_MICROS) {
                return Ok(None);
            }
            if record.partitions.iter().any(|span| span.gone > 0) {
                return Ok(Some(record.written_at));
            }
        }
        last = first - 1;
    }
    Ok(None)
}

/// Commits a changed meaning before anything is done by it, so that what is written or loaded next
/// is never of another meaning than the log says. Returns that of a log which says nothing yet: it
/// comes with the first batch.
fn commit_change(
    log: &mut CommitLog,
    meaning: &Meaning,
    runtime: &runtime::Handle,
) -> Result<Option<serde_json::Value>, EngineError> {
    let said = adopt::to_be_said(meaning, log.state());
    if said.is_none() || log.state().plan.is_none() {
        return Ok(said);
    }
    let draft = Draft {
        plan: said,
        complete: log.state().complete,
        ..Draft::default()
    };
    runtime.block_on(log.commit(draft))?;
    Ok(None)
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
                    identity: p.identity.clone(),
                },
            )
        })
        .collect();
    Resume { partitions }
}
