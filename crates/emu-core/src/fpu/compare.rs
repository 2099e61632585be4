//! Comparison and examination [SDM-1 8.3.6], as condition codes and as EFLAGS.

use core::cmp::Ordering;

use super::f80::{Class, F80};
use super::nan;
use super::round::{C1, Ctl, IE};

/// Condition code 0, bit 8 of the status word.
pub const C0: u16 = 0x100;
/// Condition code 2, bit 10 of the status word.
pub const C2: u16 = 0x400;
/// Condition code 3, bit 14 of the status word.
pub const C3: u16 = 0x4000;

/// How two values stand to each other, None meaning unordered, and the exceptions of finding out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compared {
    /// None: unordered.
    pub order: Option<Ordering>,
    /// IE and DE.
    pub flags: u16,
}

/// Compares `a` with `b`. A quiet comparison (FUCOM) lets quiet NaNs pass without IE.
#[inline]
pub fn compare(a: F80, b: F80, quiet: bool, ctl: Ctl) -> Compared {
    if a.is_normal() & b.is_normal() & (ctl.pre == 0) {
        return Compared { order: Some(order(a, b)), flags: 0 };
    }
    compare_special(a, b, quiet, ctl)
}

#[cold]
fn compare_special(a: F80, b: F80, quiet: bool, ctl: Ctl) -> Compared {
    let (ca, cb) = (a.class(), b.class());
    if let Some(out) = nan::two(a, b, ca, cb, ctl) {
        let flags = if quiet { out.flags & IE } else { IE };
        return Compared { order: None, flags };
    }
    if ctl.projective() && (ca == Class::Infinity || cb == Class::Infinity) {
        let same = ca == cb;
        return Compared { order: same.then_some(Ordering::Equal), flags: if same { 0 } else { IE } };
    }
    Compared { order: Some(order(a, b)), flags: nan::denormal(ca, cb) | ctl.pre }
}

/// The order of two numbers, infinities and denormals included.
fn order(a: F80, b: F80) -> Ordering {
    if a.is_zero() && b.is_zero() {
        return Ordering::Equal;
    }
    // A pseudo-denormal has the value of exponent 1.
    let key = |v: F80| if v.exp() == 0 { v.sig.into() } else { (u128::from(v.exp() - 1) << 63) + u128::from(v.sig) };
    match (a.sign() != 0, b.sign() != 0) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => key(a).cmp(&key(b)),
        (true, true) => key(b).cmp(&key(a)),
    }
}

impl Compared {
    /// C3, C2 and C0 [SDM-1 table 8-6].
    #[inline]
    pub fn condition_codes(self) -> u16 {
        match self.order {
            Some(Ordering::Greater) => 0,
            Some(Ordering::Less) => C0,
            Some(Ordering::Equal) => C3,
            None => C3 | C2 | C0,
        }
    }

    /// ZF, PF and CF as EFLAGS bits [SDM-1 table 8-8].
    #[inline]
    pub fn eflags(self) -> u32 {
        match self.order {
            Some(Ordering::Greater) => 0,
            Some(Ordering::Less) => 0x01,
            Some(Ordering::Equal) => 0x40,
            None => 0x45,
        }
    }
}

/// FXAM: C3, C2, C0 by class and C1 by sign [SDM-2A FXAM].
pub fn examine(a: F80, empty: bool) -> u16 {
    let class = match a.class() {
        _ if empty => C3 | C0,
        Class::Unsupported => 0,
        Class::QNan | Class::SNan => C0,
        Class::Normal => C2,
        Class::Infinity => C2 | C0,
        Class::Zero => C3,
        Class::Denormal => C3 | C2,
    };
    class | if a.sign() != 0 { C1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::f80::INTEGER_BIT;
    use super::*;

    #[test]
    fn a_pseudo_denormal_equals_the_smallest_normal() {
        let pseudo = F80::new(0, INTEGER_BIT);
        let normal = F80::new(1, INTEGER_BIT);
        let out = compare(pseudo, normal, false, Ctl::new(0x37f));
        assert_eq!((out.order, out.flags), (Some(Ordering::Equal), super::super::round::DE));
    }

    #[test]
    fn only_the_quiet_form_lets_quiet_nans_pass() {
        let nan = F80::INDEFINITE;
        assert_eq!(compare(nan, F80::ONE, true, Ctl::new(0x37f)), Compared { order: None, flags: 0 });
        assert_eq!(compare(nan, F80::ONE, false, Ctl::new(0x37f)), Compared { order: None, flags: IE });
    }
}
