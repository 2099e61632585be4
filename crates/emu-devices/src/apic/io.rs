//! The I/O APIC: 24 inputs, each with a redirection entry that says which message it sends [82093AA p.9-14].

use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::{Destination, Message};

const PINS: usize = super::IO_PINS as usize;

/// Version 11h, highest entry 23.
const VERSION: u32 = 0x0017_0011;

const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Bits of an entry that the guest writes: all but delivery status and remote IRR.
const WRITABLE: u64 = 0xFF00_0000_0001_AFFF;

/// The I/O APIC.
#[derive(Clone, Debug)]
pub(super) struct IoApic {
    // Configuration
    reset_id: u8,
    // State
    id: u8,
    /// IOREGSEL.
    select: u8,
    entries: [u64; PINS],
    /// Levels of the inputs, bit by bit.
    levels: u32,
}

impl IoApic {
    pub(super) fn new(reset_id: u8) -> IoApic {
        IoApic { reset_id: reset_id & 15, id: reset_id & 15, select: 0, entries: [MASKED; PINS], levels: 0 }
    }

    /// The wires keep their levels.
    pub(super) fn reset(&mut self) {
        (self.id, self.select, self.entries) = (self.reset_id, 0, [MASKED; PINS]);
    }

    /// Reads IOREGSEL (0) or IOWIN (10h).
    pub(super) fn read(&self, offset: u64) -> u32 {
        match offset {
            0x00 => self.select.into(),
            0x10 => self.register(),
            _ => 0,
        }
    }

    fn register(&self) -> u32 {
        match self.select {
            0 | 2 => u32::from(self.id) << 24,
            1 => VERSION,
            s => self.entry(s).map_or(0, |(pin, shift)| (self.entries[pin] >> shift) as u32),
        }
    }

    /// Pin and shift of the half entry that index `select` names.
    fn entry(&self, select: u8) -> Option<(usize, u32)> {
        let half = usize::from(select.checked_sub(0x10)?);
        (half < 2 * PINS).then_some((half / 2, half as u32 % 2 * 32))
    }

    /// Writes IOREGSEL (0) or IOWIN (10h). Returns what the input of a changed entry now sends.
    pub(super) fn write(&mut self, offset: u64, value: u32) -> Option<(usize, Message)> {
        match (offset, self.select) {
            (0x00, _) => self.select = value as u8,
            (0x10, 0) => self.id = (value >> 24 & 15) as u8,
            (0x10, select) => {
                let (pin, shift) = self.entry(select)?;
                let mask = WRITABLE & 0xFFFF_FFFF << shift;
                let entry = &mut self.entries[pin];
                *entry = *entry & !mask | u64::from(value) << shift & mask;
                if *entry & LEVEL == 0 {
                    *entry &= !REMOTE_IRR;
                }
                return self.level_message(pin);
            }
            _ => {}
        }
        None
    }

    /// Sets an input. Returns the message that it sends.
    pub(super) fn set_pin(&mut self, pin: usize, level: bool) -> Option<(usize, Message)> {
        let was = self.levels >> pin & 1 != 0;
        self.levels = self.levels & !(1 << pin) | u32::from(level) << pin;
        if self.entries[pin] & LEVEL != 0 {
            return self.level_message(pin);
        }
        // An edge at a masked input is lost.
        (level && !was && self.entries[pin] & MASKED == 0).then(|| (pin, self.message(pin)))
    }

    /// A level interrupt is sent when it is asserted, open, and not yet in service at a local APIC.
    fn level_message(&self, pin: usize) -> Option<(usize, Message)> {
        let ready = self.entries[pin] & (LEVEL | MASKED | REMOTE_IRR) == LEVEL;
        (ready && self.levels >> pin & 1 != 0).then(|| (pin, self.message(pin)))
    }

    /// What the level inputs send that nobody has accepted yet: the chip tries again until someone does.
    pub(super) fn unaccepted(&self) -> Vec<(usize, Message)> {
        (0..PINS).filter_map(|pin| self.level_message(pin)).collect()
    }

    fn message(&self, pin: usize) -> Message {
        let entry = self.entries[pin];
        let dest = (entry >> 56) as u8;
        let to = if entry & 0x800 != 0 { Destination::Logical(dest) } else { Destination::Physical(dest) };
        Message { vector: entry as u8, mode: (entry >> 8 & 7) as u8, level: entry & LEVEL != 0, to }
    }

    /// A local APIC took the message of `pin`.
    pub(super) fn accepted(&mut self, pin: usize) {
        let entry = &mut self.entries[pin];
        // Only fixed and lowest-priority interrupts are ended by an EOI.
        if *entry & LEVEL != 0 && *entry >> 8 & 7 < 2 {
            *entry |= REMOTE_IRR;
        }
    }

    /// An EOI for `vector` came by. Returns what the inputs that are still asserted send again.
    pub(super) fn end_of_interrupt(&mut self, vector: u8) -> Vec<(usize, Message)> {
        let ended = |entry: &u64| *entry & (LEVEL | REMOTE_IRR) == LEVEL | REMOTE_IRR && *entry as u8 == vector;
        let pins: Vec<usize> = (0..PINS).filter(|&pin| ended(&self.entries[pin])).collect();
        pins.iter().for_each(|&pin| self.entries[pin] &= !REMOTE_IRR);
        pins.into_iter().filter_map(|pin| self.level_message(pin)).collect()
    }
}

impl State for IoApic {
    const TAG: [u8; 4] = *b"IOAP";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { reset_id: _, id, select, entries, levels } = self;
        w.field(1, id);
        w.field(2, select);
        w.field(3, entries);
        w.field(4, levels);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        self.id = r.field(1)?;
        self.select = r.field(2)?;
        self.entries = r.field(3)?;
        self.levels = r.field(4)?;
        if self.entries.iter().any(|e| e & !(WRITABLE | REMOTE_IRR) != 0) {
            return Err(r.invalid("a redirection entry holds bits that do not exist"));
        }
        Ok(())
    }
}
