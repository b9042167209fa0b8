//! `tidegate run`: a pipeline, from start to clean end.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_base::clock::Clock;
use tidegate_engine::{EngineOptions, Handle, Monitor, Starting, WarehouseKind};
use tidegate_serve::local::LocalServer;
use tidegate_serve::{BindError, ServeOptions, Server, WarehouseInfo};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::{failures, load_config, query, runtime};
use crate::cli::{ProgressArgs, RunArgs};
use crate::config::options::Config;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::summary::RunReport;
use crate::terminal::Terminal;

/// Threads that answer over HTTP, at most. What is heavy, such as SQL, runs beside them.
const HTTP_THREADS_MAX: usize = 4;

/// How a pipeline is run, beside its configuration.
#[derive(Debug)]
pub(super) struct How {
    /// Ends once everything is processed that the source held at the start.
    pub(super) until_caught_up: bool,
    /// The present, if it is not the machine's: microseconds since the Unix epoch.
    pub(super) now: Option<i64>,
    /// Ends after this time.
    pub(super) duration: Option<Duration>,
    /// How progress is shown.
    pub(super) progress: ProgressArgs,
    /// Listens on any free port where the configured one is taken, and says on which.
    pub(super) any_port: bool,
}

/// Runs a configuration and prints the summary.
pub(super) fn run(args: &RunArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let loaded = load_config(&args.config)?;
    let how = How {
        until_caught_up: args.until_caught_up,
        now: args.now,
        duration: None,
        progress: args.progress.clone(),
        any_port: false,
    };
    let report = run_config(&loaded.config, &how, terminal)?;
    output::answer(&report.show(args.summary))?;
    Ok(Exit::Success)
}

/// Runs a configuration to its end.
pub(super) fn run_config(
    config: &Config,
    how: &How,
    terminal: &Terminal,
) -> Result<RunReport, Failure> {
    let runtime = runtime()?;
    // Who looks does not take turns with commits and loads.
    let http = config.http_listen.map(|_| http_runtime()).transpose()?;
    let served_on = http.as_ref().map(Runtime::handle);
    let report = runtime.block_on(run_async(config, how, terminal, served_on));
    // A query that is still being answered does not hold up the end.
    if let Some(http) = http {
        http.shutdown_background();
    }
    runtime.shutdown_background();
    report
}

async fn run_async(
    config: &Config,
    how: &How,
    terminal: &Terminal,
    served_on: Option<&tokio::runtime::Handle>,
) -> Result<RunReport, Failure> {
    let mut signals = Signals::new()?;
    // Before anything is opened, so that a port that is taken costs nothing.
    let http = match config.http_listen.zip(served_on) {
        Some((address, served_on)) => {
            let options = serve_options(config, address, "http.listen");
            let listening = listen(options, how.any_port);
            let listening = served_on.spawn(listening).await.map_err(Failure::other)?;
            Some((listening?, served_on))
        }
        None => None,
    };
    let options = engine_options(config, how.until_caught_up, how.now);
    let starting = Starting::new(&options);
    let start_shown = match &http {
        Some((server, served_on)) => Some(serve_start(server, starting.monitor(), served_on)?),
        None => None,
    };
    let job = tokio::select! {
        started = starting.start(options) => started.map_err(|error| failures::engine(&error))?,
        exit = signals.next() => {
            return Err(Failure::new(exit, "stopped while it was starting").hint("nothing was read; start it again"));
        }
    };
    drop(start_shown);
    let handle = job.handle().clone();
    let mut tasks = Tasks::default();
    let served = http.map(|(server, served_on)| serve_job(server, &handle, served_on));
    serve_queries(config, &handle, &mut tasks);
    watch_signals(signals, &handle, terminal, &mut tasks);
    if let Some(duration) = how.duration {
        let handle = handle.clone();
        tasks.spawn(async move {
            tokio::time::sleep(duration).await;
            handle.stop();
        });
    }
    let mut progress = Progress::new(&config.name, &how.progress, terminal);
    let outcome = tokio::select! {
        outcome = job.wait() => outcome,
        never = progress.show(handle.monitor()) => match never {},
    };
    // Whoever has the last handle closes the warehouse. Let that be one of the tasks, which are
    // waited for.
    drop(handle);
    progress.clear();
    let failed = match served {
        // It ends by itself within seconds.
        Some((serving, server)) => {
            drop(serving);
            server.await.ok().flatten()
        }
        None => None,
    };
    tasks.end().await;
    let summary = outcome.map_err(|error| failures::engine(&error))?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(RunReport::new(&config.name, summary, terminal.lost_lines())),
    }
}

/// Its end, when it is dropped, is the sign for a server to end.
type Serving = tokio::sync::oneshot::Sender<()>;

/// Serves a job that is starting, until what this gives is dropped.
fn serve_start(
    server: &Server,
    starting: Monitor,
    served_on: &tokio::runtime::Handle,
) -> Result<Serving, Failure> {
    let (serving, ended) = tokio::sync::oneshot::channel();
    let shown = server.serve_start(starting, async move {
        let _ = ended.await;
    });
    served_on.spawn(shown.map_err(Failure::other)?);
    Ok(serving)
}

