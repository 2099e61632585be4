//! Hashes that are the same on every host and in every version: for shards, and to tell whether files are the same.

/// FNV-1a of `bytes`, with its bits mixed so that any few of them are evenly spread.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)))
}

/// Combines two hashes; order matters.
#[must_use]
pub fn combine(a: u64, b: u64) -> u64 {
    mix(a.rotate_left(25) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A digest of a large file: eight bytes a step.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let step = |h: u64, w: u64| (h.rotate_left(23) ^ w).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let h = words.iter().fold(bytes.len() as u64, |h, w| step(h, u64::from_le_bytes(*w)));
    mix(rest.iter().fold(h, |h, b| step(h, (*b).into())))
}

fn mix(mut h: u64) -> u64 {
    h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_never_change() {
        assert_eq!(stable_hash(b"80286/00#7"), 0x2be6_53b7_139b_35eb);
        assert_ne!(digest(&[0; 8]), digest(&[0; 9]));
        assert_ne!(combine(1, 2), combine(2, 1));
        let counts = (0..3000u32).fold([0; 3], |mut n, i| {
            n[(stable_hash(&i.to_le_bytes()) % 3) as usize] += 1;
            n
        });
        assert!(counts.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
    }
}
