//! The x87 error logic of an AT: IRQ 13, and port F0h, which lets the CPU go on.
//!
//! Sources: 82371SB PIIX3 §2.5.3.4 (coprocessor error register) and its signals FERR# and IGNNE#; [SDM-1 D.2.1]. An error
//! raises IRQ 13. A write of any value to F0h while the error lasts drops IRQ 13 and asserts IGNNE#, until the handler
//! has cleared the error. Input pin: [`PIN_FERR`]; output wires: IRQ 13 and IGNNE#.
//! Left out: port F1h, by which an 80286's board resets its coprocessor; the bit of the ISA bridge that turns all this
//! off.

use emu_core::bus::{InputPins, PortDevice};
use emu_core::{DevCx, Device, State, StateError, StateReader, StateWriter, Ticks, Wire};

/// FERR#, as a positive level.
pub const PIN_FERR: u16 = 0;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct FerrWires {
    /// Interrupt request 13.
    pub irq13: Wire,
    /// IGNNE#, as a positive level.
    pub ignne: Wire,
}

/// The error logic.
#[derive(Debug)]
pub struct Ferr {
    // Wiring
    wires: FerrWires,
    // State
    error: bool,
    ignored: bool,
}

impl Ferr {
    /// The logic with no error.
    #[must_use]
    pub fn new(wires: FerrWires) -> Ferr {
        Ferr { wires, error: false, ignored: false }
    }

    fn drive(&self, cx: &mut DevCx<'_>) {
        cx.set_wire(self.wires.irq13, self.error && !self.ignored);
        cx.set_wire(self.wires.ignne, self.ignored);
    }
}

impl Device for Ferr {
    fn name(&self) -> &str {
        "ferr"
    }
    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.ignored = false;
        self.drive(cx);
    }
    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }
    fn pins(&mut self) -> Option<&mut dyn InputPins> {
        Some(self)
    }
}

impl InputPins for Ferr {
    fn set_pin(&mut self, cx: &mut DevCx<'_>, pin: u16, level: bool) {
        if pin == PIN_FERR {
            self.error = level;
            self.ignored &= level;
            self.drive(cx);
        }
    }
}

impl PortDevice for Ferr {
    fn read(&mut self, _cx: &mut DevCx<'_>, _region: u16, _offset: u16, _size: u8) -> u32 {
        0xFF
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, _offset: u16, _size: u8, _value: u32) {
        self.ignored = self.error;
        self.drive(cx);
    }

    fn peek(&self, _now: Ticks, _region: u16, _offset: u16, _size: u8) -> u32 {
        0xFF
    }
}

impl State for Ferr {
    const TAG: [u8; 4] = *b"FERR";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { wires: _, error, ignored } = self;
        w.field(1, error);
        w.field(2, ignored);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        (self.error, self.ignored) = (r.field(1)?, r.field(2)?);
        if self.ignored && !self.error {
            return Err(r.invalid("an error is ignored that is not there"));
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
        let wires = FerrWires { irq13: rig.bus.wire_to(Sink::Intr(0)), ignne: rig.bus.wire_to(Sink::Ignne(0)) };
        let id = rig.bus.add(Box::new(Ferr::new(wires)));
        rig.bus.map_ports(id, 0xF0, 1, 0, 1);
        rig.bus.connect_ferr(Sink::Pin(id, PIN_FERR));
        rig.reset();
        (rig, id)
    }

    emu_core::device_contract_tests!(build, || Surface { ports: vec![(0xF0, 1)], memory: vec![] });

    #[test]
    fn a_write_ignores_the_error_for_as_long_as_it_lasts() {
        let (mut rig, _) = build();
        let lines = |rig: &mut Rig| (rig.bus.cpu_lines(0).intr, rig.bus.cpu_lines(0).ignne);
        rig.out8(0xF0, 0);
        assert_eq!(lines(&mut rig), (false, false), "there is nothing to ignore");
        for _ in 0..2 {
            rig.bus.set_ferr(&mut rig.mem, Ticks(0), true);
            assert_eq!(lines(&mut rig), (true, false));
            rig.out8(0xF0, 0);
            assert_eq!(lines(&mut rig), (false, true));
            rig.bus.set_ferr(&mut rig.mem, Ticks(0), false);
            assert_eq!(lines(&mut rig), (false, false));
        }
    }
}
