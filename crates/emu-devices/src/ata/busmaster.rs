//! The bus master of one IDE channel: it walks a table of physical regions [82371SB 2.6; SFF-8038i].

use emu_core::bus::{DevCx, PciAddress};
use emu_core::state::{State, StateError, StateReader, StateWriter};

const START: u8 = 1 << 0;
/// The bus master writes to memory: the drive is read.
const TO_MEMORY: u8 = 1 << 3;

const ACTIVE: u8 = 1 << 0;
const ERROR: u8 = 1 << 1;
const INTERRUPT: u8 = 1 << 2;
/// Firmware's notes that the drives can do DMA.
const CAPABLE: u8 = 3 << 5;

/// Registers, and the place in the table.
#[derive(Clone, Debug)]
pub(crate) struct BusMaster {
    // Configuration
    /// The function as which it accesses memory.
    source: PciAddress,
    // State
    command: u8,
    status: u8,
    table: u32,
    /// Address of the next descriptor.
    next: u32,
    /// What is left of the present region.
    address: u32,
    left: u32,
    /// The present region is the table's last one.
    last: bool,
}

impl BusMaster {
    /// The bus master of one of the channels of function `source`.
    pub(crate) fn new(source: PciAddress) -> BusMaster {
        BusMaster { source, command: 0, status: 0, table: 0, next: 0, address: 0, left: 0, last: false }
    }

    /// As at power-on.
    pub(super) fn reset(&mut self) {
        *self = BusMaster::new(self.source);
    }

    /// Register `offset` (0 to 7), a byte.
    pub(crate) fn read(&self, offset: u16) -> u8 {
        match offset {
            0 => self.command,
            2 => self.status,
            4..=7 => self.table.to_le_bytes()[usize::from(offset) - 4],
            _ => 0,
        }
    }

    /// Writes a byte; returns whether the engine has been started.
    pub(crate) fn write(&mut self, offset: u16, value: u8) -> bool {
        match offset {
            0 => {
                let started = value & !self.command & START != 0;
                self.command = value & (START | TO_MEMORY);
                if started {
                    (self.next, self.left, self.last) = (self.table, 0, false);
                    self.status |= ACTIVE;
                } else if value & START == 0 {
                    self.status &= !ACTIVE;
                }
                return started;
            }
            2 => self.status = (self.status & !(value & (ERROR | INTERRUPT)) & !CAPABLE) | value & CAPABLE,
            4..=7 => {
                let shift = 8 * (u32::from(offset) - 4);
                self.table = (self.table & !(0xFF << shift) | u32::from(value) << shift) & !3;
            }
            _ => {}
        }
        false
    }

    /// Whether a transfer in this direction can run now.
    pub(super) fn ready(&self, to_memory: bool) -> bool {
        self.status & ACTIVE != 0 && (self.command & TO_MEMORY != 0) == to_memory
    }

    /// The drive's interrupt line has risen.
    pub(super) fn interrupt(&mut self) {
        self.status |= INTERRUPT;
    }

    /// An access was blocked: the engine stops [82371SB 2.6.2].
    fn abort(&mut self) -> bool {
        self.status = self.status & !ACTIVE | ERROR;
        false
    }

    /// The address and length of the next piece of at most `want` bytes; `None` at the end of the table, or when it can't be
    /// read.
    fn piece(&mut self, cx: &mut DevCx<'_>, want: usize) -> Option<(u64, usize)> {
        if self.left == 0 {
            if self.last {
                self.status &= !ACTIVE;
                return None;
            }
            let mut descriptor = [0; 8];
            if !cx.dma_read(self.source, self.next.into(), &mut descriptor) {
                self.abort();
                return None;
            }
            let descriptor = u64::from_le_bytes(descriptor);
            let (address, count) = (descriptor as u32, (descriptor >> 32) as u32);
            self.next = self.next.wrapping_add(8);
            self.address = address & !1;
            self.left = match count & 0xFFFE {
                0 => 0x1_0000,
                n => n,
            };
            self.last = count >> 31 != 0;
        }
        let n = (self.left as usize).min(want);
        let at = self.address;
        self.address = at.wrapping_add(n as u32);
        self.left -= n as u32;
        Some((at.into(), n))
    }

    /// Moves `data` into memory; returns false if the table ends before, or an access is blocked.
    pub(super) fn scatter(&mut self, cx: &mut DevCx<'_>, data: &[u8]) -> bool {
        let mut done = 0;
        while done < data.len() {
            let Some((at, n)) = self.piece(cx, data.len() - done) else { return false };
            if !cx.dma_write(self.source, at, &data[done..done + n]) {
                return self.abort();
            }
            done += n;
        }
        true
    }

    /// Fills `data` from memory; returns false if the table ends before, or an access is blocked.
    pub(super) fn gather(&mut self, cx: &mut DevCx<'_>, data: &mut [u8]) -> bool {
        let mut done = 0;
        while done < data.len() {
            let Some((at, n)) = self.piece(cx, data.len() - done) else { return false };
            if !cx.dma_read(self.source, at, &mut data[done..done + n]) {
                return self.abort();
            }
            done += n;
        }
        true
    }

    /// The drive has moved its last byte. The engine goes on being active only if regions are left over.
    pub(super) fn finish(&mut self) {
        if self.left == 0 && self.last {
            self.status &= !ACTIVE;
        }
    }
}

impl State for BusMaster {
    const TAG: [u8; 4] = *b"BMID";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { source: _, command, status, table, next, address, left, last } = self;
        w.field(1, &[*command, *status]);
        w.field(2, &[*table, *next, *address, *left]);
        w.field(3, last);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        [self.command, self.status] = r.field(1)?;
        [self.table, self.next, self.address, self.left] = r.field(2)?;
        self.left = self.left.min(0x1_0000);
        self.last = r.field(3)?;
        Ok(())
    }
}
