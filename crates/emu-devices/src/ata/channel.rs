//! One IDE channel: two drives that share its registers, and its interrupt line.

use emu_core::bus::{DevCx, PciAddress, Wire};
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::busmaster::BusMaster;
use super::drive::Drive;
use super::taskfile::BSY;

/// Device control: interrupts off.
const NIEN: u8 = 1 << 1;
/// Device control: software reset.
const SRST: u8 = 1 << 2;
/// Device control: reads give the older byte of each register.
const HOB: u8 = 1 << 7;

const EXECUTE_DIAGNOSTIC: u8 = 0x90;

/// What a bus without a device 0 gives: all high, but for DD7, which the host pulls down so that BSY reads as clear and
/// software need not wait for a drive that isn't there [ATA-6 driver types and required termination].
const NOBODY: u8 = 0x7F;
/// The same for the data register, whose words have one DD7 each.
const NOBODY_DATA: u32 = 0xFF7F_FF7F;

/// A channel. Its owner hands it the accesses to its ports and the events of tags `tag` and `tag + 1`.
#[derive(Debug)]
pub(crate) struct Channel {
    // Configuration
    tag: u32,
    // Wiring
    irq: Wire,
    // Sub-devices
    pub(super) drives: [Option<Drive>; 2],
    pub(crate) bus_master: Option<BusMaster>,
    // State
    selected: u8,
    control: u8,
    /// Level of INTRQ.
    level: bool,
}

impl Channel {
    /// A channel whose drives use event tags `tag` and `tag + 1`; with the bus master of a function, or without one.
    pub(crate) fn new(tag: u32, irq: Wire, drives: [Option<Drive>; 2], bus_master: Option<PciAddress>) -> Channel {
        let mut drives = drives;
        for (i, drive) in drives.iter_mut().enumerate() {
            if let Some(d) = drive {
                d.attach(tag + i as u32, bus_master.is_some());
            }
        }
        let bus_master = bus_master.map(BusMaster::new);
        Channel { tag, irq, drives, bus_master, selected: 0, control: 0, level: false }
    }

    /// Drive `i` (0 or 1).
    pub(super) fn drive(&mut self, i: usize) -> Option<&mut Drive> {
        self.drives.get_mut(i)?.as_mut()
    }

    /// RESET#: as at power-on, but for what lies in the drives.
    pub(crate) fn reset(&mut self, cx: &mut DevCx<'_>) {
        (self.selected, self.control) = (0, 0);
        if let Some(b) = &mut self.bus_master {
            b.reset();
        }
        self.drives.iter_mut().flatten().for_each(|d| d.power_on(cx));
        self.update_irq(cx);
    }

    fn current(&mut self) -> Option<&mut Drive> {
        self.drives[usize::from(self.selected)].as_mut()
    }

    /// INTRQ is the selected drive's, unless the host has turned it off.
    fn update_irq(&mut self, cx: &mut DevCx<'_>) {
        let on = self.control & NIEN == 0;
        let level = on && self.drives[usize::from(self.selected)].as_ref().is_some_and(|d| d.port.interrupt);
        if level
            && !self.level
            && let Some(b) = &mut self.bus_master
        {
            b.interrupt();
        }
        self.level = level;
        cx.set_wire(self.irq, level);
    }

    /// Reads command block register `offset` (0 to 7).
    pub(crate) fn read(&mut self, cx: &mut DevCx<'_>, offset: u16, size: u8) -> u32 {
        if offset == 0 {
            let Some(drive) = self.current() else { return NOBODY_DATA };
            let value = drive.read_data(cx, size);
            self.update_irq(cx);
            return value;
        }
        let value = self.register(offset);
        if offset == 7
            && let Some(drive) = self.current()
        {
            drive.port.interrupt = false;
            self.update_irq(cx);
        }
        value.into()
    }

    /// Register `offset` (1 to 7) as the host sees it. Device 0 answers for a device 1 that is not there, with status 0
    /// [ATA-6 9.16.1]; without device 0, [`NOBODY`].
    pub(crate) fn register(&self, offset: u16) -> u8 {
        let hob = self.control & HOB != 0;
        match (&self.drives, self.selected) {
            ([Some(d), _], 0) | ([_, Some(d)], 1) => d.port.regs.read(offset, hob),
            ([Some(_), None], _) if offset == 7 => 0,
            ([Some(d), None], _) => d.port.regs.read(offset, hob),
            _ => NOBODY,
        }
    }

    /// Reads the data register again and again, but not so far that anything else happens; returns how often.
    pub(crate) fn read_run(&mut self, size: u8, data: &mut [u8]) -> usize {
        self.current().map_or(0, |drive| drive.port.take_run(size, data))
    }

