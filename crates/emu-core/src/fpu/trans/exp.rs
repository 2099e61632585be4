//! F2XM1 [SDM-2A F2XM1].

use super::super::f80::{Class, F80, SIGN};
use super::super::nan;
use super::super::round::{Ctl, Out, PE};
use super::finish;
use super::tables::LN2_66;
use super::wide::{ONE, Wide, mul_high};

/// `2^a - 1` for `|a| <= 1`. Outside of that the architecture leaves the result undefined: silicon gives `a` back,
/// and calls that (and the two exact results) inexact.
pub fn f2xm1(a: F80, ctl: Ctl) -> Out {
    let class = a.class();
    if let Some(out) = nan::one(a, class, ctl) {
        return out;
    }
    match class {
        Class::Zero => return Out::exact(a),
        Class::Infinity if a.sign() != 0 => return Out::exact(F80::ONE.negate()),
        Class::Infinity => return Out::exact(a),
        _ => {}
    }
    let pre = nan::denormal(class, class);
    if !ctl.masked(pre) {
        return Out::with(a, pre);
    }
    let (sign, exp, sig) = a.unpack();
    if exp >= 16383 {
        let out = at_or_beyond_one(a);
        return Out::with(out.value, out.flags | pre);
    }
    let ln2 = Wide { exp: -1, sig: LN2_66 << 62 };
    let y = Wide::from_parts(exp, sig).mul(ln2).internal();
    let factor = Wide::from_fixed(exp_minus_one_over(y.to_fixed(128), sign != 0), 126);
    match factor {
        Some(factor) => finish(ctl, sign, y.mul(factor), pre),
        None => Out::exact(a),
    }
}

fn at_or_beyond_one(a: F80) -> Out {
    if a == F80::ONE.negate() {
        return Out::with(F80::new(SIGN | 0x3ffe, F80::ONE.sig), PE);
    }
    Out::with(a, PE)
}

/// `(e^±y - 1) / ±y` with 126 fraction bits; `y` below 0.7 with 128.
fn exp_minus_one_over(y: u128, negative: bool) -> u128 {
    let mut p = ONE;
    for k in (1..=32u32).rev() {
        let t = mul_high(y, p) / u128::from(k + 1);
        p = if negative { ONE - t } else { ONE + t };
    }
    p
}
