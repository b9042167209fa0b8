//! Where a warehouse stands in the commit log, and whether records follow it: the same for every
//! warehouse.

use std::collections::BTreeMap;

use tidegate_log::Record;

use crate::load::LoadFault;
use crate::table::TableSpec;

/// The last record that was loaded, and its checksum. Both 0 at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) seq: u64,
    pub(crate) crc32c: u32,
}

impl Ledger {
    /// Whether the records of `job` can be loaded next; and where the ledger stands after them.
    pub(crate) fn follow(self, job: &str, records: &[Record]) -> Result<Ledger, LoadFault> {
        let mut before = self;
        if records.is_empty() {
            return Err(LoadFault::Gap {
                missing: before.seq + 1,
            });
        }
        for (place, record) in records.iter().enumerate() {
            if record.seq != before.seq + 1 {
                let missing = before.seq + 1;
                let not_next = LoadFault::NotNext { ledger: before.seq };
                return Err(if place == 0 {
                    not_next
                } else {
                    LoadFault::Gap { missing }
                });
            }
            if record.job.as_str() != job {
                return Err(LoadFault::OtherJob {
                    seq: record.seq,
                    job: record.job.to_string(),
                });
            }
            if record.prev_crc32c != before.crc32c {
                return Err(LoadFault::OtherHistory { seq: record.seq });
            }
            before = Ledger {
                seq: record.seq,
                crc32c: record.crc32c,
            };
        }
        Ok(before)
    }
}

/// The lanes of some records with their last watermark, in microseconds since the Unix epoch; none
/// for a lane that is new.
pub(crate) fn watermarks(records: &[Record]) -> BTreeMap<i32, Option<i64>> {
    let mut lanes: BTreeMap<i32, Option<i64>> = BTreeMap::new();
    for record in records {
        for span in &record.partitions {
            lanes.entry(span.lane).or_default();
        }
        for (lane, micros) in &record.watermarks {
            lanes.insert(*lane, (*micros != i64::MIN).then_some(*micros));
        }
    }
    lanes
}

/// Says that rows of a dataset are in the records of a load, and that no table takes them.
pub(crate) fn warn_without_table(dataset: &str, rows: u64, records: &[Record]) {
    tracing::warn!(
        dataset,
        rows,
        first_record = records.first().map(|record| record.seq),
        last_record = records.last().map(|record| record.seq),
        "no table takes this dataset: its rows stay in storage and are not loaded"
    );
}

/// Rows of the datasets that none of the tables takes.
pub(crate) fn rows_without_table<'a>(
    tables: &(impl Iterator<Item = &'a TableSpec> + Clone),
    records: &[Record],
) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    for entry in records.iter().flat_map(|record| &record.files) {
        if !tables.clone().any(|table| table.takes(&entry.dataset)) {
            *rows.entry(entry.dataset.clone()).or_default() += entry.rows;
        }
    }
    rows
}
