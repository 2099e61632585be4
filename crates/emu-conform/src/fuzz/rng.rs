//! The fuzzer's random numbers. They are ours so that a seed draws the same cases for ever: a library may change its own.

/// SplitMix64: a counter, well mixed. Two seeds that differ in one bit give streams that have nothing in common.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream of case `number` under `seed`: each case can be drawn again by itself.
    #[must_use]
    pub(super) fn new(seed: u64, number: u64) -> Rng {
        let mut rng = Rng(seed);
        let mixed = rng.next();
        Rng(mixed ^ number.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    /// 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// A number below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (u128::from(self.next()) * limit as u128 >> 64) as usize
    }

    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of a few values.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_never_changes() {
        let mut rng = Rng::new(1, 0);
        assert_eq!([rng.next(), rng.next()], [6791897765849424158, 17405687883870564846]);
        assert_ne!(Rng::new(1, 0).next(), Rng::new(1, 1).next());
        assert_ne!(Rng::new(1, 0).next(), Rng::new(2, 0).next());
        let mut counts = [0; 5];
        (0..5000).for_each(|_| counts[rng.below(5)] += 1);
        assert!(counts.iter().all(|c| (800..1200).contains(c)), "{counts:?}");
    }
}
