//! The x87 floating-point unit [SDM-1 chapter 8]: its registers and stack here, its arithmetic in the submodules,
//! all of it in integers, so that every host computes the same bits.
//!
//! Methods of [`Fpu`] do what an instruction does to the unit. They take memory operands as values and give results
//! for memory back as values: addressing, faults and the pointers to the last instruction are the caller's.

pub mod arith;
pub mod compare;
pub mod constants;
pub mod f80;
pub mod float;
pub mod image;
pub mod int;
pub(crate) mod last;
pub(crate) mod lazy;
mod mmx;
mod nan;
mod ops;
pub(crate) mod quick;
pub mod rem;
pub mod round;
mod save;
pub mod scale;
mod stack;
pub mod trans;
mod unit;

pub use f80::F80;
pub use last::LastInstruction;
pub use ops::{Operand, Store};
use round::{C1, Ctl};
pub use unit::Unit;

/// Exception summary, bit 7 of the status word.
pub const ES: u16 = 0x80;
/// Busy, bit 15 of the status word: a copy of ES since the 387.
pub const BUSY: u16 = 0x8000;
/// The four condition codes.
pub const CONDITION_CODES: u16 = 0x4700;

/// The registers of the x87 unit, shared with MMX.
///
/// What is seen from outside of a chain, and by instructions that run from their decoded form, is settled: see [`lazy`].
#[derive(Clone, Debug)]
pub struct Fpu {
    /// Significands by place; ST(i) is at `(top + i) & 7`. Settled, places are physical numbers.
    sig: [u64; 8],
    /// Signs, exponents and kinds by place (see [`quick::Num`]).
    word: [u32; 8],
    /// Control word.
    cw: u16,
    /// Status word, its TOP field kept apart.
    sw: u16,
    /// The place of ST(0).
    top: u8,
    /// One bit per place: set if it is not empty.
    used: u8,
    /// What handlers have left to be done.
    lazy: lazy::Lazy,
    /// The instruction and operand pointers, but for what `noted` has of them.
    last: LastInstruction,
    /// The last instruction, if a handler noted it.
    noted: last::Noted,
    /// Which kind of unit it is.
    unit: Unit,
}

impl PartialEq for Fpu {
    fn eq(&self, other: &Fpu) -> bool {
        debug_assert!(self.is_settled() && other.is_settled());
        let key = |fpu: &Fpu| (fpu.sig, fpu.word, fpu.cw, fpu.sw, fpu.top, fpu.used, fpu.last(), fpu.unit);
        key(self) == key(other)
    }
}

impl Eq for Fpu {}

impl Default for Fpu {
    fn default() -> Fpu {
        Fpu::new()
    }
}

impl Fpu {
    /// The unit after FNINIT, all registers zero.
    pub fn new() -> Fpu {
        let (last, unit) = (LastInstruction::default(), Unit::I387);
        let noted = last::Noted::default();
        let lazy = lazy::Lazy::with_control(0x37f);
        let word = quick::Num::from(F80::ZERO).word;
        Fpu { sig: [0; 8], word: [word; 8], cw: 0x37f, sw: 0, top: 0, used: 0, lazy, last, noted, unit }
    }

    /// FNINIT: registers keep their contents, but are empty.
    pub fn init(&mut self) {
        self.put_control(self.unit.initial_control());
        (self.sw, self.top, self.used) = (0, 0, 0);
        *self.last_mut() = LastInstruction::default();
    }

    /// The unit after power-up or RESET [SDM-3 table 10-1]: unlike FNINIT with CW 0040H, and registers +0, not empty. A
    /// coprocessor of its own is as FNINIT leaves it.
    pub fn reset(&mut self) {
        *self = match self.unit {
            unit if unit.is_early() => Fpu::with_unit(unit),
            unit => Fpu { cw: 0x40, used: 0xff, lazy: lazy::Lazy::with_control(0x40), unit, ..Fpu::new() },
        };
    }

    /// The control word.
    #[inline]
    pub fn control(&self) -> u16 {
        self.cw & !(unit::PROJECTIVE | unit::ONE_KIND_OF_NAN)
    }

    /// FLDCW. Bit 6 always reads as set; unmasking a pending exception raises the summary.
    pub fn set_control(&mut self, cw: u16) {
        self.put_control(cw);
        self.update_summary();
    }

    /// The status word, TOP included.
    #[inline]
    pub fn status(&self) -> u16 {
        // The 8087 and 287 are busy only while they compute, and have no bit for stack faults.
        let sw = self.present_status();
        let hidden = if self.unit.is_early() { sw & (BUSY | round::SF) } else { 0 };
        sw ^ hidden | u16::from(self.present_top()) << 11
    }

    /// Loads the status word. ES and B follow from the exceptions and their masks.
    pub fn set_status(&mut self, sw: u16) {
        self.top = (sw >> 11) as u8 & 7;
        self.sw = sw & !0x3800;
        self.update_summary();
    }

    /// FNCLEX
    pub fn clear_exceptions(&mut self) {
        self.sw &= CONDITION_CODES;
    }

    /// True if an unmasked exception waits for the next waiting instruction.
    #[inline]
    pub fn exception_pending(&self) -> bool {
        self.sw & ES != 0
    }

    /// One bit per physical register, set if in use: FXSAVE's abridged tag word.
    pub fn abridged_tags(&self) -> u8 {
        self.used
    }

    /// Loads the abridged tag word.
    pub fn set_abridged_tags(&mut self, used: u8) {
        self.used = used;
    }

    /// The full tag word, two bits per physical register: 0 valid, 1 zero, 2 special, 3 empty. Like silicon since the
    /// Pentium the unit remembers which registers are empty and looks at the contents for the rest.
    pub fn tags(&self) -> u16 {
        (0..8).fold(0, |tags, n| tags | u16::from(self.tag(n)) << (2 * n))
    }

    fn tag(&self, physical: usize) -> u8 {
        let value = self.at(physical);
        if self.used >> physical & 1 == 0 {
            3
        } else if value.is_zero() {
            1
        } else if value.is_normal() {
            0
        } else {
            2
        }
    }

    /// Loads the full tag word: only empty or not is kept.
    pub fn set_tags(&mut self, tags: u16) {
        self.used = (0..8).fold(0, |used, n| used | u8::from(tags >> (2 * n) & 3 != 3) << n);
    }

    /// The mode of computing that the control word asks for.
    #[inline]
    pub(crate) fn ctl(&self) -> Ctl {
        Ctl::new(self.cw)
    }

    /// Adds exceptions to the status word; C1 is replaced.
    #[inline]
    pub(crate) fn raise(&mut self, flags: u16) {
        self.sw = (self.sw & !C1) | (flags & (0x7f | C1));
        if flags & !self.cw & 0x3f != 0 {
            self.sw |= ES | BUSY;
        }
    }

    #[inline]
    fn update_summary(&mut self) {
        let pending = self.sw & !self.cw & 0x3f != 0;
        self.sw = (self.sw & !(ES | BUSY)) | if pending { ES | BUSY } else { 0 };
    }

    /// Replaces the condition codes of `mask` by those of `codes`.
    #[inline]
    fn set_codes(&mut self, mask: u16, codes: u16) {
        self.sw = (self.sw & !mask) | (codes & mask);
    }
}
