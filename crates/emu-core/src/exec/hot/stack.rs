//! PUSH, POP, LEAVE.

use iced_x86::{Code, Instruction, OpKind};

use super::addr::{Addr, MemoryOperand, by_addr};
use super::width::{Width, load, store};
use crate::System;
use crate::cpu::model::Kind;
use crate::cpu::{Mode, reg, seg};
use crate::engine::{Builder, Handler, OpRef, next};
use crate::mem::Scalar;

/// What is pushed, and onto which kind of stack.
pub(super) trait PushWidth {
    /// The value's type.
    type Value: Width;
    /// The stack pointer.
    fn stack_pointer(sys: &System) -> u64;
    /// Replaces it, wrapped to its width.
    fn set_stack_pointer(sys: &mut System, sp: u64);
    /// The linear address of the value at `sp`; `None` if it faults.
    fn linear(sys: &mut System, op: OpRef, sp: u64, write: bool) -> Option<u64>;
}

#[inline(always)]
fn in_stack_segment(sys: &mut System, op: OpRef, sp: u64, size: u64, write: bool) -> Option<u64> {
    let ss = &sys.cpu.seg[seg::SS];
    if ss.allows(sp, size, write) {
        Some(ss.base.wrapping_add(sp) & 0xFFFF_FFFF)
    } else {
        sys.segment_fault(op, seg::SS);
        None
    }
}

macro_rules! push_width {
    ($(#[$doc:meta])* $name:ident, $value:ty, $pointer:ty, |$sys:ident, $op:ident, $sp:ident, $write:ident| $linear:expr) => {
        $(#[$doc])*
        pub(super) struct $name;
        impl PushWidth for $name {
            type Value = $value;
            #[inline(always)]
            fn stack_pointer(sys: &System) -> u64 {
                <$pointer>::get(sys, reg::RSP)
            }
            #[inline(always)]
            fn set_stack_pointer(sys: &mut System, sp: u64) {
                <$pointer>::set(sys, reg::RSP, sp);
            }
            #[inline(always)]
            fn linear($sys: &mut System, $op: OpRef, $sp: u64, $write: bool) -> Option<u64> {
                let $sp = <$pointer>::cut($sp);
                $linear
            }
        }
    };
}

push_width!(/// Words, SP.
    P16S16, u16, u16, |sys, op, sp, write| in_stack_segment(sys, op, sp, 2, write));
push_width!(/// Doublewords, SP.
    P32S16, u32, u16, |sys, op, sp, write| in_stack_segment(sys, op, sp, 4, write));
push_width!(/// Words, ESP.
    P16S32, u16, u32, |sys, op, sp, write| in_stack_segment(sys, op, sp, 2, write));
push_width!(/// Doublewords, ESP.
    P32S32, u32, u32, |sys, op, sp, write| in_stack_segment(sys, op, sp, 4, write));
push_width!(/// Doublewords, ESP in a flat segment.
    P32S32F, u32, u32, |_sys, _op, sp, _write| Some(sp));
push_width!(/// Quadwords, RSP.
    P64S64, u64, u64, |_sys, _op, sp, _write| Some(sp));

/// Which stack the mode has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StackKind {
    S16,
    S32,
    S32F,
    S64,
}

pub(super) fn stack_kind(mode: Mode) -> StackKind {
    if mode.has(Mode::CODE64) {
        StackKind::S64
    } else if !mode.has(Mode::STACK32) {
        StackKind::S16
    } else if mode.has(Mode::FLAT) {
        StackKind::S32F
    } else {
        StackKind::S32
    }
}

/// Pushes; `false` if it faulted.
#[inline(always)]
pub(super) fn push_value<P: PushWidth>(sys: &mut System, op: OpRef, v: u64) -> bool {
    let sp = P::stack_pointer(sys).wrapping_sub(P::Value::SIZE);
    let Some(lin) = P::linear(sys, op, sp, true) else { return false };
    if !store::<P::Value>(sys, op, lin, v) {
        return false;
    }
    P::set_stack_pointer(sys, sp);
    true
}

fn push_reg<P: PushWidth>(sys: &mut System, op: OpRef) {
    let v = P::Value::get(sys, op.a());
    if !push_value::<P>(sys, op, v) {
        return;
    }
    next!(sys, op)
}

fn push_imm<P: PushWidth>(sys: &mut System, op: OpRef) {
    if !push_value::<P>(sys, op, op.imm() as i32 as i64 as u64) {
        return;
    }
    next!(sys, op)
}

fn push_mem<P: PushWidth, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, P::Value::SIZE, false) else { return };
    let Some(v) = load::<P::Value>(sys, op, lin) else { return };
    if !push_value::<P>(sys, op, v) {
        return;
    }
    next!(sys, op)
}

