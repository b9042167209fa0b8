//! Random numbers that are the same for the same seed, so that a seed that a test names stays what
//! it was: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).

#![forbid(unsafe_code)]

/// A sequence of random numbers.
#[derive(Debug, Clone, Copy)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits().checked_rem(end).unwrap_or(0)
    }

    /// A place in something with so many; 0 if there is none.
    pub fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A number in `from..to`; `from` if there is none.
    pub fn range(&mut self, from: i64, to: i64) -> i64 {
        let width = to.saturating_sub(from).try_into().unwrap_or(0);
        from.wrapping_add_unsigned(self.below(width))
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.place(from.len())]
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// True with this probability, from 0 to 1. Nothing is drawn for 0.
    pub fn hits(&mut self, probability: f64) -> bool {
        // A draw of 53 bits is exact as a float.
        probability > 0.0 && ((self.bits() >> 11) as f64) < probability * (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_numbers_are_those_of_the_paper() {
        let mut random = Random::new(0);
        let numbers = [(); 3].map(|()| random.bits());
        let expected = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn numbers_are_within_their_bounds() {
        let mut random = Random::new(1);
        for _ in 0..1_000 {
            assert!(random.below(3) < 3);
            assert!((-2..5).contains(&random.range(-2, 5)));
        }
        assert_eq!((random.below(0), random.place(0)), (0, 0));
        assert!(random.hits(1.0) && !random.hits(0.0));
    }
}
