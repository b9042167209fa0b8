//! Whether the pipeline would take a record, by the pipeline's own code.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use tidegate_base::chunk::{Chunk, Payload};
use tidegate_core::lookup::LookupTable;
use tidegate_core::plan::SOURCE_OFFSET;
use tidegate_core::prepare::Preparer;

use super::IngestError;
use super::body::Records;

/// What is to become of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RecordVerdict {
    /// It goes to Kafka.
    Good {
        /// Its key.
        key: Option<Vec<u8>>,
    },
    /// It goes back.
    Bad {
        /// The codes that it would have among the rejects.
        reasons: Vec<String>,
        /// What is wrong, for people.
        detail: String,
    },
}

/// A verdict for each record, in their order. `now` is microseconds since the Unix epoch.
pub(super) fn check(
    preparer: &mut Preparer,
    records: &Records,
    now: i64,
    tables: &[Arc<LookupTable>],
    key: &str,
) -> Result<Vec<RecordVerdict>, IngestError> {
    // The offset of a record is its index.
    let mut chunk = Chunk::new(0, 0, 0);
    for (index, record) in (0..).zip(records.iter()) {
        chunk.push(index, Some(now), Payload::Bytes, record);
    }
    let prepared = preparer.prepare(&chunk, now, tables)?;
    let mut verdicts = vec![None; records.len()];
    let mut decide = |index: i64, verdict: RecordVerdict| {
        if let Some(place) = usize::try_from(index)
            .ok()
            .and_then(|index| verdicts.get_mut(index))
        {
            *place = Some(verdict);
        }
    };
    let keys = cast(&column(&prepared.batch, key)?, &DataType::Utf8)?;
    let keys = keys.as_string::<i32>();
    for (row, index) in indices(&prepared.batch)?.into_iter().enumerate() {
        if prepared.accepted[row] {
            let key = keys
                .is_valid(row)
                .then(|| keys.value(row).as_bytes().to_vec());
            decide(index, RecordVerdict::Good { key });
        }
    }
    if let Some(rejected) = &prepared.rejected {
        let (reasons, details) = (column(rejected, "reasons")?, column(rejected, "detail")?);
        let (reasons, details) = (reasons.as_string::<i32>(), details.as_string::<i32>());
        for (row, index) in indices(rejected)?.into_iter().enumerate() {
            let reasons = reasons.value(row).split(',').map(str::to_owned).collect();
            let detail = details.value(row).to_owned();
            decide(index, RecordVerdict::Bad { reasons, detail });
        }
    }
    let undecided = || RecordVerdict::Bad {
        reasons: vec!["internal".to_owned()],
        detail: "the record was not decided on".to_owned(),
    };
    Ok(verdicts
        .into_iter()
        .map(|verdict| verdict.unwrap_or_else(undecided))
        .collect())
}

fn indices(batch: &RecordBatch) -> Result<Vec<i64>, IngestError> {
    let offsets = column(batch, SOURCE_OFFSET)?;
    Ok(offsets.as_primitive::<Int64Type>().values().to_vec())
}

fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef, IngestError> {
    Ok(Arc::clone(batch.column(batch.schema_ref().index_of(name)?)))
}
