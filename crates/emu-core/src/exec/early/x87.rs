//! Operands that the 8087 and 80287 take and later units refuse, and NaNs, of which they know one kind [SDM-3 22.18.5].
//!
//! An unnormal counts for the number that its digits are, a pseudo-zero for zero, and a pseudo-infinity or pseudo-NaN for what
//! it would be with its integer bit. Every NaN that an operation takes, from a register or from memory, is an invalid operand,
//! and the result as it is, or the one with the larger significand of two. Operands that the operation leaves alone stay as
//! they were. Left out: that sums and products of unnormals are unnormal themselves.

use iced_x86::{Code, Instruction};

use super::super::{Exec, x87};
use crate::System;
use crate::cpu::Outcome;
use crate::fpu::Fpu;

/// The arithmetic instructions, comparisons, and stores that convert.
#[rustfmt::skip]
fn computes(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        Fxtract | Fadd_m32fp | Fsub_m32fp | Fsubr_m32fp | Fmul_m32fp | Fdiv_m32fp | Fdivr_m32fp | Fadd_m64fp | Fsub_m64fp
            | Fsubr_m64fp | Fmul_m64fp | Fdiv_m64fp | Fdivr_m64fp | Fiadd_m16int | Fisub_m16int | Fisubr_m16int
            | Fimul_m16int | Fidiv_m16int | Fidivr_m16int | Fiadd_m32int | Fisub_m32int | Fisubr_m32int | Fimul_m32int
            | Fidiv_m32int | Fidivr_m32int | Fadd_st0_sti | Fsub_st0_sti | Fsubr_st0_sti | Fmul_st0_sti | Fdiv_st0_sti
            | Fdivr_st0_sti | Fadd_sti_st0 | Fsub_sti_st0 | Fsubr_sti_st0 | Fmul_sti_st0 | Fdiv_sti_st0 | Fdivr_sti_st0
            | Faddp_sti_st0 | Fsubp_sti_st0 | Fsubrp_sti_st0 | Fmulp_sti_st0 | Fdivp_sti_st0 | Fdivrp_sti_st0 | Fsqrt
            | Frndint | Fscale | Fprem | Fcom_m32fp | Fcomp_m32fp | Fcom_m64fp | Fcomp_m64fp | Ficom_m16int
            | Ficomp_m16int | Ficom_m32int | Ficomp_m32int | Fcom_st0_sti | Fcomp_st0_sti | Fcompp | Ftst | F2xm1
            | Fyl2x | Fyl2xp1 | Fpatan | Fptan | Fst_m32fp | Fstp_m32fp | Fst_m64fp | Fstp_m64fp | Fist_m16int
            | Fistp_m16int | Fist_m32int | Fistp_m32int | Fistp_m64int | Fbstp_m80bcd
    )
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    match code {
        // Handlers know NaNs as later units do.
        Code::Fld_m32fp | Code::Fld_m64fp => x87::lookup(code),
        _ => computes(code).then_some(execute),
    }
}

/// The instruction as on later units, on what those call the same numbers.
fn execute(sys: &mut System, insn: &Instruction) -> Outcome {
    let Some(exec) = x87::lookup(insn.code()) else { return Ok(()) };
    let originals: [_; 8] = core::array::from_fn(|n| sys.cpu.fpu.register(n));
    let seen = originals.map(Fpu::number_of_early_units);
    (0..8).for_each(|n| sys.cpu.fpu.set_register(n, seen[n]));
    let outcome = exec(sys, insn);
    for n in 0..8 {
        let now = sys.cpu.fpu.register(n);
        // A NaN that became the result is the operand again.
        let same = |i: &usize| now == seen[*i];
        let from = if same(&n) { Some(n) } else { (0..8).find(|i| same(i) && Fpu::is_nan(now)) };
        if let Some(from) = from {
            sys.cpu.fpu.set_register(n, originals[from]);
        }
    }
    outcome
}
