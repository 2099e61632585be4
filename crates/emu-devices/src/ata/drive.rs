//! A drive on the cable: a disk or a CD-ROM behind the registers of its port.

use emu_core::bus::DevCx;
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::busmaster::BusMaster;
use super::cdrom::Cdrom;
use super::disk::Disk;
use super::port::{COMMAND_NS, Phase, Port, RESET_NS};
use super::taskfile::BSY;

const DEVICE_RESET: u8 = 0x08;

/// What is behind the port.
#[derive(Debug)]
pub(super) enum Unit {
    Disk(Disk),
    Cd(Cdrom),
}

/// A drive.
#[derive(Debug)]
pub struct Drive {
    pub(super) unit: Unit,
    pub(super) port: Port,
}

impl Drive {
    pub(super) fn new(unit: Unit) -> Drive {
        Drive { unit, port: Port::default() }
    }

    pub(super) fn attach(&mut self, tag: u32, dma: bool) {
        (self.port.tag, self.port.dma) = (tag, dma);
    }

    fn is_packet(&self) -> bool {
        matches!(self.unit, Unit::Cd(_))
    }

    fn sign(&mut self) {
        self.port.idle();
        self.port.regs.sign(self.is_packet());
    }

    /// Power-on or RESET#. The drive is ready as soon as firmware can look: spinning up is over by then.
    pub(super) fn power_on(&mut self, cx: &mut DevCx<'_>) {
        cx.cancel(self.port.tag);
        self.port.regs = Default::default();
        (self.port.interrupt, self.port.command) = (false, 0);
        match &mut self.unit {
            Unit::Disk(d) => d.reset(true),
            Unit::Cd(c) => c.reset(),
        }
        self.sign();
    }

    /// SRST is set.
    pub(super) fn hold_reset(&mut self, cx: &mut DevCx<'_>) {
        cx.cancel(self.port.tag);
        self.port.idle();
        (self.port.phase, self.port.regs.status, self.port.interrupt) = (Phase::Reset, BSY, false);
        self.port.regs.device = 0;
        match &mut self.unit {
            Unit::Disk(d) => d.reset(false),
            Unit::Cd(c) => c.reset(),
        }
    }

    /// SRST is cleared.
    pub(super) fn release_reset(&mut self, cx: &mut DevCx<'_>) {
        self.port.busy(cx, Phase::Reset, RESET_NS);
    }

    /// EXECUTE DEVICE DIAGNOSTIC: code 01h, passed [ATA-6 8.11].
    pub(super) fn diagnose(&mut self, cx: &mut DevCx<'_>, interrupts: bool) {
        cx.cancel(self.port.tag);
        self.port.regs.device = 0;
        self.sign();
        self.port.interrupt = interrupts;
    }

    /// A command is written.
    pub(super) fn command(&mut self, cx: &mut DevCx<'_>, command: u8) {
        if command == DEVICE_RESET && self.is_packet() {
            cx.cancel(self.port.tag);
            self.port.interrupt = false;
            return self.sign();
        }
        if self.port.regs.status & BSY != 0 {
            return;
        }
        self.port.interrupt = false;
        self.port.regs.error = 0;
        self.port.command = command;
        let begun = match &mut self.unit {
            Unit::Disk(d) => d.begin(&mut self.port),
            Unit::Cd(c) => c.begin(&mut self.port),
        };
        if !begun {
            self.port.busy(cx, Phase::Start, COMMAND_NS);
        }
    }

    /// The data port is read.
    pub(super) fn read_data(&mut self, cx: &mut DevCx<'_>, size: u8) -> u32 {
        let Some(value) = self.port.take(size) else { return u32::MAX };
        if self.port.is_through() {
            match &mut self.unit {
                Unit::Disk(d) => d.drained(&mut self.port, cx),
                Unit::Cd(_) => Cdrom::drained(&mut self.port, cx),
            }
        }
        value
    }

    /// The data port is written.
    pub(super) fn write_data(&mut self, cx: &mut DevCx<'_>, size: u8, value: u32) {
        self.port.put(size, value);
        if self.port.phase == Phase::Out && self.port.is_through() {
            self.port.busy(cx, Phase::Filled, COMMAND_NS);
        }
    }

    /// The time that the drive asked for has passed.
    pub(super) fn event(&mut self, cx: &mut DevCx<'_>) {
        if self.port.phase == Phase::Reset {
            return self.sign();
        }
        match &mut self.unit {
            Unit::Disk(d) => d.event(&mut self.port),
            Unit::Cd(c) => c.event(&mut self.port, cx),
        }
    }

    /// Moves data through the bus master, if the drive waits for that.
    pub(super) fn run_dma(&mut self, cx: &mut DevCx<'_>, bus_master: &mut BusMaster) {
        if self.port.phase == Phase::Dma {
            match &mut self.unit {
                Unit::Disk(d) => d.run_dma(&mut self.port, cx, bus_master),
                Unit::Cd(c) => c.run_dma(&mut self.port, cx, bus_master),
            }
        }
    }
}

impl State for Drive {
    const TAG: [u8; 4] = *b"ATAD";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { unit, port } = self;
        w.part(1, port);
        match unit {
            Unit::Disk(d) => w.part(2, d),
            Unit::Cd(c) => w.part(2, c),
        }
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.port)?;
        match &mut self.unit {
            Unit::Disk(d) => r.part(2, d),
            Unit::Cd(c) => r.part(2, c),
        }
    }
}
