//! What handlers are made of: steps. A step does one instruction and says whether the next one follows at once.
//!
//! A handler that needs nothing behind a call needs no frame, and pushes and pops nothing. So an access that misses the
//! TLB is handed over: the step calls a function that does the rest of the instruction and goes on from there by itself, and
//! answers `false`, upon which its handler returns, which makes the call a jump.

use core::marker::PhantomData;

use super::addr::Addr;
use super::width::{Width, store};
use crate::System;
use crate::engine::{OpRef, next};
use crate::mem::Scalar;

/// One instruction.
pub(super) trait Step {
    /// Slots that it takes.
    const SLOTS: usize = 1;
    /// Does it. `false` if it faulted, or if somebody else does the rest and goes on.
    fn step(sys: &mut System, op: OpRef) -> bool;
}

/// The handler of a step by itself.
pub(super) fn one<S: Step>(sys: &mut System, op: OpRef) {
    if S::step(sys, op) {
        next!(sys, op, S::SLOTS)
    }
}

/// What ends a block.
pub(super) trait End {
    /// Does it, and goes on in another block.
    fn end(sys: &mut System, op: OpRef);
}

/// The handler of an end by itself.
pub(super) fn end<E: End>(sys: &mut System, op: OpRef) {
    E::end(sys, op);
}

/// An instruction that reads memory.
pub(super) trait Reader {
    /// The type of what it reads.
    type Width: Width;
    /// Slots that it takes.
    const SLOTS: usize = 1;
    /// Does it with what was read.
    fn take(sys: &mut System, op: OpRef, v: u64);
}

/// A [`Reader`] with its operand's addressing mode.
pub(super) struct Load<R, A>(PhantomData<(R, A)>);

impl<R: Reader, A: Addr> Step for Load<R, A> {
    const SLOTS: usize = R::SLOTS;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let Some(lin) = A::lin(sys, op, R::Width::SIZE, false) else { return false };
        match sys.tlb.read::<R::Width>(lin) {
            Some(v) => {
                R::take(sys, op, v.to_u64());
                true
            }
            None => {
                late_load::<R>(sys, op, lin);
                false
            }
        }
    }
}

#[cold]
#[inline(never)]
pub(super) fn late_load<R: Reader>(sys: &mut System, op: OpRef, lin: u64) {
    if sys.slow_load(op, lin, R::Width::SIZE, false) {
        R::take(sys, op, sys.scratch);
        next!(sys, op, R::SLOTS)
    }
}

/// An instruction that writes memory.
pub(super) trait Writer {
    /// The type of what it writes.
    type Width: Width;
    /// Slots that it takes.
    const SLOTS: usize = 1;
    /// What it writes.
    fn value(sys: &System, op: OpRef) -> u64;
}

/// A [`Writer`] with its operand's addressing mode.
pub(super) struct Store<S, A>(PhantomData<(S, A)>);

impl<S: Writer, A: Addr> Step for Store<S, A> {
    const SLOTS: usize = S::SLOTS;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let Some(lin) = A::lin(sys, op, S::Width::SIZE, true) else { return false };
        let done = sys.tlb.write(lin, S::Width::from_u64(S::value(sys, op)));
        if !done {
            late_store::<S>(sys, op, lin);
        }
        done
    }
}

#[cold]
#[inline(never)]
fn late_store<S: Writer>(sys: &mut System, op: OpRef, lin: u64) {
    if sys.slow_store(op, lin, S::Width::SIZE, S::value(sys, op)) {
        next!(sys, op, S::SLOTS)
    }
}

/// An instruction that reads memory and writes it back.
pub(super) trait Changer {
    /// The type of what it changes.
    type Width: Width;
    /// Slots that it takes.
    const SLOTS: usize = 1;
    /// What `v` becomes. It may set flags, and nothing else.
    fn change(sys: &mut System, op: OpRef, v: u64) -> u64;
}

/// A [`Changer`] with its operand's addressing mode.
pub(super) struct Change<C, A>(PhantomData<(C, A)>);

impl<C: Changer, A: Addr> Step for Change<C, A> {
    const SLOTS: usize = C::SLOTS;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let Some(lin) = A::lin(sys, op, C::Width::SIZE, true) else { return false };
        match sys.tlb.place::<C::Width>(lin) {
            Some(place) => {
                let r = C::change(sys, op, place.read().to_u64());
                place.write(C::Width::from_u64(r));
                true
            }
            None => {
                late_change::<C>(sys, op, lin);
                false
            }
        }
    }
}

#[cold]
#[inline(never)]
fn late_change<C: Changer>(sys: &mut System, op: OpRef, lin: u64) {
    if !sys.slow_load_to_change::<C::Width>(op, lin) {
        return;
    }
    let before = sys.cpu.flags;
    let r = C::change(sys, op, sys.scratch);
    if store::<C::Width>(sys, op, lin, r) {
        next!(sys, op, C::SLOTS)
    }
    sys.cpu.flags = before;
}
