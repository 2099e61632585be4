//! The one rounding core: every arithmetic result passes through here on its way to 80 bits [SDM-1 4.8.4, 8.1.5].

use super::f80::{EXP_MAX, F80, INTEGER_BIT};

/// Invalid operation.
pub const IE: u16 = 0x01;
/// Denormal operand.
pub const DE: u16 = 0x02;
/// Division by zero.
pub const ZE: u16 = 0x04;
/// Overflow.
pub const OE: u16 = 0x08;
/// Underflow.
pub const UE: u16 = 0x10;
/// Precision (inexact result).
pub const PE: u16 = 0x20;
/// Stack fault.
pub const SF: u16 = 0x40;
/// Condition code 1: the last rounding was upwards, or which way the stack failed.
pub const C1: u16 = 0x200;

/// By how much the exponent of a result is moved when its overflow or underflow is unmasked [SDM-1 8.5.4, 8.5.5].
pub const EXP_WRAP: i32 = 24576;

/// How to compute: the control word, and what is already known about the operands.
#[derive(Clone, Copy, Debug)]
pub struct Ctl {
    /// The x87 control word: exception masks, precision and rounding control.
    pub cw: u16,
    /// [`DE`] when an operand was a denormal in its memory format, else 0.
    pub pre: u16,
}

/// A computed value with the exception bits (and [`C1`]) that it raised.
///
/// When one of IE, DE, ZE is raised and unmasked, the value means nothing and must not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Out {
    /// The result.
    pub value: F80,
    /// IE DE ZE OE UE PE and C1.
    pub flags: u16,
}

/// Rounding control, bits 11..10 of the control word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// To nearest, ties to even.
    Nearest,
    /// Towards -∞.
    Down,
    /// Towards +∞.
    Up,
    /// Towards zero.
    Zero,
}

impl Ctl {
    /// Plain operands under the control word `cw`.
    #[inline]
    pub const fn new(cw: u16) -> Ctl {
        Ctl { cw, pre: 0 }
    }

    /// The same with precision control at 64 bits, for instructions that it does not touch.
    #[inline]
    pub(crate) const fn full_precision(self) -> Ctl {
        Ctl { cw: self.cw | 0x300, pre: self.pre }
    }

    /// The rounding mode.
    #[inline]
    pub const fn mode(self) -> Mode {
        match (self.cw >> 10) & 3 {
            0 => Mode::Nearest,
            1 => Mode::Down,
            2 => Mode::Up,
            _ => Mode::Zero,
        }
    }

    /// How many low bits of a 64-bit significand the precision control takes away.
    #[inline]
    const fn dropped_bits(self) -> u32 {
        match (self.cw >> 8) & 3 {
            0 => 40,
            2 => 11,
            _ => 0,
        }
    }

    /// Whether infinities have no sign, as on an 8087 or 287 by default.
    #[inline]
    pub(crate) const fn projective(self) -> bool {
        self.cw & super::unit::PROJECTIVE != 0
    }

    /// Whether every NaN is an invalid operand, as on an 8087 or 287.
    #[inline]
    pub(crate) const fn one_kind_of_nan(self) -> bool {
        self.cw & super::unit::ONE_KIND_OF_NAN != 0
    }

    /// True if every exception of `flags` is masked.
    #[inline]
    pub const fn masked(self, flags: u16) -> bool {
        flags & !self.cw & 0x3f == 0
    }
}

impl Out {
    /// A value that raised nothing.
    #[inline]
    pub const fn exact(value: F80) -> Out {
        Out { value, flags: 0 }
    }

    /// A value with exception bits.
    #[inline]
    pub const fn with(value: F80, flags: u16) -> Out {
        Out { value, flags }
    }

    /// The masked response to an invalid operation.
    pub const INVALID: Out = Out { value: F80::INDEFINITE, flags: IE };
}

