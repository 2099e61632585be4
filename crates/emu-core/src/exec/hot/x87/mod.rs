//! x87 loads, stores, arithmetic and comparisons.
//!
//! Handlers with a memory operand have a data slot behind them, the others use `imm`: what [`crate::fpu::last::info`] made of
//! the instruction; `a` is the i of ST(i), and `b` has bits 0 and i set. What nearly always happens is in [`quick`]; its handlers hand over to those of [`full`].

mod full;
mod quick;

use iced_x86::{Code, Instruction, OpKind, Register};

use super::addr::{Kind, MemoryOperand, by_addr};
use crate::cpu::Mode;
use crate::cpu::model;
use crate::engine::{Builder, Handler};
use crate::exec::x87::opcode_word;
use crate::fpu::arith::{Add, Div, DivR, Mul, Sub, SubR};
use crate::fpu::last::info;
use crate::fpu::quick::{Double, Single};
use full::*;
use quick::*;

#[rustfmt::skip]
fn memory_handler(code: Code, kind: Kind) -> Option<Handler> {
    use Code::*;
    Some(match code {
        Fadd_m32fp => by_addr!(kind, arithmetic_memory, Add, Single), Fadd_m64fp => by_addr!(kind, arithmetic_memory, Add, Double),
        Fsub_m32fp => by_addr!(kind, arithmetic_memory, Sub, Single), Fsub_m64fp => by_addr!(kind, arithmetic_memory, Sub, Double),
        Fsubr_m32fp => by_addr!(kind, arithmetic_memory, SubR, Single), Fsubr_m64fp => by_addr!(kind, arithmetic_memory, SubR, Double),
        Fmul_m32fp => by_addr!(kind, arithmetic_memory, Mul, Single), Fmul_m64fp => by_addr!(kind, arithmetic_memory, Mul, Double),
        Fdiv_m32fp => by_addr!(kind, arithmetic_memory, Div, Single), Fdiv_m64fp => by_addr!(kind, arithmetic_memory, Div, Double),
        Fdivr_m32fp => by_addr!(kind, arithmetic_memory, DivR, Single), Fdivr_m64fp => by_addr!(kind, arithmetic_memory, DivR, Double),
        Fld_m32fp => by_addr!(kind, load_real, Single), Fld_m64fp => by_addr!(kind, load_real, Double),
        Fild_m16int => by_addr!(kind, load_integer, u16), Fild_m32int => by_addr!(kind, load_integer, u32),
        Fcom_m32fp => by_addr!(kind, compare_memory, FcomM32, Single), Fcomp_m32fp => by_addr!(kind, compare_memory, FcompM32, Single),
        Fcom_m64fp => by_addr!(kind, compare_memory, FcomM64, Double), Fcomp_m64fp => by_addr!(kind, compare_memory, FcompM64, Double),
        Fst_m32fp | Fstp_m32fp => by_addr!(kind, store_real, Single),
        Fst_m64fp | Fstp_m64fp => by_addr!(kind, store_real, Double),
        Fist_m16int | Fistp_m16int => by_addr!(kind, to_memory, Integer16),
        Fist_m32int | Fistp_m32int => by_addr!(kind, to_memory, Integer32),
        Fild_m64int => by_addr!(kind, load_integer, u64), Fistp_m64int => by_addr!(kind, to_memory, Integer64),
        Fldcw_m2byte => by_addr!(kind, fldcw), Fnstcw_m2byte => by_addr!(kind, fnstcw),
        _ => return None,
    })
}

