//! Ports that no PC has, by which guests and firmware talk to the host: debug consoles at E9h and 402h, exit at F4h.
//!
//! Sources: the Bochs manual on port E9h (which reads as E9h, so that guests can find it); SeaBIOS's debug port 402h
//! (likewise); the convention of an exit port at F4h, up to 4 bytes wide. Regions: [`REGION_E9`], [`REGION_402`],
//! [`REGION_EXIT`], of which the board maps those that it wants.

use emu_core::bus::PortDevice;
use emu_core::{DevCx, Device, Output, State, StateError, StateReader, StateWriter, Ticks};

/// The console at E9h.
pub const REGION_E9: u16 = 0;
/// The console at 402h.
pub const REGION_402: u16 = 1;
/// The exit port at F4h; to be mapped 4 bytes wide.
pub const REGION_EXIT: u16 = 2;

/// What a console reads as.
const PRESENT: u32 = 0xE9;

/// The debug ports. They have no state.
#[derive(Debug, Default)]
pub struct DebugPorts;

impl DebugPorts {
    /// The ports; which of them exist is a matter of mapping.
    #[must_use]
    pub fn new() -> DebugPorts {
        DebugPorts
    }
}

impl Device for DebugPorts {
    fn name(&self) -> &str {
        "debug"
    }
    fn reset(&mut self, _cx: &mut DevCx<'_>) {}
    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
}

impl PortDevice for DebugPorts {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        self.peek(cx.now, region, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32) {
        match region {
            REGION_EXIT if offset == 0 => cx.output(Output::Exit(value)),
            REGION_E9 | REGION_402 => {
                value.to_le_bytes().iter().take(size.into()).for_each(|&b| cx.output(Output::Debug(b)));
            }
            _ => {}
        }
    }

    fn peek(&self, _now: Ticks, region: u16, _offset: u16, _size: u8) -> u32 {
        if region == REGION_EXIT { 0 } else { PRESENT }
    }
}

impl State for DebugPorts {
    const TAG: [u8; 4] = *b"DBGP";
    const VERSION: u16 = 1;

    fn save(&self, _w: &mut StateWriter) {
        let Self = self;
    }
    fn load(&mut self, _r: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::DeviceId;
    use emu_core::bus::rig::{Rig, Surface};

    fn build() -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let id = rig.bus.add(Box::new(DebugPorts::new()));
        rig.bus.map_ports(id, 0xE9, 1, REGION_E9, 1);
        rig.bus.map_ports(id, 0x402, 1, REGION_402, 1);
        rig.bus.map_ports(id, 0xF4, 4, REGION_EXIT, 4);
        rig.reset();
        (rig, id)
    }

    emu_core::device_contract_tests!(build, || Surface {
        ports: vec![(0xE9, 1), (0x402, 1), (0xF4, 4)],
        memory: vec![]
    });

    #[test]
    fn consoles_and_exit_leave_the_machine() {
        let (mut rig, _) = build();
        rig.out8(0xE9, b'a');
        rig.out8(0x402, b'b');
        rig.out32(0xF4, 0x1234);
        rig.out8(0xF4, 0x10);
        let expected = [Output::Debug(b'a'), Output::Debug(b'b'), Output::Exit(0x1234), Output::Exit(0x10)];
        assert_eq!(rig.output(), expected);
        assert_eq!((rig.in8(0xE9), rig.in8(0x402)), (0xE9, 0xE9));
    }
}
