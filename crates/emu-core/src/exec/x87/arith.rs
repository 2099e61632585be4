//! FADD, FSUB, FMUL, FDIV with their reversed, popping and integer forms; FSQRT, FABS, FCHS, FRNDINT, FSCALE, FPREM,
//! FXTRACT [SDM-1 8.3.5].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{begin, begin_read, end, st_i};
use crate::System;
use crate::cpu::Outcome;
use crate::fpu::round::{Ctl, Out};
use crate::fpu::{F80, Operand, arith, int};

/// An operation with two operands, destination first.
trait Operation {
    fn apply(a: F80, b: F80, ctl: Ctl) -> Out;
}

macro_rules! operations {
    ($($name:ident = $f:path;)*) => {$(
        struct $name;
        impl Operation for $name {
            #[inline]
            fn apply(a: F80, b: F80, ctl: Ctl) -> Out {
                $f(a, b, ctl)
            }
        }
    )*};
}

operations! {
    Add = arith::add;
    Sub = arith::sub;
    SubR = arith::subr;
    Mul = arith::mul;
    Div = arith::div;
    DivR = arith::divr;
}

fn m32<O: Operation>(sys: &mut System, insn: &Instruction) -> Outcome {
    let operand = Operand::f32(begin_read(sys, insn)?);
    sys.cpu.fpu.binary_mem(operand, O::apply);
    end(sys, insn)
}

fn m64<O: Operation>(sys: &mut System, insn: &Instruction) -> Outcome {
    let operand = Operand::f64(begin_read(sys, insn)?);
    sys.cpu.fpu.binary_mem(operand, O::apply);
    end(sys, insn)
}

fn m16int<O: Operation>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v: u16 = begin_read(sys, insn)?;
    sys.cpu.fpu.binary_mem(Operand::int((v as i16).into()), O::apply);
    end(sys, insn)
}

fn m32int<O: Operation>(sys: &mut System, insn: &Instruction) -> Outcome {
    let v: u32 = begin_read(sys, insn)?;
    sys.cpu.fpu.binary_mem(Operand::int((v as i32).into()), O::apply);
    end(sys, insn)
}

/// `ST(0) = ST(0) op ST(i)`
fn st0_sti<O: Operation>(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    sys.cpu.fpu.binary(0, 0, st_i(insn), 0, O::apply);
    end(sys, insn)
}

/// `ST(i) = ST(i) op ST(0)`
fn sti_st0<O: Operation>(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    let i = st_i(insn);
    sys.cpu.fpu.binary(i, i, 0, 0, O::apply);
    end(sys, insn)
}

/// `ST(i) = ST(i) op ST(0)`, pop.
fn sti_st0_pop<O: Operation>(sys: &mut System, insn: &Instruction) -> Outcome {
    begin(sys)?;
    let i = st_i(insn);
    sys.cpu.fpu.binary(i, i, 0, 1, O::apply);
    end(sys, insn)
}

macro_rules! unary {
    ($($name:ident: $fpu:ident => $body:expr;)*) => {$(
        fn $name(sys: &mut System, insn: &Instruction) -> Outcome {
            begin(sys)?;
            let $fpu = &mut sys.cpu.fpu;
            $body;
            end(sys, insn)
        }
    )*};
}

unary! {
    fsqrt: fpu => fpu.unary(arith::sqrt);
    frndint: fpu => fpu.unary(int::round_to_int);
    fabs: fpu => fpu.change_sign(|s| s & 0x7fff);
    fchs: fpu => fpu.change_sign(|s| s ^ 0x8000);
    fscale: fpu => fpu.scale();
    fprem: fpu => fpu.remainder(false);
    fprem1: fpu => fpu.remainder(true);
    fxtract: fpu => fpu.extract();
}

#[rustfmt::skip]
pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Fadd_m32fp => m32::<Add>, Fsub_m32fp => m32::<Sub>, Fsubr_m32fp => m32::<SubR>,
        Fmul_m32fp => m32::<Mul>, Fdiv_m32fp => m32::<Div>, Fdivr_m32fp => m32::<DivR>,
        Fadd_m64fp => m64::<Add>, Fsub_m64fp => m64::<Sub>, Fsubr_m64fp => m64::<SubR>,
        Fmul_m64fp => m64::<Mul>, Fdiv_m64fp => m64::<Div>, Fdivr_m64fp => m64::<DivR>,
        Fiadd_m16int => m16int::<Add>, Fisub_m16int => m16int::<Sub>, Fisubr_m16int => m16int::<SubR>,
        Fimul_m16int => m16int::<Mul>, Fidiv_m16int => m16int::<Div>, Fidivr_m16int => m16int::<DivR>,
        Fiadd_m32int => m32int::<Add>, Fisub_m32int => m32int::<Sub>, Fisubr_m32int => m32int::<SubR>,
        Fimul_m32int => m32int::<Mul>, Fidiv_m32int => m32int::<Div>, Fidivr_m32int => m32int::<DivR>,
        Fadd_st0_sti => st0_sti::<Add>, Fsub_st0_sti => st0_sti::<Sub>, Fsubr_st0_sti => st0_sti::<SubR>,
        Fmul_st0_sti => st0_sti::<Mul>, Fdiv_st0_sti => st0_sti::<Div>, Fdivr_st0_sti => st0_sti::<DivR>,
        Fadd_sti_st0 => sti_st0::<Add>, Fsub_sti_st0 => sti_st0::<Sub>, Fsubr_sti_st0 => sti_st0::<SubR>,
        Fmul_sti_st0 => sti_st0::<Mul>, Fdiv_sti_st0 => sti_st0::<Div>, Fdivr_sti_st0 => sti_st0::<DivR>,
        Faddp_sti_st0 => sti_st0_pop::<Add>, Fsubp_sti_st0 => sti_st0_pop::<Sub>,
        Fsubrp_sti_st0 => sti_st0_pop::<SubR>, Fmulp_sti_st0 => sti_st0_pop::<Mul>,
        Fdivp_sti_st0 => sti_st0_pop::<Div>, Fdivrp_sti_st0 => sti_st0_pop::<DivR>,
        Fsqrt => fsqrt, Frndint => frndint, Fabs => fabs, Fchs => fchs,
        Fscale => fscale, Fprem => fprem, Fprem1 => fprem1, Fxtract => fxtract,
        _ => return None,
    })
}
