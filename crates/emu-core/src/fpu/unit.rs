//! What the 8087 and 80287 do otherwise than the 387 and all units since.
//!
//! Kept: the infinity control and projective infinities, the interrupt mask of the 8087 with FENI and FDISI, the values after
//! FINIT, BUSY, which is no copy of the summary, no stack fault in the status word, constants rounded to nearest, and what
//! counts as a number [SDM-3 22.18]. Left out: their own treatment of denormals, and unnormals as results. To 387
//! instructions they answer nothing.

use super::f80::{EXP_MAX, INTEGER_BIT};
use super::{F80, Fpu, LastInstruction};
use crate::cpu::model::Kind;

/// Which kind of unit it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unit {
    /// The 8086's and 80186's.
    I8087,
    /// The 80286's.
    I80287,
    /// The 80386's, and those of most later CPUs.
    #[default]
    I387,
    /// As a 387, but FCS and FDS are 0 in every image [SDM-1 8.1.8; CPUID.7.EBX bit 13].
    WithoutSelectors,
}

impl Unit {
    /// The unit beside or inside a CPU of `kind`.
    #[must_use]
    pub fn of(kind: Kind) -> Unit {
        match kind {
            Kind::I8086 | Kind::I80186 => Unit::I8087,
            Kind::I80286 => Unit::I80287,
            kind if kind >= Kind::X64V3 => Unit::WithoutSelectors,
            _ => Unit::I387,
        }
    }

    /// An 8087 or 80287.
    pub(super) fn is_early(self) -> bool {
        matches!(self, Unit::I8087 | Unit::I80287)
    }

    /// The control word after FINIT [8087 and 80287 data sheets].
    pub(super) fn initial_control(self) -> u16 {
        if self == Unit::I8087 { 0x3FF } else { 0x37F }
    }
}

/// Set in the control word that the unit computes with, and never seen outside: infinities have no sign.
pub(super) const PROJECTIVE: u16 = 0x8000;
/// A bit of the kept control word that no unit has: there is one kind of NaN.
pub(super) const ONE_KIND_OF_NAN: u16 = 0x4000;
/// IEM, bit 7 of the 8087's control word: no exception asks for an interrupt.
const INTERRUPT_MASK: u16 = 0x80;
/// IC, bit 12: infinities have signs (affine closure).
const INFINITY_CONTROL: u16 = 0x1000;

impl Fpu {
    /// A unit of the given kind, after FNINIT.
    #[must_use]
    pub fn with_unit(unit: Unit) -> Fpu {
        let mut fpu = Fpu { unit, ..Fpu::new() };
        fpu.init();
        fpu
    }

    /// `cw` as the unit keeps it.
    pub(super) fn kept_control(&self, cw: u16) -> u16 {
        let known = match self.unit {
            Unit::I8087 => cw & 0x1FFF,
            _ => cw & 0x1F7F,
        };
        let projective = self.unit.is_early() && cw & INFINITY_CONTROL == 0;
        let nans = if self.unit.is_early() { ONE_KIND_OF_NAN } else { 0 };
        known | 0x40 | nans | if projective { PROJECTIVE } else { 0 }
    }

    /// The pointers as images show them.
    pub(super) fn shown_pointers(&self) -> LastInstruction {
        match self.unit {
            Unit::WithoutSelectors => LastInstruction { fcs: 0, fds: 0, ..self.last() },
            _ => self.last(),
        }
    }

    /// FENI and FDISI of the 8087: whether exceptions may ask for an interrupt. Nothing on other units.
    pub fn allow_interrupts(&mut self, on: bool) {
        if self.unit == Unit::I8087 {
            self.put_control(self.cw & !INTERRUPT_MASK | if on { 0 } else { INTERRUPT_MASK });
        }
    }

    /// What an 8087 and 80287 take `v` for, as later units write it: numbers that are not normalised are the numbers that
    /// they are, and every NaN has its integer bit.
    pub(crate) fn number_of_early_units(v: F80) -> F80 {
        let sign = v.sign();
        match (v.exp(), v.sig) {
            (EXP_MAX, sig) if sig << 1 == 0 => F80::infinity(sign),
            (EXP_MAX, sig) => F80::new(v.sign_exp, INTEGER_BIT | sig),
            (0, _) => v,
            (_, 0) => F80::zero(sign),
            (exp, sig) => {
                let shift = (sig.leading_zeros() as u16).min(exp);
                // With an exponent field of 0 the unit of the significand is that of 1.
                if shift == exp {
                    F80::new(sign, sig << (shift - 1))
                } else {
                    F80::new(v.sign_exp - shift, sig << shift)
                }
            }
        }
    }

