//! Commands that move data or look at tracks [82077AA 5.1].
//!
//! Time: a sector takes its part of a revolution, and what is sought in vain takes two revolutions; there is no waiting for
//! the sector to come round. Without a turning disk there is no index pulse, and the command does not end, as in the chip:
//! the host resets it.

use emu_core::block::SECTOR_SIZE;
use emu_core::bus::DevCx;
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::command::{ABNORMAL, Command};
use super::{Fdc, Phase, TAG_BYTE, TAG_EXEC};

// Status register 1.
const MISSING_MARK: u8 = 0x01;
const NOT_WRITABLE: u8 = 0x02;
const NO_DATA: u8 = 0x04;
const OVERRUN: u8 = 0x10;
const DATA_ERROR: u8 = 0x20;
const END_OF_CYLINDER: u8 = 0x80;
// Status register 2.
const SCAN_NOT_SATISFIED: u8 = 0x04;
const SCAN_HIT: u8 = 0x08;
const WRONG_CYLINDER: u8 = 0x10;
const DATA_ERROR_IN_DATA: u8 = 0x20;
const CONTROL_MARK: u8 = 0x40;

/// From the last byte to the result.
const CRC_NS: u64 = 50_000;
/// In PIO mode, from one byte's interrupt to the next: a byte's time at 500 kbit/s.
const BYTE_NS: u64 = 16_000;

/// What the next event means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// The result is known.
    #[default]
    End,
    /// The sector has passed under the head.
    Sector,
    /// The host has taken the sector.
    Taken,
    /// The host has not taken the sector in time.
    Late,
}

/// A transfer under way.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    step: Step,
    /// Head, as wired; H of the identifier field may differ.
    head: u8,
    c: u8,
    h: u8,
    r: u8,
    n: u8,
    st0: u8,
    st1: u8,
    st2: u8,
    lba: u64,
    /// Sectors done, for VERIFY with a count and READ TRACK.
    done: u8,
    terminal: bool,
    /// Bytes for or from the host.
    buffer: Vec<u8>,
    pos: usize,
    /// The host is to move bytes now.
    open: bool,
}

impl Transfer {
    /// The next byte for the host.
    fn take(&mut self) -> u8 {
        let byte = self.buffer.get(self.pos).copied().unwrap_or(0);
        self.pos = (self.pos + 1).min(self.buffer.len());
        byte
    }

    fn put(&mut self, byte: u8) {
        if let Some(b) = self.buffer.get_mut(self.pos) {
            *b = byte;
            self.pos += 1;
        }
    }

    fn is_through(&self) -> bool {
        self.pos == self.buffer.len()
    }
}

impl Fdc {
    fn unit(&self) -> usize {
        usize::from(self.params[1] & 3)
    }

    fn command(&self) -> Command {
        Command::of(self.params[0])
    }

    fn host_sends(&self) -> bool {
        use Command::{Format, ScanEqual, ScanHighOrEqual, ScanLowOrEqual, Write};
        matches!(self.command(), Write | Format | ScanEqual | ScanHighOrEqual | ScanLowOrEqual)
    }

    /// Status of the data port for MSR: whether it is ready, and for which direction.
    pub(super) fn host_turn(&self) -> Option<bool> {
        (self.transfer.open && self.non_dma).then_some(!self.host_sends())
    }

