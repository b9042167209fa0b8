//! The names of a job's files below its prefix. They are a persisted format: do not change them.

use chrono::{DateTime, Datelike, Timelike, Utc};
use object_store::path::Path;

use crate::writer::WriterId;

/// Folder of the commit records.
pub const LOG: &str = "log";
/// Folder of the snapshots.
pub const SNAPSHOT: &str = "snapshot";
/// Folder of the data files.
pub const DATA: &str = "data";
/// Folder of what a storage is probed with; nothing in it is needed.
pub const PROBE: &str = "probe";

/// Digits of a sequence number in a name: as many as the greatest `u64` has, so that names sort.
const DIGITS: usize = 20;

/// Where record `seq` is: `log/00000000000000000042.json`.
pub fn record(seq: u64) -> String {
    format!("{LOG}/{seq:020}.json")
}

/// Where the snapshot after record `seq` is: `snapshot/00000000000000000128.json`.
pub fn snapshot(seq: u64) -> String {
    format!("{SNAPSHOT}/{seq:020}.json")
}

/// Where a data file goes:
/// `data/<dataset>/year=2026/month=11/day=23/hour=05/00000000000000000042-9f1c03ab-0.parquet`.
///
/// A dataset `window:<name>` has the folder `window/<name>`. `seq` is the record that is to name
/// the file: the garbage collector keeps files whose record is not written yet. `index` tells apart
/// the files that one writer puts for one record. `time`, in microseconds since the Unix epoch,
/// chooses the hour's folder.
pub fn data(dataset: &str, seq: u64, writer: &WriterId, index: usize, time: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(time).unwrap_or(if time < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    });
    let hour = (at.year(), at.month(), at.day(), at.hour());
    in_folder(dataset, seq, writer, index, hour)
}

/// Where a data file goes whose rows are of many hours: as [`data`], in the folder of an hour that
/// there never is, `year=0000/month=00/day=00/hour=00`. So readers who list the folder have it, and
/// readers who choose folders by time can choose it too.
pub fn data_of_many_hours(dataset: &str, seq: u64, writer: &WriterId, index: usize) -> String {
    in_folder(dataset, seq, writer, index, (0, 0, 0, 0))
}

fn in_folder(
    dataset: &str,
    seq: u64,
    writer: &WriterId,
    index: usize,
    (year, month, day, hour): (i32, u32, u32, u32),
) -> String {
    let dataset = dataset.replacen(':', "/", 1);
    let unique = writer.unique();
    Path::from(format!(
        "{DATA}/{dataset}/year={year:04}/month={month:02}/day={day:02}/hour={hour:02}/\
         {seq:020}-{unique}-{index}.parquet"
    ))
    .to_string()
}

/// The sequence number in the name of a record or of a snapshot; none if the name is not of that
/// form.
pub fn seq_of_json(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?;
    digits(name.strip_suffix(".json")?)
}

/// The sequence number in the name of a data file; none if the name is not of that form.
pub fn seq_of_data(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?;
    let (seq, rest) = name.split_once('-')?;
    rest.ends_with(".parquet").then(|| digits(seq)).flatten()
}

/// Whether `path` is in its only form and lies below `data/`.
pub(crate) fn is_data(path: &str) -> bool {
    path.strip_prefix(DATA)
        .is_some_and(|rest| rest.starts_with('/'))
        && Path::parse(path).is_ok_and(|parsed| parsed.as_ref() == path)
}

fn digits(text: &str) -> Option<u64> {
    let plain = text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> WriterId {
        WriterId::from_parts("host", 1234, 0x9f1c_03ab)
    }

    #[test]
    fn names_are_as_documented() {
        assert_eq!(record(42), "log/00000000000000000042.json");
        assert_eq!(snapshot(128), "snapshot/00000000000000000128.json");
        let path = data("events", 42, &writer(), 0, 1_795_410_000_000_000);
        assert_eq!(
            path,
            "data/events/year=2026/month=11/day=23/hour=05/00000000000000000042-9f1c03ab-0.parquet"
        );
        let path = data("window:transactions_1m", 1, &writer(), 3, 0);
        assert_eq!(
            path,
            "data/window/transactions_1m/year=1970/month=01/day=01/hour=00/\
             00000000000000000001-9f1c03ab-3.parquet"
        );
        assert_eq!(
            data_of_many_hours("events", 7, &writer(), 64),
            "data/events/year=0000/month=00/day=00/hour=00/00000000000000000007-9f1c03ab-64.parquet"
        );
    }

    #[test]
    fn numbers_are_read_back_from_names() {
        assert_eq!(seq_of_json(&record(u64::MAX)), Some(u64::MAX));
        assert_eq!(seq_of_data(&data("late", 7, &writer(), 0, -1)), Some(7));
        for other in [
            "log/42.json",
            "log/0000000000000000004x.json",
            "log/readme.txt",
            "log/",
            "",
        ] {
            assert_eq!(seq_of_json(other), None, "{other}");
            assert_eq!(seq_of_data(other), None, "{other}");
        }
    }

    #[test]
    fn extreme_times_have_a_folder() {
        for time in [i64::MIN, i64::MAX] {
            let path = data("events", 1, &writer(), 0, time);
            assert!(is_data(&path), "{path}");
        }
    }

    #[test]
    fn only_canonical_paths_below_data_are_data() {
        assert!(is_data("data/events/a.parquet"));
        for other in [
            "data",
            "database/a",
            "data/../log/a",
            "data//a",
            "/data/a",
            "log/a",
        ] {
            assert!(!is_data(other), "{other}");
        }
    }
}
