//! Pages of records, newest first: `before` says where one begins, `next` of an answer where the
//! next one does.
//!
//! Out of the warehouse, a page is rows in their order. Out of files it is rows of a group of
//! commits, the newest ones first, and those that are newer or older are not read: what the commit
//! log says of them, when they were written and how many rows they have, decides.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::query_string::Parameters;
use super::rows::{Rows, time_left};
use crate::error::ApiError;
use crate::tiers::cold::{Extent, Newest};
use crate::tiers::sql::instant;
use crate::tiers::warm::{BYTES_MAX, TIMEOUT};
use crate::time;

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// After everything from a time on.
    Time(i64),
    /// After a record, since many can have the same time.
    Record(PageCursor),
    /// After a record of a group of commits, by sequence number from the first to the last, and
    /// then in the commits before them.
    Among(PageCursor, u64, u64),
    /// In the commits before this one.
    Commit(u64),
}

/// Where a record is in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageCursor {
    time: i64,
    partition: i32,
    offset: i64,
}

/// Names of the columns that order records: a time, then partition and offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a>(pub(super) [&'a str; 3]);

impl Before {
    /// Takes the parameter `before` out: a time, or `next` of an answer.
    pub(super) fn take(parameters: &mut Parameters) -> Result<Option<Self>, ApiError> {
        let text = parameters.take("before")?;
        text.map(|text| read(&text).map_err(ApiError::BadRequest))
            .transpose()
    }
}

