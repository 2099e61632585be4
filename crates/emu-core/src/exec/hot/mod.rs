//! The common instructions, lowered to handlers of their own.

use iced_x86::Instruction;

use crate::engine::Builder;

/// Lowers `insn` if it is a common one.
pub(crate) fn lower(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let _ = (insn, b);
    false
}
