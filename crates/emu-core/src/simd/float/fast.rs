//! Host arithmetic where it provably gives what [`super::soft`] gives.
//!
//! Conditions: MXCSR is in its default mode (checked by the caller), no operand is denormal, infinite or a NaN, and
//! the result is a normal number above the smallest (or an exact zero). Then IEEE 754 fixes the bits, no exception
//! but PE is possible, and PE needs deciding only while it is not set already; each operation decides it from an
//! exact error term. `None` means: ask the software.

use std::cmp::Ordering;

use super::compare::{holds, order};
use super::env::{Env, PE, Rounding};
use super::format::{F32, F64, Format, is_denormal, is_nan, is_plain, is_zero};

/// Whether a nonzero host result is certainly neither tiny nor overflowed.
#[inline(always)]
pub(super) fn is_ordinary<F: Format>(r: u64) -> bool {
    (r & F::MAGNITUDE).wrapping_sub(F::MIN_NORMAL + 1) < F::INF - F::MIN_NORMAL - 1
}

/// Significand with the implicit bit; `a` must be normal.
#[inline(always)]
fn significand<F: Format>(a: u64) -> u64 {
    a & (F::MIN_NORMAL - 1) | F::MIN_NORMAL
}

/// Below a quarter of the largest number, so that no step of the error term can overflow.
#[inline(always)]
fn is_moderate<F: Format>(a: u64) -> bool {
    a & F::MAGNITUDE < F::INF - 2 * F::MIN_NORMAL
}

/// A host result, and whether IEEE 754 guarantees that it is right and raises nothing but PE.
type Answer = (u64, bool);

/// Neither is denormal. That they are finite needs no check: an ordinary result, or a zero where it is allowed, tells.
#[inline(always)]
fn neither_denormal<F: Format>(a: u64, b: u64) -> bool {
    !is_denormal::<F>(a) & !is_denormal::<F>(b)
}

/// a + b. A zero sum is exact, and its sign is as the host gives it.
#[inline(always)]
pub(super) fn try_add<F: Format>(a: u64, b: u64) -> Answer {
    let r = F::host_add(a, b);
    (r, neither_denormal::<F>(a, b) & (is_ordinary::<F>(r) | is_zero::<F>(r)))
}

/// a - b. A NaN is not plain, so that its sign does not matter.
#[inline(always)]
pub(super) fn try_sub<F: Format>(a: u64, b: u64) -> Answer {
    try_add::<F>(a, b ^ F::SIGN)
}

/// a × b.
#[inline(always)]
pub(super) fn try_mul<F: Format>(a: u64, b: u64) -> Answer {
    let r = F::host_mul(a, b);
    let right = if is_ordinary::<F>(r) {
        true
    } else {
        std::hint::cold_path();
        is_zero::<F>(r) & (is_zero::<F>(a) | is_zero::<F>(b))
    };
    (r, neither_denormal::<F>(a, b) & right)
}

/// a ÷ b.
#[inline(always)]
pub(super) fn try_div<F: Format>(a: u64, b: u64) -> Answer {
    let r = F::host_div(a, b);
    (r, neither_denormal::<F>(a, b) & is_ordinary::<F>(r))
}

/// The square root of b.
#[inline(always)]
pub(super) fn try_sqrt<F: Format>(_a: u64, b: u64) -> Answer {
    let r = F::host_sqrt(b);
    (r, !is_denormal::<F>(b) & is_ordinary::<F>(r))
}

/// How two operands relate, if neither is a NaN or denormal.
#[inline(always)]
pub(crate) fn try_relate<F: Format>(a: u64, b: u64) -> (Ordering, bool) {
    let numbers = !is_nan::<F>(a) & !is_nan::<F>(b);
    (order::<F>(a, b), numbers & neither_denormal::<F>(a, b))
}

/// The lesser operand; `b` if they are equal.
#[inline(always)]
pub(super) fn try_min<F: Format>(a: u64, b: u64) -> Answer {
    let (relation, right) = try_relate::<F>(a, b);
    (if relation == Ordering::Less { a } else { b }, right)
}

/// The greater operand; `b` if they are equal.
#[inline(always)]
pub(super) fn try_max<F: Format>(a: u64, b: u64) -> Answer {
    let (relation, right) = try_relate::<F>(a, b);
    (if relation == Ordering::Greater { a } else { b }, right)
}

/// CMPPS and its kin, of numbers.
#[inline(always)]
pub(super) fn try_compare<F: Format>(a: u64, b: u64, imm: u8) -> Answer {
    try_compare_vex::<F>(a, b, imm & 7)
}

