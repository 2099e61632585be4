//! x87 instructions as handlers, all that can happen to them included.
//!
//! The work itself is in functions of their own that are not inlined, as results too large for registers would keep a
//! handler from ending in a tail call.

use super::super::addr::Addr;
use super::super::width::{Width, load, store};
use crate::System;
use crate::cpu::bits::{CR0_EM, CR0_NE, CR0_TS};
use crate::cpu::{Fault, LazyFlags, reg, seg};
use crate::engine::{OpRef, next};
use crate::fpu::constants::Constant;
use crate::fpu::last::{index_of, opcode_of, top_behind};
use crate::fpu::lazy::info_of;
use crate::fpu::round::{Ctl, Out};
use crate::fpu::{F80, Fpu, Operand, arith, int};
use crate::mem::Scalar;

/// Whether the unit may be used; if not, #NM or #MF is noted in the CPU's exit. What handlers left to be done is done.
#[inline(always)]
fn ready(sys: &mut System, op: OpRef) -> bool {
    sys.cpu.fpu.catch_up();
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

/// Keeps where the instruction is; `info` is what [`crate::fpu::last::info`] made.
#[inline(always)]
fn note(sys: &mut System, info: u32) {
    let (base, fcs) = (sys.cpu.rip, sys.cpu.seg[seg::CS].sel);
    sys.cpu.fpu.note(base, info, fcs);
}

/// Keeps where the instruction and its memory operand are.
#[inline(always)]
fn note_memory<A: Addr>(sys: &mut System, op: OpRef) {
    note(sys, info_of(op.wide(1)));
    note_operand::<A>(sys, op);
}

/// Keeps where the memory operand is.
#[inline(always)]
pub(super) fn note_operand<A: Addr>(sys: &mut System, op: OpRef) {
    let s = A::segment(op);
    let (fdp, fds) = (A::ea(sys, op), sys.cpu.seg[if s < 6 { s } else { seg::DS }].sel);
    sys.cpu.fpu.note_operand(fdp, fds);
}

/// After the work: an unmasked exception keeps the opcode, and may go out on FERR#.
#[inline(always)]
fn done(sys: &mut System, op: OpRef, fields: u64) {
    sys.cpu.fpu.recheck(fields);
    if sys.cpu.fpu.exception_pending() {
        failed(sys, op, info_of(fields));
    }
}

#[cold]
#[inline(never)]
fn failed(sys: &mut System, op: OpRef, info: u32) {
    sys.cpu.fpu.last_mut().fop = opcode_of(info);
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
pub(super) trait Work {
    fn run(fpu: &mut Fpu, i: u8);
}

/// What an instruction does to the unit with the bits of its memory operand.
pub(super) trait MemoryWork {
    /// The operand as an integer of its size.
    type Bits: Width;
    fn run(fpu: &mut Fpu, bits: u64);
}

#[inline(never)]
pub(super) fn registers<W: Work>(sys: &mut System, op: OpRef) {
    if !ready(sys, op) {
        return;
    }
    note(sys, op.imm());
    W::run(&mut sys.cpu.fpu, index_of(op.imm()));
    done(sys, op, op.fields());
    next!(sys, op)
}

#[inline(never)]
pub(super) fn memory<W: MemoryWork, A: Addr>(sys: &mut System, op: OpRef) {
    if !ready(sys, op) {
        return;
    }
    let Some(lin) = A::lin(sys, op, <W::Bits>::SIZE, false) else { return };
    let Some(bits) = load::<W::Bits>(sys, op, lin) else { return };
    note_memory::<A>(sys, op);
    W::run(&mut sys.cpu.fpu, bits);
    done(sys, op, op.wide(1));
    next!(sys, op, 2)
}

/// A store to memory; ST(0) is at place `a`, and may be popped.
#[inline(never)]
pub(super) fn to_memory<S: Storing, A: Addr>(sys: &mut System, op: OpRef) {
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
    let pops = top_behind(info_of(op.wide(1))).wrapping_sub(op.a() as u8) & 7;
    sys.cpu.fpu.finish_store(flags as u16, flags & KEPT_BACK == 0, pops);
    done(sys, op, op.wide(1));
    next!(sys, op, 2)
}

/// Among the flags of [`Storing::prepare`]: an unmasked exception keeps the result back.
const KEPT_BACK: u32 = 1 << 16;

/// A conversion of ST(0) for memory.
pub(super) trait Storing {
    type Bits: Width;
    /// Puts the bits into `scratch`; gives the exceptions and [`KEPT_BACK`].
    fn prepare(sys: &mut System) -> u32;
}

macro_rules! storing {
    ($($name:ident: $bits:ty, $prepare:expr;)*) => {$(
        pub(super) struct $name;
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
pub(super) trait Operation {
    fn apply(a: F80, b: F80, ctl: Ctl) -> Out;
}

pub(super) struct M32<O>(O);
pub(super) struct M64<O>(O);
pub(super) struct St0Sti<O>(O);
pub(super) struct StiSt0<O>(O);
pub(super) struct StiSt0Pop<O>(O);

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
        impl Operation for arith::$name {
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
        pub(super) struct $name;
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
        pub(super) struct $name;
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
#[inline(never)]
pub(super) fn to_flags<const QUIET: bool, const POPS: u8>(sys: &mut System, op: OpRef) {
    if !ready(sys, op) {
        return;
    }
    note(sys, op.imm());
    let flags = compare_flags::<QUIET, POPS>(&mut sys.cpu.fpu, index_of(op.imm()));
    sys.cpu.flags = LazyFlags::from_bits(flags);
    done(sys, op, op.fields());
    next!(sys, op)
}

#[inline(never)]
fn compare_flags<const QUIET: bool, const POPS: u8>(fpu: &mut Fpu, i: u8) -> u32 {
    fpu.compare_flags(i, QUIET, POPS)
}

pub(super) fn fldcw<A: Addr>(sys: &mut System, op: OpRef) {
    if !ready(sys, op) {
        return;
    }
    let Some(lin) = A::lin(sys, op, 2, false) else { return };
    let Some(cw) = load::<u16>(sys, op, lin) else { return };
    sys.cpu.fpu.set_control(cw as u16);
    sys.cpu.fpu.recheck_control();
    if sys.cpu.fpu.exception_pending() {
        report(sys, op);
    }
    next!(sys, op)
}

pub(super) fn fnstcw<A: Addr>(sys: &mut System, op: OpRef) {
    if sys.cpu.cr0 & (CR0_EM | CR0_TS) != 0 && !refused(sys, op) {
        return;
    }
    let Some(lin) = A::lin(sys, op, 2, true) else { return };
    if !store::<u16>(sys, op, lin, sys.cpu.fpu.control().into()) {
        return;
    }
    next!(sys, op)
}

/// FNSTSW AX: does not wait, and is no instruction that the pointers tell of.
pub(super) fn fnstsw_ax(sys: &mut System, op: OpRef) {
    if sys.cpu.cr0 & (CR0_EM | CR0_TS) != 0 && !refused(sys, op) {
        return;
    }
    let sw = sys.cpu.fpu.status();
    u16::set(sys, reg::RAX, sw.into());
    next!(sys, op)
}
