//! A test case: one instruction, from a state to a state.

use std::sync::Arc;

use crate::{Reg, State};

/// What surrounds the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Environment {
    /// Real mode. Exceptions go through the vector table in the case's own memory; memory that the case does not mention
    /// holds zeros, and every port answers FFh.
    Real,
    /// 32-bit user code (compatibility mode, CPL 3) with flat segments and little memory: see [`crate::window`].
    /// Exceptions end the case.
    Flat32,
    /// 64-bit user code, otherwise as [`Self::Flat32`].
    Flat64,
}

impl Environment {
    /// Bits of the default operand size: 16, 32 or 64.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Environment::Real => 16,
            Environment::Flat32 => 32,
            Environment::Flat64 => 64,
        }
    }
}

/// When a case is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// After its one instruction, all iterations of a REP included, or after the exception that it raises.
    Step,
    /// When the CPU halts: an HLT stands behind the instruction, and in the exceptions' handlers.
    Halt,
}

/// Who says that bits are undefined.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MaskSource {
    /// The suite: which of its files, and where in it.
    Suite(Arc<str>),
    /// emu's own list, because the suite says nothing; with the manual it follows.
    Ours(&'static str),
}

impl std::fmt::Display for MaskSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MaskSource::Suite(text) => f.write_str(text),
            MaskSource::Ours(text) => write!(f, "emu: {text}"),
        }
    }
}

/// Bits of a register that may have any value afterwards, as far as the masked comparison is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Which register.
    pub reg: Reg,
    /// The bits.
    pub undefined: u64,
    /// Who says so.
    pub source: MaskSource,
}

/// How exact results must be in the masked comparison. The strict one always wants the very bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Tolerance {
    /// To the bit.
    #[default]
    Exact,
    /// An approximation by its definition: vector registers and the memory operand may have any value.
    Approximate,
    /// x87 results may be the neighbour of the value given, and C1, which tells how they were rounded, may differ
    /// [SDM-1 8.3.10].
    OneUlp,
}

/// A test case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What reports sum up by: the opcode, the instruction's form. Shared by all cases of it.
    pub row: Arc<str>,
    /// The case itself in words, mostly its disassembly; may be empty.
    pub name: String,
    /// Its number in its file.
    pub index: u64,
    /// What surrounds the instruction.
    pub environment: Environment,
    /// When it is over.
    pub end: End,
    /// The instruction's bytes. The target puts them at CS:IP.
    pub code: Vec<u8>,
    /// The state before. Registers without a value have the environment's own.
    pub initial: State,
    /// The state afterwards: only what may have changed. Everything else that `initial` names must be as it was.
    pub last: State,
    /// The exception that it raises, by vector.
    pub exception: Option<u8>,
    /// Linear address of the FLAGS word that an interrupt or exception pushed: a mask of RFLAGS holds for it too.
    pub pushed_flags: Option<u64>,
    /// Bits of RFLAGS that the case speaks of at all; the others are neither loaded nor compared.
    pub status: u64,
    /// Bits that the masked comparison leaves out.
    pub masks: Vec<Mask>,
    /// The destination operand may have any value in the masked comparison, says this source.
    pub undefined_destination: Option<MaskSource>,
    /// How exact the masked comparison is.
    pub tolerance: Tolerance,
}

impl Default for Case {
    fn default() -> Case {
        Case::new(Environment::Real, End::Step)
    }
}

impl Case {
    /// A case without an instruction, that compares all of RFLAGS' status and control bits.
    #[must_use]
    pub fn new(environment: Environment, end: End) -> Case {
        Case {
            row: "".into(),
            name: String::new(),
            index: 0,
            environment,
            end,
            code: Vec::new(),
            initial: State::new(),
            last: State::new(),
            exception: None,
            pushed_flags: None,
            status: 0xFD5,
            masks: Vec::new(),
            undefined_destination: None,
            tolerance: Tolerance::Exact,
        }
    }

    /// All bits of `reg` that the masks declare undefined.
    #[must_use]
    pub fn undefined(&self, reg: Reg) -> u64 {
        self.masks.iter().filter(|m| m.reg == reg).fold(0, |bits, m| bits | m.undefined)
    }

    /// Linear address of the instruction.
    #[must_use]
    pub fn address(&self) -> u64 {
        let ip = self.initial.get(Reg::Rip).unwrap_or(0);
        match self.environment {
            Environment::Real => (self.initial.get(Reg::Cs).unwrap_or(0) << 4) + ip,
            _ => ip,
        }
    }
}
