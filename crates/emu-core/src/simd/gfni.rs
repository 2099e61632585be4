//! Arithmetic in GF(2^8) [SDM-2A GF2P8MULB, GF2P8AFFINEQB, GF2P8AFFINEINVQB]. The field is AES's.

use super::aes::{gf_inverse, gf_mul};
use super::lane::{self, Lane};
use super::{Binary, BinaryImm};

/// Products of bytes.
#[derive(Debug)]
pub struct Gf2p8mulb;

impl Binary for Gf2p8mulb {
    fn apply<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
        lane::zip::<u8, N>(a, b, gf_mul)
    }
}

/// The bit matrix `rows` times `x`, plus `imm`. Row 7 - i, in byte 7 - i, gives bit i.
fn affine(rows: u64, x: u8, imm: u8) -> u8 {
    let rows = rows.to_le_bytes();
    (0..8).fold(imm, |r, i| r ^ ((rows[7 - i] & x).count_ones() as u8 & 1) << i)
}

/// An affine map of each byte of `a` by the matrix in the same quadword of `b`.
#[derive(Debug)]
pub struct Gf2p8affineqb;

impl BinaryImm for Gf2p8affineqb {
    fn apply<const N: usize>(a: [u8; N], b: [u8; N], imm: u8) -> [u8; N] {
        lane::build(|i| affine(u64::get(&b, i / 8), a[i], imm))
    }
}

/// The same of each byte's inverse.
#[derive(Debug)]
pub struct Gf2p8affineinvqb;

impl BinaryImm for Gf2p8affineinvqb {
    fn apply<const N: usize>(a: [u8; N], b: [u8; N], imm: u8) -> [u8; N] {
        Gf2p8affineqb::apply(lane::map(a, gf_inverse), b, imm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The S-box of AES is an affine map of the inverse [FIPS 197 5.1.1]; its inverse undoes it.
    #[test]
    fn affine_maps_make_the_s_box() {
        let (forth, back) = (0xF1E3_C78F_1F3E_7CF8u64, 0xA44A_9229_4A94_2952u64);
        let boxed = |x: u8| Gf2p8affineinvqb::apply([x; 8], forth.to_le_bytes(), 0x63)[0];
        assert_eq!([0x00, 0x53, 0xFF].map(boxed), [0x63, 0xED, 0x16]);
        let identity = 0x0102_0408_1020_4080u64;
        assert_eq!(Gf2p8affineqb::apply([0xA7; 8], identity.to_le_bytes(), 0), [0xA7; 8]);
        assert_eq!(Gf2p8mulb::apply([0x57; 8], [0x83; 8]), [0xC1; 8]);
        assert_ne!(Gf2p8affineqb::apply([1; 8], back.to_le_bytes(), 5), [1; 8]);
    }
}
