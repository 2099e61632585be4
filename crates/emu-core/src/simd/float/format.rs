//! The two binary formats, and taking their bit patterns apart.

use super::super::lane::Lane;
use super::env::{DE, Env, IE, Rounding};

/// A binary floating-point format; values are bit patterns in the low `WIDTH` bits of a `u64`.
pub trait Layout: Copy + 'static {
    /// Bits in all.
    const WIDTH: u32;
    /// Stored fraction bits.
    const FRAC: u32;
    /// Largest unbiased exponent; also the bias.
    const EMAX: i32;

    /// The sign bit.
    const SIGN: u64 = 1 << (Self::WIDTH - 1);
    /// Plus infinity; also the mask of the exponent field.
    const INF: u64 = (2 * Self::EMAX as u64 + 1) << Self::FRAC;
    /// The bit that tells quiet from signalling NaNs.
    const QUIET: u64 = 1 << (Self::FRAC - 1);
    /// The quiet NaN that masked invalid operations give.
    const INDEFINITE: u64 = Self::SIGN | Self::INF | Self::QUIET;
    /// Smallest normal number; also the implicit leading bit of a significand.
    const MIN_NORMAL: u64 = 1 << Self::FRAC;
    /// Everything but the sign.
    const MAGNITUDE: u64 = Self::SIGN - 1;
    /// Smallest unbiased exponent of a normal number.
    const EMIN: i32 = 1 - Self::EMAX;
}

/// A format that instructions compute in.
pub trait Format: Layout {
    /// Lane `i` of a vector.
    fn get<const N: usize>(v: &[u8; N], i: usize) -> u64;
    /// Store lane `i` of a vector.
    fn put<const N: usize>(bits: u64, v: &mut [u8; N], i: usize);
    /// Host sum, to nearest.
    fn host_add(a: u64, b: u64) -> u64;
    /// Host product, to nearest.
    fn host_mul(a: u64, b: u64) -> u64;
    /// Host quotient, to nearest.
    fn host_div(a: u64, b: u64) -> u64;
    /// Host square root, to nearest.
    fn host_sqrt(a: u64) -> u64;
    /// The integer part as the host gives it: saturated, 0 for NaNs.
    fn host_truncate(a: u64) -> i64;
    /// An integer as the host converts it, to nearest.
    fn host_from_int(a: i64) -> u64;
    /// Rounded to an integral value.
    fn host_round(a: u64, mode: Rounding) -> u64;
}

/// Single precision.
#[derive(Debug, Clone, Copy)]
pub struct F32;
/// Double precision.
#[derive(Debug, Clone, Copy)]
pub struct F64;
/// Half precision, which is only converted from and to.
#[derive(Debug, Clone, Copy)]
pub struct F16;

impl Layout for F16 {
    const WIDTH: u32 = 16;
    const FRAC: u32 = 10;
    const EMAX: i32 = 15;
}

macro_rules! format {
    ($name:ident, $host:ty, $bits:ty, $frac:expr, $emax:expr) => {
        impl Layout for $name {
            const WIDTH: u32 = <$bits>::BITS;
            const FRAC: u32 = $frac;
            const EMAX: i32 = $emax;
        }
        impl Format for $name {
            #[inline(always)]
            fn get<const N: usize>(v: &[u8; N], i: usize) -> u64 {
                <$bits as Lane>::get(v, i) as u64
            }
            #[inline(always)]
            fn put<const N: usize>(bits: u64, v: &mut [u8; N], i: usize) {
                (bits as $bits).put(v, i);
            }
            #[inline(always)]
            fn host_add(a: u64, b: u64) -> u64 {
                (<$host>::from_bits(a as $bits) + <$host>::from_bits(b as $bits)).to_bits() as u64
            }
            #[inline(always)]
            fn host_mul(a: u64, b: u64) -> u64 {
                (<$host>::from_bits(a as $bits) * <$host>::from_bits(b as $bits)).to_bits() as u64
            }
            #[inline(always)]
            fn host_div(a: u64, b: u64) -> u64 {
                (<$host>::from_bits(a as $bits) / <$host>::from_bits(b as $bits)).to_bits() as u64
            }
            #[inline(always)]
            fn host_sqrt(a: u64) -> u64 {
                <$host>::from_bits(a as $bits).sqrt().to_bits() as u64
            }
            #[inline(always)]
            fn host_truncate(a: u64) -> i64 {
                <$host>::from_bits(a as $bits) as i64
            }
            #[inline(always)]
            fn host_from_int(a: i64) -> u64 {
                (a as $host).to_bits() as u64
            }
            #[inline(always)]
            fn host_round(a: u64, mode: Rounding) -> u64 {
                let a = <$host>::from_bits(a as $bits);
                // Without the C library's functions, whose calls would cost a handler its jump. A number that leaves no
                // room for a fraction rounds the other to an integer; from there on all steps are exact.
                let large = ((1u64 << $frac) as $host).copysign(a);
                let near = if a.abs() < large.abs() { a + large - large } else { a };
                let beyond = match mode {
                    Rounding::Nearest => false,
                    Rounding::Down => near > a,
                    Rounding::Up => near < a,
                    Rounding::Zero => near.abs() > a.abs(),
                };
                let step: $host = match mode {
                    Rounding::Up => -1.0,
                    Rounding::Down => 1.0,
                    _ => <$host>::copysign(1.0, a),
                };
                let rounded = (if beyond { near - step } else { near }).copysign(a);
                rounded.to_bits() as u64
            }
        }
    };
}
format!(F32, f32, u32, 23, 127);
format!(F64, f64, u64, 52, 1023);

