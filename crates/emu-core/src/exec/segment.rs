//! Moves to and from segment registers.

use iced_x86::{Code, Instruction, OpKind, Register};

use super::Exec;
use super::operands::segment_index;
use crate::System;
use crate::cpu::model::Kind;
use crate::cpu::{Fault, Outcome, Shadow, seg};
use crate::mem::Scalar;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Mov_rm16_Sreg | Mov_r32m16_Sreg | Mov_r64m16_Sreg => mov_from,
        Mov_Sreg_rm16 | Mov_Sreg_r32m16 | Mov_Sreg_r64m16 => mov_to,
        Popw_ES | Popw_SS | Popw_DS | Popw_FS | Popw_GS => pop::<u16>,
        Popd_ES | Popd_SS | Popd_DS | Popd_FS | Popd_GS => pop::<u32>,
        Popq_FS | Popq_GS => pop::<u64>,
        Les_r16_m1616 | Lds_r16_m1616 | Lss_r16_m1616 | Lfs_r16_m1616 | Lgs_r16_m1616 => load_far::<u16>,
        Les_r32_m1632 | Lds_r32_m1632 | Lss_r32_m1632 | Lfs_r32_m1632 | Lgs_r32_m1632 => load_far::<u32>,
        Lss_r64_m1664 | Lfs_r64_m1664 | Lgs_r64_m1664 => load_far::<u64>,
        _ => return None,
    })
}

/// The segment register that MOV names. Up to the 80186 two bits of the number count; the 80286 refuses what it has not.
fn moved_segment(sys: &System, r: Register) -> Outcome<usize> {
    let index = segment_index(r);
    match sys.cpu.model.kind {
        k if k <= Kind::I80186 => Ok(index & 3),
        Kind::I80286 if index > seg::DS => Err(Fault::UD),
        _ => Ok(index),
    }
}

fn mov_from(sys: &mut System, insn: &Instruction) -> Outcome {
    let sel = sys.cpu.seg[moved_segment(sys, insn.op1_register())?].sel;
    store_selector(sys, insn, sel)
}

/// Writes a selector to operand 0: memory takes 16 bits of it whatever the operand size, a register all it has.
pub(super) fn store_selector(sys: &mut System, insn: &Instruction, sel: u16) -> Outcome {
    match insn.op0_kind() {
        OpKind::Memory => sys.set_operand(insn, 0, sel),
        _ => {
            sys.set_register(insn.op0_register(), sel.into());
            Ok(())
        }
    }
}

/// What loading SS leaves: the next instruction can't be interrupted, so that it can load the stack pointer. The 8086 does so
/// for every segment register.
fn shade(sys: &mut System, index: usize) {
    if index == seg::SS || sys.cpu.model.kind == Kind::I8086 {
        sys.cpu.shadow = Shadow::MovSs;
        sys.request_leave();
    }
}

fn mov_to(sys: &mut System, insn: &Instruction) -> Outcome {
    let index = moved_segment(sys, insn.op0_register())?;
    if index == seg::CS && sys.cpu.model.kind > Kind::I80186 {
        return Err(Fault::UD);
    }
    let sel = sys.operand::<u16>(insn, 1)?;
    sys.load_segment(index, sel)?;
    shade(sys, index);
    Ok(())
}

fn pop<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let index = segment_index(insn.op0_register());
    let sp = sys.stack_pointer();
    // Of a wider slot only the selector is read.
    let sel = sys.read::<u16>(seg::SS, sp)?;
    // The stack pointer's width is that of the old SS.
    let mask = sys.stack_mask();
    sys.load_segment(index, sel)?;
    let keep = if mask == 0xFFFF { sys.cpu.regs[crate::cpu::reg::RSP] & !mask } else { 0 };
    sys.cpu.regs[crate::cpu::reg::RSP] = keep | (sp.wrapping_add(T::SIZE) & mask);
    shade(sys, index);
    Ok(())
}

fn load_far<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let (sel, offset) = sys.far_pointer::<T>(insn, 1)?;
    let index = match insn.mnemonic() {
        iced_x86::Mnemonic::Les => seg::ES,
        iced_x86::Mnemonic::Lss => seg::SS,
        iced_x86::Mnemonic::Lfs => seg::FS,
        iced_x86::Mnemonic::Lgs => seg::GS,
        _ => seg::DS,
    };
    sys.load_segment(index, sel)?;
    sys.set_register(insn.op0_register(), offset);
    // Unlike MOV and POP, LSS inhibits nothing: it has loaded the stack pointer too.
    Ok(())
}
