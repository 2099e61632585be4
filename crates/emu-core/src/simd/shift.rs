//! Packed shifts [SDM-2B PSLLW/PSRAW/PSRLW...]. Counts are unsigned and not masked: one at or beyond the lane
//! width clears the lane, or fills it with the sign for arithmetic shifts.

use super::lane;

/// A shift of every lane (or of the whole vector) by one count.
pub trait Shift {
    /// `a` shifted by `count` bits, or bytes for PSLLDQ and PSRLDQ.
    fn shift<const N: usize>(a: [u8; N], count: u64) -> [u8; N];
}

macro_rules! shifts {
    ($($name:ident: $t:ty = |$a:ident, $n:ident| $e:expr;)*) => {$(
        #[doc = concat!("Lanes of ", stringify!($t), ": `", stringify!($e), "`.")]
        #[derive(Debug)]
        pub struct $name;
        impl Shift for $name {
            #[inline]
            fn shift<const N: usize>(a: [u8; N], count: u64) -> [u8; N] {
                let $n = count.min(64) as u32;
                lane::map::<$t, N>(a, |$a| $e)
            }
        }
    )*};
}

shifts! {
    Psllw: u16 = |a, n| a.checked_shl(n).unwrap_or(0);
    Pslld: u32 = |a, n| a.checked_shl(n).unwrap_or(0);
    Psllq: u64 = |a, n| a.checked_shl(n).unwrap_or(0);
    Psrlw: u16 = |a, n| a.checked_shr(n).unwrap_or(0);
    Psrld: u32 = |a, n| a.checked_shr(n).unwrap_or(0);
    Psrlq: u64 = |a, n| a.checked_shr(n).unwrap_or(0);
    Psraw: i16 = |a, n| a >> n.min(15);
    Psrad: i32 = |a, n| a >> n.min(31);
}

/// The vector as one integer.
#[inline(always)]
fn whole<const N: usize>(a: [u8; N]) -> u128 {
    a.iter().rev().fold(0, |v, byte| v << 8 | u128::from(*byte))
}

/// The low bytes of an integer as a vector. In line, as a call would want the vector's address, and cost the handler its
/// jump.
#[inline(always)]
fn bytes<const N: usize>(v: u128) -> [u8; N] {
    lane::build(|i| (v >> (8 * i)) as u8)
}

/// The whole vector moved towards its high end, in bytes.
#[derive(Debug)]
pub struct Pslldq;

impl Shift for Pslldq {
    #[inline]
    fn shift<const N: usize>(a: [u8; N], count: u64) -> [u8; N] {
        bytes(whole(a).checked_shl(8 * count.min(16) as u32).unwrap_or(0))
    }
}

/// The whole vector moved towards its low end, in bytes.
#[derive(Debug)]
pub struct Psrldq;

impl Shift for Psrldq {
    #[inline]
    fn shift<const N: usize>(a: [u8; N], count: u64) -> [u8; N] {
        bytes(whole(a).checked_shr(8 * count.min(16) as u32).unwrap_or(0))
    }
}
