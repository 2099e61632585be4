//! FLD1, FLDZ and the irrational constants, which the rounding control rounds [SDM-1 8.3.4].

use super::f80::F80;
use super::round::{Ctl, round};

/// A constant of the unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Constant {
    /// +1
    One,
    /// log2(10)
    Log2Of10,
    /// log2(e)
    Log2OfE,
    /// pi
    Pi,
    /// log10(2)
    Log10Of2,
    /// ln 2
    LnOf2,
    /// +0
    Zero,
}

impl Constant {
    /// The value under the control word. No exception is raised, precision control is not heeded.
    pub fn value(self, cw: u16) -> F80 {
        // Sign and exponent, 64 bits, and how the number goes on.
        let (exp, sig, rest): (i32, u64, u64) = match self {
            Constant::Zero => return F80::ZERO,
            Constant::One => return F80::ONE,
            Constant::Log2Of10 => (0x4000, 0xd49a_784b_cd1b_8afe, 0x492b_f6ff_4daf_db4d),
            Constant::Log2OfE => (0x3fff, 0xb8aa_3b29_5c17_f0bb, 0xbe87_fed0_691d_3e89),
            Constant::Pi => (0x4000, 0xc90f_daa2_2168_c234, 0xc4c6_628b_80dc_1cd1),
            Constant::Log10Of2 => (0x3ffd, 0x9a20_9a84_fbcf_f798, 0x8f89_59ac_0b7c_9178),
            Constant::LnOf2 => (0x3ffe, 0xb172_17f7_d1cf_79ab, 0xc9e3_b398_03f2_f6af),
        };
        round(Ctl::new(cw).full_precision(), 0, exp, sig, rest).value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_control_chooses_the_neighbour() {
        assert_eq!(Constant::Pi.value(0x37f).sig, 0xc90f_daa2_2168_c235);
        assert_eq!(Constant::Pi.value(0x37f | 0x400).sig, 0xc90f_daa2_2168_c234);
        assert_eq!(Constant::Log2Of10.value(0x37f).sig, 0xd49a_784b_cd1b_8afe);
        assert_eq!(Constant::Log2Of10.value(0x37f | 0x800).sig, 0xd49a_784b_cd1b_8aff);
    }
}
