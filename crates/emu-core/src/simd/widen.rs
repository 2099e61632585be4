//! Packed integer operations whose result lanes are wider than, or gathered from several of, the operands'
//! lanes: multiply-add, sums of differences, horizontal sums, widening moves [SDM-2B].

use super::lane::{self, Lane};
use super::{Binary, BinaryImm};

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = |$a:ident, $b:ident, $i:ident| $t:ty { $e:expr };)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl Binary for $name {
            #[inline]
            fn apply<const N: usize>($a: [u8; N], $b: [u8; N]) -> [u8; N] {
                lane::build::<$t, N>(|$i| $e)
            }
        }
    )*};
}

/// Lane `i` of the operands laid end to end, `a` first, in units of `T`: what horizontal operations walk over.
#[inline(always)]
fn joined<T: Lane, const N: usize>(a: &[u8; N], b: &[u8; N], i: usize) -> T {
    let half = lane::count::<T, N>();
    if i < half { T::get(a, i) } else { T::get(b, i - half) }
}

/// `f` of each pair of neighbours, the results of `a` below those of `b` (PHADD, PHSUB).
#[inline(always)]
fn horizontal<T: Lane, const N: usize>(a: [u8; N], b: [u8; N], f: impl Fn(T, T) -> T) -> [u8; N] {
    lane::build(|i| f(joined(&a, &b, 2 * i), joined(&a, &b, 2 * i + 1)))
}

macro_rules! horizontals {
    ($($name:ident: $t:ty = $f:expr;)*) => {$(
        #[doc = concat!("Neighbouring lanes combined by `", stringify!($f), "`.")]
        #[derive(Debug)]
        pub struct $name;
        impl Binary for $name {
            #[inline]
            fn apply<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
                horizontal::<$t, N>(a, b, $f)
            }
        }
    )*};
}

horizontals! {
    Phaddw: i16 = i16::wrapping_add;
    Phaddd: i32 = i32::wrapping_add;
    Phaddsw: i16 = i16::saturating_add;
    Phsubw: i16 = i16::wrapping_sub;
    Phsubd: i32 = i32::wrapping_sub;
    Phsubsw: i16 = i16::saturating_sub;
}

#[inline(always)]
fn product_i16<const N: usize>(a: &[u8; N], b: &[u8; N], i: usize) -> i32 {
    i32::from(i16::get(a, i)) * i32::from(i16::get(b, i))
}

#[inline(always)]
fn product_u8_i8<const N: usize>(a: &[u8; N], b: &[u8; N], i: usize) -> i16 {
    i16::from(a[i]) * i16::from(b[i] as i8)
}

binary! {
    /// Unsigned 32×32→64 product of the even doublewords.
    Pmuludq = |a, b, i| u64 { u64::from(u32::get(&a, 2 * i)) * u64::from(u32::get(&b, 2 * i)) };
    /// Signed 32×32→64 product of the even doublewords.
    Pmuldq = |a, b, i| i64 { i64::from(i32::get(&a, 2 * i)) * i64::from(i32::get(&b, 2 * i)) };
    /// Sum of neighbouring signed 16×16→32 products; wraps only for four times 8000h.
    Pmaddwd = |a, b, i| i32 { product_i16(&a, &b, 2 * i).wrapping_add(product_i16(&a, &b, 2 * i + 1)) };
    /// Saturating sum of neighbouring unsigned×signed byte products.
    Pmaddubsw = |a, b, i| i16 { product_u8_i8(&a, &b, 2 * i).saturating_add(product_u8_i8(&a, &b, 2 * i + 1)) };
    /// Sum of the absolute differences of eight bytes into each quadword.
    Psadbw = |a, b, i| u64 { sum_of_differences(u64::get(&a, i), u64::get(&b, i)) };
    /// The smallest unsigned word and its first index.
    Phminposuw = |_a, b, i| u64 {
        if i > 0 { 0 } else { (0..lane::count::<u16, N>() as u64)
            .map(|k| u64::from(u16::get(&b, k as usize)) | k << 16)
            .min_by_key(|v| v & 0xffff).unwrap_or(0) }
    };
    /// Sign-extend bytes to words.
    Pmovsxbw = |_a, b, i| i16 { i8::get(&b, i).into() };
    /// Sign-extend bytes to doublewords.
    Pmovsxbd = |_a, b, i| i32 { i8::get(&b, i).into() };
    /// Sign-extend bytes to quadwords.
    Pmovsxbq = |_a, b, i| i64 { i8::get(&b, i).into() };
    /// Sign-extend words to doublewords.
    Pmovsxwd = |_a, b, i| i32 { i16::get(&b, i).into() };
    /// Sign-extend words to quadwords.
    Pmovsxwq = |_a, b, i| i64 { i16::get(&b, i).into() };
    /// Sign-extend doublewords to quadwords.
    Pmovsxdq = |_a, b, i| i64 { i32::get(&b, i).into() };
    /// Zero-extend bytes to words.
    Pmovzxbw = |_a, b, i| u16 { b[i].into() };
    /// Zero-extend bytes to doublewords.
    Pmovzxbd = |_a, b, i| u32 { b[i].into() };
    /// Zero-extend bytes to quadwords.
    Pmovzxbq = |_a, b, i| u64 { b[i].into() };
    /// Zero-extend words to doublewords.
    Pmovzxwd = |_a, b, i| u32 { u16::get(&b, i).into() };
    /// Zero-extend words to quadwords.
    Pmovzxwq = |_a, b, i| u64 { u16::get(&b, i).into() };
    /// Zero-extend doublewords to quadwords.
    Pmovzxdq = |_a, b, i| u64 { u32::get(&b, i).into() };
}

