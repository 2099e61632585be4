//! x87 loads, stores, arithmetic and comparisons.
//!
//! Ops name registers by place (see [`region`]): `a` is the place of the destination, or of ST(0), `b` that of the other
//! register. What an instruction tells of itself ([`crate::fpu::lazy::fields`]) is in the other fields of an op without a
//! memory operand, and in the data slot behind one that has one. What nearly always happens is in [`quick`]; its handlers
//! hand over to those of [`full`].

mod combined;
mod full;
mod pairs;
mod quick;
mod region;

use iced_x86::{Code, Instruction, OpKind, Register};

use super::addr::{Kind, MemoryOperand, by_addr};
use super::step::one;
use crate::cpu::Mode;
use crate::cpu::model;
use crate::engine::{Builder, Handler};
use crate::exec::x87::opcode_word;
use crate::fpu::arith::{Add, Div, DivR, Mul, Sub, SubR};
use crate::fpu::last::info;
use crate::fpu::quick::{Double, Single, Twice};
use full::*;
pub(super) use pairs::pairs;
use quick::*;
use region::Effect;
pub(crate) use region::Region;

/// The handler of a step that is generic over the addressing mode.
macro_rules! step {
    ($kind:expr, $step:ident $(, $t:tt)*) => {{
        use $crate::exec::hot::addr::*;
        match $kind {
            Kind::A16 => step!(@ $step, A16 $(, $t)*),
            Kind::A32S => step!(@ $step, A32S $(, $t)*),
            Kind::A32F => step!(@ $step, A32F $(, $t)*),
            Kind::A32B => step!(@ $step, A32B $(, $t)*),
            Kind::A64 => step!(@ $step, A64 $(, $t)*),
            Kind::A64B => step!(@ $step, A64B $(, $t)*),
            Kind::A64S => step!(@ $step, A64S $(, $t)*),
            Kind::A64R => step!(@ $step, A64R $(, $t)*),
            Kind::A64RS => step!(@ $step, A64RS $(, $t)*),
        }
    }};
    (@ WithMemory, $a:ty, $o:tt, $r:tt) => { one::<WithMemory<$o, $r, $a, false>> as Handler };
    (@ $step:ident, $a:ty $(, $t:tt)*) => { one::<$step<$($t,)* $a>> as Handler };
}

#[rustfmt::skip]
fn memory_handler(code: Code, kind: Kind) -> Option<Handler> {
    use Code::*;
    Some(match code {
        Fadd_m32fp => step!(kind, WithMemory, Add, Single), Fadd_m64fp => step!(kind, WithMemory, Add, Double),
        Fsub_m32fp => step!(kind, WithMemory, Sub, Single), Fsub_m64fp => step!(kind, WithMemory, Sub, Double),
        Fsubr_m32fp => step!(kind, WithMemory, SubR, Single), Fsubr_m64fp => step!(kind, WithMemory, SubR, Double),
        Fmul_m32fp => step!(kind, WithMemory, Mul, Single), Fmul_m64fp => step!(kind, WithMemory, Mul, Double),
        Fdiv_m32fp => step!(kind, WithMemory, Div, Single), Fdiv_m64fp => step!(kind, WithMemory, Div, Double),
        Fdivr_m32fp => step!(kind, WithMemory, DivR, Single), Fdivr_m64fp => step!(kind, WithMemory, DivR, Double),
        Fld_m32fp => step!(kind, LoadReal, Single), Fld_m64fp => step!(kind, LoadReal, Double),
        Fild_m16int => step!(kind, LoadInteger, u16), Fild_m32int => step!(kind, LoadInteger, u32),
        Fild_m64int => step!(kind, LoadInteger, u64),
        Fcom_m32fp => step!(kind, CompareMemory, FcomM32, Single), Fcomp_m32fp => step!(kind, CompareMemory, FcompM32, Single),
        Fcom_m64fp => step!(kind, CompareMemory, FcomM64, Double), Fcomp_m64fp => step!(kind, CompareMemory, FcompM64, Double),
        Fst_m32fp | Fstp_m32fp => step!(kind, StoreReal, Single),
        Fst_m64fp | Fstp_m64fp => step!(kind, StoreReal, Double),
        Fist_m16int | Fistp_m16int => by_addr!(kind, to_memory, Integer16),
        Fist_m32int | Fistp_m32int => by_addr!(kind, to_memory, Integer32),
        Fistp_m64int => by_addr!(kind, to_memory, Integer64),
        _ => return None,
    })
}

