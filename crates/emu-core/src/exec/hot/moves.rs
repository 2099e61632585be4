//! MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc, CBW and its kin.

use core::marker::PhantomData;

use iced_x86::{Code, ConditionCode, Instruction, Mnemonic, OpKind};

use super::addr::{A32B, A32F, A64, A64B, A64R, Addr, Kind, MemoryOperand, step_by_addr};
use super::follow;
use super::step::{Load, Reader, Step, Store, Writer, one};
use super::width::{Low8, Width, by_low_width_and_addr, by_width, by_width_and_addr, class, field};
use crate::System;
use crate::cpu::flags::sign_extend;
use crate::cpu::reg;
use crate::engine::{Builder, Handler, OpRef};

/// A step that always goes on.
macro_rules! step {
    ($(#[$doc:meta])* $name:ident<$($t:ident: $bound:ident),*>, |$sys:ident, $op:ident| $body:expr) => {
        $(#[$doc])*
        pub(super) struct $name<$($t),*>(PhantomData<($($t,)*)>);
        impl<$($t: $bound),*> Step for $name<$($t),*> {
            #[inline(always)]
            fn step($sys: &mut System, $op: OpRef) -> bool {
                $body;
                true
            }
        }
    };
}
pub(super) use step;

/// A reader of one slot, or as many as stand behind its width.
macro_rules! reader {
    ($(#[$doc:meta])* $name:ident<$($t:ident),*>, $width:ty, |$sys:ident, $op:ident, $v:ident| $body:expr) => {
        reader!($(#[$doc])* $name<$($t),*>, $width, 1, |$sys, $op, $v| $body);
    };
    ($(#[$doc:meta])* $name:ident<$($t:ident),*>, $width:ty, $slots:literal, |$sys:ident, $op:ident, $v:ident| $body:expr) => {
        $(#[$doc])*
        pub(super) struct $name<$($t),*>(PhantomData<($($t,)*)>);
        impl<$($t: Width),*> Reader for $name<$($t),*> {
            type Width = $width;
            const SLOTS: usize = $slots;
            #[inline(always)]
            fn take($sys: &mut System, $op: OpRef, $v: u64) {
                $body;
            }
        }
    };
}
pub(super) use reader;

step!(RegReg<W: Width>, |sys, op| {
    let v = W::get(sys, op.rb());
    W::set(sys, op.ra(), v)
});
step!(RegImm<W: Width>, |sys, op| W::set(sys, op.ra(), op.imm() as i32 as i64 as u64));

/// A register and 64 bits that stand in the slot behind.
struct RegWide;
impl Step for RegWide {
    const SLOTS: usize = 2;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        sys.cpu.regs[op.ra()] = op.wide(1);
        true
    }
}

reader!(RegMem<W>, W, |sys, op, v| W::set(sys, op.ra(), v));

pub(super) struct MemReg<W>(PhantomData<W>);
impl<W: Width> Writer for MemReg<W> {
    type Width = W;
    #[inline(always)]
    fn value(sys: &System, op: OpRef) -> u64 {
        W::get(sys, op.ra())
    }
}

/// Memory and an immediate, which stands in the slot behind.
pub(super) struct MemImm<W>(PhantomData<W>);
impl<W: Width> Writer for MemImm<W> {
    type Width = W;
    const SLOTS: usize = 2;
    #[inline(always)]
    fn value(_: &System, op: OpRef) -> u64 {
        op.wide(1)
    }
}

/// LEA.
pub(super) struct Address<W, A>(PhantomData<(W, A)>);
impl<W: Width, A: Addr> Step for Address<W, A> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let ea = A::ea(sys, op);
        W::set(sys, op.ra(), ea);
        true
    }
}

step!(/// From `S` to `D`, zero-extended.
ZeroReg<D: Width, S: Width>, |sys, op| {
    let v = S::get(sys, op.rb());
    D::set(sys, op.ra(), v)
});
reader!(/// To a register of 32 or 64 bits, zero-extended.
ZeroMem<S>, S, |sys, op, v| sys.cpu.regs[op.ra()] = v);
step!(/// From `S` to `D`, sign-extended.
SignReg<D: Width, S: Width>, |sys, op| {
    let v = sign_extend(S::get(sys, op.rb()), S::BITS);
    D::set(sys, op.ra(), v)
});
reader!(/// From `S` to `D`, sign-extended.
SignMem<D, S>, S, |sys, op, v| D::set(sys, op.ra(), sign_extend(v, S::BITS)));
reader!(/// From `S` to 16 bits, zero-extended.
ZeroMem16<S>, S, |sys, op, v| u16::set(sys, op.ra(), v));

step!(Exchange<W: Width>, |sys, op| {
    let (a, b) = (W::get(sys, op.ra()), W::get(sys, op.rb()));
    W::set(sys, op.ra(), b);
    W::set(sys, op.rb(), a)
});

/// CMOVcc of registers. One of 32 bits clears the upper half whether it moves or not.
struct MoveIf<const CC: u8, W>(PhantomData<W>);
impl<const CC: u8, W: Width> Step for MoveIf<CC, W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let (a, b) = (W::get(sys, op.ra()), W::get(sys, op.rb()));
        W::set(sys, op.ra(), if sys.cpu.flags.condition(CC) { b } else { a });
        true
    }
}
/// CMOVcc from memory, which is read in any case.
impl<const CC: u8, W: Width> Reader for MoveIf<CC, W> {
    type Width = W;
    #[inline(always)]
    fn take(sys: &mut System, op: OpRef, v: u64) {
        let a = W::get(sys, op.ra());
        W::set(sys, op.ra(), if sys.cpu.flags.condition(CC) { v } else { a });
    }
}

/// SETcc.
struct SetIf<const CC: u8, W>(PhantomData<W>);
impl<const CC: u8, W: Width> Step for SetIf<CC, W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let v = sys.cpu.flags.condition(CC);
        W::set(sys, op.ra(), v.into());
        true
    }
}
/// SETcc to memory.
impl<const CC: u8, W: Width> Writer for SetIf<CC, W> {
    type Width = W;
    #[inline(always)]
    fn value(sys: &System, _: OpRef) -> u64 {
        sys.cpu.flags.condition(CC).into()
    }
}

