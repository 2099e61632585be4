//! Transfers that change the privilege level, where they go on inside of the chain: INT n, IRET, SYSENTER and its kin.
//!
//! Each has its decoded form behind it (`imm` is its number), which takes over before anything has changed wherever the
//! quick way does not apply. Bytes a and b: from the block's start to the next instruction.

use iced_x86::{Code, Instruction};

use crate::System;
use crate::cpu::Mode;
use crate::engine::{Builder, Handler, OpRef, cold_end, goto, land, landing};
use crate::exec::fast_call::{SYSCALL, SYSENTER, SYSEXIT, SYSEXIT_64, SYSRET, SYSRET_64};
use crate::system::{Conditions, Exit};

/// RIP behind the instruction at `op`.
#[inline(always)]
fn behind(sys: &System, op: OpRef) -> u64 {
    sys.wrap_rip(sys.cpu.rip.wrapping_add((op.a() | op.b() << 8) as u64))
}

/// The transfer is made: whether the chain goes on at RIP.
#[inline(always)]
fn goes_on(sys: &mut System, before: Conditions) -> bool {
    if sys.goes_on_from(before) {
        return true;
    }
    sys.exit = Exit::Left;
    false
}

/// INT, vector in c; a landing behind it.
fn int(sys: &mut System, op: OpRef) {
    let (before, start) = (sys.conditions(), sys.cpu.rip);
    sys.cpu.rip = behind(sys, op);
    if !sys.quick_int(op.c() as u8) {
        sys.cpu.rip = start;
        return cold_end(sys, op);
    }
    if !goes_on(sys, before) {
        return;
    }
    match landing(sys, op, 1, sys.code_linear()) {
        Some(to) => goto!(sys, to),
        None => land(sys, op.step(2)),
    }
}

fn iret<const SIZE: u64>(sys: &mut System, op: OpRef) {
    let before = sys.conditions();
    if !sys.quick_iret(SIZE) {
        return cold_end(sys, op);
    }
    if !goes_on(sys, before) {
        return;
    }
    match sys.engine.landing(sys.code_linear()) {
        Some(to) => goto!(sys, to),
        None => sys.exit = Exit::Lookup,
    }
}

/// SYSENTER, SYSCALL: a landing behind it.
fn enter_system<const CALL: u8>(sys: &mut System, op: OpRef) {
    let (before, start) = (sys.conditions(), sys.cpu.rip);
    sys.cpu.rip = behind(sys, op);
    if !sys.quick_call::<CALL>() {
        sys.cpu.rip = start;
        return cold_end(sys, op);
    }
    if !goes_on(sys, before) {
        return;
    }
    match landing(sys, op, 1, sys.code_linear()) {
        Some(to) => goto!(sys, to),
        None => land(sys, op.step(2)),
    }
}

/// SYSEXIT, SYSRET.
fn leave_system<const CALL: u8>(sys: &mut System, op: OpRef) {
    let before = sys.conditions();
    if !sys.quick_call::<CALL>() {
        return cold_end(sys, op);
    }
    if !goes_on(sys, before) {
        return;
    }
    match sys.engine.landing(sys.code_linear()) {
        Some(to) => goto!(sys, to),
        None => sys.exit = Exit::Lookup,
    }
}

/// The handlers of this file.
pub(crate) const HANDLERS: [Handler; 9] = [
    int,
    iret::<4>,
    iret::<8>,
    enter_system::<SYSENTER>,
    enter_system::<SYSCALL>,
    leave_system::<SYSEXIT>,
    leave_system::<SYSEXIT_64>,
    leave_system::<SYSRET>,
    leave_system::<SYSRET_64>,
];

/// Lowers `insn` if it is one of these in protected mode; `decoded` keeps its decoded form.
pub(crate) fn lower(insn: &Instruction, b: &mut Builder<'_>, decoded: impl FnOnce(&mut Builder<'_>) -> u32) -> bool {
    use Code::*;
    let stack_32 = b.mode.has(Mode::STACK32) && !b.mode.has(Mode::CODE64);
    let (run, c): (Handler, u8) = match insn.code() {
        _ if !b.mode.is_protected() => return false,
        Int_imm8 => (int, insn.immediate8()),
        Iretd if stack_32 => (iret::<4>, 0),
        Iretq if b.mode.has(Mode::CODE64) => (iret::<8>, 0),
        Sysenter => (enter_system::<SYSENTER>, 0),
        Syscall => (enter_system::<SYSCALL>, 0),
        Sysexitd => (leave_system::<SYSEXIT>, 0),
        Sysexitq => (leave_system::<SYSEXIT_64>, 0),
        Sysretd => (leave_system::<SYSRET>, 0),
        Sysretq => (leave_system::<SYSRET_64>, 0),
        _ => return false,
    };
    let [low, high] = (b.offset + insn.len() as u16).to_le_bytes();
    let number = decoded(b);
    b.op(run, [low, high, c, 0], number);
    b.landing();
    true
}
