//! Running a chain, and the handlers that are not instructions: entries of blocks, edges, stops, and the bridge to
//! instructions that are executed from their decoded form.

use super::op::{Handler, Op, OpRef, Slot, goto, next};
use crate::System;
use crate::cpu::{Fault, Mode, seg};
use crate::system::{Ending, Exit};

/// Runs from `entry` until something stops the chain; `sys.exit` says what.
pub(crate) fn run_chain(sys: &mut System, entry: OpRef) {
    #[cfg(emu_chain)]
    (entry.run())(sys, entry);
    #[cfg(not(emu_chain))]
    {
        let mut next = Some(entry);
        while let Some(op) = next {
            (op.run())(sys, op);
            next = sys.engine.trampoline.take();
        }
    }
}

/// The entry handler of blocks of this mode. Where the instruction pointer could pass the end of its segment inside of the
/// block, the entry checks that it doesn't.
pub(crate) fn entry_handler(mode: u16) -> Handler {
    let mode = Mode(mode);
    if mode.has(Mode::OPEN_LIMIT) && mode.has(Mode::CODE32 | Mode::CODE64) { enter } else { enter_checked }
}

/// The entry op of block `index`: `n` instructions of `len` bytes together.
pub(crate) fn entry_slot(mode: u16, index: u32, n: usize, len: usize) -> Slot {
    let (len, n) = (len as u16, n as u8);
    Slot { op: Op { run: entry_handler(mode), a: n, b: len as u8, c: (len >> 8) as u8, d: 0, imm: index } }
}

/// Takes the whole block off the budget, or stops if it does not fit.
fn enter(sys: &mut System, op: OpRef) {
    let n = op.a() as i64;
    if sys.budget < n {
        return refuse(sys, op);
    }
    sys.budget -= n;
    sys.block = op.imm();
    next!(sys, op)
}

fn enter_checked(sys: &mut System, op: OpRef) {
    let end = sys.cpu.rip + (op.b() | op.c() << 8) as u64;
    let limit = if sys.cpu.mode.has(Mode::CODE32) { u64::MAX } else { 0xFFFF };
    if end > limit.min(sys.cpu.seg[seg::CS].limit.into()) + 1 {
        sys.block = op.imm();
        sys.exit = Exit::Limit;
        return;
    }
    enter(sys, op);
}

#[cold]
#[inline(never)]
fn refuse(sys: &mut System, op: OpRef) {
    sys.block = op.imm();
    sys.exit = Exit::Deadline;
}

/// The entry of a block whose bytes may have changed. It must not be remembered as a jump's target, or the lookup that
/// it asks for would lead here again.
pub(crate) fn enter_suspect(sys: &mut System, _op: OpRef) {
    let lin = sys.code_linear();
    sys.engine.forget_jump(lin);
    sys.exit = Exit::Lookup;
}

/// Stands behind an edge that leads nowhere yet.
pub(crate) fn stub(sys: &mut System, op: OpRef) {
    sys.exit = Exit::Link(op.back());
}

/// Looks RIP up among the remembered jump targets.
pub(crate) fn lookup(sys: &mut System, _op: OpRef) {
    let lin = sys.code_linear();
    match sys.engine.jump_target(lin, sys.cpu.mode.0) {
        Some(to) => goto!(sys, to),
        None => sys.exit = Exit::Lookup,
    }
}

/// The slot of [`lookup`]'s op.
pub(crate) fn lookup_slot() -> Slot {
    Slot { op: Op { run: lookup, a: 0, b: 0, c: 0, d: 0, imm: 0 } }
}

/// Stands in for the handler of an op at which the chain has to stop.
pub(crate) fn stop_here(sys: &mut System, op: OpRef) {
    let index = sys.engine.block(sys.block).instruction_at(op);
    sys.settle(index);
    sys.exit = Exit::Left;
}

/// The end of a block that no jump ends: goes on behind it.
pub(crate) fn fall_through(sys: &mut System, op: OpRef) {
    let edge = op.edge(1);
    sys.cpu.rip = sys.wrap_rip(sys.cpu.rip.wrapping_add(edge.delta as u64));
    goto!(sys, edge.to)
}

/// An instruction that is executed from its decoded form and goes on to the next one.
pub(crate) fn cold(sys: &mut System, op: OpRef) {
    if run_cold(sys, op) {
        next!(sys, op)
    }
}

fn run_cold(sys: &mut System, op: OpRef) -> bool {
    run_decoded(sys, op, op.imm())
}

/// Executes decoded instruction `number`, which is that of `op`. Returns whether the chain goes on behind it.
#[inline(never)]
pub(crate) fn run_decoded(sys: &mut System, op: OpRef, number: u32) -> bool {
    sys.at = Some(op);
    let (exec, insn) = sys.engine.cold_insn(number);
    let mode = sys.cpu.mode;
    match exec(sys, &insn) {
        Ok(()) if sys.leave || sys.cpu.mode != mode => {
            sys.stop_behind(op);
            false
        }
        Ok(()) => {
            sys.at = None;
            true
        }
        Err(fault) => {
            sys.stop_with_fault(op, fault);
            false
        }
    }
}

/// An instruction that is executed from its decoded form and may set RIP: the last of its block.
pub(crate) fn cold_end(sys: &mut System, op: OpRef) {
    if run_cold_end(sys, op) {
        goto!(sys, sys.engine.lookup_op)
    }
}

#[inline(never)]
fn run_cold_end(sys: &mut System, op: OpRef) -> bool {
    let (exec, insn) = sys.engine.cold_insn(op.imm());
    finish_end(sys, op, insn.len() as u64, |sys| exec(sys, &insn))
}

/// A call of the firmware; ends its block.
pub(crate) fn firmware(sys: &mut System, op: OpRef) {
    if run_firmware(sys, op) {
        goto!(sys, sys.engine.lookup_op)
    }
}

#[inline(never)]
fn run_firmware(sys: &mut System, op: OpRef) -> bool {
    let number = op.imm() as u8;
    finish_end(sys, op, 3, |sys| {
        let outcome = sys.call_firmware(number);
        sys.after_device();
        outcome
    })
}

/// Runs the last instruction of a block, `len` bytes long, with RIP behind it. Returns whether the chain may go on at RIP.
fn finish_end(sys: &mut System, op: OpRef, len: u64, run: impl FnOnce(&mut System) -> Result<(), Fault>) -> bool {
    let base = sys.cpu.rip;
    let index = sys.engine.block(sys.block).instruction_at(op);
    sys.settle(index);
    let (start, mode) = (sys.cpu.rip, sys.cpu.mode);
    sys.cpu.rip = sys.wrap_rip(start.wrapping_add(len));
    sys.ending = Some(Ending { start, base });
    let outcome = run(sys);
    sys.ending = None;
    match outcome {
        Ok(()) => {
            sys.budget -= 1;
            sys.exit = Exit::Left;
            !sys.leave && sys.cpu.mode == mode
        }
        Err(fault) => {
            sys.cpu.rip = start;
            sys.exit = Exit::Fault(fault);
            false
        }
    }
}
