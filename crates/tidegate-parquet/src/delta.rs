//! `DELTA_BINARY_PACKED`: differences of neighbours, in as few bits as the largest of 32 takes.

use crate::pack::{pack, varint, width_of, zigzag};

/// Differences of a block.
const BLOCK: usize = 128;
/// Differences that share a width.
const MINIBLOCK: usize = 32;

/// Appends values. Those of a column of 32 bits must not be negative, so that no difference exceeds
/// 32 bits.
pub(crate) fn encode<T: Copy + Into<i64>>(values: &[T], out: &mut Vec<u8>) {
    varint(BLOCK as u64, out);
    varint((BLOCK / MINIBLOCK) as u64, out);
    varint(values.len() as u64, out);
    zigzag(values.first().map_or(0, |first| (*first).into()), out);
    let mut differences = [0i64; BLOCK];
    let mut at = 1;
    while at < values.len() {
        let count = BLOCK.min(values.len() - at);
        let block = &mut differences[..count];
        let neighbours = values[at - 1..].iter().zip(&values[at..]);
        for (difference, (before, value)) in block.iter_mut().zip(neighbours) {
            *difference = (*value).into().wrapping_sub((*before).into());
        }
        encode_block(block, out);
        at += count;
    }
}

fn encode_block(differences: &[i64], out: &mut Vec<u8>) {
    let least = differences.iter().copied().min().unwrap_or(0);
    zigzag(least, out);
    let above = |difference: i64| difference.wrapping_sub(least) as u64;
    let miniblocks = || differences.chunks(MINIBLOCK);
    // Of a miniblock that is not there the width is zero, and nothing follows for it.
    let mut widths = [0; BLOCK / MINIBLOCK];
    for (width, miniblock) in widths.iter_mut().zip(miniblocks()) {
        *width = width_of(miniblock.iter().fold(0, |bits, d| bits | above(*d))) as u8;
    }
    out.extend_from_slice(&widths);
    for (width, miniblock) in widths.into_iter().zip(miniblocks()) {
        let filled = miniblock.iter().map(|difference| above(*difference));
        let zeros = std::iter::repeat_n(0, MINIBLOCK - miniblock.len());
        if width > 0 {
            pack(filled.chain(zeros), width.into(), out);
        }
    }
}
