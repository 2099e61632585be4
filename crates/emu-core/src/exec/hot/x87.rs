//! x87 loads, stores, arithmetic and comparisons.
//!
//! Handlers with a memory operand have a data slot behind them, the others use `imm`: the instruction's offset in the
//! block in bits 15:0, its opcode word (FOP) in bits 31:16. The work itself is in functions of their own that are not
//! inlined, as results too large for registers would keep a handler from ending in a tail call.

use iced_x86::{Code, Instruction, OpKind, Register};

use super::addr::{Addr, MemoryOperand, by_addr};
use super::width::{Width, load, store};
use crate::System;
use crate::cpu::bits::{CR0_EM, CR0_NE, CR0_TS};
use crate::cpu::model::Kind;
use crate::cpu::{Fault, LazyFlags, reg, seg};
use crate::engine::{Builder, Handler, OpRef, next};
use crate::exec::x87::opcode_word;
use crate::fpu::constants::Constant;
use crate::fpu::round::{Ctl, Out};
use crate::fpu::{F80, Fpu, Operand, arith, int};
use crate::mem::Scalar;

/// Whether the unit may be used; if not, #NM or #MF is noted in the CPU's exit.
#[inline(always)]
fn ready(sys: &mut System, op: OpRef) -> bool {
    if (sys.cpu.cr0 & (CR0_EM | CR0_TS) != 0) | sys.cpu.fpu.exception_pending() {
        return refused(sys, op);
    }
    true
}

#[cold]
#[inline(never)]
fn refused(sys: &mut System, op: OpRef) -> bool {
    let unavailable = sys.cpu.cr0 & (CR0_EM | CR0_TS) != 0;
    let Err(fault) = (if unavailable { Err(Fault::NM) } else { sys.x87_pending() }) else { return true };
    sys.at = Some(op);
    sys.stop_with_fault(op, fault);
    false
}

/// Keeps where the instruction is; `info` is its offset and opcode word.
#[inline(always)]
fn note(sys: &mut System, info: u32) {
    let fip = sys.wrap_rip(sys.cpu.rip.wrapping_add(u64::from(info & 0xFFFF)));
    let fcs = sys.cpu.seg[seg::CS].sel;
    let last = &mut sys.cpu.fpu.last;
    (last.fip, last.fcs) = (fip, fcs);
    if sys.cpu.model.kind <= Kind::P6 {
        last.fop = (info >> 16) as u16;
    }
}

/// Keeps where the memory operand is.
#[inline(always)]
fn note_memory<A: Addr>(sys: &mut System, op: OpRef) {
    note(sys, op.wide(1) as u32);
    let s = op.d() >> 2;
    let (fdp, fds) = (A::ea(sys, op), sys.cpu.seg[if s < 6 { s } else { seg::DS }].sel);
    let last = &mut sys.cpu.fpu.last;
    (last.fdp, last.fds) = (fdp, fds);
}

/// After the work: an unmasked exception keeps the opcode, and may go out on FERR#.
#[inline(always)]
fn done(sys: &mut System, op: OpRef, info: u32) {
    if sys.cpu.fpu.exception_pending() {
        failed(sys, op, info);
    }
}

#[cold]
#[inline(never)]
fn failed(sys: &mut System, op: OpRef, info: u32) {
    sys.cpu.fpu.last.fop = (info >> 16) as u16;
    report(sys, op);
}

/// Without CR0.NE, an error goes out on FERR#.
#[cold]
#[inline(never)]
fn report(sys: &mut System, op: OpRef) {
    if sys.cpu.cr0 & CR0_NE == 0 {
        sys.at = Some(op);
        sys.update_ferr();
        if sys.leave {
            sys.leave_behind(op);
        }
        sys.at = None;
    }
}

/// What an instruction does to the unit, given ST(i).
trait Work {
    fn run(fpu: &mut Fpu, i: u8);
}