    pub(super) fn begin_transfer(&mut self, cx: &mut DevCx<'_>) {
        let p = self.params;
        self.phase = Phase::Execution;
        self.transfer = Transfer { head: p[1] >> 2 & 1, c: p[2], h: p[3], r: p[4], n: p[5], ..Transfer::default() };
        self.last_eot = if self.command() == Command::Format { p[3] } else { p[6] };
        let i = self.unit();
        let turning = self.dor >> (4 + i) & 1 != 0;
        let Some(g) = self.drives[i].as_ref().filter(|_| turning).and_then(|d| d.geometry()) else { return };
        let mut delay = 0;
        if self.config & 0x40 != 0 && !matches!(self.command(), Command::ReadId | Command::Format | Command::ReadTrack)
        {
            delay = self.implied_seek(i, p[2]);
        }
        let drive = self.drives[i].as_ref();
        let (fits, revolution, locked) =
            drive.map_or((false, 0, false), |d| (d.fits_rate(g, self.rate), d.revolution_ns(), d.tray.read_only()));
        if matches!(self.command(), Command::Write | Command::Format) && locked {
            return self.fail_after(cx, NOT_WRITABLE, 0, CRC_NS);
        }
        if self.command() == Command::Format {
            let len = 4 * usize::from(p[3]);
            self.ask_host(cx, vec![0; len]);
            return self.step_after(cx, Step::Sector, revolution);
        }
        if !fits || p[0] & 0x40 == 0 {
            return self.fail_after(cx, MISSING_MARK, 0, delay + 2 * revolution);
        }
        self.next_sector(cx, delay);
    }

    /// Steps to cylinder `to` before the transfer; returns how long that takes.
    fn implied_seek(&mut self, i: usize, to: u8) -> u64 {
        let by = i16::from(to) - i16::from(self.pcn[i]);
        if let Some(drive) = &mut self.drives[i] {
            drive.step(by);
        }
        self.pcn[i] = to;
        self.step_ns() * u64::from(by.unsigned_abs())
    }

    fn step_after(&mut self, cx: &mut DevCx<'_>, step: Step, ns: u64) {
        self.transfer.step = step;
        self.after_ns(cx, TAG_EXEC, ns);
    }

    fn fail_after(&mut self, cx: &mut DevCx<'_>, st1: u8, st2: u8, ns: u64) {
        let t = &mut self.transfer;
        (t.st0, t.st1, t.st2) = (ABNORMAL, t.st1 | st1, t.st2 | st2);
        self.step_after(cx, Step::End, ns);
    }

    /// Finds the sector that the transfer names; else the bits of ST1 and ST2 that tell why not.
    fn locate(&self) -> Result<u64, (u8, u8)> {
        let t = &self.transfer;
        let drive = self.drives[self.unit()].as_ref().ok_or((MISSING_MARK, 0))?;
        let g = drive.geometry().ok_or((MISSING_MARK, 0))?;
        let track = drive.track(g);
        if u16::from(track) >= g.cylinders || t.head >= g.heads {
            return Err((MISSING_MARK, 0)); // not formatted there
        }
        let any = matches!(self.command(), Command::ReadTrack | Command::ReadId);
        let r = if any { t.done.saturating_add(1) } else { t.r };
        if !any && t.c != track {
            return Err((NO_DATA, WRONG_CYLINDER));
        }
        if !any && (t.h != t.head || t.n != 2) {
            return Err((NO_DATA, 0));
        }
        g.lba(track.into(), t.head, r).ok_or((NO_DATA, 0))
    }

    /// Nanoseconds of a sector, and of a revolution.
    fn times(&self) -> (u64, u64) {
        let drive = self.drives[self.unit()].as_ref();
        let revolution = drive.map_or(200_000_000, |d| d.revolution_ns());
        let sectors = drive.and_then(|d| d.geometry()).map_or(9, |g| g.sectors);
        (revolution / u64::from(sectors.max(1)), revolution)
    }

    fn next_sector(&mut self, cx: &mut DevCx<'_>, delay: u64) {
        let (sector, revolution) = self.times();
        match self.locate() {
            Ok(lba) => {
                self.transfer.lba = lba;
                if self.host_sends() {
                    self.ask_host(cx, vec![0; SECTOR_SIZE]);
                }
                self.step_after(cx, Step::Sector, delay + sector);
            }
            Err((st1, st2)) => self.fail_after(cx, st1, st2, delay + 2 * revolution),
        }
    }