step!(/// CWD, CDQ, CQO.
SignToDx<W: Width>, |sys, _op| {
    let negative = W::get(sys, reg::RAX) >> (W::BITS - 1) != 0;
    W::set(sys, reg::RDX, if negative { u64::MAX } else { 0 })
});
step!(/// CBW, CWDE, CDQE: from `S` in the accumulator to `D` in the accumulator.
WidenAx<D: Width, S: Width>, |sys, _op| {
    let v = sign_extend(S::get(sys, reg::RAX), S::BITS);
    D::set(sys, reg::RAX, v)
});

struct Nop;
impl Step for Nop {
    #[inline(always)]
    fn step(_: &mut System, _: OpRef) -> bool {
        true
    }
}

/// The instance of a generic handler for a condition: `by_condition!(cc, |CC| handler::<CC>)`.
macro_rules! by_condition {
    ($cc:expr, |$n:ident| $handler:expr) => {
        by_condition!($cc, |$n| $handler; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    ($cc:expr, |$n:ident| $handler:expr; $($value:literal)*) => {
        match $cc {
            $($value => {
                const $n: u8 = $value;
                $handler
            })*
            _ => {
                const $n: u8 = 15;
                $handler
            }
        }
    };
}

pub(super) use by_condition;

fn is_general(insn: &Instruction, n: u32) -> bool {
    insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_gpr()
}

fn lower_mov(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    match (insn.op0_kind(), insn.op1_kind()) {
        (OpKind::Register, OpKind::Register) if is_general(insn, 0) && is_general(insn, 1) => {
            let run = by_width!(class(insn, insn.op0_register().size()), RegReg);
            b.registers_op(run, [field(insn.op0_register()), field(insn.op1_register()), 0, 0], 0);
        }
        (OpKind::Register, OpKind::Memory) if is_general(insn, 0) => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            if follow::lower(insn, m, b) {
                return true;
            }
            let run = by_width_and_addr!(class(insn, insn.op0_register().size()), m.kind, Load, RegMem);
            b.registers_op(run, [field(insn.op0_register()), m.b, m.c, m.d], m.imm);
        }
        (OpKind::Memory, OpKind::Register) if is_general(insn, 1) => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let run = by_width_and_addr!(class(insn, insn.op1_register().size()), m.kind, Store, MemReg);
            b.registers_op(run, [field(insn.op1_register()), m.b, m.c, m.d], m.imm);
        }
        (OpKind::Memory, k) if k != OpKind::Register => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let run = by_low_width_and_addr!(insn.memory_size().size(), m.kind, Store, MemImm);
            b.registers_op(run, [0, m.b, m.c, m.d], m.imm);
            b.wide(insn.immediate(1));
        }
        (OpKind::Register, k) if is_general(insn, 0) && k != OpKind::Register => {
            let (v, dest) = (insn.immediate(1), field(insn.op0_register()));
            if v as u32 as i32 as i64 as u64 == v || insn.op0_register().size() < 8 {
                let run = by_width!(class(insn, insn.op0_register().size()), RegImm);
                b.registers_op(run, [dest, 0, 0, 0], v as u32);
                b.immediate(insn);
            } else {
                b.registers_op(one::<RegWide>, [dest, 0, 0, 0], 0);
                b.wide(v);
            }
        }
        _ => return false,
    }
    true
}

