//! PIIX3 function 0, id 8086:7000: the ISA bridge with the PCI interrupt router and the reset control port.
//!
//! Ports: RC at CF9h. Pins: 0 to 3 are PIRQA# to PIRQD#, as positive levels. The chips inside of the real part (DMA, timer,
//! interrupt controllers with ELCR) are devices of their own here.
//!
//! Left out: bus timing, chip selects, SMI sources and fast-off timers are storage only; distributed DMA and the I/O
//! APIC's chip select do nothing.

use emu_core::bus::{DevCx, Device, InputPins, PciAddress, PciFunction, PortDevice, Wire};
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::time::Ticks;

use crate::pci_config::ConfigSpace;

/// Port region of RC, 1 port at CF9h, width 1. It lies within the bridge's CONFADD: map it after that.
pub const REGION_RESET_CONTROL: u16 = 0;

/// PIRQ route control A; B, C and D follow [82371SB 2.2.11].
const PIRQRC: u8 = 0x60;
/// ISA interrupts that a PIRQ can be routed to.
const ROUTABLE: u16 = 0b1101_1110_1111_1000;

/// Reset control: hard reset selected [82371SB 2.5.4.3].
const SRST: u8 = 1 << 1;
/// Reset control: the rising edge of this bit resets the CPU.
const RCPU: u8 = 1 << 2;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct IsaBridgeWires {
    /// ISA interrupt requests; only those that a PIRQ can be routed to (3–7, 9–12, 14, 15) are driven.
    pub irq: [Wire; 16],
    /// PCIRST# and CPURST, as a positive pulse.
    pub hard_reset: Wire,
    /// INIT, as a positive pulse.
    pub soft_reset: Wire,
}

/// The ISA bridge.
#[derive(Debug)]
pub struct Piix3Isa {
    // Configuration
    name: String,
    address: PciAddress,
    // Wiring
    wires: IsaBridgeWires,
    // State
    config: ConfigSpace,
    reset_control: u8,
    /// Levels of PIRQA to PIRQD.
    pirq: [bool; 4],
}

impl Piix3Isa {
    /// The bridge at 00:`device`.0.
    #[must_use]
    pub fn new(name: impl Into<String>, device: u8, wires: IsaBridgeWires) -> Piix3Isa {
        let address = PciAddress { bus: 0, device, function: 0 };
        Piix3Isa { name: name.into(), address, wires, config: layout(), reset_control: 0, pirq: [false; 4] }
    }

    /// The ISA interrupt that PIRQ `pin` is routed to.
    #[must_use]
    pub fn route(&self, pin: usize) -> Option<usize> {
        let route = self.config.byte(PIRQRC + (pin as u8 & 3));
        let irq = usize::from(route & 15);
        (route & 0x80 == 0 && ROUTABLE >> irq & 1 != 0).then_some(irq)
    }

    fn drive_irqs(&self, cx: &mut DevCx<'_>) {
        let levels = (0..4).filter(|&p| self.pirq[p]).filter_map(|p| self.route(p)).fold(0u16, |l, irq| l | 1 << irq);
        for (irq, &wire) in self.wires.irq.iter().enumerate().filter(|&(irq, _)| ROUTABLE >> irq & 1 != 0) {
            cx.set_wire(wire, levels >> irq & 1 != 0);
        }
    }
}

/// Registers with their reset values and writable bits [82371SB 2.2].
fn layout() -> ConfigSpace {
    let mut c = ConfigSpace::new(0x8086, 0x7000, 0x06_0100, 0x00)
        .with(0x04, 2, 0x0007, 0x0108)
        .with(0x06, 2, 0x0280, 0)
        .with_clears(0x06, 0x7800)
        .with(0x0E, 1, 0x80, 0) // several functions
        .with(0x4C, 1, 0x4D, 0xFF) // IORT
        .with(0x4E, 2, 0x0003, 0x01FF) // XBCS
        .with(0x69, 1, 0x02, 0xFE) // TOM
        .with(0x6A, 2, 0x0000, 0x8040) // MSTAT
        .with(0x70, 1, 0x80, 0xEF) // MBIRQ0
        .with(0x76, 2, 0x0C0C, 0x8F8F) // MBDMA
        .with(0x78, 2, 0x0002, 0xFFFF) // PCSC
        .with(0x80, 1, 0x00, 0x7F) // APICBASE
        .with(0x82, 1, 0x00, 0x0F) // DLC
        .with(0xA0, 1, 0x08, 0x1F) // SMICNTL
        .with(0xA2, 2, 0x0000, 0x01FF) // SMIEN
        .with(0xA4, 4, 0x0000_0000, 0xF000_FFFB) // SEE
        .with(0xA8, 1, 0x0F, 0xFF) // FTMR
        .with(0xAA, 2, 0x0000, 0x01FF) // SMIREQ
        .with(0xAC, 1, 0x00, 0xFF) // CTLTMR
        .with(0xAE, 1, 0x00, 0xFF); // CTHTMR
    for i in 0..4 {
        c = c.with(PIRQRC + i, 1, 0x80, 0x8F);
    }
    c
}

