//! Which rows go into which file: one file for each hour of event time, within a bound.
//!
//! Rows of a stream are of an hour or two. A sparse history, an event an hour for ten years, would
//! make a file for each of its rows; so the hours with the most rows have files of their own, and
//! all others share one.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{BooleanArray, BooleanBufferBuilder, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;
use tidegate_parquet::BatchRows;

use crate::gather::Judged;

/// Files of events that a commit has at most.
pub(crate) const FILES_MAX: usize = 64;
/// Microseconds in an hour.
pub(crate) const HOUR: i64 = 3_600_000_000;
/// Rows that are fewer than this share of their batch are copied: to select them costs a look at
/// all others.
const SPARSE: usize = 8;

/// Whose rows a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Home {
    /// Those of the hour that begins so many hours after the Unix epoch.
    Hour(i64),
    /// Those of all hours that have no file of their own.
    Rest,
}

/// Where the rows of a batch go.
#[derive(Debug)]
pub(crate) struct Homes {
    /// The hours that have a file of their own; none if all have.
    own: Option<BTreeSet<i64>>,
}

/// Rows of a chunk that go into one file.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) home: Home,
    pub(crate) part: BatchRows,
    /// Least and greatest event time.
    pub(crate) range: (i64, i64),
}

/// The hour that was found last, with its bounds: rows come mostly in order of time.
#[derive(Debug, Clone, Copy)]
struct Current {
    start: i64,
    end: i64,
    /// What was looked up for it.
    found: usize,
}

impl Current {
    const NONE: Current = Current {
        start: i64::MAX,
        end: i64::MIN,
        found: 0,
    };

    fn of(hour: i64, found: usize) -> Self {
        Current {
            start: hour.saturating_mul(HOUR),
            end: hour.saturating_add(1).saturating_mul(HOUR),
            found,
        }
    }

    fn has(&self, time: i64) -> bool {
        (self.start..self.end).contains(&time)
    }
}

impl Homes {
    /// Decides for the rows of a commit.
    pub(crate) fn of(judged: &[Judged]) -> Self {
        let mut places: BTreeMap<i64, usize> = BTreeMap::new();
        let mut rows: Vec<u64> = Vec::new();
        let mut current = Current::NONE;
        for time in judged.iter().flat_map(kept).map(|(_, time)| time) {
            if !current.has(time) {
                let hour = time.div_euclid(HOUR);
                let next = rows.len();
                let found = *places.entry(hour).or_insert(next);
                if found == next {
                    rows.push(0);
                }
                current = Current::of(hour, found);
            }
            rows[current.found] += 1;
        }
        if places.len() <= FILES_MAX {
            return Homes { own: None };
        }
        let mut hours: Vec<(u64, i64)> = places
            .into_iter()
            .map(|(hour, place)| (rows[place], hour))
            .collect();
        // The most rows first; of two with as many, the earlier hour.
        hours.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let own = hours.into_iter().take(FILES_MAX - 1);
        Homes {
            own: Some(own.map(|(_, hour)| hour).collect()),
        }
    }

    fn home(&self, hour: i64) -> Home {
        match &self.own {
            Some(own) if !own.contains(&hour) => Home::Rest,
            _ => Home::Hour(hour),
        }
    }

    /// The rows of a chunk by the files that they go into, in one pass over them.
    pub(crate) fn shares(&self, rows: &Judged) -> Result<Vec<Share>, ArrowError> {
        let mut places: BTreeMap<Home, usize> = BTreeMap::new();
        let mut found: Vec<(Vec<u32>, (i64, i64))> = Vec::new();
        let mut current = Current::NONE;
        for (row, time) in kept(rows) {
            if !current.has(time) {
                let hour = time.div_euclid(HOUR);
                let next = found.len();
                let place = *places.entry(self.home(hour)).or_insert(next);
                if place == next {
                    found.push((Vec::new(), (time, time)));
                }
                current = Current::of(hour, place);
            }
            let (rows, range) = &mut found[current.found];
            rows.push(row);
            *range = (range.0.min(time), range.1.max(time));
        }
        let share = |(home, place): (Home, usize)| -> Result<Share, ArrowError> {
            let (chosen, range) = &found[place];
            Ok(Share {
                home,
                part: part(rows, chosen)?,
                range: *range,
            })
        };
        places.into_iter().map(share).collect()
    }
}

/// The rows that are events, with their times.
fn kept(rows: &Judged) -> impl Iterator<Item = (u32, i64)> {
    let all = (0_u32..).zip(rows.times.iter().zip(&rows.keep));
    all.filter(|(_, (_, keep))| **keep)
        .map(|(row, (time, _))| (row, *time))
}

