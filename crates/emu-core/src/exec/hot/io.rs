//! IN and OUT of bytes and words. Doublewords stay with their decoded form, as a hypervisor may listen to them.

use iced_x86::{Code, Instruction};

use super::width::Width;
use crate::System;
use crate::cpu::reg;
use crate::engine::{Builder, Handler, OpRef, next};

/// The port: DX or an immediate.
#[inline(always)]
fn port<const DX: bool>(sys: &System, op: OpRef) -> u16 {
    if DX { sys.cpu.regs[reg::RDX] as u16 } else { op.imm() as u16 }
}

fn input<T: Width, const DX: bool>(sys: &mut System, op: OpRef) {
    if !sys.quick_in(op, port::<DX>(sys, op), T::SIZE as u8) {
        return;
    }
    T::set(sys, reg::RAX, sys.scratch);
    if sys.leave {
        return sys.stop_behind(op);
    }
    next!(sys, op)
}

fn output<T: Width, const DX: bool>(sys: &mut System, op: OpRef) {
    let value = T::get(sys, reg::RAX) as u32;
    if !sys.quick_out(op, port::<DX>(sys, op), T::SIZE as u8, value) {
        return;
    }
    next!(sys, op)
}

pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    use Code::*;
    let run: Handler = match insn.code() {
        In_AL_imm8 => input::<u8, false>,
        In_AX_imm8 => input::<u16, false>,
        In_AL_DX => input::<u8, true>,
        In_AX_DX => input::<u16, true>,
        Out_imm8_AL => output::<u8, false>,
        Out_imm8_AX => output::<u16, false>,
        Out_DX_AL => output::<u8, true>,
        Out_DX_AX => output::<u16, true>,
        _ => return false,
    };
    let port = if insn.op_kinds().any(|k| k == iced_x86::OpKind::Immediate8) { insn.immediate8() } else { 0 };
    b.op(run, [b.index(), 0, 0, 0], port.into());
    true
}
