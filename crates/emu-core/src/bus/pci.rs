//! PCI functions as the bus sees them; the configuration mechanism itself is the host bridge's.

use super::DevCx;

/// Where a function sits on the (only) PCI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciAddress {
    /// Bus number.
    pub bus: u8,
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function number, 0 to 7.
    pub function: u8,
}

/// A function's configuration space, 256 bytes [PCI 2.1 6.1].
pub trait PciFunction {
    /// Where it sits.
    fn address(&self) -> PciAddress;
    /// Reads `size` bytes (1, 2 or 4, aligned) at `register`.
    fn config_read(&mut self, cx: &mut DevCx<'_>, register: u8, size: u8) -> u32;
    /// Writes `size` bytes (1, 2 or 4, aligned) at `register`.
    fn config_write(&mut self, cx: &mut DevCx<'_>, register: u8, size: u8, value: u32);
}
