//! Add, subtract, multiply, divide and square root [SDM-1 8.3.5].
//!
//! Each has a straight path for two normal numbers and a cold one for everything else. The order of precedence of
//! exceptions is that of [SDM-1 8.5]: NaNs and invalid operands, invalid operations and division by zero,
//! denormal operands, and last what rounding finds.

use super::f80::{Class, F80, SIGN};
use super::nan;
use super::round::{Ctl, Mode, Out, ZE, round};

/// `a + b`
#[inline]
pub fn add(a: F80, b: F80, ctl: Ctl) -> Out {
    if a.is_normal() & b.is_normal() & (ctl.pre == 0) {
        return add_finite(a.unpack(), b.unpack(), ctl);
    }
    add_special(a, b, 0, ctl)
}

/// `a - b`
#[inline]
pub fn sub(a: F80, b: F80, ctl: Ctl) -> Out {
    if a.is_normal() & b.is_normal() & (ctl.pre == 0) {
        return add_finite(a.unpack(), b.negate().unpack(), ctl);
    }
    add_special(a, b, SIGN, ctl)
}

/// `b - a`
#[inline]
pub fn subr(a: F80, b: F80, ctl: Ctl) -> Out {
    sub(b, a, ctl)
}

/// `a × b`
#[inline]
pub fn mul(a: F80, b: F80, ctl: Ctl) -> Out {
    if a.is_normal() & b.is_normal() & (ctl.pre == 0) {
        return mul_finite(a.unpack(), b.unpack(), ctl);
    }
    mul_special(a, b, ctl)
}

/// `a / b`
#[inline]
pub fn div(a: F80, b: F80, ctl: Ctl) -> Out {
    if a.is_normal() & b.is_normal() & (ctl.pre == 0) {
        return div_finite(a.unpack(), b.unpack(), ctl);
    }
    div_special(a, b, ctl)
}

/// `b / a`
#[inline]
pub fn divr(a: F80, b: F80, ctl: Ctl) -> Out {
    div(b, a, ctl)
}

/// `a + b`, as a type.
pub(crate) struct Add;
/// `a - b`, as a type.
pub(crate) struct Sub;
/// `b - a`, as a type.
pub(crate) struct SubR;
/// `a × b`, as a type.
pub(crate) struct Mul;
/// `a / b`, as a type.
pub(crate) struct Div;
/// `b / a`, as a type.
pub(crate) struct DivR;

type Unpacked = (u16, i32, u64);

#[inline]
fn add_finite(a: Unpacked, b: Unpacked, ctl: Ctl) -> Out {
    let swap = (a.1 < b.1) | ((a.1 == b.1) & (a.2 < b.2));
    let pick = |x: Unpacked, y: Unpacked| {
        (if swap { y.0 } else { x.0 }, if swap { y.1 } else { x.1 }, if swap { y.2 } else { x.2 })
    };
    let ((sa, ea, ma), (sb, eb, mb)) = (pick(a, b), pick(b, a));
    let (hi, lo) = aligned(mb, (ea - eb) as u32);
    if sa == sb {
        let (sum, carry) = ma.overflowing_add(hi);
        if carry {
            let lo = sum << 63 | lo >> 1 | lo & 1;
            return round(ctl, sa, ea + 1, sum >> 1 | 1 << 63, lo);
        }
        return round(ctl, sa, ea, sum, lo);
    }
    let difference = (u128::from(ma) << 64).wrapping_sub(u128::from(hi) << 64 | u128::from(lo));
    if difference == 0 {
        return Out::exact(cancelled(ctl));
    }
    let shift = difference.leading_zeros();
    let difference = difference << shift;
    round(ctl, sa, ea - shift as i32, (difference >> 64) as u64, difference as u64)
}

/// `m` shifted right by `n`: the upper word, and the lower one with a sticky lowest bit.
#[inline]
fn aligned(m: u64, n: u32) -> (u64, u64) {
    match n {
        0 => (m, 0),
        1..=63 => (m >> n, m << (64 - n)),
        64 => (0, m),
        65..=127 => (0, m >> (n - 64) | u64::from(m << (128 - n) != 0)),
        _ => (0, 1),
    }
}

