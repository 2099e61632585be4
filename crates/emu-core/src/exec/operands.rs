//! Operands of an instruction that is executed from its decoded form.

use iced_x86::{Instruction, OpKind, Register};

use crate::System;
use crate::cpu::{Outcome, seg};
use crate::mem::Scalar;

/// Index of a segment register in [`crate::cpu::Cpu::seg`].
pub(crate) fn segment_index(r: Register) -> usize {
    match r {
        Register::ES => seg::ES,
        Register::CS => seg::CS,
        Register::SS => seg::SS,
        Register::FS => seg::FS,
        Register::GS => seg::GS,
        _ => seg::DS,
    }
}

/// Where a register's value lies: its number, and whether it is bits 15:8 (AH, CH, DH, BH).
pub(crate) fn register_place(r: Register) -> (usize, bool) {
    let high = matches!(r, Register::AH | Register::CH | Register::DH | Register::BH);
    // The decoder's own numbers count AH to BH and SPL to DIL one after the other.
    (r.full_register().number(), high)
}

/// Registers by their names.
impl System {
    /// The value of a general register, as wide as it is; 0 for `Register::None`.
    #[inline]
    pub(crate) fn register(&self, r: Register) -> u64 {
        if r == Register::None {
            return 0;
        }
        let (n, high) = register_place(r);
        let v = self.cpu.regs[n & 15];
        match r.size() {
            1 if high => v >> 8 & 0xFF,
            1 => v & 0xFF,
            2 => v & 0xFFFF,
            4 => v & 0xFFFF_FFFF,
            _ => v,
        }
    }

    /// Writes a general register: 8- and 16-bit writes keep the rest, 32-bit writes clear the upper half.
    #[inline]
    pub(crate) fn set_register(&mut self, r: Register, v: u64) {
        let (n, high) = register_place(r);
        let old = &mut self.cpu.regs[n & 15];
        *old = match r.size() {
            1 if high => *old & !0xFF00 | (v & 0xFF) << 8,
            1 => *old & !0xFF | v & 0xFF,
            2 => *old & !0xFFFF | v & 0xFFFF,
            4 => v & 0xFFFF_FFFF,
            _ => v,
        };
    }
}

/// Operands by their number in the instruction.
impl System {
    /// Segment of the memory operand.
    #[inline]
    pub(crate) fn operand_segment(&self, insn: &Instruction) -> usize {
        segment_index(insn.memory_segment())
    }

    /// Offset of the memory operand in its segment, as wide as the instruction's addresses are.
    pub(crate) fn operand_offset(&self, insn: &Instruction) -> u64 {
        let displacement = insn.memory_displacement64();
        if insn.is_ip_rel_memory_operand() {
            // The decoder counts from the block's start, whose address RIP is while the block runs.
            let base = self.block_start();
            let ea = base.wrapping_add(displacement);
            return if insn.memory_base() == Register::EIP { ea & 0xFFFF_FFFF } else { ea };
        }
        let index = self.register(insn.memory_index()).wrapping_mul(u64::from(insn.memory_index_scale()));
        let ea = self.register(insn.memory_base()).wrapping_add(index).wrapping_add(displacement);
        match address_size(insn) {
            2 => ea & 0xFFFF,
            4 => ea & 0xFFFF_FFFF,
            _ => ea,
        }
    }

    /// Reads operand `n`: a general register, an immediate (sign-extended as the instruction does), or memory.
    ///
    /// # Errors
    /// Memory faults.
    #[inline]
    pub(crate) fn operand<T: Scalar>(&mut self, insn: &Instruction, n: u32) -> Outcome<T> {
        match insn.op_kind(n) {
            OpKind::Register => Ok(T::from_u64(self.register(insn.op_register(n)))),
            OpKind::Memory => self.read(self.operand_segment(insn), self.operand_offset(insn)),
            _ => Ok(T::from_u64(insn.immediate(n))),
        }
    }

    /// Reads operand `n`, which will be written back.
    ///
    /// # Errors
    /// Memory faults, those of the write included.
    #[inline]
    pub(crate) fn operand_for_write<T: Scalar>(&mut self, insn: &Instruction, n: u32) -> Outcome<T> {
        match insn.op_kind(n) {
            OpKind::Memory => self.read_for_write(self.operand_segment(insn), self.operand_offset(insn)),
            _ => Ok(T::from_u64(self.register(insn.op_register(n)))),
        }
    }

    /// Writes operand `n`.
    ///
    /// # Errors
    /// Memory faults.
    #[inline]
    pub(crate) fn set_operand<T: Scalar>(&mut self, insn: &Instruction, n: u32, v: T) -> Outcome {
        match insn.op_kind(n) {
            OpKind::Memory => self.write(self.operand_segment(insn), self.operand_offset(insn), v),
            _ => {
                self.set_register(insn.op_register(n), v.to_u64());
                Ok(())
            }
        }
    }
}

/// Bytes in the addresses that an instruction with a memory operand computes: 2, 4 or 8.
pub(crate) fn address_size(insn: &Instruction) -> u32 {
    let by = |r: Register| match r.size() {
        0 => None,
        // Vector index registers don't tell.
        n if n > 8 => None,
        n => Some(n as u32),
    };
    by(insn.memory_base()).or_else(|| by(insn.memory_index())).unwrap_or(match insn.memory_displ_size() {
        n @ (2 | 4 | 8) => n,
        // No registers and no displacement of its own can't be encoded.
        _ => 8,
    })
}
