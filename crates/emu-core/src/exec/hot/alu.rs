//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP and TEST; INC, DEC, NOT and NEG.

use iced_x86::{Instruction, Mnemonic, OpKind};

use core::marker::PhantomData;

use super::addr::MemoryOperand;
use super::step::{Change, Changer, Load, Reader, Step};
use super::width::{Width, by_low_width_and_addr, by_width, by_width_and_addr, class, field};
use crate::System;
use crate::cpu::LazyFlags;
use crate::engine::{Builder, OpRef};

/// An operation of two operands. The carry in is read from the flags by those that use it.
pub(super) trait Alu {
    /// Whether the result is kept.
    const WRITES: bool = true;
    fn run<W: Width>(f: &mut LazyFlags, a: u64, b: u64) -> u64;
}

macro_rules! alu {
    ($name:ident, $writes:literal, |$f:ident, $a:ident, $b:ident, $bits:ident| $body:expr) => {
        pub(super) struct $name;
        impl Alu for $name {
            const WRITES: bool = $writes;
            #[inline(always)]
            fn run<W: Width>($f: &mut LazyFlags, $a: u64, $b: u64) -> u64 {
                let $bits = W::BITS;
                $body
            }
        }
    };
}

alu!(Add, true, |f, a, b, bits| {
    let r = a.wrapping_add(b);
    f.set_sum(a, b, r, bits);
    r
});
alu!(Adc, true, |f, a, b, bits| {
    let r = a.wrapping_add(b).wrapping_add(f.cf().into());
    f.set_sum(a, b, r, bits);
    r
});
alu!(Sub, true, |f, a, b, bits| {
    let r = a.wrapping_sub(b);
    f.set_difference(a, b, r, bits);
    r
});
alu!(Sbb, true, |f, a, b, bits| {
    let r = a.wrapping_sub(b).wrapping_sub(f.cf().into());
    f.set_difference(a, b, r, bits);
    r
});
alu!(Cmp, false, |f, a, b, bits| {
    let r = a.wrapping_sub(b);
    f.set_difference(a, b, r, bits);
    r
});
alu!(And, true, |f, a, b, bits| {
    f.set_logic(a & b, bits);
    a & b
});
alu!(Or, true, |f, a, b, bits| {
    f.set_logic(a | b, bits);
    a | b
});
alu!(Xor, true, |f, a, b, bits| {
    f.set_logic(a ^ b, bits);
    a ^ b
});
alu!(Test, false, |f, a, b, bits| {
    f.set_logic(a & b, bits);
    a & b
});

/// The same operations where a later instruction overwrites the flags before anybody can see them.
macro_rules! flagless {
    ($name:ident, |$a:ident, $b:ident| $body:expr) => {
        pub(super) struct $name;
        impl Alu for $name {
            #[inline(always)]
            fn run<W: Width>(_: &mut LazyFlags, $a: u64, $b: u64) -> u64 {
                $body
            }
        }
    };
}
flagless!(AddQuiet, |a, b| a.wrapping_add(b));
flagless!(SubQuiet, |a, b| a.wrapping_sub(b));
flagless!(AndQuiet, |a, b| a & b);
flagless!(OrQuiet, |a, b| a | b);
flagless!(XorQuiet, |a, b| a ^ b);

/// An operation of one operand; `b` of the two-operand form is unused.
macro_rules! unary {
    ($name:ident, |$f:ident, $a:ident, $bits:ident| $body:expr) => {
        pub(super) struct $name;
        impl Alu for $name {
            #[inline(always)]
            fn run<W: Width>($f: &mut LazyFlags, $a: u64, _: u64) -> u64 {
                let $bits = W::BITS;
                $body
            }
        }
    };
}
unary!(Inc, |f, a, bits| {
    let r = a.wrapping_add(1);
    f.set_inc_dec(a, r, bits, false);
    r
});
unary!(Dec, |f, a, bits| {
    let r = a.wrapping_sub(1);
    f.set_inc_dec(a, r, bits, true);
    r
});
unary!(Neg, |f, a, bits| {
    let r = 0u64.wrapping_sub(a);
    f.set_difference(0, a, r, bits);
    r
});
unary!(Not, |_f, a, _bits| !a);
unary!(IncQuiet, |_f, a, _bits| a.wrapping_add(1));
unary!(DecQuiet, |_f, a, _bits| a.wrapping_sub(1));

