//! What nearly always happens: the unit may be used, no exception waits, registers are in use or empty as they must be,
//! results are rounded to nearest, numbers and results are normal. In every other case a handler has changed nothing yet, and
//! hands over to the one of [`super::full`] for the same instruction.

use core::cmp::Ordering;

use super::super::addr::Addr;
use super::super::width::Width;
use super::full::{self, MemoryWork, Operation, Storing, Work, note, note_memory};
use crate::System;
use crate::cpu::LazyFlags;
use crate::cpu::bits::{CF, CR0_EM, CR0_TS, ZF};
use crate::engine::{OpRef, next};
use crate::fpu::quick::{self, Narrow, Quick};
use crate::fpu::{F80, Fpu, int};
use crate::mem::Scalar;

/// Whether the unit may be used, and no exception waits.
#[inline(always)]
fn calm(sys: &System) -> bool {
    sys.cpu.cr0 & (CR0_EM | CR0_TS) == 0 && sys.cpu.fpu.is_calm()
}

/// Which registers an instruction of two works on.
pub(super) trait Form {
    /// The result goes to ST(i), not ST(0).
    const TO_STI: bool;
    const POPS: u8;
    /// The full handler's work.
    type Full<O: Operation>: Work;
}

pub(super) struct ToSt0;
pub(super) struct ToSti;
pub(super) struct ToStiPop;

impl Form for ToSt0 {
    const TO_STI: bool = false;
    const POPS: u8 = 0;
    type Full<O: Operation> = full::St0Sti<O>;
}

impl Form for ToSti {
    const TO_STI: bool = true;
    const POPS: u8 = 0;
    type Full<O: Operation> = full::StiSt0<O>;
}

impl Form for ToStiPop {
    const TO_STI: bool = true;
    const POPS: u8 = 1;
    type Full<O: Operation> = full::StiSt0Pop<O>;
}

/// FADD and its kin on registers; with a precision of 53 bits if `DOUBLE`.
pub(super) fn arithmetic<O: Quick + Operation, F: Form, const DOUBLE: bool>(sys: &mut System, op: OpRef) {
    let fpu = &sys.cpu.fpu;
    if !fpu.computes_quickly::<DOUBLE>() && !DOUBLE {
        return in_double::<O, F>(sys, op);
    }
    let i = op.a() as u8;
    if !calm(sys) || !fpu.computes_quickly::<DOUBLE>() || !fpu.are_normal(op.b() as u8) {
        return full::registers::<F::Full<O>>(sys, op);
    }
    let (a, b) = if F::TO_STI { (i, 0) } else { (0, i) };
    let Some(out) = O::quick::<DOUBLE>(fpu.st(a), fpu.st(b)) else {
        return full::registers::<F::Full<O>>(sys, op);
    };
    note(sys, op.imm());
    sys.cpu.fpu.settle_quickly(a, out);
    if F::POPS != 0 {
        sys.cpu.fpu.pop_quickly(F::POPS);
    }
    next!(sys, op)
}

/// The same with a precision of 53 bits; on its own, so that the usual one keeps its registers.
#[inline(never)]
fn in_double<O: Quick + Operation, F: Form>(sys: &mut System, op: OpRef) {
    arithmetic::<O, F, true>(sys, op)
}

/// FSQRT.
pub(super) fn square_root<const DOUBLE: bool>(sys: &mut System, op: OpRef) {
    let fpu = &sys.cpu.fpu;
    if !fpu.computes_quickly::<DOUBLE>() && !DOUBLE {
        return square_root::<true>(sys, op);
    }
    if !calm(sys) || !fpu.computes_quickly::<DOUBLE>() || !fpu.is_normal() {
        return full::registers::<full::Root>(sys, op);
    }
    let Some(out) = quick::root::<DOUBLE>(fpu.st(0)) else { return full::registers::<full::Root>(sys, op) };
    note(sys, op.imm());
    sys.cpu.fpu.settle_quickly(0, out);
    next!(sys, op)
}

/// A number in memory.
pub(super) trait Real: Narrow {
    type Bits: Width;
    /// The full handlers' work.
    type Full<O: Operation>: MemoryWork;
    type Load: MemoryWork;
    type Store: Storing;
}

impl Real for quick::Single {
    type Bits = u32;
    type Full<O: Operation> = full::M32<O>;
    type Load = full::FldM32;
    type Store = full::Single;
}

impl Real for quick::Double {
    type Bits = u64;
    type Full<O: Operation> = full::M64<O>;
    type Load = full::FldM64;
    type Store = full::Double;
}

