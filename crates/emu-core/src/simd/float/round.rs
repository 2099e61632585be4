//! Rounding an exact (or sticky-jammed) result into a format [SDM-1 4.8.4, 4.9.1.4 to 4.9.1.6, 10.2.3.3].

use super::env::{Env, OE, PE, Rounding, UE};
use super::format::{Layout, Number, sign_bit};

/// `value` shifted right by `by`, with bit 0 set if any bit was lost.
#[inline(always)]
pub(super) fn jam(value: u128, by: u32) -> u128 {
    match by {
        0 => value,
        1..=127 => value >> by | u128::from(value << (128 - by) != 0),
        _ => u128::from(value != 0),
    }
}

/// `wide`·2^(`exponent` - 127) as a number with a 64-bit significand whose bit 0 is sticky.
#[inline(always)]
pub(super) fn normalize(sign: bool, exponent: i32, wide: u128) -> Number {
    if wide == 0 {
        return Number { sign, exponent: 0, significand: 0 };
    }
    let shift = wide.leading_zeros();
    let wide = wide << shift;
    let significand = (wide >> 64) as u64 | u64::from(wide as u64 != 0);
    Number { sign, exponent: exponent - shift as i32, significand }
}

/// Whether a magnitude is to be incremented: `rest` is what was cut off, `half` the weight of half a unit.
#[inline(always)]
pub(super) fn rounds_up(mode: Rounding, sign: bool, odd: bool, rest: u64, half: u64) -> bool {
    match mode {
        Rounding::Nearest => rest > half || rest == half && odd,
        Rounding::Down => sign && rest != 0,
        Rounding::Up => !sign && rest != 0,
        Rounding::Zero => false,
    }
}

/// Round the significand to the format's precision as if exponents had no bounds: (significand with the leading
/// bit at `FRAC`, carry into the exponent, inexact).
#[inline(always)]
fn round_unbounded<F: Layout>(n: Number, mode: Rounding) -> (u64, i32, bool) {
    let cut = 63 - F::FRAC;
    let (kept, rest) = (n.significand >> cut, n.significand & ((1 << cut) - 1));
    let up = rounds_up(mode, n.sign, kept & 1 == 1, rest, 1 << (cut - 1));
    let kept = kept + u64::from(up);
    let carry = kept >> (F::FRAC + 1);
    (kept >> carry, carry as i32, rest != 0)
}

/// The result of an operation as a bit pattern, raising OE, UE and PE. `n` must be nonzero.
#[inline]
pub(super) fn pack<F: Layout>(n: Number, env: &mut Env) -> u64 {
    let (kept, carry, inexact) = round_unbounded::<F>(n, env.rounding());
    let exponent = n.exponent + carry;
    // Tininess is detected after rounding.
    if exponent < F::EMIN {
        return tiny::<F>(n, inexact, env);
    }
    if inexact {
        env.raise(PE);
    }
    if exponent > F::EMAX {
        return overflow::<F>(n.sign, env);
    }
    sign_bit::<F>(n.sign) | ((exponent + F::EMAX) as u64) << F::FRAC | kept & (F::MIN_NORMAL - 1)
}

/// A result below the normal range. With underflow unmasked the instruction faults, and PE tells whether the
/// significand, at full precision, was inexact.
#[cold]
fn tiny<F: Layout>(n: Number, inexact: bool, env: &mut Env) -> u64 {
    if !env.masked(UE) {
        env.raise(if inexact { UE | PE } else { UE });
        return sign_bit::<F>(n.sign);
    }
    if env.flushes() {
        env.raise(UE | PE);
        return sign_bit::<F>(n.sign);
    }
    let shifted = jam(u128::from(n.significand), (F::EMIN - n.exponent) as u32) as u64;
    let cut = 63 - F::FRAC;
    let (kept, rest) = (shifted >> cut, shifted & ((1 << cut) - 1));
    if rest != 0 {
        env.raise(UE | PE);
    }
    let up = rounds_up(env.rounding(), n.sign, kept & 1 == 1, rest, 1 << (cut - 1));
    // A carry out of the fraction lands in the exponent field and makes the smallest normal number.
    sign_bit::<F>(n.sign) | (kept + u64::from(up))
}

#[cold]
fn overflow<F: Layout>(sign: bool, env: &mut Env) -> u64 {
    env.raise(OE);
    if env.masked(OE) {
        env.raise(PE);
    }
    let to_infinity = match env.rounding() {
        Rounding::Nearest => true,
        Rounding::Down => sign,
        Rounding::Up => !sign,
        Rounding::Zero => false,
    };
    sign_bit::<F>(sign) | if to_infinity { F::INF } else { F::INF - 1 }
}
