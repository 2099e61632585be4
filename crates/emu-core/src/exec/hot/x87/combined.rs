//! Instructions that compiled code has one behind the other, done at once: what one leaves for the next does not go through
//! memory, and what they tell of themselves is kept once. Each takes the slots of its instructions. Unless all of them are
//! usual cases nothing is done: the first one's own handler goes on, and then that of the next.
//!
//! Operations and FXCH name two registers that differ here ([`super::quick::OnItself`] is for the others).

use core::marker::PhantomData;

use super::super::addr::Addr;
use super::super::step::one;
use super::full::{FldSti, Fxch, Operation, St0Sti, StiSt0Pop, note_operand};
use super::quick::{Arithmetic, Attempt, Copy, Exchange, LoadReal, OnItself, Real, Simple, WithMemory, put_order};
use crate::System;
use crate::engine::OpRef;
use crate::fpu::Fpu;
use crate::fpu::lazy::Speed;
use crate::fpu::quick::{Num, Quick, Rounded, Twice, relate, root};
use crate::mem::Scalar;

/// FADD ST(0), ST(i) and its kin.
pub(super) type To0<O> = Arithmetic<O, St0Sti<O>, false>;
/// FADDP and its kin.
pub(super) type Pop<O> = Arithmetic<O, StiSt0Pop<O>, false>;
pub(super) type Exch = Simple<Exchange, Fxch>;
pub(super) type Push = Simple<Copy, FldSti>;
/// FADD ST(0), ST(0).
pub(super) type AddItself = OnItself<Twice, St0Sti<crate::fpu::arith::Add>, false>;

/// What the operation at `op` makes of `a` and its other register.
#[inline(always)]
fn operate<O: Quick>(fpu: &Fpu, a: Num, op: OpRef) -> Option<Rounded> {
    O::quick::<false>(a, fpu.num(op.place_b()))
}

/// The same with the operation behind it, of which `O` is the first.
#[inline(always)]
fn operate_twice<O: Quick, P: Quick>(fpu: &Fpu, a: Num, op: OpRef) -> Option<Rounded> {
    let first = operate::<O>(fpu, a, op)?;
    let out = operate::<P>(fpu, first.value, op.step(1))?;
    Some(Rounded { inexact: first.inexact | out.inexact, ..out })
}

/// Instructions that end with a number in ST(0), at place `a`.
pub(super) trait Value {
    /// The first of them.
    type First: Attempt;
    /// Slots that they take, and where the last one is.
    const SLOTS: usize;
    /// The number, if `leave` has not been called yet.
    fn value(sys: &mut System, op: OpRef) -> Option<Rounded>;
    /// What else they do; ST(0) is still to be replaced.
    #[inline(always)]
    fn leave(_: &mut Fpu, _: OpRef) {}
    /// Notes the last memory operand.
    #[inline(always)]
    fn note(_: &mut System, _: OpRef) {}
    /// What the last one tells of itself.
    #[inline(always)]
    fn fields(op: OpRef) -> u64 {
        op.step(Self::SLOTS - 1).fields()
    }
}

/// A [`Value`] that stays in ST(0).
pub(super) struct Kept<V>(PhantomData<V>);

impl<V: Value> Attempt for Kept<V> {
    const SLOTS: usize = V::SLOTS;
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        if !sys.cpu.fpu.computes::<false>() {
            return None;
        }
        let out = V::value(sys, op)?;
        V::note(sys, op);
        let fpu = &mut sys.cpu.fpu;
        V::leave(fpu, op);
        fpu.put(op.place_a(), out.value);
        fpu.passed_rounding(V::fields(op), out.inexact, out.up);
        Some(true)
    }
    #[cold]
    #[inline(never)]
    fn otherwise(sys: &mut System, op: OpRef) {
        one::<V::First>(sys, op)
    }
}