/// What an instruction does to the unit with the bits of its memory operand.
trait MemoryWork {
    /// The operand as an integer of its size.
    type Bits: Width;
    fn run(fpu: &mut Fpu, bits: u64);
}

fn registers<W: Work>(sys: &mut System, op: OpRef) {
    if !ready(sys, op) {
        return;
    }
    note(sys, op.imm());
    W::run(&mut sys.cpu.fpu, op.a() as u8);
    done(sys, op, op.imm());
    next!(sys, op)
}

fn memory<W: MemoryWork, A: Addr>(sys: &mut System, op: OpRef) {
    if !ready(sys, op) {
        return;
    }
    let Some(lin) = A::lin(sys, op, <W::Bits>::SIZE, false) else { return };
    let Some(bits) = load::<W::Bits>(sys, op, lin) else { return };
    note_memory::<A>(sys, op);
    W::run(&mut sys.cpu.fpu, bits);
    done(sys, op, op.wide(1) as u32);
    next!(sys, op, 2)
}

/// A store to memory; `a` is the number of pops.
fn to_memory<S: Storing, A: Addr>(sys: &mut System, op: OpRef) {
    if !ready(sys, op) {
        return;
    }
    let flags = S::prepare(sys);
    let bits = sys.scratch;
    let Some(lin) = A::lin(sys, op, <S::Bits>::SIZE, true) else { return };
    // Memory is checked even if nothing is stored.
    let good = if flags & KEPT_BACK == 0 {
        store::<S::Bits>(sys, op, lin, bits)
    } else {
        sys.slow_check(op, lin, <S::Bits>::SIZE)
    };
    if !good {
        return;
    }
    note_memory::<A>(sys, op);
    sys.cpu.fpu.finish_store(flags as u16, flags & KEPT_BACK == 0, op.a() as u8);
    done(sys, op, op.wide(1) as u32);
    next!(sys, op, 2)
}

/// Among the flags of [`Storing::prepare`]: an unmasked exception keeps the result back.
const KEPT_BACK: u32 = 1 << 16;

/// A conversion of ST(0) for memory.
trait Storing {
    type Bits: Width;
    /// Puts the bits into `scratch`; gives the exceptions and [`KEPT_BACK`].
    fn prepare(sys: &mut System) -> u32;
}

macro_rules! storing {
    ($($name:ident: $bits:ty, $prepare:expr;)*) => {$(
        struct $name;
        impl Storing for $name {
            type Bits = $bits;
            #[inline(never)]
            fn prepare(sys: &mut System) -> u32 {
                let store = $prepare(&sys.cpu.fpu);
                sys.scratch = store.value.unwrap_or(0) as u64;
                u32::from(store.flags()) | if store.value.is_none() { KEPT_BACK } else { 0 }
            }
        }
    )*};
}

storing! {
    Single: u32, Fpu::prepare_f32;
    Double: u64, Fpu::prepare_f64;
    Integer16: u16, |fpu: &Fpu| fpu.prepare_int(16, false);
    Integer32: u32, |fpu: &Fpu| fpu.prepare_int(32, false);
    Integer64: u64, |fpu: &Fpu| fpu.prepare_int(64, false);
}

/// An operation with two operands, destination first.
trait Operation {
    fn apply(a: F80, b: F80, ctl: Ctl) -> Out;
}

struct M32<O>(O);
struct M64<O>(O);
struct St0Sti<O>(O);
struct StiSt0<O>(O);
struct StiSt0Pop<O>(O);

impl<O: Operation> MemoryWork for M32<O> {
    type Bits = u32;
    #[inline(never)]
    fn run(fpu: &mut Fpu, bits: u64) {
        fpu.binary_mem(Operand::f32(bits as u32), O::apply);
    }
}

impl<O: Operation> MemoryWork for M64<O> {
    type Bits = u64;
    #[inline(never)]
    fn run(fpu: &mut Fpu, bits: u64) {
        fpu.binary_mem(Operand::f64(bits), O::apply);
    }
}

