//! Placeholder until the crate's first module lands.

pub mod i440fx;
pub mod pci_config;
pub mod piix3;
pub mod piix4_pm;
