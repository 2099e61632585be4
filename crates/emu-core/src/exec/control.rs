//! Near jumps, calls and returns; HLT.

use iced_x86::{Code, Instruction, Mnemonic};

use super::Exec;
use crate::System;
use crate::cpu::{Activity, Fault, Mode, Outcome, reg, seg};
use crate::mem::Scalar;
use crate::system::is_canonical;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Jmp_rel8_16 | Jmp_rel8_32 | Jmp_rel8_64 | Jmp_rel16 | Jmp_rel32_32 | Jmp_rel32_64 => jmp_near,
        Call_rel16 => call_near::<u16>,
        Call_rel32_32 => call_near::<u32>,
        Call_rel32_64 => call_near::<u64>,
        Jmp_rm16 => jmp_indirect::<u16>,
        Jmp_rm32 => jmp_indirect::<u32>,
        Jmp_rm64 => jmp_indirect::<u64>,
        Call_rm16 => call_indirect::<u16>,
        Call_rm32 => call_indirect::<u32>,
        Call_rm64 => call_indirect::<u64>,
        Retnw | Retnw_imm16 => ret_near::<u16>,
        Retnd | Retnd_imm16 => ret_near::<u32>,
        Retnq | Retnq_imm16 => ret_near::<u64>,
        Hlt => hlt,
        _ if code.is_jcc_short_or_near() => jcc,
        _ if code.is_jcx_short() => jcxz,
        _ if code.is_loop() || code.is_loopcc() => loop_cc,
        _ => return None,
    })
}

impl System {
    /// Where a near branch of `insn` leads, as wide as its operand size makes it.
    fn branch_target(&self, insn: &Instruction) -> u64 {
        let target = self.block_start().wrapping_add(insn.near_branch_target());
        match insn.op0_kind() {
            iced_x86::OpKind::NearBranch16 => target & 0xFFFF,
            iced_x86::OpKind::NearBranch32 => target & 0xFFFF_FFFF,
            _ => target,
        }
    }

    /// Checks that near code may go on at `target` [SDM-2 JMP].
    ///
    /// # Errors
    /// #GP(0) beyond the code segment's limit, or where `target` is not canonical.
    pub(crate) fn check_target(&self, target: u64) -> Outcome {
        let inside = if self.cpu.mode.has(Mode::CODE64) {
            is_canonical(target)
        } else {
            target <= self.cpu.seg[seg::CS].limit.into()
        };
        if inside { Ok(()) } else { Err(Fault::gp(0)) }
    }
}

fn jump_to(sys: &mut System, target: u64) -> Outcome {
    sys.check_target(target)?;
    sys.cpu.rip = target;
    Ok(())
}

fn jmp_near(sys: &mut System, insn: &Instruction) -> Outcome {
    jump_to(sys, sys.branch_target(insn))
}

fn jcc(sys: &mut System, insn: &Instruction) -> Outcome {
    // iced numbers its condition codes from 1 in the order of the opcode's low bits.
    let condition = (insn.condition_code() as u8).wrapping_sub(1);
    if sys.cpu.flags.condition(condition) { jmp_near(sys, insn) } else { Ok(()) }
}

fn call_to<T: Scalar>(sys: &mut System, target: u64) -> Outcome {
    sys.check_target(target)?;
    sys.push(T::from_u64(sys.cpu.rip))?;
    sys.cpu.rip = target;
    Ok(())
}

fn call_near<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    call_to::<T>(sys, sys.branch_target(insn))
}

fn jmp_indirect<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let target = sys.operand::<T>(insn, 0)?.to_u64();
    jump_to(sys, target)
}

fn call_indirect<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let target = sys.operand::<T>(insn, 0)?.to_u64();
    call_to::<T>(sys, target)
}

fn ret_near<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let sp = sys.stack_pointer();
    let target = sys.read::<T>(seg::SS, sp)?.to_u64();
    sys.check_target(target)?;
    let released = if insn.op_count() == 1 { u64::from(insn.immediate16()) } else { 0 };
    sys.set_stack_pointer(sp.wrapping_add(T::SIZE).wrapping_add(released));
    sys.cpu.rip = target;
    Ok(())
}

/// The counter register of LOOP and JCXZ, as wide as the address size.
fn counter(insn: &Instruction) -> u64 {
    use Code::*;
    match insn.code() {
        Jcxz_rel8_16 | Jcxz_rel8_32 | Loop_rel8_16_CX | Loop_rel8_32_CX | Loope_rel8_16_CX | Loope_rel8_32_CX
        | Loopne_rel8_16_CX | Loopne_rel8_32_CX => 0xFFFF,
        Jrcxz_rel8_16 | Jrcxz_rel8_64 | Loop_rel8_16_RCX | Loop_rel8_64_RCX | Loope_rel8_16_RCX | Loope_rel8_64_RCX
        | Loopne_rel8_16_RCX | Loopne_rel8_64_RCX => u64::MAX,
        _ => 0xFFFF_FFFF,
    }
}

fn jcxz(sys: &mut System, insn: &Instruction) -> Outcome {
    if sys.cpu.regs[reg::RCX] & counter(insn) == 0 { jmp_near(sys, insn) } else { Ok(()) }
}

fn loop_cc(sys: &mut System, insn: &Instruction) -> Outcome {
    let mask = counter(insn);
    let old = sys.cpu.regs[reg::RCX];
    let count = old.wrapping_sub(1) & mask;
    let zf = sys.cpu.flags.zf();
    let taken = count != 0
        && match insn.mnemonic() {
            Mnemonic::Loope => zf,
            Mnemonic::Loopne => !zf,
            _ => true,
        };
    if taken {
        jmp_near(sys, insn)?;
    }
    // A 32-bit counter clears the upper half in 64-bit mode; a 16-bit one keeps what is above it.
    sys.cpu.regs[reg::RCX] = if mask == 0xFFFF { old & !0xFFFF | count } else { count };
    Ok(())
}

fn hlt(sys: &mut System, _: &Instruction) -> Outcome {
    if sys.cpu.cpl != 0 {
        return Err(Fault::gp(0));
    }
    sys.cpu.activity = Activity::Halted;
    sys.remember_halt();
    sys.request_leave();
    Ok(())
}
