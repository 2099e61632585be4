//! AES rounds [SDM-2A AESENC..., FIPS 197]. State byte 4·column + row is byte 4·column + row of the vector. The S-boxes
//! are computed at compile time from their definition.

use super::lane::{self, Lane};
use super::{Binary, BinaryImm};

/// Product in GF(2^8) modulo x^8+x^4+x^3+x+1.
pub(super) const fn gf_mul(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    product
}

/// The inverse in GF(2^8), a^254; 0 for 0.
pub(super) const fn gf_inverse(a: u8) -> u8 {
    let (mut inverse, mut power, mut k) = (1, a, 0);
    while k < 7 {
        power = gf_mul(power, power);
        inverse = gf_mul(inverse, power);
        k += 1;
    }
    if a == 0 { 0 } else { inverse }
}

/// The S-box: the inverse in GF(2^8), then an affine map [FIPS 197 5.1.1].
const fn substitution() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let x = gf_inverse(i as u8);
        table[i] = x ^ x.rotate_left(1) ^ x.rotate_left(2) ^ x.rotate_left(3) ^ x.rotate_left(4) ^ 0x63;
        i += 1;
    }
    table
}

const fn inverted(table: [u8; 256]) -> [u8; 256] {
    let mut out = [0; 256];
    let mut i = 0;
    while i < 256 {
        out[table[i] as usize] = i as u8;
        i += 1;
    }
    out
}

static S_BOX: [u8; 256] = substitution();
static INVERSE_S_BOX: [u8; 256] = inverted(substitution());

/// Row `r` moves `r` columns to the left, and every byte goes through the S-box.
fn shift_and_substitute<const N: usize>(a: [u8; N]) -> [u8; N] {
    lane::build(|i| S_BOX[usize::from(a[(i + 4 * (i & 3)) & 15])])
}

/// The inverse of [`shift_and_substitute`].
fn inverse_shift_and_substitute<const N: usize>(a: [u8; N]) -> [u8; N] {
    lane::build(|i| INVERSE_S_BOX[usize::from(a[(i + 16 - 4 * (i & 3)) & 15])])
}

/// Each column times the circulant matrix with first row `row`, whose entries are below 16.
#[inline(always)]
fn mix_columns<const N: usize>(a: [u8; N], row: [u8; 4]) -> [u8; N] {
    let double = |v: [u8; N]| lane::map::<u8, N>(v, |x| (x << 1) ^ ((x >> 7) * 0x1b));
    let twice = double(a);
    let fourfold = double(twice);
    let powers = [a, twice, fourfold, double(fourfold)];
    lane::build(|i| {
        (0..4).fold(0u8, |sum, k| {
            let factor = row[(k + 4 - (i & 3)) & 3];
            (0..4).fold(sum, |sum, bit| sum ^ (powers[bit][i & !3 | k] * (factor >> bit & 1)))
        })
    })
}

const MIX: [u8; 4] = [2, 3, 1, 1];
const INVERSE_MIX: [u8; 4] = [14, 11, 13, 9];

fn xor<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
    lane::zip::<u64, N>(a, b, |x, y| x ^ y)
}

macro_rules! rounds {
    ($($(#[$doc:meta])* $name:ident = |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl Binary for $name {
            fn apply<const N: usize>($a: [u8; N], $b: [u8; N]) -> [u8; N] {
                $e
            }
        }
    )*};
}

rounds! {
    /// One round of encryption under round key `b`.
    Aesenc = |a, b| xor(mix_columns(shift_and_substitute(a), MIX), b);
    /// The last round of encryption.
    Aesenclast = |a, b| xor(shift_and_substitute(a), b);
    /// One round of the equivalent inverse cipher.
    Aesdec = |a, b| xor(mix_columns(inverse_shift_and_substitute(a), INVERSE_MIX), b);
    /// The last round of the equivalent inverse cipher.
    Aesdeclast = |a, b| xor(inverse_shift_and_substitute(a), b);
    /// InvMixColumns of the source.
    Aesimc = |_a, b| mix_columns(b, INVERSE_MIX);
}

/// Substituted (and rotated) key words for the key expansion; `imm` is the round constant.
#[derive(Debug)]
pub struct Aeskeygenassist;

impl BinaryImm for Aeskeygenassist {
    fn apply<const N: usize>(_a: [u8; N], b: [u8; N], imm: u8) -> [u8; N] {
        lane::build(|i| {
            let word = u32::get(&b, i | 1).to_le_bytes().map(|x| S_BOX[usize::from(x)]);
            let word = u32::from_le_bytes(word);
            if i & 1 == 0 { word } else { word.rotate_right(8) ^ u32::from(imm) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_key(key: [u8; 16], round_constant: u8) -> [u8; 16] {
        // The top doubleword of the result is RotWord(SubWord(w3)) ^ Rcon.
        let assist = u32::get(&Aeskeygenassist::apply([0; 16], key, round_constant), 3);
        let mut word = assist;
        lane::build(|i| {
            word ^= u32::get(&key, i);
            word
        })
    }

    /// The example of FIPS 197 appendix B, encrypted and decrypted again.
    #[test]
    fn fips_197_example() {
        let block = 0x3243f6a8_885a308d_313198a2_e0370734u128.to_be_bytes();
        let mut keys = vec![0x2b7e1516_28aed2a6_abf71588_09cf4f3cu128.to_be_bytes()];
        let mut constant = 1;
        for _ in 0..10 {
            keys.push(next_key(keys[keys.len() - 1], constant));
            constant = gf_mul(constant, 2);
        }
        let middle = (1..10).fold(xor(block, keys[0]), |s, i| Aesenc::apply(s, keys[i]));
        let cipher = Aesenclast::apply(middle, keys[10]);
        assert_eq!(u128::from_be_bytes(cipher), 0x3925841d_02dc09fb_dc118597_196a0b32);
        let inverse = |i: usize| Aesimc::apply([0; 16], keys[i]);
        let middle = (1..10).rev().fold(xor(cipher, keys[10]), |s, i| Aesdec::apply(s, inverse(i)));
        assert_eq!(Aesdeclast::apply(middle, keys[0]), block);
    }
}
