//! What nearly every instruction does: normal numbers, rounding to nearest, inexact results masked, a result that is a normal
//! number too. Without a branch that the numbers decide, as the host would mispredict it; `None` asks for the whole of the
//! rules, which are in [`super::arith`], [`super::float`] and [`super::compare`]. Both give the same bits (tests below).

use core::cmp::Ordering;

use super::compare::{C0, C2, C3, Compared};
use super::f80::{EXP_MAX, F80, INTEGER_BIT, SIGN};
use super::{Fpu, arith};

/// A register's contents as they are computed with. The word has the biased exponent in its low bits, the sign in the top
/// one, and [`OTHER`] if this is no normal number: so that one test of a result's exponent tells that an operand was not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Num {
    pub(crate) word: u32,
    pub(crate) sig: u64,
}

/// No normal number. A sum of two words that have it is out of range, too.
const OTHER: u32 = 1 << 24;
/// The sign.
const NEGATIVE: u32 = 1 << 31;

impl From<F80> for Num {
    #[inline(always)]
    fn from(v: F80) -> Num {
        let other = if v.is_normal() { 0 } else { OTHER };
        Num { word: u32::from(v.exp()) | u32::from(v.sign()) << 16 | other, sig: v.sig }
    }
}

impl From<Num> for F80 {
    #[inline(always)]
    fn from(v: Num) -> F80 {
        F80::new(v.word as u16 & EXP_MAX | (v.word >> 16) as u16 & SIGN, v.sig)
    }
}

impl Num {
    /// +1
    pub(crate) const ONE: Num = Num { word: 0x3fff, sig: INTEGER_BIT };
    /// +0
    pub(crate) const ZERO: Num = Num { word: OTHER, sig: 0 };

    /// The exponent field, and [`OTHER`].
    #[inline(always)]
    fn exp(self) -> u32 {
        self.word & !NEGATIVE
    }

    /// With its sign changed.
    #[inline(always)]
    pub(crate) fn negate(self) -> Num {
        Num { word: self.word ^ NEGATIVE, ..self }
    }

    /// Without its sign.
    #[inline(always)]
    pub(crate) fn magnitude(self) -> Num {
        Num { word: self.word & !NEGATIVE, ..self }
    }

    /// A normal number, or +0 for either zero.
    fn unsigned_zero(self) -> Option<Num> {
        match self.word & OTHER {
            0 => Some(self),
            _ => self.is_zero().then_some(Num::ZERO),
        }
    }

    #[inline]
    fn is_zero(self) -> bool {
        self.exp() == OTHER && self.sig == 0
    }

    /// An integer.
    #[inline(always)]
    pub(crate) fn from_int(v: i64) -> Num {
        let magnitude = v.unsigned_abs();
        let zeros = magnitude.leading_zeros() & 63;
        let word = if v == 0 { OTHER } else { (v >> 63) as u32 & NEGATIVE | (16383 + 63 - zeros) };
        Num { word, sig: magnitude << zeros }
    }
}

/// A result, what rounding lost (not 0 if anything), and whether it was rounded up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rounded<T = Num> {
    pub(crate) value: T,
    pub(crate) inexact: u64,
    pub(crate) up: bool,
}

/// `hi.lo` with sign and exponent `word` to nearest, to 53 bits if `DOUBLE`, else to 64; `hi` has its top bit set.
#[inline(always)]
fn round<const DOUBLE: bool>(word: u32, hi: u64, lo: u64) -> Option<Rounded> {
    let (base, rest, unit) = if DOUBLE { (hi & !0x7FF, hi << 53 | u64::from(lo != 0), 0x800) } else { (hi, lo, 1) };
    // Above half a unit, or at it if that makes the last bit even.
    let up = rest > INTEGER_BIT - u64::from(base & unit != 0);
    let sig = base.wrapping_add(if DOUBLE { if up { unit } else { 0 } } else { u64::from(up) });
    // A carry out of the top leaves nothing behind; it is rare. Then, twice the exponent, without the sign.
    if sig as i64 >= 0 || (word << 1).wrapping_sub(2) >= 2 * (u32::from(EXP_MAX) - 1) {
        return None;
    }
    Some(Rounded { value: Num { word, sig }, inexact: rest, up })
}

/// An operation on two numbers, destination first.
pub(crate) trait Quick {
    fn quick<const DOUBLE: bool>(a: Num, b: Num) -> Option<Rounded>;
    /// The exact result where an operand is zero, and the other one zero or normal.
    fn with_zero<const DOUBLE: bool>(a: Num, b: Num) -> Option<Num>;
}