    /// Has the host move the bytes of `buffer`.
    fn ask_host(&mut self, cx: &mut DevCx<'_>, buffer: Vec<u8>) {
        let t = &mut self.transfer;
        (t.open, t.pos, t.buffer) = (!buffer.is_empty(), 0, buffer);
        if self.non_dma {
            self.set_irq(cx, true);
        } else {
            self.set_dreq(cx, self.transfer.open);
        }
    }

    /// A byte of the execution phase goes to the host.
    pub(super) fn host_takes(&mut self, cx: &mut DevCx<'_>) -> u8 {
        if !self.transfer.open || self.host_sends() {
            return 0;
        }
        let byte = self.transfer.take();
        self.host_moved(cx);
        byte
    }

    /// A byte of the execution phase comes from the host.
    pub(super) fn host_gives(&mut self, cx: &mut DevCx<'_>, byte: u8) {
        if self.transfer.open && self.host_sends() {
            self.transfer.put(byte);
            self.host_moved(cx);
        }
    }

    fn host_moved(&mut self, cx: &mut DevCx<'_>) {
        let through = self.transfer.is_through();
        if self.non_dma {
            self.set_irq(cx, false);
            if !through {
                self.after_ns(cx, TAG_BYTE, BYTE_NS);
            }
        }
        if through {
            self.close_host(cx);
        }
    }

    /// The host has no more bytes to move in this sector.
    fn close_host(&mut self, cx: &mut DevCx<'_>) {
        self.transfer.open = false;
        self.set_dreq(cx, false);
        if !self.host_sends() {
            self.step_after(cx, Step::Taken, CRC_NS);
        }
    }

    /// TC. What is left of a written sector is filled with zeros, what is left of a read one is dropped [82077AA 5.1].
    pub(super) fn terminal_count(&mut self, cx: &mut DevCx<'_>) {
        if self.phase == Phase::Execution {
            self.transfer.terminal = true;
            if self.transfer.open {
                self.close_host(cx);
            }
        }
    }

    /// In PIO mode, the next byte is due.
    pub(super) fn byte_due(&mut self, cx: &mut DevCx<'_>) {
        if self.transfer.open && self.non_dma {
            self.set_irq(cx, true);
        }
    }

    pub(super) fn exec_event(&mut self, cx: &mut DevCx<'_>) {
        if self.phase != Phase::Execution {
            return;
        }
        match self.transfer.step {
            Step::End => self.end_transfer(cx),
            Step::Taken => self.advance(cx),
            Step::Late => self.overrun(cx),
            // A write needs its bytes by now, unless TC has said that there are no more.
            Step::Sector if self.host_sends() && self.transfer.open => self.overrun(cx),
            Step::Sector => self.sector_passed(cx),
        }
    }

    fn overrun(&mut self, cx: &mut DevCx<'_>) {
        (self.transfer.st0, self.transfer.st1) = (ABNORMAL, self.transfer.st1 | OVERRUN);
        self.end_transfer(cx);
    }

    fn sector_passed(&mut self, cx: &mut DevCx<'_>) {
        match self.command() {
            Command::ReadId => self.read_id(cx),
            Command::Format => self.format(cx),
            Command::Write => {
                let (unit, lba) = (self.unit(), self.transfer.lba);
                let buffer = core::mem::take(&mut self.transfer.buffer);
                let done = self.drives[unit].as_mut().and_then(|d| d.tray.medium()).map(|m| m.write(lba, &buffer));
                if matches!(done, Some(Ok(()))) { self.advance(cx) } else { self.data_error(cx) }
            }
            Command::ReadDeleted if self.params[0] & 0x20 != 0 => self.advance(cx), // SK: not deleted, so skipped
            _ => self.sector_read(cx),
        }
    }

