//! Lane arithmetic of MMX, SSE and AVX: pure functions from operand bits (and MXCSR) to result bits (and flags).
//!
//! Nothing here knows registers, memory or faults. A vector is `[u8; N]` in memory order: `N` = 8 for MMX,
//! 16 for SSE and for each half of what AVX works on. Floating point works on bit patterns in `u64`, so that no host rounding mode, NaN rule or
//! flush setting can leak in: the software path of [`float`] is the definition, and its host-arithmetic
//! shortcut is taken only where both provably agree.

pub mod aes;
pub mod approx;
pub mod float;
pub mod gfni;
pub mod int;
pub mod lane;
pub mod sha;
pub mod shift;
pub mod shuffle;
pub mod text;
pub mod widen;

/// An operation of destination and source vectors.
pub trait Binary {
    /// `a` is the destination's old value, `b` the source.
    fn apply<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N];
}

/// An operation of destination and source vectors under an immediate byte.
pub trait BinaryImm {
    /// `a` is the destination's old value, `b` the source, `imm` the instruction's control byte.
    fn apply<const N: usize>(a: [u8; N], b: [u8; N], imm: u8) -> [u8; N];
}
