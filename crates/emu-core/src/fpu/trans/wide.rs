//! 128-bit working precision for the transcendental instructions: plain integers, hence the same bits on every host.

/// A positive number `sig × 2^(exp - 127)`, bit 127 of `sig` set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wide {
    pub(crate) exp: i32,
    pub(crate) sig: u128,
}

/// One, with 126 fraction bits: the format of series and tables.
pub(crate) const ONE: u128 = 1 << 126;

/// The upper 128 bits of the product.
#[inline]
pub(crate) fn mul_high(a: u128, b: u128) -> u128 {
    let (a1, a0, b1, b0) = (a >> 64, a & MASK, b >> 64, b & MASK);
    let low = (a0 * b0) >> 64;
    let (mid1, mid2) = (a1 * b0, a0 * b1);
    let carry = low + (mid1 & MASK) + (mid2 & MASK);
    a1 * b1 + (mid1 >> 64) + (mid2 >> 64) + (carry >> 64)
}

const MASK: u128 = u64::MAX as u128;

impl Wide {
    /// The unpacked parts of a finite [`super::super::f80::F80`], its exponent still biased.
    pub(crate) fn from_parts(biased: i32, sig: u64) -> Wide {
        Wide { exp: biased - 16383, sig: u128::from(sig) << 64 }
    }

    /// `v / 2^fraction_bits`; None for zero.
    pub(crate) fn from_fixed(v: u128, fraction_bits: i32) -> Option<Wide> {
        let shift = v.leading_zeros();
        (v != 0).then(|| Wide { exp: 127 - shift as i32 - fraction_bits, sig: v << (shift & 127) })
    }

    /// The number with `fraction_bits` fraction bits, truncated. The caller knows that it fits.
    pub(crate) fn to_fixed(self, fraction_bits: i32) -> u128 {
        let shift = 127 - self.exp - fraction_bits;
        if shift > 127 { 0 } else { self.sig >> shift.max(0) }
    }

    /// The upper 67 bits: what the internal registers of Intel's units hold between the steps of an algorithm.
    pub(crate) fn internal(self) -> Wide {
        Wide { exp: self.exp, sig: self.sig >> 61 << 61 }
    }

    /// The product, truncated.
    pub(crate) fn mul(self, other: Wide) -> Wide {
        let high = mul_high(self.sig, other.sig);
        let exp = self.exp + other.exp;
        if high >> 127 != 0 {
            return Wide { exp: exp + 1, sig: high };
        }
        let next = self.sig.wrapping_mul(other.sig) >> 127;
        Wide { exp, sig: high << 1 | next }
    }

    /// The quotient, good to about 125 bits: a reciprocal of 64 bits improved by one Newton step.
    pub(crate) fn div(self, other: Wide) -> Wide {
        let d = other.sig;
        let first = (1u128 << 127) / (d >> 64);
        let r = if first >> 64 != 0 { u128::MAX } else { first << 64 };
        let near_one = mul_high(d, r);
        let r = if near_one > 1 << 127 {
            r - (mul_high(r, near_one - (1 << 127)) << 1)
        } else {
            r.saturating_add(mul_high(r, (1 << 127) - near_one) << 1)
        };
        let q = mul_high(self.sig, r);
        let shift = q.leading_zeros();
        Wide { exp: self.exp - other.exp - shift as i32, sig: q << shift }
    }

    /// The quotient of two 64-bit significands (integer bits set) with biased exponents, truncated to 128 bits.
    pub(crate) fn ratio(a: (i32, u64), b: (i32, u64)) -> Wide {
        let smaller = a.1 < b.1;
        let d = u128::from(b.1);
        let n = u128::from(a.1) << (63 + u32::from(smaller));
        let high = n / d;
        let low = ((n % d) << 64) / d;
        Wide { exp: a.0 - b.0 - i32::from(smaller), sig: high << 64 | low }
    }
}

/// Sign of each further term of a series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// All terms are added.
    Same,
    /// Terms are subtracted and added in turn.
    Alternating,
}

/// `1 ± z/d(1) × (1 ± z/d(2) × (1 ± ...))` with `n` divisors; `z` has 128 fraction bits, the result 126.
///
/// The result is held off one itself, so that a function which the series keeps strictly below (or above) its
/// argument stays there however small the argument is.
pub(crate) fn nested(z: u128, n: u32, terms: Terms, divisor: impl Fn(u32) -> u32) -> u128 {
    let mut p = ONE;
    for k in (1..=n).rev() {
        let t = mul_high(z, p) / u128::from(divisor(k));
        p = if terms == Terms::Same { ONE + t } else { ONE - t };
    }
    match terms {
        Terms::Same => p.max(ONE + 1),
        Terms::Alternating => p.min(ONE - 1),
    }
}

/// `1 ± z/3 ± z²/5 ± ...` with `n` terms after the one; `z` has 128 fraction bits, the result 126.
pub(crate) fn odd_reciprocals(z: u128, n: u32, terms: Terms) -> u128 {
    let mut p = 0;
    for k in (0..=n).rev() {
        let t = mul_high(z, p);
        let c = ONE / u128::from(2 * k + 1);
        p = if terms == Terms::Same { c + t } else { c - t };
    }
    match terms {
        Terms::Same => p.max(ONE + 1),
        Terms::Alternating => p.min(ONE - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_multiply_back() {
        let mut x = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835u128;
        for _ in 0..1000 {
            x = x.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            let a = Wide { exp: 3, sig: x | 1 << 127 };
            let b = Wide { exp: -5, sig: x.rotate_left(61) | 1 << 127 };
            let back = a.div(b).mul(b);
            let difference = if back.exp == a.exp { back.sig.abs_diff(a.sig) } else { 0u128.wrapping_sub(back.sig) };
            assert!(difference < 64, "{a:x?} {b:x?} {back:x?}");
        }
    }

    #[test]
    fn ratio_is_exact_where_it_can_be() {
        let one = (16383, 1u64 << 63);
        assert_eq!(Wide::ratio(one, one), Wide { exp: 0, sig: 1 << 127 });
        let third = Wide::ratio(one, (16384, 3 << 62));
        assert_eq!(third, Wide { exp: -2, sig: 0xaaaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa_aaaa });
    }

    #[test]
    fn fixed_point_goes_both_ways() {
        let w = Wide::from_fixed(3 << 125, 126).unwrap_or(Wide { exp: 0, sig: 0 });
        assert_eq!(w, Wide { exp: 0, sig: 3 << 126 });
        assert_eq!(w.to_fixed(126), 3 << 125);
        assert_eq!(Wide::from_fixed(0, 126), None);
    }
}
