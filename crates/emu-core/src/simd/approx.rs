//! RCPPS and RSQRTPS [SDM-2B; relative error below 1.5·2^-12].
//!
//! Intel's silicon looks the result up by the top mantissa bits of the operand. Its tables follow a rule that
//! reproduces every entry: the exact function at the middle of the interval, rounded to 13 fraction bits. So the
//! tables are computed here instead of stored. Neither instruction reads or changes MXCSR: denormals count as zero,
//! tiny results become zero.

const SIGN: u32 = 1 << 31;
const INF: u32 = 0xff << 23;
const QUIET: u32 = 1 << 22;

/// A significand of 13 bits (4096..=8191 in units of 2^-13) and its exponent field as a single.
fn pack(sign: u32, exponent: u32, q: u32) -> u32 {
    sign | exponent << 23 | (q - 4096) << 11
}

/// 1/x to 12 bits; `x` is a single's bit pattern. The index is the top 11 mantissa bits.
pub fn rcp(x: u32) -> u32 {
    let (sign, exponent, mantissa) = (x & SIGN, x >> 23 & 0xff, x & 0x7f_ffff);
    match exponent {
        0 => sign | INF,
        0xff if mantissa != 0 => x | QUIET,
        // 1/x < 2^-126 would be denormal.
        0xfd.. => sign,
        _ => {
            let q = ((1u32 << 26) / (4097 + 2 * (mantissa >> 12))).div_ceil(2);
            pack(sign, 253 - exponent, q)
        }
    }
}

/// 1/sqrt(x) to 12 bits; `x` is a single's bit pattern. The index is the exponent's parity and the top 10 mantissa
/// bits.
pub fn rsqrt(x: u32) -> u32 {
    let (sign, exponent, mantissa) = (x & SIGN, x >> 23 & 0xff, x & 0x7f_ffff);
    match exponent {
        0 => sign | INF,
        0xff if mantissa != 0 => x | QUIET,
        _ if sign != 0 => SIGN | INF | QUIET,
        0xff => 0,
        _ => {
            let odd = (exponent + 1) & 1;
            let middle = u64::from(2049 + 2 * (mantissa >> 13)) << odd;
            let q = ((1u64 << 39) / middle).isqrt().div_ceil(2);
            pack(0, (379 - exponent + odd) / 2, q as u32)
        }
    }
}
