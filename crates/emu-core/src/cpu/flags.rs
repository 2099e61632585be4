//! EFLAGS, with the six status flags kept lazily.
//!
//! An operation stores its sign-extended result and a word of carries; each flag is computed from those two when somebody
//! asks, without knowing which operation it was. The form is that of the paper by Mihocka and Shwartsman (ISCA 2008
//! workshop): in the carry word, bit 31 is the carry out of the operand's top bit (CF), bit 30 the carry into it
//! (OF = bit 31 ^ bit 30), bit 3 the carry out of bit 3 (AF); bit 0 inverts SF, and bits 15:8 are XORed into the low result
//! byte for PF, so that every combination of flags can be represented.

use super::bits::*;

/// Status flags in lazy form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LazyFlags {
    /// The result, sign-extended from the operand size.
    pub res: u64,
    /// Carries and corrections; see the module text.
    pub aux: u32,
}

const CF_BIT: u32 = 1 << 31;
const PO_BIT: u32 = 1 << 30;
const AF_BIT: u32 = 1 << 3;
/// The bits of a 32-bit carry vector that count.
const CARRIES: u32 = CF_BIT | PO_BIT | AF_BIT;

/// The six status flags' places in EFLAGS.
pub const STATUS: u32 = CF | PF | AF | ZF | SF | OF;

/// Sign-extends the low `bits` bits (8, 16, 32 or 64) of `v`.
#[inline(always)]
#[must_use]
pub fn sign_extend(v: u64, bits: u32) -> u64 {
    (((v << (64 - bits)) as i64) >> (64 - bits)) as u64
}

/// The carry word of a carry (or borrow) vector of an operand of `bits` bits.
#[inline(always)]
fn carry_word(vector: u64, bits: u32) -> u32 {
    match bits {
        8 => ((vector as u32) << 24) & (CF_BIT | PO_BIT) | (vector as u32) & AF_BIT,
        16 => ((vector as u32) << 16) & (CF_BIT | PO_BIT) | (vector as u32) & AF_BIT,
        32 => vector as u32 & CARRIES,
        _ => ((vector >> 32) as u32) & (CF_BIT | PO_BIT) | (vector as u32) & AF_BIT,
    }
}

/// The carry word of a vector of the carries that come into each bit, on operands of less than 64 bits.
#[inline(always)]
fn carries_in(vector: u64, bits: u32) -> u32 {
    match bits {
        8 => ((vector << 23) as u32) & (CF_BIT | PO_BIT) | ((vector >> 1) as u32) & AF_BIT,
        16 => ((vector << 15) as u32) & (CF_BIT | PO_BIT) | ((vector >> 1) as u32) & AF_BIT,
        _ => ((vector >> 1) as u32) & CARRIES,
    }
}

impl LazyFlags {
    /// After `r = a + b (+ carry)`, on operands of `bits` bits.
    #[inline(always)]
    pub fn set_add(&mut self, a: u64, b: u64, r: u64, bits: u32) {
        self.res = sign_extend(r, bits);
        self.aux = carry_word((a & b) | ((a | b) & !r), bits);
    }

    /// After `r = a - b (- borrow)`, on operands of `bits` bits.
    #[inline(always)]
    pub fn set_sub(&mut self, a: u64, b: u64, r: u64, bits: u32) {
        self.res = sign_extend(r, bits);
        self.aux = carry_word((!a & b) | (!(a ^ b) & r), bits);
    }

    /// As [`Self::set_add`], where `a` and `b` are zero-extended and `r` is their whole sum, whose carries XOR tells: cheaper.
    #[inline(always)]
    pub(crate) fn set_sum(&mut self, a: u64, b: u64, r: u64, bits: u32) {
        self.res = sign_extend(r, bits);
        self.aux = if bits < 64 { carries_in(a ^ b ^ r, bits) } else { carry_word((a & b) | ((a | b) & !r), bits) };
    }

    /// As [`Self::set_sub`], where `a` and `b` are zero-extended and `r` is their whole difference.
    #[inline(always)]
    pub(crate) fn set_difference(&mut self, a: u64, b: u64, r: u64, bits: u32) {
        self.res = sign_extend(r, bits);
        self.aux = if bits < 64 { carries_in(a ^ b ^ r, bits) } else { carry_word((!a & b) | (!(a ^ b) & r), bits) };
    }

