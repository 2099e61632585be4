//! System control port A at 92h: fast A20 gate and fast reset.
//!
//! Sources: IBM PS/2 Hardware Technical Reference, "System control port A"; 82371SB PIIX3 §2.5.4.4. One port. Output wires:
//! A20 (the board ORs it with the keyboard controller's), and the reset of the CPU.
//! Left out: the watchdog status and the fixed-disk lamps, which are plain bits here.

use emu_core::bus::PortDevice;
use emu_core::{DevCx, Device, State, StateError, StateReader, StateWriter, Ticks, Wire};

const FAST_RESET: u8 = 1;
const FAST_A20: u8 = 2;
/// Bits that can be written and read back: reset, A20, the security lock, the two lamps.
const WRITABLE: u8 = 0xCB;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct Port92Wires {
    /// The A20 gate: high lets A20 pass.
    pub a20: Wire,
    /// Reset of the CPU, pulsed.
    pub reset: Wire,
}

/// System control port A.
#[derive(Debug)]
pub struct Port92 {
    // Wiring
    wires: Port92Wires,
    // State
    value: u8,
}

impl Port92 {
    /// A port in its power-on state: A20 not passed.
    #[must_use]
    pub fn new(wires: Port92Wires) -> Port92 {
        Port92 { wires, value: 0 }
    }
}

impl Device for Port92 {
    fn name(&self) -> &str {
        "port92"
    }
    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.value = 0;
        cx.set_wire(self.wires.a20, false);
    }
    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
}

impl PortDevice for Port92 {
    fn read(&mut self, _cx: &mut DevCx<'_>, _region: u16, _offset: u16, _size: u8) -> u32 {
        self.value.into()
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, _offset: u16, _size: u8, value: u32) {
        let rising = value as u8 & !self.value;
        self.value = value as u8 & WRITABLE;
        cx.set_wire(self.wires.a20, self.value & FAST_A20 != 0);
        if rising & FAST_RESET != 0 {
            cx.set_wire(self.wires.reset, true);
            cx.set_wire(self.wires.reset, false);
        }
    }

    fn peek(&self, _now: Ticks, _region: u16, _offset: u16, _size: u8) -> u32 {
        self.value.into()
    }
}

impl State for Port92 {
    const TAG: [u8; 4] = *b"PT92";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { wires: _, value } = self;
        w.field(1, value);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.value = r.field(1)?;
        if self.value & !WRITABLE != 0 {
            return Err(r.invalid("bits that the port does not have"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::bus::rig::{Rig, Surface};
    use emu_core::{DeviceId, Sink};

    fn build() -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let wires = Port92Wires { a20: rig.bus.wire_to(Sink::A20), reset: rig.bus.wire_to(Sink::CpuReset) };
        let id = rig.bus.add(Box::new(Port92::new(wires)));
        rig.bus.map_ports(id, 0x92, 1, 0, 1);
        rig.reset();
        (rig, id)
    }

    emu_core::device_contract_tests!(build, || Surface { ports: vec![(0x92, 1)], memory: vec![] });

    #[test]
    fn reset_needs_a_rising_bit() {
        let (mut rig, _) = build();
        rig.out8(0x92, 0x02);
        assert!(!rig.bus.cpu_lines(0).reset);
        rig.out8(0x92, 0x03);
        assert!(core::mem::take(&mut rig.bus.cpu_lines(0).reset));
        rig.out8(0x92, 0x03);
        assert!(!rig.bus.cpu_lines(0).reset, "it must fall first");
        rig.out8(0x92, 0xFE);
        rig.out8(0x92, 0xFF);
        assert!(rig.bus.cpu_lines(0).reset);
        assert_eq!(rig.in8(0x92), 0xCB);
    }
}
