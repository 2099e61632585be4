//! Instructions that only early CPUs have, and coprocessor instructions without a coprocessor.

use iced_x86::{Code, CpuidFeature, Instruction, OpKind, Register};

use super::super::Exec;
use super::shift::count;
use crate::System;
use crate::cpu::bits::{CR0_EM, CR0_TS};
use crate::cpu::model::Kind;
use crate::cpu::{Fault, Outcome, seg};
use crate::exec::tables::need_ring_0;
use crate::mem::Scalar;

pub(super) fn lookup_i8086(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Popw_CS => pop_cs,
        Sal_rm8_1 | Sal_rm8_CL => set_minus_one::<u8>,
        Sal_rm16_1 | Sal_rm16_CL => set_minus_one::<u16>,
        _ => return None,
    })
}

/// UMOV, which is MOV but for in-circuit emulators, and the moves of test registers.
pub(super) fn lookup_icemove(code: Code) -> Option<Exec> {
    use Code::*;
    let plain = match code {
        Umov_rm8_r8 => Mov_rm8_r8,
        Umov_rm16_r16 => Mov_rm16_r16,
        Umov_rm32_r32 => Mov_rm32_r32,
        Umov_r8_rm8 => Mov_r8_rm8,
        Umov_r16_rm16 => Mov_r16_rm16,
        Umov_r32_rm32 => Mov_r32_rm32,
        Mov_r32_tr => return Some(mov_from_test),
        Mov_tr_r32 => return Some(mov_to_test),
        _ => return None,
    };
    super::super::transfer::lookup(plain)
}

/// The number of the test register `r`: the 80386 has 6 and 7, the 80486 3 to 7.
fn test_register(sys: &System, r: Register) -> Outcome<usize> {
    let n = r.number();
    let first = if sys.cpu.model.kind == Kind::I80386 { 6 } else { 3 };
    if n < first {
        return Err(Fault::UD);
    }
    need_ring_0(sys)?;
    Ok(n)
}

fn mov_from_test(sys: &mut System, insn: &Instruction) -> Outcome {
    let n = test_register(sys, insn.op1_register())?;
    sys.set_register(insn.op0_register(), sys.cpu.test.read(n).into());
    Ok(())
}

fn mov_to_test(sys: &mut System, insn: &Instruction) -> Outcome {
    let n = test_register(sys, insn.op0_register())?;
    let v = sys.register(insn.op1_register()) as u32;
    sys.cpu.test.write(n, v);
    Ok(())
}

/// 0F: what the row of POP ES, SS and DS has at CS's place. Code goes on at the same IP of the new segment.
fn pop_cs(sys: &mut System, _: &Instruction) -> Outcome {
    let sel = sys.pop::<u16>()?;
    sys.load_real_segment(seg::CS, sel);
    Ok(())
}

/// D0 to D3 /6, SETMO and SETMOC: all ones, as OR does it; with a count in CL, only if that is not 0.
fn set_minus_one<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    if count(sys, insn)? == 0 {
        return Ok(());
    }
    sys.set_operand(insn, 0, T::from_u64(u64::MAX))?;
    sys.cpu.flags.set_logic(u64::MAX, 8);
    Ok(())
}

/// Whether `code` is for the coprocessor.
pub(super) fn is_escape(code: Code) -> bool {
    let of_unit = |f: &CpuidFeature| matches!(f, CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387);
    code != Code::Wait && code.cpuid_features().iter().any(of_unit)
}

/// The CPU computes the address and reads there once; nobody takes what it reads.
pub(super) fn escape(sys: &mut System, insn: &Instruction) -> Outcome {
    if insn.op0_kind() == OpKind::Memory {
        sys.operand::<u16>(insn, 0)?;
    }
    Ok(())
}

/// The same with CR0.EM and TS, which ask for a trap.
pub(super) fn escape_checked(sys: &mut System, insn: &Instruction) -> Outcome {
    if sys.cpu.cr0 & (CR0_EM | CR0_TS) != 0 { Err(Fault::NM) } else { escape(sys, insn) }
}
