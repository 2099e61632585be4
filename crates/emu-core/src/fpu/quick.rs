//! What nearly every instruction does: normal numbers, rounding to nearest, inexact results masked, a result that is a normal
//! number too. Without a branch that the numbers decide, as the host would mispredict it; `None` asks for the whole of the
//! rules, which are in [`super::arith`], [`super::float`] and [`super::compare`]. Both give the same bits (tests below).

use core::cmp::Ordering;

use super::f80::{EXP_MAX, F80, INTEGER_BIT, SIGN};
use super::round::{C1, PE};
use super::{ES, Fpu, arith};

/// A result, and PE and C1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rounded<T = F80> {
    pub(crate) value: T,
    pub(crate) flags: u16,
}

/// Whether `exp` is a normal number's.
#[inline(always)]
fn is_normal_exp(exp: u32) -> bool {
    exp.wrapping_sub(1) < u32::from(EXP_MAX) - 1
}

/// Sign, exponent and significand of a normal number.
#[inline(always)]
fn unpack(v: F80) -> (u16, u32, u64) {
    (v.sign(), v.exp().into(), v.sig)
}

/// `±hi.lo × 2^(exp - 16383)` to nearest, to 53 bits if `DOUBLE`, else to 64; `hi` has its top bit set.
#[inline(always)]
fn round<const DOUBLE: bool>(sign: u16, exp: u32, hi: u64, lo: u64) -> Option<Rounded> {
    let (base, rest, unit) = if DOUBLE { (hi & !0x7FF, hi << 53 | u64::from(lo != 0), 0x800) } else { (hi, lo, 1) };
    // Half a unit, or a bit less if a tie goes down: what carries out rounds up.
    let (_, up) = rest.overflowing_add(INTEGER_BIT - 1 + u64::from(base & unit != 0));
    let (sum, carry) = base.overflowing_add(if up { unit } else { 0 });
    // A carry out of the top leaves nothing behind; it is rare.
    if carry | !is_normal_exp(exp) {
        return None;
    }
    let value = F80::new(sign | exp as u16, sum);
    Some(Rounded { value, flags: u16::from(rest != 0) * PE | u16::from(up) * C1 })
}

/// An operation on two normal numbers, destination first.
pub(crate) trait Quick {
    fn quick<const DOUBLE: bool>(a: F80, b: F80) -> Option<Rounded>;
}

/// `a + b`, `b` with its sign changed by `flip`.
#[inline(always)]
fn sum<const DOUBLE: bool>(a: F80, b: F80, flip: u16) -> Option<Rounded> {
    let (wa, wb) = (u32::from(a.sign_exp), u32::from(b.sign_exp ^ flip));
    let exp = |w: u32| w & u32::from(EXP_MAX);
    let key = |w: u32, m: u64| u128::from(exp(w)) << 64 | u128::from(m);
    let swap = key(wa, a.sig) < key(wb, b.sig);
    let (large, small) = if swap { (b.sig, a.sig) } else { (a.sig, b.sig) };
    let (wl, ws) = if swap { (wb, wa) } else { (wa, wb) };
    let distance = exp(wl) - exp(ws);
    if distance > 63 {
        return None;
    }
    // Both with a place free at the top, for a carry; nothing falls out at the bottom.
    let (hi, lo) = ((small >> 1) >> distance, small << (63 - distance));
    // Subtracted if the signs differ: complemented, plus one.
    let differ = u64::from((wl ^ ws) >> 15 & 1);
    let invert = differ.wrapping_neg();
    let (lo, one) = (lo ^ invert).overflowing_add(differ);
    let (lo, carry) = lo.overflowing_add(large << 63);
    let hi = (hi ^ invert).wrapping_add(large >> 1).wrapping_add(u64::from(one | carry));
    if hi == 0 {
        return None;
    }
    let zeros = hi.leading_zeros() & 63;
    // A sum, and not an OR, which the compiler would make one shift of 128 bits of: slow on many hosts.
    let hi = (hi << zeros).wrapping_add((lo >> 1) >> (63 - zeros));
    round::<DOUBLE>((wl & u32::from(SIGN)) as u16, (exp(wl) + 1).wrapping_sub(zeros), hi, lo << zeros)
}

