//! The cold tier: the Parquet files that the commit log names, whatever has become of the
//! warehouse.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_log::{FileEntry, Record};

use tidegate_storage::Storage;
use tidegate_warehouse::{
    ArchiveError, ArchiveFiles, DuckDbOptions, QueryLimits, QueryResult, TableKind, TableSpec,
    WarehouseReader, open_archive,
};

use super::plan::Span;
use super::warm::{Turns, limits};
use super::{Piece, WindowQuery, sql};
use crate::aside::aside;
use crate::cache::{BYTES_MAX, CachedFile, FileCache};
use crate::error::ApiError;
use crate::index::{IndexEntry, SharedIndex, records};
use crate::view::View;

/// Records that one question may read, at most.
const RECORDS_MAX: usize = 5_000;
/// Records of a page of the newest ones: so many are read in a part of the time of a question, also
/// where each is an object and its files are others.
const PAGE_RECORDS: u64 = 500;
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
    pub(crate) extent: Extent,
    /// Every row of the files, also those that an upsert has replaced. It is cheaper, because
    /// nothing has to be compared.
    pub(crate) every_row: bool,
}

/// How many of the records that are meant are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All; a question about more than can be read is refused.
    All,
    /// A page of the newest ones.
    Newest(Newest),
}

/// Which of the records a page is made of: the newest of those that meet all of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    /// The record after them; none for the newest of all.
    pub(crate) before: Option<u64>,
    /// The first of them: what is left of an earlier page ends there.
    pub(crate) from: u64,
    /// They were written before this.
    pub(crate) written_before: i64,
    /// Rows that are wanted: no record is read once those before it have so many.
    pub(crate) rows: u64,
}

impl Newest {
    /// A page before a record, of any rows.
    pub(crate) fn before(before: Option<u64>) -> Self {
        Newest {
            before,
            from: 0,
            written_before: i64::MAX,
            rows: u64::MAX,
        }
    }
}

/// An answer out of files.
#[derive(Debug)]
pub(crate) struct ColdResult<T> {
    pub(crate) result: T,
    /// When the newest record of the log was written.
    pub(crate) as_of: Option<i64>,
    /// The first of the records that were read, if there are older ones that were not: with
    /// [`Extent::Newest`].
    pub(crate) next: Option<u64>,
    /// First and last of the records that were read, if any was.
    pub(crate) seqs: Option<(u64, u64)>,
}

/// Files on this machine.
struct Fetched {
    archive: ArchiveFiles,
    /// They stay there as long as this is held.
    kept: Vec<Arc<CachedFile>>,
    as_of: Option<i64>,
    next: Option<u64>,
    seqs: Option<(u64, u64)>,
}

impl Cold {
    /// Windows that every lane has passed, once the log has been read.
    pub(crate) fn span(&self, view: &View) -> Result<Span, String> {
        let index = self.index.read();
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
        question: &WindowQuery<'_>,
    ) -> Result<Piece, ApiError> {
        let rows_max = question.limit.saturating_add(1);
        let statement = sql::windows(question.view, span, &question.filters, rows_max);
        let dataset = format!("window:{}", question.view.name);
        let files = Files {
            datasets: &[&dataset],
            times: (span.from, span.to.saturating_sub(1)),
            extent: Extent::All,
            every_row: false,
        };
        let found = self.query(statement, &files, limits(rows_max)).await?;
        Ok(Piece {
            rows: aside(|| sql::rows(question.view, &found.result)).await,
            as_of: found.as_of,
        })
    }

    /// Runs a statement that this server has made or checked over files.
    pub(crate) async fn query(
        &self,
        sql: String,
        files: &Files<'_>,
        limits: QueryLimits,
    ) -> Result<ColdResult<QueryResult>, ApiError> {
        let ask = move |reader: &WarehouseReader, left: Duration| {
            let timeout = left;
            Ok(reader.query(&sql, &QueryLimits { timeout, ..limits })?)
        };
        self.open(files, limits.timeout, ask).await
    }

    /// Opens files as tables, and does `work` with them and the time that is left of `timeout`:
    /// reading the log, fetching the files and opening them count into it.
    pub(crate) async fn open<T: Send + 'static>(
        &self,
        files: &Files<'_>,
        timeout: Duration,
        work: impl FnOnce(&WarehouseReader, Duration) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<ColdResult<T>, ApiError> {
        let began = Instant::now();
        let too_long = || {
            ApiError::Timeout(format!(
                "the files could not be fetched within {} s; ask for less, or allow it more time",
                timeout.as_secs_f64()
            ))
        };
        let fetched = tokio::time::timeout(timeout, self.fetch(files)).await;
        let fetched = fetched.map_err(|_| too_long())??;
        let Fetched {
            archive,
            kept,
            as_of,
            next,
            seqs,
        } = fetched;
        let mut tables = self.tables.clone();
        if files.every_row {
            let upserts = tables
                .iter_mut()
                .filter(|table| matches!(table.kind, TableKind::Upsert { .. }));
            upserts.for_each(|table| table.kind = TableKind::Append);
        }
        let options = DuckDbOptions {
            memory_limit_bytes: Some(MEMORY_MAX),
            threads: Some(THREADS_MAX),
        };
        // Dropped with this future, where who asked has gone.
        let wanted = Arc::new(());
        let still_wanted = Arc::downgrade(&wanted);
        let answer = self.turns.run(move || {
            let left = || timeout.saturating_sub(began.elapsed());
            let reader = open_archive(&tables, &archive, &options, left())?;
            let reader = reader.while_wanted(still_wanted);
            let answer = work(&reader, left());
            drop(kept);
            answer
        });
        let result = answer.await.map_err(bounded_here);
        drop(wanted);
        Ok(ColdResult {
            result: result?,
            as_of,
            next,
            seqs,
        })
    }

