//! ATA: an IDE channel with up to two drives, disks and CD-ROMs [ATA-6, T13/1410D], as a device of its own for boards
//! without a PCI IDE function. [`crate::piix3::ide`] has two such channels and a bus master.
//!
//! Ports: 8 of the command block (1F0h or 170h; the data port is up to 4 bytes wide), and 1 of the control block (3F6h or
//! 376h). Interrupt: IRQ 14 or 15. Commands complete by events, so that interrupts come some time after the command.
//!
//! Left out: Ultra DMA, overlapped and queued commands, and the floppy's drive address register at 3F7h.

mod busmaster;
mod cdrom;
mod channel;
mod disk;
mod drive;
mod identify;
mod mmc;
mod port;
mod taskfile;
#[cfg(test)]
mod tests;

use emu_core::block::BlockBackend;
use emu_core::bus::{DevCx, Device, PortDevice, Wire};
use emu_core::input::Input;
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::time::{ClockRate, Ticks};

pub(crate) use channel::Channel;
pub use drive::Drive;
use drive::Unit;

use crate::geometry::Geometry;

/// Port region of the command block, 8 ports, width 4 (only the data port answers wider accesses as one).
pub const REGION_COMMAND: u16 = 0;
/// Port region of the control block, 1 port, width 1.
pub const REGION_CONTROL: u16 = 1;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtaWires {
    /// INTRQ.
    pub irq: Wire,
}

impl Drive {
    /// A hard disk with the image of all its sectors. `geometry` is the default translation, if not the one that follows
    /// from the size. `serial` is what IDENTIFY DEVICE tells, 20 characters at most.
    #[must_use]
    pub fn disk(serial: impl Into<String>, image: Box<dyn BlockBackend>, geometry: Option<Geometry>) -> Drive {
        Drive::new(Unit::Disk(disk::Disk::new(serial.into(), image, geometry)))
    }

    /// A CD-ROM drive, that inputs call `name` (`"cd0"`), with the disc that lies in it at the start.
    #[must_use]
    pub fn cdrom(name: impl Into<String>, disc: Option<Box<dyn BlockBackend>>) -> Drive {
        Drive::new(Unit::Cd(cdrom::Cdrom::new(name.into(), disc)))
    }

    /// What lies in the drive, with the default translation of a disk. Of a CD-ROM, the translation means nothing.
    pub fn media(&mut self) -> Option<(&mut dyn BlockBackend, Geometry)> {
        match &mut self.unit {
            Unit::Disk(d) => {
                let geometry = d.geometry();
                d.tray.medium().map(|m| (m, geometry))
            }
            Unit::Cd(c) => {
                let geometry = Geometry::of_hard_disk(c.tray.sectors());
                c.tray.medium().map(|m| (m, geometry))
            }
        }
    }

    /// Whether this is a CD-ROM drive.
    #[must_use]
    pub fn is_cdrom(&self) -> bool {
        matches!(self.unit, Unit::Cd(_))
    }

    fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        let Unit::Cd(cd) = &mut self.unit else { return false };
        match input {
            Input::Eject { drive } if cd.is_called(drive) => cd.eject(cx),
            Input::Insert { drive, image } if cd.is_called(drive) => cd.insert(cx, *image),
            _ => return false,
        }
        true
    }

    fn restored(&mut self, cx: &mut DevCx<'_>) {
        match &mut self.unit {
            Unit::Disk(d) => d.tray.restored(cx),
            Unit::Cd(c) => c.tray.restored(cx),
        }
    }
}

impl Channel {
    /// See [`Device::input`].
    pub(crate) fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        self.drives.iter_mut().flatten().any(|d| d.input(cx, input))
    }

    /// See [`Device::restored`].
    pub(crate) fn restored(&mut self, cx: &mut DevCx<'_>) {
        self.drives.iter_mut().flatten().for_each(|d| d.restored(cx));
    }

    /// Drive `i`, for firmware.
    pub(crate) fn drive_mut(&mut self, i: usize) -> Option<&mut Drive> {
        self.drive(i)
    }
}