fn read(text: &str) -> Result<Before, String> {
    if let Ok(seq) = text.parse() {
        return Ok(Before::Commit(seq));
    }
    let mut parts = text.split(',');
    let at = parts.next().unwrap_or_default();
    let time = time::read(at).map_err(|error| format!("`before`: {error}"))?;
    let numbers: Vec<&str> = parts.collect();
    let place = |partition: &str, offset: &str| {
        Some(PageCursor {
            time,
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    };
    let before = match numbers.as_slice() {
        [] => Some(Before::Time(time)),
        [partition, offset] => place(partition, offset).map(Before::Record),
        [partition, offset, first, last] => place(partition, offset)
            .zip(first.parse().ok())
            .zip(last.parse().ok())
            .map(|((place, first), last)| Before::Among(place, first, last)),
        _ => None,
    };
    before.ok_or_else(|| {
        format!(
            "`before` is `{text}`; give a time, or `next` of an answer, such as TIME,PARTITION,OFFSET"
        )
    })
}

impl Order<'_> {
    /// What a row of a page out of the warehouse meets, in SQL.
    ///
    /// # Errors
    /// If the page before was one out of files, and ended with a commit.
    pub(super) fn condition(&self, before: Option<&Before>) -> Result<String, ApiError> {
        match before {
            None => Ok("true".to_owned()),
            Some(Before::Time(at)) => Ok(format!("{} < {}", self.0[0], instant(*at))),
            Some(Before::Record(place) | Before::Among(place, ..)) => Ok(self.after(place)),
            Some(Before::Commit(seq)) => Err(ApiError::BadRequest(format!(
                "`before` is the commit {seq}, which an answer out of files has named, and these are out of the \
                 warehouse; begin without it, or give a time"
            ))),
        }
    }

    /// What the rows after a record meet, in SQL.
    pub(super) fn after(&self, place: &PageCursor) -> String {
        let [time, partition, offset] = self.0;
        let at = instant(place.time);
        // The first condition is the one that prunes.
        format!(
            "{time} <= {at} AND ({time}, {partition}, {offset}) < ({at}, {}, {})",
            place.partition, place.offset
        )
    }

    /// `ORDER BY`, newest first.
    pub(super) fn descending(&self) -> String {
        let [time, partition, offset] = self.0;
        format!("ORDER BY {time} DESC, {partition} DESC, {offset} DESC")
    }
}

/// Where the page after these rows begins; none after the last page. `names` are those of the
/// order's columns in the answer.
pub(super) fn next(rows: &[Value], limit: usize, names: [&str; 3]) -> Option<String> {
    let last = rows.last().filter(|_| rows.len() == limit)?;
    place_of(last, names)
}

/// Where a row is in the order, as `before` takes it.
fn place_of(row: &Value, names: [&str; 3]) -> Option<String> {
    let [time, partition, offset] = names.map(|name| &row[name]);
    Some(format!("{},{partition},{offset}", time.as_str()?))
}

/// Makes a page out of files: group after group of commits is asked about, until the page is full.
#[derive(Debug)]
pub(super) struct Pager<'a> {
    order: Order<'a>,
    /// What the order's columns are called in the answer.
    names: [&'a str; 3],
    limit: usize,
    began: Instant,
    /// Where the next group begins: after this record, where it is what is left of an earlier page.
    after: Option<PageCursor>,
    newest: Newest,
    is_done: bool,
    rows: Vec<Value>,
    bytes: usize,
    next: Option<String>,
}

/// What is asked next.
#[derive(Debug)]
pub(super) struct Group {
    /// What its rows meet, in SQL.
    pub(super) condition: String,
    pub(super) extent: Extent,
    /// Rows of it, at most.
    pub(super) limit: usize,
    /// Bytes that they may take in memory.
    pub(super) bytes: usize,
    /// Time for it.
    pub(super) timeout: Duration,
}

impl<'a> Pager<'a> {
    pub(super) fn new(
        order: Order<'a>,
        names: [&'a str; 3],
        before: Option<&Before>,
        limit: usize,
    ) -> Self {
        let mut newest = Newest::before(None);
        let mut after = None;
        match before {
            None => {}
            Some(Before::Time(time)) => newest.written_before = *time,
            Some(Before::Record(place)) => after = Some(*place),
            Some(Before::Among(place, first, last)) => {
                after = Some(*place);
                newest.from = *first;
                newest.before = Some(last.saturating_add(1));
            }
            Some(Before::Commit(seq)) => newest.before = Some(*seq),
        }
        Pager {
            order,
            names,
            limit,
            began: Instant::now(),
            after,
            newest,
            is_done: false,
            rows: Vec::new(),
            bytes: 0,
            next: None,
        }
    }

    /// What is asked next; none once the page is made. `is_rare` is whether most rows of the files
    /// may not be wanted, so that their numbers say nothing.
    pub(super) fn group(&self, is_rare: bool) -> Option<Group> {
        if self.is_done {
            return None;
        }
        let limit = self.limit - self.rows.len();
        let after = self.after.as_ref();
        // Of what is left of an earlier page, some rows are out already.
        let rows = match after.is_none() && !is_rare {
            true => limit as u64,
            false => u64::MAX,
        };
        Some(Group {
            condition: after.map_or("true".to_owned(), |place| self.order.after(place)),
            extent: Extent::Newest(Newest {
                rows,
                ..self.newest
            }),
            limit,
            bytes: BYTES_MAX - self.bytes,
            timeout: time_left(self.began),
        })
    }

    /// Takes the rows of the group that was asked for.
    ///
    /// # Errors
    /// What went wrong, unless the page can end before it.
    pub(super) fn take(&mut self, found: Result<Rows, ApiError>) -> Result<(), ApiError> {
        let found = match found {
            // What was looked into need not be looked into again.
            Err(ApiError::Timeout(_)) if self.next.is_some() => {
                self.is_done = true;
                return Ok(());
            }
            found => found?,
        };
        let is_full = found.cut || self.rows.len() + found.rows.len() >= self.limit;
        self.rows.extend(found.rows);
        self.bytes += found.bytes;
        if is_full {
            let place = self.rows.last().and_then(|row| place_of(row, self.names));
            self.next = place
                .zip(found.seqs)
                .map(|(place, (first, last))| format!("{place},{first},{last}"));
            self.is_done = true;
            return Ok(());
        }
        let Some(seq) = found.next else {
            self.next = None;
            self.is_done = true;
            return Ok(());
        };
        self.newest.before = Some(seq);
        if seq <= self.newest.from {
            (self.after, self.newest.from) = (None, 0);
        }
        self.next = Some(match &self.after {
            None => seq.to_string(),
            Some(place) => format!(
                "{},{},{},{},{}",
                time::show(place.time),
                place.partition,
                place.offset,
                self.newest.from,
                seq.saturating_sub(1)
            ),
        });
        self.is_done = self.began.elapsed() >= TIMEOUT / 2 || self.bytes >= BYTES_MAX;
        Ok(())
    }

    /// The rows, and where the page after them begins.
    pub(super) fn end(self) -> (Vec<Value>, Option<String>) {
        (self.rows, self.next)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rows::RowTier;
    use super::*;

    const NAMES: [&str; 3] = ["rejected_at", "partition", "offset"];
    const ORDER: Order<'_> = Order(["rejected_at", "source_partition", "source_offset"]);
    const AT: &str = "2026-11-25T18:00:00.123456Z";
    const PLACE: PageCursor = PageCursor {
        time: 1_795_629_600_123_456,
        partition: 3,
        offset: 17,
    };

    fn row(offset: i64) -> Value {
        json!({ "rejected_at": AT, "partition": 3, "offset": offset })
    }

    #[test]
    fn the_next_page_begins_where_one_ended() {
        let rows = [row(17)];
        let next_page = next(&rows, 1, NAMES).unwrap();
        assert_eq!(next_page, "2026-11-25T18:00:00.123456Z,3,17");
        let read = |text: &str| read(text).unwrap();
        assert_eq!(read(&next_page), Before::Record(PLACE));
        assert_eq!(
            read(&format!("{AT},3,17,8,12")),
            Before::Among(PLACE, 8, 12)
        );
        assert_eq!(read("42"), Before::Commit(42));
        assert_eq!(next(&rows, 2, NAMES), None, "the last page");
        assert_eq!(next(&[], 2, NAMES), None);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "x",
            "-1",
            "2026-11-25T18:00:00Z,1",
            "2026-11-25T18:00:00Z,1,x",
            "2026-11-25T18:00:00Z,1,2,3",
            "2026-11-25T18:00:00Z,1,2,3,x",
        ] {
            assert!(read(text).unwrap_err().contains("`before`"), "{text}");
        }
        assert!(read("2026-11-25T18:00:00Z").is_ok());
        assert!(ORDER.condition(Some(&Before::Commit(3))).is_err());
    }

    /// Pages of `limit` out of commits with as many rows, whose records come as groups of two: the
    /// offsets of all rows, in the order in which they come, and how many records were read.
    fn pages(commits: &[i64], limit: usize) -> (Vec<i64>, usize) {
        let (mut seen, mut read_records) = (Vec::new(), 0);
        let mut before = None;
        loop {
            let mut pager = Pager::new(ORDER, NAMES, before.as_ref(), limit);
            while let Some(group) = pager.group(false) {
                let Extent::Newest(newest) = group.extent else {
                    panic!("{group:?}")
                };
                let last = newest.before.map_or(commits.len(), |it| it as usize - 1);
                let mut first = last;
                let mut rows = commits.get(first.wrapping_sub(1)).copied().unwrap_or(0) as u64;
                while first > 1
                    && first as u64 > newest.from
                    && rows < newest.rows
                    && last - first < 1
                {
                    first -= 1;
                    rows += commits[first - 1] as u64;
                }
                read_records += last + 1 - first;
                // The offset of a row is a thousand times its commit, and its number.
                let after = pager.after.map_or(i64::MAX, |place| place.offset);
                let all = (first.max(1)..=last)
                    .flat_map(|seq| (0..commits[seq - 1]).map(move |n| seq as i64 * 1_000 + n));
                let mut offsets: Vec<i64> = all.filter(|offset| *offset < after).collect();
                offsets.reverse();
                offsets.truncate(group.limit);
                let found = Rows {
                    rows: offsets.into_iter().map(row).collect(),
                    served_by: RowTier::Cold,
                    next: (first > 1).then_some(first as u64),
                    seqs: (last > 0).then_some((first as u64, last as u64)),
                    bytes: 0,
                    cut: false,
                };
                pager.take(Ok(found)).unwrap();
            }
            let (rows, next) = pager.end();
            assert!(rows.len() <= limit);
            seen.extend(rows.iter().map(|row| row["offset"].as_i64().unwrap()));
            match next {
                None => return (seen, read_records),
                Some(next) => before = Some(read(&next).unwrap()),
            }
        }
    }

    #[test]
    fn pages_out_of_files_have_every_row_once_and_read_few_commits() {
        let commits = [3, 0, 1, 250, 7, 7, 1, 0, 0, 2];
        let mut all: Vec<i64> = (1..=commits.len())
            .flat_map(|seq| (0..commits[seq - 1]).map(move |n| seq as i64 * 1_000 + n))
            .collect();
        all.reverse();
        for limit in [1, 2, 3, 7, 8, 100, 1_000] {
            let (seen, read_records) = pages(&commits, limit);
            assert_eq!(seen, all, "{limit}");
            // Each page reads the group that it goes on in, and groups until it is full.
            let pages = all.len() / limit + 1;
            assert!(
                read_records <= 2 * pages + commits.len() + 2,
                "{limit}: {read_records}"
            );
        }
        assert!(pages(&[], 5).0.is_empty());
    }

    #[test]
    fn a_page_that_takes_too_long_ends_where_it_got_to() {
        let mut pager = Pager::new(ORDER, NAMES, None, 5);
        let none = Err(ApiError::Timeout(String::new()));
        assert!(pager.take(none).is_err(), "nothing was looked into");
        let found = Rows {
            rows: vec![row(1)],
            seqs: Some((8, 9)),
            ..Rows::none(RowTier::Cold, Some(8))
        };
        pager.take(Ok(found)).unwrap();
        pager.take(Err(ApiError::Timeout(String::new()))).unwrap();
        assert!(pager.group(false).is_none());
        assert_eq!(pager.end(), (vec![row(1)], Some("8".to_owned())));
    }
}