fn pop_reg<P: PushWidth>(sys: &mut System, op: OpRef) {
    let sp = P::stack_pointer(sys);
    let Some(lin) = P::linear(sys, op, sp, false) else { return };
    let Some(v) = load::<P::Value>(sys, op, lin) else { return };
    P::set_stack_pointer(sys, sp.wrapping_add(P::Value::SIZE));
    P::Value::set(sys, op.a(), v);
    next!(sys, op)
}

fn leave<P: PushWidth>(sys: &mut System, op: OpRef) {
    let bp = sys.cpu.regs[reg::RBP];
    let Some(lin) = P::linear(sys, op, bp, false) else { return };
    let Some(v) = load::<P::Value>(sys, op, lin) else { return };
    P::set_stack_pointer(sys, bp.wrapping_add(P::Value::SIZE));
    P::Value::set(sys, reg::RBP, v);
    next!(sys, op)
}

macro_rules! by_push {
    ($bits:expr, $mode:expr, $handler:ident) => {
        match ($bits, stack_kind($mode)) {
            (16, StackKind::S16) => Some($handler::<P16S16> as Handler),
            (32, StackKind::S16) => Some($handler::<P32S16> as Handler),
            (16, StackKind::S32 | StackKind::S32F) => Some($handler::<P16S32> as Handler),
            (32, StackKind::S32) => Some($handler::<P32S32> as Handler),
            (32, StackKind::S32F) => Some($handler::<P32S32F> as Handler),
            (64, StackKind::S64) => Some($handler::<P64S64> as Handler),
            _ => None,
        }
    };
}

fn push_mem_handler(m: &MemoryOperand, bits: u32, mode: Mode) -> Option<Handler> {
    Some(match (bits, stack_kind(mode)) {
        (16, StackKind::S16) => by_addr!(m.kind, push_mem, P16S16),
        (32, StackKind::S32) => by_addr!(m.kind, push_mem, P32S32),
        (32, StackKind::S32F) => by_addr!(m.kind, push_mem, P32S32F),
        (64, StackKind::S64) => by_addr!(m.kind, push_mem, P64S64),
        _ => return None,
    })
}

/// Appends a handler, if the mode has it.
fn simple(b: &mut Builder<'_>, run: Option<Handler>, a: u8, imm: u32) -> bool {
    match run {
        Some(run) => {
            b.op(run, [a, 0, 0, 0], imm);
            true
        }
        None => false,
    }
}

pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    use Code::*;
    let code = insn.code();
    let bits = match code {
        Push_r16 | Push_rm16 | Pushw_imm8 | Push_imm16 | Pop_r16 | Leavew => 16,
        Push_r32 | Push_rm32 | Pushd_imm8 | Pushd_imm32 | Pop_r32 | Leaved => 32,
        Push_r64 | Push_rm64 | Pushq_imm8 | Pushq_imm32 | Pop_r64 | Leaveq => 64,
        _ => return false,
    };
    match code {
        Push_rm16 | Push_rm32 | Push_rm64 if insn.op0_kind() == OpKind::Memory => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let Some(run) = push_mem_handler(&m, bits, b.mode) else { return false };
            b.op(run, [0, m.b, m.c, m.d], m.imm);
            true
        }
        Push_r16 | Push_r32 | Push_r64 | Push_rm16 | Push_rm32 | Push_rm64 => {
            // The 8086 family stores SP after it was decremented: that takes the slow way.
            if insn.op0_register().number() == reg::RSP && b.model.kind < Kind::I80286 {
                return false;
            }
            let r = insn.op0_register().number() as u8;
            simple(b, by_push!(bits, b.mode, push_reg), r, 0)
        }
        Pop_r16 | Pop_r32 | Pop_r64 => {
            let r = insn.op0_register().number() as u8;
            simple(b, by_push!(bits, b.mode, pop_reg), r, 0)
        }
        Leavew | Leaved | Leaveq => simple(b, by_push!(bits, b.mode, leave), 0, 0),
        _ => simple(b, by_push!(bits, b.mode, push_imm), 0, insn.immediate(0) as u32),
    }
}