macro_rules! values {
    ($($(#[$doc:meta])* $name:ident<$($o:ident),*> = $slots:literal, $first:ty, |$fpu:ident, $op:ident| $value:expr
        $(, $leave:expr)?;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name<$($o),*>(PhantomData<($($o,)*)>);
        impl<$($o: Quick + Operation),*> Value for $name<$($o),*> {
            type First = $first;
            const SLOTS: usize = $slots;
            #[inline(always)]
            fn value(sys: &mut System, $op: OpRef) -> Option<Rounded> {
                let $fpu = &sys.cpu.fpu;
                $value
            }
            $(#[inline(always)]
            fn leave($fpu: &mut Fpu, $op: OpRef) {
                $leave
            })?
        }
    )*};
}

/// Whether FXCH at `op` changes the other register of the operation `n` ops on.
#[inline(always)]
fn exchanges(op: OpRef, n: usize) -> bool {
    op.place_b() == op.step(n).place_b()
}

values! {
    /// FLD ST(i), and an operation on what it has pushed.
    PushOp<O> = 2, Push, |fpu, op| operate::<O>(fpu, fpu.num(op.place_b()), op.step(1));
    /// The same with two operations.
    PushOpOp<O, P> = 3, Push, |fpu, op| operate_twice::<O, P>(fpu, fpu.num(op.place_b()), op.step(1));
    /// Two operations on ST(0).
    OpOp<O, P> = 2, To0<O>, |fpu, op| operate_twice::<O, P>(fpu, fpu.num(op.place_a()), op);
    /// FXCH, and an operation with another register than that.
    ExchOp<O> = 2, Exch, |fpu, op| {
        if exchanges(op, 1) {
            return None;
        }
        operate::<O>(fpu, fpu.num(op.place_b()), op.step(1))
    }, fpu.put(op.place_b(), fpu.num(op.place_a()));
    /// The same with two operations.
    ExchOpOp<O, P> = 3, Exch, |fpu, op| {
        if exchanges(op, 1) || exchanges(op, 2) {
            return None;
        }
        operate_twice::<O, P>(fpu, fpu.num(op.place_b()), op.step(1))
    }, fpu.put(op.place_b(), fpu.num(op.place_a()));
    /// FXCH, and FADD ST(0), ST(0).
    ExchAddItself<> = 2, Exch, |fpu, op| {
        let x = fpu.num(op.place_b());
        Twice::quick::<false>(x, x)
    }, fpu.put(op.place_b(), fpu.num(op.place_a()));
}

macro_rules! combined {
    ($($(#[$doc:meta])* $name:ident<$($o:ident),*> = $slots:literal, $first:ty, |$fpu:ident, $op:ident| $run:block)*) => {$(
        $(#[$doc])*
        pub(super) struct $name<$($o),*>(PhantomData<($($o,)*)>);
        impl<$($o: Quick + Operation),*> Attempt for $name<$($o),*> {
            const SLOTS: usize = $slots;
            #[inline(always)]
            fn attempt(sys: &mut System, $op: OpRef) -> Option<bool> {
                let $fpu = &mut sys.cpu.fpu;
                if !$fpu.computes::<false>() {
                    return None;
                }
                $run
                Some(true)
            }
            #[cold]
            #[inline(never)]
            fn otherwise(sys: &mut System, op: OpRef) {
                one::<$first>(sys, op)
            }
        }
    )*};
}

combined! {
    /// An operation on ST(0), and one with it that pops it.
    OpPop<O, P> = 2, To0<O>, |fpu, op| {
        let first = operate::<O>(fpu, fpu.num(op.place_a()), op)?;
        let to = op.step(1).place_a();
        let out = P::quick::<false>(fpu.num(to), first.value)?;
        fpu.put(op.place_a(), first.value);
        fpu.put(to, out.value);
        fpu.passed_rounding(op.step(1).fields(), out.inexact | first.inexact, out.up);
    }
    /// An operation on ST(0), and FXCH.
    OpExch<O> = 2, To0<O>, |fpu, op| {
        let out = operate::<O>(fpu, fpu.num(op.place_a()), op)?;
        fpu.put(op.place_a(), fpu.num(op.step(1).place_b()));
        fpu.put(op.step(1).place_b(), out.value);
        fpu.passed_after(op.step(1).fields(), out.inexact);
    }
    /// An operation that pops, and FXCH of its result.
    PopExch<O> = 2, Pop<O>, |fpu, op| {
        let (to, a, b) = (op.place_a(), op.step(1).place_a(), op.step(1).place_b());
        let other = match to {
            _ if to == b => a,
            _ if to == a => b,
            _ => return None,
        };
        let out = operate::<O>(fpu, fpu.num(to), op)?;
        fpu.put(to, fpu.num(other));
        fpu.put(other, out.value);
        fpu.passed_after(op.step(1).fields(), out.inexact);
    }
}

/// FLD ST(i), and FSQRT.
pub(super) struct PushRoot;

impl Value for PushRoot {
    type First = Push;
    const SLOTS: usize = 2;
    #[inline(always)]
    fn value(sys: &mut System, op: OpRef) -> Option<Rounded> {
        root::<false>(sys.cpu.fpu.num(op.place_b()))
    }
}

/// A value that leaves nothing else, and an operation with it that pops it.
pub(super) struct Popped<V, O>(PhantomData<(V, O)>);

impl<V: Value, O: Quick> Attempt for Popped<V, O> {
    const SLOTS: usize = V::SLOTS + 1;
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        if !sys.cpu.fpu.computes::<false>() {
            return None;
        }
        let value = V::value(sys, op)?;
        let (fpu, last) = (&mut sys.cpu.fpu, op.step(V::SLOTS));
        let to = last.place_a();
        let out = O::quick::<false>(fpu.num(to), value.value)?;
        fpu.put(op.place_a(), value.value);
        fpu.put(to, out.value);
        fpu.passed_rounding(last.fields(), value.inexact | out.inexact, out.up);
        Some(true)
    }
    #[cold]
    #[inline(never)]
    fn otherwise(sys: &mut System, op: OpRef) {
        one::<V::First>(sys, op)
    }
}

/// What ST(0) holds already.
pub(super) struct Present<O, R, A>(PhantomData<(O, R, A)>);

impl<O: Quick + Operation, R: Real, A: Addr> Value for Present<O, R, A> {
    type First = WithMemory<O, R, A, false>;
    const SLOTS: usize = 0;
    #[inline(always)]
    fn value(sys: &mut System, op: OpRef) -> Option<Rounded> {
        Some(Rounded { value: sys.cpu.fpu.num(op.place_a()), inexact: 0, up: false })
    }
}

/// What the op at `op` has in memory.
#[inline(always)]
fn operand<R: Real, A: Addr>(sys: &mut System, op: OpRef) -> Option<Num> {
    let from = A::lin(sys, op, R::Bits::SIZE, false)?;
    R::widen(sys.tlb.read::<R::Bits>(from)?.to_u64())
}

/// A load, and an operation of it and a register.
pub(super) struct LoadOp<O, R, A>(PhantomData<(O, R, A)>);

impl<O: Quick + Operation, R: Real, A: Addr> Value for LoadOp<O, R, A> {
    type First = LoadReal<R, A>;
    const SLOTS: usize = 3;
    #[inline(always)]
    fn value(sys: &mut System, op: OpRef) -> Option<Rounded> {
        let loaded = operand::<R, A>(sys, op)?;
        operate::<O>(&sys.cpu.fpu, loaded, op.step(2))
    }
    #[inline(always)]
    fn note(sys: &mut System, op: OpRef) {
        note_operand::<A>(sys, op);
    }
}

/// A load, and an operation of it and memory.
pub(super) struct LoadMemoryOp<O, R, A>(PhantomData<(O, R, A)>);

impl<O: Quick + Operation, R: Real, A: Addr> Value for LoadMemoryOp<O, R, A> {
    type First = LoadReal<R, A>;
    const SLOTS: usize = 4;
    #[inline(always)]
    fn value(sys: &mut System, op: OpRef) -> Option<Rounded> {
        let loaded = operand::<R, A>(sys, op)?;
        let other = operand::<R, A>(sys, op.step(2))?;
        O::quick::<false>(loaded, other)
    }
    #[inline(always)]
    fn note(sys: &mut System, op: OpRef) {
        note_operand::<A>(sys, op.step(2));
    }
    #[inline(always)]
    fn fields(op: OpRef) -> u64 {
        op.step(2).wide(1)
    }
}

/// A value, an operation of it and memory, and a store of the result that pops it or not.
pub(super) struct Stored<V, O, R, A>(PhantomData<(V, O, R, A)>);
/// The same with what ST(0) holds.
pub(super) type MemoryOpStore<O, R, A> = Stored<Present<O, R, A>, O, R, A>;

impl<V: Value, O: Quick + Operation, R: Real, A: Addr> Attempt for Stored<V, O, R, A> {
    const SLOTS: usize = V::SLOTS + 4;
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        if !sys.cpu.fpu.computes::<false>() {
            return None;
        }
        let (load, store) = (op.step(V::SLOTS), op.step(V::SLOTS + 2));
        let value = V::value(sys, op)?;
        let other = operand::<R, A>(sys, load)?;
        let out = O::quick::<false>(value.value, other)?;
        let narrow = R::narrow(out.value)?;
        let to = A::lin(sys, store, R::Bits::SIZE, true)?;
        // Others would note theirs before, as it was read.
        note_operand::<A>(sys, store);
        if !sys.tlb.write(to, R::Bits::from_u64(narrow.value)) {
            return None;
        }
        let fpu = &mut sys.cpu.fpu;
        V::leave(fpu, op);
        fpu.put(op.place_a(), out.value);
        fpu.passed_rounding(store.wide(1), value.inexact | out.inexact | narrow.inexact, narrow.up);
        Some(true)
    }
    #[cold]
    #[inline(never)]
    fn otherwise(sys: &mut System, op: OpRef) {
        one::<V::First>(sys, op)
    }
}

/// How compiled code compares ST(0) with memory: a load, FXCH ST(1), FCOMIP or FUCOMIP with ST(1), FSTP ST(0).
pub(super) struct CompareLoaded<const QUIET: bool, R, A>(PhantomData<(R, A)>);

impl<const QUIET: bool, R: Real, A: Addr> Attempt for CompareLoaded<QUIET, R, A> {
    const SLOTS: usize = 5;
    #[inline(always)]
    fn attempt(sys: &mut System, op: OpRef) -> Option<bool> {
        let (exchange, compare, last) = (op.step(2), op.step(3), op.step(4));
        // All of the same two registers.
        if !sys.cpu.fpu.allows(Speed::Moves)
            || exchange.place_b() != compare.place_b()
            || compare.place_b() != last.place_a()
        {
            return None;
        }
        let from = A::lin(sys, op, R::Bits::SIZE, false)?;
        let bits = sys.tlb.read::<R::Bits>(from)?;
        note_operand::<A>(sys, op);
        let loaded = R::widen(bits.to_u64())?;
        let old = sys.cpu.fpu.num(last.place_a());
        let order = relate(old, loaded)?;
        put_order(sys, order);
        let fpu = &mut sys.cpu.fpu;
        fpu.put(last.place_a(), loaded);
        fpu.put(op.place_a(), old);
        fpu.passed_exactly(last.fields());
        Some(true)
    }
    #[cold]
    #[inline(never)]
    fn otherwise(sys: &mut System, op: OpRef) {
        one::<LoadReal<R, A>>(sys, op)
    }
}
