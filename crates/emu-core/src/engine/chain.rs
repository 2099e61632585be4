//! Running a chain, and the handlers that are not instructions: entries of blocks, edges, stops, and the bridge to
//! instructions that are executed from their decoded form.

use super::op::{Handler, Landing, Op, OpRef, Slot, goto, next};
use crate::System;
use crate::cpu::{Fault, Mode, seg};
use crate::system::{Ending, Exit};

/// Ticks that one chain may take at the most. A build in which some handler calls its successor instead of jumping to it
/// nests a frame for each op: this bounds how deep, below what any thread's stack holds, and costs working builds one
/// return to the dispatcher in so many ticks.
const LONGEST: i64 = 8192;

/// Bytes of stack that a chain of jumps never takes, whatever slow path it is in when it ends.
const DEEPEST: usize = 64 << 10;

/// Runs from `entry` until something stops the chain; `sys.exit` says what.
pub(crate) fn run_chain(sys: &mut System, entry: OpRef) {
    run_pieces(sys, entry);
    sys.cpu.fpu.settle();
    sys.bus.settle_latch();
}

fn run_pieces(sys: &mut System, mut entry: OpRef) {
    sys.poll.end();
    let base = 0u8;
    sys.engine.depth.base = (&raw const base).addr();
    loop {
        let held = (sys.budget - LONGEST).max(0);
        sys.budget -= held;
        sys.deadline.0 -= held as u64;
        sys.engine.depth.held = held;
        follow(sys, entry);
        sys.engine.depth.held = 0;
        if sys.leave {
            // The deadline may have been drawn near on purpose.
            return;
        }
        sys.budget += held;
        sys.deadline.0 += held as u64;
        match sys.exit {
            Exit::Deadline if held > 0 => entry = sys.engine.block(sys.block).entry,
            _ => return,
        }
    }
}

