//! FPREM and FPREM1: exact remainders in steps [SDM-2A FPREM, FPREM1].

use super::compare::{C0, C2, C3};
use super::f80::{Class, F80, SIGN};
use super::nan;
use super::round::{C1, Ctl, Out, round};

/// The remainder of `a` by `b` with the quotient truncated (FPREM) or, if `nearest`, rounded to nearest (FPREM1).
///
/// Exponents that differ by less than 64 are reduced completely: C2 is clear and the quotient's low three bits are
/// in C0, C3, C1. Otherwise C2 is set and the exponent difference shrinks by 32 to 63.
pub fn remainder(a: F80, b: F80, nearest: bool, ctl: Ctl) -> Out {
    let (ca, cb) = (a.class(), b.class());
    if let Some(out) = nan::two(a, b, ca, cb, ctl) {
        return out;
    }
    if ca == Class::Infinity || cb == Class::Zero {
        return Out::INVALID;
    }
    let pre = nan::denormal(ca, cb);
    if !ctl.masked(pre) {
        return Out::with(a, pre);
    }
    if ca == Class::Zero {
        return Out::with(a, pre);
    }
    let ctl = ctl.full_precision();
    let out = if cb == Class::Infinity {
        let (s, e, m) = a.unpack();
        round(ctl, s, e, m, 0)
    } else {
        reduce(a, b, nearest, ctl)
    };
    Out::with(out.value, out.flags | pre)
}

/// A step on finite operands.
fn reduce(a: F80, b: F80, nearest: bool, ctl: Ctl) -> Out {
    let ((sa, ea, ma), (_, eb, mb)) = (a.unpack(), b.unpack());
    let distance = ea - eb;
    if distance >= 64 {
        let step = 32 + (distance & 31);
        let rest = (u128::from(ma) << step) % u128::from(mb);
        let out = scaled(sa, eb + distance - step, rest, ctl);
        return Out::with(out.value, out.flags | C2);
    }
    if distance < -1 || (distance < 0 && !nearest) {
        return scaled(sa, ea, u128::from(ma), ctl);
    }
    // In units of the last place of b, or of half of it if a is the smaller by one binade.
    let (n, d, e) = if distance < 0 {
        (u128::from(ma), u128::from(mb) << 1, ea)
    } else {
        (u128::from(ma) << distance, u128::from(mb), eb)
    };
    let (mut quotient, mut rest, mut sign) = (n / d, n % d, sa);
    if nearest && (rest * 2 > d || (rest * 2 == d && quotient & 1 != 0)) {
        quotient += 1;
        rest = d - rest;
        sign ^= SIGN;
    }
    let out = if rest == 0 { Out::exact(F80::zero(sa)) } else { scaled(sign, e, rest, ctl) };
    Out::with(out.value, out.flags | quotient_bits(quotient as u64))
}

/// `±rest × 2^(exp - 16383 - 63)`, exactly representable but for its exponent.
fn scaled(sign: u16, exp: i32, rest: u128, ctl: Ctl) -> Out {
    if rest == 0 {
        return Out::exact(F80::zero(sign));
    }
    let sig = rest as u64;
    let shift = sig.leading_zeros();
    round(ctl, sign, exp - shift as i32, sig << shift, 0)
}

/// Bits 2, 1 and 0 of the quotient in C0, C3 and C1.
fn quotient_bits(q: u64) -> u16 {
    let bit = |n: u32, c: u16| if q >> n & 1 != 0 { c } else { 0 };
    bit(2, C0) | bit(1, C3) | bit(0, C1)
}

#[cfg(test)]
mod tests {
    use super::super::int::from_int;
    use super::*;

    const MASKED: Ctl = Ctl::new(0x37f);

    #[test]
    fn small_integers_divide_with_their_quotient_bits() {
        assert_eq!(remainder(from_int(17), from_int(3), false, MASKED), Out::with(from_int(2), C0 | C1));
        assert_eq!(remainder(from_int(17), from_int(3), true, MASKED), Out::with(from_int(-1), C0 | C3));
        assert_eq!(remainder(from_int(-6), from_int(3), false, MASKED), Out::with(F80::zero(SIGN), C3));
    }

    #[test]
    fn a_wide_gap_is_closed_in_steps() {
        let (mut a, b) = (F80::new(0x3fff + 1000, 0xdead_beef_1234_5678 | 1 << 63), from_int(7));
        let mut steps = 0;
        loop {
            let out = remainder(a, b, false, MASKED);
            a = out.value;
            steps += 1;
            if out.flags & C2 == 0 {
                break;
            }
        }
        assert!((16..=31).contains(&steps), "{steps}");
        assert!(a.exp() < 0x4002);
    }
}
