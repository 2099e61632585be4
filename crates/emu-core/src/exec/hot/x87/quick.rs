//! What nearly always happens: the stack is as the decoder takes it to be, the unit may be used, no exception waits, results are
//! rounded to nearest, numbers and results are normal. In every other case a step has changed nothing yet, and hands over to the
//! handler of [`super::full`] for the same instruction.

use core::cmp::Ordering;
use core::marker::PhantomData;

use super::super::addr::Addr;
use super::super::step::{Step, one};
use super::super::width::Width;
use super::full::{self, MemoryWork, Operation, Storing, Work, note_operand};
use crate::System;
use crate::cpu::LazyFlags;
use crate::cpu::bits::{CF, ZF};
use crate::engine::{OpRef, next};
use crate::fpu::Fpu;
use crate::fpu::lazy::Speed;
use crate::fpu::quick::{self, Narrow, Num, Quick};
use crate::mem::Scalar;

/// Hands over to another handler.
macro_rules! hand_over {
    ($handler:expr, $sys:expr, $op:expr) => {{
        $handler($sys, $op);
        return false;
    }};
}

/// FADD and its kin on registers, the result to place `a`; with a precision of 53 bits if `DOUBLE`. `W` is the full handler's
/// work.
pub(super) struct Arithmetic<O, W, const DOUBLE: bool>(PhantomData<(O, W)>);

impl<O: Quick, W: Work, const DOUBLE: bool> Step for Arithmetic<O, W, DOUBLE> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let fpu = &mut sys.cpu.fpu;
        if !fpu.computes::<DOUBLE>() {
            if DOUBLE {
                hand_over!(full::registers::<W>, sys, op);
            }
            hand_over!(in_double::<O, W>, sys, op);
        }
        let Some(out) = O::quick::<DOUBLE>(fpu.num(op.place_a()), fpu.num(op.place_b())) else {
            hand_over!(with_zero::<O, W>, sys, op);
        };
        fpu.put(op.place_a(), out.value);
        fpu.passed_rounding(op.fields(), out.inexact, out.up);
        true
    }
}

/// An operand may be zero, as at the beginning of many a loop.
#[cold]
#[inline(never)]
fn with_zero<O: Quick, W: Work>(sys: &mut System, op: OpRef) {
    let fpu = &mut sys.cpu.fpu;
    let Some(v) = O::with_zero(fpu.num(op.place_a()), fpu.num(op.place_b())) else {
        return full::registers::<W>(sys, op);
    };
    fpu.put(op.place_a(), v);
    fpu.passed_exactly(op.fields());
    next!(sys, op)
}

/// The same with a precision of 53 bits; on its own, so that the usual one keeps its registers.
#[inline(never)]
fn in_double<O: Quick, W: Work>(sys: &mut System, op: OpRef) {
    one::<Arithmetic<O, W, true>>(sys, op)
}

/// FSQRT.
pub(super) struct SquareRoot<const DOUBLE: bool>;

impl<const DOUBLE: bool> Step for SquareRoot<DOUBLE> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let fpu = &mut sys.cpu.fpu;
        if !fpu.computes::<DOUBLE>() {
            if DOUBLE {
                hand_over!(full::registers::<full::Root>, sys, op);
            }
            hand_over!(root_in_double, sys, op);
        }
        let Some(out) = quick::root::<DOUBLE>(fpu.num(op.place_a())) else {
            hand_over!(full::registers::<full::Root>, sys, op);
        };
        fpu.put(op.place_a(), out.value);
        fpu.passed_rounding(op.fields(), out.inexact, out.up);
        true
    }
}

