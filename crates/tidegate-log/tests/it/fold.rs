//! The fold: equal to a simple model on every valid log, and refusing each way to break one.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_log::{
    Counts, FileEntry, Founding, JobId, JobState, PartitionState, Record, RecordFault, Span, fold,
};

const KEEP: i64 = 50;

fn file(dataset: &str, seq: u64, rows: u64, event_time: Option<(i64, i64)>) -> FileEntry {
    let path = format!("data/{dataset}/{seq}.parquet").replace(':', "/");
    FileEntry {
        dataset: dataset.to_owned(),
        path,
        rows,
        bytes: 100,
        crc32c: 7,
        event_time,
        lanes: Vec::new(),
    }
}

/// The record after `before`, without content; the first one founds the job.
fn next(before: Option<&Record>) -> Record {
    let founding = Founding {
        name: "job".to_owned(),
        fingerprint_seed: 1,
        created_at: 0,
    };
    Record {
        version: 1,
        seq: before.map_or(1, |before| before.seq + 1),
        job: JobId("a".to_owned()),
        writer: "host-1-00000001".to_owned(),
        written_at: 5,
        prev_crc32c: before.map_or(0, |before| before.crc32c),
        schema_version: 1,
        partitions: Vec::new(),
        watermarks: BTreeMap::new(),
        idle: BTreeMap::new(),
        plan: None,
        counts: Counts::default(),
        rejected_by: BTreeMap::new(),
        files: Vec::new(),
        complete: false,
        founding: before.is_none().then_some(founding),
        crc32c: 0,
    }
}

fn span(id: i32, from: i64, to: i64) -> Span {
    Span {
        id,
        lane: id,
        name: format!("p{id}"),
        from,
        to,
        gone: 0,
        identity: None,
    }
}

/// A first record, and a second one that covers ten events of partition 0.
fn two() -> [Record; 2] {
    let (first, _) = next(None).seal();
    let mut second = next(Some(&first));
    second.partitions = vec![span(0, 100, 110)];
    second.watermarks = [(0, 1000)].into();
    second.counts = Counts {
        read: 10,
        events: 10,
        ..Counts::default()
    };
    second.files = vec![file("events", 2, 10, Some((990, 1010)))];
    [first, second.seal().0]
}

fn folded(records: &[Record]) -> JobState {
    let fold = |state, record: &Record| Some(fold(state, record, KEEP).unwrap());
    records.iter().fold(None, fold).unwrap()
}

/// Changes a valid third record and returns what the fold says.
fn fault_of(change: impl FnOnce(&mut Record)) -> RecordFault {
    let [first, second] = two();
    let mut third = next(Some(&second));
    third.partitions = vec![span(0, 110, 120), span(1, 0, 5)];
    third.watermarks = [(0, 1005)].into();
    third.counts = Counts {
        read: 6,
        events: 3,
        late: 1,
        rejected: 1,
        duplicates: 1,
        gone: 0,
    };
    third.files = vec![
        file("events", 3, 3, Some((1006, 1010))),
        file("late", 3, 1, Some((3, 3))),
        file("rejected", 3, 1, None),
    ];
    let state = folded(&[first, second]);
    fold(Some(state.clone()), &third, KEEP).unwrap();
    change(&mut third);
    let error = fold(Some(state), &third, KEEP).unwrap_err();
    assert_eq!(error.seq, third.seq);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("record {}: ", third.seq)) && text.contains("; "),
        "{text}"
    );
    error.fault
}

#[test]
fn gaps_and_overlaps_are_refused() {
    let name = || "p0".to_owned();
    let fault = fault_of(|record| record.partitions[0].from = 111);
    assert_eq!(
        fault,
        RecordFault::Gap {
            partition: 0,
            name: name(),
            expected: 110,
            from: 111
        }
    );
    let fault = fault_of(|record| record.partitions[0].from = 109);
    assert_eq!(
        fault,
        RecordFault::Overlap {
            partition: 0,
            name: name(),
            expected: 110,
            from: 109
        }
    );
    let fault = fault_of(|record| record.partitions[0].to = 109);
    assert_eq!(
        fault,
        RecordFault::Backwards {
            partition: 0,
            name: name(),
            from: 110,
            to: 109
        }
    );
    let fault = fault_of(|record| record.partitions.push(span(1, 5, 6)));
    assert_eq!(fault, RecordFault::Twice { partition: 1 });
}

