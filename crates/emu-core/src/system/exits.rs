//! How a chain stops, and how the machine is put right at an instruction in the middle of a block.

use super::System;
use crate::cpu::bits::{IF, RF, TF};
use crate::cpu::{Fault, Mode};
use crate::engine::OpRef;
use crate::time::Ticks;

/// Why a chain stopped.
#[derive(Clone, Copy)]
pub(crate) enum Exit {
    /// The next block does not fit before the deadline. Nothing of it has run.
    Deadline,
    /// Stopped between two instructions, because a slow path asked for it.
    Left,
    /// The instruction at RIP faulted; it has not retired.
    Fault(Fault),
    /// RIP's block must be looked up.
    Lookup,
    /// The next block would run past the end of its segment (or, entered one instruction at a time, does).
    Limit,
    /// A debugger's breakpoint stands at RIP.
    Break,
    /// The edge here has no target yet; RIP is where it leads.
    Link(OpRef),
    /// The landing here holds for another target; RIP is the one that is wanted.
    Land(OpRef),
}

/// The last instruction of a block while it runs: RIP is behind it already.
#[derive(Clone, Copy)]
pub(crate) struct Ending {
    /// Its own address.
    pub(crate) start: u64,
    /// Its block's address.
    pub(crate) base: u64,
}

/// What decides whether a chain may go on behind a transfer of control.
#[derive(Clone, Copy)]
pub(crate) struct Conditions {
    pub(crate) mode: Mode,
    /// EFLAGS without the status flags.
    eflags: u32,
}

impl System {
    /// The present conditions.
    #[inline(always)]
    pub(crate) fn conditions(&self) -> Conditions {
        Conditions { mode: self.cpu.mode, eflags: self.cpu.eflags }
    }

    /// An instruction or an exception has led to another mode, or may have, since `before`. Returns whether execution may go
    /// on there at once: only the privilege level and the segments have changed, and nothing between two chains is due.
    pub(crate) fn goes_on_from(&mut self, before: Conditions) -> bool {
        const MAY_CHANGE: u32 = Mode::CPL | Mode::CODE32 | Mode::CODE64 | Mode::STACK32 | Mode::FLAT | Mode::OPEN_LIMIT;
        let flags = self.cpu.eflags;
        let changed = before.mode.0 ^ self.cpu.mode.0;
        let rises = flags & !before.eflags & IF != 0 && self.interrupt_waits();
        let calm = changed & !MAY_CHANGE == 0 && !rises && flags & (TF | RF) == 0;
        if !calm || self.late_fault.is_some() || self.engine.contexts.run_out() {
            return false;
        }
        self.select_context();
        true
    }

    /// Puts RIP and the clock right for stopping at instruction `index` of the present block, which has not run yet.
    pub(crate) fn settle(&mut self, index: usize) {
        let block = self.engine.block(self.block);
        let (offset, left) = (block.offset_of(index), block.len() - index);
        self.cpu.rip = self.wrap_rip(self.cpu.rip.wrapping_add(offset));
        self.budget += left as i64;
        self.at = None;
    }

    /// `rip` as wide as the instruction pointer is in this mode.
    #[inline(always)]
    #[must_use]
    pub fn wrap_rip(&self, rip: u64) -> u64 {
        if self.cpu.mode.has(Mode::CODE64) {
            rip
        } else if self.cpu.mode.has(Mode::CODE32) {
            rip & 0xFFFF_FFFF
        } else {
            rip & 0xFFFF
        }
    }

    /// The instruction at `op` faults: the chain stops before it.
    #[cold]
    #[inline(never)]
    pub(crate) fn stop_with_fault(&mut self, op: OpRef, fault: Fault) {
        let index = self.engine.block(self.block).instruction_at(op);
        self.settle(index);
        self.exit = Exit::Fault(fault);
    }

    /// The chain stops behind the instruction at `op`, which has run to its end.
    #[cold]
    #[inline(never)]
    pub(crate) fn stop_behind(&mut self, op: OpRef) {
        let index = self.engine.block(self.block).instruction_at(op);
        self.settle(index + 1);
        self.exit = Exit::Left;
    }

    /// The instruction at `op` is in a slow path and will run to its end: makes the chain stop behind it.
    pub(crate) fn leave_behind(&mut self, op: OpRef) {
        // At the block's end: the next block finds no budget.
        let cut = self.budget.max(0);
        self.deadline = Ticks(self.deadline.0 - cut as u64);
        self.budget -= cut;
        self.engine.stop_after(self.block, op);
    }

    /// Whether the chain is sure to run the next instruction before anything else is looked at: it belongs to the same
    /// block, and the block has been entered as a whole. For instructions off the fast path.
    pub(crate) fn next_follows(&self) -> bool {
        let Some(op) = self.at else { return false };
        let block = self.engine.block(self.block);
        self.budget >= 0 && !self.leave && block.instruction_at(op) + 1 < block.len()
    }

    /// The address of the instruction that runs, as an offset in CS. For slow paths and instructions off the fast path.
    #[must_use]
    pub fn insn_ip(&self) -> u64 {
        match self.at {
            Some(op) => {
                let block = self.engine.block(self.block);
                self.wrap_rip(self.cpu.rip.wrapping_add(block.offset_of(block.instruction_at(op))))
            }
            None => self.ending.map_or(self.cpu.rip, |e| e.start),
        }
    }

    /// Where the block that runs starts: what the decoder's addresses count from.
    #[inline]
    pub(crate) fn block_start(&self) -> u64 {
        self.ending.map_or(self.cpu.rip, |e| e.base)
    }

    /// Asks that the chain stop behind the present instruction, so that interrupts, modes and maps are looked at anew.
    #[inline]
    pub fn request_leave(&mut self) {
        self.leave = true;
    }

    /// Ticks that the last instruction of a block may still use: the most iterations that a REP may do now.
    #[inline]
    pub(crate) fn ticks_left(&self) -> u64 {
        (self.budget + self.engine.depth.held).max(1) as u64
    }

    /// Charges `n` ticks for iterations beside the one that every instruction is charged.
    #[inline]
    pub(crate) fn charge(&mut self, n: u64) {
        self.budget -= n as i64;
    }

    /// For firmware services: lets the clock go on to `until`, as far as the next deadline allows. Returns whether it got
    /// there; if not, the service leaves RIP at its own opcode ([`Self::insn_ip`]) and is called again, so that where
    /// deadlines fall changes nothing.
    pub fn pass_time(&mut self, until: Ticks) -> bool {
        let wanted = until.since(self.now()).saturating_sub(1);
        let possible = self.ticks_left() - 1;
        self.charge(wanted.min(possible));
        wanted <= possible
    }
}
