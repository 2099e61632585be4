//! The CPU's mode as the block cache sees it: everything that a decoded block's handlers need not test again.

use super::segment::{Segment, attr};

/// A set of mode bits; part of every block's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mode(pub u32);

impl Mode {
    /// CS.D: 32-bit operands and addresses by default.
    pub const CODE32: u32 = 1 << 0;
    /// 64-bit mode.
    pub const CODE64: u32 = 1 << 1;
    /// SS.B: the stack pointer is ESP (in 64-bit mode, it is RSP whatever this says).
    pub const STACK32: u32 = 1 << 2;
    /// ES, CS, SS and DS are flat: base 0, limit 4 GiB, readable and (but CS) writable.
    pub const FLAT: u32 = 1 << 3;
    /// The code segment's limit covers every instruction pointer of its size.
    pub const OPEN_LIMIT: u32 = 1 << 4;
    /// Protected mode.
    pub const PE: u32 = 1 << 5;
    /// V86 mode.
    pub const V86: u32 = 1 << 6;
    /// The current privilege level, two bits.
    pub const CPL: u32 = 3 << 7;
    /// One instruction at a time: single-step trap or instruction breakpoints are armed.
    pub const SINGLE: u32 = 1 << 9;
    /// IA-32e mode (64-bit or compatibility mode).
    pub const LONG: u32 = 1 << 10;
    /// Data accesses are checked for alignment (CR0.AM, EFLAGS.AC, CPL 3).
    pub const ALIGN: u32 = 1 << 11;
    /// Breakpoints on data or ports are armed: the chain must be able to stop behind any instruction.
    pub const WATCH: u32 = 1 << 12;

    /// What has nothing to do with segments.
    pub(super) const APART: u32 = Mode::PE | Mode::V86 | Mode::LONG | Mode::SINGLE | Mode::WATCH;

    /// Whether any of `bits` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    /// The current privilege level.
    #[inline(always)]
    #[must_use]
    pub const fn cpl(self) -> u8 {
        (self.0 >> 7) as u8 & 3
    }

    /// Real-address mode.
    #[must_use]
    pub const fn is_real(self) -> bool {
        !self.has(Mode::PE)
    }

    /// Protected mode with its segment checks (not real, not V86).
    #[must_use]
    pub const fn is_protected(self) -> bool {
        self.has(Mode::PE) && !self.has(Mode::V86)
    }

    /// 64-bit mode.
    #[must_use]
    pub const fn is_64(self) -> bool {
        self.has(Mode::CODE64)
    }

    /// Default operand size of the code, in bits: 16, 32 or 64 (the decoder's "bitness").
    #[must_use]
    pub const fn bitness(self) -> u32 {
        if self.has(Mode::CODE64) {
            64
        } else if self.has(Mode::CODE32) {
            32
        } else {
            16
        }
    }
}

/// What of a mode follows from the segments in CS and SS.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CodeAndStack {
    /// Its bits.
    pub(super) set: u32,
    /// [`Mode::FLAT`] if the data segments decide on that.
    pub(super) flat: u32,
}

impl CodeAndStack {
    /// For segments `cs` and `ss`, in IA-32e mode if `long`.
    #[inline(always)]
    pub(crate) fn new(long: bool, cs: &Segment, ss: &Segment) -> CodeAndStack {
        let bit = |bit: u32, on: bool| bit * u32::from(on);
        let (code64, code32) = (long & (cs.attr & attr::L != 0), cs.is_32());
        let open = (cs.limit == u32::MAX) | (!code32 & (cs.limit >= 0xFFFF));
        let set = bit(Mode::CODE64 | Mode::FLAT | Mode::OPEN_LIMIT, code64)
            | bit(Mode::CODE32, code32 & !code64)
            | bit(Mode::STACK32, ss.is_32())
            | bit(Mode::OPEN_LIMIT, open);
        CodeAndStack { set, flat: bit(Mode::FLAT, cs.is_flat(false) & ss.is_flat(true)) }
    }

    /// Whether it is 64-bit code.
    pub(crate) fn is_64(self) -> bool {
        self.set & Mode::CODE64 != 0
    }

    /// The mode behind `from` at privilege level `cpl` where the data segments are flat and alignment is not checked.
    pub(crate) fn flat_mode(self, from: Mode, cpl: u8) -> Mode {
        Mode(from.0 & Mode::APART | self.set | self.flat | u32::from(cpl) << 7)
    }
}
