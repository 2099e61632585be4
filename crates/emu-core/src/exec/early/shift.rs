//! AF after shifts: SHL is a doubling, and shows its carry out of bit 3; the others leave it clear on the 8086, set on the
//! 80186 and 80286.

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::super::shift as common;
use crate::System;
use crate::cpu::Outcome;
use crate::cpu::bits::*;
use crate::cpu::model::Kind;
use crate::mem::Scalar;

pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Sal_rm8_1 | Sal_rm8_CL | Shl_rm8_1 | Shl_rm8_CL | Shl_rm8_imm8 | Sal_rm8_imm8 => left::<u8>,
        Sal_rm16_1 | Sal_rm16_CL | Shl_rm16_1 | Shl_rm16_CL | Shl_rm16_imm8 | Sal_rm16_imm8 => left::<u16>,
        Shr_rm8_1 | Shr_rm8_CL | Shr_rm8_imm8 | Sar_rm8_1 | Sar_rm8_CL | Sar_rm8_imm8 => right,
        Shr_rm16_1 | Shr_rm16_CL | Shr_rm16_imm8 | Sar_rm16_1 | Sar_rm16_CL | Sar_rm16_imm8 => right,
        _ => return None,
    })
}

/// The count that counts.
pub(super) fn count(sys: &mut System, insn: &Instruction) -> Outcome<u8> {
    let n = sys.operand::<u8>(insn, 1)?;
    Ok(if sys.cpu.model.kind == Kind::I8086 { n } else { n & 31 })
}

fn set_af(sys: &mut System, on: bool) {
    sys.cpu.flags.replace(AF, u32::from(on) * AF);
}

fn left<T: Scalar>(sys: &mut System, insn: &Instruction) -> Outcome {
    let n = u32::from(count(sys, insn)?);
    let v = sys.operand::<T>(insn, 0)?.to_u64();
    common::run(sys, insn)?;
    if n != 0 {
        set_af(sys, v.checked_shl(n).unwrap_or(0) & 0x10 != 0);
    }
    Ok(())
}

fn right(sys: &mut System, insn: &Instruction) -> Outcome {
    let n = count(sys, insn)?;
    common::run(sys, insn)?;
    if n != 0 {
        let set = sys.cpu.model.kind > Kind::I8086;
        set_af(sys, set);
    }
    Ok(())
}