/// Immediates are stored sign-extended to 32 bits; wider ones do not exist for these.
#[inline(always)]
fn immediate<W: Width>(imm: u32) -> u64 {
    W::cut(imm as i32 as i64 as u64)
}

/// A register and a register.
pub(super) struct RegReg<O, W>(PhantomData<(O, W)>);
impl<O: Alu, W: Width> Step for RegReg<O, W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let (a, b) = (W::get(sys, op.ra()), W::get(sys, op.rb()));
        let r = O::run::<W>(&mut sys.cpu.flags, a, b);
        if O::WRITES {
            W::set(sys, op.ra(), r);
        }
        true
    }
}

/// A register and an immediate.
pub(super) struct RegImm<O, W>(PhantomData<(O, W)>);
impl<O: Alu, W: Width> Step for RegImm<O, W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let (a, b) = (W::get(sys, op.ra()), immediate::<W>(op.imm()));
        let r = O::run::<W>(&mut sys.cpu.flags, a, b);
        if O::WRITES {
            W::set(sys, op.ra(), r);
        }
        true
    }
}

/// A register and memory.
pub(super) struct RegMem<O, W>(PhantomData<(O, W)>);
impl<O: Alu, W: Width> Reader for RegMem<O, W> {
    type Width = W;
    #[inline(always)]
    fn take(sys: &mut System, op: OpRef, v: u64) {
        let a = W::get(sys, op.ra());
        let r = O::run::<W>(&mut sys.cpu.flags, a, v);
        if O::WRITES {
            W::set(sys, op.ra(), r);
        }
    }
}

/// Memory and a register.
pub(super) struct MemReg<O, W>(PhantomData<(O, W)>);
impl<O: Alu, W: Width> Changer for MemReg<O, W> {
    type Width = W;
    #[inline(always)]
    fn change(sys: &mut System, op: OpRef, v: u64) -> u64 {
        let b = W::get(sys, op.ra());
        O::run::<W>(&mut sys.cpu.flags, v, b)
    }
}
/// Where memory is only compared.
impl<O: Alu, W: Width> Reader for MemReg<O, W> {
    type Width = W;
    #[inline(always)]
    fn take(sys: &mut System, op: OpRef, v: u64) {
        Self::change(sys, op, v);
    }
}

/// Memory and an immediate, which stands in the slot behind.
pub(super) struct MemImm<O, W>(PhantomData<(O, W)>);
impl<O: Alu, W: Width> Changer for MemImm<O, W> {
    type Width = W;
    const SLOTS: usize = 2;
    #[inline(always)]
    fn change(sys: &mut System, op: OpRef, v: u64) -> u64 {
        O::run::<W>(&mut sys.cpu.flags, v, W::cut(op.wide(1)))
    }
}
/// Where memory is only compared.
impl<O: Alu, W: Width> Reader for MemImm<O, W> {
    type Width = W;
    const SLOTS: usize = 2;
    #[inline(always)]
    fn take(sys: &mut System, op: OpRef, v: u64) {
        Self::change(sys, op, v);
    }
}

/// Lowers one of `O`'s forms; `Q` is what it is where its flags are not needed. Not for memory operands: the chain may
/// stop behind those, where the flags can be seen.
fn lower_as<O: Alu, Q: Alu>(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let memory = insn.op0_kind() == OpKind::Memory || insn.op1_kind() == OpKind::Memory;
    if b.flags_needed || memory {
        return lower_forms::<O>(insn, b);
    }
    let size = class(insn, insn.op0_register().size());
    let dest = field(insn.op0_register());
    if insn.op1_kind() == OpKind::Register {
        b.registers_op(by_width!(size, RegReg, Q), [dest, field(insn.op1_register()), 0, 0], 0);
    } else {
        b.registers_op(by_width!(size, RegImm, Q), [dest, 0, 0, 0], insn.immediate(1) as u32);
        b.immediate(insn);
    }
    true
}

