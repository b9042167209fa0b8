//! The cold tier: the Parquet files that the commit log names, whatever has become of the warehouse.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::PoisonError;

use tidegate_log::{FileEntry, Storage};
use tidegate_warehouse::{
    ArchiveFiles, DuckDbOptions, QueryLimits, QueryResult, TableSpec, open_archive,
};

use super::plan::Span;
use super::warm::{Turns, limits};
use super::{Piece, Question, sql};
use crate::cache::FileCache;
use crate::error::ApiError;
use crate::index::{Entry, SharedIndex, records};
use crate::view::View;

/// Records that one question may read, at most.
const RECORDS_MAX: usize = 5_000;
/// What DuckDB may use for one question.
const MEMORY_MAX: usize = 512 << 20;
const THREADS_MAX: usize = 2;

/// The files.
#[derive(Debug)]
pub(crate) struct Cold {
    pub(crate) storage: Storage,
    /// All tables of the job.
    pub(crate) tables: Vec<TableSpec>,
    pub(crate) index: SharedIndex,
    pub(crate) cache: FileCache,
    pub(crate) turns: Turns,
}

/// Which files a question is about.
#[derive(Debug, Clone)]
pub(crate) struct Files<'a> {
    pub(crate) datasets: &'a [&'a str],
    /// Least and greatest time, inclusive.
    pub(crate) times: (i64, i64),
    /// Only the newest records, as many as have this many rows.
    pub(crate) newest_rows: Option<u64>,
}

impl Cold {
    /// Windows that every lane has passed, once the log has been read.
    pub(crate) fn span(&self, view: &View) -> Result<Span, String> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        if !index.is_whole {
            return Err("the commit log is still being read".to_owned());
        }
        let to = index.final_to().ok_or("no window is final yet")?;
        Ok(Span {
            from: i64::MIN,
            to: to.saturating_sub(view.size).saturating_add(1),
        })
    }

    pub(crate) async fn windows(
        &self,
        span: Span,
        question: &Question<'_>,
    ) -> Result<Piece, ApiError> {
        let rows_max = question.limit.saturating_add(1);
        let statement = sql::windows(question.view, span, &question.filters, rows_max);
        let dataset = format!("window:{}", question.view.name);
        let files = Files {
            datasets: &[&dataset],
            times: (span.from, span.to.saturating_sub(1)),
            newest_rows: None,
        };
        let (answer, as_of) = self.query(statement, &files, limits(rows_max)).await?;
        Ok(Piece {
            rows: sql::rows(question.view, &answer),
            as_of,
        })
    }

    /// Runs a statement that this server has made or checked over files, and says when the log was read.
    pub(crate) async fn query(
        &self,
        sql: String,
        files: &Files<'_>,
        limits: QueryLimits,
    ) -> Result<(QueryResult, Option<i64>), ApiError> {
        let (entries, watermarks, as_of) = self.find(files)?;
        let entries = entries_to_read(entries, files.newest_rows)?;
        let records = records(&self.storage, &entries, RECORDS_MAX).await?;
        let wanted = |file: &&FileEntry| {
            let meets = file
                .event_time
                .is_none_or(|(from, to)| from <= files.times.1 && to >= files.times.0);
            file.rows > 0 && files.datasets.contains(&file.dataset.as_str()) && meets
        };
        let entries: Vec<&FileEntry> = records
            .iter()
            .flat_map(|record| &record.files)
            .filter(wanted)
            .collect();
        let paths = self.cache.get(&entries).await?;
        let mut datasets: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (entry, path) in entries.iter().zip(&paths) {
            datasets
                .entry(entry.dataset.clone())
                .or_default()
                .push(path.to_path_buf());
        }
        let archive = ArchiveFiles {
            datasets,
            watermarks,
            folders: self.cache.folders(),
        };
        let tables = self.tables.clone();
        let options = DuckDbOptions {
            memory_limit_bytes: Some(MEMORY_MAX),
            threads: Some(THREADS_MAX),
        };
        let answer = self.turns.run(move || {
            let reader = open_archive(&tables, &archive, &options)
                .map_err(|error| ApiError::Internal(error.to_string()))?;
            let answer = reader.query(&sql, &limits)?;
            drop(paths);
            Ok(answer)
        });
        Ok((answer.await?, as_of))
    }

    #[allow(clippy::type_complexity)]
    fn find(
        &self,
        files: &Files<'_>,
    ) -> Result<(Vec<Entry>, BTreeMap<i32, Option<i64>>, Option<i64>), ApiError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        if !index.is_whole {
            return Err(ApiError::NoTier {
                tier: "cold",
                reason: "the commit log is still being read; ask again in a moment".to_owned(),
            });
        }
        let mut entries: Vec<Entry> = files
            .datasets
            .iter()
            .flat_map(|dataset| index.entries(dataset, files.times))
            .collect();
        entries.sort_by_key(|entry| entry.seqs);
        entries.dedup_by(|next, entry| {
            let is_same = next.seqs.0 <= entry.seqs.1;
            if is_same {
                entry.absorb(next);
            }
            is_same
        });
        Ok((entries, index.watermarks.clone(), index.as_of))
    }
}

/// The newest entries that have enough rows, or all, if they are not too many.
fn entries_to_read(entries: Vec<Entry>, newest_rows: Option<u64>) -> Result<Vec<Entry>, ApiError> {
    let entries = match newest_rows {
        None => entries,
        Some(wanted) => {
            let mut rows = 0;
            let mut newest: Vec<Entry> = entries
                .into_iter()
                .rev()
                .take_while(|entry| {
                    let is_wanted = rows < wanted;
                    rows += entry.rows;
                    is_wanted
                })
                .collect();
            newest.reverse();
            newest
        }
    };
    let records: u64 = entries
        .iter()
        .map(|entry| entry.seqs.1 - entry.seqs.0 + 1)
        .sum();
    if newest_rows.is_none() && records > RECORDS_MAX as u64 {
        return Err(ApiError::BadRequest(format!(
            "the range is in {records} commits, and one question may read {RECORDS_MAX}; ask for less"
        )));
    }
    Ok(entries)
}

impl From<crate::cache::CacheError> for ApiError {
    fn from(error: crate::cache::CacheError) -> Self {
        match error {
            crate::cache::CacheError::TooMuch(_) => ApiError::BadRequest(error.to_string()),
            error => ApiError::Internal(error.to_string()),
        }
    }
}

impl From<tidegate_log::ReadError> for ApiError {
    fn from(error: tidegate_log::ReadError) -> Self {
        ApiError::Internal(error.to_string())
    }
}
