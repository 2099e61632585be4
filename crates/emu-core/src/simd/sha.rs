//! SHA-1 and SHA-256 steps [SDM-2B SHA*; FIPS 180-4]. Words are numbered from the vector's high end, as the SDM
//! writes them.

use super::lane::{self, Lane};
use super::{Binary, BinaryImm};

/// The four words, highest first.
fn words<const N: usize>(v: [u8; N]) -> [u32; 4] {
    [3, 2, 1, 0].map(|i| u32::get(&v, i))
}

fn vector<const N: usize>(words: [u32; 4]) -> [u8; N] {
    lane::build(|i| words[3 - i])
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl Binary for $name {
            fn apply<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
                let ($a, $b) = (words(a), words(b));
                vector($e)
            }
        }
    )*};
}

steps! {
    /// SHA-1 message schedule, the exclusive-or of older words.
    Sha1msg1 = |a, b| [a[2] ^ a[0], a[3] ^ a[1], b[0] ^ a[2], b[1] ^ a[3]];
    /// SHA-1 message schedule, the final rotation.
    Sha1msg2 = |a, b| {
        let w16 = (a[0] ^ b[1]).rotate_left(1);
        [w16, (a[1] ^ b[2]).rotate_left(1), (a[2] ^ b[3]).rotate_left(1), (a[3] ^ w16).rotate_left(1)]
    };
    /// SHA-1 state E after four rounds, added to the next message word.
    Sha1nexte = |a, b| [b[0].wrapping_add(a[0].rotate_left(30)), b[1], b[2], b[3]];
    /// SHA-256 message schedule, first part.
    Sha256msg1 = |a, b| [
        a[0].wrapping_add(sigma0(b[3])),
        a[1].wrapping_add(sigma0(a[0])),
        a[2].wrapping_add(sigma0(a[1])),
        a[3].wrapping_add(sigma0(a[2])),
    ];
    /// SHA-256 message schedule, second part.
    Sha256msg2 = |a, b| {
        let w16 = a[3].wrapping_add(sigma1(b[1]));
        let w17 = a[2].wrapping_add(sigma1(b[0]));
        [a[0].wrapping_add(sigma1(w17)), a[1].wrapping_add(sigma1(w16)), w17, w16]
    };
}

fn sigma0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3
}

fn sigma1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10
}

/// Four rounds of SHA-1; bits 1:0 of the immediate choose function and constant.
#[derive(Debug)]
pub struct Sha1rnds4;

