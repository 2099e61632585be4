//! The common VEX-encoded instructions as handlers of their own, in 64-bit code. They are as the SSE ones: only what nearly
//! always happens, and the decoded form for the rest.
//!
//! Operands of an op: `a` is the destination, or the register that is stored; the upper half of `d` is the number of the
//! first source, the lower one the scale; the rest as for SSE. Memory may lie at any address, unless a handler says else.

mod float;
mod fma;
mod integer;
mod moves;

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::address::{self, Flat64, Form, Memory, Place, Register, Relative, Source};
use super::{Shape, Store, immediate, set_vector, slow, vector_of};
use crate::System;
use crate::cpu::Mode;
use crate::cpu::bits::{CR0_TS, CR4_OSXSAVE};
use crate::engine::{Builder, Handler, OpRef};
use crate::exec::avx::{Halves, XCR0_YMM, ZERO, last_source, width};

/// Lowers `insn` if it is a common VEX-encoded instruction in a common form.
pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    if !b.mode.has(Mode::CODE64) {
        return false;
    }
    if insn.op_count() == 0 {
        return moves::lower_zeroupper(insn, b);
    }
    if matches!(insn.mnemonic(), Mnemonic::Vpblendvb | Mnemonic::Vblendvps | Mnemonic::Vblendvpd) {
        return lower_blend(insn, b);
    }
    let Some(place) = place_of(insn, b.mode) else { return false };
    let (mnemonic, wide) = (insn.mnemonic(), width(insn) == 2);
    let handler = moves::lookup(insn, place.form, wide)
        .or_else(|| integer::lookup(mnemonic, insn, place.form, wide))
        .or_else(|| float::lookup(insn.code(), place.form, wide));
    let mut extra = immediate_of(insn);
    let handler = handler.or_else(|| {
        let (handler, control) = fma::lookup(mnemonic, place.form, wide)?;
        extra = control;
        Some(handler)
    });
    let (Some(run), Some(exec)) = (handler, crate::exec::avx::lookup(insn.code())) else { return false };
    b.registers_op(run, place.registers, place.displacement);
    let number = b.decoded(exec, insn);
    b.wide(u64::from(number) | u64::from(extra) << 32);
    true
}

/// A blend by the signs in its fourth operand.
fn lower_blend(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let number = |n: u32| insn.op_register(n).number() as u8 & 15;
    let place = if insn.op2_kind() == OpKind::Memory {
        Place::in_memory(insn, b.mode, number(0))
    } else {
        Some(Place { form: Form::Register, registers: [number(0), number(2), 0, 0], displacement: 0 })
    };
    let Some(mut place) = place else { return false };
    place.registers[3] |= number(1) << 4;
    let run = integer::blend(insn.mnemonic(), place.form, width(insn) == 2);
    let (Some(run), Some(exec)) = (run, crate::exec::avx::lookup(insn.code())) else { return false };
    b.registers_op(run, place.registers, place.displacement);
    let decoded = b.decoded(exec, insn);
    b.wide(u64::from(decoded) | u64::from(number(3)) << 32);
    true
}

fn immediate_of(insn: &Instruction) -> u8 {
    if insn.op_kind(insn.op_count() - 1) == OpKind::Immediate8 { insn.immediate8() } else { 0 }
}

/// Where the operands are; `None` for forms that have no handlers.
fn place_of(insn: &Instruction, mode: Mode) -> Option<Place> {
    let number = |n: u32| if insn.op_kind(n) == OpKind::Register { insn.op_register(n).number() as u8 & 15 } else { 0 };
    let store = insn.op0_kind() == OpKind::Memory;
    let last = last_source(insn);
    let first = if last == 2 { number(1) << 4 } else { 0 };
    let mut place = if store || insn.op_kind(last) == OpKind::Memory {
        Place::in_memory(insn, mode, if store { number(last) } else { number(0) })?
    } else {
        Place { form: Form::Register, registers: [number(0), number(last), 0, 0], displacement: 0 }
    };
    place.registers[3] |= first;
    Some(place)
}

/// `None` for addresses of 32 bits.
fn select<H: Shape>(form: Form) -> Option<Handler> {
    Some(match form {
        Form::Register => H::run::<Register>,
        Form::Flat64 => H::run::<Memory<Flat64>>,
        Form::Relative => H::run::<Memory<Relative>>,
        Form::Flat32 => return None,
    })
}

fn select_store<H: Store>(form: Form) -> Option<Handler> {
    Some(match form {
        Form::Flat64 => H::run::<Flat64>,
        Form::Relative => H::run::<Relative>,
        Form::Register | Form::Flat32 => return None,
    })
}

/// Whether VEX-encoded instructions on vectors raise neither #UD nor #NM.
#[inline(always)]
fn enabled(sys: &System) -> bool {
    sys.cpu.cr0 & CR0_TS == 0 && sys.cpu.cr4 & CR4_OSXSAVE != 0 && sys.cpu.xcr0 & XCR0_YMM == XCR0_YMM
}

/// Number of the first source.
#[inline(always)]
fn first(op: OpRef) -> usize {
    op.d() >> 4
}

/// A vector register, its upper half only if `WIDE`.
#[inline(always)]
fn halves<const WIDE: bool>(sys: &System, n: usize) -> Halves {
    let high = if WIDE { vector_of(&sys.cpu.ymm_high[n & 15]) } else { ZERO };
    [vector_of(&sys.cpu.xmm[n & 15]), high]
}

/// Writes a vector register, its upper half with zeros unless `WIDE`.
#[inline(always)]
fn set_halves<const WIDE: bool>(sys: &mut System, n: usize, [low, high]: Halves) {
    set_vector(&mut sys.cpu.xmm[n & 15], low);
    set_vector(&mut sys.cpu.ymm_high[n & 15], if WIDE { high } else { ZERO });
}

/// The last source, at any address. `None` asks for the slow path.
#[inline(always)]
fn source<S: Source, const WIDE: bool>(sys: &System, op: OpRef) -> Option<Halves> {
    if WIDE { S::wide(sys, op) } else { S::unaligned(sys, op).map(|low| [low, ZERO]) }
}

/// `f` of each half; zeros above the lower one unless `WIDE`.
#[inline(always)]
fn each<const WIDE: bool>(f: impl Fn(usize) -> [u8; 16]) -> Halves {
    [f(0), if WIDE { f(1) } else { ZERO }]
}
