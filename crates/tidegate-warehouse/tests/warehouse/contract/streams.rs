//! Random streams of updates, the same into both warehouses: each table is what a map says that
//! keeps the latest, whatever the values.
//!
//! What takes time is to found a job and to open a warehouse, which a Redshift is asked a dozen
//! statements for. So streams share both: each has keys of its own in the one table, and rows of
//! the streams before are there, and stay.

use std::collections::HashMap;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::record_batch::RecordBatch;
use tidegate_log::Record;
use tidegate_testkit::Random;
use tidegate_warehouse::{LoadRequest, TableKind, TableSpec, Warehouse};

use super::{Place, World};
use crate::job::{NEW_YEAR, columns};

/// Streams of the default suite, and with `TIDEGATE_TEST_LONG`; `TIDEGATE_TEST_SEEDS=200..320`
/// names others.
const SEEDS: Range<u64> = 0..6;
const SEEDS_LONG: Range<u64> = 0..2_000;
/// Streams at a time: a Redshift is mostly waited for.
const AT_ONCE: usize = 6;
/// Streams that share a job and a table, at most. All rows of a table are looked at by each load.
const STREAMS_OF_WORLD: usize = 20;
/// Streams that share an S3 server, which looks through all that it has for each listing.
const STREAMS_OF_PLACE: usize = 2 * AT_ONCE * STREAMS_OF_WORLD;
/// Streams after which the test says how far it is.
const SAID_EVERY: usize = 50;
/// Tries of a load.
const TRIES: usize = 5;

const YEAR_1: i64 = -62_135_596_800_000_000;
const YEAR_9999: i64 = 253_402_300_799_999_999;
/// The same as days.
const DAYS: [i32; 4] = [-719_162, 2_932_896, 0, 20_454];

fn one<T: Clone>(random: &mut Random, of: &[T]) -> T {
    of[random.place(of.len())].clone()
}

/// One of these, or null.
fn maybe<T: Clone>(random: &mut Random, of: &[T]) -> Option<T> {
    (random.below(4) > 0).then(|| one(random, of))
}

/// A row: key, order, and values.
#[derive(Debug, Clone)]
struct Row {
    /// Tells the keys of one stream from those of others.
    stream: i64,
    word: Option<String>,
    part: Option<i64>,
    at: i64,
    partition: i32,
    offset: i64,
    text: Option<String>,
    small: Option<i16>,
    whole: Option<i32>,
    large: Option<i64>,
    short: Option<f32>,
    real: Option<f64>,
    flag: Option<bool>,
    day: Option<i32>,
    price: Option<i128>,
    exact: Option<i128>,
    moment: Option<i64>,
}

/// Values that keys and texts are taken from: some differ in nothing but blanks, and some are as
/// long as text can be in Redshift.
fn words() -> Vec<String> {
    let plain = [
        "", " ", "a", "a ", "a  ", " a", "A", "é", "e\u{301}", "\t", "it's", "\\n", "🦀", "NULL",
        "\\N",
    ];
    let long = [
        "x".repeat(65_534),
        format!("{} ", "x".repeat(65_534)),
        "x".repeat(65_535),
        format!("{}a", "é".repeat(32_767)),
        " ".repeat(65_535),
    ];
    plain.map(str::to_owned).into_iter().chain(long).collect()
}

