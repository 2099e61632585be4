//! Pairs that run as one op: CMP or TEST of registers and immediates, followed by a conditional jump.
//!
//! Only pairs without a memory operand: nothing can stop the chain between the two. The condition is computed from the
//! operands, and the flags are stored beside it for whoever comes after.

use core::marker::PhantomData;

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::jumps::{Ip, Ip16, Ip32, Ip64, branch, branch_delta, is_natural};
use super::moves::{by_condition, condition};
use super::step::{End, end};
use super::width::{Low8, Width, class, field};
use crate::System;
use crate::cpu::Mode;
use crate::cpu::flags::sign_extend;
use crate::engine::{Builder, Handler, OpRef};

/// The first of the pair.
pub(super) trait Compare {
    /// Sets the flags, and tells whether condition `CC` holds.
    fn run<const CC: u8, W: Width>(sys: &mut System, a: u64, b: u64) -> bool;
}

pub(super) struct Cmp;
impl Compare for Cmp {
    #[inline(always)]
    fn run<const CC: u8, W: Width>(sys: &mut System, a: u64, b: u64) -> bool {
        sys.cpu.flags.set_difference(a, b, a.wrapping_sub(b), W::BITS);
        let (sa, sb) = (sign_extend(a, W::BITS) as i64, sign_extend(b, W::BITS) as i64);
        match CC {
            2 => a < b,
            3 => a >= b,
            4 => a == b,
            5 => a != b,
            6 => a <= b,
            7 => a > b,
            12 => sa < sb,
            13 => sa >= sb,
            14 => sa <= sb,
            15 => sa > sb,
            _ => sys.cpu.flags.condition(CC),
        }
    }
}

pub(super) struct Test;
impl Compare for Test {
    #[inline(always)]
    fn run<const CC: u8, W: Width>(sys: &mut System, a: u64, b: u64) -> bool {
        sys.cpu.flags.set_logic(a & b, W::BITS);
        sys.cpu.flags.condition(CC)
    }
}

/// A comparison of registers, and its jump.
pub(super) struct OfRegisters<const CC: u8, C, W, I>(PhantomData<(C, W, I)>);
impl<const CC: u8, C: Compare, W: Width, I: Ip> End for OfRegisters<CC, C, W, I> {
    #[inline(always)]
    fn end(sys: &mut System, op: OpRef) {
        let (a, b) = (W::get(sys, op.ra()), W::get(sys, op.rb()));
        let taken = C::run::<CC, W>(sys, a, b);
        branch!(sys, I, op, 1, taken)
    }
}

/// A comparison of a register and an immediate, and its jump.
pub(super) struct OfImmediate<const CC: u8, C, W, I>(PhantomData<(C, W, I)>);
impl<const CC: u8, C: Compare, W: Width, I: Ip> End for OfImmediate<CC, C, W, I> {
    #[inline(always)]
    fn end(sys: &mut System, op: OpRef) {
        let (a, b) = (W::get(sys, op.ra()), W::cut(op.imm() as i32 as i64 as u64));
        let taken = C::run::<CC, W>(sys, a, b);
        branch!(sys, I, op, 1, taken)
    }
}

macro_rules! pair_handler {
    ($name:ident, $c:ty, $f:ident) => {
        fn $name(cc: u8, class: usize, mode: Mode) -> Option<Handler> {
            Some(match (mode.bitness(), class) {
                (16, 0) => by_condition!(cc, |CC| end::<$f<CC, $c, Low8, Ip16>>),
                (16, 2) => by_condition!(cc, |CC| end::<$f<CC, $c, u16, Ip16>>),
                (32, 0) => by_condition!(cc, |CC| end::<$f<CC, $c, Low8, Ip32>>),
                (32, 4) => by_condition!(cc, |CC| end::<$f<CC, $c, u32, Ip32>>),
                (64, 0) => by_condition!(cc, |CC| end::<$f<CC, $c, Low8, Ip64>>),
                (64, 4) => by_condition!(cc, |CC| end::<$f<CC, $c, u32, Ip64>>),
                (64, 8) => by_condition!(cc, |CC| end::<$f<CC, $c, u64, Ip64>>),
                _ => return None,
            })
        }
    };
}
pair_handler!(cmp_reg, Cmp, OfRegisters);
pair_handler!(cmp_imm, Cmp, OfImmediate);
pair_handler!(test_reg, Test, OfRegisters);
pair_handler!(test_imm, Test, OfImmediate);

/// Lowers `first` and `second` as one op, if they are such a pair. `b.offset` is that of `second`.
pub(super) fn lower(first: &Instruction, second: &Instruction, b: &mut Builder<'_>) -> bool {
    let jump = second.code().is_jcc_short_or_near() && is_natural(second, b.mode) && b.mode.has(Mode::OPEN_LIMIT);
    if !jump || first.op0_kind() != OpKind::Register || first.op1_kind() == OpKind::Memory {
        return false;
    }
    let (cc, size) = (condition(second), class(first, first.op0_register().size()));
    let by_register = first.op1_kind() == OpKind::Register;
    let run = match (first.mnemonic(), by_register) {
        (Mnemonic::Cmp, true) => cmp_reg(cc, size, b.mode),
        (Mnemonic::Cmp, false) => cmp_imm(cc, size, b.mode),
        (Mnemonic::Test, true) => test_reg(cc, size, b.mode),
        (Mnemonic::Test, false) => test_imm(cc, size, b.mode),
        _ => None,
    };
    let Some(run) = run else { return false };
    let source = if by_register { field(first.op1_register()) } else { 0 };
    let imm = if by_register { 0 } else { first.immediate(1) as u32 };
    b.registers_op(run, [field(first.op0_register()), source, 0, 0], imm);
    b.edge(branch_delta(second, b.mode));
    b.edge(i32::from(b.offset) + second.len() as i32);
    true
}