#[inline(always)]
fn product<const DOUBLE: bool>(a: F80, b: F80) -> Option<Rounded> {
    let (sa, ea, ma) = unpack(a);
    let (sb, eb, mb) = unpack(b);
    let product = u128::from(ma) * u128::from(mb);
    let (hi, lo) = ((product >> 64) as u64, product as u64);
    let top = hi >> 63;
    let zeros = top ^ 1;
    let hi = hi << zeros | (lo >> 63) & zeros;
    round::<DOUBLE>(sa ^ sb, (ea + eb + top as u32).wrapping_sub(16383), hi, lo << zeros)
}

#[inline(always)]
fn quotient<const DOUBLE: bool>(a: F80, b: F80) -> Option<Rounded> {
    let (sa, ea, ma) = unpack(a);
    let (sb, eb, mb) = unpack(b);
    let (hi, lo) = arith::quotient(ma, mb);
    let exp = ea.wrapping_sub(eb).wrapping_add(16383 - u32::from(ma < mb));
    round::<DOUBLE>(sa ^ sb, exp, hi, lo)
}

/// The square root of a normal number.
#[inline(always)]
pub(crate) fn root<const DOUBLE: bool>(a: F80) -> Option<Rounded> {
    let (sign, exp, m) = unpack(a);
    if sign != 0 {
        return None;
    }
    // An odd exponent (the bias is odd) moves one bit into the radicand.
    let odd = (exp & 1) ^ 1;
    let (hi, lo) = arith::root(m, odd);
    round::<DOUBLE>(0, (exp + 16383 - odd) >> 1, hi, lo)
}

macro_rules! operations {
    ($($name:ident = |$a:ident, $b:ident| $e:expr;)*) => {$(
        impl Quick for arith::$name {
            #[inline(always)]
            fn quick<const DOUBLE: bool>($a: F80, $b: F80) -> Option<Rounded> {
                $e
            }
        }
    )*};
}

operations! {
    Add = |a, b| sum::<DOUBLE>(a, b, 0);
    Sub = |a, b| sum::<DOUBLE>(a, b, SIGN);
    SubR = |a, b| sum::<DOUBLE>(b, a, SIGN);
    Mul = |a, b| product::<DOUBLE>(a, b);
    Div = |a, b| quotient::<DOUBLE>(a, b);
    DivR = |a, b| quotient::<DOUBLE>(b, a);
}

/// How two normal numbers or zeros relate.
#[inline(always)]
pub(crate) fn relate(a: F80, b: F80) -> Option<Ordering> {
    let plain = |v: F80| v.is_normal() | v.is_zero();
    if !(plain(a) & plain(b)) {
        return None;
    }
    let key = |v: F80| {
        let magnitude = i128::from(v.exp()) << 64 | i128::from(v.sig);
        let negative = -i128::from(v.sign() >> 15);
        (magnitude ^ negative) - negative
    };
    Some(key(a).cmp(&key(b)))
}

/// A format of numbers in memory.
pub(crate) trait Narrow {
    /// A normal number of the format.
    fn widen(bits: u64) -> Option<F80>;
    /// A normal number to nearest, if it is certainly a normal one of the format.
    fn narrow(v: F80) -> Option<Rounded<u64>>;
}

/// The rules for a format of `FRACTION` stored bits and `EXPONENT` bits above them.
#[inline(always)]
fn widen<const FRACTION: u32, const EXPONENT: u32>(bits: u64) -> Option<F80> {
    let max = (1u32 << EXPONENT) - 1;
    let exp = (bits >> FRACTION) as u32 & max;
    if exp.wrapping_sub(1) >= max - 1 {
        return None;
    }
    let sign = (bits >> (FRACTION + EXPONENT) & 1) as u16;
    Some(F80::new(sign << 15 | (exp + 16383 - (max >> 1)) as u16, INTEGER_BIT | bits << (63 - FRACTION)))
}