#[inline(never)]
fn root_in_double(sys: &mut System, op: OpRef) {
    one::<SquareRoot<true>>(sys, op)
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

/// FADD and its kin on ST(0), which is at place `a`, and memory.
pub(super) struct WithMemory<O, R, A, const DOUBLE: bool>(PhantomData<(O, R, A)>);

impl<O: Quick + Operation, R: Real, A: Addr, const DOUBLE: bool> Step for WithMemory<O, R, A, DOUBLE> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        if !sys.cpu.fpu.computes::<DOUBLE>() {
            if DOUBLE {
                hand_over!(full::memory::<R::Full<O>, A>, sys, op);
            }
            hand_over!(memory_in_double::<O, R, A>, sys, op);
        }
        let Some(lin) = A::lin(sys, op, R::Bits::SIZE, false) else { return false };
        let Some(bits) = sys.tlb.read::<R::Bits>(lin) else { hand_over!(full::memory::<R::Full<O>, A>, sys, op) };
        let Some(b) = R::widen(bits.to_u64()) else { hand_over!(full::memory::<R::Full<O>, A>, sys, op) };
        let Some(out) = O::quick::<DOUBLE>(sys.cpu.fpu.num(op.place_a()), b) else {
            hand_over!(full::memory::<R::Full<O>, A>, sys, op);
        };
        note_operand::<A>(sys, op);
        let fpu = &mut sys.cpu.fpu;
        fpu.put(op.place_a(), out.value);
        fpu.passed_rounding(op.wide(1), out.inexact, out.up);
        true
    }
}

#[inline(never)]
fn memory_in_double<O: Quick + Operation, R: Real, A: Addr>(sys: &mut System, op: OpRef) {
    one::<WithMemory<O, R, A, true>>(sys, op)
}

/// FLD m32fp and m64fp, to place `a`.
pub(super) struct LoadReal<R, A>(PhantomData<(R, A)>);

impl<R: Real, A: Addr> Step for LoadReal<R, A> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        if !sys.cpu.fpu.allows(Speed::Moves) {
            hand_over!(full::memory::<R::Load, A>, sys, op);
        }
        let Some(lin) = A::lin(sys, op, R::Bits::SIZE, false) else { return false };
        let Some(bits) = sys.tlb.read::<R::Bits>(lin) else { hand_over!(full::memory::<R::Load, A>, sys, op) };
        let Some(v) = R::widen(bits.to_u64()) else { hand_over!(full::memory::<R::Load, A>, sys, op) };
        note_operand::<A>(sys, op);
        sys.cpu.fpu.put(op.place_a(), v);
        sys.cpu.fpu.passed_exactly(op.wide(1));
        true
    }
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

/// FILD, to place `a`.
pub(super) struct LoadInteger<T, A>(PhantomData<(T, A)>);

impl<T: Integer, A: Addr> Step for LoadInteger<T, A> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        if !sys.cpu.fpu.allows(Speed::Moves) {
            hand_over!(full::memory::<T::Load, A>, sys, op);
        }
        let Some(lin) = A::lin(sys, op, T::SIZE, false) else { return false };
        let Some(v) = sys.tlb.read::<T>(lin) else { hand_over!(full::memory::<T::Load, A>, sys, op) };
        note_operand::<A>(sys, op);
        sys.cpu.fpu.put(op.place_a(), Num::from_int(v.signed()));
        sys.cpu.fpu.passed_exactly(op.wide(1));
        true
    }
}

/// FST and FSTP m32fp and m64fp, from place `a`.
pub(super) struct StoreReal<R, A>(PhantomData<(R, A)>);

impl<R: Real, A: Addr> Step for StoreReal<R, A> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        if !sys.cpu.fpu.allows(Speed::Rounds) {
            hand_over!(full::to_memory::<R::Store, A>, sys, op);
        }
        let Some(out) = R::narrow(sys.cpu.fpu.num(op.place_a())) else {
            hand_over!(full::to_memory::<R::Store, A>, sys, op);
        };
        let Some(lin) = A::lin(sys, op, R::Bits::SIZE, true) else { return false };
        if !sys.tlb.write(lin, R::Bits::from_u64(out.value)) {
            hand_over!(full::to_memory::<R::Store, A>, sys, op);
        }
        note_operand::<A>(sys, op);
        sys.cpu.fpu.passed_rounding(op.wide(1), out.inexact, out.up);
        true
    }
}

/// What an instruction without a memory operand does to the registers at places `a` and `b`.
pub(super) trait Move {
    fn run(fpu: &mut Fpu, a: usize, b: usize);
}

