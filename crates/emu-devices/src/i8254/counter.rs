//! One counter of an 8254: counted forward in closed form, from one turn of its output to the next [8254 p.7-15].
//!
//! Time is in CLK pulses. The counting element holds 0 to the modulus (65536, or 10000 in BCD); 0 and the modulus read
//! alike, but a fresh count of "0" stands for the modulus.

use emu_core::{State, StateError, StateReader, StateWriter};

/// Which bytes of the count are accessed, by the control word's RW bits.
const RW_LSB: u8 = 1;
const RW_MSB: u8 = 2;

/// One of the three counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter {
    /// The control word's low six bits: RW, mode, BCD.
    control: u8,
    /// Count register, as written.
    cr: u16,
    /// The first byte of a two-byte count, until its second one comes.
    first_byte: Option<u8>,
    /// The next unlatched or latched read gives the high byte.
    read_msb: bool,
    count_latch: Option<u16>,
    status_latch: Option<u8>,
    /// The count register holds what the counting element has not yet taken.
    null_count: bool,
    /// A whole count was written since the control word.
    has_count: bool,
    pub(super) gate: bool,
    pub(super) out: bool,
    /// Counting element.
    ce: u32,
    /// The count that the counting element was loaded with.
    loaded: u32,
    /// The next CLK pulse loads the counting element.
    load_next: bool,
    /// The counting element was loaded since the control word, and runs.
    counting: bool,
    /// Reaching zero will turn the output (modes 0, 1, 4, 5).
    armed: bool,
}

impl Counter {
    /// Undefined at power-on by the datasheet; here a mode 0 counter without a count.
    pub(super) fn new(gate: bool) -> Counter {
        Counter {
            control: 0x30,
            cr: 0,
            first_byte: None,
            read_msb: false,
            count_latch: None,
            status_latch: None,
            null_count: true,
            has_count: false,
            gate,
            out: false,
            ce: 0,
            loaded: 0,
            load_next: false,
            counting: false,
            armed: false,
        }
    }

    /// The mode; 6 and 7 are 2 and 3.
    pub(super) fn mode(&self) -> u8 {
        match self.control >> 1 & 7 {
            m @ 6..=7 => m - 4,
            m => m,
        }
    }

    fn periodic(&self) -> bool {
        matches!(self.mode(), 2 | 3)
    }

    fn modulus(&self) -> u32 {
        if self.control & 1 != 0 { 10_000 } else { 0x1_0000 }
    }

    /// Decrements that the count register asks for, 1 to the modulus.
    fn count(&self) -> u32 {
        let raw = u32::from(self.cr);
        let n = if self.control & 1 == 0 {
            raw
        } else {
            (0..4).rev().fold(0, |n, digit| n * 10 + (raw >> (4 * digit) & 15)) % 10_000
        };
        if n == 0 { self.modulus() } else { n }
    }

    /// The counting element as it is read.
    pub(super) fn reading(&self) -> u16 {
        let n = self.ce % self.modulus();
        if self.control & 1 == 0 {
            return n as u16;
        }
        (0..4).fold(0, |bcd, digit| bcd | ((n / 10u32.pow(digit) % 10) as u16) << (4 * digit))
    }

    // ---- programming ----

    pub(super) fn write_control(&mut self, control: u8) {
        *self = Counter { control: control & 0x3F, ce: self.ce, ..Counter::new(self.gate) };
        self.ce = self.ce.min(self.modulus());
        self.out = self.mode() != 0;
    }

    pub(super) fn write_count(&mut self, byte: u8) {
        match (self.control >> 4, self.first_byte) {
            (RW_LSB, _) => self.accept_count(byte.into()),
            (RW_MSB, _) => self.accept_count(u16::from(byte) << 8),
            (_, Some(low)) => {
                self.first_byte = None;
                self.accept_count(u16::from_le_bytes([low, byte]));
            }
            (_, None) => {
                self.first_byte = Some(byte);
                if self.mode() == 0 {
                    // The first byte disables counting, and OUT falls at once [8254 p.9].
                    self.counting = false;
                    self.load_next = false;
                    self.out = false;
                }
            }
        }
    }

    fn accept_count(&mut self, cr: u16) {
        self.cr = cr;
        self.null_count = true;
        let first = !self.has_count;
        self.has_count = true;
        match self.mode() {
            0 => {
                self.out = false;
                self.load_next = true;
            }
            4 => self.load_next = true,
            // A count of 1 is illegal in modes 2 and 3 and has no cycle at whose end a new one could be taken.
            2 | 3 if first || self.loaded == 1 => self.load_next = true,
            _ => {}
        }
    }

    pub(super) fn set_gate(&mut self, level: bool) {
        let rose = level && !self.gate;
        self.gate = level;
        if rose && self.has_count && matches!(self.mode(), 1 | 2 | 3 | 5) {
            self.load_next = true;
        }
        if !level && self.periodic() {
            self.out = true;
        }
    }

    pub(super) fn latch_count(&mut self) {
        if self.count_latch.is_none() {
            self.count_latch = Some(self.reading());
        }
    }

    pub(super) fn latch_status(&mut self) {
        if self.status_latch.is_none() {
            self.status_latch = Some(self.status());
        }
    }

    fn status(&self) -> u8 {
        self.control | u8::from(self.null_count) << 6 | u8::from(self.out) << 7
    }

