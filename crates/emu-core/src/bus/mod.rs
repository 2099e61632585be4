//! The bus: which device answers where, the wires between devices, and the calls into them.

mod device;
mod dispatch;
pub mod hypervisor;
mod latch;
mod lines;
mod map;
mod pci;
mod remap;
pub mod rig;
mod steady;

pub use device::{
    Ack, DevCx, Device, DmaClient, DmaController, DmaCycle, DmaKind, DynState, InputPins, InterruptController,
    MmioDevice, MmioRun, PortDevice,
};
pub use dispatch::{Bus, CpuLines};
pub use hypervisor::{BackdoorRegs, HypervisorInterface};
pub use lines::{Sink, Wire};
pub use pci::{PciAddress, PciFunction};
pub use remap::{InterruptMessage, RemappingUnit};

/// A device's number on its board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId(pub u16);

/// What a chip can tell a CPU beside levels on its pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuSignal {
    /// INIT: registers as after reset, caches and FPU kept, waits for SIPI if it is not the boot CPU.
    Init(u8),
    /// Start-up IPI with its vector: the CPU starts at `vector << 12`.
    Sipi(u8, u8),
    /// An NMI message.
    Nmi(u8),
    /// An SMI message.
    Smi(u8),
}

/// Something that leaves the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A byte sent by serial port number `port` (0 = COM1).
    Serial {
        /// Which serial port.
        port: u8,
        /// The byte.
        byte: u8,
    },
    /// A byte sent by parallel port number `port`.
    Parallel {
        /// Which parallel port.
        port: u8,
        /// The byte.
        byte: u8,
    },
    /// A byte written to the debug console (port E9h or 402h).
    Debug(u8),
    /// A POST code (port 80h).
    Post(u8),
    /// The guest asked emu to exit (port F4h) with this value.
    Exit(u32),
    /// The machine was switched off (ACPI S5).
    PowerOff,
    /// The speaker was switched: PIT channel 2's output frequency in mHz, 0 for silence.
    Speaker(u32),
}

/// A change of the address map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remap {
    /// Ports `base..base + len` are the device's `region`; accesses are at most `width` bytes each.
    Ports {
        /// First port.
        base: u16,
        /// Number of ports.
        len: u16,
        /// The device's own number for the range.
        region: u16,
        /// The widest access that the device takes whole: 1, 2 or 4.
        width: u8,
    },
    /// The device's port region is not mapped any more.
    UnmapPorts {
        /// The device's own number for the range.
        region: u16,
    },
    /// Physical addresses from `base` on (whole pages) are the device's `region`.
    Mmio {
        /// First address.
        base: u64,
        /// Bytes.
        len: u64,
        /// The device's own number for the range.
        region: u16,
    },
    /// The device's memory region is not mapped any more.
    UnmapMmio {
        /// The device's own number for the range.
        region: u16,
    },
}