/// A finite number: `significand`·2^(`exponent` - 63); the significand has bit 63 set, or is 0 for zero.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    /// Negative.
    pub sign: bool,
    /// Unbiased exponent of bit 63; meaningless for zero.
    pub exponent: i32,
    /// Left-aligned significand.
    pub significand: u64,
}

#[inline(always)]
pub(super) fn is_nan<F: Layout>(a: u64) -> bool {
    a & F::MAGNITUDE > F::INF
}

#[inline(always)]
pub(super) fn is_signaling<F: Layout>(a: u64) -> bool {
    is_nan::<F>(a) && a & F::QUIET == 0
}

#[inline(always)]
pub(super) fn is_inf<F: Layout>(a: u64) -> bool {
    a & F::MAGNITUDE == F::INF
}

#[inline(always)]
pub(super) fn is_zero<F: Layout>(a: u64) -> bool {
    a & F::MAGNITUDE == 0
}

#[inline(always)]
pub(super) fn is_negative<F: Layout>(a: u64) -> bool {
    a & F::SIGN != 0
}

#[inline(always)]
pub(super) fn is_denormal<F: Layout>(a: u64) -> bool {
    (a & F::MAGNITUDE).wrapping_sub(1) < F::MIN_NORMAL - 1
}

/// A normal number or a zero: what needs no special rule as an operand.
#[inline(always)]
pub(super) fn is_plain<F: Layout>(a: u64) -> bool {
    let magnitude = a & F::MAGNITUDE;
    magnitude.wrapping_sub(F::MIN_NORMAL) < F::INF - F::MIN_NORMAL || magnitude == 0
}

/// The operand as DAZ lets the instruction see it: a denormal becomes a zero of its sign.
#[inline(always)]
pub(super) fn operand<F: Layout>(a: u64, env: &Env) -> u64 {
    if env.daz() && is_denormal::<F>(a) { a & F::SIGN } else { a }
}

/// DE, if the operand (after DAZ) is denormal.
#[inline(always)]
pub(super) fn note_denormal<F: Layout>(a: u64, env: &mut Env) {
    if is_denormal::<F>(a) {
        env.raise(DE);
    }
}

/// The result of an operation with at least one NaN operand: the first NaN, made quiet [SDM-1 table 4-7].
#[cold]
pub(super) fn propagate<F: Layout>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_signaling::<F>(a) || is_signaling::<F>(b) {
        env.raise(IE);
    }
    F::QUIET | if is_nan::<F>(a) { a } else { b }
}

/// Raise IE and give the default NaN.
#[cold]
pub(super) fn invalid<F: Layout>(env: &mut Env) -> u64 {
    env.raise(IE);
    F::INDEFINITE
}

/// A finite operand taken apart.
#[inline]
pub(super) fn unpack<F: Layout>(a: u64) -> Number {
    let sign = is_negative::<F>(a);
    let (field, fraction) = ((a & F::INF) >> F::FRAC, a & (F::MIN_NORMAL - 1));
    if field != 0 {
        let significand = (fraction | F::MIN_NORMAL) << (63 - F::FRAC);
        Number { sign, exponent: field as i32 - F::EMAX, significand }
    } else if fraction == 0 {
        Number { sign, exponent: 0, significand: 0 }
    } else {
        let shift = fraction.leading_zeros();
        Number { sign, exponent: F::EMIN + (63 - F::FRAC) as i32 - shift as i32, significand: fraction << shift }
    }
}

/// The sign bit of `F`, if set.
#[inline(always)]
pub(super) fn sign_bit<F: Layout>(sign: bool) -> u64 {
    if sign { F::SIGN } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn doubles() -> impl Strategy<Value = f64> {
        let halves = (-1i64 << 54..1 << 54, 0u32..54).prop_map(|(v, n)| (v >> n) as f64 / 2.0);
        let near = halves.clone().prop_map(|v| f64::from_bits(v.to_bits() ^ 1));
        prop_oneof![halves, near, any::<u64>().prop_map(f64::from_bits).prop_filter("a number", |v| !v.is_nan())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn the_host_rounds_as_its_library_does(v in doubles()) {
            let single = v as f32;
            let double = |mode| F64::host_round(v.to_bits(), mode);
            let narrow = |mode| F32::host_round(single.to_bits().into(), mode) as u32;
            prop_assert_eq!(double(Rounding::Nearest), v.round_ties_even().to_bits());
            prop_assert_eq!(double(Rounding::Down), v.floor().to_bits());
            prop_assert_eq!(double(Rounding::Up), v.ceil().to_bits());
            prop_assert_eq!(double(Rounding::Zero), v.trunc().to_bits());
            prop_assert_eq!(narrow(Rounding::Nearest), single.round_ties_even().to_bits());
            prop_assert_eq!(narrow(Rounding::Down), single.floor().to_bits());
            prop_assert_eq!(narrow(Rounding::Up), single.ceil().to_bits());
            prop_assert_eq!(narrow(Rounding::Zero), single.trunc().to_bits());
        }
    }
}
