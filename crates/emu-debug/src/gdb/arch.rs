//! x86 in gdbstub's types. One set serves all widths: which registers there are is told by the target description, so
//! here a register file is bytes, and a register a number.

use gdbstub::arch::{Arch, RegId, Registers};

/// x86 of any width.
#[derive(Debug)]
pub(super) enum X86 {}

impl Arch for X86 {
    type Usize = u64;
    type Registers = RegisterFile;
    type BreakpointKind = usize;
    type RegId = RegisterNumber;
}

/// All registers, in the order of the target description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RegisterFile {
    pub(super) pc: u64,
    pub(super) bytes: Vec<u8>,
}

impl Registers for RegisterFile {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.pc
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        self.bytes.iter().for_each(|b| write_byte(Some(*b)));
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.bytes = bytes.to_vec();
        Ok(())
    }
}

/// The number of a register in the target description.
#[derive(Clone, Copy, Debug)]
pub(super) struct RegisterNumber(pub(super) usize);

impl RegId for RegisterNumber {
    fn from_raw_id(id: usize) -> Option<(Self, Option<core::num::NonZeroUsize>)> {
        Some((RegisterNumber(id), None))
    }
}
