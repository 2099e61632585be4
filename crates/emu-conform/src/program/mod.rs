//! Suites that are programs: they run on a whole machine and tell themselves what they think of it.

mod bench;
pub(crate) mod kernel;
mod lines;
mod qemu_pci;
pub(crate) mod rom;
mod testdev;
mod unittests;

pub(crate) use kernel::Kernel;

use emu_core::cpu::Model;

use crate::report::{Failure, Row};

/// What a program ran on, and what came of it.
pub(crate) struct ProgramReport {
    /// The model.
    pub(crate) model: Model,
    /// Its rows.
    pub(crate) rows: Vec<Row>,
}

/// A failure without states: only words.
fn in_words(case: u64, name: String, remarks: Vec<String>) -> Failure {
    Failure {
        case,
        name,
        bytes: String::new(),
        instruction: String::new(),
        undefined_only: false,
        remarks,
        lines: Vec::new(),
    }
}
