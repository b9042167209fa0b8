//! Sessions: connections that live across calls, with their temporary tables and open transactions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::errors::ApiError;

/// The longest that a session is kept alive.
pub(crate) const KEEP_ALIVE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection as statements use it.
#[derive(Debug)]
pub(crate) struct PostgresConnection {
    pub(crate) client: Client,
    pub(crate) pid: i32,
    /// Within BEGIN and COMMIT that a caller has sent.
    pub(crate) in_transaction: bool,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    /// `None` until its first statement, which opens it, and after a connection is lost.
    pub(crate) connection: tokio::sync::Mutex<Option<PostgresConnection>>,
    timing: Mutex<Timing>,
}

#[derive(Debug)]
struct Timing {
    keep_alive: Duration,
    /// The end of its last statement; `None` while one runs.
    idle_since: Option<Instant>,
}

/// All open sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Arc<Session>>>,
    most: usize,
}

impl Sessions {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            open: Mutex::default(),
            most,
        }
    }

    /// Opens one, which is busy with its first statement.
    pub(crate) fn create(&self, id: &str, keep_alive: Duration) -> Result<Arc<Session>, ApiError> {
        let mut open = self.lock();
        if open.len() >= self.most {
            return Err(ApiError::ActiveSessions(format!(
                "Active sessions exceeded the allowed quota ({}).",
                self.most
            )));
        }
        let session = Arc::new(Session {
            connection: tokio::sync::Mutex::default(),
            timing: Mutex::new(Timing {
                keep_alive,
                idle_since: None,
            }),
        });
        open.insert(id.to_owned(), Arc::clone(&session));
        Ok(session)
    }

    /// Takes an idle one for another statement.
    pub(crate) fn take(
        &self,
        id: &str,
        keep_alive: Option<Duration>,
    ) -> Result<Arc<Session>, ApiError> {
        let open = self.lock();
        let session = open
            .get(id)
            .ok_or_else(|| ApiError::session_not_found(id))?;
        let mut timing = session
            .timing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if timing.idle_since.is_none() {
            return Err(ApiError::validation(format!(
                "Session {id} is busy with another statement."
            )));
        }
        timing.idle_since = None;
        if let Some(keep_alive) = keep_alive {
            timing.keep_alive = keep_alive;
        }
        drop(timing);
        Ok(Arc::clone(session))
    }

    /// Closes it.
    pub(crate) fn close(&self, id: &str) {
        self.lock().remove(id);
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// The open ones, without those whose time is over.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| {
            let timing = session
                .timing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            timing
                .idle_since
                .is_none_or(|since| since.elapsed() < timing.keep_alive)
        });
        open
    }
}

impl Session {
    /// Its statement has ended.
    pub(crate) fn release(&self) {
        let mut timing = self.timing.lock().unwrap_or_else(PoisonError::into_inner);
        timing.idle_since = Some(Instant::now());
    }
}
