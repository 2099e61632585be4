//! Shifts and rotates of registers, IMUL and MUL, BSWAP, BT of an immediate.
//!
//! Flags, the undefined ones included, are those that `exec::shift` and `exec::muldiv` give.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use core::marker::PhantomData;

use super::addr::MemoryOperand;
use super::moves::{reader, step};
use super::step::{Load, Reader, Step, one};
use super::width::{Width, by_width, by_width_and_addr, class, field};
use crate::System;
use crate::cpu::Model;
use crate::cpu::bits::ZF;
use crate::cpu::flags::sign_extend;
use crate::cpu::model::Kind;
use crate::cpu::reg;
use crate::engine::{Builder, Handler, OpRef};

pub(super) trait Shift {
    /// Shifts `a` by `n`, which is not 0; `by_cl`: the count is CL's, not an immediate.
    fn run<W: Width>(sys: &mut System, a: u64, n: u32, by_cl: bool) -> u64;
}

/// Bit `n` from the top of an operand.
#[inline(always)]
fn from_top<W: Width>(a: u64, n: u32) -> bool {
    a >> (W::BITS - 1 - n) & 1 != 0
}

pub(super) struct Shl;
impl Shift for Shl {
    #[inline(always)]
    fn run<W: Width>(sys: &mut System, a: u64, n: u32, _: bool) -> u64 {
        let r = a << n;
        let cf = if W::BITS == 64 { a >> (64 - n) & 1 } else { r >> W::BITS & 1 } != 0;
        let of = from_top::<W>(a, 0) != from_top::<W>(a, 1);
        sys.cpu.flags.set_result(r, W::BITS, cf, of, false);
        r
    }
}

pub(super) struct Shr;
impl Shift for Shr {
    #[inline(always)]
    fn run<W: Width>(sys: &mut System, a: u64, n: u32, _: bool) -> u64 {
        let r = a >> n;
        sys.cpu.flags.set_result(r, W::BITS, a >> (n - 1) & 1 != 0, from_top::<W>(a, 0), false);
        r
    }
}

pub(super) struct Sar;
impl Shift for Sar {
    #[inline(always)]
    fn run<W: Width>(sys: &mut System, a: u64, n: u32, _: bool) -> u64 {
        let s = sign_extend(a, W::BITS) as i64;
        let r = (s >> n) as u64;
        sys.cpu.flags.set_result(r, W::BITS, s >> (n - 1) & 1 != 0, false, false);
        r
    }
}

#[inline(always)]
fn rotate_left<W: Width>(a: u64, n: u32) -> u64 {
    match W::BITS {
        32 => (a as u32).rotate_left(n).into(),
        64 => a.rotate_left(n),
        _ => {
            let n = n % W::BITS;
            if n == 0 { a } else { W::cut(a << n | a >> (W::BITS - n)) }
        }
    }
}

/// CF of a rotate, and OF unless its count is an immediate that is not 1.
#[inline(always)]
fn set_rotated(sys: &mut System, n: u32, by_cl: bool, cf: bool, of: bool) {
    let of = if by_cl || n == 1 { of } else { sys.cpu.flags.of() };
    sys.cpu.flags.set_cf_of(cf, of);
}

struct Rol;
impl Shift for Rol {
    #[inline(always)]
    fn run<W: Width>(sys: &mut System, a: u64, n: u32, by_cl: bool) -> u64 {
        let r = rotate_left::<W>(a, n);
        let of = from_top::<W>(a, 0) != from_top::<W>(a, 1);
        set_rotated(sys, n, by_cl, r & 1 != 0, of);
        r
    }
}

struct Ror;
impl Shift for Ror {
    #[inline(always)]
    fn run<W: Width>(sys: &mut System, a: u64, n: u32, by_cl: bool) -> u64 {
        let r = rotate_left::<W>(a, W::BITS - n % W::BITS);
        let of = from_top::<W>(a, 0) != (a & 1 != 0);
        set_rotated(sys, n, by_cl, from_top::<W>(r, 0), of);
        r
    }
}