    /// After a logical operation: CF = OF = AF = 0.
    #[inline(always)]
    pub fn set_logic(&mut self, r: u64, bits: u32) {
        self.res = sign_extend(r, bits);
        self.aux = 0;
    }

    /// After INC or DEC: as [`Self::set_sum`] or [`Self::set_difference`] of 1, but CF stays.
    #[inline(always)]
    pub fn set_inc_dec(&mut self, a: u64, r: u64, bits: u32, dec: bool) {
        let carry = self.aux & CF_BIT;
        if dec {
            self.set_difference(a, 1, r, bits);
        } else {
            self.set_sum(a, 1, r, bits);
        }
        // Replacing CF must keep OF = CF ^ PO as it is.
        let flip = (self.aux & CF_BIT) ^ carry;
        self.aux ^= flip | flip >> 1;
    }

    /// Sets ZF, SF and PF by `r`, and CF, OF, AF as given.
    #[inline]
    pub fn set_result(&mut self, r: u64, bits: u32, cf: bool, of: bool, af: bool) {
        self.res = sign_extend(r, bits);
        self.aux = u32::from(cf) << 31 | u32::from(cf ^ of) << 30 | u32::from(af) << 3;
    }

    /// Replaces CF, and keeps the rest.
    #[inline(always)]
    pub(crate) fn set_cf(&mut self, cf: bool) {
        // OF = CF ^ PO must stay.
        let flip = (self.aux & CF_BIT) ^ u32::from(cf) << 31;
        self.aux ^= flip | flip >> 1;
    }

    /// Replaces CF and OF, and keeps the rest.
    #[inline(always)]
    pub fn set_cf_of(&mut self, cf: bool, of: bool) {
        self.aux = self.aux & !(CF_BIT | PO_BIT) | u32::from(cf) << 31 | u32::from(cf ^ of) << 30;
    }

    /// CF.
    #[inline(always)]
    #[must_use]
    pub fn cf(&self) -> bool {
        self.aux & CF_BIT != 0
    }
    /// OF.
    #[inline(always)]
    #[must_use]
    pub fn of(&self) -> bool {
        (self.aux ^ self.aux << 1) & CF_BIT != 0
    }
    /// AF.
    #[inline(always)]
    #[must_use]
    pub fn af(&self) -> bool {
        self.aux & AF_BIT != 0
    }
    /// ZF.
    #[inline(always)]
    #[must_use]
    pub fn zf(&self) -> bool {
        self.res == 0
    }
    /// SF.
    #[inline(always)]
    #[must_use]
    pub fn sf(&self) -> bool {
        (self.res >> 63) as u32 ^ (self.aux & 1) != 0
    }
    /// PF.
    #[inline(always)]
    #[must_use]
    pub fn pf(&self) -> bool {
        ((self.res as u8) ^ (self.aux >> 8) as u8).count_ones().is_multiple_of(2)
    }

    /// The six flags at their places in EFLAGS.
    #[must_use]
    pub fn bits(&self) -> u32 {
        u32::from(self.cf()) * CF
            | u32::from(self.pf()) * PF
            | u32::from(self.af()) * AF
            | u32::from(self.zf()) * ZF
            | u32::from(self.sf()) * SF
            | u32::from(self.of()) * OF
    }

    /// The form that shows the flags of `eflags`.
    #[must_use]
    pub fn from_bits(eflags: u32) -> LazyFlags {
        let (zf, pf) = (eflags & ZF != 0, eflags & PF != 0);
        let (cf, of) = (eflags & CF != 0, eflags & OF != 0);
        // With ZF the result byte is 0 (even parity), without it is 1 (odd): the correction makes up for it.
        let parity_fix = u32::from(if zf { !pf } else { pf });
        let aux = u32::from(cf) << 31
            | u32::from(cf ^ of) << 30
            | u32::from(eflags & AF != 0) << 3
            | u32::from(eflags & SF != 0)
            | parity_fix << 8;
        LazyFlags { res: u64::from(!zf), aux }
    }

    /// Replaces the flags in `mask` by those in `eflags`.
    pub fn replace(&mut self, mask: u32, eflags: u32) {
        *self = LazyFlags::from_bits(self.bits() & !mask | eflags & mask);
    }

