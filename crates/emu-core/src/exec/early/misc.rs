//! Instructions that only early CPUs have, and coprocessor instructions without a coprocessor.

use iced_x86::{Code, CpuidFeature, Instruction, OpKind};

use super::super::Exec;
use super::shift::count;
use crate::System;
use crate::cpu::bits::CR0_EM;
use crate::cpu::{Fault, Outcome, seg};
use crate::mem::Scalar;

pub(super) fn lookup(_: Code) -> Option<Exec> {
    None
}

pub(super) fn lookup_i8086(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Popw_CS => pop_cs,
        Sal_rm8_1 | Sal_rm8_CL => set_minus_one::<u8>,
        Sal_rm16_1 | Sal_rm16_CL => set_minus_one::<u16>,
        _ => return None,
    })
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

/// The same with CR0.EM, which asks for a trap.
pub(super) fn escape_checked(sys: &mut System, insn: &Instruction) -> Outcome {
    if sys.cpu.cr0 & CR0_EM != 0 { Err(Fault::NM) } else { escape(sys, insn) }
}
