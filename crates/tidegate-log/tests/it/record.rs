//! The record and the snapshot as they are stored.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use tidegate_log::codec::CodecError;
use tidegate_log::snapshot::Snapshot;
use tidegate_log::{Counts, FileEntry, Founding, JobId, Record, Span};

const FIRST: &[u8] = include_bytes!("../samples/record-v1-first.json");
const RECORD: &[u8] = include_bytes!("../samples/record-v1.json");
const SNAPSHOT: &[u8] = include_bytes!("../samples/snapshot-v1.json");
const RECORD_2: &[u8] = include_bytes!("../samples/record-v2.json");
const SNAPSHOT_2: &[u8] = include_bytes!("../samples/snapshot-v2.json");

#[test]
fn version_1_records_stay_readable() {
    let first = Record::decode(FIRST).unwrap();
    assert_eq!((first.seq, first.prev_crc32c), (1, 0));
    let founding = first.founding.clone().unwrap();
    assert_eq!(
        (&*founding.name, founding.fingerprint_seed),
        ("transactions", 17_446_744_073_709_551_615)
    );

    let record = Record::decode(RECORD).unwrap();
    assert_eq!(
        (record.version, record.seq, record.schema_version),
        (1, 2, 1)
    );
    assert_eq!(record.job.as_str(), "6f1e4c2a-8d0b-4f57-9a3e-2b7c5d914e60");
    assert_eq!(
        (&*record.writer, record.written_at),
        ("host-1234-9f1c03ab", 1_795_410_001_000_000)
    );
    assert_eq!(record.prev_crc32c, first.crc32c);
    let span = Span {
        id: 3,
        lane: 3,
        name: "transactions-raw-3".into(),
        from: 100,
        to: 105,
        gone: 3,
        identity: None,
    };
    assert_eq!(record.partitions[1], span);
    assert_eq!(
        record.watermarks,
        [(0, 1_795_409_400_000_000), (3, -5)].into()
    );
    let counts = Counts {
        read: 9,
        events: 5,
        late: 1,
        rejected: 2,
        duplicates: 1,
        gone: 3,
    };
    assert_eq!(record.counts, counts);
    assert_eq!(
        record.rejected_by,
        [("amount_in_range".to_owned(), 2), ("schema".to_owned(), 1)].into()
    );
    let file = &record.files[0];
    assert_eq!(
        (&*file.dataset, file.rows, file.bytes, file.crc32c),
        ("events", 5, 4096, 0x0a1b_2c3d)
    );
    assert_eq!(
        file.event_time,
        Some((1_795_409_990_000_000, 1_795_409_999_999_999))
    );
    assert_eq!(record.files[2].event_time, None);
    assert!(record.complete && record.founding.is_none());
}

#[test]
fn snapshots_stay_readable_and_equal_the_fold() {
    for (sample, records) in [
        (SNAPSHOT, &[FIRST, RECORD][..]),
        (SNAPSHOT_2, &[FIRST, RECORD, RECORD_2]),
    ] {
        let snapshot = Snapshot::decode(sample).unwrap();
        let state = records.iter().fold(None, |state, bytes| {
            let record = Record::decode(bytes).unwrap();
            Some(tidegate_log::fold(state, &record, snapshot.keep_micros).unwrap())
        });
        assert_eq!(Some(snapshot.state.into_owned()), state);
    }
}

#[test]
fn version_2_records_stay_readable_after_records_of_version_1() {
    let record = Record::decode(RECORD_2).unwrap();
    assert_eq!((record.version, record.seq), (2, 3));
    assert_eq!(record.prev_crc32c, Record::decode(RECORD).unwrap().crc32c);
    let identity = record.partitions[0].identity.as_deref();
    assert_eq!(identity, Some("topic=b9DVRkvPSuWnF8vC8bOq1g epoch=7"));
    assert_eq!(record.partitions[1].identity, None);
    assert_eq!(record.idle, [(0, false), (3, true)].into());
    assert_eq!(record.files[0].lanes, [0, 3]);
    let plan = record.plan.unwrap();
    assert_eq!(plan["upsert_key"][0], "transaction_id");
}

#[test]
fn what_is_written_today_has_the_form_of_the_samples() {
    for sample in [FIRST, RECORD, RECORD_2] {
        let (_, bytes) = Record::decode(sample).unwrap().seal();
        assert_eq!(bytes, sample);
    }
    for sample in [SNAPSHOT, SNAPSHOT_2] {
        assert_eq!(Snapshot::decode(sample).unwrap().encode(), sample);
    }
}

/// The sample with its body changed and the checksum made to fit.
fn resealed(old: &str, new: &str) -> Vec<u8> {
    let text = str::from_utf8(RECORD).unwrap();
    let body = text.lines().next().unwrap().replacen(old, new, 1);
    assert!(!text.starts_with(&body), "the sample has no {old}");
    format!(
        "{body}\n{{\"crc32c\":\"{:08x}\"}}\n",
        crc32c::crc32c(body.as_bytes())
    )
    .into_bytes()
}

