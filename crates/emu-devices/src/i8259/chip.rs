//! One 8259A programmable interrupt controller, without its pins [8259A, order 231468-003].

use emu_core::{State, StateError, StateReader, StateWriter};

/// What the next write to the odd port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// No ICW1 has come yet: the chip is silent.
    Nothing,
    Icw2,
    Icw3,
    Icw4,
    /// Initialised: OCW1.
    Ocw1,
}

impl Expect {
    const ALL: [Expect; 5] = [Expect::Nothing, Expect::Icw2, Expect::Icw3, Expect::Icw4, Expect::Ocw1];
}

const ICW1_IC4: u8 = 1;
const ICW1_SNGL: u8 = 2;
const ICW1_ADI: u8 = 4;
const ICW1_LTIM: u8 = 8;
const ICW4_UPM: u8 = 1;
const ICW4_AEOI: u8 = 2;
const ICW4_SFNM: u8 = 16;

/// Registers of one 8259A. All bit masks have IR0 in bit 0.
#[derive(Clone, Debug)]
pub(super) struct Chip {
    /// Levels of the IR pins.
    pub(super) lines: u8,
    /// Edge-sense latches: the pin has risen since it was last served.
    edges: u8,
    /// Pins that are level-sensed whatever ICW1 says (ELCR).
    pub(super) elcr: u8,
    /// Whether ICW1's LTIM bit works; with an ELCR it does not.
    ltim_works: bool,
    imr: u8,
    isr: u8,
    icw: [u8; 4],
    expect: Expect,
    /// The level with the lowest priority at present.
    lowest: u8,
    rotate_on_aeoi: bool,
    special_mask: bool,
    poll: bool,
    read_isr: bool,
}

impl Chip {
    pub(super) fn new(has_elcr: bool) -> Chip {
        Chip {
            lines: 0,
            edges: 0,
            elcr: 0,
            ltim_works: !has_elcr,
            imr: 0,
            isr: 0,
            icw: [0; 4],
            expect: Expect::Nothing,
            lowest: 7,
            rotate_on_aeoi: false,
            special_mask: false,
            poll: false,
            read_isr: false,
        }
    }

    /// Power-on: the datasheet leaves the chip undefined until ICW1; this one is silent. Pins keep their levels.
    pub(super) fn reset(&mut self) {
        *self = Chip { lines: self.lines, ..Chip::new(!self.ltim_works) };
    }

    /// What it holds, for debuggers.
    pub(super) fn registers(&self) -> super::PicRegisters {
        let (lines, irr, imr, isr) = (self.lines, self.irr(), self.imr, self.isr);
        super::PicRegisters { lines, irr, imr, isr, base: self.icw[1] & 0xF8 }
    }

    /// Levels that are level-sensed.
    fn level_sensed(&self) -> u8 {
        if self.ltim_works && self.icw[0] & ICW1_LTIM != 0 { 0xFF } else { self.elcr }
    }

    /// The interrupt request register: a request lasts only while its pin is high [8259A p.18].
    fn irr(&self) -> u8 {
        self.lines & (self.edges | self.level_sensed())
    }

    pub(super) fn set_line(&mut self, n: u8, level: bool) {
        let bit = 1 << (n & 7);
        if level && self.lines & bit == 0 {
            self.edges |= bit;
        }
        self.lines = if level { self.lines | bit } else { self.lines & !bit };
        self.edges &= self.lines;
    }

    /// Whether a slave sits at IR `n`, by ICW1 and ICW3.
    pub(super) fn has_slave_at(&self, n: u8) -> bool {
        self.icw[0] & ICW1_SNGL == 0 && self.icw[2] & (1 << n) != 0
    }

    /// The slave's own number, by ICW3.
    pub(super) fn slave_id(&self) -> u8 {
        self.icw[2] & 7
    }

    /// The highest-priority bit of `bits` under the present rotation.
    fn first(&self, bits: u8) -> Option<u8> {
        (1..=8).map(|i| (self.lowest + i) & 7).find(|&n| bits & (1 << n) != 0)
    }

    /// The level that asks for service, or `None` while INT is low.
    pub(super) fn request(&self) -> Option<u8> {
        if self.expect != Expect::Ocw1 {
            return None;
        }
        let asking = self.irr() & !self.imr;
        if asking == 0 {
            return None;
        }
        let blocking = if self.special_mask { self.isr & !self.imr } else { self.isr };
        // With the highest priority in bit 0.
        let turn = u32::from(self.lowest + 1 & 7);
        let first = asking.rotate_right(turn).trailing_zeros() as u8;
        let block = blocking.rotate_right(turn).trailing_zeros() as u8;
        let n = (first + turn as u8) & 7;
        // Special fully nested: a slave in service may ask again at its own level [8259A p.20].
        let nested = first == block && self.icw[3] & ICW4_SFNM != 0 && self.has_slave_at(n);
        (first < block || nested).then_some(n)
    }

