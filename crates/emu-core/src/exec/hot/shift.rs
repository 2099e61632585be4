//! Shifts and rotates of registers, IMUL and MUL.
//!
//! Flags, the undefined ones included, are those that `exec::shift` and `exec::muldiv` give.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::addr::{Addr, MemoryOperand, by_addr};
use super::width::{Width, by_width, field, load};
use crate::System;
use crate::cpu::bits::ZF;
use crate::cpu::flags::sign_extend;
use crate::cpu::model::Kind;
use crate::cpu::reg;
use crate::engine::{Builder, Handler, OpRef, next};

trait Shift {
    /// Shifts `a` by `n`, which is not 0; `by_cl`: the count is CL's, not an immediate.
    fn run<W: Width>(sys: &mut System, a: u64, n: u32, by_cl: bool) -> u64;
}

/// Bit `n` from the top of an operand.
#[inline(always)]
fn from_top<W: Width>(a: u64, n: u32) -> bool {
    a >> (W::BITS - 1 - n) & 1 != 0
}

struct Shl;
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

struct Shr;
impl Shift for Shr {
    #[inline(always)]
    fn run<W: Width>(sys: &mut System, a: u64, n: u32, _: bool) -> u64 {
        let r = a >> n;
        sys.cpu.flags.set_result(r, W::BITS, a >> (n - 1) & 1 != 0, from_top::<W>(a, 0), false);
        r
    }
}

struct Sar;
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
    let n = n % W::BITS;
    if n == 0 { a } else { W::cut(a << n | a >> (W::BITS - n)) }
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

fn by_immediate<S: Shift, W: Width>(sys: &mut System, op: OpRef) {
    let a = W::get(sys, op.a());
    let r = S::run::<W>(sys, a, op.imm(), false);
    W::set(sys, op.a(), r);
    next!(sys, op)
}

fn by_cl<S: Shift, W: Width>(sys: &mut System, op: OpRef) {
    let n = sys.cpu.regs[reg::RCX] as u32 & if W::BITS == 64 { 63 } else { 31 };
    let a = W::get(sys, op.a());
    // A count of 0 changes nothing, but a 32-bit register loses its upper half all the same.
    let r = if n != 0 { S::run::<W>(sys, a, n, true) } else { a };
    W::set(sys, op.a(), r);
    next!(sys, op)
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

fn imul_reg<W: Width>(sys: &mut System, op: OpRef) {
    let (a, b) = (W::get(sys, op.a()), W::get(sys, op.b()));
    let r = product::<W>(sys, a, b);
    W::set(sys, op.a(), r);
    next!(sys, op)
}

fn imul_imm<W: Width>(sys: &mut System, op: OpRef) {
    let b = W::get(sys, op.b());
    let r = product::<W>(sys, b, op.imm() as i32 as i64 as u64);
    W::set(sys, op.a(), r);
    next!(sys, op)
}

fn imul_mem<W: Width, A: Addr>(sys: &mut System, op: OpRef) {
    let Some(lin) = A::lin(sys, op, W::SIZE, false) else { return };
    let Some(b) = load::<W>(sys, op, lin) else { return };
    let a = W::get(sys, op.a());
    let r = product::<W>(sys, a, b);
    W::set(sys, op.a(), r);
    next!(sys, op)
}

/// MUL of 16, 32 or 64 bits by a register.
fn mul_reg<W: Width>(sys: &mut System, op: OpRef) {
    let p = u128::from(W::get(sys, reg::RAX)) * u128::from(W::get(sys, op.a()));
    let (low, high) = (p as u64, W::cut((p >> W::BITS) as u64));
    W::set(sys, reg::RAX, low);
    W::set(sys, reg::RDX, high);
    set_product_flags::<W>(sys, low, high != 0);
    next!(sys, op)
}

fn bswap<W: Width>(sys: &mut System, op: OpRef) {
    let v = W::get(sys, op.a()).swap_bytes() >> (64 - W::BITS);
    W::set(sys, op.a(), v);
    next!(sys, op)
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

fn lower_shift(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    // Older CPUs set OF otherwise, and the 8086 counts all the way: the slow way knows.
    if insn.op0_kind() != OpKind::Register || b.model.kind < Kind::Pentium {
        return false;
    }
    let (size, r) = (insn.op0_register().size(), field(insn.op0_register()));
    if insn.op1_kind() == OpKind::Register {
        if insn.op1_register() != Register::CL {
            return false;
        }
        let run: Handler = of_shift!(insn.mnemonic(), size, by_cl);
        b.op(run, [r, 0, 0, 0], 0);
        return true;
    }
    let n = insn.immediate8() & if size == 8 { 63 } else { 31 };
    if n == 0 {
        return false;
    }
    let run: Handler = of_shift!(insn.mnemonic(), size, by_immediate);
    b.op(run, [r, 0, 0, 0], n.into());
    true
}

fn lower_imul(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    if insn.op_count() < 2 {
        return false;
    }
    let (size, r) = (insn.op0_register().size(), field(insn.op0_register()));
    match (insn.op_count(), insn.op1_kind()) {
        (2, OpKind::Register) => {
            let run: Handler = by_width!(size, imul_reg);
            b.op(run, [r, field(insn.op1_register()), 0, 0], 0);
        }
        (3, OpKind::Register) => {
            let run: Handler = by_width!(size, imul_imm);
            b.op(run, [r, field(insn.op1_register()), 0, 0], insn.immediate(2) as u32);
        }
        (2, OpKind::Memory) => {
            let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
            let run: Handler = match size {
                2 => by_addr!(m.kind, imul_mem, u16),
                4 => by_addr!(m.kind, imul_mem, u32),
                _ => by_addr!(m.kind, imul_mem, u64),
            };
            b.op(run, [r, m.b, m.c, m.d], m.imm);
        }
        _ => return false,
    }
    true
}

pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    use Code::*;
    match insn.code() {
        Mul_rm16 if insn.op0_kind() == OpKind::Register => {
            b.op(mul_reg::<u16>, [field(insn.op0_register()), 0, 0, 0], 0)
        }
        Mul_rm32 if insn.op0_kind() == OpKind::Register => {
            b.op(mul_reg::<u32>, [field(insn.op0_register()), 0, 0, 0], 0)
        }
        Mul_rm64 if insn.op0_kind() == OpKind::Register => {
            b.op(mul_reg::<u64>, [field(insn.op0_register()), 0, 0, 0], 0)
        }
        Bswap_r32 => b.op(bswap::<u32>, [field(insn.op0_register()), 0, 0, 0], 0),
        Bswap_r64 => b.op(bswap::<u64>, [field(insn.op0_register()), 0, 0, 0], 0),
        _ => {
            return match insn.mnemonic() {
                Mnemonic::Imul => lower_imul(insn, b),
                Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Rol | Mnemonic::Ror => {
                    lower_shift(insn, b)
                }
                _ => false,
            };
        }
    }
    true
}