    /// The files of a question, on this machine.
    async fn fetch(&self, files: &Files<'_>) -> Result<Fetched, ApiError> {
        self.index.caught_up().await;
        let (entries, watermarks, as_of) = self.find(files)?;
        let (entries, mut next) = entries_to_read(entries, files.extent)?;
        let mut records = records(&self.storage, &entries, RECORDS_MAX).await?;
        let wanted = |file: &&FileEntry| {
            let meets = file
                .event_time
                .is_none_or(|(from, to)| from <= files.times.1 && to >= files.times.0);
            file.rows > 0 && files.datasets.contains(&file.dataset.as_str()) && meets
        };
        if let Extent::Newest(newest) = files.extent {
            records.retain(|record| record.written_at < newest.written_before);
            let size = |record: &Record| {
                let files = record.files.iter().filter(wanted);
                files.fold((0, 0), |(bytes, rows), file| {
                    (bytes + file.bytes, rows + file.rows)
                })
            };
            let kept = newest_within(records.iter().map(size), (BYTES_MAX, newest.rows));
            if kept < records.len() {
                records.drain(..records.len() - kept);
                next = records.first().map(|record| record.seq);
            }
        }
        let ends = (records.first(), records.last());
        let seqs = ends
            .0
            .zip(ends.1)
            .map(|(first, last)| (first.seq, last.seq));
        let entries: Vec<&FileEntry> = records
            .iter()
            .flat_map(|record| &record.files)
            .filter(wanted)
            .collect();
        let kept = self.cache.get(&entries).await?;
        let mut datasets: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (entry, file) in entries.iter().zip(&kept) {
            datasets
                .entry(entry.dataset.clone())
                .or_default()
                .push(file.path().to_owned());
        }
        let archive = ArchiveFiles {
            datasets,
            watermarks,
            folders: self.cache.folders(),
        };
        Ok(Fetched {
            archive,
            kept,
            as_of,
            next,
            seqs,
        })
    }

    #[allow(clippy::type_complexity)]
    fn find(
        &self,
        files: &Files<'_>,
    ) -> Result<(Vec<IndexEntry>, BTreeMap<i32, Option<i64>>, Option<i64>), ApiError> {
        let index = self.index.read();
        if !index.is_whole {
            return Err(ApiError::NoTier {
                tier: "cold",
                reason: "the commit log is still being read; ask again in a moment".to_owned(),
            });
        }
        let mut entries: Vec<IndexEntry> = files
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

/// Which entries are read, and the first of their records if there are older ones that are left
/// out.
fn entries_to_read(
    entries: Vec<IndexEntry>,
    extent: Extent,
) -> Result<(Vec<IndexEntry>, Option<u64>), ApiError> {
    match extent {
        Extent::All => {
            let records: u64 = entries.iter().map(IndexEntry::records).sum();
            if records > RECORDS_MAX as u64 {
                return Err(ApiError::BadRequest(format!(
                    "the range is in {records} commits, and one question may read {RECORDS_MAX}; ask for less"
                )));
            }
            Ok((entries, None))
        }
        Extent::Newest(newest) => {
            let last = newest.before.map_or(u64::MAX, |it| it.saturating_sub(1));
            let (mut left, mut rows) = (PAGE_RECORDS, 0u64);
            let mut page: Vec<IndexEntry> = Vec::new();
            let mut next = None;
            for mut entry in entries.into_iter().rev() {
                if entry.seqs.0 > last || entry.written.0 >= newest.written_before {
                    continue;
                }
                if left == 0 || rows >= newest.rows || entry.seqs.1 < newest.from {
                    next = Some(page.last().map_or(entry.seqs.1 + 1, |entry| entry.seqs.0));
                    break;
                }
                entry.seqs.1 = entry.seqs.1.min(last);
                let first = (entry.seqs.1 + 1).saturating_sub(left).max(newest.from);
                if entry.seqs.0 < first {
                    entry.seqs.0 = first;
                    next = Some(first);
                    page.push(entry);
                    break;
                }
                left -= entry.records();
                rows = rows.saturating_add(entry.rows);
                page.push(entry);
            }
            page.reverse();
            Ok((page, next))
        }
    }
}

/// How many records, from the end, are read: those that have no more bytes together than may be
/// read, up to the one with which there are as many rows as are wanted; one at least. Each is
/// given as bytes and rows, and so are the bounds.
fn newest_within(sizes: impl DoubleEndedIterator<Item = (u64, u64)>, max: (u64, u64)) -> usize {
    let (mut bytes, mut rows) = (0u64, 0u64);
    let kept = sizes
        .rev()
        .take_while(|size| {
            let is_wanted = rows < max.1;
            bytes = bytes.saturating_add(size.0);
            rows = rows.saturating_add(size.1);
            is_wanted && bytes <= max.0
        })
        .count();
    kept.max(1)
}

impl From<crate::cache::CacheError> for ApiError {
    fn from(error: crate::cache::CacheError) -> Self {
        match error {
            crate::cache::CacheError::TooMuch(_) => ApiError::BadRequest(error.to_string()),
            error => ApiError::Internal(error.to_string()),
        }
    }
}

impl From<ArchiveError> for ApiError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Timeout(_) => ApiError::Timeout(error.to_string()),
            error => ApiError::Internal(error.to_string()),
        }
    }
}