/// `a + b`
fn sum_with_zero<const DOUBLE: bool>(a: Num, b: Num) -> Option<Num> {
    let exact = |v: Num| (v.word & OTHER == 0 && (!DOUBLE || v.sig & 0x7FF == 0)).then_some(v);
    match (a.is_zero(), b.is_zero()) {
        (true, true) => Some(if a == b { a } else { Num::ZERO }),
        (true, false) => exact(b),
        (false, true) => exact(a),
        _ => None,
    }
}

fn product_with_zero(a: Num, b: Num) -> Option<Num> {
    let number = |v: Num| v.word & OTHER == 0 || v.is_zero();
    let zero = (a.is_zero() || b.is_zero()) && number(a) && number(b);
    zero.then_some(Num { word: OTHER | (a.word ^ b.word) & NEGATIVE, sig: 0 })
}

fn quotient_with_zero(a: Num, b: Num) -> Option<Num> {
    if b.word & OTHER == 0 { product_with_zero(a, b).filter(|_| a.is_zero()) } else { None }
}

/// `a + b`. Whether the signs are the same is a branch, which hosts guess well; what it saves is a fourth of all.
#[inline(always)]
fn sum<const DOUBLE: bool>(a: Num, b: Num) -> Option<Rounded> {
    if (a.word ^ b.word) & NEGATIVE == 0 { total::<DOUBLE>(a, b) } else { difference::<DOUBLE>(a, b) }
}

/// `small` moved down by `distance` bits. What falls out at the bottom is less than a quarter of a unit.
#[inline(always)]
fn aligned(small: u64, distance: u32) -> Option<(u64, u64)> {
    match distance {
        0..=63 => Some((small >> distance, (small << 1) << (63 - distance))),
        64 | 65 => None,
        _ => Some((0, 1)),
    }
}

/// The sum of two numbers with the same sign.
#[inline(always)]
fn total<const DOUBLE: bool>(a: Num, b: Num) -> Option<Rounded> {
    let swap = a.word < b.word;
    let (large, small) = if swap { (b.sig, a.sig) } else { (a.sig, b.sig) };
    let (wl, ws) = if swap { (b.word, a.word) } else { (a.word, b.word) };
    let (hi, lo) = aligned(small, wl.wrapping_sub(ws))?;
    let (sig, carry) = large.overflowing_add(hi);
    // One bit down if there is a carry, which nothing but zeros is lost by.
    let carry = u64::from(carry);
    let (hi, lo) = (sig >> carry | carry << 63, lo >> carry | (sig & carry) << 63);
    round::<DOUBLE>(wl.wrapping_add(carry as u32), hi, lo)
}

/// The sum of two numbers with different signs.
#[inline(always)]
fn difference<const DOUBLE: bool>(a: Num, b: Num) -> Option<Rounded> {
    let key = |v: Num| u128::from(v.word << 1) << 64 | u128::from(v.sig);
    let swap = key(a) < key(b);
    let (large, small) = if swap { (b.sig, a.sig) } else { (a.sig, b.sig) };
    let (wl, ws) = if swap { (b.word, a.word) } else { (a.word, b.word) };
    let (hi, lo) = aligned(small, wl.wrapping_sub(ws) & !NEGATIVE)?;
    let (lo, borrow) = 0u64.overflowing_sub(lo);
    let hi = large.wrapping_sub(hi).wrapping_sub(borrow.into());
    if hi == 0 {
        return None;
    }
    let zeros = hi.leading_zeros() & 63;
    // A sum, and not an OR, which the compiler would make one shift of 128 bits of: slow on many hosts.
    let hi = (hi << zeros).wrapping_add((lo >> 1) >> (63 - zeros));
    // An exponent that goes below 0 takes the sign along, but is refused.
    round::<DOUBLE>(wl.wrapping_sub(zeros), hi, lo << zeros)
}

#[inline(always)]
fn product<const DOUBLE: bool>(a: Num, b: Num) -> Option<Rounded> {
    let product = u128::from(a.sig) * u128::from(b.sig);
    let (hi, lo) = ((product >> 64) as u64, product as u64);
    let top = hi >> 63;
    let twice = hi.wrapping_add(hi).wrapping_add(lo >> 63);
    let (hi, lo) = (if top != 0 { hi } else { twice }, if top != 0 { lo } else { lo << 1 });
    // The sum of the signs is that of the product.
    let word = a.word.wrapping_add(b.word).wrapping_add(top as u32).wrapping_sub(16383);
    round::<DOUBLE>(word, hi, lo)
}

