//! The x87 stack as the decoder follows it through a block, so that ops name registers by place (see [`crate::fpu::lazy`]).

use super::quick::Attempt;
use crate::System;
use crate::cpu::bits::{CR0_EM, CR0_TS};
use crate::cpu::seg;
use crate::engine::{Builder, Handler, OpRef, Seen, goto, next};
use crate::fpu::last;
use crate::fpu::lazy::fields;

/// What an instruction does to the stack.
#[derive(Clone, Copy, Default)]
pub(super) struct Effect {
    /// Bit n: ST(n) must be in use.
    pub(super) needs: u8,
    /// It pushes, after it has looked at its operands.
    pub(super) pushes: bool,
    /// It writes ST(i), which may be empty.
    pub(super) fills: Option<u8>,
    /// Registers that it pops at its end.
    pub(super) pops: u8,
}

/// What is known of the stack where the decoder is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Region {
    /// The slot of the op that began the region; `None` if a new one must begin.
    slot: Option<usize>,
    /// The place of ST(0) where the region begins, and now.
    start: u8,
    top: u8,
    /// One bit for each place that the region has touched, and whether it is in use now.
    touched: u8,
    used: u8,
    /// What must be in use, and what empty, where the region begins; whether that can be.
    needs_used: u8,
    needs_empty: u8,
    possible: bool,
}

impl Region {
    /// The block's first region begins with ST(0) at `place`.
    pub(crate) fn begin_at(&mut self, place: u8) {
        *self = Region { top: place & 7, ..Region::default() };
    }

    /// What comes next may do anything to the unit.
    pub(crate) fn close(&mut self) {
        self.slot = None;
    }

    /// An instruction outside of regions adds `by` to TOP, as far as is known.
    pub(crate) fn turn(&mut self, by: i32) {
        self.top = self.top.wrapping_add(by as u8) & 7;
    }

    /// The place of ST(i).
    pub(super) fn place(&self, i: u8) -> u8 {
        self.top.wrapping_add(i) & 7
    }

    /// The fields that tell of an instruction with `info` and ST(i), which has been followed.
    pub(super) fn fields(&self, info: u32, i: u8) -> u64 {
        fields(self.touched, self.used, last::info_with(info, self.top, i))
    }

    fn contradicts(&self, used: u8, empty: u8) -> bool {
        self.touched & (used & !self.used | empty & self.used) != 0
    }

    fn demand(&mut self, used: u8, empty: u8) {
        self.needs_used |= used & !self.touched;
        self.needs_empty |= empty & !self.touched;
        self.possible &= used & empty == 0;
        self.touched |= used | empty;
        self.used |= used;
    }

    fn apply(&mut self, effect: Effect) {
        if effect.pushes {
            self.top = self.place(7);
            self.used |= 1 << self.top;
        }
        if let Some(i) = effect.fills {
            let bit = 1 << self.place(i);
            (self.touched, self.used) = (self.touched | bit, self.used | bit);
        }
        for _ in 0..effect.pops {
            self.touched |= 1 << self.top;
            self.used &= !(1 << self.top);
            self.top = self.place(1);
        }
    }
}

/// An op: as for [`Builder::x87_op`].
pub(super) type Lowered = (Handler, [u8; 4], u32, Option<u64>);

/// Follows an instruction, begins a region before it if need be, and appends its op, which `lowered` makes of the stack before
/// and behind it.
pub(super) fn follow(b: &mut Builder<'_>, effect: Effect, lowered: impl FnOnce(&Region, &Region) -> Lowered) {
    let used = effect.needs.rotate_left(b.x87.top.into());
    let empty = if effect.pushes { 1 << b.x87.place(7) } else { 0 };
    if b.x87.slot.is_none() || b.x87.contradicts(used, empty) {
        let (slot, top) = (Some(b.next_slot()), b.x87.top);
        b.x87 = Region { slot, start: top, top, possible: true, ..Region::default() };
        b.op(begin, [0; 4], 0);
        b.seen();
        b.seen();
    }
    b.x87.demand(used, empty);
    let Region { slot, start, needs_used, needs_empty, possible, .. } = b.x87;
    // What can't be is asked for as something in use that is not looked at.
    let demands = if possible { [start, needs_used, needs_used | needs_empty, 0] } else { [start, 1, 0, 0] };
    slot.into_iter().for_each(|slot| b.amend(slot, demands));
    let before = b.x87;
    b.x87.apply(effect);
    let (run, fields, imm, wide) = lowered(&before, &b.x87);
    b.x87_op(run, fields, imm, wide);
}

/// Slots of the op that begins a region, with what it remembers: how it found the unit the last times. Two, as a loop is
/// entered and gone around.
const SLOTS: usize = 3;

/// The op that begins a region: ST(0) is to be at place `a`, and of the places in `c` exactly those in `b` in use.
#[inline(never)]
pub(super) fn begin(sys: &mut System, op: OpRef) {
    let usable = sys.cpu.cr0 & (CR0_EM | CR0_TS) == 0;
    let (base, fcs) = (sys.cpu.rip, sys.cpu.seg[seg::CS].sel);
    let (pending, used, after) = sys.cpu.fpu.to_remember();
    if !sys.cpu.fpu.begin_region(op.a() as u8, op.b() as u8, op.c() as u8, usable, base, fcs) {
        return begin_elsewhere(sys, op);
    }
    let last = op.seen(1);
    if pending != 0 && (pending, used) != (last.pending, last.used) && sys.cpu.fpu.is_quick() {
        op.step(2).set_seen(last);
        op.step(1).set_seen(Seen { pending, used, after });
    }
    next!(sys, op, SLOTS)
}

#[cold]
#[inline(never)]
fn begin_elsewhere(sys: &mut System, op: OpRef) {
    sys.cpu.fpu.turn_to(op.a() as u8);
    begin(sys, op);
}

/// Begins a region and does its first instruction. In a loop, the unit is as it was when the region began before: only
/// what the pointers need is kept. Until the instruction is done, nothing has changed.
pub(super) fn begin_with<X: Attempt>(sys: &mut System, op: OpRef) {
    let seen = op.seen(1);
    if !sys.cpu.fpu.is_again(seen.pending, seen.used) {
        return recall(sys, op);
    }
    match X::attempt(sys, op.step(SLOTS)) {
        Some(true) => {
            let (base, fcs) = (sys.cpu.rip, sys.cpu.seg[seg::CS].sel);
            sys.cpu.fpu.began_again(seen.after, base, fcs);
            next!(sys, op, SLOTS + X::SLOTS)
        }
        Some(false) => {}
        None => begin(sys, op),
    }
}

/// Begins a region that found the unit in another way last time. As the time before, perhaps.
#[cold]
#[inline(never)]
fn recall(sys: &mut System, op: OpRef) {
    let (last, before) = (op.seen(1), op.seen(2));
    if !sys.cpu.fpu.is_again(before.pending, before.used) {
        return begin(sys, op);
    }
    op.step(1).set_seen(before);
    op.step(2).set_seen(last);
    goto!(sys, op)
}