impl BinaryImm for Sha1rnds4 {
    fn apply<const N: usize>(a: [u8; N], b: [u8; N], imm: u8) -> [u8; N] {
        let mut s = words(a);
        // E of the first round is already part of the first message word.
        let mut e = 0u32;
        for w in words(b) {
            let [a, b, c, d] = s;
            let (f, k) = match imm & 3 {
                0 => (b & c ^ !b & d, 0x5a82_7999u32),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c ^ b & d ^ c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = f.wrapping_add(a.rotate_left(5)).wrapping_add(w).wrapping_add(e).wrapping_add(k);
            e = d;
            s = [next, a, b.rotate_left(30), c];
        }
        vector(s)
    }
}

/// Two rounds of SHA-256: `a` holds C, D, G, H; `b` holds A, B, E, F; the low quadword of `wk` (XMM0) holds two
/// message words with their constants added.
pub fn sha256rnds2(a: [u8; 16], b: [u8; 16], wk: [u8; 16]) -> [u8; 16] {
    let ([mut c, mut d, mut g, mut h], [mut a, mut b, mut e, mut f]) = (words(a), words(b));
    for i in 0..2 {
        let sum1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = e & f ^ !e & g;
        let t1 = h.wrapping_add(sum1).wrapping_add(choice).wrapping_add(u32::get(&wk, i));
        let sum0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = a & b ^ a & c ^ b & c;
        (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
        (d, c, b, a) = (c, b, a, t1.wrapping_add(sum0).wrapping_add(majority));
    }
    vector([a, b, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn low_first(words: [u32; 4]) -> [u8; 16] {
        lane::build(|i| words[i])
    }

    fn add(a: [u8; 16], b: [u8; 16]) -> [u8; 16] {
        lane::zip::<u32, 16>(a, b, u32::wrapping_add)
    }

    /// The padded block of the message "abc", in words.
    fn abc() -> [u32; 16] {
        let mut words = [0; 16];
        (words[0], words[15]) = (0x6162_6380, 24);
        words
    }

    #[test]
    fn sha1_of_abc() {
        let mut w: Vec<[u8; 16]> = abc().chunks(4).map(|c| vector([c[0], c[1], c[2], c[3]])).collect();
        for i in 4..20 {
            let older = Sha1msg1::apply(w[i - 4], w[i - 3]);
            w.push(Sha1msg2::apply(lane::zip::<u32, 16>(older, w[i - 2], |a, b| a ^ b), w[i - 1]));
        }
        let start = vector([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]);
        let mut state = start;
        let mut previous = vector([0xc3d2_e1f0u32.rotate_right(30), 0, 0, 0]);
        for (i, words) in w.into_iter().enumerate() {
            let with_e = Sha1nexte::apply(previous, words);
            previous = state;
            state = Sha1rnds4::apply(state, with_e, (i / 5) as u8);
        }
        let digest = words(add(state, start));
        let e = words(previous)[0].rotate_left(30).wrapping_add(0xc3d2_e1f0);
        assert_eq!((digest, e), ([0xa999_3e36, 0x4706_816a, 0xba3e_2571, 0x7850_c26c], 0x9cd0_d89d));
    }

    /// The fractional parts of the cube roots of the first 64 primes, by integer arithmetic [FIPS 180-4 4.2.2].
    fn constants() -> Vec<u32> {
        let primes = (2u128..).filter(|n| (2..*n).all(|d| n % d != 0)).take(64);
        let root = |n: u128| {
            let mut r = 0u128;
            for bit in (0..36).rev() {
                let next = r | 1 << bit;
                if next * next * next <= n << 96 {
                    r = next;
                }
            }
            r as u32
        };
        primes.map(root).collect()
    }

    #[test]
    fn sha256_of_abc() {
        let k = constants();
        let mut w: Vec<[u8; 16]> = abc().chunks(4).map(|c| low_first([c[0], c[1], c[2], c[3]])).collect();
        for i in 4..16 {
            let middle = lane::build(|n| u32::get(if n < 3 { &w[i - 2] } else { &w[i - 1] }, (n + 1) % 4));
            w.push(Sha256msg2::apply(add(Sha256msg1::apply(w[i - 4], w[i - 3]), middle), w[i - 1]));
        }
        let start = (
            vector([0x3c6e_f372, 0xa54f_f53a, 0x1f83_d9ab, 0x5be0_cd19]),
            vector([0x6a09_e667, 0xbb67_ae85, 0x510e_527f, 0x9b05_688c]),
        );
        let (mut cdgh, mut abef) = start;
        for (i, words) in w.into_iter().enumerate() {
            let wk = add(words, low_first([k[4 * i], k[4 * i + 1], k[4 * i + 2], k[4 * i + 3]]));
            (cdgh, abef) = (abef, sha256rnds2(cdgh, abef, wk));
            let high: [u8; 16] = lane::build(|n| u32::get(&wk, 2 + (n & 1)));
            (cdgh, abef) = (abef, sha256rnds2(cdgh, abef, high));
        }
        let ([c, d, g, h], [a, b, e, f]) = (words(add(cdgh, start.0)), words(add(abef, start.1)));
        let want =
            [0xba78_16bf, 0x8f01_cfea, 0x4141_40de, 0x5dae_2223, 0xb003_61a3, 0x9617_7a9c, 0xb410_ff61, 0xf200_15ad];
        assert_eq!([a, b, c, d, e, f, g, h], want);
    }
}