/// The same operations where a later instruction overwrites the flags before anybody can see them.
macro_rules! flagless {
    ($name:ident, |$a:ident, $n:ident, $w:ident| $body:expr) => {
        pub(super) struct $name;
        impl Shift for $name {
            #[inline(always)]
            fn run<$w: Width>(_: &mut System, $a: u64, $n: u32, _: bool) -> u64 {
                $body
            }
        }
    };
}
flagless!(ShlQuiet, |a, n, W| a << n);
flagless!(ShrQuiet, |a, n, W| a >> n);
flagless!(SarQuiet, |a, n, W| (sign_extend(a, W::BITS) as i64 >> n) as u64);
flagless!(RolQuiet, |a, n, W| rotate_left::<W>(a, n));
flagless!(RorQuiet, |a, n, W| rotate_left::<W>(a, W::BITS - n % W::BITS));

/// By an immediate.
pub(super) struct ByImmediate<S, W>(PhantomData<(S, W)>);
impl<S: Shift, W: Width> Step for ByImmediate<S, W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let a = W::get(sys, op.ra());
        let r = S::run::<W>(sys, a, op.imm() & 63, false);
        W::set(sys, op.ra(), r);
        true
    }
}

/// By CL.
struct ByCl<S, W>(PhantomData<(S, W)>);
impl<S: Shift, W: Width> Step for ByCl<S, W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let n = sys.cpu.regs[reg::RCX] as u32 & if W::BITS == 64 { 63 } else { 31 };
        let a = W::get(sys, op.ra());
        // A count of 0 changes nothing, but a 32-bit register loses its upper half all the same.
        let r = if n != 0 { S::run::<W>(sys, a, n, true) } else { a };
        W::set(sys, op.ra(), r);
        true
    }
}

#[inline(always)]
fn set_product_flags<W: Width>(sys: &mut System, low: u64, over: bool) {
    sys.cpu.flags.set_result(low, W::BITS, over, over, false);
    if sys.cpu.flags.zf() {
        sys.cpu.flags.replace(ZF, 0);
    }
}

#[inline(always)]
fn product<W: Width>(sys: &mut System, a: u64, b: u64) -> u64 {
    let (a, b) = (sign_extend(a, W::BITS) as i64, sign_extend(b, W::BITS) as i64);
    let low = a.wrapping_mul(b) as u64;
    let over = if W::BITS == 64 {
        i128::from(a) * i128::from(b) != i128::from(low as i64)
    } else {
        sign_extend(low, W::BITS) != low
    };
    set_product_flags::<W>(sys, low, over);
    low
}

step!(ImulReg<W: Width>, |sys, op| {
    let (a, b) = (W::get(sys, op.ra()), W::get(sys, op.rb()));
    let r = product::<W>(sys, a, b);
    W::set(sys, op.ra(), r)
});

step!(ImulImm<W: Width>, |sys, op| {
    let b = W::get(sys, op.rb());
    let r = product::<W>(sys, b, op.imm() as i32 as i64 as u64);
    W::set(sys, op.ra(), r)
});

step!(/// Where nobody sees the flags.
ImulRegQuiet<W: Width>, |sys, op| {
    let r = W::get(sys, op.ra()).wrapping_mul(W::get(sys, op.rb()));
    W::set(sys, op.ra(), r)
});

step!(/// Where nobody sees the flags.
ImulImmQuiet<W: Width>, |sys, op| {
    let r = W::get(sys, op.rb()).wrapping_mul(op.imm() as i32 as i64 as u64);
    W::set(sys, op.ra(), r)
});

reader!(ImulMem<W>, W, |sys, op, v| {
    let a = W::get(sys, op.ra());
    let r = product::<W>(sys, a, v);
    W::set(sys, op.ra(), r)
});

#[inline(always)]
fn multiply<W: Width>(sys: &mut System, b: u64) {
    let p = u128::from(W::get(sys, reg::RAX)) * u128::from(b);
    let (low, high) = (p as u64, W::cut((p >> W::BITS) as u64));
    W::set(sys, reg::RAX, low);
    W::set(sys, reg::RDX, high);
    set_product_flags::<W>(sys, low, high != 0);
}

