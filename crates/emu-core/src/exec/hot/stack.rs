//! PUSH, POP, LEAVE.

use iced_x86::{Code, Instruction, OpKind};

use core::marker::PhantomData;

use super::addr::{Addr, MemoryOperand, by_addr};
use super::step::{Step, one};
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
    /// The linear address of the value at `sp`, unless its segment may forbid it.
    fn open(sys: &System, sp: u64, write: bool) -> Option<u64>;
    /// The linear address of the value at `sp`; `None` if it faults.
    fn linear(sys: &mut System, op: OpRef, sp: u64, write: bool) -> Option<u64>;
}

#[inline(always)]
fn in_stack_segment(sys: &System, sp: u64, size: u64, write: bool) -> Option<u64> {
    let ss = &sys.cpu.seg[seg::SS];
    if ss.allows(sp, size, write) { Some(ss.base.wrapping_add(sp) & 0xFFFF_FFFF) } else { None }
}

macro_rules! push_width {
    ($(#[$doc:meta])* $name:ident, $value:ty, $pointer:ty, |$sys:ident, $sp:ident, $write:ident| $linear:expr) => {
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
            fn open($sys: &System, $sp: u64, $write: bool) -> Option<u64> {
                let $sp = <$pointer>::cut($sp);
                $linear
            }
            #[inline(always)]
            fn linear(sys: &mut System, op: OpRef, sp: u64, write: bool) -> Option<u64> {
                let lin = Self::open(sys, sp, write);
                if lin.is_none() {
                    sys.segment_fault(op, seg::SS);
                }
                lin
            }
        }
    };
}

push_width!(/// Words, SP.
    P16S16, u16, u16, |sys, sp, write| in_stack_segment(sys, sp, 2, write));
push_width!(/// Doublewords, SP.
    P32S16, u32, u16, |sys, sp, write| in_stack_segment(sys, sp, 4, write));
push_width!(/// Words, ESP.
    P16S32, u16, u32, |sys, sp, write| in_stack_segment(sys, sp, 2, write));
push_width!(/// Doublewords, ESP.
    P32S32, u32, u32, |sys, sp, write| in_stack_segment(sys, sp, 4, write));
push_width!(/// Doublewords, ESP in a flat segment.
    P32S32F, u32, u32, |_sys, sp, _write| Some(sp));
push_width!(/// Quadwords, RSP.
    P64S64, u64, u64, |_sys, sp, _write| Some(sp));

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

/// Pushes if nothing is in the way; `false` if it must be done by [`push_value`].
#[inline(always)]
pub(super) fn quick_push<P: PushWidth>(sys: &mut System, v: u64) -> bool {
    let sp = P::stack_pointer(sys).wrapping_sub(P::Value::SIZE);
    let Some(lin) = P::open(sys, sp, true) else { return false };
    let done = sys.tlb.write(lin, P::Value::from_u64(v));
    if done {
        P::set_stack_pointer(sys, sp);
    }
    done
}

/// What is on top of the stack at `sp`, if nothing is in the way.
#[inline(always)]
pub(super) fn quick_top<P: PushWidth>(sys: &System, sp: u64) -> Option<u64> {
    let lin = P::open(sys, sp, false)?;
    sys.tlb.read::<P::Value>(lin).map(Scalar::to_u64)
}

/// PUSH of a register.
pub(super) struct PushReg<P>(PhantomData<P>);
impl<P: PushWidth> Step for PushReg<P> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let v = P::Value::get(sys, op.ra());
        let done = quick_push::<P>(sys, v);
        if !done {
            late_push::<P>(sys, op, v);
        }
        done
    }
}

/// PUSH of an immediate.
pub(super) struct PushImm<P>(PhantomData<P>);
impl<P: PushWidth> Step for PushImm<P> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let v = op.imm() as i32 as i64 as u64;
        let done = quick_push::<P>(sys, v);
        if !done {
            late_push::<P>(sys, op, v);
        }
        done
    }
}

#[cold]
#[inline(never)]
fn late_push<P: PushWidth>(sys: &mut System, op: OpRef, v: u64) {
    if push_value::<P>(sys, op, v) {
        next!(sys, op)
    }
}

fn push_mem<P: PushWidth, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, P::Value::SIZE, false) else { return };
    match sys.tlb.read::<P::Value>(lin) {
        Some(v) if quick_push::<P>(sys, v.to_u64()) => next!(sys, op),
        _ => late_push_mem::<P>(sys, op, lin),
    }
}

