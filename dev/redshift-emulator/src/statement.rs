//! The life of a statement, from SUBMITTED to its end, and what is remembered of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::watch;

use crate::api::shapes::{ColumnMetadata, ExecutionMode, Field, RequestTarget, SqlParameter};
use crate::errors::ApiError;

/// How many statements are remembered at most; the oldest that have ended go first.
const REMEMBERED_MAX: usize = 20_000;
/// How long a ClientToken stands for its statement.
const TOKEN_KEPT: Duration = Duration::from_secs(8 * 60 * 60);

/// Where a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Status {
    Submitted,
    Picked,
    Started,
    Finished,
    Aborted,
    Failed,
}

impl Status {
    pub(crate) fn ended(self) -> bool {
        matches!(self, Self::Finished | Self::Aborted | Self::Failed)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Picked => "PICKED",
            Self::Started => "STARTED",
            Self::Finished => "FINISHED",
            Self::Aborted => "ABORTED",
            Self::Failed => "FAILED",
        }
    }
}

/// What a query has returned.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ResultSet {
    pub(crate) columns: Vec<ColumnMetadata>,
    pub(crate) rows: Vec<Vec<Field>>,
    pub(crate) bytes: usize,
}

/// One SQL statement: the only one, or one of a batch.
#[derive(Debug, Clone)]
pub(crate) struct SubStatement {
    pub(crate) sql: String,
    pub(crate) status: Status,
    pub(crate) created_at: f64,
    pub(crate) updated_at: f64,
    pub(crate) duration: Duration,
    /// -1 where there are none to count.
    pub(crate) rows: i64,
    pub(crate) error: Option<String>,
    pub(crate) query_id: i64,
    pub(crate) result: Option<Arc<ResultSet>>,
}

/// What changes while a statement runs.
#[derive(Debug, Clone)]
pub(crate) struct StatementState {
    pub(crate) status: Status,
    pub(crate) updated_at: f64,
    pub(crate) duration: Duration,
    pub(crate) error: Option<String>,
    pub(crate) pid: i64,
    pub(crate) parts: Vec<SubStatement>,
    pub(crate) ended: Option<Instant>,
}

/// One call of ExecuteStatement or BatchExecuteStatement.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) id: String,
    pub(crate) batch: bool,
    pub(crate) target: RequestTarget,
    pub(crate) name: Option<String>,
    pub(crate) parameters: Vec<SqlParameter>,
    pub(crate) session_id: Option<String>,
    pub(crate) mode: ExecutionMode,
    pub(crate) created_at: f64,
    /// Nobody knows its id any more, by a fault.
    pub(crate) forgotten: bool,
    pub(crate) state: watch::Sender<StatementState>,
    /// True once somebody wants it to end.
    pub(crate) cancelled: watch::Sender<bool>,
}

impl Statement {
    pub(crate) fn state(&self) -> StatementState {
        self.state.borrow().clone()
    }

    pub(crate) fn set_status(&self, status: Status) {
        self.state.send_modify(|state| {
            state.status = status;
            state.updated_at = now();
            if status.ended() {
                state.ended = Some(Instant::now());
            }
        });
    }

    pub(crate) fn part(&self, at: usize, change: impl FnOnce(&mut SubStatement)) {
        self.state.send_modify(|state| {
            if let Some(part) = state.parts.get_mut(at) {
                change(part);
                part.updated_at = now();
            }
        });
    }

    /// Waits until it has ended, or until `most` has passed.
    pub(crate) async fn wait(&self, most: Duration) {
        let mut changes = self.state.subscribe();
        let ended = changes.wait_for(|state| state.status.ended());
        // Whether it ended or not, the caller looks.
        let _ = tokio::time::timeout(most, ended).await;
    }

    pub(crate) fn operation(&self) -> &'static str {
        if self.batch {
            "BatchExecuteStatement"
        } else {
            "ExecuteStatement"
        }
    }
}

/// Seconds since 1970, as the Data API writes moments.
pub(crate) fn now() -> f64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (since.as_secs_f64() * 1000.0).round() / 1000.0
}

#[derive(Debug, Default)]
struct StatementIndex {
    by_id: HashMap<String, Arc<Statement>>,
    order: VecDeque<String>,
    tokens: HashMap<String, (String, Instant)>,
    active: usize,
}

/// All statements that are remembered.
#[derive(Debug)]
pub(crate) struct Statements {
    known: Mutex<StatementIndex>,
    remembered: Duration,
    active_max: usize,
}

impl Statements {
    pub(crate) fn new(remembered: Duration, active_max: usize) -> Self {
        Self {
            known: Mutex::default(),
            remembered,
            active_max,
        }
    }

    /// Takes a statement in, unless there are too many, or one came with the same token: then that
    /// one comes back.
    pub(crate) fn add(
        &self,
        statement: Arc<Statement>,
        token: Option<&str>,
    ) -> Result<Option<Arc<Statement>>, ApiError> {
        let mut known = self.lock();
        if let Some(before) = token.and_then(|token| known.tokens.get(token))
            && let Some(statement) = known.by_id.get(&before.0)
        {
            return Ok(Some(Arc::clone(statement)));
        }
        if known.active >= self.active_max {
            return Err(ApiError::ActiveStatements(format!(
                "Active statements exceeded the allowed quota ({}).",
                self.active_max
            )));
        }
        if let Some(token) = token {
            known
                .tokens
                .insert(token.to_owned(), (statement.id.clone(), Instant::now()));
        }
        known.active += 1;
        known.order.push_back(statement.id.clone());
        known.by_id.insert(statement.id.clone(), statement);
        Ok(None)
    }

    /// Takes one out again that did not start.
    pub(crate) fn remove(&self, id: &str, token: Option<&str>) {
        let mut known = self.lock();
        known.by_id.remove(id);
        known.active = known.active.saturating_sub(1);
        if let Some(token) = token {
            known.tokens.remove(token);
        }
    }

    /// One that has ended does not count as active any more.
    pub(crate) fn ended(&self) {
        let mut known = self.lock();
        known.active = known.active.saturating_sub(1);
    }

    pub(crate) fn active(&self) -> usize {
        self.lock().active
    }

    pub(crate) fn get(&self, id: &str) -> Result<Arc<Statement>, ApiError> {
        let known = self.lock();
        let found = known.by_id.get(id).filter(|statement| !statement.forgotten);
        found
            .cloned()
            .ok_or_else(|| ApiError::statement_not_found(id))
    }

    /// The newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Statement>> {
        let known = self.lock();
        known
            .order
            .iter()
            .rev()
            .filter_map(|id| known.by_id.get(id))
            .filter(|s| !s.forgotten)
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, StatementIndex> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // They come in the order of their beginning, so few are looked at.
        while let Some(oldest) = known.order.front() {
            let ended = known
                .by_id
                .get(oldest)
                .map(|statement| statement.state.borrow().ended);
            let over = match ended {
                None => true,
                Some(None) => false,
                Some(Some(ended)) => {
                    ended.elapsed() >= self.remembered || known.order.len() > REMEMBERED_MAX
                }
            };
            if !over {
                break;
            }
            if let Some(id) = known.order.pop_front() {
                known.by_id.remove(&id);
            }
        }
        if known.tokens.len() > REMEMBERED_MAX {
            known
                .tokens
                .retain(|_, (_, since)| since.elapsed() < TOKEN_KEPT);
        }
        known
    }
}