#[test]
fn a_newer_version_is_refused_by_its_number_whatever_else_it_has() {
    let bytes = resealed(r#"{"version":1,"#, r#"{"version":7,"bells":"whistles","#);
    let error = Record::decode(&bytes).unwrap_err();
    assert!(
        matches!(error, CodecError::Newer { found: 7, known: 2 }),
        "{error}"
    );
    assert!(
        error.to_string().contains("use a newer Tidegate"),
        "{error}"
    );
}

#[test]
fn unknown_and_missing_fields_are_refused_by_name() {
    for (old, new, named) in [
        (r#""seq":2"#, r#""seq":2,"colour":"blue""#, "colour"),
        (r#""gone":0}"#, r#""gone":0,"lost":1}"#, "lost"),
        (r#""complete":true"#, r#""completed":true"#, "completed"),
        (r#","rows":5"#, "", "rows"),
        (r#""0a1b2c3d""#, r#""+a1b2c3d""#, "hexadecimal"),
    ] {
        let error = Record::decode(&resealed(old, new)).unwrap_err();
        assert!(
            matches!(error, CodecError::Json(_)) && error.to_string().contains(named),
            "{error}"
        );
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_noticed() {
    for end in 0..RECORD.len() {
        assert!(Record::decode(&RECORD[..end]).is_err(), "cut at {end}");
    }
    for at in 0..RECORD.len() {
        let mut bytes = RECORD.to_vec();
        bytes[at] ^= 1;
        assert!(Record::decode(&bytes).is_err(), "changed at {at}");
    }
    for more in ["\n", " ", "{}\n"] {
        assert!(
            Record::decode(&[RECORD, more.as_bytes()].concat()).is_err(),
            "{more:?} appended"
        );
    }
}

fn counts() -> impl Strategy<Value = Counts> {
    any::<[u64; 6]>().prop_map(|[read, events, late, rejected, duplicates, gone]| Counts {
        read,
        events,
        late,
        rejected,
        duplicates,
        gone,
    })
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    let span = (
        any::<(i32, i32, i64, i64, u64)>(),
        any::<String>(),
        any::<Option<String>>(),
    );
    vec(
        span.prop_map(|((id, lane, from, to, gone), name, identity)| Span {
            id,
            lane,
            name,
            from,
            to,
            gone,
            identity,
        }),
        0..4,
    )
}

fn files() -> impl Strategy<Value = Vec<FileEntry>> {
    let file = (
        any::<[String; 2]>(),
        any::<(u64, u64, u32)>(),
        option::of(any::<(i64, i64)>()),
        vec(any::<i32>(), 0..3),
    );
    let file = file.prop_map(
        |([dataset, path], (rows, bytes, crc32c), event_time, lanes)| FileEntry {
            dataset,
            path,
            rows,
            bytes,
            crc32c,
            event_time,
            lanes,
        },
    );
    vec(file, 0..4)
}

prop_compose! {
    /// Any record, sensible or not: the codec does not judge.
    fn record()(
        (seq, written_at, prev_crc32c, schema_version, complete) in any::<(u64, i64, u32, u32, bool)>(),
        [job, writer] in any::<[String; 2]>(),
        partitions in spans(),
        watermarks in btree_map(any::<i32>(), any::<i64>(), 0..4),
        idle in btree_map(any::<i32>(), any::<bool>(), 0..4),
        plan in option::of(any::<String>()),
        counts in counts(),
        rejected_by in btree_map(any::<String>(), any::<u64>(), 0..4),
        files in files(),
        founding in option::of(any::<(String, u64, i64)>()),
    ) -> Record {
        let founding = founding.map(|(name, fingerprint_seed, created_at)| {
            Founding { name, fingerprint_seed, created_at }
        });
        Record {
            version: 2, seq, job: JobId(job), writer, written_at, prev_crc32c, schema_version,
            partitions, watermarks, idle, plan: plan.map(|text| serde_json::json!({ "key": text })),
            counts, rejected_by, files, complete, founding, crc32c: 0,
        }
    }
}

proptest! {
    #[test]
    fn records_round_trip(record in record()) {
        let (sealed, bytes) = record.seal();
        prop_assert_eq!(Record::decode(&bytes).unwrap(), sealed);
    }

    #[test]
    fn no_bytes_make_decode_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Record::decode(&bytes).is_err());
    }

    #[test]
    fn no_record_makes_fold_panic(records in vec(record(), 1..4), keep in any::<i64>()) {
        let mut state = None;
        for record in records {
            state = tidegate_log::fold(state, &record, keep).ok();
        }
    }
}
