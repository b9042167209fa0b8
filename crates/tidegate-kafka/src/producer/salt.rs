//! Keys of hot customers, spread over several.

use std::num::NonZeroU32;

use tidegate_generator::KEY_BYTES;

/// Bytes of a key with its salt, at most: the key, `:`, and ten digits.
pub(super) const SALTED_BYTES: usize = KEY_BYTES + 1 + 10;

/// A key, salted or not, without an allocation.
#[derive(Clone, Copy)]
pub(super) struct RecordKey {
    bytes: [u8; SALTED_BYTES],
    len: usize,
}

impl RecordKey {
    /// The key as it is.
    pub(super) fn plain(key: &[u8; KEY_BYTES]) -> Self {
        let mut bytes = [0; SALTED_BYTES];
        bytes[..KEY_BYTES].copy_from_slice(key);
        RecordKey {
            bytes,
            len: KEY_BYTES,
        }
    }

    /// `KEY:0` to `KEY:N-1` for `salts` N. Which one is decided by `event`, the number of the event
    /// or of the one that it repeats or updates: all that is said of a transaction keeps its key,
    /// its partition and its order, and only the customer's events among each other lose theirs.
    pub(super) fn salted(key: &[u8; KEY_BYTES], event: u64, salts: NonZeroU32) -> Self {
        let mut salted = RecordKey::plain(key);
        salted.bytes[KEY_BYTES] = b':';
        // Fibonacci hashing: neighbours get different salts, whatever their number's factors.
        let spread = event.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let salt = (spread * u64::from(salts.get())) >> 32;
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(salt).as_bytes();
        salted.len = KEY_BYTES + 1 + digits.len();
        salted.bytes[KEY_BYTES + 1..salted.len].copy_from_slice(digits);
        salted
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; KEY_BYTES] = *b"CUST_000005";

    proptest! {
        #[test]
        fn a_salt_is_one_of_those_asked_for_and_the_events_own(event: u64, salts in 1_u32..) {
            let salts = NonZeroU32::new(salts).unwrap();
            let key = RecordKey::salted(&KEY, event, salts);
            let text = std::str::from_utf8(key.as_bytes()).unwrap();
            let (customer, salt) = text.split_once(':').unwrap();
            prop_assert_eq!(customer, "CUST_000005");
            prop_assert!(salt.parse::<u32>().unwrap() < salts.get());
            let again = RecordKey::salted(&KEY, event, salts);
            prop_assert_eq!(key.as_bytes(), again.as_bytes());
        }
    }

    #[test]
    fn salts_are_used_evenly() {
        for (salts, step) in [(10, 1), (10, 8), (7, 100), (64, 64)] {
            let mut counts = vec![0_u32; salts as usize];
            for event in 0..10_000 {
                let key = RecordKey::salted(&KEY, event * step, NonZeroU32::new(salts).unwrap());
                let text = std::str::from_utf8(&key.as_bytes()[KEY_BYTES + 1..]).unwrap();
                counts[text.parse::<usize>().unwrap()] += 1;
            }
            let even = 10_000 / salts;
            for count in counts {
                assert!(
                    (even * 8 / 10..=even * 12 / 10).contains(&count),
                    "{count} of {even}"
                );
            }
        }
    }

    #[test]
    fn a_plain_key_is_the_customer() {
        assert_eq!(RecordKey::plain(&KEY).as_bytes(), KEY);
    }
}