    /// Writes the data register again and again, but not so far that anything else happens; returns how often.
    pub(crate) fn write_run(&mut self, size: u8, data: &[u8]) -> usize {
        self.current().map_or(0, |drive| drive.port.put_run(size, data))
    }

    /// Writes command block register `offset` (0 to 7).
    pub(crate) fn write(&mut self, cx: &mut DevCx<'_>, offset: u16, size: u8, value: u32) {
        if offset == 0 {
            if let Some(drive) = self.current() {
                drive.write_data(cx, size, value);
            }
            return self.update_irq(cx);
        }
        self.control &= !HOB;
        let byte = value as u8;
        match offset {
            6 => {
                self.selected = byte >> 4 & 1;
                self.drives
                    .iter_mut()
                    .flatten()
                    .filter(|d| d.port.regs.status & BSY == 0)
                    .for_each(|d| d.port.regs.device = byte);
            }
            7 => self.command(cx, byte),
            _ => self.drives.iter_mut().flatten().filter(|d| d.port.regs.status & BSY == 0).for_each(|d| {
                d.port.regs.write(offset, byte);
            }),
        }
        self.update_irq(cx);
    }

    fn command(&mut self, cx: &mut DevCx<'_>, command: u8) {
        if command == EXECUTE_DIAGNOSTIC {
            // Both drives take part; device 0 tells the result and interrupts [ATA-6 8.11].
            self.selected = 0;
            let mut first = true;
            for drive in self.drives.iter_mut().flatten() {
                drive.diagnose(cx, first);
                first = false;
            }
        } else if let Some(drive) = self.current() {
            drive.command(cx, command);
        }
    }

    /// Writes the device control register.
    pub(crate) fn write_control(&mut self, cx: &mut DevCx<'_>, value: u8) {
        let old = core::mem::replace(&mut self.control, value & (NIEN | SRST | HOB));
        if value & !old & SRST != 0 {
            self.selected = 0;
            self.drives.iter_mut().flatten().for_each(|d| d.hold_reset(cx));
        } else if !value & old & SRST != 0 {
            self.drives.iter_mut().flatten().for_each(|d| d.release_reset(cx));
        }
        self.update_irq(cx);
    }

    /// The event `tag` is due, if it is one of this channel's.
    pub(crate) fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        if let Some(drive) = tag.checked_sub(self.tag).and_then(|i| self.drive(i as usize)) {
            drive.event(cx);
            self.run_dma(cx);
            self.update_irq(cx);
        }
    }

    /// Writes `size` bytes of the bus master's registers.
    pub(crate) fn write_bus_master(&mut self, cx: &mut DevCx<'_>, offset: u16, size: u8, value: u32) {
        let Some(b) = &mut self.bus_master else { return };
        let mut started = false;
        for i in 0..size.min(4) {
            started |= b.write(offset + u16::from(i), (value >> (8 * u32::from(i))) as u8);
        }
        if started {
            self.run_dma(cx);
        }
    }

    /// Reads `size` bytes of the bus master's registers.
    pub(crate) fn read_bus_master(&self, offset: u16, size: u8) -> u32 {
        let Some(b) = &self.bus_master else { return u32::MAX };
        (0..size.min(4)).rev().fold(0, |v, i| v << 8 | u32::from(b.read(offset + u16::from(i))))
    }

    /// Moves what the selected drive has to move, if both it and the bus master are ready.
    fn run_dma(&mut self, cx: &mut DevCx<'_>) {
        if let (Some(drive), Some(b)) = (&mut self.drives[usize::from(self.selected)], &mut self.bus_master) {
            drive.run_dma(cx, b);
        }
    }
}

impl State for Channel {
    const TAG: [u8; 4] = *b"ATAC";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { tag: _, irq: _, drives, bus_master, selected, control, level } = self;
        w.field(1, selected);
        w.field(2, control);
        w.field(3, level);
        if let Some(b) = bus_master {
            w.part(4, b);
        }
        for (i, drive) in drives.iter().enumerate() {
            if let Some(d) = drive {
                w.part(5 + i as u8, d);
            }
        }
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.selected = r.field::<u8>(1)? & 1;
        self.control = r.field::<u8>(2)? & (NIEN | SRST | HOB);
        self.level = r.field(3)?;
        if let Some(b) = &mut self.bus_master {
            r.part(4, b)?;
        }
        for (i, drive) in self.drives.iter_mut().enumerate() {
            if let Some(d) = drive {
                r.part(5 + i as u8, d)?;
            }
        }
        Ok(())
    }
}