#[test]
fn a_partition_keeps_its_name_and_its_lane() {
    let fault = fault_of(|record| record.partitions[0].name = "other".to_owned());
    assert!(
        matches!(fault, RecordFault::PartitionChanged { partition: 0, .. }),
        "{fault}"
    );
    let fault = fault_of(|record| record.partitions[0].lane = 9);
    assert!(
        matches!(fault, RecordFault::PartitionChanged { partition: 0, .. }),
        "{fault}"
    );
}

#[test]
fn counts_that_do_not_add_up_are_refused() {
    let fault = fault_of(|record| record.counts.read = 7);
    assert!(matches!(fault, RecordFault::Unbalanced(_)), "{fault}");
    let fault = fault_of(|record| record.counts.duplicates = 0);
    assert!(matches!(fault, RecordFault::Unbalanced(_)), "{fault}");
    let fault = fault_of(|record| {
        record.counts.duplicates = u64::MAX;
        record.counts.read = 4;
    });
    assert!(matches!(fault, RecordFault::Unbalanced(_)), "{fault}");
    let fault = fault_of(|record| {
        record.counts = Counts {
            read: 16,
            duplicates: 11,
            ..record.counts
        };
    });
    assert_eq!(
        fault,
        RecordFault::Covered {
            read: 16,
            gone: 0,
            covered: 15
        }
    );
    let fault = fault_of(|record| record.counts.gone = 1);
    assert_eq!(
        fault,
        RecordFault::Gone {
            counted: 1,
            gone: 0
        }
    );
}

#[test]
fn files_that_do_not_hold_what_was_counted_are_refused() {
    for (at, dataset, counted) in [(0, "events", 3), (1, "late", 1), (2, "rejected", 1)] {
        let fault = fault_of(|record| record.files[at].rows = 2);
        assert_eq!(
            fault,
            RecordFault::Rows {
                dataset,
                counted,
                rows: 2
            }
        );
    }
}

#[test]
fn files_that_garbage_collection_or_recovery_would_miss_are_refused() {
    for path in [
        "log/00000000000000000001.json",
        "data/../log/a",
        "/data/a",
        "data//a",
    ] {
        let fault = fault_of(|record| record.files[0].path = path.to_owned());
        assert!(matches!(fault, RecordFault::File { .. }), "{fault}");
    }
    let fault = fault_of(|record| record.files[0].path = record.files[1].path.clone());
    assert!(
        matches!(
            fault,
            RecordFault::File {
                what: "is there twice",
                ..
            }
        ),
        "{fault}"
    );
    let fault = fault_of(|record| record.files[0].event_time = None);
    assert!(matches!(fault, RecordFault::File { .. }), "{fault}");
    let fault = fault_of(|record| record.files[0].event_time = Some((2, 1)));
    assert!(matches!(fault, RecordFault::File { .. }), "{fault}");
}

#[test]
fn a_watermark_that_goes_back_is_refused() {
    let fault = fault_of(|record| record.watermarks = [(0, 999)].into());
    assert_eq!(
        fault,
        RecordFault::WatermarkBack {
            lane: 0,
            expected: 1000,
            found: 999
        }
    );
}

#[test]
fn a_record_out_of_place_is_refused() {
    let [_, second] = two();
    let fault = fault_of(|record| record.prev_crc32c ^= 1);
    let (expected, found) = (second.crc32c, second.crc32c ^ 1);
    assert_eq!(fault, RecordFault::Chain { expected, found });
    let fault = fault_of(|record| record.seq = 5);
    assert_eq!(fault, RecordFault::Sequence { expected: 3 });
    let fault = fault_of(|record| record.job = JobId("b".to_owned()));
    assert!(matches!(fault, RecordFault::OtherJob { .. }), "{fault}");
    let fault = fault_of(|record| record.founding = next(None).founding);
    assert_eq!(fault, RecordFault::Founding { founding: true });
}

