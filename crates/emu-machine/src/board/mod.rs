//! Boards: which chips a machine has, and how they are wired. Wiring only; chips live in emu-devices.

mod cmos;
mod drives;
mod kernel;
mod memory;
pub(crate) mod pc;
mod rom;

pub(crate) use drives::first_cd_place;
