//! The video DAC: 256 colours of 3 × 6 bits, or 3 × 8 with the dispi extension [VGA-TR 2-101].

use emu_core::state::{State, StateError, StateReader, StateWriter};

/// The DAC and its access sequencer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dac {
    /// Red, green, blue; 6 bits each, or 8 after the guest switched the DAC's width.
    pub colors: [[u8; 3]; 256],
    /// PEL mask (3C6h).
    pub mask: u8,
    /// Entry that the next access to 3C9h concerns.
    index: u8,
    /// Component of that entry: 0 to 2.
    component: u8,
    /// Whether 3C7h was written last, rather than 3C8h.
    reading: bool,
    /// Components that wait for the third one: the entry changes at once.
    pending: [u8; 2],
    /// Whether components have 8 bits.
    pub wide: bool,
}

impl Default for Dac {
    fn default() -> Self {
        Dac { colors: [[0; 3]; 256], mask: 0xFF, index: 0, component: 0, reading: false, pending: [0; 2], wide: false }
    }
}

impl Dac {
    /// A write to 3C7h.
    pub(super) fn set_read_index(&mut self, index: u8) {
        (self.index, self.component, self.reading) = (index, 0, true);
    }

    /// A write to 3C8h.
    pub(super) fn set_write_index(&mut self, index: u8) {
        (self.index, self.component, self.reading) = (index, 0, false);
    }

    /// A read of 3C7h: 3 after a write there, 0 after one to 3C8h.
    pub(super) fn state(&self) -> u8 {
        if self.reading { 3 } else { 0 }
    }

    /// A read of 3C8h: the index of the next write. In read mode the chip has already fetched the entry at the index.
    pub(super) fn write_index(&self) -> u8 {
        if self.reading { self.index.wrapping_add(1) } else { self.index }
    }

    /// What a read of 3C9h gives.
    pub(super) fn peek(&self) -> u8 {
        self.colors[usize::from(self.index)][usize::from(self.component)]
    }

    /// A read of 3C9h.
    pub(super) fn read(&mut self) -> u8 {
        let value = self.peek();
        self.step();
        value
    }

    /// A write to 3C9h.
    pub(super) fn write(&mut self, value: u8) {
        let value = if self.wide { value } else { value & 0x3F };
        match self.component {
            2 => self.colors[usize::from(self.index)] = [self.pending[0], self.pending[1], value],
            c => self.pending[usize::from(c)] = value,
        }
        self.step();
    }

    /// Switches between components of 6 and of 8 bits; colours keep their upper bits.
    pub(super) fn set_width(&mut self, wide: bool) {
        if self.wide != wide {
            self.wide = wide;
            let convert = |c: &mut u8| *c = if wide { *c << 2 } else { *c >> 2 };
            self.colors.iter_mut().flatten().for_each(convert);
            self.pending.iter_mut().for_each(convert);
        }
    }

    fn step(&mut self) {
        self.component += 1;
        if self.component == 3 {
            self.component = 0;
            self.index = self.index.wrapping_add(1);
        }
    }

    /// The colour of a pixel value as 8-bit red, green, blue.
    #[must_use]
    pub fn rgb(&self, pixel: u8) -> [u8; 3] {
        let color = self.colors[usize::from(pixel & self.mask)];
        if self.wide { color } else { color.map(|c| c << 2 | c >> 4) }
    }
}

impl State for Dac {
    const TAG: [u8; 4] = *b"VDAC";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { colors, mask, index, component, reading, pending, wide } = self;
        w.field(1, colors);
        w.field(2, &[*mask, *index, *component]);
        w.field(3, reading);
        w.field(4, pending);
        w.field(5, wide);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.colors = r.field(1)?;
        [self.mask, self.index, self.component] = r.field(2)?;
        self.reading = r.field(3)?;
        self.pending = r.field(4)?;
        self.wide = r.field(5)?;
        let fits = self.wide || self.colors.iter().flatten().chain(&self.pending).all(|&v| v < 64);
        if self.component > 2 || !fits {
            return Err(r.invalid("a colour has too many bits"));
        }
        Ok(())
    }
}