#[inline(always)]
fn quotient<const DOUBLE: bool>(a: Num, b: Num) -> Option<Rounded> {
    if (a.word | b.word) & OTHER != 0 {
        return None;
    }
    let (hi, lo) = arith::quotient(a.sig, b.sig);
    let word = a.word.wrapping_add(16383 - u32::from(a.sig < b.sig)).wrapping_sub(b.word);
    round::<DOUBLE>(word, hi, lo)
}

/// The square root.
#[inline(always)]
pub(crate) fn root<const DOUBLE: bool>(a: Num) -> Option<Rounded> {
    if a.word & (NEGATIVE | OTHER) != 0 {
        return None;
    }
    // An odd exponent (the bias is odd) moves one bit into the radicand.
    let odd = (a.word & 1) ^ 1;
    let (hi, lo) = arith::root(a.sig, odd);
    round::<DOUBLE>((a.word + 16383 - odd) >> 1, hi, lo)
}

macro_rules! operations {
    ($($name:ident = |$a:ident, $b:ident| $e:expr, $zero:expr;)*) => {$(
        impl Quick for arith::$name {
            #[inline(always)]
            fn quick<const DOUBLE: bool>($a: Num, $b: Num) -> Option<Rounded> {
                $e
            }
            fn with_zero<const DOUBLE: bool>($a: Num, $b: Num) -> Option<Num> {
                $zero
            }
        }
    )*};
}

operations! {
    Add = |a, b| sum::<DOUBLE>(a, b), sum_with_zero::<DOUBLE>(a, b);
    Sub = |a, b| sum::<DOUBLE>(a, b.negate()), sum_with_zero::<DOUBLE>(a, b.negate());
    SubR = |a, b| sum::<DOUBLE>(b, a.negate()), sum_with_zero::<DOUBLE>(b, a.negate());
    Mul = |a, b| product::<DOUBLE>(a, b), product_with_zero(a, b);
    Div = |a, b| quotient::<DOUBLE>(a, b), quotient_with_zero(a, b);
    DivR = |a, b| quotient::<DOUBLE>(b, a), quotient_with_zero(b, a);
}

/// `a + a`, which is exact unless it is too large.
pub(crate) struct Twice;

impl Quick for Twice {
    #[inline(always)]
    fn quick<const DOUBLE: bool>(a: Num, _: Num) -> Option<Rounded> {
        round::<DOUBLE>(a.word.wrapping_add(1), a.sig, 0)
    }
    fn with_zero<const DOUBLE: bool>(a: Num, _: Num) -> Option<Num> {
        a.is_zero().then_some(a)
    }
}

/// How two normal numbers or zeros relate.
#[inline(always)]
pub(crate) fn relate(a: Num, b: Num) -> Option<Ordering> {
    if (a.word | b.word) & (OTHER | NEGATIVE) == 0 {
        let key = |v: Num| u128::from(v.word) << 64 | u128::from(v.sig);
        return Some(key(a).cmp(&key(b)));
    }
    let (a, b) = if (a.word | b.word) & OTHER == 0 { (a, b) } else { (a.unsigned_zero()?, b.unsigned_zero()?) };
    // The complement orders negative numbers.
    let key = |v: Num| {
        let negative = i64::from(v.word as i32 >> 31);
        let exp = i64::from(v.word & u32::from(EXP_MAX)) ^ negative;
        i128::from(exp) << 64 | i128::from(v.sig ^ negative as u64)
    };
    Some(key(a).cmp(&key(b)))
}

/// A format of numbers in memory.
pub(crate) trait Narrow {
    /// A normal number of the format.
    fn widen(bits: u64) -> Option<Num>;
    /// A normal number to nearest, if it is certainly a normal one of the format.
    fn narrow(v: Num) -> Option<Rounded<u64>>;
}

/// The rules for a format of `FRACTION` stored bits and `EXPONENT` bits above them.
#[inline(always)]
fn widen<const FRACTION: u32, const EXPONENT: u32>(bits: u64) -> Option<Num> {
    let max = (1u32 << EXPONENT) - 1;
    let exp = (bits >> FRACTION) as u32 & max;
    if exp.wrapping_sub(1) >= max - 1 {
        return None;
    }
    let sign = (bits >> (FRACTION + EXPONENT)) as u32 & 1;
    Some(Num { word: sign << 31 | exp + (16383 - (max >> 1)), sig: INTEGER_BIT | bits << (63 - FRACTION) })
}

