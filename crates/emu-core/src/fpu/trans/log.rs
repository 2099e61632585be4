//! FYL2X and FYL2XP1 [SDM-2A].

use super::super::arith;
use super::super::f80::{Class, F80, SIGN};
use super::super::int::from_int;
use super::super::nan;
use super::super::round::{Ctl, Out, PE, ZE};
use super::finish;
use super::tables::{LOG2_E, LOG2_E_67, LOG2_SIXTEENTHS};
use super::wide::{ONE, Terms, Wide, odd_reciprocals};

/// FYL2X: `y × log2(x)`.
pub fn yl2x(y: F80, x: F80, ctl: Ctl) -> Out {
    let (cy, cx) = (y.class(), x.class());
    if let Some(out) = nan::two(x, y, cx, cy, ctl) {
        return out;
    }
    let is_one = x == F80::ONE;
    if cx == Class::Zero {
        return log_of_zero(y, cy);
    }
    if x.sign() != 0 || (cx == Class::Infinity && cy == Class::Zero) || (is_one && cy == Class::Infinity) {
        return Out::INVALID;
    }
    let pre = nan::denormal(cx, cy);
    if !ctl.masked(pre) {
        return Out::with(x, pre);
    }
    let below_one = if x.exp() < 0x3fff { SIGN } else { 0 };
    let sign = y.sign() ^ below_one;
    if cx == Class::Infinity || cy == Class::Infinity {
        return Out::with(F80::infinity(sign), pre);
    }
    if is_one || cy == Class::Zero {
        return Out::with(F80::zero(sign), pre);
    }
    let (_, e, m) = x.unpack();
    if m == F80::ONE.sig {
        return power_of_two(y, e - 16383, ctl, pre);
    }
    let (negative, log) = log2(e - 16383, u128::from(m) << 63);
    times_y(y, negative, log, ctl, pre)
}

fn log_of_zero(y: F80, cy: Class) -> Out {
    let infinity = F80::infinity(y.sign() ^ SIGN);
    match cy {
        Class::Zero => Out::INVALID,
        Class::Infinity => Out::exact(infinity),
        _ => Out::with(infinity, ZE),
    }
}

/// `y × e`. Silicon calls even this inexact, and comes to a negative logarithm from above, so that what its internal
/// format keeps is the next number towards zero.
fn power_of_two(y: F80, e: i32, ctl: Ctl, pre: u16) -> Out {
    if e > 0 {
        let out = arith::mul(from_int(i64::from(e)), y, ctl.full_precision());
        return Out::with(out.value, out.flags | pre | PE);
    }
    let magnitude = (u128::from(e.unsigned_abs()) << 112) - 1;
    Wide::from_fixed(magnitude, 112).map_or(Out::exact(y), |log| times_y(y, true, log, ctl, pre))
}

fn times_y(y: F80, negative: bool, log: Wide, ctl: Ctl, pre: u16) -> Out {
    let (sign, e, m) = y.unpack();
    let sign = sign ^ if negative { SIGN } else { 0 };
    finish(ctl, sign, log.internal().mul(Wide::from_parts(e, m)), pre)
}

/// FYL2XP1: `y × log2(x + 1)`. The architecture defines it for |x| below 1 - sqrt(1/2).
pub fn yl2xp1(y: F80, x: F80, ctl: Ctl) -> Out {
    let (cy, cx) = (y.class(), x.class());
    if let Some(out) = nan::two(x, y, cx, cy, ctl) {
        return out;
    }
    let undefined = x.sign() != 0 && x.exp() >= 0x3fff;
    let infinity_and_zero = matches!((cx, cy), (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity));
    if infinity_and_zero || (undefined && cx == Class::Infinity) {
        return Out::INVALID;
    }
    let pre = nan::denormal(cx, cy);
    if !ctl.masked(pre) {
        return Out::with(x, pre);
    }
    let sign = y.sign() ^ x.sign();
    if cx == Class::Infinity || cy == Class::Infinity {
        return Out::with(F80::infinity(sign), pre);
    }
    if cx == Class::Zero || cy == Class::Zero {
        return Out::with(F80::zero(sign), pre);
    }
    if undefined {
        return Out::with(x, pre | PE);
    }
    let (_, e, m) = x.unpack();
    let log = log2_of_one_plus(x.sign() != 0, e - 16383, m);
    times_y(y, x.sign() != 0, log, ctl, pre)
}