#[rustfmt::skip]
fn register_handler(code: Code) -> Option<Handler> {
    use Code::*;
    Some(match code {
        Fadd_st0_sti => arithmetic::<Add, ToSt0, false>, Fadd_sti_st0 => arithmetic::<Add, ToSti, false>,
        Fsub_st0_sti => arithmetic::<Sub, ToSt0, false>, Fsub_sti_st0 => arithmetic::<Sub, ToSti, false>,
        Fsubr_st0_sti => arithmetic::<SubR, ToSt0, false>, Fsubr_sti_st0 => arithmetic::<SubR, ToSti, false>,
        Fmul_st0_sti => arithmetic::<Mul, ToSt0, false>, Fmul_sti_st0 => arithmetic::<Mul, ToSti, false>,
        Fdiv_st0_sti => arithmetic::<Div, ToSt0, false>, Fdiv_sti_st0 => arithmetic::<Div, ToSti, false>,
        Fdivr_st0_sti => arithmetic::<DivR, ToSt0, false>, Fdivr_sti_st0 => arithmetic::<DivR, ToSti, false>,
        Faddp_sti_st0 => arithmetic::<Add, ToStiPop, false>, Fmulp_sti_st0 => arithmetic::<Mul, ToStiPop, false>,
        Fsubp_sti_st0 => arithmetic::<Sub, ToStiPop, false>, Fsubrp_sti_st0 => arithmetic::<SubR, ToStiPop, false>,
        Fdivp_sti_st0 => arithmetic::<Div, ToStiPop, false>, Fdivrp_sti_st0 => arithmetic::<DivR, ToStiPop, false>,
        Fld_sti => simple::<FldSti>, Fst_sti => simple::<FstSti>, Fstp_sti => simple::<FstpSti>,
        Fxch_st0_sti => simple::<Fxch>,
        Fchs => simple::<Negate>, Fabs => simple::<Magnitude>, Fsqrt => square_root::<false>,
        Fcom_st0_sti => compare::<Fcom, 0>, Fcomp_st0_sti => compare::<Fcomp, 1>, Fcompp => compare::<CompareBoth, 2>,
        Fucom_st0_sti => compare::<Fucom, 0>, Fucomp_st0_sti => compare::<Fucomp, 1>, Fucompp => compare::<QuietCompareBoth, 2>,
        Fld1 => simple::<LoadOne>, Fldz => simple::<LoadZero>, Frndint => registers::<RoundToInt>,
        Fcomi_st0_sti => compare_to_flags::<false, 0>, Fcomip_st0_sti => compare_to_flags::<false, 1>,
        Fucomi_st0_sti => compare_to_flags::<true, 0>, Fucomip_st0_sti => compare_to_flags::<true, 1>,
        Fnstsw_AX => fnstsw_ax,
        _ => return None,
    })
}

/// ST(i) of the operand that is not ST(0); of FCOMPP's two, which have no names, the other one.
fn st_i(insn: &Instruction) -> u8 {
    if matches!(insn.code(), Code::Fcompp | Code::Fucompp) {
        return 1;
    }
    let number = |r: Register| if r.is_st() { r.number() as u8 } else { 0 };
    (0..insn.op_count()).map(|n| number(insn.op_register(n))).max().unwrap_or(0)
}

/// Lowers `insn` if it is one of those above.
pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let width = if b.mode.has(Mode::CODE64) {
        64
    } else if b.mode.has(Mode::CODE32) {
        32
    } else {
        16
    };
    let info = info(b.offset, opcode_word(insn), width, b.model.kind <= model::Kind::P6);
    if insn.op_count() == 0 || insn.op0_kind() != OpKind::Memory {
        let Some(run) = register_handler(insn.code()) else { return false };
        let i = st_i(insn);
        b.op(run, [i, 1 | 1 << i, 0, 0], info);
        return true;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let Some(run) = memory_handler(insn.code(), m.kind) else { return false };
    use Code::{Fcomp_m32fp, Fcomp_m64fp, Fistp_m16int, Fistp_m32int, Fistp_m64int, Fstp_m32fp, Fstp_m64fp};
    let pops = matches!(
        insn.code(),
        Fstp_m32fp | Fstp_m64fp | Fistp_m16int | Fistp_m32int | Fistp_m64int | Fcomp_m32fp | Fcomp_m64fp
    );
    b.op(run, [u8::from(pops), m.b, m.c, m.d], m.imm);
    b.wide(info.into());
    true
}