#[inline(always)]
fn narrow<const FRACTION: u32, const EXPONENT: u32>(v: Num) -> Option<Rounded<u64>> {
    let (drop, max) = (63 - FRACTION, (1u32 << EXPONENT) - 1);
    let exp = v.exp().wrapping_sub(16383 - (max >> 1));
    // A carry may still add one.
    if exp.wrapping_sub(1) >= max - 2 {
        return None;
    }
    let (kept, rest) = (v.sig >> drop, v.sig & ((1 << drop) - 1));
    let up = (rest + (1 << (drop - 1)) - 1 + (kept & 1)) >> drop;
    // The integer bit adds one to the exponent, and so does a carry.
    let value = u64::from(v.word >> 31) << (FRACTION + EXPONENT) | ((u64::from(exp) - 1) << FRACTION) + kept + up;
    Some(Rounded { value, inexact: rest, up: up != 0 })
}

/// Single precision.
pub(crate) struct Single;
/// Double precision.
pub(crate) struct Double;

impl Narrow for Single {
    #[inline(always)]
    fn widen(bits: u64) -> Option<Num> {
        widen::<23, 8>(bits)
    }
    #[inline(always)]
    fn narrow(v: Num) -> Option<Rounded<u64>> {
        narrow::<23, 8>(v)
    }
}

impl Narrow for Double {
    #[inline(always)]
    fn widen(bits: u64) -> Option<Num> {
        widen::<52, 11>(bits)
    }
    #[inline(always)]
    fn narrow(v: Num) -> Option<Rounded<u64>> {
        narrow::<52, 11>(v)
    }
}

/// The unit as handlers see it.
impl Fpu {
    /// What place `n` holds.
    #[inline(always)]
    pub(crate) fn num(&self, n: usize) -> Num {
        Num { word: self.word[n], sig: self.sig[n] }
    }

    /// Replaces what place `n` holds.
    #[inline(always)]
    pub(crate) fn put(&mut self, n: usize, v: Num) {
        (self.word[n], self.sig[n]) = (v.word, v.sig);
    }