    /// A NaN of any kind.
    pub(crate) fn is_nan(v: F80) -> bool {
        v.exp() == EXP_MAX && v.sig << 1 != 0
    }

    /// Physical register `n`.
    pub(crate) fn register(&self, n: usize) -> F80 {
        self.at(n)
    }

    /// Changes physical register `n`, and not whether it is empty.
    pub(crate) fn set_register(&mut self, n: usize, v: F80) {
        self.write(n & 7, v);
    }

    /// Whether an exception asks for an interrupt.
    #[must_use]
    pub fn wants_interrupt(&self) -> bool {
        self.exception_pending() && (self.unit != Unit::I8087 || self.cw & INTERRUPT_MASK == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::{C0, C2, C3};
    use super::super::round::{IE, ZE};
    use super::super::{F80, arith};
    use super::*;

    fn codes(fpu: &Fpu) -> u16 {
        fpu.status() & (C0 | C2 | C3)
    }

    /// The way by which programs tell a 287 from a 387 [80387 PRM, CPU identification]: after FINIT, +∞ and -∞ are equal.
    #[test]
    fn infinities_are_alike_until_the_287_is_told_otherwise() {
        for (unit, control, equal) in
            [(Unit::I80287, 0x37F, true), (Unit::I80287, 0x137F, false), (Unit::I387, 0x37F, false)]
        {
            let mut fpu = Fpu::with_unit(unit);
            fpu.set_control(control);
            fpu.load_exact(F80::infinity(0x8000));
            fpu.load_exact(F80::infinity(0));
            fpu.compare(1, false, 0);
            assert_eq!(codes(&fpu) == C3, equal, "{unit:?}");
            assert_eq!(fpu.control(), control);
        }
    }

    #[test]
    fn projective_infinities_have_no_place_among_numbers() {
        let mut fpu = Fpu::with_unit(Unit::I8087);
        fpu.load_exact(F80::ONE);
        fpu.load_exact(F80::infinity(0));
        fpu.compare(1, false, 0);
        assert_eq!((codes(&fpu), fpu.status() & IE), (C0 | C2 | C3, IE));
        fpu.clear_exceptions();
        fpu.binary(0, 0, 0, 0, arith::add);
        assert_eq!((fpu.st(0), fpu.status() & IE), (F80::INDEFINITE, IE));
    }

    #[test]
    fn the_latest_units_forget_selectors() {
        use super::super::image::Layout;
        for (unit, selectors) in [(Unit::I387, [0x1B, 0x23]), (Unit::WithoutSelectors, [0, 0])] {
            let mut fpu = Fpu::with_unit(unit);
            *fpu.last_mut() = LastInstruction { fop: 0, fcs: 0x1B, fip: 0x1234, fds: 0x23, fdp: 0x5678 };
            let image = fpu.store_env(Layout::Protected32);
            assert_eq!((image[12], [image[16], image[24]]), (0x34, selectors));
            let mut image = [0; 160];
            fpu.fxsave(false, &mut image);
            assert_eq!((image[8], [image[12], image[20]]), (0x34, selectors));
        }
    }

    /// FDISI sets bit 7 of an 8087's control word, and of no other.
    #[test]
    fn the_8087_can_hold_its_interrupts_back() {
        let mut fpu = Fpu::with_unit(Unit::I8087);
        assert_eq!(fpu.control(), 0x3FF);
        fpu.set_control(0x1F7F & !ZE);
        fpu.load_exact(F80::ONE);
        fpu.load_exact(F80::ZERO);
        fpu.binary(1, 1, 0, 1, arith::div);
        assert!(fpu.wants_interrupt() && fpu.status() & 0x8080 == 0x80);
        fpu.allow_interrupts(false);
        assert!(!fpu.wants_interrupt() && fpu.control() & 0x80 != 0);
        let mut later = Fpu::with_unit(Unit::I80287);
        later.allow_interrupts(false);
        assert_eq!(later.control(), 0x37F);
    }
}
