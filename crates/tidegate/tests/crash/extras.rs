//! What starts have beyond the workload's configuration: windows that are added and taken away
//! again, lookups that are added, changed and taken away. And what has to come of it, by the page
//! of the documentation on changing a running job.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use duckdb::Connection;
use tidegate_core::meaning::Meaning;
use tidegate_log::Record;

use crate::common::Job;
use crate::outcome::log;
use crate::random::Random;
use crate::workload::{example, start_at};

/// Columns that only some starts have, as SQL.
pub(crate) const COLUMNS: &str = "'size_class', 'seen_at', 'also_seen_at'";
/// Windows that only some starts have: one over columns that are always there, and one over a
/// column that comes and goes with it.
const WINDOWS: [&str; 2] = ["extra_overlapping", "extra_by_size"];

/// What each start of a job has.
pub(crate) struct Extras {
    /// None of a job that nothing disturbs: it has the windows from its beginning, and no lookups.
    phase: Option<u64>,
}

/// What one start has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extra {
    windows: bool,
    /// A lookup whose file says which start this is.
    lookup: bool,
    /// Another one, over another column, which does not have all of its values.
    other_lookup: bool,
}

/// Whether a table or dataset is of such a window.
pub(crate) fn is_extra(name: &str) -> bool {
    let name = name.strip_prefix("window:").unwrap_or(name);
    WINDOWS.iter().any(|window| name.starts_with(window))
}

impl Extras {
    /// Those of a job that nothing disturbs.
    pub(crate) fn undisturbed() -> Self {
        Extras { phase: None }
    }

    /// Those of a job that is killed: other ones at each start.
    pub(crate) fn changing(random: &mut Random) -> Self {
        Extras {
            phase: Some(random.below(60)),
        }
    }

    fn of(&self, start: u64) -> Extra {
        let Some(phase) = self.phase else {
            return Extra {
                windows: true,
                lookup: false,
                other_lookup: false,
            };
        };
        let at = start + phase;
        Extra {
            windows: at % 5 < 3,
            lookup: at % 4 != 3,
            other_lookup: at % 3 == 1,
        }
    }

    /// Writes the configuration of a start, and the files of its lookups.
    pub(crate) fn configure(&self, job: &Job, start: u64) {
        let extra = self.of(start);
        let mut config = example();
        if extra.windows {
            let before = "\n[enrich]\n";
            assert_eq!(config.matches(before).count(), 1);
            let column = "size_class = \"CASE WHEN amount < 100 THEN 'small' ELSE 'large' END\"";
            config = config.replace(before, &format!("{before}{column}\n"));
            config.push_str(
                r#"
[[windows]]
name = "extra_overlapping"
size = "2m"
slide = "1m"
group-by = ["currency"]
[windows.aggregates]
n = "count(*)"
total = "sum(amount)"

[[windows]]
name = "extra_by_size"
size = "1m"
group-by = ["size_class"]
[windows.aggregates]
n = "count(*)"
"#,
            );
        }
        let mut lookup = |on: &str, column: &str, values: &[&str]| {
            let _ = write!(
                config,
                "\n[[lookups]]\nname = \"{column}\"\npath = \"{column}.csv\"\non = \"{on}\"\n\
                 columns = {{ {column} = {{ from = \"start\", type = \"int32\" }} }}\n"
            );
            let rows: String = values.iter().map(|v| format!("{v},{start}\n")).collect();
            let table = format!("{on},start\n{rows}");
            std::fs::write(job.path(&format!("{column}.csv")), table).unwrap();
        };
        if extra.lookup {
            lookup("status", "seen_at", &["COMPLETED", "PENDING", "FAILED"]);
        }
        if extra.other_lookup {
            lookup("currency", "also_seen_at", &["USD", "EUR"]);
        }
        std::fs::write(job.path("tidegate.toml"), config).unwrap();
    }

    /// Compares with a job that nothing disturbed.
    ///
    /// # Panics
    /// If something is not as the documentation says.
    pub(crate) fn check(&self, job: &Job, undisturbed: &Shown) {
        let records = log(job).1;
        let warehouse = Connection::open(job.path("warehouse.duckdb")).unwrap();
        self.check_windows(&records, undisturbed, &Shown::of(job));
        self.check_files(job, &records);
        check_table(job, &warehouse, &records);
    }

