//! Comparisons, minimum and maximum [SDM-2A CMPPS, COMISS, UCOMISS; SDM-2B MAXPS, MINPS].

use std::cmp::Ordering;

use super::env::{Env, IE};
use super::format::{Format, is_nan, is_negative, is_signaling, note_denormal, operand};

/// How two operands relate; `None` is unordered. Raises IE for a NaN (a quiet one only if `signals`), DE for
/// denormals otherwise.
#[inline]
pub fn relate<F: Format>(a: u64, b: u64, signals: bool, env: &mut Env) -> Option<Ordering> {
    let (a, b) = (operand::<F>(a, env), operand::<F>(b, env));
    if is_nan::<F>(a) || is_nan::<F>(b) {
        if signals || is_signaling::<F>(a) || is_signaling::<F>(b) {
            env.raise(IE);
        }
        return None;
    }
    note_denormal::<F>(a, env);
    note_denormal::<F>(b, env);
    Some(order::<F>(a, b))
}

/// Order of two numbers, both zeros being equal.
#[inline(always)]
pub(super) fn order<F: Format>(a: u64, b: u64) -> Ordering {
    // As signed integers, sign-magnitude patterns turn into two's complement; both zeros into 0.
    let key = |x: u64| {
        let magnitude = (x & F::MAGNITUDE) as i64;
        if is_negative::<F>(x) { -magnitude } else { magnitude }
    };
    key(a).cmp(&key(b))
}

/// One bit per relation, as the predicate tables use them.
const LT: u8 = 1;
const EQ: u8 = 2;
const GT: u8 = 4;
const UN: u8 = 8;

/// Relations for which each predicate holds; predicates 8..=15 are VEX only, 16..=31 repeat them with the other
/// signalling behaviour [SDM-2A table 3-1].
const HOLDS: [u8; 16] = [
    EQ,
    LT,
    LT | EQ,
    UN,
    LT | GT | UN,
    EQ | GT | UN,
    GT | UN,
    LT | EQ | GT,
    EQ | UN,
    LT | UN,
    LT | EQ | UN,
    0,
    LT | GT,
    EQ | GT,
    GT,
    LT | EQ | GT | UN,
];

/// Predicates of 0..=15 that raise IE for quiet NaNs, one bit each: LT, LE, NLT, NLE, NGE, NGT, GE, GT.
const SIGNALS: u32 = 0b0110_0110_0110_0110;

/// Whether predicate `imm` (5 bits) holds of operands that relate so.
#[inline(always)]
pub(super) fn holds(imm: u8, relation: Option<Ordering>) -> bool {
    let relation = match relation {
        Some(Ordering::Less) => LT,
        Some(Ordering::Equal) => EQ,
        Some(Ordering::Greater) => GT,
        None => UN,
    };
    HOLDS[usize::from(imm & 15)] & relation != 0
}

/// The mask that CMPPS and its kin give: all ones where predicate `imm` (5 bits) holds, else 0.
#[inline]
pub fn predicate<F: Format>(a: u64, b: u64, imm: u8, env: &mut Env) -> u64 {
    let signals = (SIGNALS >> (imm & 15) & 1 != 0) != (imm & 16 != 0);
    if holds(imm, relate::<F>(a, b, signals, env)) { F::SIGN | F::MAGNITUDE } else { 0 }
}

/// The source `b` unless `a` is strictly on the wanted side. NaNs and equal zeros give `b` as it is.
#[inline(always)]
fn select<F: Format>(a: u64, b: u64, wanted: Ordering, env: &mut Env) -> u64 {
    let (a, b) = (operand::<F>(a, env), operand::<F>(b, env));
    if is_nan::<F>(a) || is_nan::<F>(b) {
        env.raise(IE);
        return b;
    }
    note_denormal::<F>(a, env);
    note_denormal::<F>(b, env);
    if order::<F>(a, b) == wanted { a } else { b }
}

/// MINPS and its kin.
#[inline]
pub fn min<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    select::<F>(a, b, Ordering::Less, env)
}

/// MAXPS and its kin.
#[inline]
pub fn max<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    select::<F>(a, b, Ordering::Greater, env)
}

/// EFLAGS bits that COMISS and UCOMISS set: (ZF, PF, CF) [SDM-2A COMISS].
#[inline]
pub fn comparison_flags(relation: Option<Ordering>) -> (bool, bool, bool) {
    match relation {
        None => (true, true, true),
        Some(Ordering::Greater) => (false, false, false),
        Some(Ordering::Less) => (false, false, true),
        Some(Ordering::Equal) => (true, false, false),
    }
}
