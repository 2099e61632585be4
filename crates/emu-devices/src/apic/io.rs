//! The I/O APIC: 24 inputs, each with a redirection entry that says which message it sends [82093AA p.9-14].

use emu_core::bus::InterruptMessage;
use emu_core::state::{State, StateError, StateReader, StateWriter};

const PINS: usize = super::IO_PINS as usize;

/// Version 11h, highest entry 23.
const VERSION: u32 = 0x0017_0011;

const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Bits of an entry that the guest writes: all but delivery status and remote IRR.
const WRITABLE: u64 = 0xFF00_0000_0001_AFFF;
/// What the format for remapping units has beside: the format itself in bit 48, and an index above it [VT-d 5.1.5.1].
const REMAPPABLE: u64 = 0x00FF_0000_0000_0000;
const FORMAT: u64 = 1 << 48;

/// The I/O APIC.
#[derive(Clone, Debug)]
pub(super) struct IoApic {
    // Configuration
    reset_id: u8,
    /// Bits of an entry that the guest writes.
    writable: u64,
    // State
    id: u8,
    /// IOREGSEL.
    select: u8,
    entries: [u64; PINS],
    /// Levels of the inputs, bit by bit.
    levels: u32,
}

impl IoApic {
    pub(super) fn new(reset_id: u8, remappable: bool) -> IoApic {
        let (id, writable) = (reset_id & 15, if remappable { WRITABLE | REMAPPABLE } else { WRITABLE });
        IoApic { reset_id: id, writable, id, select: 0, entries: [MASKED; PINS], levels: 0 }
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
    pub(super) fn write(&mut self, offset: u64, value: u32) -> Option<(usize, InterruptMessage)> {
        match (offset, self.select) {
            (0x00, _) => self.select = value as u8,
            (0x10, 0) => self.id = (value >> 24 & 15) as u8,
            (0x10, select) => {
                let (pin, shift) = self.entry(select)?;
                let mask = self.writable & 0xFFFF_FFFF << shift;
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
    pub(super) fn set_pin(&mut self, pin: usize, level: bool) -> Option<(usize, InterruptMessage)> {
        let was = self.levels >> pin & 1 != 0;
        self.levels = self.levels & !(1 << pin) | u32::from(level) << pin;
        if self.entries[pin] & LEVEL != 0 {
            return self.level_message(pin);
        }
        // An edge at a masked input is lost.
        (level && !was && self.entries[pin] & MASKED == 0).then(|| (pin, self.message(pin)))
    }

    /// A level interrupt is sent when it is asserted, open, and not yet in service at a local APIC.
    fn level_message(&self, pin: usize) -> Option<(usize, InterruptMessage)> {
        let ready = self.entries[pin] & (LEVEL | MASKED | REMOTE_IRR) == LEVEL;
        (ready && self.levels >> pin & 1 != 0).then(|| (pin, self.message(pin)))
    }

    /// What the level inputs send that nobody has accepted yet: the chip tries again until someone does.
    pub(super) fn unaccepted(&self) -> Vec<(usize, InterruptMessage)> {
        (0..PINS).filter_map(|pin| self.level_message(pin)).collect()
    }

    /// The message of an entry as it travels on the bus; one for a remapping unit carries an index only [VT-d 5.1.5.1].
    fn message(&self, pin: usize) -> InterruptMessage {
        let entry = self.entries[pin];
        if entry & FORMAT != 0 {
            let index = (entry >> 49) as u32 | (entry as u32 >> 11 & 1) << 15;
            return InterruptMessage { address: 0xFEE0_0010 | (index & 0x7FFF) << 5 | index >> 15 << 2, data: 0 };
        }
        let (dest, logical) = ((entry >> 56) as u32, (entry >> 11 & 1) as u32);
        let level = if entry & LEVEL != 0 { 0xC000 } else { 0 };
        InterruptMessage { address: 0xFEE0_0000 | dest << 12 | logical << 2, data: entry as u32 & 0x7FF | level }
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
    pub(super) fn end_of_interrupt(&mut self, vector: u8) -> Vec<(usize, InterruptMessage)> {
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
        let Self { reset_id: _, writable: _, id, select, entries, levels } = self;
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
        if self.entries.iter().any(|e| e & !(self.writable | REMOTE_IRR) != 0) {
            return Err(r.invalid("a redirection entry holds bits that do not exist"));
        }
        Ok(())
    }
}