/// Sum of the absolute differences of eight bytes, four at a time.
#[inline(always)]
fn sum_of_differences(a: u64, b: u64) -> u64 {
    let sums = distances(a, b) + distances(a >> 8, b >> 8);
    sums.wrapping_mul(0x0001_0001_0001_0001) >> 48
}

/// Absolute differences of the bytes in even places, in 16 bits each.
#[inline(always)]
fn distances(a: u64, b: u64) -> u64 {
    const BYTES: u64 = 0x00FF_00FF_00FF_00FF;
    const CARRIES: u64 = 0x0100_0100_0100_0100;
    // Bit 8 of a place stays if its difference is not negative.
    let difference = (a & BYTES | CARRIES) - (b & BYTES);
    let negative = (difference & CARRIES ^ CARRIES) >> 8;
    // A negative one is complemented, and gets the one that makes it the opposite.
    (difference & BYTES ^ negative * 0xFF) + negative
}

/// Eight sums of four absolute differences: a sliding window of `a` (from byte 0 or 4) against one group of four
/// bytes of `b` [SDM-2B MPSADBW].
#[derive(Debug)]
pub struct Mpsadbw;

impl BinaryImm for Mpsadbw {
    #[inline]
    fn apply<const N: usize>(a: [u8; N], b: [u8; N], imm: u8) -> [u8; N] {
        let (from_a, from_b) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
        lane::build(|i| (0..4).map(|k| u16::from(a[from_a + i + k].abs_diff(b[from_b + k]))).sum::<u16>())
    }
}

/// Carry-less product of one quadword of each operand [SDM-2B PCLMULQDQ].
#[derive(Debug)]
pub struct Pclmulqdq;

impl BinaryImm for Pclmulqdq {
    #[inline]
    fn apply<const N: usize>(a: [u8; N], b: [u8; N], imm: u8) -> [u8; N] {
        let x = u128::from(u64::get(&a, usize::from(imm & 1)));
        let y = u64::get(&b, usize::from(imm >> 4 & 1));
        // Four bits of `y` at a time, by a table of their products with `x`.
        let bit = |k: usize, n: usize| if n >> k & 1 == 1 { x << k } else { 0 };
        let table: [u128; 16] = std::array::from_fn(|n| bit(0, n) ^ bit(1, n) ^ bit(2, n) ^ bit(3, n));
        let product = (0..16).rev().fold(0, |sum, k| sum << 4 ^ table[(y >> (4 * k) & 15) as usize]);
        lane::build(|i| (product >> (64 * i)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn differences_are_summed_by_bytes(a: [u8; 16], b: [u8; 16]) {
            let sum = |at: usize| (at..at + 8).map(|i| u64::from(a[i].abs_diff(b[i]))).sum::<u64>();
            prop_assert_eq!(Psadbw::apply(a, b), lane::build::<u64, 16>(|i| sum(8 * i)));
        }
    }

    #[test]
    fn the_largest_differences_have_room() {
        let expected = lane::build::<u64, 16>(|_| 8 * 255);
        assert_eq!((Psadbw::apply([255; 16], [0; 16]), Psadbw::apply([0; 16], [255; 16])), (expected, expected));
    }
}
