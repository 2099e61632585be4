//! PCI configuration as QEMU's host bridges let kernels reach it: what is written to CF8h counts down to its last bit.
//!
//! Bits 1:0 of that register are zero on every real bridge, where the port at CFCh alone says which byte of four is meant
//! [PCI 2.1 3.2.2.3.2]. kvm-unit-tests put the register's whole number there, and then read port CFCh: on a real bridge they
//! would find a vendor's id where they look for a device's.

use emu_core::bus::{PciAddress, PortDevice};
use emu_core::{DevCx, Device, State, StateError, StateReader, StateWriter, System, Ticks};

/// Regions: CF8h, and the four ports from CFCh on.
const ADDRESS: u16 = 0;
const DATA: u16 = 1;
/// Bits of the address that there are.
const BITS: u32 = 0x80FF_FFFF;

/// The two registers.
#[derive(Debug, Default)]
pub(super) struct QemuPci {
    address: u32,
}

impl QemuPci {
    /// Puts it before the board's own host bridge.
    pub(super) fn install(sys: &mut System) {
        let id = sys.bus.add(Box::<QemuPci>::default());
        // One port: CF9h stays the reset control's.
        sys.bus.map_ports(id, 0xCF8, 1, ADDRESS, 4);
        sys.bus.map_ports(id, 0xCFC, 4, DATA, 4);
    }

    fn forward(&self, cx: &mut DevCx<'_>, offset: u16) {
        let a = self.address;
        if a >> 31 != 0 {
            let (device, function) = ((a >> 11) as u8 & 31, (a >> 8) as u8 & 7);
            let function = PciAddress { bus: (a >> 16) as u8, device, function };
            cx.forward_to_pci(function, (a as u8).wrapping_add(offset as u8));
        }
    }
}

impl Device for QemuPci {
    fn name(&self) -> &'static str {
        "qemu-pci"
    }
    fn reset(&mut self, _cx: &mut DevCx<'_>) {
        self.address = 0;
    }
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
}

impl PortDevice for QemuPci {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        if region == DATA {
            self.forward(cx, offset);
        }
        self.peek(cx.now, region, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32) {
        match (region, size) {
            (DATA, _) => self.forward(cx, offset),
            (_, 4) => self.address = value & BITS,
            _ => {}
        }
    }

    fn peek(&self, _now: Ticks, region: u16, _offset: u16, size: u8) -> u32 {
        if region == ADDRESS && size == 4 { self.address } else { u32::MAX }
    }
}

impl State for QemuPci {
    const TAG: [u8; 4] = *b"QPCI";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { address } = self;
        w.field(1, address);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.address = r.field::<u32>(1)? & BITS;
        Ok(())
    }
}
