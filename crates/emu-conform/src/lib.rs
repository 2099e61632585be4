//! Conformance of an x86 CPU: what a real one did for one instruction, and whether another does the same.
//!
//! A [`Case`] is a state of the CPU, an instruction, and the state afterwards. A [`Target`] is a CPU that can be put into
//! a state, stepped, and read back: [`EmuTarget`] is emu's own. [`compare`] tells how well what it did agrees with the
//! case, twice: *strictly*, in every bit, and *masked*, without the bits that nobody defines. A case is written by hand or
//! drawn at random as easily as it is read from a file; the readers of files are in [`suite`].
//!
//! `examples/one_case.rs` shows the whole of it in some thirty lines.

pub mod against;
mod case;
mod compare;
mod emu;
pub mod file;
pub mod fuzz;
pub mod hash;
mod program;
pub mod report;
pub mod run;
mod state;
pub mod suite;
mod target;
pub mod undefined;

pub use case::{Case, End, Environment, Mask, MaskSource, Tolerance};
pub use compare::{Comparison, Difference, compare};
pub use emu::{EmuTarget, window};
pub use emu_core::cpu::Model;
pub use emu_core::fpu::F80;
pub use state::{Place, Reg, State};
pub use target::{Event, Outcome, Target, TargetError, ask};