#[test]
fn a_log_begins_with_its_founding() {
    let [first, second] = two();
    assert_eq!(
        fold(None, &second, KEEP).unwrap_err().fault,
        RecordFault::Sequence { expected: 1 }
    );
    let unfounded = Record {
        founding: None,
        ..first.clone()
    };
    let fault = fold(None, &unfounded, KEEP).unwrap_err().fault;
    assert_eq!(fault, RecordFault::Founding { founding: false });
    let chained = Record {
        prev_crc32c: 1,
        ..first
    };
    let fault = fold(None, &chained, KEEP).unwrap_err().fault;
    assert_eq!(
        fault,
        RecordFault::Chain {
            expected: 0,
            found: 1
        }
    );
}

#[test]
fn sums_that_overflow_are_refused() {
    let [first, second] = two();
    let mut state = folded(&[first, second.clone()]);
    state.totals.read = u64::MAX;
    let mut third = next(Some(&second));
    third.partitions = vec![span(0, 110, 111)];
    third.counts = Counts {
        read: 1,
        duplicates: 1,
        ..Counts::default()
    };
    assert_eq!(
        fold(Some(state), &third, KEEP).unwrap_err().fault,
        RecordFault::Overflow
    );
}

/// What happens between two records: per partition, how far it moves, and what its records become.
#[derive(Debug, Clone)]
struct Step {
    moves: Vec<(i32, [u8; 4], u8)>,
    watermark: i64,
    complete: bool,
    /// Whether the files say whose rows they hold, as those of version 2 do.
    lanes: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let moves = vec((0..4_i32, any::<[u8; 4]>(), 0..9_u8), 0..4);
    let step = (moves, 0..40_i64, any::<bool>(), any::<bool>());
    step.prop_map(|(moves, watermark, complete, lanes)| Step {
        moves,
        watermark,
        complete,
        lanes,
    })
}

/// The same log, kept the simplest way.
#[derive(Default)]
struct Model {
    offsets: BTreeMap<i32, i64>,
    watermarks: BTreeMap<i32, i64>,
    totals: Counts,
    rejected: u64,
    files: Vec<FileEntry>,
}

impl Model {
    /// The valid record that a step makes, and the step's effect on the model.
    fn apply(&mut self, step: &Step, before: &Record) -> Record {
        let mut record = next(Some(before));
        let moves: BTreeMap<_, _> = step
            .moves
            .iter()
            .map(|(id, parts, gone)| (*id, (parts, *gone)))
            .collect();
        for (id, (parts, gone)) in moves {
            let [events, late, rejected, duplicates] = parts.map(u64::from);
            let (read, gone) = (events + late + rejected + duplicates, u64::from(gone));
            let more = Counts {
                read,
                events,
                late,
                rejected,
                duplicates,
                gone,
            };
            record.counts = record.counts.checked_add(&more).unwrap();
            let offset = self.offsets.entry(id).or_insert(i64::from(id) * 1000);
            let to = *offset + i64::try_from(read + gone).unwrap() + 1;
            record.partitions.push(Span {
                gone,
                ..span(id, *offset, to)
            });
            *offset = to;
            let watermark = self.watermarks.entry(id).or_insert(500);
            *watermark += step.watermark;
            record.watermarks.insert(id, *watermark);
        }
        let Counts {
            events,
            late,
            rejected,
            ..
        } = record.counts;
        let lanes: Vec<i32> = record.partitions.iter().map(|span| span.lane).collect();
        let time = 500 + self.watermarks.values().max().copied().unwrap_or_default();
        for (dataset, rows) in [("events", events), ("late", late), ("rejected", rejected)] {
            if rows > 0 {
                let mut file = file(dataset, record.seq, rows, Some((time - 9, time)));
                if step.lanes && dataset == "events" {
                    file.lanes.clone_from(&lanes);
                }
                record.files.push(file);
            }
        }
        if rejected > 0 {
            record.rejected_by = [("rule".to_owned(), rejected)].into();
        }
        record.complete = step.complete;
        self.totals = self.totals.checked_add(&record.counts).unwrap();
        self.rejected += rejected;
        self.files.extend(
            record
                .files
                .iter()
                .filter(|file| file.dataset == "events")
                .cloned(),
        );
        record.seal().0
    }

    fn recent(&self) -> Vec<FileEntry> {
        let slowest = self
            .watermarks
            .values()
            .min()
            .copied()
            .unwrap_or(i64::MIN + KEEP);
        // Of a file that does not say whose rows it holds, all lanes may need it.
        let least = |file: &FileEntry| {
            let lanes = file.lanes.iter().map(|lane| self.watermarks[lane]);
            lanes.min().unwrap_or(slowest)
        };
        let recent = |file: &&FileEntry| file.event_time.unwrap().1 >= least(file) - KEEP;
        self.files.iter().filter(recent).cloned().collect()
    }
}

