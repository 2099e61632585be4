//! What instructions do otherwise on the 8086, 80186 and 80286 than on later CPUs: flags that the manuals leave undefined,
//! results on the way to a divide error; and instructions that only early CPUs have, up to the 80486.
//!
//! The chips compute flags with the steps of their microcode; the functions here do those steps. They were derived from
//! captures of an 8086 and an 80286 (the single-step suites), and agree with published readings of the 8086's microcode.
//! The 80186 is taken to be as the 80286: no captures of one were at hand.

mod bcd;
mod loadall;
mod misc;
mod muldiv;
mod shift;
mod x87;

use iced_x86::{Code, Instruction, Register};

use super::{Exec, Lookup, available};
use crate::cpu::Model;
use crate::cpu::model::{Feature, Kind};

/// Classes that the models up to the 80286 share.
const SHARED: &[Lookup] = &[bcd::lookup, shift::lookup, x87::lookup];

/// What `code` does on `model`, if that is not what it does on others.
pub(super) fn lookup(model: &Model, code: Code) -> Option<Exec> {
    // Up to the 387, a unit ignores what it does not know; without one, nobody answers [AP-485, "no FPU" of the i486 SX].
    let absent = !model.has(Feature::Fpu) || (model.kind <= Kind::I80386 && !available::has(model, code));
    if absent && misc::is_escape(code) {
        return Some(if model.kind.wraps() { misc::escape } else { misc::escape_checked });
    }
    let own = match model.kind {
        Kind::I8086 => misc::lookup_i8086(code).or_else(|| muldiv::lookup_i8086(code)),
        Kind::I80186 => muldiv::lookup_i80286(code),
        Kind::I80286 => loadall::lookup_i80286(code).or_else(|| muldiv::lookup_i80286(code)),
        Kind::I80386 => return loadall::lookup_i80386(code).or_else(|| misc::lookup_icemove(code)),
        Kind::I80486 => return misc::lookup_icemove(code),
        _ => return None,
    };
    own.or_else(|| SHARED.iter().find_map(|lookup| lookup(code)))
}

/// Whether `insn` may go on elsewhere though it does not look like a jump: up to the 80186, a divide error is an interrupt
/// that returns behind it, and CS can be loaded by itself; LOADALL loads everything.
pub(super) fn leaves_next(model: &Model, insn: &Instruction) -> bool {
    use Code::*;
    match insn.code() {
        Div_rm8 | Div_rm16 | Idiv_rm8 | Idiv_rm16 | Aam_imm8 => model.kind.wraps(),
        Popw_CS | Mov_Sreg_rm16 => model.kind.wraps() && insn.op0_register() == Register::CS,
        Loadall286 | Loadall386 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ExecTable;
    use super::*;

    /// The 8086 has no #UD: whatever its decoder gives can be executed.
    #[test]
    fn every_opcode_of_the_8086_can_be_executed() {
        for on in [false, true] {
            let table = ExecTable::new(&Model::new(Kind::I8086).with(Feature::Fpu, on));
            for n in 0..=0xFFFFu16 {
                let [opcode, modrm] = n.to_le_bytes();
                let code = crate::engine::decode_i8086(&[opcode, modrm, 0x12, 0x34, 0x56, 0x78]).map(|i| i.code());
                assert!(code.is_some_and(|c| table.get(c).is_some()), "{opcode:02x} {modrm:02x} {code:?}");
            }
        }
    }

    /// What the models have by themselves, and no other: LOADALL, UMOV, test registers.
    #[test]
    fn instructions_of_one_generation() {
        let on = |kind, code| lookup(&Model::new(kind), code).is_some();
        for kind in [Kind::I80186, Kind::I80286, Kind::I80386, Kind::I80486, Kind::Pentium] {
            assert_eq!(on(kind, Code::Loadall286), kind == Kind::I80286);
            assert_eq!(on(kind, Code::Loadall386), kind == Kind::I80386);
            let mid = kind == Kind::I80386 || kind == Kind::I80486;
            assert_eq!((on(kind, Code::Umov_r8_rm8), on(kind, Code::Mov_r32_tr)), (mid, mid));
        }
    }
}
