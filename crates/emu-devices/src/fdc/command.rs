//! The commands of the 82077AA: their bytes, and those that end at once [82077AA 5].

use emu_core::bus::DevCx;

use super::{Fdc, Phase, TAG_POLL, TAG_SEEK};

/// What a first byte asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Command {
    #[default]
    Invalid,
    ReadTrack,
    Specify,
    SenseDrive,
    Write,
    Read,
    Recalibrate,
    SenseInterrupt,
    ReadId,
    DumpReg,
    Seek,
    Version,
    ScanEqual,
    Perpendicular,
    Configure,
    Lock,
    Verify,
    Format,
    ScanLowOrEqual,
    ScanHighOrEqual,
    RelativeSeek,
    ReadDeleted,
}

impl Command {
    /// The command of a first byte, without its MT, MFM and SK bits where it has such.
    pub(super) fn of(byte: u8) -> Command {
        match (byte, byte & 0x1F) {
            (_, 0x06) => Command::Read,
            (_, 0x0C) => Command::ReadDeleted,
            (_, 0x05 | 0x09) if byte & 0x20 == 0 => Command::Write, // an image has no place for deleted marks
            (_, 0x02) if byte & 0x80 == 0 => Command::ReadTrack,
            (_, 0x16) => Command::Verify,
            (_, 0x11) => Command::ScanEqual,
            (_, 0x19) => Command::ScanLowOrEqual,
            (_, 0x1D) => Command::ScanHighOrEqual,
            (0x0A | 0x4A, _) => Command::ReadId,
            (0x0D | 0x4D, _) => Command::Format,
            (0x03, _) => Command::Specify,
            (0x04, _) => Command::SenseDrive,
            (0x07, _) => Command::Recalibrate,
            (0x08, _) => Command::SenseInterrupt,
            (0x0E, _) => Command::DumpReg,
            (0x0F, _) => Command::Seek,
            (0x8F | 0xCF, _) => Command::RelativeSeek,
            (0x10, _) => Command::Version,
            (0x12, _) => Command::Perpendicular,
            (0x13, _) => Command::Configure,
            (0x14 | 0x94, _) => Command::Lock,
            _ => Command::Invalid,
        }
    }

    /// Bytes of the command phase, the first one included.
    pub(super) fn len(self) -> usize {
        match self {
            Command::Invalid | Command::SenseInterrupt | Command::DumpReg | Command::Version | Command::Lock => 1,
            Command::SenseDrive | Command::Recalibrate | Command::ReadId | Command::Perpendicular => 2,
            Command::Specify | Command::Seek | Command::RelativeSeek => 3,
            Command::Configure => 4,
            Command::Format => 6,
            _ => 9,
        }
    }
}

/// ST0: seek end.
pub(super) const SEEK_END: u8 = 0x20;
/// ST0: equipment check, track 0 was not found.
const EQUIPMENT_CHECK: u8 = 0x10;
/// ST0: abnormal termination.
pub(super) const ABNORMAL: u8 = 0x40;
/// ST0 after a reset: the ready line has changed (polling).
pub(super) const POLLED: u8 = 0xC0;
/// Step pulses of RECALIBRATE at the most [82077AA 5.2.2].
const RECALIBRATE_STEPS: u8 = 79;

impl Fdc {
    /// All bytes of the command have come.
    pub(super) fn execute(&mut self, cx: &mut DevCx<'_>) {
        let p = self.params;
        match Command::of(p[0]) {
            Command::Invalid => self.answer(&[0x80]),
            Command::Specify => {
                (self.step_rate, self.head_unload) = (p[1] >> 4, p[1] & 15);
                (self.head_load, self.non_dma) = (p[2] >> 1, p[2] & 1 != 0);
                self.phase = Phase::Idle;
            }
            Command::SenseDrive => self.sense_drive(p[1]),
            Command::SenseInterrupt => self.sense_interrupt(cx),
            Command::DumpReg => self.dump(),
            Command::Version => self.answer(&[0x90]),
            Command::Perpendicular => {
                // The drive bits change only with OW [82077AA 5.2.9].
                self.perpendicular = if p[1] & 0x80 != 0 { p[1] & 0x3F } else { self.perpendicular & 0x3C | p[1] & 3 };
                self.phase = Phase::Idle;
            }
            Command::Configure => {
                (self.config, self.precompensation_track) = (p[2] & 0x7F, p[3]);
                self.phase = Phase::Idle;
            }
            Command::Lock => {
                self.lock = p[0] & 0x80 != 0;
                self.answer(&[p[0] >> 3 & 0x10]);
            }
            Command::Recalibrate => self.recalibrate(cx, usize::from(p[1] & 3)),
            Command::Seek => self.seek(cx, p[1], p[2]),
            Command::RelativeSeek => {
                let at = self.pcn[usize::from(p[1] & 3)];
                self.seek(cx, p[1], if p[0] & 0x40 != 0 { at.wrapping_add(p[2]) } else { at.wrapping_sub(p[2]) });
            }
            _ => self.begin_transfer(cx),
        }
    }

