//! The x87 instructions: from operands and modes to the methods of [`crate::fpu::Fpu`] [SDM-1 chapter 8].

mod arith;
mod compare;
mod control;
mod image;
mod opcode;
mod transcendental;

pub(crate) use opcode::opcode as opcode_word;
mod transfer;

use iced_x86::{Code, Instruction, OpKind, Register};

use super::Exec;
use crate::System;
use crate::cpu::bits::{CR0_EM, CR0_MP, CR0_NE, CR0_TS};
use crate::cpu::model::Kind;
use crate::cpu::{Fault, Outcome, seg};
use crate::fpu::F80;
use crate::mem::Scalar;

/// The function of an x87 instruction, FXSAVE and FXRSTOR included.
pub(crate) fn lookup(code: Code) -> Option<Exec> {
    arith::lookup(code)
        .or_else(|| transfer::lookup(code))
        .or_else(|| compare::lookup(code))
        .or_else(|| transcendental::lookup(code))
        .or_else(|| control::lookup(code))
        .or_else(|| image::lookup(code))
}

/// The x87 unit as instructions see it.
impl System {
    /// #MF if an unmasked exception waits: what every waiting instruction (MMX too) asks before anything else.
    ///
    /// With CR0.NE clear the error went out on FERR# instead, when it arose; unless IGNNE# is asserted, the CPU stands
    /// here until the interrupt that comes of it [SDM-1 8.7.2, D.2.1.3].
    ///
    /// # Errors
    /// #MF, or [`Fault::STALL`].
    #[inline]
    pub(crate) fn x87_pending(&self) -> Outcome {
        if self.cpu.fpu.exception_pending() { self.x87_error() } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn x87_error(&self) -> Outcome {
        if self.cpu.cr0 & CR0_NE != 0 {
            return Err(Fault::MF);
        }
        // An 8086 waits for its coprocessor at WAIT alone.
        if self.cpu.model.kind > Kind::I80186 && self.x87_stalls() { Err(Fault::STALL) } else { Ok(()) }
    }

    /// Whether an error keeps the CPU from going on over a waiting instruction.
    #[must_use]
    pub(crate) fn x87_stalls(&self) -> bool {
        self.cpu.fpu.wants_interrupt() && self.cpu.cr0 & CR0_NE == 0 && !self.bus.ignores_x87_errors(self.cpu.id)
    }

    /// Puts FERR# to the level that the unit's exceptions and CR0.NE ask for.
    #[cold]
    #[inline(never)]
    pub(crate) fn update_ferr(&mut self) {
        let level = self.cpu.fpu.wants_interrupt() && self.cpu.cr0 & CR0_NE == 0;
        let now = self.now();
        self.bus.set_ferr(&mut self.mem, now, level);
        self.after_device();
    }
}

/// #NM of an instruction that does not wait.
#[inline]
fn available(sys: &System) -> Outcome {
    if sys.cpu.cr0 & (CR0_EM | CR0_TS) != 0 { Err(Fault::NM) } else { Ok(()) }
}

/// #NM and #MF of an instruction that waits.
#[inline]
fn ready(sys: &System) -> Outcome {
    available(sys)?;
    sys.x87_pending()
}

/// FWAIT heeds TS only together with MP, and EM not at all.
fn ready_to_wait(sys: &System) -> Outcome {
    if sys.cpu.cr0 & (CR0_MP | CR0_TS) == CR0_MP | CR0_TS {
        return Err(Fault::NM);
    }
    if sys.cpu.model.kind <= Kind::I80186 && sys.x87_stalls() {
        return Err(Fault::STALL);
    }
    sys.x87_pending()
}

/// Begins a non-control instruction without a memory operand.
#[inline]
fn begin(sys: &mut System) -> Outcome {
    ready(sys)?;
    note_instruction(sys);
    Ok(())
}

/// Begins a non-control instruction that reads its memory operand.
#[inline]
fn begin_read<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome<T> {
    ready(sys)?;
    let (s, offset) = place(sys, insn);
    let v = sys.read(s, offset)?;
    note_instruction(sys);
    note_operand(sys, s, offset);
    Ok(v)
}

/// Segment and offset of the memory operand.
#[inline]
fn place(sys: &System, insn: &Instruction) -> (usize, u64) {
    (sys.operand_segment(insn), sys.operand_offset(insn))
}

#[inline]
fn note_instruction(sys: &mut System) {
    let fip = sys.insn_ip();
    let fcs = sys.cpu.seg[seg::CS].sel;
    let last = sys.cpu.fpu.last_mut();
    (last.fip, last.fcs) = (fip, fcs);
}

#[inline]
fn note_operand(sys: &mut System, s: usize, offset: u64) {
    sys.cpu.fpu.note_operand(offset, sys.cpu.seg[s & 7].sel);
}

/// Ends a non-control instruction. Since the Pentium 4 the opcode is only kept of one that left an unmasked exception
/// [SDM-1 8.1.9.1].
#[inline]
fn end(sys: &mut System, insn: &Instruction) -> Outcome {
    let failed = sys.cpu.fpu.exception_pending();
    if failed || sys.cpu.model.kind <= Kind::P6 {
        sys.cpu.fpu.last_mut().fop = opcode::opcode(insn);
    }
    if failed && sys.cpu.cr0 & CR0_NE == 0 {
        sys.update_ferr();
    }
    Ok(())
}

/// The number i of the register operand ST(i); of two, the one that is not ST(0).
#[inline]
fn st_i(insn: &Instruction) -> u8 {
    let number = |n| {
        let r: Register = insn.op_register(n);
        if insn.op_kind(n) == OpKind::Register && r.is_st() { r.number() as u8 } else { 0 }
    };
    match insn.op_count() {
        0 => 0,
        1 => number(0),
        _ => number(0).max(number(1)),
    }
}

fn read_f80(sys: &mut System, s: usize, offset: u64) -> Outcome<F80> {
    // The end first: a segment that ends inside of the operand faults before anything is read.
    let sign_exp = sys.read(s, offset.wrapping_add(8))?;
    Ok(F80::new(sign_exp, sys.read(s, offset)?))
}

fn write_f80(sys: &mut System, s: usize, offset: u64, v: F80) -> Outcome {
    sys.write_bytes(s, offset, &v.to_bytes())
}
