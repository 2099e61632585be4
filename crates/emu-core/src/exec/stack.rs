//! PUSH, POP, PUSHA, POPA, ENTER and LEAVE.
//!
//! Memory is written before registers change, so that a fault in the middle leaves an instruction that can start again.

use iced_x86::{Code, Instruction, OpKind};

use super::Exec;
use super::operands::segment_index;
use crate::System;
use crate::cpu::model::Kind;
use crate::cpu::{Outcome, reg, seg};
use crate::mem::Scalar;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Push_r16 | Push_rm16 | Push_imm16 | Pushw_imm8 => push::<u16>,
        Push_r32 | Push_rm32 | Pushd_imm32 | Pushd_imm8 => push::<u32>,
        Push_r64 | Push_rm64 | Pushq_imm32 | Pushq_imm8 => push::<u64>,
        Pushw_ES | Pushw_CS | Pushw_SS | Pushw_DS | Pushw_FS | Pushw_GS => push_segment::<u16>,
        Pushd_ES | Pushd_CS | Pushd_SS | Pushd_DS | Pushd_FS | Pushd_GS => push_segment::<u32>,
        Pushq_FS | Pushq_GS => push_segment::<u64>,
        Pop_r16 | Pop_rm16 => pop::<u16>,
        Pop_r32 | Pop_rm32 => pop::<u32>,
        Pop_r64 | Pop_rm64 => pop::<u64>,
        Pushaw => push_all::<u16>,
        Pushad => push_all::<u32>,
        Popaw => pop_all::<u16>,
        Popad => pop_all::<u32>,
        Enterw_imm16_imm8 => enter::<u16>,
        Enterd_imm16_imm8 => enter::<u32>,
        Enterq_imm16_imm8 => enter::<u64>,
        Leavew => leave::<u16>,
        Leaved => leave::<u32>,
        Leaveq => leave::<u64>,
        _ => return None,
    })
}

fn push<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let mut v = sys.operand::<T>(insn, 0)?;
    // Up to the 80186, PUSH SP stores what SP is afterwards [SDM-2 PUSH].
    if sys.cpu.model.kind <= Kind::I80186 && insn.op0_register() == iced_x86::Register::SP {
        v = T::from_u64(v.to_u64().wrapping_sub(2));
    }
    sys.push(v)
}

/// A 32-bit push moves the stack pointer by 4 and writes 2 bytes [SDM-2 PUSH].
fn push_segment<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let sel = sys.cpu.seg[segment_index(insn.op0_register())].sel;
    if T::SIZE != 4 {
        return sys.push(T::from_u64(sel.into()));
    }
    let sp = sys.stack_pointer().wrapping_sub(4) & sys.stack_mask();
    sys.write(seg::SS, sp, sel)?;
    sys.set_stack_pointer(sp);
    Ok(())
}

/// The address of a destination in memory is computed with the stack pointer that the pop leaves [SDM-2 POP].
fn pop<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let before = sys.cpu.regs[reg::RSP];
    let v = sys.pop::<T>()?;
    let stored = sys.set_operand(insn, 0, v);
    if stored.is_err() && insn.op0_kind() == OpKind::Memory {
        sys.cpu.regs[reg::RSP] = before;
    }
    stored
}

fn push_all<T: Scalar>(sys: &mut System, _: &Instruction) -> Outcome {
    let (sp, mask) = (sys.stack_pointer(), sys.stack_mask());
    let place = |i: u64| sp.wrapping_sub((i + 1) * T::SIZE) & mask;
    for i in 0..8 {
        sys.write(seg::SS, place(i), T::from_u64(sys.cpu.regs[i as usize]))?;
    }
    sys.set_stack_pointer(place(7));
    Ok(())
}

fn pop_all<T: Scalar>(sys: &mut System, _: &Instruction) -> Outcome {
    let (sp, mask) = (sys.stack_pointer(), sys.stack_mask());
    let mut values = [T::default(); 8];
    for i in (0..8u64).filter(|&i| i != 3) {
        values[i as usize] = sys.read(seg::SS, sp.wrapping_add(i * T::SIZE) & mask)?;
    }
    for (i, v) in values.iter().enumerate().filter(|&(i, _)| i != 3) {
        sys.set_frame_register::<T>(7 - i, v.to_u64());
    }
    sys.set_stack_pointer(sp.wrapping_add(8 * T::SIZE));
    Ok(())
}

impl System {
    /// Writes register `n` as wide as `T`.
    fn set_frame_register<T: Scalar>(&mut self, n: usize, v: u64) {
        let old = &mut self.cpu.regs[n & 15];
        *old = if T::SIZE == 2 { *old & !0xFFFF | v & 0xFFFF } else { v };
    }
}

/// [SDM-2 ENTER]. The frame pointers are copied with the stack's own width; the new frame must be writable.
fn enter<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (size, level) = (u64::from(insn.immediate16()), u64::from(insn.immediate8_2nd() & 31));
    let mask = sys.stack_mask();
    let old_frame = sys.cpu.regs[reg::RBP];
    let mut sp = sys.stack_pointer().wrapping_sub(T::SIZE) & mask;
    sys.write(seg::SS, sp, T::from_u64(old_frame))?;
    // Of a wide operand size the frame pointer is all of ESP, even on a 16-bit stack.
    let frame = sys.cpu.regs[reg::RSP] & !mask | sp;
    for i in 1..level {
        let v: T = sys.read(seg::SS, old_frame.wrapping_sub(i * T::SIZE) & mask)?;
        sp = sp.wrapping_sub(T::SIZE) & mask;
        sys.write(seg::SS, sp, v)?;
    }
    if level > 0 {
        sp = sp.wrapping_sub(T::SIZE) & mask;
        sys.write(seg::SS, sp, T::from_u64(frame))?;
    }
    sp = sp.wrapping_sub(size) & mask;
    if sys.cpu.model.kind >= Kind::I80386 {
        sys.probe(seg::SS, sp, 1, true)?;
    }
    sys.set_frame_register::<T>(reg::RBP, frame);
    sys.set_stack_pointer(sp);
    Ok(())
}

fn leave<T: Scalar>(sys: &mut System, _: &Instruction) -> Outcome {
    let frame = sys.cpu.regs[reg::RBP] & sys.stack_mask();
    let v: T = sys.read(seg::SS, frame)?;
    sys.set_stack_pointer(frame.wrapping_add(T::SIZE));
    sys.set_frame_register::<T>(reg::RBP, v.to_u64());
    Ok(())
}