    fn data_error(&mut self, cx: &mut DevCx<'_>) {
        self.transfer.st2 |= DATA_ERROR_IN_DATA;
        (self.transfer.st0, self.transfer.st1) = (ABNORMAL, self.transfer.st1 | DATA_ERROR);
        self.end_transfer(cx);
    }

    fn sector_read(&mut self, cx: &mut DevCx<'_>) {
        let (unit, lba) = (self.unit(), self.transfer.lba);
        let mut data = vec![0; SECTOR_SIZE];
        let read = self.drives[unit].as_mut().and_then(|d| d.tray.medium()).map(|m| {
            if lba < m.sectors() { m.read(lba, &mut data) } else { Ok(()) } // zeros beyond an image that is cut short
        });
        if !matches!(read, Some(Ok(()))) {
            return self.data_error(cx);
        }
        match self.command() {
            Command::Verify => self.advance(cx),
            Command::Read | Command::ReadTrack | Command::ReadDeleted => {
                if self.command() == Command::ReadTrack && self.transfer.r != self.transfer.done.wrapping_add(1) {
                    self.transfer.st1 |= if self.transfer.done == 0 { NO_DATA } else { 0 };
                }
                let (sector, _) = self.times();
                self.step_after(cx, Step::Late, sector);
                self.ask_host(cx, data);
            }
            _ => self.scan(cx, &data),
        }
    }

    /// Compares the disk's bytes with the host's, in which FFh equals everything [82077AA 5.1.6].
    fn scan(&mut self, cx: &mut DevCx<'_>, disk: &[u8]) {
        let host = core::mem::take(&mut self.transfer.buffer);
        let mut pairs = disk.iter().zip(&host).filter(|&(_, &h)| h != 0xFF);
        let equal = pairs.clone().all(|(d, h)| d == h);
        let met = match self.command() {
            Command::ScanLowOrEqual => pairs.all(|(d, h)| d <= h),
            Command::ScanHighOrEqual => pairs.all(|(d, h)| d >= h),
            _ => equal,
        };
        self.transfer.st2 &= !(SCAN_HIT | SCAN_NOT_SATISFIED);
        self.transfer.st2 |= if equal { SCAN_HIT } else { 0 } | if met { 0 } else { SCAN_NOT_SATISFIED };
        if met {
            return self.end_transfer(cx);
        }
        if self.params[8] == 2 && self.transfer.r != self.params[6] {
            self.bump(); // STP: every other sector
        }
        self.advance(cx);
    }

    fn read_id(&mut self, cx: &mut DevCx<'_>) {
        let Some(drive) = self.drives[self.unit()].as_ref() else { return self.end_transfer(cx) };
        let g = drive.geometry();
        let turn = cx.rate.ns_at(cx.now) % drive.revolution_ns().max(1);
        let sectors = u64::from(g.map_or(1, |g| g.sectors));
        let r = (turn * sectors / drive.revolution_ns().max(1) + 1) as u8;
        let track = g.map_or(0, |g| drive.track(g));
        let t = &mut self.transfer;
        (t.c, t.h, t.r, t.n) = (track, t.head, r, 2);
        self.end_transfer(cx);
    }

    /// Writes the filler into each sector that the host has named. An image holds the sectors of its own format alone.
    fn format(&mut self, cx: &mut DevCx<'_>) {
        let ids = core::mem::take(&mut self.transfer.buffer);
        let (unit, head, filler) = (self.unit(), self.transfer.head, self.params[5]);
        for id in ids.chunks_exact(4) {
            (self.transfer.c, self.transfer.h, self.transfer.r, self.transfer.n) = (id[0], id[1], id[2], id[3]);
            let Some(drive) = &mut self.drives[unit] else { continue };
            let Some(g) = drive.geometry() else { continue };
            let track = drive.track(g);
            let place = g.lba(track.into(), head, id[2]).filter(|_| id[0] == track && id[1] == head && id[3] == 2);
            let written = match (place, drive.tray.medium()) {
                (Some(lba), Some(m)) => m.write(lba, &[filler; SECTOR_SIZE]).is_ok(),
                _ => true,
            };
            if !written {
                return self.data_error(cx);
            }
        }
        self.end_transfer(cx);
    }

