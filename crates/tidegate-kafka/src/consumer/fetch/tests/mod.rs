//! Batches and responses made by hand.

mod decoding;
mod fetching;

use std::io::Write;

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};

/// How a test's batches are compressed; the numbers are those of the attributes.
pub(super) const COMPRESSIONS: [(i16, &str); 7] = [
    (0, "none"),
    (1, "gzip"),
    (2, "snappy"),
    (2, "snappy of Java"),
    (3, "lz4"),
    (3, "lz4, linked"),
    (4, "zstd"),
];
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const MARKER: i16 = 0x20;

fn compress(how: &str, bytes: &[u8]) -> Vec<u8> {
    let lz4 = |mode| {
        let info = FrameInfo::new().block_mode(mode).content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    match how {
        "none" => bytes.to_vec(),
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "snappy" => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
        "snappy of Java" => {
            let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
            for block in bytes.chunks(100) {
                let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
                out.extend_from_slice(&(block.len() as u32).to_be_bytes());
                out.extend_from_slice(&block);
            }
            out
        }
        "lz4" => lz4(BlockMode::Independent),
        "lz4, linked" => lz4(BlockMode::Linked),
        "zstd" => zstd::encode_all(bytes, 1).unwrap(),
        other => panic!("{other}"),
    }
}

fn varint(out: &mut Vec<u8>, number: i64) {
    let mut bits = (number << 1) as u64 ^ (number >> 63) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// A record of a test: how far after the first offset of its batch, and its value.
pub(super) type Row = (i64, Option<Vec<u8>>);

/// A batch as a broker stores it. `last` is how far after the first offset the last one was,
/// before compaction.
pub(super) fn batch(
    first: i64,
    last: i32,
    rows: &[Row],
    (number, how): (i16, &str),
    flags: i16,
    producer: i64,
) -> Vec<u8> {
    let mut records = Vec::new();
    for (offset, value) in rows {
        let mut record = vec![0];
        varint(&mut record, 3 * offset);
        varint(&mut record, *offset);
        match flags & MARKER {
            0 => varint(&mut record, -1),
            _ => {
                varint(&mut record, 4);
                record.extend_from_slice(&value.as_ref().unwrap()[..4]);
            }
        }
        match value {
            Some(value) => {
                varint(&mut record, value.len() as i64);
                record.extend_from_slice(value);
            }
            None => varint(&mut record, -1),
        }
        varint(&mut record, 1);
        record.extend_from_slice(b"\x02h\x02v");
        varint(&mut records, record.len() as i64);
        records.extend_from_slice(&record);
    }
    let mut checked = Vec::new();
    checked.extend_from_slice(&(number | flags).to_be_bytes());
    checked.extend_from_slice(&last.to_be_bytes());
    checked.extend_from_slice(&1_000_i64.to_be_bytes());
    checked.extend_from_slice(&9_000_i64.to_be_bytes());
    checked.extend_from_slice(&producer.to_be_bytes());
    checked.extend_from_slice(&[0; 6]);
    checked.extend_from_slice(&(rows.len() as i32).to_be_bytes());
    checked.extend_from_slice(&compress(how, &records));
    let mut batch = first.to_be_bytes().to_vec();
    batch.extend_from_slice(&(checked.len() as i32 + 9).to_be_bytes());
    batch.extend_from_slice(&5_i32.to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch
}

/// A message as brokers stored it before Kafka 0.11, in `format` 0 or 1. `compression` is not 0 if
/// its value is other messages.
///
/// Source: <https://kafka.apache.org/documentation/#messageset>.
pub(super) fn old_message(
    format: u8,
    offset: i64,
    compression: i16,
    value: Option<&[u8]>,
) -> Vec<u8> {
    let mut checked = vec![format, compression as u8];
    if format == 1 {
        checked.extend_from_slice(&1_000_i64.to_be_bytes());
    }
    // Of no key, and of no value, the length is -1.
    checked.extend_from_slice(&(-1_i32).to_be_bytes());
    let length = value.map_or(-1, |value| value.len() as i32);
    checked.extend_from_slice(&length.to_be_bytes());
    checked.extend_from_slice(value.unwrap_or_default());
    let mut checksum = flate2::Crc::new();
    checksum.update(&checked);
    let mut message = offset.to_be_bytes().to_vec();
    message.extend_from_slice(&(checked.len() as i32 + 4).to_be_bytes());
    message.extend_from_slice(&checksum.sum().to_be_bytes());
    message.extend_from_slice(&checked);
    message
}

/// The message of an old format that has these in it, compressed. Its offset is that of the last
/// one; in format 1 those within count from the first.
pub(super) fn old_wrapper(format: u8, rows: &[Row], (number, how): (i16, &str)) -> Vec<u8> {
    let (first, last) = (rows[0].0, rows[rows.len() - 1].0);
    let base = if format == 1 { first } else { 0 };
    let within: Vec<u8> = rows
        .iter()
        .flat_map(|(offset, value)| old_message(format, offset - base, 0, value.as_deref()))
        .collect();
    old_message(format, last, number, Some(&compress(how, &within)))
}

/// A response about versions: number of a request, the lowest, the highest.
fn versions(known: &[(i16, i16, i16)]) -> Vec<u8> {
    let mut response = vec![0; 6];
    response.extend_from_slice(&(known.len() as i32).to_be_bytes());
    for (key, min, max) in known {
        for number in [key, min, max] {
            response.extend_from_slice(&number.to_be_bytes());
        }
    }
    response
}