/// FADD and its kin on ST(0) and memory.
pub(super) fn arithmetic_memory<O: Quick + Operation, R: Real, A: Addr>(sys: &mut System, op: OpRef) {
    in_memory::<O, R, A, false>(sys, op)
}

fn in_memory<O: Quick + Operation, R: Real, A: Addr, const DOUBLE: bool>(sys: &mut System, op: OpRef) {
    let fpu = &sys.cpu.fpu;
    if !fpu.computes_quickly::<DOUBLE>() && !DOUBLE {
        return in_double_with_memory::<O, R, A>(sys, op);
    }
    if !calm(sys) || !fpu.computes_quickly::<DOUBLE>() || !fpu.is_normal() {
        return full::memory::<R::Full<O>, A>(sys, op);
    }
    let Some(lin) = A::lin(sys, op, R::Bits::SIZE, false) else { return };
    let Some(bits) = sys.tlb.read::<R::Bits>(lin) else { return full::memory::<R::Full<O>, A>(sys, op) };
    let Some(b) = R::widen(bits.to_u64()) else { return full::memory::<R::Full<O>, A>(sys, op) };
    let Some(out) = O::quick::<DOUBLE>(sys.cpu.fpu.st(0), b) else {
        return full::memory::<R::Full<O>, A>(sys, op);
    };
    note_memory::<A>(sys, op);
    sys.cpu.fpu.settle_quickly(0, out);
    next!(sys, op, 2)
}

#[inline(never)]
fn in_double_with_memory<O: Quick + Operation, R: Real, A: Addr>(sys: &mut System, op: OpRef) {
    in_memory::<O, R, A, true>(sys, op)
}

/// FLD m32fp and m64fp.
pub(super) fn load_real<R: Real, A: Addr>(sys: &mut System, op: OpRef) {
    if !calm(sys) || sys.cpu.fpu.is_full() {
        return full::memory::<R::Load, A>(sys, op);
    }
    let Some(lin) = A::lin(sys, op, R::Bits::SIZE, false) else { return };
    let Some(bits) = sys.tlb.read::<R::Bits>(lin) else { return full::memory::<R::Load, A>(sys, op) };
    let Some(v) = R::widen(bits.to_u64()) else { return full::memory::<R::Load, A>(sys, op) };
    note_memory::<A>(sys, op);
    sys.cpu.fpu.push_quickly(v, true);
    next!(sys, op, 2)
}

/// An integer in memory.
pub(super) trait Integer: Width {
    fn signed(self) -> i64;
    type Load: MemoryWork;
}

macro_rules! integers {
    ($($t:ty as $signed:ty: $load:ty;)*) => {$(
        impl Integer for $t {
            #[inline(always)]
            fn signed(self) -> i64 {
                (self as $signed).into()
            }
            type Load = $load;
        }
    )*};
}

integers! {
    u16 as i16: full::FildM16;
    u32 as i32: full::FildM32;
    u64 as i64: full::FildM64;
}

/// FILD.
pub(super) fn load_integer<T: Integer, A: Addr>(sys: &mut System, op: OpRef) {
    if !calm(sys) || sys.cpu.fpu.is_full() {
        return full::memory::<T::Load, A>(sys, op);
    }
    let Some(lin) = A::lin(sys, op, T::SIZE, false) else { return };
    let Some(v) = sys.tlb.read::<T>(lin) else { return full::memory::<T::Load, A>(sys, op) };
    note_memory::<A>(sys, op);
    sys.cpu.fpu.push_quickly(int::from_int(v.signed()), v != T::default());
    next!(sys, op, 2)
}

/// FST and FSTP m32fp and m64fp; `a` is the number of pops.
pub(super) fn store_real<R: Real, A: Addr>(sys: &mut System, op: OpRef) {
    let fpu = &sys.cpu.fpu;
    if !calm(sys) || !fpu.rounds_quickly() || !fpu.is_normal() {
        return full::to_memory::<R::Store, A>(sys, op);
    }
    let Some(out) = R::narrow(fpu.st(0)) else { return full::to_memory::<R::Store, A>(sys, op) };
    let Some(lin) = A::lin(sys, op, R::Bits::SIZE, true) else { return };
    if !sys.tlb.write(lin, R::Bits::from_u64(out.value)) {
        return full::to_memory::<R::Store, A>(sys, op);
    }
    note_memory::<A>(sys, op);
    sys.cpu.fpu.raise_quickly(out.flags);
    sys.cpu.fpu.pop_quickly(op.a() as u8);
    next!(sys, op, 2)
}

