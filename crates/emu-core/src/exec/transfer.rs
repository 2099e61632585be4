//! Moves between registers and memory.

use iced_x86::{Code, Instruction};

use super::Exec;
use crate::System;
use crate::cpu::Outcome;
use crate::mem::Scalar;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Mov_rm8_r8 | Mov_r8_rm8 | Mov_r8_imm8 | Mov_rm8_imm8 | Mov_AL_moffs8 | Mov_moffs8_AL => mov::<u8>,
        Mov_rm16_r16 | Mov_r16_rm16 | Mov_r16_imm16 | Mov_rm16_imm16 | Mov_AX_moffs16 | Mov_moffs16_AX => mov::<u16>,
        Mov_rm32_r32 | Mov_r32_rm32 | Mov_r32_imm32 | Mov_rm32_imm32 | Mov_EAX_moffs32 | Mov_moffs32_EAX => mov::<u32>,
        Mov_rm64_r64 | Mov_r64_rm64 | Mov_r64_imm64 | Mov_rm64_imm32 | Mov_RAX_moffs64 | Mov_moffs64_RAX => mov::<u64>,
        Lea_r16_m | Lea_r32_m | Lea_r64_m => lea,
        Nopw | Nopd | Nopq | Nop_rm16 | Nop_rm32 | Nop_rm64 => nop,
        _ => return None,
    })
}

fn mov<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v: T = sys.operand(insn, 1)?;
    sys.set_operand(insn, 0, v)
}

fn lea(sys: &mut System, insn: &Instruction) -> Outcome {
    let ea = sys.operand_offset(insn);
    sys.set_register(insn.op0_register(), ea);
    Ok(())
}

/// NOP, and PAUSE, with which a CPU says that it only waits for another one.
fn nop(sys: &mut System, insn: &Instruction) -> Outcome {
    if insn.code() == Code::Pause {
        sys.give_way();
    }
    Ok(())
}
