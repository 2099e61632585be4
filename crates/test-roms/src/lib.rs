//! emu's own guest programs, assembled in Rust: the demo, and small tests with the result that each must give.

mod asm;
mod cells;
mod cp437;
mod demo;
mod floppy;
pub mod roms;

pub use demo::demo_image;
pub use floppy::FLOPPY_BYTES;

/// What the demo says on the debug console when its first page is complete.
pub const READY: &str = "emu demo ready";