/// What an instruction without a memory operand does to the unit.
pub(super) trait Quickly: Work {
    /// `false` if there is more to it; then nothing has changed.
    /// `mask` has bits 0 and `i` set.
    fn quickly(fpu: &mut Fpu, i: u8, mask: u8) -> bool;
}

macro_rules! quickly {
    ($($name:ident: |$fpu:ident, $i:ident, $mask:ident| if $usual:expr => $run:expr;)*) => {$(
        impl Quickly for full::$name {
            #[inline(always)]
            fn quickly($fpu: &mut Fpu, $i: u8, $mask: u8) -> bool {
                if !$usual {
                    return false;
                }
                $run;
                true
            }
        }
    )*};
}

quickly! {
    FldSti: |fpu, i, _mask| if !fpu.is_full() && !fpu.is_empty(i) => fpu.duplicate_quickly(i);
    LoadOne: |fpu, _i, _mask| if !fpu.is_full() => fpu.push_quickly(F80::ONE, true);
    LoadZero: |fpu, _i, _mask| if !fpu.is_full() => fpu.push_quickly(F80::ZERO, false);
    FstSti: |fpu, i, _mask| if !fpu.is_empty(0) => {
        fpu.raise_quickly(0);
        fpu.set_st(i, fpu.st(0));
    };
    FstpSti: |fpu, i, _mask| if !fpu.is_empty(0) => {
        fpu.raise_quickly(0);
        fpu.set_st(i, fpu.st(0));
        fpu.pop_quickly(1);
    };
    Fxch: |fpu, i, mask| if fpu.are_used(mask) => fpu.exchange_quickly(i);
    Negate: |fpu, _i, _mask| if !fpu.is_empty(0) => fpu.change_sign_quickly(|s| s ^ 0x8000);
    Magnitude: |fpu, _i, _mask| if !fpu.is_empty(0) => fpu.change_sign_quickly(|s| s & 0x7FFF);
}

/// An instruction without a memory operand.
pub(super) fn simple<W: Quickly>(sys: &mut System, op: OpRef) {
    if !calm(sys) || !W::quickly(&mut sys.cpu.fpu, op.a() as u8, op.b() as u8) {
        return full::registers::<W>(sys, op);
    }
    note(sys, op.imm());
    next!(sys, op)
}

/// How ST(0) and ST(i) relate, if they are in use, and normal numbers or zeros.
#[inline(always)]
fn relation(sys: &System, op: OpRef) -> Option<Ordering> {
    let fpu = &sys.cpu.fpu;
    if !calm(sys) || !fpu.are_used(op.b() as u8) {
        return None;
    }
    quick::relate(fpu.st(0), fpu.st(op.a() as u8))
}

/// FCOM and its kin; `W` is the full handler's work.
pub(super) fn compare<W: Work, const POPS: u8>(sys: &mut System, op: OpRef) {
    let Some(order) = relation(sys, op) else { return full::registers::<W>(sys, op) };
    note(sys, op.imm());
    sys.cpu.fpu.settle_order(order);
    sys.cpu.fpu.pop_n(POPS);
    next!(sys, op)
}

/// FCOM and FCOMP with memory; `a` is the number of pops.
pub(super) fn compare_memory<W: MemoryWork, R: Real, A: Addr>(sys: &mut System, op: OpRef) {
    if !calm(sys) || sys.cpu.fpu.is_empty(0) {
        return full::memory::<W, A>(sys, op);
    }
    let Some(lin) = A::lin(sys, op, R::Bits::SIZE, false) else { return };
    let Some(bits) = sys.tlb.read::<R::Bits>(lin) else { return full::memory::<W, A>(sys, op) };
    let Some(b) = R::widen(bits.to_u64()) else { return full::memory::<W, A>(sys, op) };
    let Some(order) = quick::relate(sys.cpu.fpu.st(0), b) else { return full::memory::<W, A>(sys, op) };
    note_memory::<A>(sys, op);
    sys.cpu.fpu.settle_order(order);
    sys.cpu.fpu.pop_quickly(op.a() as u8);
    next!(sys, op, 2)
}

/// FCOMI and its kin.
pub(super) fn compare_to_flags<const QUIET: bool, const POPS: u8>(sys: &mut System, op: OpRef) {
    let Some(order) = relation(sys, op) else { return full::to_flags::<QUIET, POPS>(sys, op) };
    note(sys, op.imm());
    let flags = u32::from(order == Ordering::Less) * CF | u32::from(order == Ordering::Equal) * ZF;
    sys.cpu.flags = LazyFlags::from_bits(flags);
    if POPS != 0 {
        sys.cpu.fpu.pop_quickly(POPS);
    }
    next!(sys, op)
}
