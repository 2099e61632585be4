//! The common instructions, lowered to handlers of their own: specialised by operand size, form and addressing mode.
//!
//! A handler must give the same bits as the function that executes the same instruction from its decoded form, undefined
//! flags included: which of the two runs depends on where deadlines fall.

mod addr;
mod alu;
mod fused;
mod jumps;
mod moves;
mod shift;
mod sse;
mod stack;
mod width;
mod x87;

use iced_x86::{Instruction, Mnemonic, OpKind};

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
}

/// Lowers two instructions as one op, if they are a common pair. `b.offset` is that of the second.
pub(crate) fn lower_pair(first: &Instruction, second: &Instruction, b: &mut Builder<'_>) -> bool {
    fused::lower(first, second, b)
}

/// Whether nothing can stop the chain at or right behind `insn`: it touches registers only, and has a handler here.
pub(crate) fn is_quiet(insn: &Instruction) -> bool {
    use Mnemonic::*;
    let registers_only = (0..insn.op_count()).all(|n| match insn.op_kind(n) {
        OpKind::Register => insn.op_register(n).is_gpr(),
        OpKind::Memory => insn.mnemonic() == Lea,
        _ => true,
    });
    let known = matches!(
        insn.mnemonic(),
        Add | Or
            | Adc
            | Sbb
            | And
            | Sub
            | Xor
            | Cmp
            | Test
            | Inc
            | Dec
            | Neg
            | Not
            | Mov
            | Movzx
            | Movsx
            | Movsxd
            | Lea
    );
    registers_only && known && !insn.has_lock_prefix()
}
