//! The chips of a PC, one file each. Each is a [`emu_core::Device`]; boards wire them.

pub mod apic;
pub mod ata;
pub mod debug_ports;
pub mod edu;
pub mod fdc;
pub mod ferr;
pub mod firmware;
pub mod font;
pub mod fw_cfg;
pub mod geometry;
pub mod hyperv;
pub mod i440fx;
pub mod i8042;
pub mod i8237;
pub mod i8254;
pub mod i8259;
pub mod mc146818;
mod medium;
pub mod ns16550;
pub mod pci_config;
pub mod piix3;
pub mod piix4_pm;
pub mod port61;
pub mod port92;
pub mod vga;
pub mod vmware;
pub mod vtd;