/// An instruction of registers: its handler, what it does to the stack, and the i of the registers at its op's places.
struct Registers {
    run: Handler,
    effect: Effect,
    a: u8,
    b: u8,
}

fn with(run: Handler, effect: Effect, [a, b]: [u8; 2]) -> Option<Registers> {
    Some(Registers { run, effect, a, b })
}

/// `ST(0) = f(ST(0), ST(i))`
fn to_st0<O: crate::fpu::quick::Quick + Operation>(i: u8) -> Option<Registers> {
    if i == 0 {
        return unary(one::<OnItself<O, St0Sti<O>, false>>);
    }
    with(one::<Arithmetic<O, St0Sti<O>, false>>, Effect { needs: 1 | 1 << i, ..Effect::default() }, [0, i])
}

/// `ST(i) = f(ST(i), ST(0))`
fn to_sti<O: crate::fpu::quick::Quick + Operation>(i: u8) -> Option<Registers> {
    with(one::<Arithmetic<O, StiSt0<O>, false>>, Effect { needs: 1 | 1 << i, ..Effect::default() }, [i, 0])
}

/// The same, and a pop.
fn to_sti_pop<O: crate::fpu::quick::Quick + Operation>(i: u8) -> Option<Registers> {
    let effect = Effect { needs: 1 | 1 << i, pops: 1, ..Effect::default() };
    if i == 0 {
        return with(one::<OnItself<O, StiSt0Pop<O>, false>>, effect, [0, 0]);
    }
    with(one::<Arithmetic<O, StiSt0Pop<O>, false>>, effect, [i, 0])
}

fn comparison(run: Handler, i: u8, pops: u8) -> Option<Registers> {
    with(run, Effect { needs: 1 | 1 << i, pops, ..Effect::default() }, [0, i])
}

fn unary(run: Handler) -> Option<Registers> {
    with(run, Effect { needs: 1, ..Effect::default() }, [0, 0])
}

/// A push; what it pushes is at place `a`.
fn push(run: Handler, needs: u8, i: u8) -> Option<Registers> {
    with(run, Effect { needs, pushes: true, ..Effect::default() }, [7, i])
}

/// FST and FSTP ST(i).
fn store(run: Handler, i: u8, pops: u8) -> Option<Registers> {
    with(run, Effect { needs: 1, fills: Some(i), pops, ..Effect::default() }, [i, 0])
}

#[rustfmt::skip]
fn register_handler(code: Code, i: u8) -> Option<Registers> {
    use Code::*;
    match code {
        Fadd_st0_sti if i == 0 => unary(one::<OnItself<Twice, St0Sti<Add>, false>>),
        Fadd_st0_sti => to_st0::<Add>(i), Fadd_sti_st0 => to_sti::<Add>(i), Faddp_sti_st0 => to_sti_pop::<Add>(i),
        Fsub_st0_sti => to_st0::<Sub>(i), Fsub_sti_st0 => to_sti::<Sub>(i), Fsubp_sti_st0 => to_sti_pop::<Sub>(i),
        Fsubr_st0_sti => to_st0::<SubR>(i), Fsubr_sti_st0 => to_sti::<SubR>(i), Fsubrp_sti_st0 => to_sti_pop::<SubR>(i),
        Fmul_st0_sti => to_st0::<Mul>(i), Fmul_sti_st0 => to_sti::<Mul>(i), Fmulp_sti_st0 => to_sti_pop::<Mul>(i),
        Fdiv_st0_sti => to_st0::<Div>(i), Fdiv_sti_st0 => to_sti::<Div>(i), Fdivp_sti_st0 => to_sti_pop::<Div>(i),
        Fdivr_st0_sti => to_st0::<DivR>(i), Fdivr_sti_st0 => to_sti::<DivR>(i), Fdivrp_sti_st0 => to_sti_pop::<DivR>(i),
        Fld_sti => push(one::<Simple<Copy, FldSti>>, 1 << i, i),
        Fld1 => push(one::<Simple<One, LoadOne>>, 0, 0), Fldz => push(one::<Simple<Zero, LoadZero>>, 0, 0),
        Fst_sti => store(one::<Simple<Copy, FstSti>>, i, 0),
        Fstp_sti if i == 0 => store(one::<Simple<Drop, FstpSti>>, i, 1),
        Fstp_sti => store(one::<Simple<Copy, FstpSti>>, i, 1),
        Fxch_st0_sti if i == 0 => unary(one::<Simple<Drop, Fxch>>),
        Fxch_st0_sti => comparison(one::<Simple<Exchange, Fxch>>, i, 0),
        Fchs => unary(one::<Simple<FlipSign, Negate>>),
        Fabs => unary(one::<Simple<ClearSign, Magnitude>>),
        Fsqrt => unary(one::<SquareRoot<false>>), Frndint => unary(registers::<RoundToInt>),
        Fcom_st0_sti => comparison(one::<Compare<Fcom>>, i, 0), Fcomp_st0_sti => comparison(one::<Compare<Fcomp>>, i, 1),
        Fucom_st0_sti => comparison(one::<Compare<Fucom>>, i, 0), Fucomp_st0_sti => comparison(one::<Compare<Fucomp>>, i, 1),
        Fcompp => comparison(one::<Compare<CompareBoth>>, 1, 2), Fucompp => comparison(one::<Compare<QuietCompareBoth>>, 1, 2),
        Fcomi_st0_sti => comparison(one::<CompareToFlags<false, 0>>, i, 0),
        Fcomip_st0_sti => comparison(one::<CompareToFlags<false, 1>>, i, 1),
        Fucomi_st0_sti => comparison(one::<CompareToFlags<true, 0>>, i, 0),
        Fucomip_st0_sti => comparison(one::<CompareToFlags<true, 1>>, i, 1),
        _ => None,
    }
}