/// `|log2(1 ± m × 2^(e-63))|`.
fn log2_of_one_plus(negative: bool, e: i32, m: u64) -> Wide {
    let x = Wide::from_parts(e + 16383, m);
    if e < -5 {
        // Silicon's results are those of a natural logarithm kept in an internal register, times a constant of 67 bits.
        return small_ln_of_one_plus(negative, e, x).internal().mul(Wide { exp: 0, sig: LOG2_E_67 << 61 });
    }
    if e > 60 {
        return log2(e, u128::from(m) << 63).1;
    }
    let fraction_bits = if e < 0 { 126 } else { 125 - e };
    let (one, fixed) = (1u128 << fraction_bits, x.to_fixed(fraction_bits));
    let sum = if negative { one - fixed } else { one + fixed };
    Wide::from_fixed(sum, fraction_bits).map_or(x, |w| log2(w.exp, w.sig >> 1).1)
}

/// `|ln(1 ± x)|` for x below 2^-5: `2 atanh(x / (2 ± x))`, by which no digit of a small x is lost.
fn small_ln_of_one_plus(negative: bool, e: i32, x: Wide) -> Wide {
    if e < -64 {
        return x;
    }
    let fixed = x.to_fixed(126);
    let sum = if negative { 2 * ONE - fixed } else { 2 * ONE + fixed };
    let half = Wide::from_fixed(sum, 126).map_or(x, |sum| atanh(x.div(sum)));
    Wide { exp: half.exp + 1, sig: half.sig }
}

/// `log2(m × 2^e)` as sign and magnitude; `m` in [1, 2) with 126 fraction bits. Not for exactly 1.
fn log2(e: i32, m: u128) -> (bool, Wide) {
    let (e, v) = if m >= ONE + ONE / 2 { (e + 1, m >> 1) } else { (e, m) };
    // The nearest sixteenth c: log2(v) = log2(c) + 2 atanh((v-c)/(v+c)) / ln 2, with a quotient below 1/47.
    let k = (v + (1 << 121)) >> 122;
    let c = k << 122;
    let tail = Wide::from_fixed(v.abs_diff(c), 126)
        .zip(Wide::from_fixed(v + c, 126))
        .map(|(difference, sum)| log2_tail(difference.div(sum)));
    if let (0, 16, Some(tail)) = (e, k, tail) {
        return (v < c, tail);
    }
    let tail = tail.map_or(0, |t| t.to_fixed(112) as i128);
    let table = LOG2_SIXTEENTHS.get((k as usize).wrapping_sub(12)).copied().unwrap_or(0) >> 14;
    let sum = (i128::from(e) << 112) + table + if v < c { -tail } else { tail };
    let magnitude = Wide::from_fixed(sum.unsigned_abs(), 112).unwrap_or(Wide { exp: -112, sig: 1 << 127 });
    (sum < 0, magnitude)
}

/// `2 atanh(s) / ln 2` for s up to 1/47.
fn log2_tail(s: Wide) -> Wide {
    Wide::from_fixed(LOG2_E, 125).map_or(s, |twice_log2_e| atanh(s).mul(twice_log2_e))
}

/// `atanh(s)` for s up to 1/47.
fn atanh(s: Wide) -> Wide {
    let series = odd_reciprocals(s.mul(s).to_fixed(128), 12, Terms::Same);
    Wide::from_fixed(series, 126).map_or(s, |p| s.mul(p))
}
