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
