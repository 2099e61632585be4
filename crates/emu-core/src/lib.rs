//! The core of emu: CPU, guest memory, bus and device traits, virtual clock, event queue, state format.
//!
//! It knows no chip and no host facility: no host time, files, network, threads or environment. ARCHITECTURE.md tells how
//! the parts fit.

pub mod block;
pub mod bus;
pub mod cpu;
mod engine;
mod exec;
pub mod fpu;
pub mod input;
pub mod mem;
pub mod profile;
pub mod sched;
pub mod simd;
pub mod state;
mod system;
pub mod time;
pub mod timeline;
pub mod volume;

#[doc(hidden)]
pub use engine::survey;

pub use block::{BlockBackend, BlockError};
pub use bus::{Bus, DevCx, Device, DeviceId, Output, Sink, Wire};
pub use input::{Input, Key};
pub use mem::PhysMem;
pub use sched::Scheduler;
pub use state::{State, StateError, StateHash, StateReader, StateWriter};
pub use system::{Access, Delivered, Firmware, Interrupt, LastBlock, Stop, System, Translation, is_canonical};
pub use time::{ClockRate, Ticks};
pub use timeline::Timeline;
pub use volume::Volume;