#[inline(always)]
fn narrow<const FRACTION: u32, const EXPONENT: u32>(v: F80) -> Option<Rounded<u64>> {
    let (sign, exp, sig) = unpack(v);
    let (drop, max) = (63 - FRACTION, (1u32 << EXPONENT) - 1);
    let exp = exp.wrapping_sub(16383 - (max >> 1));
    // A carry may still add one.
    if exp.wrapping_sub(1) >= max - 2 {
        return None;
    }
    let (kept, rest) = (sig >> drop, sig & ((1 << drop) - 1));
    let up = (rest + (1 << (drop - 1)) - 1 + (kept & 1)) >> drop;
    // The integer bit adds one to the exponent, and so does a carry.
    let value = u64::from(sign >> 15) << (FRACTION + EXPONENT) | ((u64::from(exp) - 1) << FRACTION) + kept + up;
    Some(Rounded { value, flags: u16::from(rest != 0) * PE | up as u16 * C1 })
}

/// Single precision.
pub(crate) struct Single;
/// Double precision.
pub(crate) struct Double;

impl Narrow for Single {
    #[inline(always)]
    fn widen(bits: u64) -> Option<F80> {
        widen::<23, 8>(bits)
    }
    #[inline(always)]
    fn narrow(v: F80) -> Option<Rounded<u64>> {
        narrow::<23, 8>(v)
    }
}

impl Narrow for Double {
    #[inline(always)]
    fn widen(bits: u64) -> Option<F80> {
        widen::<52, 11>(bits)
    }
    #[inline(always)]
    fn narrow(v: F80) -> Option<Rounded<u64>> {
        narrow::<52, 11>(v)
    }
}

/// Bits of the control word: the mask of inexact results, precision and rounding.
const PM: u16 = 0x20;
const PRECISION: u16 = 0x300;
const ROUNDING: u16 = 0xC00;

/// The unit as handlers see it.
impl Fpu {
    /// Whether no exception waits.
    #[inline(always)]
    pub(crate) fn is_calm(&self) -> bool {
        self.sw & ES == 0
    }

    /// Whether results are rounded to nearest, and inexact ones masked.
    #[inline(always)]
    pub(crate) fn rounds_quickly(&self) -> bool {
        self.cw & (PM | ROUNDING) == PM
    }

    /// The same, with a precision of 53 bits if `DOUBLE`, else of 64.
    #[inline(always)]
    pub(crate) fn computes_quickly<const DOUBLE: bool>(&self) -> bool {
        self.cw & (PM | PRECISION | ROUNDING) == PM | if DOUBLE { 0x200 } else { 0x300 }
    }

    /// Replaces PE (which stays set) and C1.
    #[inline(always)]
    pub(crate) fn raise_quickly(&mut self, flags: u16) {
        self.sw = self.sw & !C1 | flags;
    }

    /// Whether the ST(i) whose bits are set in `mask` are in use and hold normal numbers.
    #[inline(always)]
    pub(crate) fn are_normal(&self, mask: u8) -> bool {
        !(self.used & self.normal).rotate_right(self.top.into()) & mask == 0
    }

    /// Whether the ST(i) whose bits are set in `mask` are in use.
    #[inline(always)]
    pub(crate) fn are_used(&self, mask: u8) -> bool {
        !self.used.rotate_right(self.top.into()) & mask == 0
    }

    /// Whether ST(0) is in use and holds a normal number.
    #[inline(always)]
    pub(crate) fn is_normal(&self) -> bool {
        u32::from(self.used & self.normal) >> self.top & 1 != 0
    }

    /// Takes the result of an instruction into ST(i), which is in use and holds a normal number, too.
    #[inline(always)]
    pub(crate) fn settle_quickly(&mut self, i: u8, out: Rounded) {
        self.raise_quickly(out.flags);
        self.regs[self.physical(i)] = out.value;
    }

