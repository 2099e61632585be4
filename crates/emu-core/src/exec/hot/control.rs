//! MOV from a control register, and INVLPG: what a page fault's handler begins and ends with.
//!
//! Each has its decoded form behind it, which takes over where the quick way does not apply.

use core::marker::PhantomData;

use iced_x86::{Code, Instruction};

use super::addr::{Addr, MemoryOperand};
use super::width::{Width, field};
use crate::System;
use crate::cpu::model::Kind;
use crate::engine::{Builder, Handler, OpRef, cold, next, run_decoded};
use crate::system::is_canonical;

/// MOV from control register b, which is CR0, CR2 or CR3, to register a; `imm` is the number of its decoded form.
fn mov_from<W: Width>(sys: &mut System, op: OpRef) {
    if sys.cpu.cpl() != 0 {
        return cold(sys, op);
    }
    let value = match op.b() {
        0 => sys.cpu.cr0,
        2 => sys.cpu.cr2,
        _ => sys.cpu.cr3,
    };
    W::set(sys, op.ra(), value);
    next!(sys, op)
}

/// INVLPG of a flat segment's address; the number of its decoded form stands in the slot behind.
struct InvalidatePage<A>(PhantomData<A>);
impl<A: Addr> InvalidatePage<A> {
    fn run(sys: &mut System, op: OpRef) {
        let lin = A::ea(sys, op);
        if sys.cpu.cpl() != 0 || !is_canonical(lin) {
            return by_decoded(sys, op);
        }
        if sys.flush_page(lin) {
            sys.leave = true;
            return sys.stop_behind(op);
        }
        next!(sys, op, 2)
    }
}

#[cold]
#[inline(never)]
fn by_decoded(sys: &mut System, op: OpRef) {
    let number = op.wide(1) as u32;
    if run_decoded(sys, op, number) {
        next!(sys, op, 2)
    }
}

/// The handlers of this file that [`super::lower`] does not know.
pub(crate) const HANDLERS: [Handler; 6] = {
    use super::addr::{A32B, A32F, A64, A64B};
    [
        mov_from::<u32>,
        mov_from::<u64>,
        InvalidatePage::<A32B>::run,
        InvalidatePage::<A32F>::run,
        InvalidatePage::<A64B>::run,
        InvalidatePage::<A64>::run,
    ]
};

/// Lowers `insn` if it is one of these; `decoded` keeps its decoded form.
pub(crate) fn lower(insn: &Instruction, b: &mut Builder<'_>, decoded: impl FnOnce(&mut Builder<'_>) -> u32) -> bool {
    use super::addr::Kind::{A32B, A32F, A64, A64B};
    if b.model.kind < Kind::I80486 {
        return false;
    }
    let code = insn.code();
    if matches!(code, Code::Mov_r32_cr | Code::Mov_r64_cr) {
        let n = insn.op1_register().number();
        if !matches!(n, 0 | 2 | 3) || insn.has_lock_prefix() {
            return false;
        }
        let number = decoded(b);
        let run: Handler = if code == Code::Mov_r64_cr { mov_from::<u64> } else { mov_from::<u32> };
        b.registers_op(run, [field(insn.op0_register()), n as u8, 0, 0], number);
        return true;
    }
    if code != Code::Invlpg_m {
        return false;
    }
    let Some(m) = MemoryOperand::of(insn, b.mode) else { return false };
    let run: Handler = match m.kind {
        A32B => InvalidatePage::<super::addr::A32B>::run,
        A32F => InvalidatePage::<super::addr::A32F>::run,
        A64B => InvalidatePage::<super::addr::A64B>::run,
        A64 => InvalidatePage::<super::addr::A64>::run,
        _ => return false,
    };
    let number = decoded(b);
    b.registers_op(run, [0, m.b, m.c, m.d], m.imm);
    b.wide(number.into());
    true
}