fn rows(random: &mut Random, stream: u64, words: &[String]) -> Vec<Row> {
    const DIGITS_20: i128 = 10_i128.pow(20) - 1;
    const DIGITS_38: i128 = 10_i128.pow(38) - 1;
    // A few keys of each stream, so that they come again.
    let keys: Vec<String> = (0..4).map(|_| one(random, words)).collect();
    let times = [0, 1, 2, 1_000_000, 3_600_000_000].map(|micros| NEW_YEAR + micros);
    let mut times = times.to_vec();
    times.extend([YEAR_1, YEAR_9999, -1]);
    let count = 1 + random.place(50);
    let mut rows: Vec<Row> = Vec::with_capacity(count);
    for offset in 0..count {
        if !rows.is_empty() && random.below(10) == 0 {
            let repeated = one(random, &rows);
            rows.push(repeated);
            continue;
        }
        rows.push(Row {
            stream: i64::try_from(stream).unwrap(),
            word: maybe(random, &keys),
            part: maybe(random, &[0, 1, i64::MIN, i64::MAX]),
            at: one(random, &times),
            partition: one(random, &[0, 1, i32::MAX]),
            offset: offset as i64,
            text: maybe(random, words),
            small: maybe(random, &[0, -1, i16::MIN, i16::MAX]),
            whole: maybe(random, &[0, -1, i32::MIN, i32::MAX]),
            large: maybe(random, &[0, -1, i64::MIN, i64::MAX]),
            short: maybe(
                random,
                &[0.0, -0.0, f32::MIN, f32::MAX, f32::MIN_POSITIVE, 0.1],
            ),
            real: maybe(
                random,
                &[
                    0.0,
                    -0.0,
                    f64::MIN,
                    f64::MAX,
                    f64::MIN_POSITIVE,
                    5e-324,
                    0.1,
                ],
            ),
            flag: maybe(random, &[false, true]),
            day: maybe(random, &DAYS),
            price: maybe(random, &[0, 1, -1, DIGITS_20, -DIGITS_20]),
            exact: maybe(random, &[0, 1, -1, DIGITS_38, -DIGITS_38]),
            moment: maybe(random, &times),
        });
    }
    rows
}

fn batch(rows: &[Row]) -> RecordBatch {
    fn column<T>(array: T) -> ArrayRef
    where
        T: arrow::array::Array + 'static,
    {
        Arc::new(array)
    }
    let decimal = |values: Decimal128Array, precision, scale| {
        column(values.with_precision_and_scale(precision, scale).unwrap())
    };
    let times = |values: TimestampMicrosecondArray| column(values.with_timezone("UTC"));
    macro_rules! of {
        ($array:ty, $field:ident) => {
            rows.iter()
                .map(|row| row.$field.clone())
                .collect::<$array>()
        };
    }
    let at: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.at)).collect();
    let partition: Int32Array = rows.iter().map(|row| Some(row.partition)).collect();
    let offset: Int64Array = rows.iter().map(|row| Some(row.offset)).collect();
    let stream: Int64Array = rows.iter().map(|row| Some(row.stream)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("stream", column(stream), false),
        ("word", column(of!(StringArray, word)), true),
        ("part", column(of!(Int64Array, part)), true),
        ("event_timestamp", times(at), false),
        ("source_partition", column(partition), false),
        ("source_offset", column(offset), false),
        ("text", column(of!(StringArray, text)), true),
        ("small", column(of!(Int16Array, small)), true),
        ("whole", column(of!(Int32Array, whole)), true),
        ("large", column(of!(Int64Array, large)), true),
        ("short", column(of!(Float32Array, short)), true),
        ("real", column(of!(Float64Array, real)), true),
        ("flag", column(of!(BooleanArray, flag)), true),
        ("day", column(of!(Date32Array, day)), true),
        ("price", decimal(of!(Decimal128Array, price), 20, 2), true),
        ("exact", decimal(of!(Decimal128Array, exact), 38, 10), true),
        (
            "moment",
            times(of!(TimestampMicrosecondArray, moment)),
            true,
        ),
    ])
    .unwrap()
}

fn table() -> TableSpec {
    let order = ["event_timestamp", "source_partition", "source_offset"];
    TableSpec {
        name: "t".into(),
        datasets: vec!["events".into(), "late".into()],
        columns: columns(&batch(&[])),
        required: ["stream"]
            .iter()
            .chain(&order)
            .map(ToString::to_string)
            .collect(),
        time: Some("event_timestamp".to_owned()),
        kind: TableKind::Upsert {
            key: vec!["stream".into(), "word".into(), "part".into()],
            order: order.map(str::to_owned).into(),
            reach: None,
        },
    }
}

/// The bits of a float. Which of the zeros it is, no warehouse promises: they are equal, and a
/// checkpoint of DuckDB makes one of neighbours (`findings/duckdb-negative-zero.sh`).
fn short_bits(value: f32) -> u32 {
    (value + 0.0).to_bits()
}

