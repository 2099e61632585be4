//! Faults as values of the machine: what an instruction answers instead of finishing.

use core::num::NonZeroU32;

/// An exception that an instruction raises, with its error code. It fits a register, so that handlers can return it
/// without a place in memory. A page fault's address is in CR2 already when this value exists [SDM-3 6.15].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fault(NonZeroU32);

const PRESENT: u32 = 1 << 31;
const HAS_CODE: u32 = 1 << 30;

/// What became of an instruction.
pub type Outcome<T = ()> = Result<T, Fault>;

impl Fault {
    /// #DE, divide error.
    pub const DE: Fault = Fault::plain(0);
    /// #DB, debug exception (as a fault or trap: DR6 tells).
    pub const DB: Fault = Fault::plain(1);
    /// #BP, breakpoint.
    pub const BP: Fault = Fault::plain(3);
    /// #OF, overflow.
    pub const OF: Fault = Fault::plain(4);
    /// #BR, BOUND range exceeded.
    pub const BR: Fault = Fault::plain(5);
    /// #UD, invalid opcode.
    pub const UD: Fault = Fault::plain(6);
    /// #NM, device not available.
    pub const NM: Fault = Fault::plain(7);
    /// #MF, x87 floating-point error.
    pub const MF: Fault = Fault::plain(16);
    /// #XM, SIMD floating-point exception.
    pub const XM: Fault = Fault::plain(19);

    /// No exception: a waiting x87 instruction finds one that it may not raise (CR0.NE clear) nor ignore (IGNNE#
    /// released). The CPU stands before it until an interrupt comes [SDM-1 D.2.1.3].
    pub(crate) const STALL: Fault = Fault(NonZeroU32::MAX);

    const fn plain(vector: u8) -> Fault {
        match NonZeroU32::new(PRESENT | vector as u32) {
            Some(n) => Fault(n),
            None => unreachable!(),
        }
    }

    /// Any vector with an error code.
    #[must_use]
    pub const fn with_code(vector: u8, code: u16) -> Fault {
        match NonZeroU32::new(PRESENT | HAS_CODE | vector as u32 | (code as u32) << 8) {
            Some(n) => Fault(n),
            None => unreachable!(),
        }
    }

    /// #DF, double fault.
    #[must_use]
    pub const fn df() -> Fault {
        Fault::with_code(8, 0)
    }
    /// #TS, invalid TSS.
    #[must_use]
    pub const fn ts(code: u16) -> Fault {
        Fault::with_code(10, code)
    }
    /// #NP, segment not present.
    #[must_use]
    pub const fn np(code: u16) -> Fault {
        Fault::with_code(11, code)
    }
    /// #SS, stack fault.
    #[must_use]
    pub const fn ss(code: u16) -> Fault {
        Fault::with_code(12, code)
    }
    /// #GP, general protection.
    #[must_use]
    pub const fn gp(code: u16) -> Fault {
        Fault::with_code(13, code)
    }
    /// #PF, page fault; its address is in CR2.
    #[must_use]
    pub const fn pf(code: u16) -> Fault {
        Fault::with_code(14, code)
    }
    /// #AC, alignment check.
    #[must_use]
    pub const fn ac() -> Fault {
        Fault::with_code(17, 0)
    }

    /// The vector number.
    #[must_use]
    pub const fn vector(self) -> u8 {
        self.0.get() as u8
    }

    /// The error code, if this exception pushes one.
    #[must_use]
    pub const fn code(self) -> Option<u16> {
        if self.0.get() & HAS_CODE != 0 { Some((self.0.get() >> 8) as u16) } else { None }
    }
}

impl core::fmt::Debug for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.code() {
            Some(code) => write!(f, "Fault({}, {code:#x})", self.vector()),
            None => write!(f, "Fault({})", self.vector()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_one_word() {
        assert_eq!(size_of::<Outcome>(), 4);
        assert_eq!(Fault::gp(0xFFFF).code(), Some(0xFFFF));
        assert_eq!((Fault::UD.vector(), Fault::UD.code()), (6, None));
        assert_eq!(Fault::pf(7).vector(), 14);
    }
}
