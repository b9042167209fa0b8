//! Who buys, and in which partition they are.

/// Customers there are: `CUST_000000` to `CUST_099999`.
pub(super) const CUSTOMERS: u32 = 100_000;

/// The customer of `GeneratorOptions::hot_key_share`.
pub(super) const HOT_CUSTOMER: u32 = 0;

/// One customer in five is hot, and four events in five are theirs.
const HOT_EVERY: u32 = 5;
const HOT_TRAFFIC: u64 = (u32::MAX as u64 + 1) / 5 * 4;

/// Whether a customer is one of the fifth that makes four fifths of the traffic.
pub(super) fn is_hot(customer: u32) -> bool {
    customer.is_multiple_of(HOT_EVERY)
}

/// The customers of each partition.
pub(super) struct Customers {
    partitions: Vec<Residents>,
}

#[derive(Default, Clone)]
struct Residents {
    hot: Vec<u32>,
    rest: Vec<u32>,
}

impl Customers {
    /// Puts every customer where the hash of the key says.
    ///
    /// # Panics
    /// If `partitions` is not positive, or so large that one has no customer; the options' check
    /// keeps it at 10,000.
    pub(super) fn new(partitions: i32) -> Self {
        let count = u32::try_from(partitions).expect("a positive number of partitions");
        let mut residents = vec![Residents::default(); count as usize];
        let mut key = [0; KEY_BYTES];
        for customer in 0..CUSTOMERS {
            write_key(customer, &mut key);
            let home = &mut residents[(partition_hash(&key) % count) as usize];
            let group = if is_hot(customer) {
                &mut home.hot
            } else {
                &mut home.rest
            };
            group.push(customer);
        }
        for home in &mut residents {
            if home.hot.is_empty() {
                home.hot.clone_from(&home.rest);
            } else if home.rest.is_empty() {
                home.rest.clone_from(&home.hot);
            }
            assert!(!home.hot.is_empty(), "every partition has a customer");
        }
        Customers {
            partitions: residents,
        }
    }

    /// A customer of `partition`, drawn by `random`.
    pub(super) fn draw(&self, partition: i32, random: u64) -> u32 {
        let home = &self.partitions[partition as usize];
        let (high, low) = (random >> 32, random & u64::from(u32::MAX));
        let group = if high < HOT_TRAFFIC {
            &home.hot
        } else {
            &home.rest
        };
        group[((low * group.len() as u64) >> 32) as usize]
    }
}

/// Bytes of a customer's key.
pub const KEY_BYTES: usize = 11;

/// Writes `CUST_` and six digits.
pub(super) fn write_key(customer: u32, key: &mut [u8; KEY_BYTES]) {
    key[..5].copy_from_slice(b"CUST_");
    let mut rest = customer;
    for digit in key[5..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// The hash by which Kafka's Java client chooses a partition: murmur2 without its sign.
pub fn partition_hash(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^= h >> 15;
    h & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_of_kafka() {
        // From the tests of Apache Kafka's `Utils.murmur2`, without the sign.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(
                partition_hash(key.as_bytes()),
                hash as u32 & 0x7fff_ffff,
                "{key}"
            );
        }
    }
}