fn lower_forms<O: Alu>(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    if insn.has_lock_prefix() && insn.op0_kind() != OpKind::Memory {
        return false;
    }
    match (insn.op0_kind(), insn.op1_kind()) {
        (OpKind::Register, OpKind::Register) => {
            let size = class(insn, insn.op0_register().size());
            let fields = [field(insn.op0_register()), field(insn.op1_register()), 0, 0];
            b.registers_op(by_width!(size, RegReg, O), fields, 0);
        }
        (OpKind::Register, OpKind::Memory) => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let size = class(insn, insn.op0_register().size());
            let run = by_width_and_addr!(size, m.kind, Load, RegMem, O);
            b.registers_op(run, [field(insn.op0_register()), m.b, m.c, m.d], m.imm);
        }
        (OpKind::Memory, OpKind::Register) => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let size = class(insn, insn.op1_register().size());
            let run = if O::WRITES {
                by_width_and_addr!(size, m.kind, Change, MemReg, O)
            } else {
                by_width_and_addr!(size, m.kind, Load, MemReg, O)
            };
            b.registers_op(run, [field(insn.op1_register()), m.b, m.c, m.d], m.imm);
        }
        (OpKind::Register, _) => {
            let size = class(insn, insn.op0_register().size());
            b.registers_op(by_width!(size, RegImm, O), [field(insn.op0_register()), 0, 0, 0], insn.immediate(1) as u32);
            b.immediate(insn);
        }
        (OpKind::Memory, _) => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let size = insn.memory_size().size();
            let run = if O::WRITES {
                by_low_width_and_addr!(size, m.kind, Change, MemImm, O)
            } else {
                by_low_width_and_addr!(size, m.kind, Load, MemImm, O)
            };
            b.registers_op(run, [0, m.b, m.c, m.d], m.imm);
            b.wide(insn.immediate(1));
        }
        _ => return false,
    }
    true
}

/// Lowers a one-operand operation.
fn lower_unary<O: Alu, Q: Alu>(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    match insn.op0_kind() {
        OpKind::Register => {
            let size = class(insn, insn.op0_register().size());
            let run = if b.flags_needed { by_width!(size, RegImm, O) } else { by_width!(size, RegImm, Q) };
            b.registers_op(run, [field(insn.op0_register()), 0, 0, 0], 0);
        }
        _ => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let run = by_low_width_and_addr!(insn.memory_size().size(), m.kind, Change, MemImm, O);
            b.registers_op(run, [0, m.b, m.c, m.d], m.imm);
            b.wide(0);
        }
    }
    true
}

pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    match insn.mnemonic() {
        Mnemonic::Add => lower_as::<Add, AddQuiet>(insn, b),
        Mnemonic::Or => lower_as::<Or, OrQuiet>(insn, b),
        Mnemonic::Adc => lower_forms::<Adc>(insn, b),
        Mnemonic::Sbb => lower_forms::<Sbb>(insn, b),
        Mnemonic::And => lower_as::<And, AndQuiet>(insn, b),
        Mnemonic::Sub => lower_as::<Sub, SubQuiet>(insn, b),
        Mnemonic::Xor => lower_as::<Xor, XorQuiet>(insn, b),
        Mnemonic::Cmp => lower_forms::<Cmp>(insn, b),
        Mnemonic::Test => lower_forms::<Test>(insn, b),
        Mnemonic::Inc => lower_unary::<Inc, IncQuiet>(insn, b),
        Mnemonic::Dec => lower_unary::<Dec, DecQuiet>(insn, b),
        Mnemonic::Neg => lower_unary::<Neg, Neg>(insn, b),
        Mnemonic::Not => lower_unary::<Not, Not>(insn, b),
        _ => false,
    }
}
