//! Fused multiply-add [SDM-1 14.5]: x × y + z, rounded once. In integers, on every host.

use super::env::{DEFAULT, Env, IE, PE};
use super::fast::is_ordinary;
use super::format::{
    F32, Format, Number, invalid, is_denormal, is_inf, is_nan, is_negative, is_signaling, is_zero, note_denormal,
    operand, sign_bit, unpack,
};
use super::round::{jam, normalize, pack};
use super::soft::zero_down;

/// Which of the product and the addend change their signs. A NaN keeps its own.
#[derive(Debug, Clone, Copy)]
pub struct Signs {
    /// VFNMADD and VFNMSUB.
    pub product: bool,
    /// VFMSUB and VFNMSUB.
    pub addend: bool,
}

/// ±(x × y) ± z. Of several NaNs, x comes before y before z.
#[inline(never)]
pub fn fma<F: Format>(x: u64, y: u64, z: u64, signs: Signs, env: &mut Env) -> u64 {
    let [x, y, z] = [x, y, z].map(|v| operand::<F>(v, env));
    let product_is_undefined = is_inf::<F>(x) && is_zero::<F>(y) || is_zero::<F>(x) && is_inf::<F>(y);
    if is_nan::<F>(x) || is_nan::<F>(y) || is_nan::<F>(z) {
        return propagate::<F>([x, y, z], env);
    }
    if product_is_undefined {
        return invalid::<F>(env);
    }
    let product_sign = is_negative::<F>(x ^ y) != signs.product;
    let z = if signs.addend { z ^ F::SIGN } else { z };
    let infinite = is_inf::<F>(x) || is_inf::<F>(y);
    if infinite && is_inf::<F>(z) && product_sign != is_negative::<F>(z) {
        return invalid::<F>(env);
    }
    [x, y, z].iter().for_each(|v| note_denormal::<F>(*v, env));
    if infinite {
        return sign_bit::<F>(product_sign) | F::INF;
    }
    if is_inf::<F>(z) {
        return z;
    }
    finite::<F>(unpack::<F>(x), unpack::<F>(y), product_sign, unpack::<F>(z), env)
}

/// The same where MXCSR is in its default mode with PE set. `None` if that would raise anything but PE.
#[inline]
pub fn fused<F: Format>(x: u64, y: u64, z: u64, signs: Signs) -> Option<u64> {
    if F::WIDTH == 32 {
        let (r, right) = try_singles(x, y, z, signs);
        if right {
            return Some(r);
        }
    }
    let mut env = Env::new(DEFAULT | PE);
    let r = fma::<F>(x, y, z, signs, &mut env);
    (env.raised() & !PE == 0).then_some(r)
}

/// Singles in the host's doubles. The product is exact; the sum is rounded to odd, by its exact error, so that rounding it
/// once more gives what rounding once would (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums").
#[inline]
fn try_singles(x: u64, y: u64, z: u64, signs: Signs) -> (u64, bool) {
    let double = |v: u64, negate: bool| {
        let d = f64::from(f32::from_bits(v as u32));
        if negate { -d } else { d }
    };
    let (product, addend) = (double(x, signs.product) * double(y, false), double(z, signs.addend));
    let sum = product + addend;
    let addend_part = sum - product;
    let error = (product - (sum - addend_part)) + (addend - addend_part);
    let bits = sum.to_bits();
    let odd = match error {
        _ if error == 0.0 || bits & 1 == 1 => bits,
        _ if (error > 0.0) == (sum > 0.0) => bits + 1,
        _ => bits.wrapping_sub(1),
    };
    let r = u64::from((f64::from_bits(odd) as f32).to_bits());
    let denormals = is_denormal::<F32>(x) | is_denormal::<F32>(y) | is_denormal::<F32>(z);
    (r, !denormals & (is_ordinary::<F32>(r) | (sum == 0.0)))
}

/// The first NaN, made quiet.
#[cold]
fn propagate<F: Format>(operands: [u64; 3], env: &mut Env) -> u64 {
    if operands.iter().any(|v| is_signaling::<F>(*v)) {
        env.raise(IE);
    }
    let first = operands.iter().find(|v| is_nan::<F>(**v));
    F::QUIET | first.copied().unwrap_or_default()
}

/// A sign and an exact value of `wide`·2^(`exponent` - 126): the leading bit is bit 125 or 126.
type Term = (bool, i32, u128);

fn finite<F: Format>(x: Number, y: Number, sign: bool, z: Number, env: &mut Env) -> u64 {
    let product: Term =
        (sign, x.exponent + y.exponent + 1, (u128::from(x.significand) * u128::from(y.significand)) >> 1);
    let addend: Term = (z.sign, z.exponent, u128::from(z.significand) << 63);
    let sum = match (product.2, addend.2) {
        (0, 0) => return sign_bit::<F>(if sign == z.sign { sign } else { zero_down(env) }),
        (0, _) => normalize(addend.0, addend.1 + 1, addend.2),
        (_, 0) => normalize(product.0, product.1 + 1, product.2),
        _ => add(product, addend, env),
    };
    if sum.significand == 0 { sign_bit::<F>(sum.sign) } else { pack::<F>(sum, env) }
}

/// A significand of at most 53 bits leaves 22 zeros below the product's and 74 below the addend's, so that bits are lost
/// (and jammed) only where the exponents are so far apart that at most one leading bit can cancel.
fn add(a: Term, b: Term, env: &Env) -> Number {
    let (big, small) = if a.1 >= b.1 { (a, b) } else { (b, a) };
    let (x, y) = (big.2, jam(small.2, (big.1 - small.1) as u32));
    if big.0 == small.0 {
        return normalize(big.0, big.1 + 1, x + y);
    }
    match x.cmp(&y) {
        std::cmp::Ordering::Greater => normalize(big.0, big.1 + 1, x - y),
        std::cmp::Ordering::Less => normalize(small.0, big.1 + 1, y - x),
        std::cmp::Ordering::Equal => Number { sign: zero_down(env), exponent: 0, significand: 0 },
    }
}
