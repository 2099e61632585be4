//! The MMX registers, which are the significands of the physical registers [SDM-1 9.2, 9.6.2].

use super::Fpu;
use super::f80::F80;

impl Fpu {
    /// The contents of MMn.
    #[inline]
    pub fn mm(&self, n: u8) -> u64 {
        self.sig[usize::from(n & 7)]
    }

    /// Writes MMn: the sign and exponent become all ones. Call [`Fpu::enter_mmx`] for the instruction as well.
    #[inline]
    pub fn set_mm(&mut self, n: u8, v: u64) {
        self.write(usize::from(n & 7), F80::new(0xffff, v));
    }

    /// What every MMX instruction but EMMS does: TOP becomes 0 and all registers are in use.
    #[inline]
    pub fn enter_mmx(&mut self) {
        self.top = 0;
        self.used = 0xff;
    }

    /// EMMS: all registers are empty, TOP is 0.
    pub fn empty_mmx(&mut self) {
        self.top = 0;
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mmx_registers_are_physical() {
        let mut fpu = Fpu::new();
        fpu.load_exact(F80::ONE);
        assert_eq!(fpu.mm(7), F80::ONE.sig);
        fpu.enter_mmx();
        fpu.set_mm(2, 5);
        assert_eq!((fpu.st(2), fpu.abridged_tags()), (F80::new(0xffff, 5), 0xff));
        fpu.empty_mmx();
        assert_eq!(fpu.tags(), 0xffff);
    }
}