fn real_bits(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

/// A row as one line; floats as their bits, texts as bytes and checksum.
fn line(row: &Row) -> String {
    fn shown<T: ToString>(value: Option<T>) -> String {
        value.map_or("-".to_owned(), |value| value.to_string())
    }
    let text = |text: &Option<String>| {
        let text = text.as_ref();
        shown(text.map(|text| format!("{}:{:08x}", text.len(), crc32c::crc32c(text.as_bytes()))))
    };
    [
        text(&row.word),
        shown(row.part),
        row.at.to_string(),
        row.partition.to_string(),
        row.offset.to_string(),
        text(&row.text),
        shown(row.small),
        shown(row.whole),
        shown(row.large),
        shown(row.short.map(short_bits)),
        shown(row.real.map(real_bits)),
        shown(row.flag),
        shown(row.day),
        shown(row.price),
        shown(row.exact),
        shown(row.moment),
    ]
    .join("|")
}

/// What a warehouse has of a stream, in the same form.
fn found(world: &World<'_>, is_duckdb: bool, stream: u64) -> Vec<String> {
    // Texts in hexadecimal, since the answer is read line by line.
    let hex = |column: &str| match is_duckdb {
        true => format!("hex(encode({column}))"),
        false => format!("encode(convert_to({column}, 'UTF8'), 'hex')"),
    };
    let micros = |column: &str| match is_duckdb {
        true => format!("epoch_us({column})"),
        false => format!("CAST(EXTRACT(EPOCH FROM {column}) * 1000000 AS BIGINT)"),
    };
    let days = match is_duckdb {
        true => "date_diff('day', DATE '1970-01-01', \"day\")",
        false => "\"day\" - DATE '1970-01-01'",
    };
    let values = [
        hex("word"),
        "part".to_owned(),
        micros("event_timestamp"),
        "source_partition".to_owned(),
        "source_offset".to_owned(),
        hex("\"text\""),
        "small".to_owned(),
        "whole".to_owned(),
        "\"large\"".to_owned(),
        "short".to_owned(),
        "\"real\"".to_owned(),
        "flag".to_owned(),
        days.to_owned(),
        "price".to_owned(),
        "\"exact\"".to_owned(),
        micros("moment"),
    ];
    let values = values.map(|value| format!("COALESCE(CAST({value} AS VARCHAR), '-')"));
    let answer = world.ask(&format!(
        "SELECT {} || '|' FROM t WHERE stream = {stream}",
        values.join(" || '|' || ")
    ));
    let mut lines: Vec<String> = answer
        .lines()
        .map(|line| canonical(line.trim_matches('"')))
        .collect();
    lines.sort_unstable();
    lines
}

fn canonical(line: &str) -> String {
    let fields = line.trim_end_matches('|').split('|').enumerate();
    let fields: Vec<String> = fields
        .map(|(at, field)| match (at, field) {
            (_, "-") => field.to_owned(),
            (0 | 5, hex) => {
                let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
                let pairs = digits.chunks(2);
                let bytes: Vec<u8> = pairs.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
                format!("{}:{:08x}", bytes.len(), crc32c::crc32c(&bytes))
            }
            (9, float) => short_bits(float.parse().unwrap()).to_string(),
            (10, float) => real_bits(float.parse().unwrap()).to_string(),
            (13 | 14, decimal) => {
                let digits: i128 = decimal.replace('.', "").parse().unwrap();
                digits.to_string()
            }
            _ => field.to_owned(),
        })
        .collect();
    fields.join("|")
}

/// A table of one warehouse, which streams are loaded into.
struct Target<'p> {
    // Closed before its folder goes.
    warehouse: Box<dyn Warehouse>,
    world: World<'p>,
    is_duckdb: bool,
    /// Records that are committed and not loaded.
    waiting: Vec<Record>,
    /// Rows that are there.
    rows: usize,
}

impl<'p> Target<'p> {
    fn new(place: &'p Place) -> Self {
        let world = place.world();
        let warehouse = world.open(vec![table()]);
        Target {
            is_duckdb: matches!(place, Place::DuckDb),
            waiting: world.job.records(),
            world,
            warehouse,
            rows: 0,
        }
    }

    fn commit(&mut self, dataset: &str, rows: &[Row]) {
        let file = self.world.job.file(dataset, &batch(rows));
        let record = self.world.job.commit_with(vec![file], &[], &[]);
        self.waiting.push(record);
    }