    /// Goes to the identifier after this one; returns whether that is beyond the end of the cylinder [82077AA table 5-9].
    fn bump(&mut self) -> bool {
        let (multi, eot) = (self.params[0] & 0x80 != 0, self.params[6]);
        let t = &mut self.transfer;
        if t.r != eot {
            t.r = t.r.wrapping_add(1);
            return false;
        }
        t.r = 1;
        let cross = multi && t.head == 0;
        if multi {
            (t.head, t.h) = (t.head ^ 1, t.h ^ 1);
        }
        if !cross {
            t.c = t.c.wrapping_add(1);
        }
        !cross
    }

    /// A sector is done: the next one, or the end.
    fn advance(&mut self, cx: &mut DevCx<'_>) {
        let command = self.command();
        let counted = command == Command::Verify && self.params[1] & 0x80 != 0;
        self.transfer.done = self.transfer.done.wrapping_add(1);
        let head = self.transfer.head;
        let over = match command {
            Command::ReadTrack => self.transfer.done >= self.params[6],
            _ => self.bump(),
        };
        let marked = command == Command::ReadDeleted && self.params[0] & 0x20 == 0;
        if marked {
            self.transfer.st2 |= CONTROL_MARK;
        }
        if self.transfer.terminal || marked || (counted && self.transfer.done == self.params[8]) {
            self.transfer.head = if over { head } else { self.transfer.head };
            return self.end_transfer(cx);
        }
        if over {
            self.transfer.head = head;
            if command != Command::Verify {
                (self.transfer.st0, self.transfer.st1) = (ABNORMAL, self.transfer.st1 | END_OF_CYLINDER);
            }
            return self.end_transfer(cx);
        }
        self.next_sector(cx, 0);
    }

    fn end_transfer(&mut self, cx: &mut DevCx<'_>) {
        let t = &self.transfer;
        let st0 = t.st0 | t.head << 2 | self.params[1] & 3;
        self.result = vec![st0, t.st1, t.st2, t.c, t.h, t.r, t.n];
        self.transfer = Transfer::default();
        (self.result_pos, self.phase) = (0, Phase::Result);
        cx.cancel(TAG_BYTE);
        cx.cancel(TAG_EXEC);
        self.set_dreq(cx, false);
        self.set_irq(cx, true);
    }
}

impl State for Transfer {
    const TAG: [u8; 4] = *b"FXFR";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { step, head, c, h, r, n, st0, st1, st2, lba, done, terminal, buffer, pos, open } = self;
        w.field(1, &[*step as u8, *head, *c, *h, *r, *n, *st0, *st1, *st2, *done]);
        w.field(2, lba);
        w.field(3, &[*terminal, *open]);
        w.field(4, buffer);
        w.field(5, &(*pos as u32));
    }

    fn load(&mut self, reader: &mut StateReader<'_>) -> Result<(), StateError> {
        let [step, head, c, h, r, n, st0, st1, st2, done]: [u8; 10] = reader.field(1)?;
        let steps = [Step::End, Step::Sector, Step::Taken, Step::Late];
        let step = *steps.get(usize::from(step)).ok_or_else(|| reader.invalid("it has an unknown step"))?;
        let lba = reader.field(2)?;
        let [terminal, open] = reader.field(3)?;
        let buffer: Vec<u8> = reader.field(4)?;
        let pos = reader.field::<u32>(5)? as usize;
        if head > 1 || pos > buffer.len() || buffer.len() > 1024 {
            return Err(reader.invalid("its buffer is too long"));
        }
        *self = Transfer { step, head, c, h, r, n, st0, st1, st2, lba, done, terminal, buffer, pos, open };
        Ok(())
    }
}
