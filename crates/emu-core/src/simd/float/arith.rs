//! The four operations as instructions use them: the host's answer where allowed, else the software's.

use super::env::Env;
use super::format::{Format, is_nan};
use super::{fast, soft};

/// a + b.
#[inline]
pub fn add<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    if env.is_default()
        && let Some(r) = fast::add::<F>(a, b, env)
    {
        return r;
    }
    soft::add::<F>(a, b, env)
}

/// a - b.
#[inline]
pub fn sub<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    // A NaN keeps its own sign, so only numbers are negated.
    let negated = if is_nan::<F>(b) { b } else { b ^ F::SIGN };
    add::<F>(a, negated, env)
}

/// a × b.
#[inline]
pub fn mul<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    if env.is_default()
        && let Some(r) = fast::mul::<F>(a, b, env)
    {
        return r;
    }
    soft::mul::<F>(a, b, env)
}

/// a ÷ b.
#[inline]
pub fn div<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    if env.is_default()
        && let Some(r) = fast::div::<F>(a, b, env)
    {
        return r;
    }
    soft::div::<F>(a, b, env)
}

/// The square root of b; `a` is ignored, so that the shape is that of the other operations.
#[inline]
pub fn sqrt<F: Format>(_a: u64, b: u64, env: &mut Env) -> u64 {
    if env.is_default()
        && let Some(r) = fast::sqrt::<F>(b, env)
    {
        return r;
    }
    soft::sqrt::<F>(b, env)
}