proptest! {
    #[test]
    fn folding_a_valid_log_equals_the_model(steps in vec(step(), 0..30)) {
        let (first, _) = next(None).seal();
        let mut last = first.clone();
        let mut state = fold(None, &first, KEEP).unwrap();
        let mut model = Model::default();
        for step in &steps {
            last = model.apply(step, &last);
            state = fold(Some(state), &last, KEEP).unwrap();
            prop_assert_eq!(&state.recent_files, &model.recent());
        }
        prop_assert_eq!(state.last_seq, steps.len() as u64 + 1);
        prop_assert_eq!(state.last_crc32c, last.crc32c);
        prop_assert_eq!(state.commits, steps.len() as u64);
        prop_assert_eq!(state.totals, model.totals);
        prop_assert_eq!(state.rejected_by.get("rule").copied().unwrap_or_default(), model.rejected);
        prop_assert_eq!(&state.watermarks, &model.watermarks);
        prop_assert_eq!(state.complete, steps.last().is_some_and(|step| step.complete));
        let partitions: BTreeMap<_, _> = model
            .offsets
            .iter()
            .map(|(id, offset)| (*id, PartitionState {
                lane: *id, name: format!("p{id}"), offset: *offset, identity: None,
            }))
            .collect();
        prop_assert_eq!(state.partitions, partitions);
    }

    #[test]
    fn a_longer_horizon_keeps_what_a_shorter_one_keeps(steps in vec(step(), 0..20), keep in 0..200_i64) {
        let (first, _) = next(None).seal();
        let mut records = vec![first];
        let mut model = Model::default();
        for step in &steps {
            records.push(model.apply(step, records.last().unwrap()));
        }
        let recent = |keep| {
            let fold = |state, record: &Record| Some(fold(state, record, keep).unwrap());
            records.iter().fold(None, fold).unwrap().recent_files
        };
        let (less, more) = (recent(keep), recent(keep + 30));
        prop_assert!(less.iter().all(|file| more.contains(file)));
    }
}

/// One commit of a job with two lanes, of which the second is a year behind: ten events of each.
fn a_year_apart(before: &Record) -> Record {
    const YEAR: i64 = 365 * 24 * 3600;
    let mut record = next(Some(before));
    let n = i64::try_from(record.seq).unwrap() - 2;
    record.partitions = vec![span(0, n * 10, (n + 1) * 10), span(1, n * 10, (n + 1) * 10)];
    record.watermarks = [(0, YEAR + n * 10), (1, n * 10)].into();
    record.counts = Counts {
        read: 20,
        events: 20,
        ..Counts::default()
    };
    record.files = [(0, YEAR), (1, 0)]
        .map(|(lane, base)| FileEntry {
            path: format!("data/events/{}-{lane}.parquet", record.seq),
            lanes: vec![lane],
            ..file(
                "events",
                record.seq,
                10,
                Some((base + n * 10, base + n * 10 + 9)),
            )
        })
        .into();
    record.seal().0
}

#[test]
fn a_partition_that_is_a_year_behind_keeps_its_own_files_and_no_others() {
    let (first, _) = next(None).seal();
    let mut state = fold(None, &first, KEEP).unwrap();
    let mut last = first;
    let mut sizes = Vec::new();
    for _ in 0..700 {
        last = a_year_apart(&last);
        state = fold(Some(state), &last, KEEP).unwrap();
        let snapshot = tidegate_log::snapshot::Snapshot {
            version: tidegate_log::snapshot::SNAPSHOT_VERSION,
            keep_micros: KEEP,
            state: std::borrow::Cow::Borrowed(&state),
        };
        sizes.push((state.recent_files.len(), snapshot.encode().len()));
    }
    // Within the time to keep there are five commits before the one that is on the watermark.
    let (files, bytes) = sizes[20];
    assert_eq!(files, 12);
    for (commit, (found, size)) in sizes.iter().enumerate().skip(20) {
        assert_eq!(*found, files, "after commit {commit}");
        // Numbers get digits.
        assert!(
            *size < bytes + 200,
            "after commit {commit}: {size} bytes, {bytes} at first"
        );
    }
}