step!(/// MUL of 16, 32 or 64 bits by a register.
MulReg<W: Width>, |sys, op| {
    let b = W::get(sys, op.ra());
    multiply::<W>(sys, b)
});

step!(Bswap<W: Width>, |sys, op| {
    let v = W::get(sys, op.ra()).swap_bytes() >> (64 - W::BITS);
    W::set(sys, op.ra(), v)
});

/// BT of a register or of memory, and an immediate: only CF changes.
struct BitTest<W>(PhantomData<W>);
impl<W: Width> BitTest<W> {
    #[inline(always)]
    fn test(sys: &mut System, v: u64, n: u64) {
        sys.cpu.flags.set_cf(v >> (n & u64::from(W::BITS - 1)) & 1 != 0);
    }
}
impl<W: Width> Step for BitTest<W> {
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let v = W::get(sys, op.ra());
        Self::test(sys, v, op.imm().into());
        true
    }
}
impl<W: Width> Reader for BitTest<W> {
    type Width = W;
    const SLOTS: usize = 2;
    #[inline(always)]
    fn take(sys: &mut System, op: OpRef, v: u64) {
        Self::test(sys, v, op.wide(1));
    }
}

fn lower_bit_test(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    // A register's value may lead beyond the operand.
    if insn.op1_kind() == OpKind::Register {
        return false;
    }
    let n = insn.immediate(1);
    if insn.op0_kind() == OpKind::Register {
        let run = by_width!(insn.op0_register().size(), BitTest);
        b.registers_op(run, [field(insn.op0_register()), 0, 0, 0], n as u32);
        return true;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let run = by_width_and_addr!(insn.memory_size().size(), m.kind, Load, BitTest);
    b.registers_op(run, [0, m.b, m.c, m.d], m.imm);
    b.wide(n);
    true
}

macro_rules! of_shift {
    ($mnemonic:expr, $size:expr, $handler:ident) => {
        match $mnemonic {
            Mnemonic::Shl | Mnemonic::Sal => by_width!($size, $handler, Shl),
            Mnemonic::Shr => by_width!($size, $handler, Shr),
            Mnemonic::Sar => by_width!($size, $handler, Sar),
            Mnemonic::Rol => by_width!($size, $handler, Rol),
            Mnemonic::Ror => by_width!($size, $handler, Ror),
            _ => return false,
        }
    };
}

macro_rules! quiet_shift {
    ($name:ident, $by:ident) => {
        /// The handler of a shift of a register whose flags nobody sees, for the sizes that programs use.
        fn $name(mnemonic: Mnemonic, size: usize) -> Option<Handler> {
            Some(match (mnemonic, size) {
                (Mnemonic::Shl | Mnemonic::Sal, 2) => one::<$by<ShlQuiet, u16>>,
                (Mnemonic::Shl | Mnemonic::Sal, 4) => one::<$by<ShlQuiet, u32>>,
                (Mnemonic::Shl | Mnemonic::Sal, 8) => one::<$by<ShlQuiet, u64>>,
                (Mnemonic::Shr, 2) => one::<$by<ShrQuiet, u16>>,
                (Mnemonic::Shr, 4) => one::<$by<ShrQuiet, u32>>,
                (Mnemonic::Shr, 8) => one::<$by<ShrQuiet, u64>>,
                (Mnemonic::Sar, 2) => one::<$by<SarQuiet, u16>>,
                (Mnemonic::Sar, 4) => one::<$by<SarQuiet, u32>>,
                (Mnemonic::Sar, 8) => one::<$by<SarQuiet, u64>>,
                (Mnemonic::Rol, 2) => one::<$by<RolQuiet, u16>>,
                (Mnemonic::Rol, 4) => one::<$by<RolQuiet, u32>>,
                (Mnemonic::Rol, 8) => one::<$by<RolQuiet, u64>>,
                (Mnemonic::Ror, 2) => one::<$by<RorQuiet, u16>>,
                (Mnemonic::Ror, 4) => one::<$by<RorQuiet, u32>>,
                (Mnemonic::Ror, 8) => one::<$by<RorQuiet, u64>>,
                _ => return None,
            })
        }
    };
}
quiet_shift!(quiet_by_immediate, ByImmediate);
quiet_shift!(quiet_by_cl, ByCl);

/// The count of a shift by an immediate.
fn count(insn: &Instruction, size: usize) -> u8 {
    insn.immediate8() & if size == 8 { 63 } else { 31 }
}

/// Whether a shift or rotate has a handler.
pub(super) fn has_handler(insn: &Instruction, model: &Model) -> bool {
    // Older CPUs set OF otherwise, and the 8086 counts all the way: the slow way knows.
    if insn.op0_kind() != OpKind::Register || model.kind < Kind::Pentium {
        return false;
    }
    if insn.op1_kind() == OpKind::Register {
        insn.op1_register() == Register::CL
    } else {
        count(insn, insn.op0_register().size()) != 0
    }
}

fn lower_shift(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    if !has_handler(insn, &b.model) {
        return false;
    }
    let (size, r) = (class(insn, insn.op0_register().size()), field(insn.op0_register()));
    if insn.op1_kind() == OpKind::Register {
        let run = match quiet_by_cl(insn.mnemonic(), size).filter(|_| !b.flags_needed) {
            Some(run) => run,
            None => of_shift!(insn.mnemonic(), size, ByCl),
        };
        b.registers_op(run, [r, 0, 0, 0], 0);
        return true;
    }
    let n = count(insn, size);
    let quiet = quiet_by_immediate(insn.mnemonic(), size).filter(|_| !b.flags_needed);
    let run = match quiet {
        Some(run) => run,
        None => of_shift!(insn.mnemonic(), size, ByImmediate),
    };
    b.registers_op(run, [r, 0, 0, 0], n.into());
    true
}

fn lower_imul(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    if insn.op_count() < 2 {
        return false;
    }
    let (size, r) = (insn.op0_register().size(), field(insn.op0_register()));
    match (insn.op_count(), insn.op1_kind()) {
        (2, OpKind::Register) => {
            let run = if b.flags_needed { by_width!(size, ImulReg) } else { by_width!(size, ImulRegQuiet) };
            b.registers_op(run, [r, field(insn.op1_register()), 0, 0], 0);
        }
        (3, OpKind::Register) => {
            let run = if b.flags_needed { by_width!(size, ImulImm) } else { by_width!(size, ImulImmQuiet) };
            b.registers_op(run, [r, field(insn.op1_register()), 0, 0], insn.immediate(2) as u32);
        }
        (2, OpKind::Memory) => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let run = by_width_and_addr!(size, m.kind, Load, ImulMem);
            b.registers_op(run, [r, m.b, m.c, m.d], m.imm);
        }
        _ => return false,
    }
    true
}

pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    use Code::*;
    match insn.code() {
        Mul_rm16 if insn.op0_kind() == OpKind::Register => {
            b.registers_op(one::<MulReg<u16>>, [field(insn.op0_register()), 0, 0, 0], 0)
        }
        Mul_rm32 if insn.op0_kind() == OpKind::Register => {
            b.registers_op(one::<MulReg<u32>>, [field(insn.op0_register()), 0, 0, 0], 0)
        }
        Mul_rm64 if insn.op0_kind() == OpKind::Register => {
            b.registers_op(one::<MulReg<u64>>, [field(insn.op0_register()), 0, 0, 0], 0)
        }
        Bswap_r32 => b.registers_op(one::<Bswap<u32>>, [field(insn.op0_register()), 0, 0, 0], 0),
        Bswap_r64 => b.registers_op(one::<Bswap<u64>>, [field(insn.op0_register()), 0, 0, 0], 0),
        _ => {
            return match insn.mnemonic() {
                Mnemonic::Imul => lower_imul(insn, b),
                Mnemonic::Bt => lower_bit_test(insn, b),
                Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Rol | Mnemonic::Ror => {
                    lower_shift(insn, b)
                }
                _ => false,
            };
        }
    }
    true
}
