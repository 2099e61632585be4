//! What instructions do.
//!
//! Two tiers, one engine. [`hot`] lowers the common instructions to handlers of their own, specialised by operand size and
//! form. Everything else is executed from its decoded form: a function of type [`Exec`] for each iced `Code`, grouped by
//! class in the files beside this one, each with a `lookup`.
//!
//! Rules for an [`Exec`]: raise every fault before changing state (memory helpers do nothing when they fail); an instruction
//! that changes RIP finds RIP behind itself already and sets it; one that changes what may interrupt sets
//! `sys.cpu.shadow` or calls [`System::request_leave`].

mod alu;
mod available;
mod avx;
mod bcd;
mod bits;
mod bmi;
mod control;
mod convert;
mod cpuid;
mod early;
mod exchange;
mod far;
mod far_return;
mod fast_call;
mod flags;
pub(crate) mod hot;
mod io;
mod misc;
mod mmx;
mod muldiv;
pub(crate) mod operands;
mod segment;
mod shift;
pub(crate) mod sse;
mod stack;
mod string;
mod system;
mod tables;
mod transfer;
mod x87;
mod xsave;

use iced_x86::{Code, Instruction};

pub(crate) use available::{accepts, decoder_options, longest};
pub(crate) use fast_call::FlatSegments;

use crate::System;
use crate::cpu::{Model, Outcome};

/// Executes one instruction from its decoded form.
pub(crate) type Exec = fn(&mut System, &Instruction) -> Outcome;

type Lookup = fn(Code) -> Option<Exec>;

/// The classes; the first that knows a code has it.
const CLASSES: &[Lookup] = &[
    transfer::lookup,
    control::lookup,
    alu::lookup,
    shift::lookup,
    muldiv::lookup,
    bits::lookup,
    bmi::lookup,
    convert::lookup,
    exchange::lookup,
    bcd::lookup,
    stack::lookup,
    string::lookup,
    io::lookup,
    flags::lookup,
    misc::lookup,
    cpuid::lookup,
    sse::lookup,
    avx::lookup,
    mmx::lookup,
    x87::lookup,
    xsave::lookup,
    segment::lookup,
    far::lookup,
    far_return::lookup,
    tables::lookup,
    system::lookup,
    fast_call::lookup,
];

/// Whether nothing behind `insn` belongs to its block, though it does not look like a jump to the decoder.
pub(crate) fn leaves_next(model: &Model, insn: &Instruction) -> bool {
    early::leaves_next(model, insn)
}

/// `Code` to function: one flat table for one CPU model. What the model does not have is not in it.
pub(crate) struct ExecTable {
    entries: Box<[Entry]>,
    /// Whether instructions may have handlers of their own.
    pub(crate) handlers: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    exec: Option<Exec>,
    /// The model takes the opcode for what the decoder does.
    plain: bool,
}

impl ExecTable {
    pub(crate) fn new(model: &Model) -> ExecTable {
        let find = |code| {
            let meant = available::meaning(model, code);
            let own = early::lookup(model, meant);
            let common = || CLASSES.iter().find_map(|lookup| lookup(meant)).filter(|_| available::has(model, meant));
            Entry { exec: own.or_else(common), plain: meant == code && own.is_none() }
        };
        ExecTable { entries: Code::values().map(find).collect(), handlers: true }
    }

    pub(crate) fn get(&self, code: Code) -> Option<Exec> {
        self.entries.get(code as usize)?.exec
    }

    /// Whether the model has the instruction, and takes its opcode for what the decoder does.
    pub(crate) fn is_ordinary(&self, code: Code) -> bool {
        self.entries.get(code as usize).is_some_and(|e| e.plain && e.exec.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::model::{FEATURES, MODELS};

    /// Codes that need no function, or have none yet, with the reason.
    fn excepted(code: Code) -> Option<&'static str> {
        use Code::*;
        Some(match code {
            Ud0 | Ud0_r16_rm16 | Ud0_r32_rm32 | Ud0_r64_rm64 | Ud1_r16_rm16 | Ud1_r32_rm32 | Ud1_r64_rm64 | Ud2
            | INVALID => "raises #UD, as what nothing executes does",
            DeclareByte | DeclareWord | DeclareDword | DeclareQword | Zero_bytes => "no instruction",
            Fclex | Fdisi | Feni | Finit | Fsetpm | Fsave_m94byte | Fsave_m108byte | Fstcw_m2byte | Fstenv_m14byte
            | Fstenv_m28byte | Fstsw_AX | Fstsw_m2byte => "FWAIT and another instruction",
            Ibts_rm16_r16 | Ibts_rm32_r32 | Xbts_r16_rm16 | Xbts_r32_rm32 => "steppings of the 80386 before B1 only",
            Storeall => "no model has its in-circuit emulation",
            Rsm | Invpcid_r32_m128 | Invpcid_r64_m128 => {
                "system management and process contexts: with the system behaviour"
            }
            _ => return None,
        })
    }

    /// Whatever instruction some model has, with all features that there are or with its own, is executed.
    #[test]
    fn every_instruction_of_every_model_is_executed() {
        let mut missing = std::collections::BTreeSet::new();
        for (_, kind) in MODELS {
            let plain = Model::new(*kind);
            let full = FEATURES.iter().fold(plain, |m, (f, _)| m.with(*f, true));
            for model in [plain, full] {
                let table = ExecTable::new(&model);
                let has = |code: &Code| available::has(&model, available::meaning(&model, *code));
                let lacks = |code: &Code| table.get(*code).is_none() && excepted(*code).is_none();
                missing.extend(Code::values().filter(has).filter(lacks).map(|c| format!("{c:?}")));
            }
        }
        assert!(missing.is_empty(), "no function for {missing:?}");
    }

    /// The other way round: no function is there for what no model could ever have.
    #[test]
    fn every_function_serves_a_model() {
        let full = |kind| FEATURES.iter().fold(Model::new(kind), |m, (f, _)| m.with(*f, true));
        let models: Vec<Model> = MODELS.iter().map(|(_, kind)| full(*kind)).collect();
        let known = |code: &Code| CLASSES.iter().any(|lookup| lookup(*code).is_some());
        let unused = |code: &Code| !models.iter().any(|m| available::has(m, *code));
        let unused: Vec<Code> = Code::values().filter(known).filter(unused).collect();
        assert!(unused.is_empty(), "no model has {unused:?}");
    }
}