/// Serves a running job, until the first part of what this gives is dropped. The second says why it
/// could not be served any longer, if it could not: the job ends then.
fn serve_job(
    server: Server,
    handle: &Handle,
    served_on: &tokio::runtime::Handle,
) -> (Serving, JoinHandle<Option<Failure>>) {
    let (serving, ended) = tokio::sync::oneshot::channel();
    tracing::info!(address = %server.address(), "HTTP: the dashboard, /healthz, /readyz and the API under /v1");
    let stop = async move {
        // The sender is never used: that it is gone is the sign.
        let _ = ended.await;
    };
    let served = served_on.spawn(server.serve(handle.clone(), stop));
    let handle = handle.clone();
    // Who asks and gets no answer must not believe that the job is down: then it really stops.
    let server = served_on.spawn(async move {
        let failure = failures::serving(served.await)?;
        tracing::error!("{}; the job ends", failure.message);
        handle.stop();
        Some(failure)
    });
    (serving, server)
}

/// The first signal ends the job cleanly, the second at once.
fn watch_signals(signals: Signals, handle: &Handle, terminal: &Terminal, tasks: &mut Tasks) {
    let handle = handle.clone();
    let terminal = terminal.clone();
    tasks.spawn(signals.watch(
        move || {
            handle.stop();
            tracing::info!(
                "ending: what is in flight is committed and loaded; once more ends at once"
            );
        },
        move || {
            // What is not committed is read again by the next run.
            let _ = terminal.bars().clear();
            output::error("ended at once; the next run goes on from the last commit\n");
        },
    ));
}

async fn listen(options: ServeOptions, any_port: bool) -> Result<Server, Failure> {
    raise_file_limit();
    let ip = options.listen.ip();
    let mut bound = Server::bind(options.clone()).await;
    if any_port {
        if matches!(bound, Err(BindError::Address { .. })) {
            let listen = SocketAddr::new(ip, 0);
            bound = Server::bind(ServeOptions { listen, ..options }).await;
        }
        if let Ok(server) = &bound {
            output::error(&format!("Look at it: http://{}/\n\n", server.address()));
        }
    }
    bound.map_err(cannot_listen)
}

/// What to do where the server cannot listen.
pub(super) fn cannot_listen(error: BindError) -> Failure {
    match &error {
        BindError::Address { key, .. } => {
            let hint =
                format!("another process may have the port; take another one, or leave {key} out");
            Failure::other(error).hint(hint)
        }
        BindError::Unguarded { .. }
        | BindError::Hot(_)
        | BindError::Guard(_)
        | BindError::Ingest(_) => Failure::new(Exit::InvalidConfig, error),
    }
}

/// Each connection is an open file, and systems begin with few (1,024) where more may be had for
/// the asking.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files stays");
        }
    }
}

/// The threads that answer over HTTP.
pub(super) fn http_runtime() -> Result<Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Builder::new_multi_thread()
        .worker_threads((cores / 4).clamp(1, HTTP_THREADS_MAX))
        .thread_name("tidegate-http")
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start threads: {error}")))
}

/// What the server is told.
pub(super) fn serve_options(
    config: &Config,
    listen: SocketAddr,
    listen_key: &'static str,
) -> ServeOptions {
    ServeOptions {
        listen,
        listen_key,
        name: config.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        batch_interval: config.batch.interval,
        load_interval: config.load.interval,
        is_load_separate: config.load.separate,
        ready_after: config.ready_after,
        contract: config.contract,
        quality: config.quality,
        warehouse: config.warehouse.as_ref().map(|warehouse| WarehouseInfo {
            kind: match warehouse.kind {
                WarehouseKind::DuckDb { .. } => "duckdb",
                WarehouseKind::Redshift(_) => "redshift",
            },
            table: warehouse.table.clone(),
            rejected_table: warehouse.rejected_table.clone(),
            upsert_key: config.upsert_key.clone(),
        }),
        hot: config.hot.clone(),
        charts: config.charts.clone(),
        guard: config.http_guard.clone(),
        ingest: config.http_ingest.clone(),
    }
}

/// Answers queries, if there is a warehouse. The pipeline does not depend on it.
fn serve_queries(config: &Config, handle: &Handle, tasks: &mut Tasks) {
    let (Some(warehouse), Some(reader)) = (&config.warehouse, handle.warehouse().cloned()) else {
        return;
    };
    let Some(file) = warehouse.file() else { return };
    match LocalServer::bind(file) {
        Ok(server) => {
            tasks.spawn(async move { server.serve(query::answerer(reader)).await });
        }
        Err(error) => {
            tracing::warn!(%error, "`tidegate query` cannot reach this process while it runs")
        }
    }
}

/// Tasks that end with the pipeline.
#[derive(Debug, Default)]
struct Tasks(tokio::task::JoinSet<()>);

impl Tasks {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    /// Ends them, and waits until they have let go of the warehouse: the last one closes it, which
    /// takes a checkpoint, and the process must not end meanwhile.
    async fn end(mut self) {
        self.0.shutdown().await;
    }
}

/// What the engine is told. `now` is the present, if it is not the machine's.
pub(super) fn engine_options(
    config: &Config,
    until_caught_up: bool,
    now: Option<i64>,
) -> EngineOptions {
    EngineOptions {
        job: config.name.clone(),
        spec: config.spec.clone(),
        source: config.source.clone(),
        storage: config.storage.clone(),
        warehouse: config.warehouse_options(),
        batch: config.batch.clone(),
        memory: config.memory_in_flight,
        threads: match config.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            threads => threads,
        },
        load: config.load.clone(),
        lookups: config.lookups.clone(),
        until_caught_up,
        live: config.http_listen.is_some(),
        clock: now.map_or(Clock::System, Clock::manual),
    }
}