impl<O: Operation> Work for St0Sti<O> {
    #[inline(never)]
    fn run(fpu: &mut Fpu, i: u8) {
        fpu.binary(0, 0, i, 0, O::apply);
    }
}

impl<O: Operation> Work for StiSt0<O> {
    #[inline(never)]
    fn run(fpu: &mut Fpu, i: u8) {
        fpu.binary(i, i, 0, 0, O::apply);
    }
}

impl<O: Operation> Work for StiSt0Pop<O> {
    #[inline(never)]
    fn run(fpu: &mut Fpu, i: u8) {
        fpu.binary(i, i, 0, 1, O::apply);
    }
}

macro_rules! operations {
    ($($name:ident = $f:path;)*) => {$(
        struct $name;
        impl Operation for $name {
            #[inline(always)]
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

macro_rules! work {
    ($($name:ident: $run:expr;)*) => {$(
        struct $name;
        impl Work for $name {
            #[inline(never)]
            fn run(fpu: &mut Fpu, i: u8) {
                let run: fn(&mut Fpu, u8) = $run;
                run(fpu, i);
            }
        }
    )*};
}

work! {
    LoadOne: |fpu, _| fpu.load_constant(Constant::One);
    LoadZero: |fpu, _| fpu.load_constant(Constant::Zero);
    RoundToInt: |fpu, _| fpu.unary(int::round_to_int);
    FldSti: |fpu, i| fpu.load_st(i);
    FstSti: |fpu, i| fpu.store_st(i, 0);
    FstpSti: |fpu, i| fpu.store_st(i, 1);
    Fxch: |fpu, i| fpu.exchange(i);
    Negate: |fpu, _| fpu.change_sign(|s| s ^ 0x8000);
    Magnitude: |fpu, _| fpu.change_sign(|s| s & 0x7FFF);
    Root: |fpu, _| fpu.unary(arith::sqrt);
    Fcom: |fpu, i| fpu.compare(i, false, 0);
    Fcomp: |fpu, i| fpu.compare(i, false, 1);
    Fucom: |fpu, i| fpu.compare(i, true, 0);
    Fucomp: |fpu, i| fpu.compare(i, true, 1);
    CompareBoth: |fpu, _| fpu.compare(1, false, 2);
    QuietCompareBoth: |fpu, _| fpu.compare(1, true, 2);
}

macro_rules! memory_work {
    ($($name:ident: $bits:ty, $run:expr;)*) => {$(
        struct $name;
        impl MemoryWork for $name {
            type Bits = $bits;
            #[inline(never)]
            fn run(fpu: &mut Fpu, bits: u64) {
                let run: fn(&mut Fpu, $bits) = $run;
                run(fpu, bits as $bits);
            }
        }
    )*};
}

memory_work! {
    FldM32: u32, |fpu, v| fpu.load(Operand::f32(v));
    FldM64: u64, |fpu, v| fpu.load(Operand::f64(v));
    FildM16: u16, |fpu, v| fpu.load_exact(int::from_int((v as i16).into()));
    FildM32: u32, |fpu, v| fpu.load_exact(int::from_int((v as i32).into()));
    FildM64: u64, |fpu, v| fpu.load_exact(int::from_int(v as i64));
    FcomM32: u32, |fpu, v| fpu.compare_mem(Operand::f32(v), 0);
    FcompM32: u32, |fpu, v| fpu.compare_mem(Operand::f32(v), 1);
    FcomM64: u64, |fpu, v| fpu.compare_mem(Operand::f64(v), 0);
    FcompM64: u64, |fpu, v| fpu.compare_mem(Operand::f64(v), 1);
}

/// FCOMI and its kin.
fn to_flags<const QUIET: bool, const POPS: u8>(sys: &mut System, op: OpRef) {
    if !ready(sys, op) {
        return;
    }
    note(sys, op.imm());
    let flags = compare_flags::<QUIET, POPS>(&mut sys.cpu.fpu, op.a() as u8);
    sys.cpu.flags = LazyFlags::from_bits(flags);
    done(sys, op, op.imm());
    next!(sys, op)
}

#[inline(never)]
fn compare_flags<const QUIET: bool, const POPS: u8>(fpu: &mut Fpu, i: u8) -> u32 {
    fpu.compare_flags(i, QUIET, POPS)
}

fn fldcw<A: Addr>(sys: &mut System, op: OpRef) {
    if !ready(sys, op) {
        return;
    }
    let Some(lin) = A::lin(sys, op, 2, false) else { return };
    let Some(cw) = load::<u16>(sys, op, lin) else { return };
    sys.cpu.fpu.set_control(cw as u16);
    if sys.cpu.fpu.exception_pending() {
        report(sys, op);
    }
    next!(sys, op, 2)
}

fn fnstcw<A: Addr>(sys: &mut System, op: OpRef) {
    if sys.cpu.cr0 & (CR0_EM | CR0_TS) != 0 && !refused(sys, op) {
        return;
    }
    let Some(lin) = A::lin(sys, op, 2, true) else { return };
    if !store::<u16>(sys, op, lin, sys.cpu.fpu.control().into()) {
        return;
    }
    next!(sys, op, 2)
}

/// FNSTSW AX: does not wait, and is no instruction that the pointers tell of.
fn fnstsw_ax(sys: &mut System, op: OpRef) {
    if sys.cpu.cr0 & (CR0_EM | CR0_TS) != 0 && !refused(sys, op) {
        return;
    }
    let sw = sys.cpu.fpu.status();
    u16::set(sys, reg::RAX, sw.into());
    next!(sys, op)
}

#[rustfmt::skip]
fn memory_handler(code: Code, kind: super::addr::Kind) -> Option<Handler> {
    use Code::*;
    Some(match code {
        Fadd_m32fp => by_addr!(kind, memory, M32<Add>), Fadd_m64fp => by_addr!(kind, memory, M64<Add>),
        Fsub_m32fp => by_addr!(kind, memory, M32<Sub>), Fsub_m64fp => by_addr!(kind, memory, M64<Sub>),
        Fsubr_m32fp => by_addr!(kind, memory, M32<SubR>), Fsubr_m64fp => by_addr!(kind, memory, M64<SubR>),
        Fmul_m32fp => by_addr!(kind, memory, M32<Mul>), Fmul_m64fp => by_addr!(kind, memory, M64<Mul>),
        Fdiv_m32fp => by_addr!(kind, memory, M32<Div>), Fdiv_m64fp => by_addr!(kind, memory, M64<Div>),
        Fdivr_m32fp => by_addr!(kind, memory, M32<DivR>), Fdivr_m64fp => by_addr!(kind, memory, M64<DivR>),
        Fld_m32fp => by_addr!(kind, memory, FldM32), Fld_m64fp => by_addr!(kind, memory, FldM64),
        Fild_m16int => by_addr!(kind, memory, FildM16), Fild_m32int => by_addr!(kind, memory, FildM32),
        Fcom_m32fp => by_addr!(kind, memory, FcomM32), Fcomp_m32fp => by_addr!(kind, memory, FcompM32),
        Fcom_m64fp => by_addr!(kind, memory, FcomM64), Fcomp_m64fp => by_addr!(kind, memory, FcompM64),
        Fst_m32fp | Fstp_m32fp => by_addr!(kind, to_memory, Single),
        Fst_m64fp | Fstp_m64fp => by_addr!(kind, to_memory, Double),
        Fist_m16int | Fistp_m16int => by_addr!(kind, to_memory, Integer16),
        Fist_m32int | Fistp_m32int => by_addr!(kind, to_memory, Integer32),
        Fild_m64int => by_addr!(kind, memory, FildM64), Fistp_m64int => by_addr!(kind, to_memory, Integer64),
        Fldcw_m2byte => by_addr!(kind, fldcw), Fnstcw_m2byte => by_addr!(kind, fnstcw),
        _ => return None,
    })
}

#[rustfmt::skip]
fn register_handler(code: Code) -> Option<Handler> {
    use Code::*;
    Some(match code {
        Fadd_st0_sti => registers::<St0Sti<Add>>, Fadd_sti_st0 => registers::<StiSt0<Add>>,
        Fsub_st0_sti => registers::<St0Sti<Sub>>, Fsub_sti_st0 => registers::<StiSt0<Sub>>,
        Fsubr_st0_sti => registers::<St0Sti<SubR>>, Fsubr_sti_st0 => registers::<StiSt0<SubR>>,
        Fmul_st0_sti => registers::<St0Sti<Mul>>, Fmul_sti_st0 => registers::<StiSt0<Mul>>,
        Fdiv_st0_sti => registers::<St0Sti<Div>>, Fdiv_sti_st0 => registers::<StiSt0<Div>>,
        Fdivr_st0_sti => registers::<St0Sti<DivR>>, Fdivr_sti_st0 => registers::<StiSt0<DivR>>,
        Faddp_sti_st0 => registers::<StiSt0Pop<Add>>, Fmulp_sti_st0 => registers::<StiSt0Pop<Mul>>,
        Fsubp_sti_st0 => registers::<StiSt0Pop<Sub>>, Fsubrp_sti_st0 => registers::<StiSt0Pop<SubR>>,
        Fdivp_sti_st0 => registers::<StiSt0Pop<Div>>, Fdivrp_sti_st0 => registers::<StiSt0Pop<DivR>>,
        Fld_sti => registers::<FldSti>, Fst_sti => registers::<FstSti>, Fstp_sti => registers::<FstpSti>,
        Fxch_st0_sti => registers::<Fxch>,
        Fchs => registers::<Negate>, Fabs => registers::<Magnitude>, Fsqrt => registers::<Root>,
        Fcom_st0_sti => registers::<Fcom>, Fcomp_st0_sti => registers::<Fcomp>, Fcompp => registers::<CompareBoth>,
        Fucom_st0_sti => registers::<Fucom>, Fucomp_st0_sti => registers::<Fucomp>, Fucompp => registers::<QuietCompareBoth>,
        Fld1 => registers::<LoadOne>, Fldz => registers::<LoadZero>, Frndint => registers::<RoundToInt>,
        Fcomi_st0_sti => to_flags::<false, 0>, Fcomip_st0_sti => to_flags::<false, 1>,
        Fucomi_st0_sti => to_flags::<true, 0>, Fucomip_st0_sti => to_flags::<true, 1>,
        Fnstsw_AX => fnstsw_ax,
        _ => return None,
    })
}

/// ST(i) of the operand that is not ST(0).
fn st_i(insn: &Instruction) -> u8 {
    let number = |r: Register| if r.is_st() { r.number() as u8 } else { 0 };
    (0..insn.op_count()).map(|n| number(insn.op_register(n))).max().unwrap_or(0)
}

/// Lowers `insn` if it is one of those above.
pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let info = u32::from(opcode_word(insn)) << 16 | u32::from(b.offset);
    if insn.op_count() == 0 || insn.op0_kind() != OpKind::Memory {
        let Some(run) = register_handler(insn.code()) else { return false };
        b.op(run, [st_i(insn), 0, 0, 0], info);
        return true;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let Some(run) = memory_handler(insn.code(), m.kind) else { return false };
    use Code::{Fistp_m16int, Fistp_m32int, Fistp_m64int, Fstp_m32fp, Fstp_m64fp};
    let pops = matches!(insn.code(), Fstp_m32fp | Fstp_m64fp | Fistp_m16int | Fistp_m32int | Fistp_m64int);
    b.op(run, [u8::from(pops), m.b, m.c, m.d], m.imm);
    b.wide(info.into());
    true
}