    /// Result bytes without an interrupt.
    fn answer(&mut self, result: &[u8]) {
        self.result = result.to_vec();
        (self.result_pos, self.phase) = (0, Phase::Result);
    }

    fn sense_drive(&mut self, select: u8) {
        let mut st3 = 0x28 | select & 7; // READY and TWO SIDE are tied [82077AA 5.4]
        if let Some(drive) = &self.drives[usize::from(select & 3)] {
            st3 |= if drive.tray.read_only() { 0x40 } else { 0 };
            st3 |= if drive.cylinder == 0 { 0x10 } else { 0 };
        }
        self.answer(&[st3]);
    }

    fn sense_interrupt(&mut self, cx: &mut DevCx<'_>) {
        // The end of a seek is told before what is left of a reset: hosts that ask only once after a reset (Linux 0.11) take
        // the next answer for their seek's.
        let ended = (0..4).find(|&i| self.pending[i] != 0 && self.pending[i] & POLLED != POLLED);
        let found = ended.or_else(|| (0..4).find(|&i| self.pending[i] != 0));
        let Some(i) = found else { return self.answer(&[0x80]) };
        let st0 = core::mem::take(&mut self.pending[i]);
        self.answer(&[st0, self.pcn[i]]);
        self.set_irq(cx, false);
        // Another drive has finished its seek meanwhile: it interrupts in turn. Those of a reset share one interrupt.
        if self.pending.iter().any(|&p| p != 0 && p & POLLED != POLLED) {
            self.after_ns(cx, TAG_POLL, 100_000);
        }
    }

    fn dump(&mut self) {
        let [a, b, c, d] = self.pcn;
        self.answer(&[
            a,
            b,
            c,
            d,
            self.step_rate << 4 | self.head_unload,
            self.head_load << 1 | u8::from(self.non_dma),
            self.last_eot,
            u8::from(self.lock) << 7 | self.perpendicular,
            self.config,
            self.precompensation_track,
        ]);
    }

    /// Nanoseconds of one step [82077AA table 5-6]: 16 − SRT milliseconds at 500 kbit/s.
    pub(super) fn step_ns(&self) -> u64 {
        let at_500k = u64::from(16 - self.step_rate.min(15)) * 1_000_000;
        match self.rate {
            0 => at_500k,
            1 => at_500k * 5 / 3,
            2 => at_500k * 2,
            _ => at_500k / 2,
        }
    }

    fn recalibrate(&mut self, cx: &mut DevCx<'_>, i: usize) {
        let there = self.drives[i].as_ref().map(|d| d.cylinder);
        let steps = there.unwrap_or(RECALIBRATE_STEPS).min(RECALIBRATE_STEPS);
        if let Some(drive) = &mut self.drives[i] {
            drive.step(-i16::from(steps));
        }
        let found = self.drives[i].as_ref().is_some_and(|d| d.cylinder == 0);
        let st0 = SEEK_END | i as u8 | if found { 0 } else { ABNORMAL | EQUIPMENT_CHECK };
        self.pcn[i] = 0;
        self.move_head(cx, i, st0, steps);
    }

    fn seek(&mut self, cx: &mut DevCx<'_>, select: u8, to: u8) {
        let i = usize::from(select & 3);
        let by = i16::from(to) - i16::from(self.pcn[i]);
        if let Some(drive) = &mut self.drives[i] {
            drive.step(by);
        }
        self.pcn[i] = to;
        self.move_head(cx, i, SEEK_END | select & 7, by.unsigned_abs().min(255) as u8);
    }

    /// Drive `i` steps; when it is there, `st0` is its interrupt status. Other drives may be used meanwhile.
    fn move_head(&mut self, cx: &mut DevCx<'_>, i: usize, st0: u8, steps: u8) {
        self.seeking[i] = st0;
        self.phase = Phase::Idle;
        let ns = self.step_ns() * u64::from(steps) + 50_000;
        self.after_ns(cx, TAG_SEEK + i as u32, ns);
    }

    /// Drive `i` has done its steps.
    pub(super) fn seek_done(&mut self, cx: &mut DevCx<'_>, i: usize) {
        self.pending[i] = core::mem::take(&mut self.seeking[i]);
        self.set_irq(cx, true);
    }
}