/// The zero that is left when equal magnitudes cancel.
#[inline]
fn cancelled(ctl: Ctl) -> F80 {
    F80::zero(if ctl.mode() == Mode::Down { SIGN } else { 0 })
}

#[inline]
fn mul_finite((sa, ea, ma): Unpacked, (sb, eb, mb): Unpacked, ctl: Ctl) -> Out {
    let product = u128::from(ma) * u128::from(mb);
    let top = (product >> 127) as u32;
    let product = product << (1 - top);
    round(ctl, sa ^ sb, ea + eb - 16383 + top as i32, (product >> 64) as u64, product as u64)
}

#[inline]
fn div_finite((sa, ea, ma): Unpacked, (sb, eb, mb): Unpacked, ctl: Ctl) -> Out {
    let (q, lo) = quotient(ma, mb);
    round(ctl, sa ^ sb, ea - eb + 16383 - i32::from(ma < mb), q, lo)
}

/// Quotient of two significands, with its top bit set, and what is below it as far as rounding needs it: nothing, less than
/// one half, one half, or more.
#[inline(never)]
pub(super) fn quotient(ma: u64, mb: u64) -> (u64, u64) {
    let (q, rest) = div_128_64(ma, mb, ma < mb);
    let other = mb - rest;
    (q, u64::from(rest >= other) << 63 | u64::from((rest != 0) & (rest != other)))
}

/// Quotient with its top bit set and remainder of `ma << 63` (or `<< 64` if `ma < mb`) by `mb`, whose top bits are
/// set.
#[inline]
fn div_128_64(ma: u64, mb: u64, smaller: bool) -> (u64, u64) {
    let n = u128::from(ma) << (63 + u32::from(smaller));
    let d = u128::from(mb);
    let q = n / d;
    (q as u64, (n - q * d) as u64)
}

/// Square root of `a`.
#[inline]
pub fn sqrt(a: F80, ctl: Ctl) -> Out {
    let class = a.class();
    if let Some(out) = nan::one(a, class, ctl) {
        return out;
    }
    if class == Class::Zero {
        return Out::exact(a);
    }
    if a.sign() != 0 {
        return Out::INVALID;
    }
    if class == Class::Infinity {
        return if ctl.projective() { Out::INVALID } else { Out::exact(a) };
    }
    let pre = nan::denormal(class, class);
    if !ctl.masked(pre) {
        return Out::with(a, pre);
    }
    let (_, e, m) = a.unpack();
    // value = m·2^(e-16383-63); an odd exponent moves one bit into the radicand.
    let odd = (e - 16383) & 1;
    let (root, lo) = root(m, odd as u32);
    with_flags(round(ctl, 0, (e - 16383 - odd) / 2 + 16383, root, lo), pre)
}

/// Square root of a significand, with another bit before its point if `odd` is 1, and what is below it as for [`quotient`].
#[inline(never)]
pub(super) fn root(m: u64, odd: u32) -> (u64, u64) {
    let n = u128::from(m) << 63 << odd;
    let (mut root, mut rest) = near_root(n, m, odd);
    while rest < 0 {
        rest += 2 * i128::from(root) - 1;
        root -= 1;
    }
    while rest > 2 * i128::from(root) {
        rest -= 2 * i128::from(root) + 1;
        root += 1;
    }
    (root, u64::from(rest > i128::from(root)) << 63 | u64::from(rest != 0))
}

