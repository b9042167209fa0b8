//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use tidegate_engine::{Handle, Status};
use tidegate_warehouse::{QueryGuard, TableSpec};

use crate::assets::Assets;
use crate::cache::FileCache;
use crate::guard::Guard;
use crate::handlers::live::Clients;
use crate::history::History;
use crate::hot::writer::{Changed, SharedHealth, Writer};
use crate::hot::{HotError, HotStore, memory, redis::RedisStore};
use crate::index::SharedIndex;
use crate::ingest::Ingest;
use crate::job::{self, JobBody};
use crate::live::Hub;
use crate::metrics::Fixed;
use crate::options::{HotOptions, ServeOptions, WarehouseInfo};
use crate::tiers::Tiers;
use crate::tiers::cold::Cold;
use crate::tiers::hot::Hot;
use crate::tiers::warm::{Turns, Warm};
use crate::view::View;

/// Why a job cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The hot tier's store cannot be used.
    #[error("cannot use the hot tier: {0}")]
    Hot(String),
    /// There is no place for files that are fetched.
    #[error("cannot make a temporary folder for files of the cold tier: {0}")]
    Folder(std::io::Error),
    /// SQL cannot be checked.
    #[error("cannot check SQL: {0}")]
    Guard(#[from] tidegate_warehouse::DatabaseError),
}

impl From<HotError> for ServeError {
    fn from(error: HotError) -> Self {
        ServeError::Hot(error.to_string())
    }
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct App {
    /// The running job.
    pub(crate) job: Handle,
    /// The answer of `/v1/job`, which never changes.
    pub(crate) about: JobBody,
    /// The views that the job computes.
    pub(crate) views: Arc<Vec<View>>,
    /// Those that were taken out of the configuration, and can be asked.
    pub(crate) removed: Vec<View>,
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
    /// So long may something outside be away before this process is not ready.
    pub(crate) ready_after: Duration,
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

impl Fixed {
    fn new(options: &ServeOptions, job: &Handle) -> Self {
        Fixed {
            pipeline: options.name.clone(),
            version: options.version.clone(),
            batch_interval: options.batch_interval,
            load_interval: options
                .warehouse
                .as_ref()
                .filter(|_| !options.is_load_separate)
                .map(|_| options.load_interval),
            is_load_separate: options.warehouse.is_some() && options.is_load_separate,
            contract: options.contract,
            quality: options.quality,
            reasons: job.plan().reject_reasons(),
            started_at: job.clock().now_micros(),
        }
    }
}

impl App {
    /// Everything that handlers need, and what has to run beside them.
    pub(crate) fn new(
        options: &ServeOptions,
        job: Handle,
        ingest: Option<Arc<Ingest>>,
        gate: Arc<Guard>,
    ) -> Result<(Self, Background), ServeError> {
        let views = Arc::new(View::computed(job.plan(), job.job()));
        let monitor = job.monitor().clone();
        let index = SharedIndex::new(move || monitor.status().last_seq);
        let turns = Turns::new();
        let changed = tokio::sync::broadcast::Sender::new(CHANGES_MAX);
        let health = SharedHealth::default();
        let (hot, writer) = match job.live() {
            None => (None, None),
            Some(live) => {
                let (store, keep) = hot_store(&options.hot, &options.name)?;
                let writer = Writer {
                    live: live.clone(),
                    views: Arc::clone(&views),
                    store: Arc::clone(&store),
                    clock: job.clock().clone(),
                    health: Arc::clone(&health),
                    changed: changed.clone(),
                };
                (Some(Hot::new(store, health, keep)), Some(writer))
            }
        };
        let tiers = Tiers {
            hot,
            warm: Warm {
                reader: job.warehouse().cloned(),
                why_not: why_no_warehouse(options.warehouse.as_ref()),
                turns: turns.clone(),
            },
            cold: Cold {
                storage: job.storage().clone(),
                tables: job.tables().to_vec(),
                index: index.clone(),
                cache: FileCache::new(job.storage().clone()).map_err(ServeError::Folder)?,
                turns,
            },
            index: index.clone(),
            clock: job.clock().clone(),
        };
        let tables = table_names(options.warehouse.as_ref(), job.tables());
        let removed = View::removed(job.removed_windows(), job.job());
        let names = job.tables().iter().map(|table| table.name.clone());
        let all_views = views.iter().chain(&removed);
        let readable = QueryGuard::new(
            names.chain(all_views.map(|view| view.name.clone())),
            options.guard.limits.sql_bytes,
        )?;
        let app = App {
            about: job::about(options, &job),
            fixed: Fixed::new(options, &job),
            ready_after: options.ready_after,
            job,
            views,
            removed,
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
        self.job.status()
    }

    /// All views that can be asked.
    pub(crate) fn known_views(&self) -> impl Iterator<Item = &View> {
        self.views.iter().chain(&self.removed)
    }

    /// The view of that name that the job computes, and its place.
    pub(crate) fn computed_view(&self, name: &str) -> Option<(usize, &View)> {
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
