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
use crate::fpu::quick::{self, Narrow, Num, Quick, Rounded};
use crate::mem::Scalar;

/// An instruction, or some of them, in the usual case.
pub(super) trait Attempt {
    /// Slots that it takes.
    const SLOTS: usize = 1;
    /// Does it: `Some(true)`. `None` if this is no usual case, and nothing has changed; `Some(false)` if it faulted.
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool>;
    /// The handler for every other case.
    fn otherwise(sys: &mut System, op: OpRef);
}

impl<T: Attempt> Step for T {
    const SLOTS: usize = T::SLOTS;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let Some(done) = T::attempt(sys, op) else {
            T::otherwise(sys, op);
            return false;
        };
        done
    }
}

/// Computes what goes to place `a`.
#[inline(always)]
fn compute<const DOUBLE: bool>(
    sys: &mut System,
    op: OpRef,
    result: impl FnOnce(&Fpu, OpRef) -> Option<Rounded>,
) -> Option<bool> {
    let fpu = &mut sys.cpu.fpu;
    if !fpu.computes::<DOUBLE>() {
        return None;
    }
    let out = result(fpu, op)?;
    fpu.put(op.place_a(), out.value);
    fpu.passed_rounding(op.fields(), out.inexact, out.up);
    Some(true)
}

/// FADD and its kin on registers, the result to place `a`; with a precision of 53 bits if `DOUBLE`. `W` is the full handler's
/// work.
pub(super) struct Arithmetic<O, W, const DOUBLE: bool>(PhantomData<(O, W)>);

impl<O: Quick, W: Work, const DOUBLE: bool> Attempt for Arithmetic<O, W, DOUBLE> {
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        compute::<DOUBLE>(sys, op, |fpu, op| O::quick::<DOUBLE>(fpu.num(op.place_a()), fpu.num(op.place_b())))
    }

    /// An operand may be zero, as at the beginning of many a loop.
    #[cold]
    #[inline(never)]
    fn otherwise(sys: &mut System, op: OpRef) {
        let fpu = &mut sys.cpu.fpu;
        if !fpu.computes::<DOUBLE>() {
            return if DOUBLE { full::registers::<W>(sys, op) } else { in_double::<O, W>(sys, op) };
        }
        let Some(v) = O::with_zero::<DOUBLE>(fpu.num(op.place_a()), fpu.num(op.place_b())) else {
            return full::registers::<W>(sys, op);
        };
        fpu.put(op.place_a(), v);
        fpu.passed_exactly(op.fields());
        next!(sys, op)
    }
}

/// The same with a precision of 53 bits; on its own, so that the usual one keeps its registers.
#[inline(never)]
fn in_double<O: Quick, W: Work>(sys: &mut System, op: OpRef) {
    one::<Arithmetic<O, W, true>>(sys, op)
}

/// FADD ST(0), ST(0) and its kin. On its own, so that [`Arithmetic`] has two registers that differ.
pub(super) struct OnItself<O, W, const DOUBLE: bool>(PhantomData<(O, W)>);

impl<O: Quick, W: Work, const DOUBLE: bool> Attempt for OnItself<O, W, DOUBLE> {
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        compute::<DOUBLE>(sys, op, |fpu, op| O::quick::<DOUBLE>(fpu.num(op.place_a()), fpu.num(op.place_a())))
    }

    #[cold]
    #[inline(never)]
    fn otherwise(sys: &mut System, op: OpRef) {
        Arithmetic::<O, W, DOUBLE>::otherwise(sys, op)
    }
}

/// FSQRT.
pub(super) struct SquareRoot<const DOUBLE: bool>;

impl<const DOUBLE: bool> Attempt for SquareRoot<DOUBLE> {
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        compute::<DOUBLE>(sys, op, |fpu, op| quick::root::<DOUBLE>(fpu.num(op.place_a())))
    }

    #[cold]
    #[inline(never)]
    fn otherwise(sys: &mut System, op: OpRef) {
        if DOUBLE || sys.cpu.fpu.computes::<false>() {
            return full::registers::<full::Root>(sys, op);
        }
        root_in_double(sys, op)
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

impl<O: Quick + Operation, R: Real, A: Addr, const DOUBLE: bool> Attempt for WithMemory<O, R, A, DOUBLE> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        if !sys.cpu.fpu.computes::<DOUBLE>() {
            return None;
        }
        let Some(lin) = A::lin(sys, op, R::Bits::SIZE, false) else { return Some(false) };
        let bits = sys.tlb.read::<R::Bits>(lin)?;
        // The other handlers would note the same, as the operand was read.
        note_operand::<A>(sys, op);
        let b = R::widen(bits.to_u64())?;
        let out = O::quick::<DOUBLE>(sys.cpu.fpu.num(op.place_a()), b)?;
        let fpu = &mut sys.cpu.fpu;
        fpu.put(op.place_a(), out.value);
        fpu.passed_rounding(op.wide(1), out.inexact, out.up);
        Some(true)
    }

    #[inline(always)]
    fn otherwise(sys: &mut System, op: OpRef) {
        if DOUBLE {
            return full::memory::<R::Full<O>, A>(sys, op);
        }
        memory_in_double::<O, R, A>(sys, op)
    }
}

