//! FSIN, FCOS, FSINCOS and FPTAN [SDM-1 8.3.7, 8.3.8].
//!
//! Arguments are reduced by the 66-bit pi of the architecture, exactly: an argument below 2^63 is a multiple of
//! 2^-65 that fits 128 bits, and so is that pi.

use super::super::arith;
use super::super::compare::C2;
use super::super::f80::{Class, F80, SIGN};
use super::super::nan;
use super::super::round::{C1, Ctl, DE, Out, PE, UE};
use super::finish;
use super::tables::PI_66;
use super::wide::{Terms, Wide, nested};

/// An argument as `quadrant × pi/2 ± rest`, `rest` at most pi/4.
struct Reduced {
    quadrant: u128,
    /// The sign of the rest, 0 or 0x8000.
    sign: u16,
    rest: Wide,
}

/// What can be said without computing.
enum Argument {
    /// NaNs, infinities, an unmasked DE, and arguments of 2^63 and more, which set C2 and change nothing.
    Done(Out),
    /// ±0
    Zero,
    /// Below 2^-68 the argument is its own sine and tangent, whatever the rounding mode, and its cosine is 1. With
    /// PE, and UE if it is tiny.
    Tiny(Out),
    /// A number to compute with, and DE if it is a denormal. The sign of the argument is in the sign of `rest` and
    /// the quadrant.
    Number(Reduced, u16),
}

fn classify(a: F80, ctl: Ctl) -> Argument {
    let class = a.class();
    if let Some(out) = nan::one(a, class, ctl) {
        return Argument::Done(out);
    }
    match class {
        Class::Zero => return Argument::Zero,
        Class::Infinity => return Argument::Done(Out::INVALID),
        _ => {}
    }
    let pre = nan::denormal(class, class);
    if !ctl.masked(pre) {
        return Argument::Done(Out::with(a, pre));
    }
    if i32::from(a.exp()) - 16383 >= 63 {
        return Argument::Done(Out::with(a, C2));
    }
    if a.exp() < TINY {
        return Argument::Tiny(itself(a, pre, ctl));
    }
    Argument::Number(reduce(a), pre)
}

/// The biased exponent of 2^-68.
const TINY: u16 = 16383 - 68;

/// A non-zero number as an inexact result.
fn itself(a: F80, pre: u16, ctl: Ctl) -> Out {
    let out = arith::renormalised(a, ctl.full_precision());
    let underflow = if a.sig >> 63 == 0 { UE } else { 0 };
    Out::with(out.value, out.flags | pre | PE | underflow)
}

fn reduce(a: F80) -> Reduced {
    let (sign, biased, sig) = a.unpack();
    let exp = biased - 16383;
    if exp < -1 {
        return Reduced { quadrant: 0, sign, rest: Wide::from_parts(biased, sig) };
    }
    let n = u128::from(sig) << (exp + 2);
    let (mut quadrant, mut rest, mut sign_of_rest) = (n / PI_66, n % PI_66, sign);
    if rest * 2 > PI_66 {
        rest = PI_66 - rest;
        quadrant += 1;
        sign_of_rest ^= SIGN;
    }
    // Seen from zero, a negative argument goes round the other way.
    let quadrant = if sign != 0 { quadrant.wrapping_neg() } else { quadrant };
    // The rest is never 0: PI_66 is odd and longer than any significand.
    let rest = Wide::from_fixed(rest, 65).unwrap_or(Wide { exp: -65, sig: 1 << 127 });
    Reduced { quadrant: quadrant & 3, sign: sign_of_rest, rest }
}

/// sin of a reduced rest.
fn kernel_sin(r: Wide) -> Wide {
    let z = r.mul(r).to_fixed(128);
    let p = nested(z, 16, Terms::Alternating, |k| 2 * k * (2 * k + 1));
    Wide::from_fixed(p, 126).map_or(r, |p| r.mul(p))
}

/// cos of a reduced rest.
fn kernel_cos(r: Wide) -> Wide {
    let z = r.mul(r).to_fixed(128);
    let p = nested(z, 16, Terms::Alternating, |k| 2 * k * (2 * k - 1));
    Wide::from_fixed(p, 126).unwrap_or(Wide { exp: 0, sig: 1 << 127 })
}

fn sin_of(r: &Reduced, ctl: Ctl, pre: u16) -> Out {
    let turned = if r.quadrant & 2 != 0 { SIGN } else { 0 };
    if r.quadrant & 1 != 0 {
        return finish(ctl, turned, kernel_cos(r.rest), pre);
    }
    finish(ctl, turned ^ r.sign, kernel_sin(r.rest), pre)
}

fn cos_of(r: &Reduced, ctl: Ctl, pre: u16) -> Out {
    let ahead = Reduced { quadrant: r.quadrant.wrapping_add(1) & 3, sign: r.sign, rest: r.rest };
    sin_of(&ahead, ctl, pre)
}

/// FSIN. C2 among the flags: out of range, nothing changes.
pub fn sin(a: F80, ctl: Ctl) -> Out {
    match classify(a, ctl) {
        Argument::Done(out) => out,
        Argument::Zero => Out::exact(a),
        Argument::Tiny(out) => out,
        Argument::Number(r, pre) => sin_of(&r, ctl, pre),
    }
}

/// FCOS. C2 among the flags: out of range, nothing changes.
pub fn cos(a: F80, ctl: Ctl) -> Out {
    match classify(a, ctl) {
        Argument::Done(out) => out,
        Argument::Zero => Out::exact(F80::ONE),
        Argument::Tiny(out) => Out::with(F80::ONE, (out.flags & DE) | PE),
        Argument::Number(r, pre) => cos_of(&r, ctl, pre),
    }
}

/// FSINCOS: sine and cosine; C1 tells of the rounding of the cosine. C2 among the flags: out of range, nothing changes.
pub fn sin_cos(a: F80, ctl: Ctl) -> (Out, Out) {
    match classify(a, ctl) {
        Argument::Done(out) => (out, out),
        Argument::Zero => (Out::exact(a), Out::exact(F80::ONE)),
        Argument::Tiny(out) => (out, Out::with(F80::ONE, PE)),
        Argument::Number(r, pre) => {
            let (sine, cosine) = (sin_of(&r, ctl, pre), cos_of(&r, ctl, pre));
            (Out::with(sine.value, sine.flags & !C1), cosine)
        }
    }
}

/// FPTAN without the 1 that it pushes. C2 among the flags: out of range, nothing changes.
pub fn tan(a: F80, ctl: Ctl) -> Out {
    let (r, pre) = match classify(a, ctl) {
        Argument::Done(out) => return out,
        Argument::Zero => return Out::exact(a),
        Argument::Tiny(out) => return out,
        Argument::Number(r, pre) => (r, pre),
    };
    let (sin, cos) = (kernel_sin(r.rest).internal(), kernel_cos(r.rest).internal());
    if r.quadrant & 1 != 0 {
        return finish(ctl, SIGN ^ r.sign, cos.div(sin), pre);
    }
    finish(ctl, r.sign, sin.div(cos), pre)
}