    /// A window is there, and whole, exactly where it was in the configuration when each lane
    /// closed it, from the first whole one on; whichever start has loaded that.
    fn check_windows(&self, records: &[Record], undisturbed: &Shown, found: &Shown) {
        let mut meaning = None;
        // Since when each window exists, by record; none where it does not.
        let mut since: BTreeMap<&str, Vec<Option<i64>>> = BTreeMap::new();
        let mut lanes: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            if let Some(plan) = &record.plan {
                meaning = Some(Meaning::read(plan).unwrap());
            }
            for name in WINDOWS {
                let windows = meaning.iter().flat_map(|meaning| &meaning.windows);
                let window = windows.into_iter().find(|w| w.name == name && !w.ended);
                // The record that founds the job does not say.
                let has = self.of(start_at(record.written_at)).windows;
                assert_eq!(window.is_some(), has && at > 0, "{name}, record {}", at + 1);
                let begins = window.map(|window| window.since.unwrap_or(i64::MIN));
                since.entry(name).or_default().push(begins);
            }
            for lane in record.watermarks.keys() {
                lanes.entry(*lane).or_insert_with(|| vec![i64::MIN; at]);
            }
            for (lane, watermarks) in &mut lanes {
                let before = watermarks.last().copied().unwrap_or(i64::MIN);
                let now = record.watermarks.get(lane).copied();
                watermarks.push(now.unwrap_or(before));
            }
        }
        let mut whole = 0;
        let all: BTreeSet<&Key> = undisturbed.0.keys().chain(found.0.keys()).collect();
        for key in all {
            let (name, start, end) = key;
            let has_part = |watermarks: &Vec<i64>| {
                let closed = watermarks.iter().position(|at| at >= end).expect("it ends");
                since[name.as_str()][closed].is_some_and(|since| since <= *start)
            };
            let expected = if lanes.values().all(has_part) {
                whole += 1;
                undisturbed.0.get(key)
            } else {
                None
            };
            assert_eq!(found.0.get(key), expected, "{name}, {start} to {end}");
        }
        assert!(whole > 0 || self.phase.is_some(), "no window is whole");
    }

    /// Each row has what its lookups said when it was read.
    fn check_files(&self, job: &Job, records: &[Record]) {
        let memory = Connection::open_in_memory().unwrap();
        let mut by_start: BTreeMap<u64, Vec<&Record>> = BTreeMap::new();
        for record in records {
            let start = start_at(record.written_at);
            by_start.entry(start).or_default().push(record);
        }
        for (start, records) in by_start {
            let Some(rows) = rows_of(job, &records) else {
                continue;
            };
            let extra = self.of(start);
            let value = |has: bool| {
                if has {
                    start.to_string()
                } else {
                    "NULL".to_owned()
                }
            };
            let wrong: i64 = memory
                .query_row(
                    &format!(
                        "SELECT count(*) FROM {rows} WHERE seen_at IS DISTINCT FROM {} OR also_seen_at IS DISTINCT FROM \
                         CASE WHEN currency IN ('USD', 'EUR') THEN {} END",
                        value(extra.lookup),
                        value(extra.other_lookup)
                    ),
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(wrong, 0, "rows of start {start}, which has {extra:?}");
        }
    }
}

/// Each row of the table is as its file has it, whichever start has loaded it.
fn check_table(job: &Job, warehouse: &Connection, records: &[Record]) {
    let records: Vec<&Record> = records.iter().collect();
    let files = rows_of(job, &records).expect("events");
    let table = with_columns("SELECT * FROM transactions");
    let (all, wrong): (i64, i64) = warehouse
        .query_row(
            &format!(
                "SELECT count(*), count(*) FILTER (found.seen_at IS DISTINCT FROM file.seen_at OR found.also_seen_at IS \
                 DISTINCT FROM file.also_seen_at) FROM {table} AS found JOIN {files} AS file USING (source_partition, \
                 source_offset)"
            ),
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    let rows: i64 = warehouse
        .query_row("SELECT count(*) FROM transactions", [], |row| row.get(0))
        .unwrap();
    assert_eq!((all, wrong), (rows, 0), "rows of the table by their files");
}

/// The events of these records, with all columns that any start has; none if there are none.
fn rows_of(job: &Job, records: &[&Record]) -> Option<String> {
    let files: Vec<String> = records
        .iter()
        .flat_map(|record| &record.files)
        .filter(|file| file.dataset == "events" || file.dataset == "late")
        .map(|file| format!("'{}'", job.path("data").join(&file.path).display()))
        .collect();
    (!files.is_empty()).then(|| {
        with_columns(&format!(
            "SELECT * FROM read_parquet([{}], hive_partitioning = false, union_by_name = true)",
            files.join(", ")
        ))
    })
}

/// The rows of a question, with null in the lookups' columns that it lacks.
fn with_columns(sql: &str) -> String {
    format!(
        "({sql} UNION ALL BY NAME SELECT NULL::INTEGER AS seen_at, NULL::INTEGER AS also_seen_at WHERE false)"
    )
}

/// A window's name, start and end.
type Key = (String, i64, i64);

/// What the views of the windows show.
pub(crate) struct Shown(BTreeMap<Key, Vec<String>>);

impl Shown {
    /// Reads it.
    pub(crate) fn of(job: &Job) -> Self {
        let warehouse = Connection::open(job.path("warehouse.duckdb")).unwrap();
        let mut shown: BTreeMap<Key, Vec<String>> = BTreeMap::new();
        for name in WINDOWS {
            let is_there: bool = warehouse
                .query_row(
                    "SELECT count(*) > 0 FROM information_schema.tables WHERE table_name = ?",
                    [name],
                    |row| row.get(0),
                )
                .unwrap();
            if !is_there {
                continue;
            }
            let mut statement = warehouse
                .prepare(&format!(
                    "SELECT epoch_us(window_start), epoch_us(window_end), CAST(line AS VARCHAR) FROM \"{name}\" AS line \
                     ORDER BY ALL"
                ))
                .unwrap();
            let rows = statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .unwrap();
            for row in rows {
                let (start, end, line) = row.unwrap();
                let key = (name.to_owned(), start, end);
                shown.entry(key).or_default().push(line);
            }
        }
        Shown(shown)
    }

    /// # Panics
    /// If there is not enough to compare.
    pub(crate) fn check_is_interesting(&self) {
        for name in WINDOWS {
            let windows = self.0.keys().filter(|(of, ..)| of == name).count();
            assert!(windows >= 15, "{name}: only {windows} windows");
        }
    }
}
