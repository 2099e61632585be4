//! The common instructions, lowered to handlers of their own: specialised by operand size, form and addressing mode.
//!
//! A handler must give the same bits as the function that executes the same instruction from its decoded form, undefined
//! flags included: which of the two runs depends on where deadlines fall.

mod addr;
mod alu;
pub(crate) mod control;
mod follow;
mod fused;
mod fusions;
mod io;
mod jumps;
mod moves;
pub(crate) mod segment;
mod shift;
mod sse;
mod stack;
mod step;
pub(crate) mod transit;
mod width;
mod x87;

use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, RflagsBits};

use crate::cpu::Model;
use crate::engine::Builder;

/// Lowers `insn` if it is a common one.
pub(crate) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    alu::lower(insn, b)
        || moves::lower(insn, b)
        || jumps::lower(insn, b)
        || stack::lower(insn, b)
        || x87::lower(insn, b)
        || shift::lower(insn, b)
        || sse::lower(insn, b)
        || io::lower(insn, b)
}

pub(crate) use fusions::Fusions;
pub(crate) use x87::Region as X87Region;

/// Lowers a jump to what stands `delta` bytes from the block's start, in the same page.
pub(crate) fn lower_jump(delta: i32, b: &mut Builder<'_>) {
    jumps::lower_jmp(delta, b);
}

/// Lowers two instructions as one op, if they are a common pair. `b.offset` is that of the second.
pub(crate) fn lower_pair(first: &Instruction, second: &Instruction, b: &mut Builder<'_>) -> bool {
    fused::lower(first, second, b)
}

/// What an instruction at or right behind which nothing can stop the chain does to the flags, as the decoder's
/// [`RflagsBits`].
#[derive(Clone, Copy)]
pub(crate) struct Quiet {
    /// Reads these.
    pub(crate) reads: u32,
    /// May change these.
    pub(crate) changes: u32,
    /// Always changes these, whatever they were.
    pub(crate) replaces: u32,
}

/// For an instruction that touches registers only, and has a handler here on every model that gets so far.
pub(crate) fn quiet(insn: &Instruction, model: &Model) -> Option<Quiet> {
    use Mnemonic::*;
    let registers_only = (0..insn.op_count()).all(|n| match insn.op_kind(n) {
        OpKind::Register => insn.op_register(n).is_gpr(),
        OpKind::Memory => insn.mnemonic() == Lea,
        _ => true,
    });
    if !registers_only || insn.has_lock_prefix() {
        return None;
    }
    let by_cl = insn.op_count() == 2 && insn.op1_kind() == OpKind::Register;
    let (reads, changes) = (insn.rflags_read(), insn.rflags_modified());
    let replaces = match insn.mnemonic() {
        Add | Or | Adc | Sbb | And | Sub | Xor | Cmp | Test | Inc | Dec | Neg | Not | Mov | Movzx | Movsx | Movsxd
        | Lea | Bswap | Cbw | Cwde | Cdqe | Cwd | Cdq | Cqo => changes,
        Xchg => changes,
        Imul if insn.op_count() > 1 => changes,
        Mul if insn.op0_register().size() > 1 => changes,
        _ if insn.condition_code() != ConditionCode::None && !insn.is_jcc_short_or_near() => changes,
        Shl | Shr | Sar | Rol | Ror if !shift::has_handler(insn, model) => return None,
        // A count of 0 leaves all flags alone.
        Shl | Shr | Sar | Rol | Ror if by_cl => 0,
        Shl | Shr | Sar => changes,
        // OF stays, but for a count of 1.
        Rol | Ror => RflagsBits::CF,
        _ => return None,
    };
    Some(Quiet { reads, changes, replaces })
}
