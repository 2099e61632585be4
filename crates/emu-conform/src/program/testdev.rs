//! The test device that kernels of kvm-unit-tests find beside them: a register at port E0h, memory at FF000000h, interrupt
//! lines at port 2000h.
//!
//! Accesses to the first two go out to a device, which is what those tests want of them. Port E4h, by which a hypervisor is
//! made to forget a page, is there and does nothing: there is none. A write to port 2000h + n sets the level of input n of
//! the I/O APIC, and up to 15 of the same one of the 8259As.

use emu_core::bus::{MmioDevice, PortDevice};
use emu_core::{DevCx, Device, DeviceId, Sink, State, StateError, StateReader, StateWriter, System, Ticks, Wire};
use emu_devices::apic::IO_PINS;

/// Where its memory lies, and how much of it there is.
const MEMORY: u64 = 0xFF00_0000;
const SIZE: usize = 0x1_0000;
/// Four ports of the register, then those that do nothing.
const PORTS: (u16, u16) = (0xE0, 8);
/// First port of the interrupt lines.
const LINES: u16 = 0x2000;
/// Regions: the register, the lines.
const REGISTER: u16 = 0;
const REGION_LINES: u16 = 1;

/// The device.
#[derive(Debug)]
pub(super) struct TestDevice {
    // Wiring
    lines: Vec<Wire>,
    // State
    register: [u8; 4],
    memory: Vec<u8>,
}

impl TestDevice {
    /// Adds the device to a machine's bus.
    pub(super) fn install(sys: &mut System) {
        let chip = |name: &str| sys.bus.devices().find(|(_, n)| *n == name).map(|(id, _)| id);
        let (apic, pic) = (chip("apic"), chip("pic"));
        let lines = (0..IO_PINS).map(|input| line(sys, apic, pic, input)).collect();
        let id = sys.bus.add(Box::new(TestDevice { lines, register: [0; 4], memory: vec![0; SIZE] }));
        sys.bus.map_ports(id, PORTS.0, PORTS.1, REGISTER, 4);
        sys.bus.map_ports(id, LINES, IO_PINS, REGION_LINES, 1);
        sys.bus.map_mmio(&mut sys.mem, id, MEMORY, SIZE as u64, 0);
    }

    fn bytes(&self, offset: u64, size: u8) -> Option<&[u8]> {
        self.memory.get(offset as usize..offset as usize + usize::from(size))
    }
}

/// A wire to one input of the interrupt controllers.
fn line(sys: &mut System, apic: Option<DeviceId>, pic: Option<DeviceId>, input: u16) -> Wire {
    let wire = sys.bus.wire();
    let chips = [apic, pic.filter(|_| input < 16)];
    chips.into_iter().flatten().for_each(|chip| sys.bus.connect(wire, Sink::Pin(chip, input)));
    wire
}

impl Device for TestDevice {
    fn name(&self) -> &'static str {
        "testdev"
    }
    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.register = [0; 4];
        self.memory.fill(0);
        self.lines.iter().for_each(|&wire| cx.set_wire(wire, false));
    }
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
    fn mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        Some(self)
    }
}

impl PortDevice for TestDevice {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        PortDevice::peek(self, cx.now, region, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32) {
        if region == REGION_LINES {
            let wire = self.lines.get(usize::from(offset)).copied().unwrap_or_default();
            return cx.set_wire(wire, value != 0);
        }
        let places = self.register.iter_mut().skip(offset.into()).take(size.into());
        places.zip(value.to_le_bytes()).for_each(|(place, byte)| *place = byte);
    }

    fn peek(&self, _now: Ticks, region: u16, offset: u16, _size: u8) -> u32 {
        if region == REGION_LINES {
            return u32::MAX;
        }
        u32::from_le_bytes(self.register).checked_shr(8 * u32::from(offset)).unwrap_or(0)
    }
}

impl MmioDevice for TestDevice {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, size: u8) -> u64 {
        MmioDevice::peek(self, cx.now, region, offset, size)
    }

    fn write(&mut self, _cx: &mut DevCx<'_>, _region: u16, offset: u64, size: u8, value: u64) {
        let places = self.memory.iter_mut().skip(offset as usize).take(size.into());
        places.zip(value.to_le_bytes()).for_each(|(place, byte)| *place = byte);
    }

    fn peek(&self, _now: Ticks, _region: u16, offset: u64, size: u8) -> u64 {
        let Some(bytes) = self.bytes(offset, size) else { return u64::MAX };
        bytes.iter().rev().fold(0, |value, &b| value << 8 | u64::from(b))
    }
}

impl State for TestDevice {
    const TAG: [u8; 4] = *b"TSTD";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { lines: _, register, memory } = self;
        w.field(1, register);
        w.field(2, memory);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        (self.register, self.memory) = (r.field(1)?, r.field(2)?);
        if self.memory.len() != SIZE {
            return Err(r.invalid("it has another size"));
        }
        Ok(())
    }
}
