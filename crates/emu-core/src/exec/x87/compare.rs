//! FCOM, FUCOM, FICOM, FTST, FXAM and the forms that set EFLAGS [SDM-1 8.3.6].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{begin, begin_read, end, st_i};
use crate::System;
use crate::cpu::Outcome;
use crate::fpu::Operand;

/// CF, PF, AF, ZF, SF and OF: FCOMI clears those that it does not set.
const STATUS_FLAGS: u32 = 0x8d5;

fn m32<const POPS: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    let operand = Operand::f32(begin_read(sys, insn)?);
    sys.cpu.fpu.compare_mem(operand, POPS);
    end(sys, insn)
}

fn m64<const POPS: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    let operand = Operand::f64(begin_read(sys, insn)?);
    sys.cpu.fpu.compare_mem(operand, POPS);
    end(sys, insn)
}

fn m16int<const POPS: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v: u16 = begin_read(sys, insn)?;
    sys.cpu.fpu.compare_mem(Operand::int((v as i16).into()), POPS);
    end(sys, insn)
}

fn m32int<const POPS: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v: u32 = begin_read(sys, insn)?;
    sys.cpu.fpu.compare_mem(Operand::int((v as i32).into()), POPS);
    end(sys, insn)
}

fn sti<const QUIET: bool, const POPS: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.compare(st_i(insn), QUIET, POPS);
    end(sys, insn)
}

/// FCOMPP and FUCOMPP, always with ST(1).
fn pop_both<const QUIET: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.compare(1, QUIET, 2);
    end(sys, insn)
}

fn to_flags<const QUIET: bool, const POPS: u8>(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    let flags = sys.cpu.fpu.compare_flags(st_i(insn), QUIET, POPS);
    sys.cpu.flags.replace(STATUS_FLAGS, flags);
    end(sys, insn)
}

fn ftst(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.compare_mem(Operand::int(0), 0);
    end(sys, insn)
}

fn fxam(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.examine();
    end(sys, insn)
}

#[rustfmt::skip]
pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Fcom_m32fp => m32::<0>, Fcomp_m32fp => m32::<1>, Fcom_m64fp => m64::<0>, Fcomp_m64fp => m64::<1>,
        Ficom_m16int => m16int::<0>, Ficomp_m16int => m16int::<1>,
        Ficom_m32int => m32int::<0>, Ficomp_m32int => m32int::<1>,
        Fcom_st0_sti | Fcom_st0_sti_DCD0 => sti::<false, 0>,
        Fcomp_st0_sti | Fcomp_st0_sti_DCD8 | Fcomp_st0_sti_DED0 => sti::<false, 1>,
        Fucom_st0_sti => sti::<true, 0>, Fucomp_st0_sti => sti::<true, 1>,
        Fcompp => pop_both::<false>, Fucompp => pop_both::<true>,
        Fcomi_st0_sti => to_flags::<false, 0>, Fcomip_st0_sti => to_flags::<false, 1>,
        Fucomi_st0_sti => to_flags::<true, 0>, Fucomip_st0_sti => to_flags::<true, 1>,
        Ftst => ftst, Fxam => fxam,
        _ => return None,
    })
}