    /// The result of a comparison of two numbers.
    #[inline(always)]
    pub(crate) fn settle_order(&mut self, order: Ordering) {
        let out = Compared { order: Some(order), flags: 0 };
        self.sw = self.sw & !(C0 | C2 | C3) | out.condition_codes();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::compare::compare;
    use super::super::float::{from_f32, from_f64, to_f32, to_f64};
    use super::super::int::from_int;
    use super::super::round::{C1, Ctl, Out, PE};
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

    /// PE and C1.
    fn flags<T>(out: &Rounded<T>) -> u16 {
        u16::from(out.inexact != 0) * PE | u16::from(out.up) * C1
    }

    fn same(quick: Option<Rounded>, full: Out) {
        if let Some(quick) = quick {
            assert_eq!((F80::from(quick.value), flags(&quick)), (full.value, full.flags));
            assert_eq!(quick.value, Num::from(full.value), "the kind is right");
        }
    }

    fn same_with_zero<O: Quick, const DOUBLE: bool>(a: Num, b: Num, full: Out) {
        if let Some(v) = O::with_zero::<DOUBLE>(a, b) {
            assert_eq!((v, 0), (Num::from(full.value), full.flags));
        }
    }

    fn all_operations<const DOUBLE: bool>(a: F80, b: F80) {
        let ctl = Ctl::new(if DOUBLE { 0x27f } else { 0x37f });
        let (x, y) = (Num::from(a), Num::from(b));
        assert_eq!((F80::from(x), F80::from(y)), (a, b));
        same(arith::Add::quick::<DOUBLE>(x, y), arith::add(a, b, ctl));
        same(arith::Sub::quick::<DOUBLE>(x, y), arith::sub(a, b, ctl));
        same(arith::SubR::quick::<DOUBLE>(x, y), arith::subr(a, b, ctl));
        same(arith::Mul::quick::<DOUBLE>(x, y), arith::mul(a, b, ctl));
        same(arith::Div::quick::<DOUBLE>(x, y), arith::div(a, b, ctl));
        same(arith::DivR::quick::<DOUBLE>(x, y), arith::divr(a, b, ctl));
        same(root::<DOUBLE>(x), arith::sqrt(a, ctl));
        same(Twice::quick::<DOUBLE>(x, x), arith::add(a, a, ctl));
        same_with_zero::<Twice, DOUBLE>(x, x, arith::add(a, a, ctl));
        same_with_zero::<arith::Add, DOUBLE>(x, y, arith::add(a, b, ctl));
        same_with_zero::<arith::Sub, DOUBLE>(x, y, arith::sub(a, b, ctl));
        same_with_zero::<arith::SubR, DOUBLE>(x, y, arith::subr(a, b, ctl));
        same_with_zero::<arith::Mul, DOUBLE>(x, y, arith::mul(a, b, ctl));
        same_with_zero::<arith::Div, DOUBLE>(x, y, arith::div(a, b, ctl));
        same_with_zero::<arith::DivR, DOUBLE>(x, y, arith::divr(a, b, ctl));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn arithmetic_has_the_same_bits(a in number(), b in number()) {
            all_operations::<false>(a, b);
            all_operations::<true>(a, b);
            let squared = F80::new(a.exp(), a.sig);
            all_operations::<false>(squared, b);
            for zero in [F80::ZERO, F80::zero(SIGN)] {
                all_operations::<true>(a, zero);
                all_operations::<true>(zero, b);
                all_operations::<false>(zero, zero.negate());
            }
        }

        #[test]
        fn roots_are_those_of_integers(m in significand(), k in 0u64..4096, square: u32) {
            // Beside the ends of the range, and beside squares.
            let square = u64::from(square | 1 << 31) * u64::from(square | 1 << 31);
            for m in [m, INTEGER_BIT + k, u64::MAX - k, square | INTEGER_BIT, square.wrapping_sub(1) | INTEGER_BIT] {
                for odd in [0, 1] {
                    let n = u128::from(m) << (63 + odd);
                    let (root, lo) = arith::root(m, odd);
                    let rest = n - u128::from(root) * u128::from(root);
                    assert_eq!(u128::from(root), n.isqrt());
                    assert_eq!((lo != 0, lo > INTEGER_BIT), (rest != 0, rest > u128::from(root)));
                }
            }
        }

        #[test]
        fn comparisons_find_the_same_order(a in number(), b in number()) {
            for (a, b) in [(a, b), (a, a), (a, a.negate()), (a, F80::new(a.sign_exp, b.sig))] {
                if let Some(order) = relate(a.into(), b.into()) {
                    let full = compare(a, b, false, Ctl::new(0x37f));
                    assert_eq!((Some(order), 0), (full.order, full.flags));
                }
            }
        }

        #[test]
        fn stores_have_the_same_bits(a in number()) {
            let ctl = Ctl::new(0x37f);
            if let Some(quick) = Double::narrow(a.into()) {
                assert_eq!((quick.value, flags(&quick)), to_f64(a, ctl));
            }
            if let Some(quick) = Single::narrow(a.into()) {
                let (bits, full) = to_f32(a, ctl);
                assert_eq!((quick.value, flags(&quick)), (bits.into(), full));
            }
        }

        #[test]
        fn loads_have_the_same_bits(bits: u64, a in number()) {
            for bits in [bits, to_f64(a, Ctl::new(0x37f)).0, bits & 0x800f_ffff_ffff_ffff] {
                if let Some(quick) = Double::widen(bits) {
                    assert_eq!((F80::from(quick), 0), from_f64(bits));
                }
            }
            for bits in [bits as u32, to_f32(a, Ctl::new(0x37f)).0] {
                if let Some(quick) = Single::widen(bits.into()) {
                    assert_eq!((F80::from(quick), 0), from_f32(bits));
                }
            }
        }
    }

    #[test]
    fn integers_have_the_same_bits() {
        for v in (0..64).flat_map(|n| [1i64 << n, (1i64 << n).wrapping_sub(1), -(1i64 << n >> 1), !(1i64 << n)]) {
            assert_eq!(Num::from_int(v), Num::from(from_int(v)), "{v:x}");
        }
        assert_eq!((Num::from(F80::ZERO), Num::from(F80::ONE)), (Num::ZERO, Num::ONE));
    }

    /// Normal numbers far from the ends of the range do not ask for the whole of the rules.
    #[test]
    fn ordinary_numbers_are_quick() {
        let (a, b) = (F80::new(0x4001, 0xc123_4567_89ab_cdef), F80::new(0xc003, 0x9fed_cba9_8765_4321));
        let (a, b) = (Num::from(a), Num::from(b));
        assert!(arith::Add::quick::<false>(a, b).is_some() && arith::Sub::quick::<true>(a, b).is_some());
        assert!(arith::Mul::quick::<false>(a, b).is_some() && arith::DivR::quick::<true>(a, b).is_some());
        assert_eq!(arith::Mul::with_zero::<false>(a, Num::ZERO), Some(Num::ZERO));
        assert!(root::<false>(a).is_some() && relate(a, Num::ZERO) == Some(Ordering::Greater));
        assert!(Double::narrow(a).is_some() && Single::narrow(b).is_some());
        assert!(Double::widen(1.5f64.to_bits()).is_some() && Single::widen(1.5f32.to_bits().into()).is_some());
    }
}
