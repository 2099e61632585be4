//! Addition, multiplication, division and square root in integers: the definition of the results.

use super::env::{Env, Rounding, ZE};
use super::format::{
    Format, Number, invalid, is_inf, is_nan, is_negative, is_zero, note_denormal, operand, propagate, sign_bit, unpack,
};
use super::round::{jam, normalize, pack};

/// a + b.
#[inline(never)]
pub fn add<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    let (a, b) = (operand::<F>(a, env), operand::<F>(b, env));
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate::<F>(a, b, env);
    }
    if is_inf::<F>(a) && is_inf::<F>(b) && a != b {
        return invalid::<F>(env);
    }
    note_denormal::<F>(a, env);
    note_denormal::<F>(b, env);
    match (is_inf::<F>(a), is_inf::<F>(b)) {
        (true, _) => a,
        (_, true) => b,
        _ => add_finite::<F>(unpack::<F>(a), unpack::<F>(b), env),
    }
}

/// a - b.
pub fn sub<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    // A NaN keeps its own sign, so only numbers are negated.
    let negated = if is_nan::<F>(b) { b } else { b ^ F::SIGN };
    add::<F>(a, negated, env)
}

fn add_finite<F: Format>(a: Number, b: Number, env: &mut Env) -> u64 {
    let sum = if a.significand == 0 || b.significand == 0 {
        match (a.significand, b.significand) {
            (0, 0) => Number { sign: if a.sign == b.sign { a.sign } else { zero_down(env) }, ..a },
            (0, _) => b,
            _ => a,
        }
    } else {
        add_nonzero(a, b, env)
    };
    if sum.significand == 0 { sign_bit::<F>(sum.sign) } else { pack::<F>(sum, env) }
}

/// Whether an exact zero sum of opposite signs is negative.
pub(super) fn zero_down(env: &Env) -> bool {
    env.rounding() == Rounding::Down
}

fn add_nonzero(a: Number, b: Number, env: &Env) -> Number {
    let (big, small) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
    // Bit 126 is the weight of 2^big.exponent: one bit of headroom above, 63 below the smaller significand's last.
    let x = u128::from(big.significand) << 63;
    let y = jam(u128::from(small.significand) << 63, (big.exponent - small.exponent) as u32);
    if a.sign == b.sign {
        return normalize(a.sign, big.exponent + 1, x + y);
    }
    match x.cmp(&y) {
        std::cmp::Ordering::Greater => normalize(big.sign, big.exponent + 1, x - y),
        std::cmp::Ordering::Less => normalize(small.sign, big.exponent + 1, y - x),
        std::cmp::Ordering::Equal => Number { sign: zero_down(env), exponent: 0, significand: 0 },
    }
}

/// a × b.
#[inline(never)]
pub fn mul<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    let (a, b) = (operand::<F>(a, env), operand::<F>(b, env));
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate::<F>(a, b, env);
    }
    let sign = sign_bit::<F>(is_negative::<F>(a) != is_negative::<F>(b));
    if is_inf::<F>(a) || is_inf::<F>(b) {
        if is_zero::<F>(a) || is_zero::<F>(b) {
            return invalid::<F>(env);
        }
        note_denormal::<F>(a, env);
        note_denormal::<F>(b, env);
        return sign | F::INF;
    }
    note_denormal::<F>(a, env);
    note_denormal::<F>(b, env);
    if is_zero::<F>(a) || is_zero::<F>(b) {
        return sign;
    }
    let (x, y) = (unpack::<F>(a), unpack::<F>(b));
    let product = u128::from(x.significand) * u128::from(y.significand);
    pack::<F>(normalize(sign != 0, x.exponent + y.exponent + 1, product), env)
}

/// a ÷ b.
#[inline(never)]
pub fn div<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    let (a, b) = (operand::<F>(a, env), operand::<F>(b, env));
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate::<F>(a, b, env);
    }
    let sign = sign_bit::<F>(is_negative::<F>(a) != is_negative::<F>(b));
    if is_inf::<F>(a) && is_inf::<F>(b) || is_zero::<F>(a) && is_zero::<F>(b) {
        return invalid::<F>(env);
    }
    // Division by zero comes before the dividend's being denormal [SDM-1 4.9.2].
    if is_zero::<F>(b) && !is_inf::<F>(a) {
        env.raise(ZE);
        return sign | F::INF;
    }
    note_denormal::<F>(a, env);
    note_denormal::<F>(b, env);
    if is_inf::<F>(a) {
        return sign | F::INF;
    }
    if is_inf::<F>(b) || is_zero::<F>(a) {
        return sign;
    }
    let (x, y) = (unpack::<F>(a), unpack::<F>(b));
    let (dividend, divisor) = (u128::from(x.significand) << 63, u128::from(y.significand));
    // 63 or 64 quotient bits, and the remainder as a sticky bit below them.
    let quotient = (dividend / divisor) << 1 | u128::from(dividend % divisor != 0);
    pack::<F>(normalize(sign != 0, x.exponent - y.exponent + 63, quotient), env)
}

/// The square root of a.
#[inline(never)]
pub fn sqrt<F: Format>(a: u64, env: &mut Env) -> u64 {
    let a = operand::<F>(a, env);
    if is_nan::<F>(a) {
        return propagate::<F>(a, a, env);
    }
    if is_zero::<F>(a) {
        return a;
    }
    if is_negative::<F>(a) {
        return invalid::<F>(env);
    }
    note_denormal::<F>(a, env);
    if is_inf::<F>(a) {
        return a;
    }
    let x = unpack::<F>(a);
    let odd = x.exponent & 1;
    let radicand = u128::from(x.significand) << (63 + odd);
    let root = radicand.isqrt();
    let jammed = root << 1 | u128::from(root * root != radicand);
    pack::<F>(normalize(false, (x.exponent - odd) / 2 + 63, jammed), env)
}
