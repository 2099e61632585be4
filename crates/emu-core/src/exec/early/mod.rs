//! What instructions do otherwise on the 8086, 80186 and 80286 than on later CPUs: flags that the manuals leave undefined,
//! results on the way to a divide error, and instructions that only they have.
//!
//! The chips compute flags with the steps of their microcode; the functions here do those steps. They were derived from
//! captures of an 8086 and an 80286 (the single-step suites), and agree with published readings of the 8086's microcode.
//! The 80186 is taken to be as the 80286: no captures of one were at hand.

mod bcd;
mod misc;
mod muldiv;
mod shift;

use iced_x86::{Code, Instruction, Register};

use super::{Exec, Lookup};
use crate::cpu::Model;
use crate::cpu::model::{Feature, Kind};

/// Classes that the models up to the 80286 share.
const SHARED: &[Lookup] = &[bcd::lookup, shift::lookup, misc::lookup];

/// What `code` does on `model`, if that is not what it does on others.
pub(super) fn lookup(model: &Model, code: Code) -> Option<Exec> {
    if model.kind <= Kind::I80386 && !model.has(Feature::Fpu) && misc::is_escape(code) {
        return Some(if model.kind.wraps() { misc::escape } else { misc::escape_checked });
    }
    let own = match model.kind {
        Kind::I8086 => misc::lookup_i8086(code).or_else(|| muldiv::lookup_i8086(code)),
        Kind::I80186 | Kind::I80286 => muldiv::lookup_i80286(code),
        _ => return None,
    };
    own.or_else(|| SHARED.iter().find_map(|lookup| lookup(code)))
}

/// Whether `insn` may go on elsewhere though it does not look like a jump: up to the 80186, a divide error is an interrupt
/// that returns behind it, and CS can be loaded by itself.
pub(super) fn leaves_next(model: &Model, insn: &Instruction) -> bool {
    use Code::*;
    model.kind.wraps()
        && match insn.code() {
            Div_rm8 | Div_rm16 | Idiv_rm8 | Idiv_rm16 | Aam_imm8 => true,
            Popw_CS | Mov_Sreg_rm16 => insn.op0_register() == Register::CS,
            _ => false,
        }
}
