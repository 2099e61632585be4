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

use iced_x86::{Code, Instruction};

pub(crate) use available::{accepts, decoder_options, longest};

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
    mmx::lookup,
    x87::lookup,
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
pub(crate) struct ExecTable(Box<[Entry]>);

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
        ExecTable(Code::values().map(find).collect())
    }

    pub(crate) fn get(&self, code: Code) -> Option<Exec> {
        self.0.get(code as usize)?.exec
    }

    /// Whether the model has the instruction, and takes its opcode for what the decoder does.
    pub(crate) fn is_ordinary(&self, code: Code) -> bool {
        self.0.get(code as usize).is_some_and(|e| e.plain && e.exec.is_some())
    }
}
