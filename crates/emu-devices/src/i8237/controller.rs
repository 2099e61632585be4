//! One 8237A DMA controller: four channels of 16-bit address and count [8237A, order 231466-005].

use emu_core::bus::DmaKind;
use emu_core::{State, StateError, StateReader, StateWriter};

const COMMAND_DISABLE: u8 = 0x04;
const COMMAND_DREQ_LOW: u8 = 0x40;
const MODE_AUTOINIT: u8 = 0x10;
const MODE_DECREMENT: u8 = 0x20;
const MODE_CASCADE: u8 = 0xC0;

/// Address and count of one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    base_address: u16,
    base_count: u16,
    address: u16,
    count: u16,
    /// The mode register: bits 7 to 2 as written.
    mode: u8,
}

/// What one cycle of a channel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    pub(super) address: u16,
    pub(super) kind: DmaKind,
    pub(super) terminal: bool,
}

/// Registers of one 8237A.
#[derive(Clone, Debug)]
pub(super) struct Controller {
    channels: [Channel; 4],
    command: u8,
    /// Channels that have reached terminal count since the status was read.
    reached: u8,
    /// Software requests.
    requests: u8,
    mask: u8,
    /// The next byte of an address or count is the high one.
    high_byte: bool,
    /// Levels of the DREQ pins.
    dreq: u8,
}

impl Controller {
    pub(super) fn new() -> Controller {
        Controller {
            channels: [Channel::default(); 4],
            command: 0,
            reached: 0,
            requests: 0,
            mask: 0x0F,
            high_byte: false,
            dreq: 0,
        }
    }

    /// RESET or master clear: all channels masked; addresses, counts and modes stay [8237A p.8].
    pub(super) fn clear(&mut self) {
        *self = Controller { channels: self.channels, dreq: self.dreq, ..Controller::new() };
    }

    pub(super) fn set_dreq(&mut self, n: u8, level: bool) {
        let bit = 1 << (n & 3);
        self.dreq = if level { self.dreq | bit } else { self.dreq & !bit };
    }

    /// Channels whose device or software requests service.
    fn requesting(&self) -> u8 {
        let active = if self.command & COMMAND_DREQ_LOW != 0 { !self.dreq } else { self.dreq };
        (active | self.requests) & 0x0F
    }

    /// Whether the channel lets a controller below it run.
    pub(super) fn cascades(&self, n: u8) -> bool {
        self.command & COMMAND_DISABLE == 0
            && self.mask & (1 << n) == 0
            && self.channels[usize::from(n & 3)].mode & 0xC0 == MODE_CASCADE
    }

    /// Runs one cycle of channel `n`, if it may.
    pub(super) fn cycle(&mut self, n: u8) -> Option<Cycle> {
        let bit = 1 << (n & 3);
        // The mask does not hold back software requests [8237A p.7].
        let served = self.requesting() & (!self.mask | self.requests) & bit != 0;
        let channel = &mut self.channels[usize::from(n & 3)];
        if self.command & COMMAND_DISABLE != 0 || !served || channel.mode & 0xC0 == MODE_CASCADE {
            return None;
        }
        let address = channel.address;
        let kind = match channel.mode >> 2 & 3 {
            1 => DmaKind::ToMemory,
            2 => DmaKind::FromMemory,
            _ => DmaKind::Verify,
        };
        let step = if channel.mode & MODE_DECREMENT != 0 { u16::MAX } else { 1 };
        channel.address = address.wrapping_add(step);
        channel.count = channel.count.wrapping_sub(1);
        let terminal = channel.count == u16::MAX;
        if terminal {
            self.reached |= bit;
            self.requests &= !bit;
            if channel.mode & MODE_AUTOINIT != 0 {
                (channel.address, channel.count) = (channel.base_address, channel.base_count);
            } else {
                self.mask |= bit;
            }
        }
        Some(Cycle { address, kind, terminal })
    }

    /// Reads register 0 to 15 [8237A p.10].
    pub(super) fn read(&mut self, register: u8) -> u8 {
        let value = self.peek(register);
        match register {
            0..=7 => self.high_byte = !self.high_byte,
            8 => self.reached = 0,
            _ => {}
        }
        value
    }

    pub(super) fn peek(&self, register: u8) -> u8 {
        let channel = &self.channels[usize::from(register >> 1 & 3)];
        match register {
            0..=7 => {
                let word = if register & 1 == 0 { channel.address } else { channel.count };
                word.to_le_bytes()[usize::from(self.high_byte)]
            }
            8 => self.reached | self.requesting() << 4,
            // The temporary register, which only memory-to-memory transfers fill.
            13 => 0,
            // Not of the 8237A itself; chipsets give the mask here.
            15 => self.mask | 0xF0,
            _ => 0xFF,
        }
    }

    /// Writes register 0 to 15.
    pub(super) fn write(&mut self, register: u8, value: u8) {
        let bit = 1u8 << (value & 3);
        match register {
            0..=7 => self.write_word(register, value),
            8 => self.command = value,
            9 if value & 4 != 0 => self.requests |= bit,
            9 => self.requests &= !bit,
            10 if value & 4 != 0 => self.mask |= bit,
            10 => self.mask &= !bit,
            11 => self.channels[usize::from(value & 3)].mode = value & 0xFC,
            12 => self.high_byte = false,
            13 => self.clear(),
            14 => self.mask = 0,
            _ => self.mask = value & 0x0F,
        }
    }

    /// A byte of an address or count goes to the base and the current register [8237A p.6].
    fn write_word(&mut self, register: u8, value: u8) {
        let channel = &mut self.channels[usize::from(register >> 1 & 3)];
        let (base, current) = if register & 1 == 0 {
            (&mut channel.base_address, &mut channel.address)
        } else {
            (&mut channel.base_count, &mut channel.count)
        };
        for word in [base, current] {
            let mut bytes = word.to_le_bytes();
            bytes[usize::from(self.high_byte)] = value;
            *word = u16::from_le_bytes(bytes);
        }
        self.high_byte = !self.high_byte;
    }
}

impl State for Controller {
    const TAG: [u8; 4] = *b"8237";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { channels, command, reached, requests, mask, high_byte, dreq } = self;
        let words = channels.map(|Channel { base_address, base_count, address, count, mode }| {
            (base_address, base_count, address, count, mode)
        });
        w.field(1, &words);
        w.field(2, &[*command, *reached, *requests, *mask, *dreq]);
        w.field(3, high_byte);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let words: [(u16, u16, u16, u16, u8); 4] = r.field(1)?;
        self.channels = words.map(|(base_address, base_count, address, count, mode)| Channel {
            base_address,
            base_count,
            address,
            count,
            mode,
        });
        [self.command, self.reached, self.requests, self.mask, self.dreq] = r.field(2)?;
        self.high_byte = r.field(3)?;
        if (self.reached | self.requests | self.mask | self.dreq) & 0xF0 != 0 {
            return Err(r.invalid("a channel beyond the fourth"));
        }
        Ok(())
    }
}
