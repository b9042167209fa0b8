//! What handlers share.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tidegate_core::clock::Clock;
use tidegate_core::lookup::LookupTables;
use tidegate_core::plan::Plan;
use tidegate_engine::{Latency, Live, Status};
use tidegate_log::Storage;
use tidegate_warehouse::{QueryGuard, TableSpec, WarehouseReader};

use crate::assets::Assets;
use crate::cache::FileCache;
use crate::guard::Guard;
use crate::handlers::live::Clients;
use crate::history::History;
use crate::hot::writer::{Changed, SharedHealth, Writer};
use crate::hot::{HotError, HotStore, memory, redis::RedisStore};
use crate::index::SharedIndex;
use crate::ingest::Ingest;
use crate::job;
use crate::live::Hub;
use crate::metrics::Fixed;
use crate::options::{HotOptions, ServeOptions, WarehouseInfo};
use crate::tiers::Tiers;
use crate::tiers::cold::Cold;
use crate::tiers::hot::Hot;
use crate::tiers::warm::{Turns, Warm};
use crate::view::View;

/// Gives the present status.
pub type StatusFn = Arc<dyn Fn() -> Status + Send + Sync>;

/// Gives how long events are under way.
pub type LatencyFn = Arc<dyn Fn() -> Latency + Send + Sync>;
/// Gives the reference tables as they are now.
pub type LookupsFn = Arc<dyn Fn() -> LookupTables + Send + Sync>;

/// A running job, as the engine hands it out.
#[derive(Clone)]
pub struct Job {
    /// Gives the present status.
    pub status: StatusFn,
    /// Gives how long events are under way.
    pub latency: LatencyFn,
    /// What happens to an event.
    pub plan: Arc<Plan>,
    /// The reference tables of its lookups.
    pub lookups: LookupsFn,
    /// Where the job's files are.
    pub storage: Storage,
    /// Read-only queries on the warehouse, if it is in this process.
    pub warehouse: Option<WarehouseReader>,
    /// All tables of the job, as a warehouse has them.
    pub tables: Vec<TableSpec>,
    /// Live values of windows, if they are handed out.
    pub live: Option<Live>,
    /// Where "now" comes from.
    pub clock: Clock,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

/// Why a job cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Hot(#[from] HotError),
    #[error("cannot make a temporary folder for files of the cold tier: {0}")]
    Folder(std::io::Error),
    #[error(transparent)]
    Guard(#[from] tidegate_warehouse::DatabaseError),
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) job: Job,
    /// The answer of `/v1/job`, which never changes.
    pub(crate) about: Value,
    pub(crate) views: Arc<Vec<View>>,
    pub(crate) tiers: Tiers,
    /// Names of tables and the upsert key.
    pub(crate) tables: TableNames,
    /// What SQL may read.
    pub(crate) readable: QueryGuard,
    pub(crate) history: History,
    pub(crate) hub: Hub,
    pub(crate) clients: Clients,
    pub(crate) assets: Assets,
    /// Takes events in, if that is asked for.
    pub(crate) ingest: Option<Arc<Ingest>>,
    /// What stands before the routes, for its counts.
    pub(crate) gate: Arc<Guard>,
    /// What metrics say that never changes.
    pub(crate) fixed: Fixed,
}

/// How tables of the job are called.
#[derive(Debug, Clone)]
pub(crate) struct TableNames {
    pub(crate) events: String,
    pub(crate) rejected: String,
    pub(crate) upsert_key: Vec<String>,
}

/// What runs beside the server.
pub(crate) struct Background {
    pub(crate) writer: Option<Writer>,
    pub(crate) changed: tokio::sync::broadcast::Sender<Changed>,
    pub(crate) index: SharedIndex,
}

/// Changes that wait for who shows them, at most; who is slower looks at the store again.
const CHANGES_MAX: usize = 16;