/// A significand rounded at `drop` bits: the value, whether it carried out of bit 63, and PE and C1.
#[inline]
pub(crate) fn round_sig(mode: Mode, negative: bool, drop: u32, hi: u64, lo: u64) -> (u64, bool, u16) {
    let (base, rest, unit) = if drop == 0 {
        (hi, lo, 1)
    } else {
        (hi >> drop << drop, (hi << (64 - drop)) | u64::from(lo != 0), 1u64 << drop)
    };
    // What carries out of `rest` rounds up: without a branch on the value, which would be mispredicted every other time.
    let bias = match mode {
        Mode::Nearest => (INTEGER_BIT - 1) + u64::from(base & unit != 0),
        Mode::Down => u64::from(negative).wrapping_neg(),
        Mode::Up => u64::from(!negative).wrapping_neg(),
        Mode::Zero => 0,
    };
    let (_, up) = rest.overflowing_add(bias);
    let (sum, carry) = base.overflowing_add(u64::from(up) * unit);
    // After a carry nothing but the new integer bit is left.
    let sig = sum | u64::from(carry) << 63;
    (sig, carry, (u16::from(rest != 0) * PE) | (u16::from(up) * C1))
}

/// Rounds `±hi.lo × 2^(exp - 16383)` to the precision and mode of `ctl`.
///
/// `hi` has its integer bit set; `lo` continues it, its lowest bit sticky. `exp` is a biased exponent that may lie
/// outside the format: overflow and underflow are dealt with, masked and unmasked.
#[inline]
pub fn round(ctl: Ctl, sign: u16, exp: i32, hi: u64, lo: u64) -> Out {
    let (sig, carry, flags) = round_sig(ctl.mode(), sign != 0, ctl.dropped_bits(), hi, lo);
    let e = exp + i32::from(carry);
    if e >= 1 && e < i32::from(EXP_MAX) {
        return Out { value: F80::new(sign | e as u16, sig), flags };
    }
    out_of_range(ctl, sign, exp, hi, lo)
}

#[cold]
#[inline(never)]
fn out_of_range(ctl: Ctl, sign: u16, exp: i32, hi: u64, lo: u64) -> Out {
    let (sig, carry, flags) = round_sig(ctl.mode(), sign != 0, ctl.dropped_bits(), hi, lo);
    let e = exp + i32::from(carry);
    if e < 1 {
        return underflow(ctl, sign, exp, hi, lo);
    }
    if ctl.masked(OE) {
        return overflow_masked(ctl, sign);
    }
    // A result too large even for the moved exponent (FSCALE can make one) becomes an infinity.
    if e - EXP_WRAP >= i32::from(EXP_MAX) {
        return Out::with(F80::infinity(sign), OE | PE | C1);
    }
    Out::with(F80::new(sign | (e - EXP_WRAP) as u16, sig), flags | OE)
}

/// Infinity or the largest finite number of the precision, whichever the rounding mode asks for [SDM-1 table 4-10].
fn overflow_masked(ctl: Ctl, sign: u16) -> Out {
    let to_infinity = match ctl.mode() {
        Mode::Nearest => true,
        Mode::Down => sign != 0,
        Mode::Up => sign == 0,
        Mode::Zero => false,
    };
    if to_infinity {
        return Out::with(F80::infinity(sign), OE | PE | C1);
    }
    let largest = u64::MAX << ctl.dropped_bits();
    Out::with(F80::new(sign | (EXP_MAX - 1), largest), OE | PE)
}

