//! Steps along chains: `mov ecx, [ecx+8]`, whose address is made of the register that it loads.
//!
//! Such loads wait for each other, so their latency counts, not their instructions. Of that the TLB takes a third: the
//! entry's place comes from the address, and the host page from the entry. But a chain's pages often lie in the host as they
//! do in linear memory (flat guests, a kernel's direct map), so that all of them are the same [`LinearPage`]. So the op keeps
//! the last one as a guess: the entry is looked up and compared as ever, but by branches, which the host guesses too, and
//! the load's address waits for nothing but the register. A chain over pages without such an order gives its guess up.

use core::marker::PhantomData;

use iced_x86::Instruction;

use super::addr::{A32B, A32F, A64, A64B, Addr, Kind, MemoryOperand};
use super::moves::reader;
use super::step::{Reader, Step, late_load, one};
use super::width::{Width, field};
use crate::System;
use crate::engine::{Builder, Guess, Handler, OpRef, next};
use crate::mem::LinearPage;

/// Pages other than the guessed one that a chain may come to.
const STRAYS: u32 = 200;

reader!(/// The load itself; its guess stands in the slot behind.
Link<W>, W, 2, |sys, op, v| W::set(sys, op.ra(), v));

/// A [`Link`] with its operand's addressing mode.
pub(super) struct Follow<W, A>(PhantomData<(W, A)>);

impl<W: Width, A: Addr> Step for Follow<W, A> {
    const SLOTS: usize = Link::<W>::SLOTS;
    #[inline(always)]
    fn step(sys: &mut System, op: OpRef) -> bool {
        let Some(lin) = A::lin(sys, op, W::SIZE, false) else { return false };
        let Some(page) = sys.tlb.readable::<W>(lin) else {
            late_load::<Link<W>>(sys, op, lin);
            return false;
        };
        let guess = op.guess(1).page;
        let v = if page == guess {
            guess.read::<W>(lin)
        } else if guess == LinearPage::NONE {
            page.read::<W>(lin)
        } else {
            stray::<W>(sys, op, lin, page);
            return false;
        };
        Link::<W>::take(sys, op, v.to_u64());
        true
    }
}

/// The page is not the one that was guessed.
#[cold]
#[inline(never)]
fn stray<W: Width>(sys: &mut System, op: OpRef, lin: u64, page: LinearPage) {
    let strays = op.guess(1).strays + 1;
    let next_guess = if strays > STRAYS { LinearPage::NONE } else { page };
    op.set_guess(1, Guess { page: next_guess, strays });
    Link::<W>::take(sys, op, page.read::<W>(lin).to_u64());
    next!(sys, op, Link::<W>::SLOTS)
}

/// Lowers a load of memory operand `m` if it is such a step.
pub(super) fn lower(insn: &Instruction, m: MemoryOperand, b: &mut Builder<'_>) -> bool {
    let to = field(insn.op0_register());
    let run: Handler = match (insn.op0_register().size(), m.kind) {
        _ if to != m.b && to != m.c => return false,
        (4, Kind::A32B) => one::<Follow<u32, A32B>>,
        (4, Kind::A32F) => one::<Follow<u32, A32F>>,
        (4, Kind::A64B) => one::<Follow<u32, A64B>>,
        (4, Kind::A64) => one::<Follow<u32, A64>>,
        (8, Kind::A64B) => one::<Follow<u64, A64B>>,
        (8, Kind::A64) => one::<Follow<u64, A64>>,
        _ => return false,
    };
    b.registers_op(run, [to, m.b, m.c, m.d], m.imm);
    b.guess();
    true
}