impl App {
    /// Everything that handlers need, and what has to run beside them.
    pub(crate) fn new(
        options: &ServeOptions,
        job: Job,
        ingest: Option<Arc<Ingest>>,
        gate: Arc<Guard>,
    ) -> Result<(Self, Background), StartError> {
        let views = Arc::new(View::all(&job.plan));
        let index = SharedIndex::default();
        let turns = Turns::new();
        let changed = tokio::sync::broadcast::Sender::new(CHANGES_MAX);
        let health = SharedHealth::default();
        let (hot, writer) = match &job.live {
            None => (None, None),
            Some(live) => {
                let (store, keep) = hot_store(&options.hot, &options.name)?;
                let writer = Writer {
                    live: live.clone(),
                    views: Arc::clone(&views),
                    store: Arc::clone(&store),
                    clock: job.clock.clone(),
                    health: Arc::clone(&health),
                    changed: changed.clone(),
                };
                (Some(Hot::new(store, health, keep)), Some(writer))
            }
        };
        let tiers = Tiers {
            hot,
            warm: Warm {
                reader: job.warehouse.clone(),
                why_not: why_no_warehouse(options.warehouse.as_ref()),
                turns: turns.clone(),
            },
            cold: Cold {
                storage: job.storage.clone(),
                tables: job.tables.clone(),
                index: Arc::clone(&index),
                cache: FileCache::new(job.storage.clone()).map_err(StartError::Folder)?,
                turns,
            },
            index: Arc::clone(&index),
            clock: job.clock.clone(),
        };
        let tables = table_names(options.warehouse.as_ref(), &job.tables);
        let names = job.tables.iter().map(|table| table.name.clone());
        let readable = QueryGuard::new(names.chain(views.iter().map(|view| view.name.clone())))?;
        let app = App {
            about: job::about(options, &job),
            fixed: Fixed {
                pipeline: options.name.clone(),
                version: options.version.clone(),
                batch_interval: options.batch_interval,
                load_interval: options.warehouse.as_ref().map(|_| options.load_interval),
                started_at: job.clock.now_micros(),
            },
            job,
            views,
            tiers,
            tables,
            readable,
            history: History::default(),
            hub: Hub::default(),
            clients: Clients::default(),
            assets: Assets::new(),
            ingest,
            gate,
        };
        let background = Background {
            writer,
            changed,
            index,
        };
        Ok((app, background))
    }

    /// The job as it is now.
    pub(crate) fn status(&self) -> Status {
        (self.job.status)()
    }

    /// The view of that name, and its place.
    pub(crate) fn view(&self, name: &str) -> Option<(usize, &View)> {
        self.views
            .iter()
            .enumerate()
            .find(|(_, view)| view.name == name)
    }
}

/// The store of live values, and how long it keeps them, in microseconds.
fn hot_store(options: &HotOptions, job: &str) -> Result<(Arc<dyn HotStore>, i64), HotError> {
    let keep = options.keep_micros();
    let store: Arc<dyn HotStore> = match &options.url {
        Some(url) => Arc::new(RedisStore::new(url, options, job)?),
        None => memory::store(keep),
    };
    Ok((store, keep))
}

fn why_no_warehouse(warehouse: Option<&WarehouseInfo>) -> &'static str {
    match warehouse.map(|warehouse| warehouse.kind) {
        None => "this job has no warehouse",
        Some("redshift") => "Redshift answers only its own clients",
        Some(_) => "another process loads the warehouse and has it open",
    }
}

fn table_names(warehouse: Option<&WarehouseInfo>, tables: &[TableSpec]) -> TableNames {
    match warehouse {
        Some(warehouse) => TableNames {
            events: warehouse.table.clone(),
            rejected: warehouse.rejected_table.clone(),
            upsert_key: warehouse.upsert_key.clone(),
        },
        None => {
            let name = |place: usize| {
                tables
                    .get(place)
                    .map(|table| table.name.clone())
                    .unwrap_or_default()
            };
            TableNames {
                events: name(0),
                rejected: name(1),
                upsert_key: Vec::new(),
            }
        }
    }
}