macro_rules! moves {
    ($($(#[$doc:meta])* $name:ident: |$fpu:ident, $a:ident, $b:ident| $run:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;
        impl Move for $name {
            #[inline(always)]
            fn run($fpu: &mut Fpu, $a: usize, $b: usize) {
                $run;
            }
        }
    )*};
}

moves! {
    /// FLD ST(i), and FST and FSTP to it.
    Copy: |fpu, a, b| fpu.put(a, fpu.num(b));
    /// FSTP ST(0): nothing but a pop.
    Drop: |_fpu, _a, _b| {};
    One: |fpu, a, _b| fpu.put(a, Num::ONE);
    Zero: |fpu, a, _b| fpu.put(a, Num::ZERO);
    Exchange: |fpu, a, b| {
        let (x, y) = (fpu.num(a), fpu.num(b));
        fpu.put(a, y);
        fpu.put(b, x);
    };
    FlipSign: |fpu, a, _b| fpu.put(a, fpu.num(a).negate());
    ClearSign: |fpu, a, _b| fpu.put(a, fpu.num(a).magnitude());
}

/// An instruction that only moves numbers; `W` is the full handler's work.
pub(super) struct Simple<M, W>(PhantomData<(M, W)>);

impl<M: Move, W: Work> Step for Simple<M, W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let fpu = &mut sys.cpu.fpu;
        if !fpu.allows(Speed::Moves) {
            hand_over!(full::registers::<W>, sys, op);
        }
        M::run(fpu, op.place_a(), op.place_b());
        fpu.passed_exactly(op.fields());
        true
    }
}

/// How the numbers at places `a` and `b` relate, if they are normal or zeros.
#[inline(always)]
fn relation(fpu: &Fpu, op: OpRef) -> Option<Ordering> {
    if !fpu.allows(Speed::Moves) {
        return None;
    }
    quick::relate(fpu.num(op.place_a()), fpu.num(op.place_b()))
}

/// FCOM and its kin.
pub(super) struct Compare<W>(PhantomData<W>);

impl<W: Work> Step for Compare<W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let fpu = &mut sys.cpu.fpu;
        let Some(order) = relation(fpu, op) else { hand_over!(full::registers::<W>, sys, op) };
        fpu.settle_order(order);
        fpu.passed_exactly(op.fields());
        true
    }
}

/// FCOM and FCOMP of place `a` with memory.
pub(super) struct CompareMemory<W, R, A>(PhantomData<(W, R, A)>);

impl<W: MemoryWork, R: Real, A: Addr> Step for CompareMemory<W, R, A> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        if !sys.cpu.fpu.allows(Speed::Moves) {
            hand_over!(full::memory::<W, A>, sys, op);
        }
        let Some(lin) = A::lin(sys, op, R::Bits::SIZE, false) else { return false };
        let Some(bits) = sys.tlb.read::<R::Bits>(lin) else { hand_over!(full::memory::<W, A>, sys, op) };
        let Some(b) = R::widen(bits.to_u64()) else { hand_over!(full::memory::<W, A>, sys, op) };
        let Some(order) = quick::relate(sys.cpu.fpu.num(op.place_a()), b) else {
            hand_over!(full::memory::<W, A>, sys, op);
        };
        note_operand::<A>(sys, op);
        sys.cpu.fpu.settle_order(order);
        sys.cpu.fpu.passed_exactly(op.wide(1));
        true
    }
}

/// FCOMI and its kin. C1 stays.
pub(super) struct CompareToFlags<const QUIET: bool, const POPS: u8>;

impl<const QUIET: bool, const POPS: u8> Step for CompareToFlags<QUIET, POPS> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let Some(order) = relation(&sys.cpu.fpu, op) else { hand_over!((full::to_flags::<QUIET, POPS>), sys, op) };
        let flags = u32::from(order == Ordering::Less) * CF | u32::from(order == Ordering::Equal) * ZF;
        sys.cpu.flags = LazyFlags::from_bits(flags);
        sys.cpu.fpu.passed(op.fields());
        true
    }
}
