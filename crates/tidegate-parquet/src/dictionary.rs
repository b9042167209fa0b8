//! Values that repeat, each stored once, and numbers that stand for them.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use parquet::basic::Encoding;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::pack::{hybrid, width_of};

/// After this many values it shows whether they repeat.
const ENOUGH: usize = 8 << 10;

/// Of this process, so that nobody can choose values whose hashes collide.
static SEEDS: LazyLock<[u64; 2]> = LazyLock::new(|| {
    let state = RandomState::new();
    [state.hash_one(0), state.hash_one(1)]
});

/// A dictionary, and the numbers of the page at hand.
pub(crate) type DictionaryPage<'a> = (&'a mut Dictionary, &'a mut Vec<u32>);

/// Values of the page at hand as numbers in a dictionary, as long as it is worth while.
#[derive(Debug)]
pub(crate) struct Numbers {
    dictionary: Dictionary,
    numbers: Vec<u32>,
    is_given_up: bool,
}

impl Numbers {
    /// None yet; the dictionary is given up once it has more bytes than this.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Numbers {
            dictionary: Dictionary::new(bytes_max),
            numbers: Vec::new(),
            is_given_up: false,
        }
    }

    /// Where further values go; none once the dictionary is given up, which is between two pages.
    pub(crate) fn open(&mut self) -> Option<DictionaryPage<'_>> {
        (!self.is_given_up).then_some((&mut self.dictionary, &mut self.numbers))
    }

    /// Bytes that the numbers take at most.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.numbers)
    }

    /// Whether the page has to end, because the dictionary is given up after it.
    pub(crate) fn must_end(&self) -> bool {
        !self.is_given_up && self.dictionary.is_useless()
    }

    /// Appends the numbers as a data page has them, and begins anew; none once the dictionary is
    /// given up.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) -> Option<Encoding> {
        if self.is_given_up {
            return None;
        }
        let width = width_of(self.dictionary.values.len().saturating_sub(1) as u64);
        out.push(width as u8);
        hybrid(&self.numbers, width, out);
        self.numbers.clear();
        self.is_given_up = self.dictionary.is_useless();
        Some(Encoding::RLE_DICTIONARY)
    }

    /// The dictionary's page, and the number of values in it.
    pub(crate) fn into_page(self) -> (Vec<u8>, usize) {
        (self.dictionary.encoded, self.dictionary.values.len())
    }
}

/// Distinct values, numbered as they came.
#[derive(Debug)]
pub(crate) struct Dictionary {
    seeds: [u64; 2],
    /// Open addressing: numbers of values, plus one; zero is free. Its length is a power of two.
    table: Vec<u32>,
    values: Vec<DictionaryValue>,
    /// As the dictionary's page has them.
    encoded: Vec<u8>,
    /// How often a number was asked for.
    asked: usize,
    bytes_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DictionaryValue {
    /// All of a value up to 16 bytes, which is then compared without a look at its bytes; a hash of
    /// a longer one.
    words: [u64; 2],
    length: usize,
    /// Where its bytes begin.
    start: usize,
}

impl Dictionary {
    fn new(bytes_max: usize) -> Self {
        Dictionary {
            seeds: *SEEDS,
            table: vec![0; 256],
            values: Vec::new(),
            encoded: Vec::new(),
            asked: 0,
            bytes_max,
        }
    }

    /// The number of a text.
    pub(crate) fn text(&mut self, text: &[u8]) -> u32 {
        let words = words(text).unwrap_or_else(|| [xxh3_64_with_seed(text, self.seeds[0]), 0]);
        let is_new = |dictionary: &mut Vec<u8>| {
            dictionary.extend_from_slice(&(text.len() as u32).to_le_bytes());
            let start = dictionary.len();
            dictionary.extend_from_slice(text);
            start
        };
        self.number(words, text, is_new)
    }

    /// Counts a value whose number is known.
    pub(crate) fn count_known(&mut self) {
        self.asked += 1;
    }

    /// The number of a value of fixed length, of at most eight bytes.
    pub(crate) fn fixed(&mut self, bits: u64, bytes: &[u8]) -> u32 {
        self.number([bits, 0], bytes, |dictionary| {
            let start = dictionary.len();
            dictionary.extend_from_slice(bytes);
            start
        })
    }

    fn number(
        &mut self,
        words: [u64; 2],
        bytes: &[u8],
        store: impl FnOnce(&mut Vec<u8>) -> usize,
    ) -> u32 {
        self.asked += 1;
        let mask = self.table.len() - 1;
        let mut slot = hash(self.seeds, words, bytes.len()) & mask;
        while self.table[slot] != 0 {
            let number = self.table[slot] - 1;
            let value = &self.values[number as usize];
            if value.words == words
                && value.length == bytes.len()
                && (bytes.len() <= 16 || self.encoded[value.start..][..bytes.len()] == *bytes)
            {
                return number;
            }
            slot = (slot + 1) & mask;
        }
        let number = self.values.len() as u32;
        let start = store(&mut self.encoded);
        self.values.push(DictionaryValue {
            words,
            length: bytes.len(),
            start,
        });
        self.table[slot] = number + 1;
        if self.values.len() * 2 > self.table.len() {
            self.grow();
        }
        number
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        self.table = vec![0; mask + 1];
        for (number, value) in (1..).zip(&self.values) {
            let mut slot = hash(self.seeds, value.words, value.length) & mask;
            while self.table[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.table[slot] = number;
        }
    }

    /// Whether it costs more than it saves: it is large, or hardly anything repeats.
    fn is_useless(&self) -> bool {
        self.encoded.len() > self.bytes_max
            || self.asked >= ENOUGH && self.values.len() > self.asked / 2
    }
}

/// The bytes of a short value, of which two of one length differ if the values do. None of a longer
/// one.
fn words(value: &[u8]) -> Option<[u64; 2]> {
    let half = |bytes: [u8; 4]| u64::from(u32::from_le_bytes(bytes));
    Some(match value {
        [] => [0, 0],
        [first, .., last] if value.len() < 4 => {
            let middle = value[value.len() / 2];
            [half([*first, middle, *last, 0]), 0]
        }
        [only] => [u64::from(*only), 0],
        _ if value.len() < 8 => [half(*value.first_chunk()?), half(*value.last_chunk()?)],
        _ if value.len() <= 16 => [
            u64::from_le_bytes(*value.first_chunk()?),
            u64::from_le_bytes(*value.last_chunk()?),
        ],
        _ => return None,
    })
}

fn hash(seeds: [u64; 2], words: [u64; 2], length: usize) -> usize {
    let left = u128::from(words[0] ^ seeds[0]);
    let right = u128::from(words[1] ^ seeds[1] ^ length as u64);
    let product = left * right;
    (product as u64 ^ (product >> 64) as u64) as usize
}
