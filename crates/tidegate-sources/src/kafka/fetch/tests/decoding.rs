//! What comes out of answers.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::kafka::fetch::*;

fn marker(first: i64, commit: bool, producer: i64) -> Vec<u8> {
    let kind = vec![0, 0, 0, u8::from(commit)];
    batch(
        first,
        0,
        &[(0, Some(kind))],
        COMPRESSIONS[0],
        TRANSACTIONAL | MARKER,
        producer,
    )
}

/// What comes out: offsets, timestamps and values of records, and the offset of an end.
#[derive(Debug, Default, PartialEq)]
struct Out {
    records: Vec<(i64, Option<i64>, Option<Vec<u8>>)>,
    end: Option<i64>,
}

fn decode(answer: &[u8], aborted: &[(i64, i64)], limit: usize) -> Result<Out, BadBatch> {
    let mut decoder = Decoder {
        decompressor: Decompressor::new(limit),
        aborting: BTreeSet::new(),
    };
    let mut part = Part {
        partition: 7,
        end: 0,
        is_end: true,
        next: 99,
        aborted: aborted.iter().copied().collect(),
        records: 0..answer.len(),
    };
    let mut out = Out::default();
    let mut done = false;
    while !done {
        done = decoder.next(answer, &mut part, |taken| match taken {
            Taken::Record {
                partition: 7,
                offset,
                timestamp,
                payload,
            } => out
                .records
                .push((offset, timestamp, payload.map(<[u8]>::to_vec))),
            Taken::End { offset, .. } => out.end = Some(offset),
            _ => panic!("nothing else is expected"),
        })?;
    }
    Ok(out)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = prop::option::weighted(
        0.9,
        prop::collection::vec(prop::sample::select(b"abcd{}\"".to_vec()), 0..300),
    );
    prop::collection::btree_map(0_i64..200, value, 0..30)
        .prop_map(|rows| rows.into_iter().collect())
}