impl From<tidegate_log::ReadError> for ApiError {
    fn from(error: tidegate_log::ReadError) -> Self {
        ApiError::Internal(error.to_string())
    }
}

/// Where memory is short: what bounds it in this tier is no setting.
fn bounded_here(error: ApiError) -> ApiError {
    match error {
        ApiError::BadRequest(text) => ApiError::BadRequest(text.replace(
            "raise `warehouse.memory-limit`",
            "ask about less time: the cold tier may use 512 MiB",
        )),
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(from: u64, to: u64) -> IndexEntry {
        IndexEntry {
            seqs: (from, to),
            times: (0, 0),
            written: (from as i64, to as i64),
            rows: to - from + 1,
        }
    }

    fn seqs(entries: &[IndexEntry]) -> Vec<(u64, u64)> {
        entries.iter().map(|entry| entry.seqs).collect()
    }

    #[test]
    fn pages_of_commits_meet_and_leave_none_out() {
        let max = PAGE_RECORDS;
        let all = vec![
            entry(1, 3),
            entry(5, max),
            entry(max + 10, max + 20),
            entry(max + 21, 2 * max + 30),
        ];
        let mut seen: Vec<u64> = Vec::new();
        let mut before = None;
        loop {
            let extent = Extent::Newest(Newest::before(before));
            let (page, next) = entries_to_read(all.clone(), extent).unwrap();
            let records: u64 = page.iter().map(IndexEntry::records).sum();
            assert!(records <= max && records > 0, "{:?}", seqs(&page));
            for (from, to) in seqs(&page).into_iter().rev() {
                seen.extend((from..=to).rev());
            }
            if next.is_none() {
                break;
            }
            before = next;
        }
        let wanted: Vec<u64> = seqs(&all)
            .into_iter()
            .rev()
            .flat_map(|(from, to)| (from..=to).rev())
            .collect();
        assert_eq!(seen, wanted);
    }

    #[test]
    fn a_page_has_no_more_bytes_than_a_question_may_read() {
        let kept = |bytes: &[u64]| newest_within(bytes.iter().map(|it| (*it, 0)), (10, 1));
        assert_eq!(kept(&[9, 5, 5, 1]), 2);
        assert_eq!(kept(&[1, 11]), 1);
        assert_eq!(kept(&[1, 2]), 2);
    }

    #[test]
    fn a_page_ends_with_the_record_that_fills_it() {
        let kept = |rows: &[u64]| newest_within(rows.iter().map(|it| (1, *it)), (100, 10));
        assert_eq!(kept(&[5, 5, 5, 6]), 2);
        assert_eq!(kept(&[5, 10]), 1);
        assert_eq!(kept(&[1, 2]), 2);
        let page = |newest: Newest| {
            let all = vec![entry(1, 1), entry(4, 6), entry(8, 8), entry(9, 9)];
            let (page, next) = entries_to_read(all, Extent::Newest(newest)).unwrap();
            (seqs(&page), next)
        };
        let any = Newest::before(None);
        assert_eq!(
            page(Newest { rows: 2, ..any }),
            (vec![(8, 8), (9, 9)], Some(8))
        );
        // What was written later is left out, and so is what is not left of an earlier page.
        let earlier = Newest {
            written_before: 6,
            ..any
        };
        assert_eq!(page(earlier), (vec![(1, 1), (4, 6)], None));
        let rest = |from, before| Newest {
            from,
            before: Some(before),
            ..any
        };
        assert_eq!(page(rest(5, 9)), (vec![(5, 6), (8, 8)], Some(5)));
        assert_eq!(page(rest(8, 9)), (vec![(8, 8)], Some(8)));
        assert_eq!(page(rest(1, 2)), (vec![(1, 1)], None));
    }
}
