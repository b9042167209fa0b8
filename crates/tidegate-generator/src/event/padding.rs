//! Text that fills an event up to a size.

use super::text::Fields;
use super::{Draw, mix};

/// What stands around the text.
const BEFORE: &[u8] = b",\"note\":\"";
/// Bytes that follow the metadata's last entry: its quote and the two braces.
const AFTER: usize = 3;

/// Words of seven letters and a space. Text of them is about as compressible as what people write:
/// to a half by lz4.
const WORDS: [[u8; 8]; 256] = words();

const fn words() -> [[u8; 8]; 256] {
    let mut words = [*b"        "; 256];
    let mut random: u64 = 0x2545_f491_4f6c_dd1d;
    let mut word = 0;
    while word < words.len() {
        let mut letter = 0;
        while letter < 7 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            words[word][letter] = b'a' + ((random >> 33) % 26) as u8;
            letter += 1;
        }
        word += 1;
    }
    words
}

/// Appends an entry to the metadata so that `room` bytes are used with the two closing braces, if
/// it fits. The same event gets the same text each time, as repeats need it.
pub(super) fn padding(room: usize, fields: &Fields, out: &mut Vec<u8>) {
    let Some(mut rest) = room.checked_sub(BEFORE.len() + AFTER) else {
        return;
    };
    out.reserve(room + 8);
    out.extend_from_slice(BEFORE);
    let end = out.len() + rest;
    let mut draw = Draw(mix(fields.metadata ^ fields.id_micros as u64));
    while rest > 0 {
        for word in draw.next().to_le_bytes() {
            out.extend_from_slice(&WORDS[usize::from(word)]);
        }
        rest = rest.saturating_sub(64);
    }
    out.truncate(end);
    out.push(b'"');
}