#[cold]
#[inline(never)]
fn late_push_mem<P: PushWidth>(sys: &mut System, op: OpRef, lin: u64) {
    let Some(v) = load::<P::Value>(sys, op, lin) else { return };
    if push_value::<P>(sys, op, v) {
        next!(sys, op)
    }
}

/// POP to a register.
pub(super) struct PopReg<P>(PhantomData<P>);
impl<P: PushWidth> PopReg<P> {
    #[inline(always)]
    fn take(sys: &mut System, op: OpRef, sp: u64, v: u64) {
        P::set_stack_pointer(sys, sp.wrapping_add(P::Value::SIZE));
        P::Value::set(sys, op.ra(), v);
    }
}
impl<P: PushWidth> Step for PopReg<P> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let sp = P::stack_pointer(sys);
        match quick_top::<P>(sys, sp) {
            Some(v) => {
                Self::take(sys, op, sp, v);
                true
            }
            None => {
                late_pop::<P>(sys, op);
                false
            }
        }
    }
}

#[cold]
#[inline(never)]
fn late_pop<P: PushWidth>(sys: &mut System, op: OpRef) {
    let sp = P::stack_pointer(sys);
    let Some(lin) = P::linear(sys, op, sp, false) else { return };
    let Some(v) = load::<P::Value>(sys, op, lin) else { return };
    PopReg::<P>::take(sys, op, sp, v);
    next!(sys, op)
}

fn leave<P: PushWidth>(sys: &mut System, op: OpRef) {
    let bp = sys.cpu.regs[reg::RBP];
    match quick_top::<P>(sys, bp) {
        Some(v) => {
            P::set_stack_pointer(sys, bp.wrapping_add(P::Value::SIZE));
            P::Value::set(sys, reg::RBP, v);
            next!(sys, op)
        }
        None => late_leave::<P>(sys, op),
    }
}

#[cold]
#[inline(never)]
fn late_leave<P: PushWidth>(sys: &mut System, op: OpRef) {
    let bp = sys.cpu.regs[reg::RBP];
    let Some(lin) = P::linear(sys, op, bp, false) else { return };
    let Some(v) = load::<P::Value>(sys, op, lin) else { return };
    P::set_stack_pointer(sys, bp.wrapping_add(P::Value::SIZE));
    P::Value::set(sys, reg::RBP, v);
    next!(sys, op)
}

macro_rules! by_push {
    ($bits:expr, $mode:expr, |$p:ident| $handler:expr) => {
        match ($bits, stack_kind($mode)) {
            (16, StackKind::S16) => by_push!($p = P16S16, $handler),
            (32, StackKind::S16) => by_push!($p = P32S16, $handler),
            (16, StackKind::S32 | StackKind::S32F) => by_push!($p = P16S32, $handler),
            (32, StackKind::S32) => by_push!($p = P32S32, $handler),
            (32, StackKind::S32F) => by_push!($p = P32S32F, $handler),
            (64, StackKind::S64) => by_push!($p = P64S64, $handler),
            _ => None,
        }
    };
    ($p:ident = $push:ident, $handler:expr) => {{
        type $p = $push;
        Some($handler as Handler)
    }};
}

pub(super) use by_push;

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
            b.registers_op(run, [a, 0, 0, 0], imm);
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
            b.registers_op(run, [0, m.b, m.c, m.d], m.imm);
            true
        }
        Push_r16 | Push_r32 | Push_r64 | Push_rm16 | Push_rm32 | Push_rm64 => {
            // The 8086 family stores SP after it was decremented: that takes the slow way.
            if insn.op0_register().number() == reg::RSP && b.model.kind < Kind::I80286 {
                return false;
            }
            let r = insn.op0_register().number() as u8;
            simple(b, by_push!(bits, b.mode, |P| one::<PushReg<P>>), r, 0)
        }
        Pop_r16 | Pop_r32 | Pop_r64 => {
            let r = insn.op0_register().number() as u8;
            simple(b, by_push!(bits, b.mode, |P| one::<PopReg<P>>), r, 0)
        }
        Leavew | Leaved | Leaveq => simple(b, by_push!(bits, b.mode, |P| leave::<P>), 0, 0),
        _ => simple(b, by_push!(bits, b.mode, |P| one::<PushImm<P>>), 0, insn.immediate(0) as u32),
    }
}