    pub(super) fn read(&mut self) -> u8 {
        if let Some(status) = self.status_latch.take() {
            return status;
        }
        let value = self.peek();
        let last = match self.control >> 4 {
            RW_LSB | RW_MSB => true,
            _ => {
                self.read_msb = !self.read_msb;
                !self.read_msb
            }
        };
        if last {
            self.count_latch = None;
        }
        value
    }

    pub(super) fn peek(&self) -> u8 {
        if let Some(status) = self.status_latch {
            return status;
        }
        let msb = match self.control >> 4 {
            RW_LSB => false,
            RW_MSB => true,
            _ => self.read_msb,
        };
        self.count_latch.unwrap_or(self.reading()).to_le_bytes()[usize::from(msb)]
    }

    // ---- counting ----

    /// CLK pulses of one period of the output, in modes 2 and 3 while it runs.
    pub(super) fn period(&self) -> Option<u32> {
        (self.periodic() && self.gate && self.counting && self.loaded > 1).then_some(self.loaded)
    }

    /// CLK pulses to the next one that does more than decrement; `None` if there is none.
    fn pulses_to_turn(&self) -> Option<u64> {
        if self.load_next {
            return Some(1);
        }
        let runs = self.counting && (self.gate || matches!(self.mode(), 1 | 5));
        if !runs {
            return None;
        }
        let n = match self.mode() {
            4 | 5 if !self.out => 1,
            0 | 1 | 4 | 5 => self.armed.then_some(self.ce)?,
            _ if self.loaded <= 1 => return None,
            2 if self.out => self.ce.checked_sub(1)?,
            2 => 1,
            // An odd count is high for one pulse longer than it is low [8254 p.12].
            _ => self.ce / 2 + u32::from(self.out) * (self.loaded & 1),
        };
        Some(u64::from(n.max(1)))
    }

    /// The pulse that [`Self::pulses_to_turn`] tells of.
    fn turn(&mut self) {
        if self.load_next {
            self.load();
            return;
        }
        match self.mode() {
            4 | 5 if !self.out => {
                self.out = true;
                self.ce = self.modulus() - 1;
            }
            0 | 1 => self.reach_zero(true),
            4 | 5 => self.reach_zero(false),
            2 if self.out => {
                self.ce = 1;
                self.out = false;
            }
            2 => self.load(),
            _ => {
                let low = self.out;
                self.load();
                self.out = !low;
            }
        }
    }

    fn reach_zero(&mut self, out: bool) {
        self.ce = 0;
        self.armed = false;
        self.out = out;
    }

    fn load(&mut self) {
        self.load_next = false;
        self.null_count = false;
        self.counting = true;
        self.armed = true;
        self.loaded = self.count();
        self.ce = if self.mode() == 3 { self.loaded & !1 } else { self.loaded };
        match self.mode() {
            1 => self.out = false,
            2..=5 => self.out = true,
            _ => {}
        }
    }

    /// `n` pulses that only decrement.
    fn count_down(&mut self, n: u64) {
        let runs = self.counting && (self.gate || matches!(self.mode(), 1 | 5));
        if !runs || self.periodic() && self.loaded <= 1 {
            return;
        }
        let m = u64::from(self.modulus());
        let step = (n % m) * if self.mode() == 3 { 2 } else { 1 } % m;
        let left = u64::from(self.ce) + m - step;
        self.ce = (if left >= m { left - m } else { left }) as u32;
    }

    /// `n` CLK pulses.
    pub(super) fn advance(&mut self, mut n: u64) {
        while n > 0 {
            if let (Some(period), false, false) = (self.period(), self.load_next, self.null_count) {
                n %= u64::from(period); // a whole period changes nothing
            }
            match self.pulses_to_turn() {
                Some(d) if d <= n => {
                    n -= d;
                    self.turn();
                }
                _ => {
                    self.count_down(n);
                    n = 0;
                }
            }
        }
    }

    /// CLK pulses to the next change of OUT, if there will be one without anybody's doing.
    pub(super) fn pulses_to_out_change(&self) -> Option<u64> {
        let mut future = *self;
        let mut n = 0;
        for _ in 0..3 {
            n += future.pulses_to_turn()?;
            future.turn();
            if future.out != self.out {
                return Some(n);
            }
        }
        None
    }
}

impl State for Counter {
    const TAG: [u8; 4] = *b"8254";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        #[rustfmt::skip]
        let Self {
            control, cr, first_byte, read_msb, count_latch, status_latch, null_count, has_count, gate, out, ce, loaded,
            load_next, counting, armed,
        } = self;
        w.field(1, control);
        w.field(2, cr);
        w.field(3, first_byte);
        w.field(4, count_latch);
        w.field(5, status_latch);
        w.field(6, &[*read_msb, *null_count, *has_count, *gate, *out, *load_next, *counting, *armed]);
        w.field(7, ce);
        w.field(8, loaded);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.control = r.field(1)?;
        self.cr = r.field(2)?;
        self.first_byte = r.field(3)?;
        self.count_latch = r.field(4)?;
        self.status_latch = r.field(5)?;
        #[rustfmt::skip]
        let [read_msb, null_count, has_count, gate, out, load_next, counting, armed] = r.field(6)?;
        (self.read_msb, self.null_count, self.has_count, self.gate) = (read_msb, null_count, has_count, gate);
        (self.out, self.load_next, self.counting, self.armed) = (out, load_next, counting, armed);
        self.ce = r.field(7)?;
        self.loaded = r.field(8)?;
        if self.control > 0x3F || self.ce > self.modulus() || self.loaded > self.modulus() {
            return Err(r.invalid("a count beyond the modulus"));
        }
        Ok(())
    }
}