/// Runs one chain.
fn follow(sys: &mut System, entry: OpRef) {
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
pub(crate) fn entry_handler(mode: u32) -> Handler {
    let mode = Mode(mode);
    if mode.has(Mode::OPEN_LIMIT) && mode.has(Mode::CODE32 | Mode::CODE64) { enter } else { enter_checked }
}

/// Whether all that entry handler `run` does is to enter a block of this mode, where its instruction pointer is below
/// [`CLOSE_TO_END`].
#[allow(unpredictable_function_pointer_comparisons, reason = "a handler that is not recognised is only called")]
pub(super) fn is_plain_entry(mode: u32, run: Handler) -> bool {
    Mode(mode).has(Mode::OPEN_LIMIT) && run == entry_handler(mode)
}

/// From here on, a block of 16-bit code may pass the end of its segment.
pub(crate) const CLOSE_TO_END: u64 = 0x1_0000 - super::LONGEST_BLOCK;

/// The entry handler of blocks that begin where a debugger's breakpoint may stand.
pub(crate) fn break_handler(mode: u32) -> Handler {
    let mode = Mode(mode);
    let open = mode.has(Mode::OPEN_LIMIT) && mode.has(Mode::CODE32 | Mode::CODE64);
    if open { enter_break } else { enter_break_checked }
}

/// The entry handler of blocks that may be loops which only look.
pub(super) fn poll_handler(mode: u32) -> Handler {
    let mode = Mode(mode);
    let open = mode.has(Mode::OPEN_LIMIT) && mode.has(Mode::CODE32 | Mode::CODE64);
    if open { enter_poll } else { enter_poll_checked }
}

fn enter_poll(sys: &mut System, op: OpRef) {
    sys.pass_rounds(op.imm(), op.a() as u64);
    enter(sys, op)
}

fn enter_poll_checked(sys: &mut System, op: OpRef) {
    sys.pass_rounds(op.imm(), op.a() as u64);
    enter_checked(sys, op)
}

fn enter_break(sys: &mut System, op: OpRef) {
    if sys.stops_here() {
        sys.exit = Exit::Break;
        return;
    }
    enter(sys, op);
}

fn enter_break_checked(sys: &mut System, op: OpRef) {
    if sys.stops_here() {
        sys.exit = Exit::Break;
        return;
    }
    enter_checked(sys, op);
}

/// The entry op of block `index`: `n` instructions of `len` bytes together.
pub(crate) fn entry_slot(run: Handler, index: u32, n: usize, len: usize) -> Slot {
    let (len, n) = (len as u16, n as u8);
    Slot { op: Op { run, a: n, b: len as u8, c: (len >> 8) as u8, d: 0, imm: index } }
}

/// The handlers that always stop the chain.
pub(super) const STOPS: [Handler; 2] = [stub, stop_here];

/// The handlers of this file that go on.
pub(super) const BRIDGES: [Handler; 12] = [
    enter_poll,
    enter_poll_checked,
    enter,
    enter_checked,
    enter_suspect,
    enter_dead,
    lookup,
    land,
    fall_away,
    cold,
    cold_end,
    firmware,
];

/// Takes the whole block off the budget, or stops if it does not fit.
#[inline(never)]
pub(super) fn enter(sys: &mut System, op: OpRef) {
    let n = op.a() as i64;
    if sys.budget < n {
        return refuse(sys, op);
    }
    sys.budget -= n;
    sys.block = op.imm();
    next!(sys, op)
}

pub(super) fn enter_checked(sys: &mut System, op: OpRef) {
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
    refuse_block(sys, op.imm());
}

/// Block `index`, at RIP, does not fit before the deadline.
#[cold]
#[inline(never)]
pub(crate) fn refuse_block(sys: &mut System, index: u32) {
    sys.block = index;
    sys.exit = Exit::Deadline;
    let here = 0u8;
    let depth = sys.engine.depth.base.abs_diff((&raw const here).addr());
    assert!(
        depth <= DEEPEST,
        "this build of emu-core is broken: handlers call each other instead of jumping ({depth} bytes of stack for \
         {LONGEST} ticks); build it with EMU_TRAMPOLINE=1"
    );
}

/// The entry of a block whose bytes may have changed: goes on in it if they have not, or once it is decoded anew in its
/// place.
pub(crate) fn enter_suspect(sys: &mut System, op: OpRef) {
    if sys.revive_in_place(op.imm()) {
        goto!(sys, op)
    }
    enter_anew(sys);
}

/// Has RIP's block looked up. The present one must not be remembered as a jump's target, or the lookup would lead here again.
#[inline(never)]
fn enter_anew(sys: &mut System) {
    let lin = sys.code_linear();
    sys.engine.forget_jump(lin);
    sys.exit = Exit::Lookup;
}

/// The entry of a block whose bytes have changed: goes on at the one that took its place.
pub(crate) fn enter_dead(sys: &mut System, op: OpRef) {
    let lin = sys.code_linear();
    match sys.engine.jump_target(lin) {
        Some(to) if to != op => goto!(sys, to),
        _ => enter_anew(sys),
    }
}

/// Stands behind an edge that leads nowhere yet. Inlined, each part of the program would have one of its own, and none would
/// be told by its address.
#[inline(never)]
pub(crate) fn stub(sys: &mut System, op: OpRef) {
    sys.exit = Exit::Link(op.back());
}

/// Looks RIP up among the remembered jump targets.
pub(crate) fn lookup(sys: &mut System, _op: OpRef) {
    let lin = sys.code_linear();
    match sys.engine.jump_target(lin) {
        Some(to) => goto!(sys, to),
        None => sys.exit = Exit::Lookup,
    }
}

/// Stands behind a landing that holds for another address or context than the present ones.
#[inline(never)]
pub(crate) fn land(sys: &mut System, op: OpRef) {
    let lin = sys.code_linear();
    match sys.engine.jump_target(lin) {
        Some(to) => {
            op.back().set_landing(Landing { key: sys.engine.contexts.key(lin), to });
            goto!(sys, to)
        }
        None => sys.exit = Exit::Land(op.back()),
    }
}

/// The slot of [`lookup`]'s op.
pub(crate) fn lookup_slot() -> Slot {
    Slot { op: Op { run: lookup, a: 0, b: 0, c: 0, d: 0, imm: 0 } }
}

/// Stands in for the handler of an op at which the chain has to stop.
#[inline(never)]
pub(crate) fn stop_here(sys: &mut System, op: OpRef) {
    let index = sys.engine.block(sys.block).instruction_at(op);
    sys.settle(index);
    sys.exit = Exit::Left;
}

/// The end of a block that no jump ends, at the end of its page: goes on behind it.
pub(super) fn fall_away(sys: &mut System, op: OpRef) {
    sys.cpu.rip = sys.wrap_rip(sys.cpu.rip.wrapping_add(op.imm().into()));
    match landing(sys, op, 1, sys.code_linear()) {
        Some(to) => goto!(sys, to),
        None => land(sys, op.step(2)),
    }
}

/// Where canonical address `lin` leads, if the landing in slot `n` behind `op` knows; if not, the op behind that goes on.
#[inline(always)]
pub(crate) fn landing(sys: &System, op: OpRef, n: usize, lin: u64) -> Option<OpRef> {
    let landing = op.landing(n);
    if landing.key == sys.engine.contexts.key(lin) { Some(landing.to) } else { None }
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
    sys.cpu.fpu.settle();
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
    finish_end(sys, insn.len() as u64, |sys| exec(sys, &insn))
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
    finish_end(sys, 3, |sys| {
        let outcome = sys.call_firmware(number);
        sys.after_device();
        outcome
    })
}

/// Runs the last instruction of a block, `len` bytes long, with RIP behind it. Returns whether the chain may go on at RIP.
fn finish_end(sys: &mut System, len: u64, run: impl FnOnce(&mut System) -> Result<(), Fault>) -> bool {
    let base = sys.cpu.rip;
    sys.cpu.fpu.settle();
    let last = sys.engine.block(sys.block).len() - 1;
    sys.settle(last);
    let (start, before) = (sys.cpu.rip, sys.conditions());
    sys.cpu.rip = sys.wrap_rip(start.wrapping_add(len));
    sys.ending = Some(Ending { start, base });
    let outcome = run(sys);
    sys.ending = None;
    match outcome {
        Ok(()) => {
            sys.budget -= 1;
            sys.exit = Exit::Left;
            !sys.leave && (sys.cpu.mode == before.mode || sys.goes_on_from(before))
        }
        Err(fault) => {
            sys.cpu.rip = start;
            sys.exit = Exit::Fault(fault);
            false
        }
    }
}

#[cfg(all(test, emu_chain))]
mod tests {
    use super::*;
    use crate::cpu::model::Kind;
    use crate::cpu::{Model, Segment};
    use crate::mem::{PhysMem, Target};
    use crate::{Bus, ClockRate, Ticks};

    /// NOP for its guest, and a frame on the stack for its host.
    fn nests(sys: &mut System, op: OpRef) {
        let local = core::hint::black_box([0u8; 64]);
        (op.step(1).run())(sys, op.step(1));
        core::hint::black_box(local);
    }

    /// A machine that has run `again: inc ax; jmp again` for a while.
    fn looping() -> System {
        let mut mem = PhysMem::new(0x1_0000, 0).unwrap();
        mem.map(0, 0x1_0000, Target::Pool(0));
        mem.write(0x1000, &[0x40, 0xEB, 0xFD]);
        let mut sys = System::new(Model::new(Kind::P6), mem, Bus::new(ClockRate::DEFAULT, 1));
        sys.reset();
        sys.cpu.set_segment(seg::CS, Segment::real(0));
        sys.cpu.rip = 0x1000;
        sys.run(Ticks(1000));
        sys
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a thread is how a test gets a stack of a known size")]
    fn handlers_that_nest_end_in_a_message_and_not_in_an_overflow() {
        let run = || {
            let mut sys = looping();
            sys.engine.block(0).entry.step(1).set_run(nests);
            sys.run(Ticks(1_000_000_000));
        };
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
        let panic = thread.join().expect_err("a broken build is noticed");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.contains("build it with EMU_TRAMPOLINE=1"), "{message}");
    }

    #[test]
    fn the_guard_changes_nothing_that_a_guest_sees() {
        let mut sys = looping();
        for end in [LONGEST as u64 * 3 + 1, LONGEST as u64 * 7, 200_001] {
            sys.run(Ticks(end));
            assert_eq!((sys.now(), sys.cpu.rip), (Ticks(end), 0x1000 + end % 2));
        }
    }
}