    /// Loads what is committed, as a loader does: in loads of up to `rows_max` rows, and what can
    /// pass is tried again.
    fn load(&mut self, rows_max: u64) {
        while !self.waiting.is_empty() {
            let mut rows = 0;
            let full = |record: &Record| {
                let full = rows >= rows_max;
                rows += record.files.iter().map(|file| file.rows).sum::<u64>();
                full
            };
            let taken = self.waiting.iter().position(full);
            let taken = taken.unwrap_or(self.waiting.len()).max(1);
            let rest = self.waiting.split_off(taken);
            let request = LoadRequest {
                records: &self.waiting,
                storage: &self.world.job.storage,
                runtime: self.world.job.runtime.handle(),
                now: self.world.job.clock.now_micros(),
            };
            let mut tries = 1;
            while let Err(error) = self.warehouse.load(&request) {
                assert!(error.is_transient() && tries < TRIES, "{error}");
                tries += 1;
            }
            self.waiting = rest;
        }
    }
}

/// One stream into both warehouses, in the same files and loads.
fn check(targets: &mut [Target<'_>], words: &[String], seed: u64) {
    let random = &mut Random::new(seed);
    let rows = rows(random, seed, words);
    let mut latest: HashMap<(Option<&str>, Option<i64>), &Row> = HashMap::new();
    for row in &rows {
        let best = latest.entry((row.word.as_deref(), row.part)).or_insert(row);
        let order = |row: &Row| (row.at, row.partition, row.offset);
        if order(row) > order(best) {
            *best = row;
        }
    }
    let mut expect: Vec<String> = latest.values().map(|row| line(row)).collect();
    expect.sort_unstable();
    let mut files: Vec<(&str, &[Row])> = Vec::new();
    let mut rest = rows.as_slice();
    while !rest.is_empty() {
        let (file, others) = rest.split_at((1 + random.place(20)).min(rest.len()));
        files.push((one(random, &["events", "events", "late"]), file));
        rest = others;
    }
    let rows_max = one(random, &[1, 15, 40, u64::MAX]);
    for target in targets {
        for (dataset, rows) in &files {
            target.commit(dataset, rows);
        }
        target.load(rows_max);
        let is_duckdb = target.is_duckdb;
        let found = found(&target.world, is_duckdb, seed);
        assert_eq!(
            found, expect,
            "seed {seed}, DuckDB: {is_duckdb}, loads of {rows_max} rows"
        );
        target.rows += expect.len();
    }
}

/// Streams into one table of each warehouse, one after the other.
fn check_all(places: &[Place], words: &[String], seeds: &[u64], progress: &Progress) {
    let mut targets: Vec<Target<'_>> = places.iter().map(Target::new).collect();
    for seed in seeds {
        check(&mut targets, words, *seed);
        progress.one_more();
    }
    for target in targets {
        let rows = target.world.ask("SELECT COUNT(*) FROM t");
        let streams = (seeds.first(), seeds.last());
        assert_eq!(
            rows,
            format!("{}\n", target.rows),
            "streams {streams:?} together"
        );
    }
}

/// Says how many streams have been checked, and in what time.
struct Progress {
    began: Instant,
    done: AtomicUsize,
    all: usize,
}

impl Progress {
    fn one_more(&self) {
        let done = 1 + self.done.fetch_add(1, Ordering::Relaxed);
        if done.is_multiple_of(SAID_EVERY) {
            let seconds = self.began.elapsed().as_secs();
            // Not by a macro, whose output a test that passes does not show.
            let _ = writeln!(
                std::io::stderr(),
                "{done} of {} streams after {seconds} s",
                self.all
            );
        }
    }
}

#[test]
fn random_streams_of_updates_leave_the_same_rows_in_both_warehouses() {
    let words = words();
    let seeds: Vec<u64> = tidegate_testkit::seeds(SEEDS, SEEDS_LONG).collect();
    let progress = Progress {
        began: Instant::now(),
        done: AtomicUsize::new(0),
        all: seeds.len(),
    };
    // A few streams share their tables, too.
    let of_world = seeds.len().div_ceil(AT_ONCE / 2);
    let of_world = of_world.clamp(1, STREAMS_OF_WORLD);
    for seeds in seeds.chunks(STREAMS_OF_PLACE) {
        let mut places = vec![Place::duckdb()];
        places.extend(Place::redshift());
        let worlds: Vec<&[u64]> = seeds.chunks(of_world).collect();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(seeds) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                        check_all(&places, &words, seeds, &progress);
                    }
                });
            }
        });
    }
}
