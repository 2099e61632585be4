//! The common SSE and AVX instructions as handlers of their own.
//!
//! A handler does only what nearly always happens: SSE is enabled, memory is in the TLB and aligned as it must be,
//! MXCSR is in its default mode with PE set, operands and results are ordinary. In every other case it executes the
//! instruction from its decoded form, whose number stands in the slot behind the op; so the rules for faults and
//! exceptions are in one place only, [`crate::exec::sse`].
//!
//! Operands of an op: `a` is the register that is not in memory; `b` the other register, or base; `c` the index and `d`
//! its scale; `imm` the displacement. The slot behind it holds the decoded form's number in bits 31:0 and the
//! instruction's immediate byte in bits 39:32.

mod address;
mod avx;
mod float;
mod integer;
mod moves;

use iced_x86::{EncodingKind, Instruction};

use crate::System;
use crate::cpu::bits::{CR0_EM, CR0_TS, CR4_OSFXSR};
use crate::engine::{Builder, Handler, OpRef, next, run_decoded};
use address::{Flat32, Flat64, Form, Memory, Place, Register, Relative, Source};

/// An operation of a register and a source, as handlers for every form of source.
trait Shape {
    /// The handler.
    fn run<S: Source>(sys: &mut System, op: OpRef);
}

/// A store of a register, as handlers for every form of address.
trait Store {
    /// The handler.
    fn run<A: address::Address>(sys: &mut System, op: OpRef);
}

fn select<H: Shape>(form: Form) -> Handler {
    match form {
        Form::Register => H::run::<Register>,
        Form::Flat32 => H::run::<Memory<Flat32>>,
        Form::Flat64 => H::run::<Memory<Flat64>>,
        Form::Relative => H::run::<Memory<Relative>>,
    }
}

/// `None` for a store to a register, which is a move.
fn select_store<H: Store>(form: Form) -> Option<Handler> {
    Some(match form {
        Form::Register => return None,
        Form::Flat32 => H::run::<Flat32>,
        Form::Flat64 => H::run::<Flat64>,
        Form::Relative => H::run::<Relative>,
    })
}

/// Lowers `insn` if it is a common SSE instruction in a common form.
pub(super) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    if insn.encoding() == EncodingKind::VEX {
        return avx::lower(insn, b);
    }
    let Some(place) = Place::of(insn, b.mode) else { return false };
    let code = insn.code();
    let handler = integer::lookup(code, place.form)
        .or_else(|| float::lookup(code, place.form))
        .or_else(|| moves::lookup(code, place.form));
    let (Some(run), Some(exec)) = (handler, crate::exec::sse::lookup(code)) else { return false };
    b.registers_op(run, place.registers, place.displacement);
    let number = b.decoded(exec, insn);
    let imm = if insn.op_count() > 0 && insn.op_kind(insn.op_count() - 1) == iced_x86::OpKind::Immediate8 {
        insn.immediate8()
    } else {
        0
    };
    b.wide(u64::from(number) | u64::from(imm) << 32);
    true
}

/// Whether SSE instructions raise neither #UD nor #NM.
#[inline(always)]
fn enabled(sys: &System) -> bool {
    sys.cpu.cr0 & (CR0_EM | CR0_TS) == 0 && sys.cpu.cr4 & CR4_OSFXSR != 0
}

/// The immediate byte.
#[inline(always)]
fn immediate(op: OpRef) -> u8 {
    (op.wide(1) >> 32) as u8
}

#[inline(always)]
fn xmm(sys: &System, n: usize) -> [u8; 16] {
    vector_of(&sys.cpu.xmm[n & 15])
}

#[inline(always)]
fn set_xmm(sys: &mut System, n: usize, v: [u8; 16]) {
    set_vector(&mut sys.cpu.xmm[n & 15], v);
}

/// A register's bytes, copied as such where the host's order allows it. By way of an integer the compiler would take the
/// vector apart with shifts, and rarely find back to the host's vector instructions.
#[inline(always)]
fn vector_of(register: &u128) -> [u8; 16] {
    if cfg!(target_endian = "little") { *bytemuck::cast_ref(register) } else { register.to_le_bytes() }
}

/// Writes a register's bytes, as [`vector_of`] reads them.
#[inline(always)]
fn set_vector(register: &mut u128, v: [u8; 16]) {
    if cfg!(target_endian = "little") {
        *bytemuck::cast_mut(register) = v;
    } else {
        *register = u128::from_le_bytes(v);
    }
}

/// Executes the instruction from its decoded form.
#[cold]
#[inline(never)]
fn slow(sys: &mut System, op: OpRef) {
    if run_decoded(sys, op, op.wide(1) as u32) {
        next!(sys, op, 2)
    }
}
