//! The 80-bit double extended-precision format and its classes [SDM-1 4.2.2, 8.2.2].

/// A value of an x87 register: sign and biased exponent (bias 16383) in `sign_exp`, explicit integer bit in
/// bit 63 of `sig`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct F80 {
    /// Bit 15 is the sign, bits 14..0 the biased exponent.
    pub sign_exp: u16,
    /// The significand, integer bit included.
    pub sig: u64,
}

/// The integer bit of the significand.
pub const INTEGER_BIT: u64 = 1 << 63;
/// The bit that tells a quiet NaN from a signalling one.
pub const QUIET_BIT: u64 = 1 << 62;
/// The exponent field of infinities and NaNs.
pub const EXP_MAX: u16 = 0x7fff;
/// The sign bit within `sign_exp`.
pub const SIGN: u16 = 0x8000;

/// What an encoding stands for [SDM-1 tables 4-3, 8-3].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// ±0
    Zero,
    /// Exponent field 0 with a significand: denormals, and pseudo-denormals (integer bit set).
    Denormal,
    /// A normalised finite number.
    Normal,
    /// ±∞
    Infinity,
    /// A quiet NaN.
    QNan,
    /// A signalling NaN.
    SNan,
    /// Unnormals, pseudo-infinities and pseudo-NaNs: invalid operands since the 387.
    Unsupported,
}

impl F80 {
    /// +0
    pub const ZERO: F80 = F80::new(0, 0);
    /// +1
    pub const ONE: F80 = F80::new(0x3fff, INTEGER_BIT);
    /// The real indefinite: the default quiet NaN [SDM-1 4.8.3.7].
    pub const INDEFINITE: F80 = F80::new(0xffff, INTEGER_BIT | QUIET_BIT);

    /// A value from its two fields.
    #[inline]
    pub const fn new(sign_exp: u16, sig: u64) -> F80 {
        F80 { sign_exp, sig }
    }

    /// Zero with the sign bit of `sign` (0 or 0x8000).
    #[inline]
    pub const fn zero(sign: u16) -> F80 {
        F80::new(sign & SIGN, 0)
    }

    /// Infinity with the sign bit of `sign` (0 or 0x8000).
    #[inline]
    pub const fn infinity(sign: u16) -> F80 {
        F80::new((sign & SIGN) | EXP_MAX, INTEGER_BIT)
    }

    /// The ten bytes of the memory format, little-endian.
    pub fn from_bytes(b: [u8; 10]) -> F80 {
        let [s0, s1, s2, s3, s4, s5, s6, s7, e0, e1] = b;
        F80::new(u16::from_le_bytes([e0, e1]), u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]))
    }

    /// The ten bytes of the memory format, little-endian.
    pub fn to_bytes(self) -> [u8; 10] {
        let mut b = [0; 10];
        b[..8].copy_from_slice(&self.sig.to_le_bytes());
        b[8..].copy_from_slice(&self.sign_exp.to_le_bytes());
        b
    }

    /// The sign, as 0 or 0x8000.
    #[inline]
    pub const fn sign(self) -> u16 {
        self.sign_exp & SIGN
    }

    /// The biased exponent field.
    #[inline]
    pub const fn exp(self) -> u16 {
        self.sign_exp & EXP_MAX
    }

    /// True for normalised finite numbers, the operands of every fast path.
    #[inline]
    pub const fn is_normal(self) -> bool {
        (self.exp().wrapping_sub(1) < 0x7ffe) & (self.sig >> 63 != 0)
    }

    /// True for ±0.
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.exp() == 0 && self.sig == 0
    }

    /// True for ±∞.
    #[inline]
    pub const fn is_infinity(self) -> bool {
        self.exp() == EXP_MAX && self.sig == INTEGER_BIT
    }

    /// The same magnitude with the other sign.
    #[inline]
    pub const fn negate(self) -> F80 {
        F80::new(self.sign_exp ^ SIGN, self.sig)
    }

    /// A NaN made quiet.
    #[inline]
    pub const fn quieted(self) -> F80 {
        F80::new(self.sign_exp, self.sig | QUIET_BIT)
    }

    /// What the encoding stands for.
    #[inline]
    pub const fn class(self) -> Class {
        let integer = self.sig >> 63 != 0;
        match self.exp() {
            0 if self.sig == 0 => Class::Zero,
            0 => Class::Denormal,
            _ if !integer => Class::Unsupported,
            EXP_MAX if self.sig == INTEGER_BIT => Class::Infinity,
            EXP_MAX if self.sig & QUIET_BIT != 0 => Class::QNan,
            EXP_MAX => Class::SNan,
            _ => Class::Normal,
        }
    }

    /// Sign (0 or 0x8000), biased exponent and significand with the integer bit set, of a finite number that is
    /// not zero. Denormals get exponents below 1.
    #[inline]
    pub(crate) const fn unpack(self) -> (u16, i32, u64) {
        if self.exp() != 0 {
            return (self.sign(), self.exp() as i32, self.sig);
        }
        let shift = self.sig.leading_zeros();
        (self.sign(), 1 - shift as i32, self.sig << (shift & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_encodings() {
        let cases = [
            (0x8000, 0, Class::Zero),
            (0x0000, 1, Class::Denormal),
            (0x0000, INTEGER_BIT, Class::Denormal),
            (0x3fff, INTEGER_BIT, Class::Normal),
            (0x3fff, INTEGER_BIT - 1, Class::Unsupported),
            (0x7fff, 0, Class::Unsupported),
            (0x7fff, 1, Class::Unsupported),
            (0xffff, INTEGER_BIT, Class::Infinity),
            (0x7fff, INTEGER_BIT | 1, Class::SNan),
            (0x7fff, INTEGER_BIT | QUIET_BIT, Class::QNan),
        ];
        for (sign_exp, sig, class) in cases {
            let v = F80::new(sign_exp, sig);
            assert_eq!(v.class(), class, "{v:x?}");
            assert_eq!(v.is_normal(), class == Class::Normal, "{v:x?}");
        }
    }

    #[test]
    fn unpacking_normalises_denormals() {
        assert_eq!(F80::new(0x8000, 1).unpack(), (SIGN, -62, INTEGER_BIT));
        assert_eq!(F80::new(0, INTEGER_BIT).unpack(), (0, 1, INTEGER_BIT));
        assert_eq!(F80::new(5, INTEGER_BIT | 7).unpack(), (0, 5, INTEGER_BIT | 7));
    }

    #[test]
    fn bytes_round_trip() {
        let v = F80::new(0xc123, 0x8123_4567_89ab_cdef);
        assert_eq!(F80::from_bytes(v.to_bytes()), v);
        assert_eq!(v.to_bytes(), [0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x81, 0x23, 0xc1]);
    }
}
