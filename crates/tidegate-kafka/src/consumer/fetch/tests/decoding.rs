//! What comes out of responses.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::consumer::fetch::*;

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

/// All that a response has of a partition, up to its end at 99.
fn part(response: &[u8], aborted: &[(i64, i64)]) -> PartitionBatches {
    PartitionBatches {
        partition: 7,
        ends: Ends {
            stable: 99,
            high: 99,
        },
        is_stuck: false,
        is_end: true,
        next: 99,
        epoch: 5,
        aborted: aborted.iter().copied().collect(),
        aborting: BTreeSet::new(),
        records: 0..response.len(),
        large: None,
    }
}

/// Decodes it; batches of more than `whole` bytes are read as they decompress.
fn decode(response: &[u8], aborted: &[(i64, i64)], whole: usize) -> Result<Out, BadBatch> {
    let limits = ChunkLimits {
        record_bytes_max: 100_000,
        ..ChunkLimits::default()
    };
    let mut decoder = Decoder::new(whole, &limits);
    let mut part = part(response, aborted);
    let response = &Arc::new(response.to_vec());
    let mut out = Out::default();
    let mut done = false;
    while !done {
        done = decoder.next(response, &mut part, |taken| match taken {
            Polled::Record {
                partition: 7,
                offset,
                timestamp,
                payload,
                bytes,
                ..
            } => {
                assert!(
                    bytes > 100_000 || payload.map_or(0, <[u8]>::len) == bytes,
                    "only what is too large is cut"
                );
                out.records
                    .push((offset, timestamp, payload.map(<[u8]>::to_vec)));
            }
            Polled::Passed { offset: 99, .. } => {}
            Polled::End { offset, .. } => out.end = Some(offset),
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
        whole in prop::sample::select(vec![0_usize, 100, 1 << 20]),
    ) {
        let (mut response, mut expected, mut first) = (Vec::new(), Vec::new(), 40);
        for (rows, how) in &batches {
            response.extend_from_slice(&batch(first, 199, rows, *how, 0, -1));
            expected.extend(rows.iter().map(|(o, v)| (first + o, Some(1000 + 3 * o), v.clone())));
            first += 200;
        }
        // What is left of a batch that did not fit is no batch.
        let more = batch(first, 0, &[(0, None)], COMPRESSIONS[0], 0, -1);
        response.extend_from_slice(&more[..cut]);
        let out = decode(&response, &[], whole).unwrap();
        prop_assert_eq!(out, Out { records: expected, end: Some(99) });
    }

    #[test]
    fn damage_is_found_and_nothing_panics(
        rows in rows(),
        how in prop::sample::select(COMPRESSIONS.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        after_head in any::<bool>(),
    ) {
        let whole = batch(40, 199, &rows, how, 0, -1);
        let mut damaged = whole.clone();
        for (at, byte) in damage {
            let from = if after_head { 61.min(damaged.len() - 1) } else { 0 };
            let at = from + at.index(damaged.len() - from);
            damaged[at] = byte;
        }
        // The checksum is of all but the first offset, the length and the epoch.
        if let Ok(Some((batch, _))) = KafkaBatch::split(&damaged)
            && damaged[17..] != whole[17..]
        {
            prop_assert_eq!(batch.check(), Err(BadBatch::Checksum));
        }
        let (in_one, in_pieces) = (decode(&damaged, &[], 1 << 20), decode(&damaged, &[], 0));
        // The checks of the two are not the same, but what both take is.
        if let (Ok(in_one), Ok(in_pieces)) = (in_one, in_pieces) {
            prop_assert_eq!(in_one, in_pieces);
        }
    }

    #[test]
    fn responses_can_be_anything(bytes in prop::collection::vec(prop::sample::select(vec![0_u8, 0, 0, 0, 1, 2, 42, 255]), 0..200)) {
        let _ = wire::records(&bytes);
        let _ = wire::knows_versions(&bytes);
        let _ = wire::epoch_ends(&bytes);
    }
}

#[test]
fn a_batch_that_decompresses_to_much_is_read_in_pieces() {
    for how in COMPRESSIONS {
        let large = |byte: u8, bytes| Some(vec![byte; bytes]);
        let rows = [
            (0, large(b'a', 90_000)),
            (1, large(b'b', 5_000_000)),
            (2, None),
            (3, large(b'c', 100_000)),
        ];
        let response = batch(0, 3, &rows, how, 0, -1);
        let out = decode(&response, &[], 50_000).unwrap();
        let kept: Vec<_> = out
            .records
            .into_iter()
            .map(|(offset, _, value)| (offset, value.map(|v| (v[0], v.len()))))
            .collect();
        // Of the second only the beginning is kept, where it is not there in one piece anyway.
        let second = if how.0 == 0 { 5_000_000 } else { 64 << 10 };
        let expected = [
            (0, Some((b'a', 90_000))),
            (1, Some((b'b', second))),
            (2, None),
            (3, Some((b'c', 100_000))),
        ];
        assert_eq!(kept, expected, "{how:?}");
    }
}

#[test]
fn a_batch_in_pieces_is_handed_over_a_few_megabytes_at_a_time() {
    let rows: Vec<Row> = (0..64).map(|i| (i, Some(vec![b'x'; 1 << 20]))).collect();
    let limits = ChunkLimits::default();
    for how in &COMPRESSIONS[1..] {
        let response = Arc::new(batch(0, 63, &rows, *how, 0, -1));
        let mut decoder = Decoder::new(1 << 20, &limits);
        let mut part = part(&response, &[]);
        let (mut all, mut most) = (0, 0);
        loop {
            let mut taken = 0;
            let done = decoder.next(&response, &mut part, |record| {
                taken += usize::from(matches!(record, Polled::Record { .. }));
            });
            all += taken;
            most = most.max(taken);
            if done.unwrap() {
                break;
            }
        }
        assert_eq!(all, 64, "{how:?}");
        assert!(most <= 5, "{how:?}: {most} MiB at a time");
    }
}

#[test]
fn what_was_given_up_half_decoded_does_not_leak_into_the_next_part() {
    let row = |text: &str| [(0, Some(text.as_bytes().to_vec()))];
    let of = |first, text, producer| {
        batch(
            first,
            0,
            &row(text),
            COMPRESSIONS[0],
            TRANSACTIONAL,
            producer,
        )
    };
    let given_up = Arc::new([of(10, "aborted", 7), of(11, "aborted", 7)].concat());
    let next = Arc::new([of(3, "committed", 7), marker(4, true, 7)].concat());
    let mut decoder = Decoder::new(1 << 20, &ChunkLimits::default());
    let mut first = part(&given_up, &[(7, 10)]);
    let none = |_: Polled<'_>| panic!("of an aborted transaction");
    assert_eq!(decoder.next(&given_up, &mut first, none), Ok(false));
    let mut seen = Vec::new();
    let mut second = part(&next, &[]);
    let note = |taken: Polled<'_>| {
        if let Polled::Record { offset, .. } = taken {
            seen.push(offset);
        }
    };
    assert_eq!(decoder.next(&next, &mut second, note), Ok(false));
    assert_eq!(seen, [3]);
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
    let response = [
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
        let records = decode(&response, aborted, 1 << 20).unwrap().records;
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
    for whole in [1 << 20, 0] {
        let mut decoder = Decoder::new(whole, &ChunkLimits::default());
        let mut response = batch(0, 0, &[(0, None)], COMPRESSIONS[6], 0, -1);
        let last = response.len() - 1;
        response.truncate(last);
        response[8..12].copy_from_slice(&(last as i32 - 12).to_be_bytes());
        let response = Arc::new(response);
        let mut part = PartitionBatches {
            aborted: VecDeque::new(),
            ..part(&response, &[])
        };
        for _ in 0..2 {
            let error = decoder.next(&response, &mut part, |_| panic!("no record"));
            assert!(error.is_err(), "{error:?}");
        }
    }
}

#[test]
fn the_time_of_arrival_is_that_of_all_records() {
    const APPENDED: i16 = 8;
    let response = batch(0, 1, &[(0, None), (1, None)], COMPRESSIONS[0], APPENDED, -1);
    let times: Vec<_> = decode(&response, &[], 0)
        .unwrap()
        .records
        .iter()
        .map(|r| r.1)
        .collect();
    assert_eq!(times, [Some(9_000), Some(9_000)]);
}

#[test]
fn old_formats_are_named() {
    for format in [0, 1] {
        // The first is the shortest that there is.
        let rows: Vec<Row> = (0..3).map(|i| (i, Some(vec![b'x'; 100]))).collect();
        let messages = [
            old_message(format, 0, 0, None),
            old_message(format, 0, 0, Some(&[b'x'; 100])),
            old_wrapper(format, &rows, COMPRESSIONS[1]),
        ];
        assert_eq!(messages[0].len(), 26 + 8 * usize::from(format));
        for message in messages {
            let named = Err(BadBatch::Format(format as i8));
            assert_eq!(decode(&message, &[], 0), named);
            assert_eq!(decode(&message[..17], &[], 0), named);
            assert_eq!(decode(&message[..16], &[], 0).unwrap().records, []);
        }
    }
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