macro_rules! lea_by_addr {
    ($kind:expr, $w:ty) => {{
        use super::addr::*;
        match $kind {
            Kind::A16 => one::<Address<$w, A16>>,
            Kind::A32S => one::<Address<$w, A32S>>,
            Kind::A32F => one::<Address<$w, A32F>>,
            Kind::A32B => one::<Address<$w, A32B>>,
            Kind::A64 => one::<Address<$w, A64>>,
            Kind::A64B => one::<Address<$w, A64B>>,
            Kind::A64S => one::<Address<$w, A64S>>,
            Kind::A64R => one::<Address<$w, A64R>>,
            Kind::A64RS => one::<Address<$w, A64RS>>,
        }
    }};
}

fn lower_lea(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let run: Handler = match insn.op0_register().size() {
        2 => lea_by_addr!(m.kind, u16),
        4 => lea_by_addr!(m.kind, u32),
        _ => lea_by_addr!(m.kind, u64),
    };
    b.registers_op(run, [field(insn.op0_register()), m.b, m.c, m.d], m.imm);
    true
}

fn lower_extension(insn: &Instruction, b: &mut Builder<'_>, sign: bool) -> bool {
    let to = insn.op0_register().size();
    let dest = field(insn.op0_register());
    if insn.op1_kind() == OpKind::Register {
        let run: Handler = match (sign, to, class(insn, insn.op1_register().size())) {
            (false, 2, 0) => one::<ZeroReg<u16, Low8>>,
            (false, 2, 1) => one::<ZeroReg<u16, u8>>,
            (false, 4 | 8, 0) => one::<ZeroReg<u64, Low8>>,
            (false, 4 | 8, 1) => one::<ZeroReg<u64, u8>>,
            (false, 4 | 8, 2) => one::<ZeroReg<u64, u16>>,
            (true, 2, 0) => one::<SignReg<u16, Low8>>,
            (true, 2, 1) => one::<SignReg<u16, u8>>,
            (true, 4, 0) => one::<SignReg<u32, Low8>>,
            (true, 4, 1) => one::<SignReg<u32, u8>>,
            (true, 8, 0) => one::<SignReg<u64, Low8>>,
            (true, 4, 2) => one::<SignReg<u32, u16>>,
            (true, 8, 2) => one::<SignReg<u64, u16>>,
            (true, 8, 4) => one::<SignReg<u64, u32>>,
            _ => return false,
        };
        b.registers_op(run, [dest, field(insn.op1_register()), 0, 0], 0);
        return true;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let run: Handler = match (sign, to, insn.memory_size().size()) {
        (false, 2, 1) => step_by_addr!(m.kind, Load, ZeroMem16<Low8>),
        (false, 4 | 8, 1) => step_by_addr!(m.kind, Load, ZeroMem<Low8>),
        (false, 4 | 8, 2) => step_by_addr!(m.kind, Load, ZeroMem<u16>),
        (true, 2, 1) => step_by_addr!(m.kind, Load, SignMem<u16, Low8>),
        (true, 4, 1) => step_by_addr!(m.kind, Load, SignMem<u32, Low8>),
        (true, 4, 2) => step_by_addr!(m.kind, Load, SignMem<u32, u16>),
        (true, 8, 1) => step_by_addr!(m.kind, Load, SignMem<u64, Low8>),
        (true, 8, 2) => step_by_addr!(m.kind, Load, SignMem<u64, u16>),
        (true, 8, 4) => step_by_addr!(m.kind, Load, SignMem<u64, u32>),
        _ => return false,
    };
    b.registers_op(run, [dest, m.b, m.c, m.d], m.imm);
    true
}

/// The condition of a Jcc, SETcc or CMOVcc as the low four bits of its opcode.
pub(super) fn condition(insn: &Instruction) -> u8 {
    // iced numbers its condition codes from 1 in that order.
    (insn.condition_code() as u8).wrapping_sub(1) & 15
}

pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    match insn.mnemonic() {
        Mnemonic::Mov => return lower_mov(insn, b),
        Mnemonic::Lea => return lower_lea(insn, b),
        Mnemonic::Movzx => return lower_extension(insn, b, false),
        Mnemonic::Movsx | Mnemonic::Movsxd => return lower_extension(insn, b, true),
        // With an operand too: it is not read.
        Mnemonic::Nop => b.op(one::<Nop>, [0; 4], 0),
        Mnemonic::Xchg if is_general(insn, 0) && is_general(insn, 1) && !insn.has_lock_prefix() => {
            let run = by_width!(class(insn, insn.op0_register().size()), Exchange);
            b.registers_op(run, [field(insn.op0_register()), field(insn.op1_register()), 0, 0], 0);
        }
        _ => return lower_by_code(insn, b),
    }
    true
}

