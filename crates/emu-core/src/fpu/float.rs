//! Conversions from and to the single and double formats [SDM-1 4.2.2, 8.5.4, 8.5.5].

use super::f80::{Class, EXP_MAX, F80, INTEGER_BIT, QUIET_BIT};
use super::round::{C1, Ctl, DE, IE, Mode, OE, PE, UE, round_sig, shift_right_sticky};

/// A binary interchange format narrower than 80 bits.
#[derive(Clone, Copy)]
struct Format {
    /// Fraction bits stored.
    fraction: u32,
    /// The exponent field of infinities and NaNs.
    max: i32,
}

const SINGLE: Format = Format { fraction: 23, max: 0xff };
const DOUBLE: Format = Format { fraction: 52, max: 0x7ff };

impl Format {
    const fn bias(self) -> i32 {
        self.max >> 1
    }

    /// Where the sign is in the encoding.
    const fn sign_shift(self) -> u32 {
        if self.fraction == 23 { 31 } else { 63 }
    }

    /// Bits of an 80-bit significand that the format has no room for.
    const fn drop(self) -> u32 {
        63 - self.fraction
    }

    const fn encode(self, sign: u16, exp: u64, fraction: u64) -> u64 {
        ((sign as u64 >> 15) << self.sign_shift()) | (exp << self.fraction) | fraction
    }
}

/// A single as an 80-bit value, and [`DE`] if it was a denormal. NaNs stay as they are, signalling ones too.
#[inline]
pub fn from_f32(bits: u32) -> (F80, u16) {
    widen(SINGLE, u64::from(bits))
}

/// A double as an 80-bit value, and [`DE`] if it was a denormal. NaNs stay as they are, signalling ones too.
#[inline]
pub fn from_f64(bits: u64) -> (F80, u16) {
    widen(DOUBLE, bits)
}

#[inline]
fn widen(f: Format, bits: u64) -> (F80, u16) {
    let sign = ((bits >> f.sign_shift()) as u16 & 1) << 15;
    let exp = (bits >> f.fraction) as i32 & f.max;
    let fraction = bits & ((1 << f.fraction) - 1);
    let sig = INTEGER_BIT | (fraction << f.drop());
    if exp == f.max {
        return (F80::new(sign | EXP_MAX, sig), 0);
    }
    if exp != 0 {
        return (F80::new(sign | (exp - f.bias() + 16383) as u16, sig), 0);
    }
    if fraction == 0 {
        return (F80::zero(sign), 0);
    }
    let shift = fraction.leading_zeros();
    let exp = 1 - f.bias() + 16383 - (shift as i32 - f.drop() as i32);
    (F80::new(sign | exp as u16, fraction << shift), DE)
}

/// `a` as a single: its bits, and the exceptions. With IE, OE or UE unmasked nothing is to be stored.
#[inline]
pub fn to_f32(a: F80, ctl: Ctl) -> (u32, u16) {
    let (bits, flags) = narrow(SINGLE, a, ctl);
    (bits as u32, flags)
}

/// `a` as a double: its bits, and the exceptions. With IE, OE or UE unmasked nothing is to be stored.
#[inline]
pub fn to_f64(a: F80, ctl: Ctl) -> (u64, u16) {
    narrow(DOUBLE, a, ctl)
}

#[inline]
fn narrow(f: Format, a: F80, ctl: Ctl) -> (u64, u16) {
    if !a.is_normal() {
        return narrow_special(f, a, ctl);
    }
    let (sign, exp, sig) = a.unpack();
    narrow_finite(f, sign, exp, sig, ctl)
}

#[inline]
fn narrow_finite(f: Format, sign: u16, exp: i32, sig: u64, ctl: Ctl) -> (u64, u16) {
    let (rounded, carry, flags) = round_sig(ctl.mode(), sign != 0, f.drop(), sig, 0);
    let unbounded = exp - 16383 + f.bias();
    let e = unbounded + i32::from(carry);
    if e < 1 {
        return narrow_tiny(f, sign, unbounded, sig, ctl);
    }
    if e >= f.max {
        return narrow_huge(f, sign, ctl);
    }
    (f.encode(sign, e as u64, (rounded & !INTEGER_BIT) >> f.drop()), flags)
}