/// The register that an instruction names beside ST(0).
fn st_i(insn: &Instruction) -> u8 {
    if matches!(insn.code(), Code::Fcompp | Code::Fucompp) {
        return 1;
    }
    let number = |r: Register| if r.is_st() { r.number() as u8 } else { 0 };
    (0..insn.op_count()).map(|n| number(insn.op_register(n))).max().unwrap_or(0)
}

/// What an instruction with a memory operand does to the stack.
fn memory_effect(code: Code) -> Effect {
    use Code::*;
    let none = Effect::default();
    match code {
        Fld_m32fp | Fld_m64fp | Fild_m16int | Fild_m32int | Fild_m64int => Effect { pushes: true, ..none },
        Fstp_m32fp | Fstp_m64fp | Fistp_m16int | Fistp_m32int | Fistp_m64int | Fcomp_m32fp | Fcomp_m64fp => {
            Effect { needs: 1, pops: 1, ..none }
        }
        _ => Effect { needs: 1, ..none },
    }
}

/// FNSTSW AX, FLDCW and FNSTCW, which the pointers do not tell of.
fn lower_control(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    if insn.code() == Code::Fnstsw_AX {
        b.op(fnstsw_ax, [0; 4], 0);
        return true;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let run: Handler = match insn.code() {
        Code::Fldcw_m2byte => by_addr!(m.kind, fldcw),
        Code::Fnstcw_m2byte => by_addr!(m.kind, fnstcw),
        _ => return false,
    };
    b.registers_op(run, [0, m.b, m.c, m.d], m.imm);
    true
}

/// Lowers `insn` if it is one of those above.
pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    use Code::{Fldcw_m2byte, Fnstcw_m2byte, Fnstsw_AX};
    if matches!(insn.code(), Fnstsw_AX | Fldcw_m2byte | Fnstcw_m2byte) {
        return lower_control(insn, b);
    }
    let width = if b.mode.has(Mode::CODE64) {
        64
    } else if b.mode.has(Mode::CODE32) {
        32
    } else {
        16
    };
    if b.offset >= 2048 {
        return false;
    }
    let info = info(b.offset, opcode_word(insn), width, b.model.kind <= model::Kind::P6);
    if insn.op_count() == 0 || insn.op0_kind() != OpKind::Memory {
        let i = st_i(insn);
        let Some(Registers { run, effect, a, b: other }) = register_handler(insn.code(), i) else { return false };
        region::follow(b, effect, |before, after| {
            let fields = after.fields(info, i);
            let [_, _, c, d, imm @ ..] = fields.to_le_bytes();
            (run, [before.place(a), before.place(other), c, d], u32::from_le_bytes(imm), None)
        });
        return true;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let Some(run) = memory_handler(insn.code(), m.kind) else { return false };
    let effect = memory_effect(insn.code());
    let st0 = if effect.pushes { 7 } else { 0 };
    region::follow(b, effect, |before, after| {
        (run, [before.place(st0), m.b, m.c, m.d], m.imm, Some(after.fields(info, 0)))
    });
    true
}
