//! What all parts of one emulator share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::copy::BucketStores;
use crate::errors::SqlError;
use crate::faults::Faults;
use crate::names::LongNames;
use crate::options::Options;
use crate::postgres::Postgres;
use crate::session::Sessions;
use crate::statement::Statements;

/// What has happened since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Calls, by operation; refused ones count too.
    pub calls: BTreeMap<String, u64>,
    /// Statements by the state in which they ended.
    pub statements: BTreeMap<String, u64>,
    /// Statements that have not ended.
    pub active_statements: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Transactions that were committed.
    pub commits: u64,
    /// Successful COPYs.
    pub copies: u64,
    /// Rows that they loaded.
    pub copied_rows: u64,
    /// Bytes of their files.
    pub copied_bytes: u64,
    /// Faults that have struck, by kind.
    pub faults: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) copies: AtomicU64,
    pub(crate) copied_rows: AtomicU64,
    pub(crate) copied_bytes: AtomicU64,
    calls: Mutex<BTreeMap<String, u64>>,
    ended: Mutex<BTreeMap<String, u64>>,
}

impl Counters {
    pub(crate) fn call(&self, operation: &str) {
        count(&self.calls, operation);
    }

    pub(crate) fn end(&self, status: &str) {
        count(&self.ended, status);
    }
}

fn count(counts: &Mutex<BTreeMap<String, u64>>, key: &str) {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry(key.to_owned()).or_default() += 1;
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) options: Options,
    pub(crate) faults: Faults,
    pub(crate) postgres: Postgres,
    pub(crate) buckets: BucketStores,
    pub(crate) statements: Statements,
    pub(crate) sessions: Sessions,
    pub(crate) counters: Counters,
    pub(crate) names: LongNames,
    query_id: AtomicI64,
}

impl Service {
    pub(crate) async fn new(options: Options) -> Result<Self, SqlError> {
        let postgres = Postgres::prepare(&options).await?;
        Ok(Self {
            names: LongNames::load(&postgres).await?,
            postgres,
            faults: Faults::new(options.random_faults),
            buckets: BucketStores::new(options.objects.clone()),
            statements: Statements::new(options.remembered, options.active_statements_max),
            sessions: Sessions::new(options.sessions_max),
            counters: Counters::default(),
            query_id: AtomicI64::new(1000),
            options,
        })
    }

    pub(crate) fn next_query_id(&self) -> i64 {
        self.query_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> Stats {
        let copy = |counts: &Mutex<BTreeMap<String, u64>>| {
            counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        Stats {
            calls: copy(&self.counters.calls),
            statements: copy(&self.counters.ended),
            active_statements: self.statements.active(),
            sessions: self.sessions.count(),
            commits: self.counters.commits.load(Ordering::Relaxed),
            copies: self.counters.copies.load(Ordering::Relaxed),
            copied_rows: self.counters.copied_rows.load(Ordering::Relaxed),
            copied_bytes: self.counters.copied_bytes.load(Ordering::Relaxed),
            faults: self
                .faults
                .struck()
                .into_iter()
                .map(|(kind, count)| (kind.to_owned(), count))
                .collect(),
        }
    }
}