#[cold]
fn narrow_tiny(f: Format, sign: u16, e: i32, sig: u64, ctl: Ctl) -> (u64, u16) {
    if !ctl.masked(UE) {
        return (0, UE);
    }
    let (hi, lo) = shift_right_sticky(sig, 0, (1 - e) as u32);
    let (rounded, _, flags) = round_sig(ctl.mode(), sign != 0, f.drop(), hi, lo);
    let flags = if flags & PE != 0 { flags | UE } else { flags };
    // The integer bit, if rounding reached it, is exponent 1.
    (f.encode(sign, 0, rounded >> f.drop()), flags)
}

#[cold]
fn narrow_huge(f: Format, sign: u16, ctl: Ctl) -> (u64, u16) {
    if !ctl.masked(OE) {
        return (0, OE);
    }
    let to_infinity = match ctl.mode() {
        Mode::Nearest => true,
        Mode::Down => sign != 0,
        Mode::Up => sign == 0,
        Mode::Zero => false,
    };
    if to_infinity {
        return (f.encode(sign, f.max as u64, 0), OE | PE | C1);
    }
    (f.encode(sign, f.max as u64 - 1, (1 << f.fraction) - 1), OE | PE)
}

#[cold]
fn narrow_special(f: Format, a: F80, ctl: Ctl) -> (u64, u16) {
    let nan = |v: F80| f.encode(v.sign(), f.max as u64, (v.sig & !INTEGER_BIT) >> f.drop());
    match a.class() {
        Class::Zero => (f.encode(a.sign(), 0, 0), 0),
        Class::Infinity => (f.encode(a.sign(), f.max as u64, 0), 0),
        Class::QNan | Class::SNan if ctl.one_kind_of_nan() => {
            // What is left of its significand must not be that of an infinity.
            let rest = (a.sig & !INTEGER_BIT) >> f.drop();
            (nan(if rest == 0 { a.quieted() } else { a }), IE)
        }
        Class::QNan => (nan(a), 0),
        Class::SNan => (nan(a.quieted()), IE),
        Class::Unsupported => (nan(F80::INDEFINITE), IE),
        Class::Normal | Class::Denormal => {
            let (sign, exp, sig) = a.unpack();
            narrow_finite(f, sign, exp, sig, ctl)
        }
    }
}

/// FLD of a single or double that may be a signalling NaN: the value to push and IE.
#[inline]
pub fn quiet_on_load(v: F80, ctl: Ctl) -> (F80, u16) {
    if ctl.one_kind_of_nan() {
        return (v, if v.exp() == EXP_MAX && v.sig != INTEGER_BIT { IE } else { 0 });
    }
    if v.exp() == EXP_MAX && v.sig & QUIET_BIT == 0 && v.sig != INTEGER_BIT { (v.quieted(), IE) } else { (v, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASKED: Ctl = Ctl::new(0x37f);

    #[test]
    fn doubles_round_trip() {
        for bits in
            [0u64, 1, 0x8000_0000_0000_0001, 0x000f_ffff_ffff_ffff, 0x3ff0_0000_0000_0000, 0x7ff0_0000_0000_0000]
        {
            assert_eq!(to_f64(from_f64(bits).0, MASKED), (bits, 0), "{bits:x}");
        }
    }

    #[test]
    fn singles_round_trip() {
        for bits in [0u32, 1, 0x8000_0001, 0x007f_ffff, 0x3f80_0000, 0x7f80_0000, 0x7fc0_1234] {
            assert_eq!(to_f32(from_f32(bits).0, MASKED), (bits, 0), "{bits:x}");
        }
        assert_eq!(to_f32(from_f32(0x7f80_0001).0, MASKED), (0x7fc0_0001, IE));
    }

    #[test]
    fn the_halfway_denormal_rounds_up_to_the_smallest_normal() {
        let below = F80::new(16383 - 126 - 1, u64::MAX);
        assert_eq!(to_f32(below, MASKED), (0x0080_0000, PE | C1));
        let half = F80::new(16383 - 149 - 1, INTEGER_BIT | 1);
        assert_eq!(to_f32(half, MASKED), (1, PE | UE | C1));
    }
}
