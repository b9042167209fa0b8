//! What can be set.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

use crate::faults::RandomFaults;

/// How an emulator is to behave. [`Options::new`] takes Redshift's limits and no delays.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The database underneath, as `host=127.0.0.1 port=5432 user=postgres dbname=dev`. The user
    /// has to be a superuser, since an event trigger counts the bytes of VARCHAR columns.
    pub postgres: String,
    /// The name that callers give as `Database`.
    pub database: String,
    /// Where COPY finds its files.
    pub objects: Objects,
    /// How long a statement stays in each state before it runs.
    pub delays: Delays,
    /// What transactions see of each other.
    pub isolation: Isolation,
    /// How long a statement and its result are remembered once it has ended.
    pub remembered: Duration,
    /// How many statements may be under way.
    pub active_statements_max: usize,
    /// How many sessions may be open.
    pub sessions_max: usize,
    /// Rows in one page of a result.
    pub page_rows_max: usize,
    /// Bytes that one result may have.
    pub result_bytes_max: usize,
    /// Faults by chance, from the start.
    pub random_faults: Option<RandomFaults>,
}

impl Options {
    /// Options over the PostgreSQL at `postgres`, with a database named `dev` and files in
    /// `objects`.
    pub fn new(postgres: impl Into<String>, objects: Objects) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            postgres: postgres.into(),
            database: "dev".to_owned(),
            objects,
            delays: Delays::default(),
            isolation: Isolation::Snapshot,
            remembered: Duration::from_secs(24 * 60 * 60),
            active_statements_max: 200,
            sessions_max: 200,
            page_rows_max: 1000,
            result_bytes_max: 100 << 20,
            random_faults: None,
        }
    }
}

/// How long a statement stays in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delays {
    /// In SUBMITTED.
    pub submitted: Duration,
    /// In PICKED.
    pub picked: Duration,
    /// In STARTED, before the first SQL runs.
    pub started: Duration,
}

/// What transactions see of each other; `stv_db_isolation_level` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Redshift's default: PostgreSQL's REPEATABLE READ.
    #[default]
    Snapshot,
    /// PostgreSQL's SERIALIZABLE.
    Serializable,
}

/// Where COPY finds its files.
#[derive(Clone)]
pub enum Objects {
    /// An S3 endpoint; the bucket is that of the address.
    S3(S3),
    /// One store for every bucket: for tests with `object_store::memory::InMemory`.
    Store(Arc<dyn ObjectStore>),
}

/// An S3 endpoint, asked with path-style requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// As `http://127.0.0.1:9000`.
    pub endpoint: String,
    /// As `us-east-1`.
    pub region: String,
    /// The access key's id.
    pub access_key_id: String,
    /// The access key's secret.
    pub secret_access_key: String,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3(s3) => write!(f, "S3({})", s3.endpoint),
            Self::Store(store) => write!(f, "Store({store})"),
        }
    }
}