    /// Condition `cc` (0 = O, 1 = NO, 2 = B, ... 15 = G: the low four bits of Jcc's opcode) [SDM-1 B].
    #[inline(always)]
    #[must_use]
    pub fn condition(&self, cc: u8) -> bool {
        let base = match cc >> 1 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() || self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => self.sf() != self.of(),
            _ => self.zf() || self.sf() != self.of(),
        };
        base != (cc & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_flags_can_be_represented() {
        for n in 0..64u32 {
            let pick = |i: u32, f: u32| (n >> i & 1) * f;
            let flags = pick(0, CF) | pick(1, PF) | pick(2, AF) | pick(3, ZF) | pick(4, SF) | pick(5, OF);
            assert_eq!(LazyFlags::from_bits(flags).bits(), flags);
        }
    }

    /// Flags of an 8-bit addition or subtraction by the definitions of [SDM-1 3.4.3.1].
    fn by_definition(a: u8, b: u8, carry: u8, sub: bool) -> u32 {
        let (wide, signed, low) = if sub {
            let wide = i32::from(a) - i32::from(b) - i32::from(carry);
            let signed = i32::from(a as i8) - i32::from(b as i8) - i32::from(carry);
            (wide, signed, i32::from(a & 15) - i32::from(b & 15) - i32::from(carry) < 0)
        } else {
            let wide = i32::from(a) + i32::from(b) + i32::from(carry);
            let signed = i32::from(a as i8) + i32::from(b as i8) + i32::from(carry);
            (wide, signed, (a & 15) + (b & 15) + carry > 15)
        };
        let r = wide as u8;
        u32::from(!(0..256).contains(&wide)) * CF
            | u32::from(r.count_ones().is_multiple_of(2)) * PF
            | u32::from(low) * AF
            | u32::from(r == 0) * ZF
            | u32::from(r > 127) * SF
            | u32::from(!(-128..128).contains(&signed)) * OF
    }

    #[test]
    fn flags_of_all_8_bit_sums_and_differences() {
        for n in 0..=0x1_FFFFu32 {
            let (a, b, c) = (n as u8, (n >> 8) as u8, (n >> 16) as u8);
            for bits in [8u32, 16, 32, 64] {
                // The same bytes at the top of a wider operand have the same flags, but for AF and PF.
                let s = bits - 8;
                let (wa, wb, wc) = (u64::from(a) << s, u64::from(b) << s, u64::from(c) << s);
                let mask = if bits == 8 { STATUS } else { STATUS & !(AF | PF) };
                let mut f = LazyFlags::default();
                f.set_add(wa, wb, wa.wrapping_add(wb).wrapping_add(wc), bits);
                if c == 0 || bits == 8 {
                    assert_eq!(f.bits() & mask, by_definition(a, b, c, false) & mask, "{a} + {b} + {c}, {bits}");
                }
                let (sum, difference) = (wa.wrapping_add(wb).wrapping_add(wc), wa.wrapping_sub(wb).wrapping_sub(wc));
                let mut quick = LazyFlags::default();
                quick.set_sum(wa, wb, sum, bits);
                assert_eq!((quick.res, quick.aux), (f.res, f.aux), "{a} + {b} + {c}, {bits}");
                quick.set_difference(wa, wb, difference, bits);
                f.set_sub(wa, wb, difference, bits);
                assert_eq!((quick.res, quick.aux), (f.res, f.aux), "{a} - {b} - {c}, {bits}");
                f.set_sub(wa, wb, wa.wrapping_sub(wb).wrapping_sub(wc), bits);
                if c == 0 || bits == 8 {
                    assert_eq!(f.bits() & mask, by_definition(a, b, c, true) & mask, "{a} - {b} - {c}, {bits}");
                }
            }
        }
    }

    #[test]
    fn inc_and_dec_keep_carry() {
        for a in 0..=255u64 {
            for cf in [0, CF] {
                let mut f = LazyFlags::from_bits(cf);
                f.set_inc_dec(a, a + 1, 8, false);
                assert_eq!(f.bits(), by_definition(a as u8, 1, 0, false) & !CF | cf, "inc {a}");
                let mut f = LazyFlags::from_bits(cf);
                f.set_inc_dec(a, a.wrapping_sub(1), 8, true);
                assert_eq!(f.bits(), by_definition(a as u8, 1, 0, true) & !CF | cf, "dec {a}");
            }
        }
    }
}
