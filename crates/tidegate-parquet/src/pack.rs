//! Values of a few bits each, next to each other, least significant bit first; and runs of them
//! with runs of repeats between.

/// Repeats of at least this many are stored as a value and a count.
const REPEATS: usize = 24;

/// Bits that a value up to `max` takes.
pub(crate) fn width_of(max: u64) -> u32 {
    u64::BITS - max.leading_zeros()
}

/// Appends values of `width` bits each. What is missing to a whole byte is zero.
pub(crate) fn pack(values: impl IntoIterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let mut bits = 0;
    let mut held = 0u128;
    for value in values {
        held |= u128::from(value) << bits;
        bits += width;
        if bits >= u64::BITS {
            out.extend_from_slice(&(held as u64).to_le_bytes());
            held >>= u64::BITS;
            bits -= u64::BITS;
        }
    }
    let rest = (held as u64).to_le_bytes();
    out.extend_from_slice(&rest[..bits.div_ceil(8) as usize]);
}

/// Appends values of `width` bits as Parquet's hybrid of packed groups of eight and repeats.
pub(crate) fn hybrid<T>(values: &[T], width: u32, out: &mut Vec<u8>)
where
    T: Copy + Eq + Into<u64>,
{
    if values.is_empty() {
        return;
    }
    if width == 0 {
        // All are zero. Not all readers take packed values of no bits.
        return repeats(0u64, values.len(), width, out);
    }
    // Values from `packed` on are not written yet.
    let mut packed = 0;
    let mut at = 0;
    while at < values.len() {
        let same = values[at..]
            .iter()
            .take_while(|value| **value == values[at])
            .count();
        // A packed run that is followed by another has whole groups.
        let missing = (at - packed).next_multiple_of(8) - (at - packed);
        if same >= missing + REPEATS {
            groups(&values[packed..at + missing], width, out);
            repeats(values[at], same - missing, width, out);
            packed = at + same;
        }
        at += same;
    }
    groups(&values[packed..], width, out);
}

/// Appends a value that is there `count` times.
pub(crate) fn repeats(value: impl Into<u64>, count: usize, width: u32, out: &mut Vec<u8>) {
    varint((count as u64) << 1, out);
    let bytes = value.into().to_le_bytes();
    out.extend_from_slice(&bytes[..width.div_ceil(8) as usize]);
}

/// Appends packed values, the last group filled with zeros.
fn groups<T: Copy + Into<u64>>(values: &[T], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    varint((groups as u64) << 1 | 1, out);
    let filled = values.iter().map(|value| (*value).into());
    let zeros = std::iter::repeat_n(0, groups * 8 - values.len());
    pack(filled.chain(zeros), width, out);
}

/// Appends an unsigned LEB128 number.
pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number, zigzag and LEB128.
pub(crate) fn zigzag(value: i64, out: &mut Vec<u8>) {
    varint(((value << 1) ^ (value >> 63)) as u64, out);
}
