//! The local APIC's timer, in cycles of its clock [SDM-3 11.5.4]. Nothing runs: the count is computed when someone asks.

use emu_core::state::{State, StateError, StateReader, StateWriter};

/// The count-down timer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timer {
    /// Initial count register.
    pub(super) initial: u32,
    /// Divide configuration register: bits 0, 1 and 3.
    pub(super) divide: u8,
    /// Count at cycle `start`; 0 while the timer stands still.
    count: u32,
    start: u64,
}

impl Timer {
    /// Clock cycles of one count: 2 to 128, or 1 for code 7.
    fn divisor(&self) -> u64 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        if code == 7 { 1 } else { 2 << code }
    }

    /// Cycle at which the count reaches zero, if it is counting.
    pub(super) fn deadline(&self) -> Option<u64> {
        let cycles = u64::from(self.count) * self.divisor();
        (self.count != 0).then(|| self.start.saturating_add(cycles))
    }

    /// Moves on to cycle `now`. Returns whether the count reached zero since the last call.
    pub(super) fn advance(&mut self, now: u64, periodic: bool) -> bool {
        let Some(end) = self.deadline().filter(|&end| now >= end) else { return false };
        let period = u64::from(self.initial) * self.divisor();
        if periodic && period != 0 {
            self.start = now - (now - end) % period;
            self.count = self.initial;
        } else {
            self.count = 0;
        }
        true
    }

    /// The current count at cycle `now`, after [`Self::advance`].
    pub(super) fn current(&self, now: u64) -> u32 {
        let passed = now.saturating_sub(self.start) / self.divisor();
        u64::from(self.count).saturating_sub(passed) as u32
    }

    /// Writes the initial count, which starts the timer; 0 stops it.
    pub(super) fn start(&mut self, now: u64, initial: u32) {
        (self.initial, self.count, self.start) = (initial, initial, now);
    }

    /// Writes the divide configuration; the count goes on from where it is.
    pub(super) fn set_divide(&mut self, now: u64, value: u8) {
        self.count = self.current(now);
        self.start = now;
        self.divide = value & 0x0B;
    }
}

impl State for Timer {
    const TAG: [u8; 4] = *b"LTMR";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { initial, divide, count, start } = self;
        w.field(1, initial);
        w.field(2, divide);
        w.field(3, count);
        w.field(4, start);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.initial = r.field(1)?;
        self.divide = r.field(2)?;
        self.count = r.field(3)?;
        self.start = r.field(4)?;
        Ok(())
    }
}
