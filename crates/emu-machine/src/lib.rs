//! Everything around the emulated machine that touches the host: boards, configuration, disk images, direct boot, and
//! the loop that runs a machine beside its front ends.

mod board;
pub mod boot;
pub mod config;
pub mod host;
pub mod image;
pub mod keys;
mod machine;
pub mod profile;
pub mod recording;
mod report;
pub mod screen;
#[cfg(test)]
mod testing;
pub mod vm;

pub use machine::{BuildError, Machine, OutputError};
pub use report::{describe_cpu, describe_death, describe_next, describe_registers};
