//! Where the last non-control instruction and its memory operand were [SDM-1 8.1.8, 8.1.9].
//!
//! Handlers note them with every instruction, and hardly anybody ever looks: so they leave what they have at hand, and the
//! pointer and the opcode are put together when they are asked for.

use super::Fpu;

/// Where the last non-control instruction and its memory operand were [SDM-1 8.1.8, 8.1.9].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LastInstruction {
    /// Low 11 bits of the opcode: the low three of the first byte, then the ModRM byte.
    pub fop: u16,
    /// Code segment of the instruction.
    pub fcs: u16,
    /// Offset of the instruction.
    pub fip: u64,
    /// Segment of the memory operand.
    pub fds: u16,
    /// Offset of the memory operand.
    pub fdp: u64,
}

/// An instruction as a handler notes it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noted {
    /// Offset of its block.
    base: u64,
    /// What [`info`] made; 0 if nothing is noted.
    info: u32,
}

/// Bits of an instruction's information: its offset in its block, TOP behind it, and so on as [`info`] has them.
const OFFSET: u32 = 0x7FF;
const TOP_SHIFT: u32 = 11;
const INDEX_SHIFT: u32 = 14;
const INDEX_HIGH: u32 = 1 << 30;
const WIDTH_SHIFT: u32 = 27;
const KEEPS_OPCODE: u32 = 1 << 29;
const VALID: u32 = 1 << 31;

/// What a handler hands to [`Fpu::note`]: the instruction's offset in its block (less than 2,048), its opcode, how wide the
/// instruction pointer is (16, 32 or 64 bits), and whether the opcode is kept without an exception.
pub(crate) fn info(offset: u16, opcode: u16, width: u32, keeps_opcode: bool) -> u32 {
    let keeps = if keeps_opcode { KEEPS_OPCODE } else { 0 };
    let offset = u32::from(offset) & OFFSET;
    VALID | keeps | width.ilog2().saturating_sub(4) << WIDTH_SHIFT | opcode_bits(opcode) | offset
}

/// `info`, with the place of ST(0) behind the instruction, and the i of its ST(i).
pub(crate) fn info_with(info: u32, top: u8, i: u8) -> u32 {
    let (top, i) = (u32::from(top & 7), u32::from(i & 7));
    info | top << TOP_SHIFT | (i & 3) << INDEX_SHIFT | if i & 4 != 0 { INDEX_HIGH } else { 0 }
}

/// The place of ST(0) behind an instruction.
#[inline(always)]
pub(crate) fn top_behind(info: u32) -> u8 {
    (info >> TOP_SHIFT) as u8 & 7
}

/// The i of an instruction's ST(i).
#[inline]
pub(crate) fn index_of(info: u32) -> u8 {
    (info >> INDEX_SHIFT) as u8 & 3 | if info & INDEX_HIGH != 0 { 4 } else { 0 }
}

fn opcode_bits(opcode: u16) -> u32 {
    u32::from(opcode & 0x7FF) << 16
}

/// The opcode in an instruction's information.
pub(crate) fn opcode_of(info: u32) -> u16 {
    (info >> 16) as u16 & 0x7FF
}

impl Noted {
    #[inline(always)]
    pub(super) fn new(base: u64, info: u32) -> Noted {
        Noted { base, info }
    }

    /// `last` with what is noted here.
    fn over(self, last: LastInstruction) -> LastInstruction {
        if self.info == 0 {
            return last;
        }
        let width = 16u32 << (self.info >> WIDTH_SHIFT & 3);
        let fip = self.base.wrapping_add(u64::from(self.info & OFFSET)) & u64::MAX >> (64 - width.min(64));
        let fop = if self.info & KEEPS_OPCODE != 0 { opcode_of(self.info) } else { last.fop };
        LastInstruction { fip, fop, ..last }
    }
}

impl Fpu {
    /// The last non-control instruction.
    #[must_use]
    pub fn last(&self) -> LastInstruction {
        self.noted.over(self.last)
    }

    /// The last non-control instruction, to be changed.
    pub fn last_mut(&mut self) -> &mut LastInstruction {
        self.last = self.last();
        self.noted = Noted::default();
        &mut self.last
    }

    /// Notes an instruction of the block at offset `base` in code segment `fcs`; `info` as from [`info`].
    #[inline(always)]
    pub(crate) fn note(&mut self, base: u64, info: u32, fcs: u16) {
        self.noted = Noted { base, info };
        self.last.fcs = fcs;
    }

    /// Notes a memory operand.
    #[inline(always)]
    pub(crate) fn note_operand(&mut self, fdp: u64, fds: u16) {
        (self.last.fdp, self.last.fds) = (fdp, fds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_instruction_is_put_together_by_its_mode() {
        let mut fpu = Fpu::new();
        for (width, expected, base) in
            [(16, 0x13u64, 0x1_0003u64), (32, 0x1_0013, 0x1_0001_0003), (64, 0x1_0000_0013, 0x1_0000_0003)]
        {
            fpu.note(base, info(0x10, 0x5C1, width, width != 64), 0x1B);
            fpu.note_operand(7, 0x23);
            let fop = if width == 64 { 0x155 } else { 0x5C1 };
            fpu.last.fop = 0x155;
            let last = LastInstruction { fop, fcs: 0x1B, fip: expected, fds: 0x23, fdp: 7 };
            assert_eq!((fpu.last(), *fpu.last_mut(), fpu.last()), (last, last, last));
        }
    }

    #[test]
    fn what_is_changed_later_counts() {
        let mut fpu = Fpu::new();
        fpu.note(0x100, info(5, 0x123, 32, true), 8);
        fpu.last_mut().fip = 9;
        assert_eq!((fpu.last().fip, fpu.last().fop), (9, 0x123));
    }
}