fn lower_set(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let cc = condition(insn);
    if insn.op0_kind() == OpKind::Memory && insn.memory_size().size() == 1 {
        let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
        let run: Handler = match m.kind {
            Kind::A32B => by_condition!(cc, |CC| one::<Store<SetIf<CC, Low8>, A32B>>),
            Kind::A64B => by_condition!(cc, |CC| one::<Store<SetIf<CC, Low8>, A64B>>),
            _ => return false,
        };
        b.registers_op(run, [0, m.b, m.c, m.d], m.imm);
        return true;
    }
    if !is_general(insn, 0) {
        return false;
    }
    let run: Handler = match class(insn, 1) {
        0 => by_condition!(cc, |CC| one::<SetIf<CC, Low8>>),
        _ => by_condition!(cc, |CC| one::<SetIf<CC, u8>>),
    };
    b.registers_op(run, [field(insn.op0_register()), 0, 0, 0], 0);
    true
}

fn lower_cmov(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let (cc, size) = (condition(insn), insn.op0_register().size());
    let dest = field(insn.op0_register());
    if is_general(insn, 1) {
        let run: Handler = match size {
            2 => by_condition!(cc, |CC| one::<MoveIf<CC, u16>>),
            4 => by_condition!(cc, |CC| one::<MoveIf<CC, u32>>),
            _ => by_condition!(cc, |CC| one::<MoveIf<CC, u64>>),
        };
        b.registers_op(run, [dest, field(insn.op1_register()), 0, 0], 0);
        return true;
    }
    if insn.op1_kind() != OpKind::Memory {
        return false;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    // Only what programs use: with each condition of its own, every form would be hundreds.
    let run: Handler = match (size, m.kind) {
        (4, Kind::A32F) => by_condition!(cc, |CC| one::<Load<MoveIf<CC, u32>, A32F>>),
        (4, Kind::A32B) => by_condition!(cc, |CC| one::<Load<MoveIf<CC, u32>, A32B>>),
        (4, Kind::A64) => by_condition!(cc, |CC| one::<Load<MoveIf<CC, u32>, A64>>),
        (4, Kind::A64B) => by_condition!(cc, |CC| one::<Load<MoveIf<CC, u32>, A64B>>),
        (8, Kind::A64) => by_condition!(cc, |CC| one::<Load<MoveIf<CC, u64>, A64>>),
        (8, Kind::A64B) => by_condition!(cc, |CC| one::<Load<MoveIf<CC, u64>, A64B>>),
        (8, Kind::A64R) => by_condition!(cc, |CC| one::<Load<MoveIf<CC, u64>, A64R>>),
        _ => return false,
    };
    b.registers_op(run, [dest, m.b, m.c, m.d], m.imm);
    true
}

fn lower_by_code(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    // Of the conditional instructions, SETcc has one register and CMOVcc two; jumps have none, FCMOVcc others.
    let conditional = insn.condition_code() != ConditionCode::None;
    match insn.code() {
        Code::Cwd => b.op(one::<SignToDx<u16>>, [0; 4], 0),
        Code::Cdq => b.op(one::<SignToDx<u32>>, [0; 4], 0),
        Code::Cqo => b.op(one::<SignToDx<u64>>, [0; 4], 0),
        Code::Cbw => b.op(one::<WidenAx<u16, Low8>>, [0; 4], 0),
        Code::Cwde => b.op(one::<WidenAx<u32, u16>>, [0; 4], 0),
        Code::Cdqe => b.op(one::<WidenAx<u64, u32>>, [0; 4], 0),
        _ if conditional && insn.op_count() == 1 => return lower_set(insn, b),
        _ if conditional && insn.op_count() == 2 && is_general(insn, 0) => return lower_cmov(insn, b),
        _ => return false,
    }
    true
}