/// A tiny result: tininess is detected after rounding [SDM-1 4.9.1.5]. Masked, the number is denormalised and
/// underflow is reported only with a loss of accuracy; unmasked, it is reported always and the exponent is moved.
fn underflow(ctl: Ctl, sign: u16, exp: i32, hi: u64, lo: u64) -> Out {
    let drop = ctl.dropped_bits();
    if !ctl.masked(UE) {
        let (sig, carry, flags) = round_sig(ctl.mode(), sign != 0, drop, hi, lo);
        let e = exp + i32::from(carry) + EXP_WRAP;
        if e < 1 {
            return Out::with(F80::zero(sign), flags | UE | PE);
        }
        return Out::with(F80::new(sign | e as u16, sig), flags | UE);
    }
    let (hi, lo) = shift_right_sticky(hi, lo, (1 - exp) as u32);
    let (sig, _, flags) = round_sig(ctl.mode(), sign != 0, drop, hi, lo);
    let flags = if flags & PE != 0 { flags | UE } else { flags };
    // Rounding up to the integer bit makes the smallest normal number.
    Out::with(F80::new(sign | (sig >> 63) as u16, sig), flags)
}

/// `hi.lo` shifted right by `n`, with what falls out kept as a sticky lowest bit.
#[inline]
pub(crate) fn shift_right_sticky(hi: u64, lo: u64, n: u32) -> (u64, u64) {
    let v = (u128::from(hi) << 64) | u128::from(lo);
    let s = sticky_shr(v, n);
    ((s >> 64) as u64, s as u64)
}

/// `v >> n` with a sticky lowest bit.
#[inline]
pub(crate) fn sticky_shr(v: u128, n: u32) -> u128 {
    if n == 0 {
        return v;
    }
    if n > 127 {
        return u128::from(v != 0);
    }
    (v >> n) | u128::from(v << (128 - n) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_MASKED: u16 = 0x37f;

    #[test]
    fn ties_go_to_even() {
        let even = round(Ctl::new(ALL_MASKED), 0, 0x3fff, INTEGER_BIT, INTEGER_BIT);
        assert_eq!(even, Out::with(F80::new(0x3fff, INTEGER_BIT), PE));
        let odd = round(Ctl::new(ALL_MASKED), 0, 0x3fff, INTEGER_BIT | 1, INTEGER_BIT);
        assert_eq!(odd, Out::with(F80::new(0x3fff, INTEGER_BIT | 2), PE | C1));
    }

    #[test]
    fn a_carry_moves_the_exponent() {
        let out = round(Ctl::new(ALL_MASKED), 0, 0x3fff, u64::MAX, u64::MAX);
        assert_eq!(out, Out::with(F80::new(0x4000, INTEGER_BIT), PE | C1));
    }

    #[test]
    fn tininess_is_seen_after_rounding() {
        let out = round(Ctl::new(ALL_MASKED), 0, 0, u64::MAX, u64::MAX);
        assert_eq!(out, Out::with(F80::new(1, INTEGER_BIT), PE | C1));
        let exact = round(Ctl::new(ALL_MASKED), 0, 0, INTEGER_BIT, 0);
        assert_eq!(exact, Out::exact(F80::new(0, INTEGER_BIT >> 1)));
        let unmasked = round(Ctl::new(ALL_MASKED & !UE), 0, 0, INTEGER_BIT, 0);
        assert_eq!(unmasked, Out::with(F80::new(EXP_WRAP as u16, INTEGER_BIT), UE));
    }

    #[test]
    fn overflow_follows_the_mode() {
        let to_zero = round(Ctl::new(ALL_MASKED | 0xc00), 0x8000, 0x7fff, INTEGER_BIT, 0);
        assert_eq!(to_zero, Out::with(F80::new(0xfffe, u64::MAX), OE | PE));
        let single = round(Ctl::new(0x7f | 0x400), 0, 0x7fff, INTEGER_BIT, 0);
        assert_eq!(single, Out::with(F80::new(0x7ffe, u64::MAX << 40), OE | PE));
        let unmasked = round(Ctl::new(ALL_MASKED & !OE), 0, 0x7fff, INTEGER_BIT, 0);
        assert_eq!(unmasked, Out::with(F80::new(0x7fff - EXP_WRAP as u16, INTEGER_BIT), OE));
    }
}