impl Device for Piix3Isa {
    fn name(&self) -> &str {
        &self.name
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.config.reset();
        self.reset_control = 0;
        self.drive_irqs(cx);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn pci(&mut self) -> Option<&mut dyn PciFunction> {
        Some(self)
    }

    fn pins(&mut self) -> Option<&mut dyn InputPins> {
        Some(self)
    }
}

impl InputPins for Piix3Isa {
    fn set_pin(&mut self, cx: &mut DevCx<'_>, pin: u16, level: bool) {
        if let Some(pirq) = self.pirq.get_mut(usize::from(pin)) {
            *pirq = level;
            self.drive_irqs(cx);
        }
    }
}

impl PortDevice for Piix3Isa {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        self.peek(cx.now, region, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, _offset: u16, _size: u8, value: u32) {
        let old = core::mem::replace(&mut self.reset_control, value as u8 & (SRST | RCPU));
        if self.reset_control & !old & RCPU != 0 {
            let hard = self.reset_control & SRST != 0;
            let wire = if hard { self.wires.hard_reset } else { self.wires.soft_reset };
            cx.set_wire(wire, true);
            cx.set_wire(wire, false);
        }
    }

    fn peek(&self, _now: Ticks, _region: u16, _offset: u16, _size: u8) -> u32 {
        self.reset_control.into()
    }
}

impl PciFunction for Piix3Isa {
    fn address(&self) -> PciAddress {
        self.address
    }

    fn config_read(&mut self, _cx: &mut DevCx<'_>, register: u8, size: u8) -> u32 {
        self.config.read(register, size)
    }

    fn config_write(&mut self, cx: &mut DevCx<'_>, register: u8, size: u8, value: u32) {
        self.config.write(register, size, value);
        if ConfigSpace::touches(register, size, PIRQRC, PIRQRC + 3) {
            self.drive_irqs(cx);
        }
    }
}

impl State for Piix3Isa {
    const TAG: [u8; 4] = *b"P3IS";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { name: _, address: _, wires: _, config, reset_control, pirq } = self;
        w.part(1, config);
        w.field(2, reset_control);
        w.field(3, pirq);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.config)?;
        self.reset_control = r.field::<u8>(2)? & (SRST | RCPU);
        self.pirq = r.field(3)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::bus::rig::{Rig, Surface};
    use emu_core::bus::{DeviceId, Sink};
    use emu_core::device_contract_tests;

    const AT: PciAddress = PciAddress { bus: 0, device: 1, function: 0 };

    fn build() -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let mut wires = IsaBridgeWires {
            hard_reset: rig.bus.wire_to(Sink::MachineReset),
            soft_reset: rig.bus.wire_to(Sink::CpuReset),
            ..Default::default()
        };
        wires.irq[11] = rig.bus.wire_to(Sink::Intr(0));
        wires.irq[8] = rig.bus.wire_to(Sink::Intr(0));
        let id = rig.bus.add(Box::new(Piix3Isa::new("isa", 1, wires)));
        rig.bus.map_ports(id, 0xCF9, 1, REGION_RESET_CONTROL, 1);
        rig.reset();
        (rig, id)
    }

    device_contract_tests!(build, || Surface { ports: vec![(0xCF9, 1)], memory: vec![] });

    #[test]
    fn pirqs_reach_the_irq_that_they_are_routed_to() {
        let (mut rig, id) = build();
        let slots = [rig.bus.wire_to(Sink::Pin(id, 0)), rig.bus.wire_to(Sink::Pin(id, 3))];
        let drive = |rig: &mut Rig, wire: Wire, level| {
            rig.bus.call(&mut rig.mem, rig.now, id, |_, cx| cx.set_wire(wire, level));
            rig.bus.cpu_lines(0).intr
        };
        assert!(!drive(&mut rig, slots[0], true), "not routed after reset");
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, 0x60, 4, 0x0B80_800B);
        assert!(rig.bus.cpu_lines(0).intr, "routing a high PIRQ raises its IRQ");
        assert!(drive(&mut rig, slots[1], true));
        assert!(drive(&mut rig, slots[0], false), "shared with PIRQD");
        assert!(!drive(&mut rig, slots[1], false));
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, 0x60, 1, 8);
        assert!(!drive(&mut rig, slots[0], true), "IRQ 8 can't be routed to");
        assert_eq!(rig.bus.pci_read(&mut rig.mem, rig.now, AT, 0x60, 1), 8);
    }

    #[test]
    fn the_reset_port_acts_on_the_edge() {
        let (mut rig, _) = build();
        rig.out8(0xCF9, SRST);
        assert!(!rig.bus.take_machine_reset());
        rig.out8(0xCF9, SRST | RCPU);
        assert!(rig.bus.take_machine_reset() && !rig.bus.cpu_lines(0).reset);
        rig.out8(0xCF9, RCPU);
        assert!(!rig.bus.cpu_lines(0).reset, "no edge");
        rig.out8(0xCF9, 0);
        rig.out8(0xCF9, RCPU);
        assert!(rig.bus.cpu_lines(0).reset && !rig.bus.take_machine_reset());
    }
}