#[cold]
#[inline(never)]
fn memory_in_double<O: Quick + Operation, R: Real, A: Addr>(sys: &mut System, op: OpRef) {
    if sys.cpu.fpu.computes::<true>() {
        return one::<WithMemory<O, R, A, true>>(sys, op);
    }
    full::memory::<R::Full<O>, A>(sys, op)
}

/// FLD m32fp and m64fp, to place `a`.
pub(super) struct LoadReal<R, A>(PhantomData<(R, A)>);

impl<R: Real, A: Addr> Attempt for LoadReal<R, A> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        if !sys.cpu.fpu.allows(Speed::Moves) {
            return None;
        }
        let Some(lin) = A::lin(sys, op, R::Bits::SIZE, false) else { return Some(false) };
        let v = R::widen(sys.tlb.read::<R::Bits>(lin)?.to_u64())?;
        note_operand::<A>(sys, op);
        sys.cpu.fpu.put(op.place_a(), v);
        sys.cpu.fpu.passed_exactly(op.wide(1));
        Some(true)
    }
    #[inline(always)]
    fn otherwise(sys: &mut System, op: OpRef) {
        full::memory::<R::Load, A>(sys, op)
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

impl<T: Integer, A: Addr> Attempt for LoadInteger<T, A> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        if !sys.cpu.fpu.allows(Speed::Moves) {
            return None;
        }
        let Some(lin) = A::lin(sys, op, T::SIZE, false) else { return Some(false) };
        let v = sys.tlb.read::<T>(lin)?;
        note_operand::<A>(sys, op);
        sys.cpu.fpu.put(op.place_a(), Num::from_int(v.signed()));
        sys.cpu.fpu.passed_exactly(op.wide(1));
        Some(true)
    }
    #[inline(always)]
    fn otherwise(sys: &mut System, op: OpRef) {
        full::memory::<T::Load, A>(sys, op)
    }
}

/// FST and FSTP m32fp and m64fp, from place `a`.
pub(super) struct StoreReal<R, A>(PhantomData<(R, A)>);

impl<R: Real, A: Addr> Attempt for StoreReal<R, A> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        if !sys.cpu.fpu.allows(Speed::Rounds) {
            return None;
        }
        let out = R::narrow(sys.cpu.fpu.num(op.place_a()))?;
        let Some(lin) = A::lin(sys, op, R::Bits::SIZE, true) else { return Some(false) };
        if !sys.tlb.write(lin, R::Bits::from_u64(out.value)) {
            return None;
        }
        note_operand::<A>(sys, op);
        sys.cpu.fpu.passed_rounding(op.wide(1), out.inexact, out.up);
        Some(true)
    }
    #[inline(always)]
    fn otherwise(sys: &mut System, op: OpRef) {
        full::to_memory::<R::Store, A>(sys, op)
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

impl<M: Move, W: Work> Attempt for Simple<M, W> {
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        let fpu = &mut sys.cpu.fpu;
        if !fpu.allows(Speed::Moves) {
            return None;
        }
        M::run(fpu, op.place_a(), op.place_b());
        fpu.passed_exactly(op.fields());
        Some(true)
    }
    #[inline(always)]
    fn otherwise(sys: &mut System, op: OpRef) {
        full::registers::<W>(sys, op)
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

impl<W: Work> Attempt for Compare<W> {
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        let fpu = &mut sys.cpu.fpu;
        let order = relation(fpu, op)?;
        fpu.settle_order(order);
        fpu.passed_exactly(op.fields());
        Some(true)
    }
    #[inline(always)]
    fn otherwise(sys: &mut System, op: OpRef) {
        full::registers::<W>(sys, op)
    }
}

/// FCOM and FCOMP of place `a` with memory.
pub(super) struct CompareMemory<W, R, A>(PhantomData<(W, R, A)>);

impl<W: MemoryWork, R: Real, A: Addr> Attempt for CompareMemory<W, R, A> {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        if !sys.cpu.fpu.allows(Speed::Moves) {
            return None;
        }
        let Some(lin) = A::lin(sys, op, R::Bits::SIZE, false) else { return Some(false) };
        let b = R::widen(sys.tlb.read::<R::Bits>(lin)?.to_u64())?;
        let order = quick::relate(sys.cpu.fpu.num(op.place_a()), b)?;
        note_operand::<A>(sys, op);
        sys.cpu.fpu.settle_order(order);
        sys.cpu.fpu.passed_exactly(op.wide(1));
        Some(true)
    }
    #[inline(always)]
    fn otherwise(sys: &mut System, op: OpRef) {
        full::memory::<W, A>(sys, op)
    }
}

/// What FCOMI does with its result.
#[inline(always)]
pub(super) fn put_order(sys: &mut System, order: Ordering) {
    let flags = u32::from(order == Ordering::Less) * CF | u32::from(order == Ordering::Equal) * ZF;
    sys.cpu.flags = LazyFlags::from_bits(flags);
}

/// FCOMI and its kin. C1 stays.
pub(super) struct CompareToFlags<const QUIET: bool, const POPS: u8>;

impl<const QUIET: bool, const POPS: u8> Attempt for CompareToFlags<QUIET, POPS> {
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        let order = relation(&sys.cpu.fpu, op)?;
        put_order(sys, order);
        sys.cpu.fpu.passed(op.fields());
        Some(true)
    }
    #[inline(always)]
    fn otherwise(sys: &mut System, op: OpRef) {
        full::to_flags::<QUIET, POPS>(sys, op)
    }
}
