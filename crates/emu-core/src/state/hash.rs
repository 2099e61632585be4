//! The 128-bit hash of a machine's state: the same on every host, fast over large memories, not cryptographic.

/// A hash of state bytes, in the order in which they were given.
///
/// Two lanes of multiply-and-fold over 16-byte words; each input word is mixed with a position-dependent key, so that
/// equal words at different places do not cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateHash(pub u128);

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd1b5_4a32_d192_ed03;
const K2: u64 = 0x8cb9_2ba7_2f3d_8dd7;

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl StateHash {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> StateHash {
        let (mut h0, mut h1) = (K0 ^ bytes.len() as u64, K1);
        let mut words = bytes.chunks_exact(16);
        for w in &mut words {
            (h0, h1) = Self::step(h0, h1, w.try_into().unwrap_or([0; 16]));
        }
        let tail = words.remainder();
        if !tail.is_empty() {
            let mut last = [0u8; 16];
            last[..tail.len()].copy_from_slice(tail);
            (h0, h1) = Self::step(h0, h1, last);
        }
        let (lo, hi) = (fold(h0 ^ K2, h1 | 1), fold(h1 ^ K0, h0 | 1));
        StateHash(u128::from(lo) | u128::from(hi) << 64)
    }

    /// The hash of this hash followed by `other`.
    #[must_use]
    pub fn then(self, other: StateHash) -> StateHash {
        let mut bytes = [0u8; 32];
        bytes[..16].copy_from_slice(&self.0.to_le_bytes());
        bytes[16..].copy_from_slice(&other.0.to_le_bytes());
        StateHash::of(&bytes)
    }

    fn step(h0: u64, h1: u64, w: [u8; 16]) -> (u64, u64) {
        let w = u128::from_le_bytes(w);
        let (a, b) = (w as u64, (w >> 64) as u64);
        let n0 = fold(h0 ^ a, K1 ^ b);
        let n1 = fold(h1.rotate_left(29) ^ b, K2 ^ a).wrapping_add(h0);
        (n0.wrapping_add(h1), n1)
    }
}

impl core::fmt::Display for StateHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_or_one_place_changes_the_hash() {
        let mut bytes = vec![0u8; 4096];
        let zero = StateHash::of(&bytes);
        for i in [0, 15, 16, 4080, 4095] {
            bytes[i] = 1;
            let one = StateHash::of(&bytes);
            assert_ne!(one, zero);
            bytes[i] = 0;
            bytes[(i + 16) % 4096] = 1;
            assert_ne!(StateHash::of(&bytes), one);
            bytes[(i + 16) % 4096] = 0;
        }
        assert_ne!(StateHash::of(&bytes[..4095]), zero);
    }
}
