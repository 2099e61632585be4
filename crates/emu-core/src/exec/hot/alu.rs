//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP and TEST; INC, DEC, NOT and NEG.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::addr::{Addr, MemoryOperand};
use super::width::{Width, by_width, by_width_and_addr, field, load, load_for_write, store};
use crate::System;
use crate::cpu::LazyFlags;
use crate::engine::{Builder, Handler, OpRef, next};

/// An operation of two operands. The carry in is read from the flags by those that use it.
trait Alu {
    /// Whether the result is kept.
    const WRITES: bool = true;
    fn run<W: Width>(f: &mut LazyFlags, a: u64, b: u64) -> u64;
}

macro_rules! alu {
    ($name:ident, $writes:literal, |$f:ident, $a:ident, $b:ident, $bits:ident| $body:expr) => {
        struct $name;
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
    f.set_add(a, b, r, bits);
    r
});
alu!(Adc, true, |f, a, b, bits| {
    let r = a.wrapping_add(b).wrapping_add(f.cf().into());
    f.set_add(a, b, r, bits);
    r
});
alu!(Sub, true, |f, a, b, bits| {
    let r = a.wrapping_sub(b);
    f.set_sub(a, b, r, bits);
    r
});
alu!(Sbb, true, |f, a, b, bits| {
    let r = a.wrapping_sub(b).wrapping_sub(f.cf().into());
    f.set_sub(a, b, r, bits);
    r
});
alu!(Cmp, false, |f, a, b, bits| {
    let r = a.wrapping_sub(b);
    f.set_sub(a, b, r, bits);
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
        struct $name;
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
        struct $name;
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
    f.set_sub(0, a, r, bits);
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

fn reg_reg<O: Alu, W: Width>(sys: &mut System, op: OpRef) {
    let (a, b) = (W::get(sys, op.a()), W::get(sys, op.b()));
    let r = O::run::<W>(&mut sys.cpu.flags, a, b);
    if O::WRITES {
        W::set(sys, op.a(), r);
    }
    next!(sys, op)
}

fn reg_imm<O: Alu, W: Width>(sys: &mut System, op: OpRef) {
    let (a, b) = (W::get(sys, op.a()), immediate::<W>(op.imm()));
    let r = O::run::<W>(&mut sys.cpu.flags, a, b);
    if O::WRITES {
        W::set(sys, op.a(), r);
    }
    next!(sys, op)
}

fn reg_mem<O: Alu, W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, W::SIZE, false) else { return };
    let Some(b) = load::<W>(sys, op, lin) else { return };
    let a = W::get(sys, op.a());
    let r = O::run::<W>(&mut sys.cpu.flags, a, b);
    if O::WRITES {
        W::set(sys, op.a(), r);
    }
    next!(sys, op)
}

fn mem_reg<O: Alu, W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, W::SIZE, O::WRITES) else { return };
    if O::WRITES {
        let Some(a) = load_for_write::<W>(sys, op, lin) else { return };
        let b = W::get(sys, op.a());
        let before = sys.cpu.flags;
        let r = O::run::<W>(&mut sys.cpu.flags, a, b);
        if !store::<W>(sys, op, lin, r) {
            sys.cpu.flags = before;
            return;
        }
    } else {
        let Some(a) = load::<W>(sys, op, lin) else { return };
        let b = W::get(sys, op.a());
        O::run::<W>(&mut sys.cpu.flags, a, b);
    }
    next!(sys, op)
}

fn mem_imm<O: Alu, W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, W::SIZE, O::WRITES) else { return };
    let b = W::cut(op.wide(1));
    if O::WRITES {
        let Some(a) = load_for_write::<W>(sys, op, lin) else { return };
        let before = sys.cpu.flags;
        let r = O::run::<W>(&mut sys.cpu.flags, a, b);
        if !store::<W>(sys, op, lin, r) {
            sys.cpu.flags = before;
            return;
        }
    } else {
        let Some(a) = load::<W>(sys, op, lin) else { return };
        O::run::<W>(&mut sys.cpu.flags, a, b);
    }
    next!(sys, op, 2)
}

/// Lowers one of `O`'s forms; `Q` is what it is where its flags are not needed. Not for memory operands: the chain may
/// stop behind those, where the flags can be seen.
fn lower_as<O: Alu, Q: Alu>(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let memory = insn.op0_kind() == OpKind::Memory || insn.op1_kind() == OpKind::Memory;
    if b.flags_needed || memory {
        return lower_forms::<O>(insn, b);
    }
    let size = insn.op0_register().size();
    let dest = field(insn.op0_register());
    if insn.op1_kind() == OpKind::Register {
        b.op(by_width!(size, reg_reg, Q), [dest, field(insn.op1_register()), 0, 0], 0);
    } else {
        b.op(by_width!(size, reg_imm, Q), [dest, 0, 0, 0], insn.immediate(1) as u32);
    }
    true
}

fn lower_forms<O: Alu>(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    if insn.has_lock_prefix() && insn.op0_kind() != OpKind::Memory {
        return false;
    }
    let memory = (insn.op0_kind() == OpKind::Memory || insn.op1_kind() == OpKind::Memory)
        .then(|| MemoryOperand::of(insn, b.mode));
    match (insn.op0_kind(), insn.op1_kind()) {
        (OpKind::Register, OpKind::Register) => {
            let size = insn.op0_register().size();
            let run: Handler = by_width!(size, reg_reg, O);
            b.op(run, [field(insn.op0_register()), field(insn.op1_register()), 0, 0], 0);
        }
        (OpKind::Register, OpKind::Memory) => {
            let Some(Some(m)) = memory else { return false };
            let size = insn.op0_register().size();
            let run: Handler = by_width_and_addr!(size, m.kind, reg_mem, O);
            b.op(run, [field(insn.op0_register()), m.b, m.c, m.d], m.imm);
        }
        (OpKind::Memory, OpKind::Register) => {
            let Some(Some(m)) = memory else { return false };
            let size = insn.op1_register().size();
            let run: Handler = by_width_and_addr!(size, m.kind, mem_reg, O);
            b.op(run, [field(insn.op1_register()), m.b, m.c, m.d], m.imm);
        }
        (OpKind::Register, _) => {
            let size = insn.op0_register().size();
            let run: Handler = by_width!(size, reg_imm, O);
            b.op(run, [field(insn.op0_register()), 0, 0, 0], insn.immediate(1) as u32);
        }
        (OpKind::Memory, _) => {
            let Some(Some(m)) = memory else { return false };
            let size = insn.memory_size().size();
            let run: Handler = by_width_and_addr!(size, m.kind, mem_imm, O);
            b.op(run, [0, m.b, m.c, m.d], m.imm);
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
            let size = insn.op0_register().size();
            let run: Handler = if b.flags_needed { by_width!(size, reg_imm, O) } else { by_width!(size, reg_imm, Q) };
            b.op(run, [field(insn.op0_register()), 0, 0, 0], 0);
        }
        _ => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let run: Handler = by_width_and_addr!(insn.memory_size().size(), m.kind, mem_imm, O);
            b.op(run, [0, m.b, m.c, m.d], m.imm);
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
