//! MXCSR as the environment of one instruction [SDM-1 10.2.3].

/// Invalid operation.
pub const IE: u32 = 1 << 0;
/// Denormal operand.
pub const DE: u32 = 1 << 1;
/// Division by zero.
pub const ZE: u32 = 1 << 2;
/// Overflow.
pub const OE: u32 = 1 << 3;
/// Underflow.
pub const UE: u32 = 1 << 4;
/// Precision (inexact result).
pub const PE: u32 = 1 << 5;
/// All six sticky flags.
pub const FLAGS: u32 = 0x3f;
/// Denormals are zeros.
pub const DAZ: u32 = 1 << 6;
/// Flush to zero.
pub const FTZ: u32 = 1 << 15;
/// MXCSR after reset: everything masked, round to nearest.
pub const DEFAULT: u32 = 0x1f80;
/// Bits that software may set (all but 31:16).
pub const WRITABLE: u32 = 0xffff;

/// Exceptions detected before anything is computed; unmasked, they keep the others from being detected.
const PRE_COMPUTATION: u32 = IE | DE | ZE;
const MASK_SHIFT: u32 = 7;

/// Rounding control, in MXCSR's own encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
    /// Towards zero.
    Zero,
}

impl Rounding {
    /// From the two-bit field of MXCSR.RC or of ROUNDPS's immediate; higher bits are ignored.
    #[inline(always)]
    pub fn from_bits(bits: u32) -> Rounding {
        match bits & 3 {
            0 => Rounding::Nearest,
            1 => Rounding::Down,
            2 => Rounding::Up,
            _ => Rounding::Zero,
        }
    }
}

/// MXCSR and what an instruction has raised so far, over all its lanes.
#[derive(Debug, Clone, Copy)]
pub struct Env {
    mxcsr: u32,
    raised: u32,
}

impl Env {
    /// Start of an instruction under `mxcsr`.
    #[inline(always)]
    pub fn new(mxcsr: u32) -> Env {
        Env { mxcsr, raised: 0 }
    }

    /// Record exceptions.
    #[inline(always)]
    pub fn raise(&mut self, flags: u32) {
        self.raised |= flags;
    }

    /// Ends a step that raised nothing unmasked, of an instruction of several: what it raised is seen whatever the next
    /// step does.
    #[inline]
    pub(super) fn settle(&mut self) {
        self.mxcsr |= core::mem::take(&mut self.raised);
    }

    /// Flags raised by this instruction (not those that were sticky before).
    #[inline(always)]
    pub fn raised(&self) -> u32 {
        self.raised
    }

    /// Whether every exception in `flags` is masked.
    #[inline(always)]
    pub fn masked(&self, flags: u32) -> bool {
        self.mxcsr >> MASK_SHIFT & flags == flags
    }

    /// MXCSR.RC.
    #[inline(always)]
    pub fn rounding(&self) -> Rounding {
        Rounding::from_bits(self.mxcsr >> 13)
    }

    /// The same environment with another rounding mode and without FTZ, as conversions to half precision want it.
    #[inline]
    pub(super) fn for_half(&self, mode: Rounding) -> Env {
        Env { mxcsr: self.mxcsr & !(3 << 13 | FTZ) | (mode as u32) << 13, raised: 0 }
    }

    /// Whether denormal operands count as zeros.
    #[inline(always)]
    pub fn daz(&self) -> bool {
        self.mxcsr & DAZ != 0
    }

    /// Whether tiny results become zeros; only in force while underflow is masked.
    #[inline(always)]
    pub fn flushes(&self) -> bool {
        self.mxcsr & FTZ != 0 && self.masked(UE)
    }

    /// The mode nearly all programs run in: all masked, to nearest, neither DAZ nor FTZ.
    #[inline(always)]
    pub fn is_default(&self) -> bool {
        self.mxcsr & !FLAGS == DEFAULT
    }

    /// Whether PE is set already, so that a further inexact result changes nothing.
    #[inline(always)]
    pub fn inexact_known(&self) -> bool {
        (self.mxcsr | self.raised) & PE != 0
    }

    /// MXCSR after the instruction, and whether it must fault (#XM) and leave its destination untouched. An
    /// unmasked exception found before computing hides those found after, in all lanes [SDM-1 11.5.2, E.4.2].
    #[inline(always)]
    pub fn finish(&self) -> (u32, bool) {
        let unmasked = self.raised & !(self.mxcsr >> MASK_SHIFT);
        let seen = if unmasked & PRE_COMPUTATION != 0 { self.raised & PRE_COMPUTATION } else { self.raised };
        (self.mxcsr | seen, unmasked != 0)
    }
}