    /// Changes the sign word of ST(0), which is in use: FCHS, FABS.
    #[inline(always)]
    pub(crate) fn change_sign_quickly(&mut self, f: impl Fn(u16) -> u16) {
        self.raise_quickly(0);
        let v = &mut self.regs[usize::from(self.top & 7)];
        v.sign_exp = f(v.sign_exp);
    }

    /// FXCH of two registers in use.
    #[inline(always)]
    pub(crate) fn exchange_quickly(&mut self, i: u8) {
        self.raise_quickly(0);
        let (a, b) = (self.physical(0), self.physical(i));
        (self.regs[a], self.regs[b]) = (self.regs[b], self.regs[a]);
        if !self.are_normal(1 | 1 << i) {
            self.exchange_kinds(a, b);
        }
    }

    /// What is known of two registers goes with their contents.
    #[cold]
    #[inline(never)]
    fn exchange_kinds(&mut self, a: usize, b: usize) {
        if (self.normal >> a ^ self.normal >> b) & 1 != 0 {
            self.normal ^= 1 << a | 1 << b;
        }
    }

    /// Takes `n` registers, 0 or 1, off the stack.
    #[inline(always)]
    pub(crate) fn pop_quickly(&mut self, n: u8) {
        debug_assert!(n <= 1);
        self.used &= !(n << self.top);
        self.top = self.top.wrapping_add(n) & 7;
    }

    /// Pushes a value if there is room, which sets C1 to 0; `normal` is whether it is a normal number.
    #[inline(always)]
    pub(crate) fn push_quickly(&mut self, v: F80, normal: bool) {
        self.raise_quickly(0);
        self.top = self.top.wrapping_sub(1) & 7;
        self.regs[usize::from(self.top)] = v;
        self.used |= 1 << self.top;
        self.normal = self.normal & !(1 << self.top) | u8::from(normal) << self.top;
    }

