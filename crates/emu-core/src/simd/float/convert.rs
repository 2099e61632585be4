//! Conversions between formats and to and from integers, and rounding to integral values [SDM-2A CVT*, ROUNDPS].

use super::env::{Env, IE, PE, Rounding};
use super::fast::is_ordinary;
use super::format::{
    F16, F32, F64, Format, Layout, Number, is_inf, is_nan, is_negative, is_plain, is_signaling, is_zero, note_denormal,
    operand, propagate, sign_bit, unpack,
};
use super::round::{normalize, pack, rounds_up};

/// A number of format `From` in format `To`.
#[inline(never)]
pub fn between<From: Layout, To: Layout>(a: u64, env: &mut Env) -> u64 {
    let a = operand::<From>(a, env);
    let sign = sign_bit::<To>(is_negative::<From>(a));
    if is_nan::<From>(a) {
        if is_signaling::<From>(a) {
            env.raise(IE);
        }
        // The payload keeps its top bits.
        let fraction = (a & (From::MIN_NORMAL - 1)) << (64 - From::FRAC) >> (64 - To::FRAC);
        return sign | To::INF | To::QUIET | fraction;
    }
    note_denormal::<From>(a, env);
    if is_inf::<From>(a) {
        sign | To::INF
    } else if is_zero::<From>(a) {
        sign
    } else {
        pack::<To>(unpack::<From>(a), env)
    }
}

/// CVTPS2PD, CVTSS2SD. A normal number or zero is exact in every mode.
#[inline]
pub fn widen(a: u64, env: &mut Env) -> u64 {
    if is_plain::<F32>(a) { f64::from(f32::from_bits(a as u32)).to_bits() } else { between::<F32, F64>(a, env) }
}

/// CVTPD2PS, CVTSD2SS.
#[inline]
pub fn narrow(a: u64, env: &mut Env) -> u64 {
    if env.is_default() && is_plain::<F64>(a) {
        let wide = f64::from_bits(a);
        let r = wide as f32;
        let bits = u64::from(r.to_bits());
        if is_ordinary::<F32>(bits) {
            if f64::from(r) != wide {
                env.raise(PE);
            }
            return bits;
        }
    }
    between::<F64, F32>(a, env)
}

/// VCVTPH2PS: exact. Denormals count for what they are and raise nothing [SDM-2C VCVTPH2PS].
#[inline]
pub fn from_half(a: u64, env: &mut Env) -> u64 {
    let mut own = Env::new(super::env::DEFAULT);
    let r = between::<F16, F32>(a, &mut own);
    env.raise(own.raised() & IE);
    r
}

/// VCVTPS2PH: rounded by the immediate's bits 1:0, or by MXCSR if bit 2 is set; FTZ is not heeded [SDM-2C VCVTPS2PH].
#[inline]
pub fn to_half(a: u64, imm: u8, env: &mut Env) -> u64 {
    let mode = if imm & 4 != 0 { env.rounding() } else { Rounding::from_bits(imm.into()) };
    let mut own = env.for_half(mode);
    let r = between::<F32, F16>(a, &mut own);
    env.raise(own.raised());
    r
}

/// A signed integer as a number. What fits the significand is exact in every mode.
#[inline]
pub fn from_int<F: Format>(a: i64, env: &mut Env) -> u64 {
    let magnitude = a.unsigned_abs();
    let exact = magnitude.checked_shr(magnitude.trailing_zeros() + F::FRAC + 1).unwrap_or(0) == 0;
    if !exact && env.rounding() != Rounding::Nearest {
        return pack::<F>(normalize(a < 0, 127, u128::from(magnitude)), env);
    }
    if !exact {
        env.raise(PE);
    }
    F::host_from_int(a)
}

/// Integer part (rounded by `mode`) of a magnitude below 2^64, and whether anything was cut off.
#[inline]
fn integer_part(n: Number, mode: Rounding) -> (u64, bool) {
    let (kept, rest) = match n.exponent {
        63 => (n.significand, 0),
        0..63 => {
            let kept_bits = n.exponent as u32 + 1;
            (n.significand >> (64 - kept_bits), n.significand << kept_bits)
        }
        -1 => (0, n.significand),
        // Less than a half: all that matters is that it is not zero.
        _ => (0, u64::from(n.significand != 0)),
    };
    let up = rounds_up(mode, n.sign, kept & 1 == 1, rest, 1 << 63);
    (kept.wrapping_add(u64::from(up)), rest != 0)
}

/// A number as a signed integer of `bits` (32 or 64), sign-extended. Out of range and NaN give the integer
/// indefinite, the most negative value, and IE [SDM-1 4.8.3.7, 11.5.2.1].
#[inline]
pub fn to_int<F: Format>(a: u64, bits: u32, mode: Rounding, env: &mut Env) -> i64 {
    let indefinite = i64::MIN >> (64 - bits);
    let a = operand::<F>(a, env);
    if is_zero::<F>(a) {
        return 0;
    }
    let n = unpack::<F>(a);
    if is_nan::<F>(a) || is_inf::<F>(a) || n.exponent > 63 {
        env.raise(IE);
        return indefinite;
    }
    let (magnitude, inexact) = integer_part(n, mode);
    let limit = indefinite.unsigned_abs();
    if magnitude > limit || magnitude == limit && !n.sign {
        env.raise(IE);
        return indefinite;
    }
    if inexact {
        env.raise(PE);
    }
    let value = magnitude as i64;
    if n.sign { value.wrapping_neg() } else { value }
}

/// ROUNDPS and its kin: rounded to an integral value by the immediate's bits 1:0, or by MXCSR if bit 2 is set; bit 3
/// keeps PE from being raised.
#[inline]
pub fn round_integral<F: Format>(a: u64, imm: u8, env: &mut Env) -> u64 {
    let a = operand::<F>(a, env);
    if is_nan::<F>(a) {
        return propagate::<F>(a, a, env);
    }
    let n = unpack::<F>(a);
    if is_inf::<F>(a) || is_zero::<F>(a) || n.exponent >= F::FRAC as i32 {
        return a;
    }
    let mode = if imm & 4 != 0 { env.rounding() } else { Rounding::from_bits(imm.into()) };
    let (magnitude, inexact) = integer_part(n, mode);
    if inexact && imm & 8 == 0 {
        env.raise(PE);
    }
    if magnitude == 0 {
        return sign_bit::<F>(n.sign);
    }
    // At most FRAC + 1 bits: exact in every mode.
    pack::<F>(normalize(n.sign, 127, u128::from(magnitude)), env)
}