/// The integer square root of `n`, which is `m << (63 + odd)`, or nearly that, and `n` less its square. The host's is where
/// the search begins, and decides nothing.
#[inline]
fn near_root(n: u128, m: u64, odd: u32) -> (u64, i128) {
    // From 1 to 4, without the bits that a double has no room for; its root is below 2.
    let above = f64::from_bits(u64::from(1023 + odd) << 52 | m << 1 >> 12).sqrt();
    // Never too large: rounding adds half of the last of 53 bits at the most.
    let near = (above.to_bits() << 11 | 1 << 63).wrapping_sub(1 << 11);
    // One step of Newton's method: the rest by twice the root, both without 32 bits.
    let rest = n.wrapping_sub(u128::from(near) * u128::from(near));
    let root = near.wrapping_add((rest >> 32) as u64 / (near >> 31));
    (root, n.wrapping_sub(u128::from(root) * u128::from(root)) as i128)
}

#[inline]
fn with_flags(out: Out, flags: u16) -> Out {
    Out { value: out.value, flags: out.flags | flags }
}

#[cold]
#[inline(never)]
fn add_special(a: F80, b: F80, flip: u16, ctl: Ctl) -> Out {
    let (ca, cb) = (a.class(), b.class());
    if let Some(out) = nan::two(a, b, ca, cb, ctl) {
        return out;
    }
    let b = F80::new(b.sign_exp ^ flip, b.sig);
    if ca == Class::Infinity && cb == Class::Infinity && (a.sign() != b.sign() || ctl.projective()) {
        return Out::INVALID;
    }
    let pre = nan::denormal(ca, cb) | ctl.pre;
    if !ctl.masked(pre) {
        return Out::with(a, pre);
    }
    let out = match (ca, cb) {
        (Class::Infinity, _) => Out::exact(a),
        (_, Class::Infinity) => Out::exact(b),
        (Class::Zero, Class::Zero) if a.sign() == b.sign() => Out::exact(a),
        (Class::Zero, Class::Zero) => Out::exact(cancelled(ctl)),
        (Class::Zero, _) => renormalised(b, ctl),
        (_, Class::Zero) => renormalised(a, ctl),
        _ => add_finite(a.unpack(), b.unpack(), ctl),
    };
    with_flags(out, pre)
}

/// A finite non-zero number, rounded to the current precision.
#[inline]
pub(crate) fn renormalised(a: F80, ctl: Ctl) -> Out {
    let (s, e, m) = a.unpack();
    round(ctl, s, e, m, 0)
}

#[cold]
#[inline(never)]
fn mul_special(a: F80, b: F80, ctl: Ctl) -> Out {
    let (ca, cb) = (a.class(), b.class());
    if let Some(out) = nan::two(a, b, ca, cb, ctl) {
        return out;
    }
    let sign = a.sign() ^ b.sign();
    let infinite = ca == Class::Infinity || cb == Class::Infinity;
    let zero = ca == Class::Zero || cb == Class::Zero;
    if infinite && zero {
        return Out::INVALID;
    }
    let pre = nan::denormal(ca, cb) | ctl.pre;
    if !ctl.masked(pre) {
        return Out::with(a, pre);
    }
    let out = if infinite {
        Out::exact(F80::infinity(sign))
    } else if zero {
        Out::exact(F80::zero(sign))
    } else {
        mul_finite(a.unpack(), b.unpack(), ctl)
    };
    with_flags(out, pre)
}

#[cold]
#[inline(never)]
fn div_special(a: F80, b: F80, ctl: Ctl) -> Out {
    let (ca, cb) = (a.class(), b.class());
    if let Some(out) = nan::two(a, b, ca, cb, ctl) {
        return out;
    }
    let sign = a.sign() ^ b.sign();
    match (ca, cb) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => return Out::INVALID,
        (Class::Normal | Class::Denormal, Class::Zero) => return Out::with(F80::infinity(sign), ZE),
        _ => {}
    }
    let pre = nan::denormal(ca, cb) | ctl.pre;
    if !ctl.masked(pre) {
        return Out::with(a, pre);
    }
    let out = match (ca, cb) {
        (Class::Infinity, _) => Out::exact(F80::infinity(sign)),
        (Class::Zero, _) | (_, Class::Infinity) => Out::exact(F80::zero(sign)),
        _ => div_finite(a.unpack(), b.unpack(), ctl),
    };
    with_flags(out, pre)
}