/// Rows of a batch, chosen by their ascending numbers.
fn part(rows: &Judged, chosen: &[u32]) -> Result<BatchRows, ArrowError> {
    let count = rows.batch.num_rows();
    if chosen.len() == count {
        return Ok(BatchRows::all(rows.batch.clone()));
    }
    if chosen.len() * SPARSE < count {
        let chosen = UInt32Array::from(chosen.to_vec());
        return Ok(BatchRows::all(take_record_batch(&rows.batch, &chosen)?));
    }
    let mut mask = BooleanBufferBuilder::new(count);
    mask.append_n(count, false);
    for row in chosen {
        mask.set_bit(*row as usize, true);
    }
    Ok(BatchRows::selected(
        rows.batch.clone(),
        &BooleanArray::new(mask.finish(), None),
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    /// A chunk whose one column is the event time.
    fn chunk(times: &[i64], keep: impl Fn(usize) -> bool) -> Judged {
        let schema = Arc::new(Schema::new(vec![Field::new("at", DataType::Int64, false)]));
        let column = Arc::new(Int64Array::from(times.to_vec()));
        let keep: Vec<bool> = (0..times.len()).map(keep).collect();
        Judged {
            lane: 0,
            batch: RecordBatch::try_new(schema, vec![column]).expect("a batch"),
            times: times.to_vec(),
            events: keep.iter().filter(|keep| **keep).count() as u64,
            keep,
            late: Vec::new(),
        }
    }

    /// The rows of a share, as encoding them sees them.
    fn times(share: &Share) -> Vec<i64> {
        let drafts = [tidegate_parquet::Draft {
            schema: share.part.schema(),
            properties: Arc::default(),
            decimals_as_bytes: false,
            int96: false,
            longest_texts: false,
            parts: vec![share.part.clone()],
        }];
        let bytes = tidegate_parquet::encode(&drafts, 1)
            .expect("a file")
            .remove(0);
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 1 << 20);
        let batches = reader.expect("a file").map(|batch| batch.expect("rows"));
        batches
            .flat_map(|batch| {
                batch
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            })
            .collect()
    }

    /// Splits chunks and checks that each event is in exactly one share, of its hour or of the
    /// rest, and between the times that the share has. Returns the rows of each file.
    fn split(chunks: &[Judged]) -> BTreeMap<Home, Vec<i64>> {
        let homes = Homes::of(chunks);
        let mut files: BTreeMap<Home, Vec<i64>> = BTreeMap::new();
        for chunk in chunks {
            let mut all: Vec<i64> = Vec::new();
            for share in homes.shares(chunk).expect("shares") {
                let rows = times(&share);
                assert_eq!(rows.len(), share.part.rows());
                assert_eq!(rows.iter().min(), Some(&share.range.0));
                assert_eq!(rows.iter().max(), Some(&share.range.1));
                if let Home::Hour(hour) = share.home {
                    assert!(rows.iter().all(|time| time.div_euclid(HOUR) == hour));
                }
                all.extend(&rows);
                files.entry(share.home).or_default().extend(rows);
            }
            let mut expected: Vec<i64> = kept(chunk).map(|(_, time)| time).collect();
            expected.sort_unstable();
            all.sort_unstable();
            assert_eq!(all, expected);
        }
        files
    }

    #[test]
    fn rows_of_few_hours_have_a_file_for_each() {
        let times: Vec<i64> = (0..6000).map(|i| (i % 61) * HOUR / 10 - HOUR).collect();
        let files = split(&[
            chunk(&times, |_| true),
            chunk(&times, |row| row % 3 == 0),
            chunk(&times, |_| false),
            chunk(&[], |_| true),
        ]);
        assert_eq!(files.len(), 7);
        assert!(!files.contains_key(&Home::Rest));
        let at_most: Vec<i64> = (0..FILES_MAX as i64).map(|hour| hour * HOUR).collect();
        assert_eq!(split(&[chunk(&at_most, |_| true)]).len(), FILES_MAX);
    }

    #[test]
    fn rows_of_many_hours_have_a_bound_of_files_and_the_fullest_hours_their_own() {
        // An event an hour for ten years, and a hundred in each of three hours among them.
        let mut times: Vec<i64> = (0..87_600).map(|hour| hour * HOUR + 17).collect();
        let full = [4_000, 40_000, 80_000];
        for hour in full {
            times.extend((0..100).map(|second| hour * HOUR + second));
        }
        let chunks: Vec<Judged> = times
            .chunks(5000)
            .map(|times| chunk(times, |_| true))
            .collect();
        let files = split(&chunks);
        assert_eq!(files.len(), FILES_MAX);
        for hour in full {
            assert_eq!(files[&Home::Hour(hour)].len(), 101);
        }
        let in_all: usize = files.values().map(Vec::len).sum();
        assert_eq!(in_all, times.len());
    }

    #[test]
    fn the_ends_of_time_have_an_hour() {
        let files = split(&[chunk(&[i64::MIN, i64::MIN + 1, -1, 0, i64::MAX], |_| true)]);
        assert_eq!(files.len(), 4);
    }
}
