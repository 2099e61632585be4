//! Values at which arithmetic goes wrong: boundaries, powers of two, denormals, NaNs, and what only x87 registers hold.

use super::rng::Rng;
use crate::F80;

/// An integer of 64 bits.
pub(super) fn integer(rng: &mut Rng) -> u64 {
    let bit = rng.below(64);
    match rng.below(10) {
        0 => rng.pick(&[0, 1, 2, u64::MAX, u64::MAX - 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF]),
        1 => rng.pick(&[0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, i64::MAX as u64, i64::MIN as u64]),
        2 => 1 << bit,
        3 => (1u64 << bit).wrapping_sub(1),
        4 => u64::MAX << bit,
        5 => rng.next() >> bit,
        6 => rng.below(256) as u64,
        _ => rng.next(),
    }
}

/// An immediate or displacement of 8 bits.
pub(super) fn byte(rng: &mut Rng) -> u8 {
    match rng.below(4) {
        0 => rng.pick(&[0, 1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 0x7F, 0x80, 0xFE, 0xFF]),
        _ => rng.next() as u8,
    }
}

/// A binary32 or, if `wide`, binary64 number, in its bits.
pub(super) fn float(rng: &mut Rng, wide: bool) -> u64 {
    let (fraction_bits, exponents) = if wide { (52, 2047) } else { (23, 255) };
    let fraction = match rng.below(5) {
        0 => 0,
        1 => 1 << rng.below(fraction_bits),
        2 => (1u64 << fraction_bits) - 1,
        3 => rng.next() << rng.below(fraction_bits),
        _ => rng.next(),
    } & ((1 << fraction_bits) - 1);
    let middle = exponents / 2;
    let exponent = match rng.below(12) {
        0 => 0,
        1 => exponents,
        2 => 1 + rng.below(30) as u64,
        3 => exponents - 1 - rng.below(30) as u64,
        4 => rng.next() % (exponents + 1),
        // The borders of integer conversions.
        5 => middle + rng.pick(&[14, 15, 30, 31, 32, 62, 63, 64]),
        _ => middle - 4 + rng.below(9) as u64,
    };
    (rng.next() & 1) << (if wide { 63 } else { 31 }) | exponent << fraction_bits | fraction
}

/// The contents of an x87 register: any class of number, those too that no instruction makes.
pub(super) fn x87(rng: &mut Rng) -> F80 {
    const ONE: u64 = 1 << 63;
    let sign = (rng.next() as u16) << 15;
    let fraction = match rng.below(6) {
        0 => 0,
        1 => 1 << rng.below(63),
        2 => ONE - 1,
        3 => rng.next() >> 1 & !((1 << rng.below(63)) - 1),
        _ => rng.next() >> 1,
    };
    let (exponent, significand) = match rng.below(24) {
        0 => (0, 0),
        1 => (0, fraction),                                   // zero or denormal
        2 => (0, fraction | ONE),                             // pseudo-denormal
        3 => (0x7FFF, ONE),                                   // infinity
        4 => (0x7FFF, fraction | ONE | 1 << 62),              // quiet NaN
        5 => (0x7FFF, fraction & !(1 << 62) | ONE),           // signalling NaN or infinity
        6 => (0x7FFF, fraction),                              // pseudo-NaN, pseudo-infinity
        7 => (1 + rng.below(0x7FFE) as u16, fraction),        // unnormal
        8 => (1 + rng.below(80) as u16, fraction | ONE),      // tiny
        9 => (0x7FFE - rng.below(80) as u16, fraction | ONE), // huge
        10 => (1 + rng.below(0x7FFE) as u16, fraction | ONE),
        11 => (0x3FFF + rng.pick(&[14, 15, 16, 30, 31, 32, 61, 62, 63, 64]), fraction | ONE),
        12 => (0x3FFF, ONE),
        13 | 14 => whole(rng),
        15 => (0x3FFE + rng.below(4) as u16, 0xC90F_DAA2_2168_C235), // multiples of pi
        _ => (0x3FFF - 40 + rng.below(80) as u16, fraction | ONE),
    };
    F80::new(sign | exponent, significand)
}

/// A small whole number.
fn whole(rng: &mut Rng) -> (u16, u64) {
    let n = 1 + rng.below(1000) as u64;
    (0x3FFF + 63 - n.leading_zeros() as u16, n << n.leading_zeros())
}

/// A vector register of 32 bytes: numbers of one kind in all lanes.
pub(super) fn vector(rng: &mut Rng) -> [u8; 32] {
    let mut v = [0; 32];
    match rng.below(7) {
        0 | 1 => v.chunks_mut(4).for_each(|lane| lane.copy_from_slice(&(float(rng, false) as u32).to_le_bytes())),
        2 | 3 => v.chunks_mut(8).for_each(|lane| lane.copy_from_slice(&float(rng, true).to_le_bytes())),
        4 => v.chunks_mut(8).for_each(|lane| lane.copy_from_slice(&integer(rng).to_le_bytes())),
        5 => v.iter_mut().for_each(|lane| *lane = byte(rng)),
        _ => {
            let lane = [2, 4][rng.below(2)];
            v.chunks_mut(lane).for_each(|l| {
                let n = l.len();
                l.copy_from_slice(&integer(rng).to_le_bytes()[..n]);
            });
        }
    }
    v
}
