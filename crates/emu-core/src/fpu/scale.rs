//! FSCALE and FXTRACT [SDM-2A].

use super::f80::{Class, F80, SIGN};
use super::int::from_int;
use super::nan;
use super::round::{Ctl, Out, ZE, round};

/// FSCALE: `a × 2^trunc(b)`.
pub fn scale(a: F80, b: F80, ctl: Ctl) -> Out {
    let (ca, cb) = (a.class(), b.class());
    if let Some(out) = nan::two(a, b, ca, cb, ctl) {
        return out;
    }
    let shrinks = b.sign() != 0;
    if cb == Class::Infinity && ((ca == Class::Zero && !shrinks) || (ca == Class::Infinity && shrinks)) {
        return Out::INVALID;
    }
    let pre = nan::denormal(ca, cb);
    if !ctl.masked(pre) {
        return Out::with(a, pre);
    }
    let out = match (ca, cb) {
        (Class::Zero | Class::Infinity, _) => Out::exact(a),
        (_, Class::Infinity) if shrinks => Out::exact(F80::zero(a.sign())),
        (_, Class::Infinity) => Out::exact(F80::infinity(a.sign())),
        _ => {
            let (s, e, m) = a.unpack();
            round(ctl.full_precision(), s, e + clamped_int(b), m, 0)
        }
    };
    Out::with(out.value, out.flags | pre)
}

/// `b` truncated to an integer, held within ±65536, which is past both ends of the format from anywhere in it.
fn clamped_int(b: F80) -> i32 {
    let exp = i32::from(b.exp()) - 16383;
    let magnitude = match exp {
        ..0 => 0,
        0..=15 => (b.sig >> (63 - exp)) as i32,
        _ => 65536,
    };
    if b.sign() != 0 { -magnitude } else { magnitude }
}

/// FXTRACT: the exponent (which replaces ST(0)) and the significand (which is pushed), with the exceptions of both.
pub fn extract(a: F80, ctl: Ctl) -> (F80, Out) {
    let class = a.class();
    if let Some(out) = nan::one(a, class, ctl) {
        return (out.value, out);
    }
    match class {
        Class::Zero => return (F80::infinity(SIGN), Out::with(a, ZE)),
        Class::Infinity => return (F80::infinity(0), Out::exact(a)),
        _ => {}
    }
    let pre = nan::denormal(class, class);
    if !ctl.masked(pre) {
        return (a, Out::with(a, pre));
    }
    let (s, e, m) = a.unpack();
    (from_int(i64::from(e - 16383)), Out::with(F80::new(s | 0x3fff, m), pre))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_truncates_its_count() {
        let minus_one_and_a_half = F80::new(0xbfff, 0xc << 60);
        let out = scale(from_int(6), minus_one_and_a_half, Ctl::new(0x37f));
        assert_eq!(out, Out::exact(from_int(3)));
    }

    #[test]
    fn a_denormal_is_extracted_normalised() {
        let (exponent, significand) = extract(F80::new(0x8000, 1), Ctl::new(0x37f));
        assert_eq!(exponent, from_int(-16445));
        assert_eq!(significand.value, F80::ONE.negate());
    }
}
