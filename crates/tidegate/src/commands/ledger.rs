//! What the warehouse says it has loaded, for those who look at the log.

use std::fmt::Write as _;

use serde_json::Value;
use tidegate_engine::WarehouseKind;
use tidegate_log::{ReadError, VerifyReport, read_records};
use tidegate_storage::Storage;

use super::query;
use crate::config::options::WarehouseConfig;

/// Where the ledger stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ledger {
    /// Last record that is loaded; 0 if none is.
    pub(super) loaded_seq: u64,
    /// Its checksum.
    loaded_crc32c: u32,
}

/// What there was to see.
#[derive(Debug)]
pub(super) enum Looked {
    /// The ledger.
    Found(Ledger),
    /// There is no warehouse yet.
    Nothing,
    /// It cannot be asked from here, and why.
    Away(String),
}

/// Asks the warehouse, or the process that has it open.
pub(super) fn look(warehouse: &WarehouseConfig) -> Looked {
    let WarehouseKind::DuckDb { path: file, bounds } = &warehouse.kind else {
        return Looked::Away("it is Redshift, which is not asked from here".to_owned());
    };
    if !file.exists() {
        return Looked::Nothing;
    }
    let sql = "SELECT loaded_seq, loaded_crc32c FROM tidegate_job";
    let rows = match query::rows(file, bounds, sql) {
        Ok(rows) => rows,
        Err(failure) => return Looked::Away(failure.in_a_line()),
    };
    match rows.as_slice() {
        [row] => {
            let number = |name: &str| row[name].as_u64();
            let crc32c = number("loaded_crc32c").and_then(|crc| u32::try_from(crc).ok());
            match (number("loaded_seq"), crc32c) {
                (Some(loaded_seq), Some(loaded_crc32c)) => Looked::Found(Ledger {
                    loaded_seq,
                    loaded_crc32c,
                }),
                _ => Looked::Away(format!("its ledger says {row}")),
            }
        }
        [] => Looked::Nothing,
        rows => Looked::Away(format!("its ledger says {}", Value::from(rows.to_vec()))),
    }
}

/// What is wrong between the log and what is loaded of it, if anything: a run would refuse it.
pub(super) async fn compare(
    ledger: &Ledger,
    storage: &Storage,
    report: &VerifyReport,
) -> Option<String> {
    let (loaded, last) = (ledger.loaded_seq, report.progress.records_total);
    if loaded > last {
        let mut problem = format!(
            "the warehouse has commits up to record {loaded}, but the commit log ends at record {last}: the log has \
             lost its end, or was restored from an older copy"
        );
        if report.ahead > 0 {
            // Writing to a String cannot fail.
            let _ = write!(
                problem,
                "; {} files of what was lost are there",
                report.ahead
            );
        }
        return Some(problem);
    }
    if loaded == 0 {
        return None;
    }
    match read_records(storage, loaded, 1).await.as_deref() {
        Ok([record]) if record.crc32c != ledger.loaded_crc32c => Some(format!(
            "the warehouse has loaded another record {loaded} than the log has: one of the two was restored from a \
             copy, or replaced"
        )),
        // What cannot be read is a problem already.
        Ok(_) | Err(ReadError::Broken { .. } | ReadError::Misplaced { .. }) => None,
        Err(error) => Some(error.to_string()),
    }
}