/// One channel as a device, without a bus master.
#[derive(Debug)]
pub struct AtaChannel {
    // Configuration
    name: String,
    // Sub-devices
    channel: Channel,
}

impl AtaChannel {
    /// A channel with devices 0 and 1.
    #[must_use]
    pub fn new(name: impl Into<String>, wires: AtaWires, drives: [Option<Drive>; 2]) -> AtaChannel {
        AtaChannel { name: name.into(), channel: Channel::new(0, wires.irq, drives, None) }
    }

    /// Drive `i` (0 or 1).
    pub fn drive(&mut self, i: usize) -> Option<&mut Drive> {
        self.channel.drive_mut(i)
    }

    /// What lies in drive `i` (0 or 1), and the default translation of a disk.
    pub fn media(&mut self, i: usize) -> Option<(&mut dyn BlockBackend, Geometry)> {
        self.drive(i)?.media()
    }
}

impl Device for AtaChannel {
    fn name(&self) -> &str {
        &self.name
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.channel.reset(cx);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        self.channel.event(cx, tag);
    }

    fn restored(&mut self, cx: &mut DevCx<'_>) {
        self.channel.restored(cx);
    }

    fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        self.channel.input(cx, input)
    }
}

/// An access to a channel's command or control block. A wide access that starts at another register than data is a string
/// of byte accesses, as an 8-bit port makes it.
pub(crate) fn channel_read(c: &mut Channel, cx: &mut DevCx<'_>, control: bool, offset: u16, size: u8) -> u32 {
    if control {
        return c.register(7).into();
    }
    if offset == 0 {
        return c.read(cx, 0, size);
    }
    (0..u16::from(size)).map(|i| (c.read(cx, (offset + i) & 7, 1) & 0xFF) << (8 * i)).fold(0, |v, b| v | b)
}

/// The write that belongs to [`channel_read`].
pub(crate) fn channel_write(c: &mut Channel, cx: &mut DevCx<'_>, control: bool, offset: u16, size: u8, value: u32) {
    if control {
        return c.write_control(cx, value as u8);
    }
    if offset == 0 {
        return c.write(cx, 0, size, value);
    }
    for i in 0..u16::from(size) {
        c.write(cx, (offset + i) & 7, 1, value >> (8 * i) & 0xFF);
    }
}

/// What [`channel_read`] would give.
pub(crate) fn channel_peek(c: &Channel, control: bool, offset: u16) -> u32 {
    match (control, offset) {
        (true, _) => c.register(7).into(),
        (false, 0) => u32::MAX, // reading data would move on in the buffer
        (false, _) => c.register(offset).into(),
    }
}

/// Until when a register that was read stays as it is: drives change only by commands, data and events, and the status has told
/// all that reading it clears.
pub(crate) fn registers_stay(control: bool, offset: u16) -> Option<Ticks> {
    (control || offset != 0).then_some(Ticks::NEVER)
}

impl PortDevice for AtaChannel {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        channel_read(&mut self.channel, cx, region == REGION_CONTROL, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32) {
        channel_write(&mut self.channel, cx, region == REGION_CONTROL, offset, size, value);
    }

    fn steady_until(&self, _now: Ticks, _rate: ClockRate, region: u16, offset: u16) -> Option<Ticks> {
        registers_stay(region == REGION_CONTROL, offset)
    }

    fn read_run(&mut self, region: u16, offset: u16, size: u8, data: &mut [u8]) -> usize {
        if region == REGION_COMMAND && offset == 0 { self.channel.read_run(size, data) } else { 0 }
    }

    fn write_run(&mut self, region: u16, offset: u16, size: u8, data: &[u8]) -> usize {
        if region == REGION_COMMAND && offset == 0 { self.channel.write_run(size, data) } else { 0 }
    }

    fn peek(&self, _now: Ticks, region: u16, offset: u16, _size: u8) -> u32 {
        channel_peek(&self.channel, region == REGION_CONTROL, offset)
    }
}

impl State for AtaChannel {
    const TAG: [u8; 4] = *b"ATA ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { name: _, channel } = self;
        w.part(1, channel);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.channel)
    }
}