    /// The first INTA pulse (or a poll): takes the request into service; without one, IR7 answers for it.
    pub(super) fn accept(&mut self) -> (u8, bool) {
        let Some(n) = self.request() else { return (7, false) };
        let bit = 1 << n;
        self.edges &= !bit;
        if self.icw[3] & ICW4_AEOI == 0 {
            self.isr |= bit;
        } else if self.rotate_on_aeoi {
            self.lowest = n;
        }
        (n, true)
    }

    /// The byte that the second INTA pulse reads for level `n`.
    pub(super) fn vector(&self, n: u8) -> u8 {
        if self.icw[3] & ICW4_UPM != 0 {
            return self.icw[1] & 0xF8 | n;
        }
        // MCS-80 mode: the low byte of the CALL's address [8259A p.10].
        if self.icw[0] & ICW1_ADI != 0 { self.icw[0] & 0xE0 | n << 2 } else { self.icw[0] & 0xC0 | n << 3 }
    }

    /// Whether the next read is a poll.
    pub(super) fn polls(&self) -> bool {
        self.poll
    }

    pub(super) fn read(&mut self, odd: bool) -> u8 {
        if self.poll {
            self.poll = false;
            let (n, real) = self.accept();
            return n | u8::from(real) << 7;
        }
        self.peek(odd)
    }

    pub(super) fn peek(&self, odd: bool) -> u8 {
        match (odd, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr(),
        }
    }

    pub(super) fn write(&mut self, odd: bool, value: u8) {
        match (odd, value) {
            (true, _) => self.write_odd(value),
            (false, v) if v & 0x10 != 0 => self.icw1(v),
            (false, v) if v & 0x08 != 0 => self.ocw3(v),
            (false, v) => self.ocw2(v),
        }
    }

    fn icw1(&mut self, value: u8) {
        self.icw[0] = value;
        self.edges = 0;
        self.imr = 0;
        self.isr = 0;
        self.lowest = 7;
        self.special_mask = false;
        self.read_isr = false;
        self.poll = false;
        self.rotate_on_aeoi = false;
        if value & ICW1_IC4 == 0 {
            self.icw[3] = 0;
        }
        self.expect = Expect::Icw2;
    }

    fn write_odd(&mut self, value: u8) {
        let last = if self.icw[0] & ICW1_IC4 != 0 { Expect::Icw4 } else { Expect::Ocw1 };
        match self.expect {
            Expect::Nothing | Expect::Ocw1 => self.imr = value,
            Expect::Icw2 => {
                self.icw[1] = value;
                self.expect = if self.icw[0] & ICW1_SNGL == 0 { Expect::Icw3 } else { last };
            }
            Expect::Icw3 => {
                self.icw[2] = value;
                self.expect = last;
            }
            Expect::Icw4 => {
                self.icw[3] = value;
                self.expect = Expect::Ocw1;
            }
        }
    }

    /// EOI and rotation commands [8259A p.15].
    fn ocw2(&mut self, value: u8) {
        let level = value & 7;
        match value >> 5 {
            0 => self.rotate_on_aeoi = false,
            1 => _ = self.end_highest(),
            3 => self.isr &= !(1 << level),
            4 => self.rotate_on_aeoi = true,
            5 => {
                if let Some(n) = self.end_highest() {
                    self.lowest = n;
                }
            }
            6 => self.lowest = level,
            7 => {
                self.isr &= !(1 << level);
                self.lowest = level;
            }
            _ => {}
        }
    }

    /// Non-specific EOI. In special mask mode it leaves masked levels in service [8259A p.18].
    fn end_highest(&mut self) -> Option<u8> {
        let n = self.first(if self.special_mask { self.isr & !self.imr } else { self.isr })?;
        self.isr &= !(1 << n);
        Some(n)
    }

    fn ocw3(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        self.poll = value & 4 != 0;
        if value & 2 != 0 {
            self.read_isr = value & 1 != 0;
        }
    }
}

impl State for Chip {
    const TAG: [u8; 4] = *b"8259";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        #[rustfmt::skip]
        let Self {
            lines, edges, elcr, ltim_works: _, imr, isr, icw, expect, lowest, rotate_on_aeoi, special_mask, poll, read_isr,
        } = self;
        w.field(1, &[*lines, *edges, *elcr, *imr, *isr, *lowest]);
        w.field(2, icw);
        w.field(3, &(*expect as u8));
        w.field(4, &[*rotate_on_aeoi, *special_mask, *poll, *read_isr]);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [self.lines, self.edges, self.elcr, self.imr, self.isr, self.lowest] = r.field(1)?;
        self.icw = r.field(2)?;
        let expect: u8 = r.field(3)?;
        self.expect = *Expect::ALL.get(usize::from(expect)).ok_or_else(|| r.invalid("no such initialisation step"))?;
        [self.rotate_on_aeoi, self.special_mask, self.poll, self.read_isr] = r.field(4)?;
        if self.lowest > 7 || self.edges & !self.lines != 0 {
            return Err(r.invalid("a level or an edge that can't be"));
        }
        Ok(())
    }
}
