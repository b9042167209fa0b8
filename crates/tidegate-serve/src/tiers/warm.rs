//! The warm tier: the warehouse, where it is in this process.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use tidegate_warehouse::{QueryError, QueryLimits, QueryResult, WarehouseReader};
use tokio::sync::Semaphore;

use super::plan::Span;
use super::{Piece, WindowQuery, sql};
use crate::aside::aside;
use crate::error::ApiError;
use crate::view::View;

/// Questions that DuckDB answers at the same time; others wait.
const AT_ONCE: usize = 4;
/// Longest wait for a turn.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Time for one question of this server's own.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer, at most.
pub(crate) const BYTES_MAX: usize = 64 << 20;

/// Runs questions on DuckDB off the threads that serve, a few at a time.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new() -> Self {
        Turns(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// Waits for a turn and runs `work` on a thread that may block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.0).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(ApiError::Busy);
        };
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await
            .unwrap_or_else(|error| Err(ApiError::Internal(error.to_string())))
    }
}

/// The warehouse.
#[derive(Debug)]
pub(crate) struct Warm {
    pub(crate) reader: Option<WarehouseReader>,
    /// Why there is no reader.
    pub(crate) why_not: &'static str,
    pub(crate) turns: Turns,
}

impl Warm {
    pub(crate) fn reader(&self) -> Result<WarehouseReader, ApiError> {
        self.reader.clone().ok_or(ApiError::NoTier {
            tier: "warm",
            reason: self.why_not.to_owned(),
        })
    }

    /// Runs a statement that this server has made or checked.
    pub(crate) async fn query(
        &self,
        sql: String,
        limits: QueryLimits,
    ) -> Result<QueryResult, ApiError> {
        // Dropped with this future, where who asked has gone.
        let wanted = Arc::new(());
        let reader = self.reader()?.while_wanted(Arc::downgrade(&wanted));
        let answer = self
            .turns
            .run(move || Ok(reader.query(&sql, &limits)?))
            .await;
        drop(wanted);
        answer
    }

    /// Windows that the view has: those that every lane has passed, as far as they are loaded.
    pub(crate) async fn span(&self, view: &View) -> Result<Span, String> {
        let final_to = "SELECT CASE WHEN count(*) = count(watermark) THEN min(watermark) END FROM tidegate_watermarks";
        let answer = self
            .query(final_to.to_owned(), limits(1))
            .await
            .map_err(|error| error.to_string())?;
        let to = instant(&answer).ok_or("the warehouse has no final windows yet")?;
        Ok(Span {
            from: i64::MIN,
            to: to.saturating_sub(view.size).saturating_add(1),
        })
    }

    pub(crate) async fn windows(
        &self,
        span: Span,
        question: &WindowQuery<'_>,
    ) -> Result<Piece, ApiError> {
        let rows_max = question.limit.saturating_add(1);
        let statement = sql::windows(question.view, span, &question.filters, rows_max);
        let answer = self.query(statement, limits(rows_max)).await?;
        let loaded = "SELECT max(loaded_at) FROM tidegate_ledger".to_owned();
        let as_of = instant(&self.query(loaded, limits(1)).await?);
        Ok(Piece {
            rows: aside(|| sql::rows(question.view, &answer)).await,
            as_of,
        })
    }
}

/// Limits of a question of this server's own.
pub(crate) fn limits(rows: usize) -> QueryLimits {
    QueryLimits {
        rows,
        bytes: BYTES_MAX,
        timeout: TIMEOUT,
    }
}

/// The instant in the only row and column; none if it is null.
fn instant(answer: &QueryResult) -> Option<i64> {
    let batch = answer
        .batches
        .first()
        .filter(|batch| batch.num_rows() > 0)?;
    let column = batch
        .column(0)
        .as_primitive_opt::<TimestampMicrosecondType>()?;
    arrow::array::Array::is_valid(column, 0).then(|| column.value(0))
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Refused(_)
            | QueryError::Sql(_)
            | QueryError::OutOfMemory(_)
            | QueryError::Memory { .. } => ApiError::BadRequest(error.to_string()),
            QueryError::Timeout(_) => ApiError::Timeout(error.to_string()),
            QueryError::GaveWay => ApiError::GaveWay(error.to_string()),
            error => ApiError::Internal(error.to_string()),
        }
    }
}