/// VCMPPS and its kin, of numbers.
#[inline(always)]
pub(super) fn try_compare_vex<F: Format>(a: u64, b: u64, imm: u8) -> Answer {
    let (relation, right) = try_relate::<F>(a, b);
    (if holds(imm, Some(relation)) { F::SIGN | F::MAGNITUDE } else { 0 }, right)
}

/// ROUNDPS and its kin, of numbers and zeros.
#[inline(always)]
pub(super) fn try_round<F: Format>(_a: u64, b: u64, imm: u8) -> Answer {
    (F::host_round(b, Rounding::from_bits(if imm & 4 != 0 { 0 } else { imm.into() })), is_plain::<F>(b))
}

/// The nearest integer, if it certainly fits a signed integer of `bits`.
#[inline(always)]
pub(crate) fn try_to_int<F: Format>(a: u64, bits: u32) -> (i64, bool) {
    let (v, fits) = try_truncate::<F>(F::host_round(a, Rounding::Nearest), bits);
    (v, fits & !is_denormal::<F>(a))
}

/// A single as a double.
#[inline(always)]
pub(super) fn try_widen(a: u64) -> Answer {
    (f64::from(f32::from_bits(a as u32)).to_bits(), is_plain::<F32>(a))
}

/// A double as a single.
#[inline(always)]
pub(super) fn try_narrow(a: u64) -> Answer {
    let r = u64::from((f64::from_bits(a) as f32).to_bits());
    (r, is_plain::<F64>(a) & is_ordinary::<F32>(r))
}

/// The integer part, if it certainly fits a signed integer of `bits`.
#[inline(always)]
pub(crate) fn try_truncate<F: Format>(a: u64, bits: u32) -> (i64, bool) {
    let limit = ((F::EMAX as u64 + u64::from(bits) - 1) << F::FRAC) - 1;
    (F::host_truncate(a), !is_denormal::<F>(a) & (a & F::MAGNITUDE <= limit))
}

/// a + b.
#[inline(always)]
pub(super) fn add<F: Format>(a: u64, b: u64, env: &mut Env) -> Option<u64> {
    let (r, right) = try_add::<F>(a, b);
    if !right {
        return None;
    }
    if !env.inexact_known() {
        if !(is_moderate::<F>(a) && is_moderate::<F>(b)) {
            return None;
        }
        // Knuth's two-sum: the rounding error of an addition, exactly.
        let minus = |x: u64, y: u64| F::host_add(x, y ^ F::SIGN);
        let b_part = minus(r, a);
        let error = F::host_add(minus(a, minus(r, b_part)), minus(b, b_part));
        if !is_zero::<F>(error) {
            env.raise(PE);
        }
    }
    Some(r)
}

/// a × b.
#[inline(always)]
pub(super) fn mul<F: Format>(a: u64, b: u64, env: &mut Env) -> Option<u64> {
    let (r, right) = try_mul::<F>(a, b);
    if !right {
        return None;
    }
    if !env.inexact_known() && !is_zero::<F>(r) {
        // Exact if the product of the significands, of 2·FRAC+1 or +2 bits, fits into FRAC+1.
        let product = u128::from(significand::<F>(a)) * u128::from(significand::<F>(b));
        if product.trailing_zeros() < 127 - product.leading_zeros() - F::FRAC {
            env.raise(PE);
        }
    }
    Some(r)
}

/// a ÷ b.
#[inline(always)]
pub(super) fn div<F: Format>(a: u64, b: u64, env: &mut Env) -> Option<u64> {
    let (r, right) = try_div::<F>(a, b);
    if !right {
        return None;
    }
    if !env.inexact_known() {
        // Exact if quotient × divisor is the dividend.
        let product = u128::from(significand::<F>(r)) * u128::from(significand::<F>(b));
        if !matches_significand::<F>(product, a) {
            env.raise(PE);
        }
    }
    Some(r)
}

/// The square root of a.
#[inline(always)]
pub(super) fn sqrt<F: Format>(a: u64, env: &mut Env) -> Option<u64> {
    let (r, right) = try_sqrt::<F>(a, a);
    if !right {
        return None;
    }
    if !env.inexact_known() {
        let product = u128::from(significand::<F>(r)) * u128::from(significand::<F>(r));
        if !matches_significand::<F>(product, a) {
            env.raise(PE);
        }
    }
    Some(r)
}

/// Whether a product of two significands is that of `a`, which an exact result makes it up to a power of two.
#[inline(always)]
fn matches_significand<F: Format>(product: u128, a: u64) -> bool {
    let aligned = u128::from(significand::<F>(a)) << F::FRAC;
    product == aligned || product == aligned << 1
}
