//! Packing, unpacking, shuffling, blending: lanes move, their values at most saturate [SDM-2B].

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

macro_rules! controlled {
    ($($(#[$doc:meta])* $name:ident = |$a:ident, $b:ident, $imm:ident, $i:ident| $t:ty { $e:expr };)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;
        impl BinaryImm for $name {
            #[inline]
            fn apply<const N: usize>($a: [u8; N], $b: [u8; N], imm: u8) -> [u8; N] {
                let $imm = usize::from(imm);
                lane::build::<$t, N>(|$i| $e)
            }
        }
    )*};
}

/// Lane `i` of the operands laid end to end, `a` first.
#[inline(always)]
fn joined<T: Lane, const N: usize>(a: &[u8; N], b: &[u8; N], i: usize) -> T {
    let half = lane::count::<T, N>();
    if i < half { T::get(a, i) } else { T::get(b, i - half) }
}

/// Lane `i` of the interleaving of `a` and `b`, starting at lane `from` of each.
#[inline(always)]
fn interleaved<T: Lane, const N: usize>(a: &[u8; N], b: &[u8; N], from: usize, i: usize) -> T {
    T::get(if i & 1 == 0 { a } else { b }, from + i / 2)
}

/// First lane of the upper half.
#[inline(always)]
const fn upper<T: Lane, const N: usize>() -> usize {
    lane::count::<T, N>() / 2
}

binary! {
    /// Signed words to signed bytes, saturating.
    Packsswb = |a, b, i| i8 { joined::<i16, N>(&a, &b, i).clamp(-128, 127) as i8 };
    /// Signed doublewords to signed words, saturating.
    Packssdw = |a, b, i| i16 { joined::<i32, N>(&a, &b, i).clamp(-32768, 32767) as i16 };
    /// Signed words to unsigned bytes, saturating.
    Packuswb = |a, b, i| u8 { joined::<i16, N>(&a, &b, i).clamp(0, 255) as u8 };
    /// Signed doublewords to unsigned words, saturating.
    Packusdw = |a, b, i| u16 { joined::<i32, N>(&a, &b, i).clamp(0, 65535) as u16 };
    /// Interleave the low bytes.
    Punpcklbw = |a, b, i| u8 { interleaved(&a, &b, 0, i) };
    /// Interleave the low words.
    Punpcklwd = |a, b, i| u16 { interleaved(&a, &b, 0, i) };
    /// Interleave the low doublewords (also UNPCKLPS).
    Punpckldq = |a, b, i| u32 { interleaved(&a, &b, 0, i) };
    /// Interleave the low quadwords (also UNPCKLPD, MOVLHPS).
    Punpcklqdq = |a, b, i| u64 { interleaved(&a, &b, 0, i) };
    /// Interleave the high bytes.
    Punpckhbw = |a, b, i| u8 { interleaved(&a, &b, upper::<u8, N>(), i) };
    /// Interleave the high words.
    Punpckhwd = |a, b, i| u16 { interleaved(&a, &b, upper::<u16, N>(), i) };
    /// Interleave the high doublewords (also UNPCKHPS).
    Punpckhdq = |a, b, i| u32 { interleaved(&a, &b, upper::<u32, N>(), i) };
    /// Interleave the high quadwords (also UNPCKHPD).
    Punpckhqdq = |a, b, i| u64 { interleaved(&a, &b, upper::<u64, N>(), i) };
    /// High quadword of the source under the destination's own.
    Movhlps = |a, b, i| u64 { u64::get(if i == 0 { &b } else { &a }, 1) };
    /// Low quadword twice.
    Movddup = |_a, b, i| u64 { if i < 2 { u64::get(&b, 0) } else { 0 } };
    /// Odd doublewords, each twice.
    Movshdup = |_a, b, i| u32 { u32::get(&b, i | 1) };
    /// Even doublewords, each twice.
    Movsldup = |_a, b, i| u32 { u32::get(&b, i & !1) };
    /// Bytes of `a` chosen by the low bits of each byte of `b`, zero where its top bit is set.
    Pshufb = |a, b, i| u8 { if b[i] & 0x80 != 0 { 0 } else { a[usize::from(b[i]) & (N - 1)] } };
    /// Doublewords of `a` chosen by the low two bits of each of `b` (VPERMILPS).
    Permilps = |a, b, i| u32 { u32::get(&a, (u32::get(&b, i) & 3) as usize) };
    /// Quadwords of `a` chosen by bit 1 of each of `b` (VPERMILPD).
    Permilpd = |a, b, i| u64 { u64::get(&a, (u64::get(&b, i) >> 1 & 1) as usize) };
}

controlled! {
    /// Four words of an MMX register by two-bit selectors.
    Pshufw = |_a, b, imm, i| u16 { u16::get(&b, imm >> (2 * i) & 3) };
    /// Four doublewords by two-bit selectors.
    Pshufd = |_a, b, imm, i| u32 { u32::get(&b, imm >> (2 * i) & 3) };
    /// The low four words by two-bit selectors, the others kept.
    Pshuflw = |_a, b, imm, i| u16 { u16::get(&b, if i < 4 { imm >> (2 * i) & 3 } else { i }) };
    /// The high four words by two-bit selectors, the others kept.
    Pshufhw = |_a, b, imm, i| u16 { u16::get(&b, if i < 4 { i } else { 4 + (imm >> (2 * (i - 4)) & 3) }) };
    /// Two doublewords of `a`, then two of `b`, by two-bit selectors.
    Shufps = |a, b, imm, i| u32 { u32::get(if i < 2 { &a } else { &b }, imm >> (2 * i) & 3) };
    /// A quadword of `a`, then one of `b`, by one-bit selectors.
    Shufpd = |a, b, imm, i| u64 { u64::get(if i == 0 { &a } else { &b }, imm >> i & 1) };
    /// The pair `a:b` (b low) moved down by `imm` bytes.
    Palignr = |a, b, imm, i| u8 {
        match i + imm { k if k < N => b[k], k if k < 2 * N => a[k - N], _ => 0 }
    };
    /// Quadwords of the source by one-bit selectors (VPERMILPD).
    PermilpdByImmediate = |_a, b, imm, i| u64 { u64::get(&b, imm >> i & 1) };
    /// Words of `b` where the control bit is set, else of `a`.
    Pblendw = |a, b, imm, i| u16 { u16::get(if imm >> i & 1 == 1 { &b } else { &a }, i) };
    /// Doublewords of `b` where the control bit is set, else of `a`.
    Blendps = |a, b, imm, i| u32 { u32::get(if imm >> i & 1 == 1 { &b } else { &a }, i) };
    /// Quadwords of `b` where the control bit is set, else of `a`.
    Blendpd = |a, b, imm, i| u64 { u64::get(if imm >> i & 1 == 1 { &b } else { &a }, i) };
    /// One doubleword of `b` (bits 7:6; the caller passes a memory operand in lane 0) into the lane of bits 5:4,
    /// then lanes zeroed by bits 3:0.
    Insertps = |a, b, imm, i| u32 {
        if imm >> i & 1 == 1 { 0 } else if i == imm >> 4 & 3 { u32::get(&b, imm >> 6) } else { u32::get(&a, i) }
    };
}

/// Lanes of `b` where the top bit of the same lane of `mask` is set, else of `a` (PBLENDVB, BLENDVPS, BLENDVPD).
#[inline]
pub fn blend_by_sign<T: Lane, const N: usize>(a: [u8; N], b: [u8; N], mask: [u8; N]) -> [u8; N] {
    lane::build::<T, N>(|i| T::get(if mask[(i + 1) * T::SIZE - 1] & 0x80 != 0 { &b } else { &a }, i))
}