    /// FLD ST(i), which is in use, if there is room.
    #[inline(always)]
    pub(crate) fn duplicate_quickly(&mut self, i: u8) {
        let n = self.physical(i);
        self.push_quickly(self.regs[n], self.normal >> n & 1 != 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compare::compare;
    use super::super::float::{from_f32, from_f64, to_f32, to_f64};
    use super::super::round::{Ctl, Out};
    use super::*;

    /// Significands near every boundary of rounding, and any.
    fn significand() -> impl Strategy<Value = u64> {
        let near = (0u32..64, 0u64..5, any::<bool>()).prop_map(|(at, by, below)| {
            let v = INTEGER_BIT >> at;
            INTEGER_BIT | if below { v.wrapping_sub(by) } else { v.wrapping_add(by) }
        });
        let sparse = (any::<u64>(), 0u32..63).prop_map(|(v, n)| INTEGER_BIT | v >> n << n);
        let ties = (any::<u64>(), prop_oneof![Just(11u32), Just(40)], 0u64..5)
            .prop_map(|(v, drop, by)| INTEGER_BIT | (v >> drop << drop) + (1 << (drop - 1)) + by - 2);
        prop_oneof![Just(INTEGER_BIT), Just(u64::MAX), near, sparse, ties, any::<u64>().prop_map(|v| v | INTEGER_BIT)]
    }

    /// Exponents close to each other, near those of singles, doubles and the format itself, and any.
    fn exponent() -> impl Strategy<Value = u16> {
        let near = |at: i32| (at - 70..at + 70).prop_map(|e| e.clamp(0, 0x7fff) as u16);
        let close = (16383u16 - 3..16383 + 4).boxed();
        prop_oneof![
            close,
            near(16383),
            near(0),
            near(0x7fff),
            near(16383 - 1022),
            near(16383 + 1023),
            near(16383 - 126),
            near(16383 + 127),
            0u16..0x8000
        ]
    }

    /// Numbers of all kinds, most of them normal.
    fn number() -> impl Strategy<Value = F80> {
        let normal = (any::<bool>(), exponent(), significand())
            .prop_map(|(negative, exp, sig)| F80::new(exp | if negative { SIGN } else { 0 }, sig));
        let special = prop_oneof![
            Just(F80::ZERO),
            Just(F80::zero(SIGN)),
            Just(F80::infinity(0)),
            Just(F80::INDEFINITE),
            Just(F80::new(0, 1)),
            Just(F80::new(0, u64::MAX)),
            Just(F80::new(0x3fff, 1))
        ];
        prop_oneof![12 => normal, 1 => special]
    }

    fn same(quick: Option<Rounded>, full: Out) {
        if let Some(quick) = quick {
            assert_eq!((quick.value, quick.flags), (full.value, full.flags));
        }
    }

    fn all_operations<const DOUBLE: bool>(a: F80, b: F80) {
        if !a.is_normal() || !b.is_normal() {
            return;
        }
        let ctl = Ctl::new(if DOUBLE { 0x27f } else { 0x37f });
        same(arith::Add::quick::<DOUBLE>(a, b), arith::add(a, b, ctl));
        same(arith::Sub::quick::<DOUBLE>(a, b), arith::sub(a, b, ctl));
        same(arith::SubR::quick::<DOUBLE>(a, b), arith::subr(a, b, ctl));
        same(arith::Mul::quick::<DOUBLE>(a, b), arith::mul(a, b, ctl));
        same(arith::Div::quick::<DOUBLE>(a, b), arith::div(a, b, ctl));
        same(arith::DivR::quick::<DOUBLE>(a, b), arith::divr(a, b, ctl));
        same(root::<DOUBLE>(a), arith::sqrt(a, ctl));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn arithmetic_has_the_same_bits(a in number(), b in number()) {
            all_operations::<false>(a, b);
            all_operations::<true>(a, b);
            let squared = F80::new(a.exp(), a.sig);
            all_operations::<false>(squared, b);
        }

        #[test]
        fn comparisons_find_the_same_order(a in number(), b in number()) {
            for (a, b) in [(a, b), (a, a), (a, a.negate()), (a, F80::new(a.sign_exp, b.sig))] {
                if let Some(order) = relate(a, b) {
                    let full = compare(a, b, false, Ctl::new(0x37f));
                    assert_eq!((Some(order), 0), (full.order, full.flags));
                }
            }
        }

        #[test]
        fn stores_have_the_same_bits(a in number()) {
            let ctl = Ctl::new(0x37f);
            if !a.is_normal() {
                return Ok(());
            }
            if let Some(quick) = Double::narrow(a) {
                assert_eq!((quick.value, quick.flags), to_f64(a, ctl));
            }
            if let Some(quick) = Single::narrow(a) {
                let (bits, flags) = to_f32(a, ctl);
                assert_eq!((quick.value, quick.flags), (bits.into(), flags));
            }
        }

        #[test]
        fn loads_have_the_same_bits(bits: u64, a in number()) {
            for bits in [bits, to_f64(a, Ctl::new(0x37f)).0, bits & 0x800f_ffff_ffff_ffff] {
                if let Some(quick) = Double::widen(bits) {
                    assert_eq!((quick, 0), from_f64(bits));
                }
            }
            for bits in [bits as u32, to_f32(a, Ctl::new(0x37f)).0] {
                if let Some(quick) = Single::widen(bits.into()) {
                    assert_eq!((quick, 0), from_f32(bits));
                }
            }
        }
    }

    /// Normal numbers far from the ends of the range do not ask for the whole of the rules.
    #[test]
    fn ordinary_numbers_are_quick() {
        let (a, b) = (F80::new(0x4001, 0xc123_4567_89ab_cdef), F80::new(0xc003, 0x9fed_cba9_8765_4321));
        assert!(arith::Add::quick::<false>(a, b).is_some() && arith::Sub::quick::<true>(a, b).is_some());
        assert!(arith::Mul::quick::<false>(a, b).is_some() && arith::DivR::quick::<true>(a, b).is_some());
        assert!(root::<false>(a).is_some() && relate(a, F80::ZERO) == Some(Ordering::Greater));
        assert!(Double::narrow(a).is_some() && Single::narrow(b).is_some());
        assert!(Double::widen(1.5f64.to_bits()).is_some() && Single::widen(1.5f32.to_bits().into()).is_some());
    }
}