proptest! {
    #[test]
    fn records_come_as_they_were_written(
        batches in prop::collection::vec((rows(), prop::sample::select(COMPRESSIONS.to_vec())), 0..5),
        cut in 0_usize..60,
    ) {
        let (mut answer, mut expected, mut first) = (Vec::new(), Vec::new(), 40);
        for (rows, how) in &batches {
            answer.extend_from_slice(&batch(first, 199, rows, *how, 0, -1));
            expected.extend(rows.iter().map(|(o, v)| (first + o, Some(1000 + 3 * o), v.clone())));
            first += 200;
        }
        // What is left of a batch that did not fit is no batch.
        let more = batch(first, 0, &[(0, None)], COMPRESSIONS[0], 0, -1);
        answer.extend_from_slice(&more[..cut]);
        let out = decode(&answer, &[], 1 << 20).unwrap();
        prop_assert_eq!(out, Out { records: expected, end: Some(99) });
    }

    #[test]
    fn damage_is_found_and_nothing_panics(
        rows in rows(),
        how in prop::sample::select(COMPRESSIONS.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let whole = batch(40, 199, &rows, how, 0, -1);
        let mut damaged = whole.clone();
        for (at, byte) in damage {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        // The checksum is of all but the first offset, the length and the epoch.
        if let Ok(Some((batch, _))) = Batch::split(&damaged)
            && damaged[17..] != whole[17..]
        {
            prop_assert_eq!(batch.check(), Err(BadBatch::Checksum));
        }
        let _ = decode(&damaged, &[], 1 << 20);
    }

    #[test]
    fn answers_can_be_anything(bytes in prop::collection::vec(prop::sample::select(vec![0_u8, 0, 0, 0, 1, 2, 42, 255]), 0..200)) {
        let _ = wire::records(&bytes);
        let _ = wire::knows_versions(&bytes);
        let _ = wire::epoch_end(&bytes);
    }
}

#[test]
fn a_batch_that_decompresses_to_too_much_is_refused() {
    for how in &COMPRESSIONS[1..] {
        let rows = [(0, Some(vec![b'x'; 300_000])), (1, None)];
        let answer = batch(0, 1, &rows, *how, 0, -1);
        assert_eq!(
            decode(&answer, &[], 301_000).unwrap().records.len(),
            2,
            "{how:?}"
        );
        let error = decode(&answer, &[], 200_000).unwrap_err().to_string();
        assert!(
            error.contains("receive.message.max.bytes"),
            "{how:?}: {error}"
        );
    }
}

#[test]
fn records_of_aborted_transactions_and_markers_are_left_out() {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let of = |first: i64, value: &str, producer: i64| {
        batch(
            first,
            0,
            &[(0, text(value))],
            COMPRESSIONS[4],
            TRANSACTIONAL,
            producer,
        )
    };
    let answer = [
        of(10, "aborted", 1),
        of(11, "kept", 2),
        batch(12, 0, &[(0, text("plain"))], COMPRESSIONS[0], 0, 1),
        of(13, "aborted too", 1),
        marker(14, false, 1),
        marker(15, true, 2),
        of(16, "the next of the same producer", 1),
        marker(17, true, 1),
    ]
    .concat();
    let values = |aborted: &[(i64, i64)]| -> Vec<String> {
        let records = decode(&answer, aborted, 1 << 20).unwrap().records;
        let values = records.into_iter().filter_map(|(_, _, value)| value);
        values
            .map(|value| String::from_utf8(value).unwrap())
            .collect()
    };
    let kept = ["kept", "plain", "the next of the same producer"];
    assert_eq!(values(&[(1, 10)]), kept);
    // With `read_uncommitted` the broker names no aborted transactions.
    assert_eq!(values(&[]).len(), 5);
}

#[test]
fn a_batch_that_cannot_be_read_is_not_passed_over() {
    let mut decoder = Decoder {
        decompressor: Decompressor::new(1 << 20),
        aborting: BTreeSet::new(),
    };
    let mut answer = batch(0, 0, &[(0, None)], COMPRESSIONS[6], 0, -1);
    let last = answer.len() - 1;
    answer.truncate(last);
    answer[8..12].copy_from_slice(&(last as i32 - 12).to_be_bytes());
    let mut part = Part {
        partition: 0,
        end: 1,
        is_end: false,
        next: 1,
        aborted: VecDeque::new(),
        records: 0..last,
    };
    for _ in 0..2 {
        let error = decoder.next(&answer, &mut part, |_| panic!("no record"));
        assert!(matches!(error, Err(BadBatch::Compressed(_))), "{error:?}");
    }
}

#[test]
fn the_time_of_arrival_is_that_of_all_records() {
    const APPENDED: i16 = 8;
    let answer = batch(0, 1, &[(0, None), (1, None)], COMPRESSIONS[0], APPENDED, -1);
    let times: Vec<_> = decode(&answer, &[], 0)
        .unwrap()
        .records
        .iter()
        .map(|r| r.1)
        .collect();
    assert_eq!(times, [Some(9_000), Some(9_000)]);
}

#[test]
fn old_formats_are_named() {
    let mut answer = batch(0, 0, &[(0, None)], COMPRESSIONS[0], 0, -1);
    answer[16] = 1;
    assert_eq!(decode(&answer, &[], 0), Err(BadBatch::Format(1)));
}

#[test]
fn brokers_before_kafka_2_3_are_told_from_others() {
    let knows = |known: &[(i16, i16, i16)]| wire::knows_versions(&versions(known));
    assert_eq!(knows(&[(1, 4, 17), (3, 0, 13), (23, 2, 4)]), Ok(true));
    assert_eq!(knows(&[(1, 0, 10), (3, 0, 7), (23, 0, 2)]), Ok(false));
    assert_eq!(knows(&[(1, 12, 20), (23, 2, 4)]), Ok(false));
}

#[test]
fn settings_that_are_not_followed_leave_fetching_to_librdkafka() {
    let of = |properties: &[(&str, &str)]| {
        let properties = properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let options = KafkaOptions {
            properties: properties.collect(),
            ..KafkaOptions::default()
        };
        Settings::of(&options)
    };
    let settings = of(&[
        ("security.protocol", "PLAINTEXT"),
        ("isolation.level", "read_uncommitted"),
        ("fetch.wait.max.ms", "20"),
        ("max.partition.fetch.bytes", "4000000"),
    ]);
    let settings = settings.unwrap();
    assert_eq!(settings.wait, Duration::from_millis(20));
    assert_eq!(settings.partition_bytes, 4_000_000);
    assert!(!settings.read_committed);
    assert!(of(&[("security.protocol", "SASL_SSL")]).is_none());
    assert!(of(&[("client.rack", "a")]).is_none());
}
