//! What all drives have in common: the registers, the sector buffer, and where a command stands.

use emu_core::bus::DevCx;
use emu_core::state::{State, StateError, StateReader, StateWriter};

use super::taskfile::{BSY, DRQ, ERR, READY, TaskFile};

/// From the command to its first action. Within what drives take at least, and long enough that an interrupt comes after
/// the instruction that gave the command.
pub(super) const COMMAND_NS: u64 = 100_000;
/// Between two blocks of a command.
pub(super) const BLOCK_NS: u64 = 10_000;
/// From the end of a reset to the signature.
pub(super) const RESET_NS: u64 = 2_000_000;
/// Bytes that a buffer can hold: the largest block of any command.
const BUFFER_MAX: usize = 0x1_0000;

/// Where a command stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing to do.
    #[default]
    Idle,
    /// Busy: the command begins at the event.
    Start,
    /// The host reads the buffer.
    In,
    /// Busy: the next block for the host is made at the event.
    NextIn,
    /// The host fills the buffer.
    Out,
    /// Busy: the buffer is put to its use at the event.
    Filled,
    /// Waits for the bus master.
    Dma,
    /// Busy: all has been moved, the command ends at the event.
    DmaEnd,
    /// In reset; at the event, if one is asked for, the signature appears.
    Reset,
}

impl Phase {
    const ALL: [Phase; 9] = [
        Phase::Idle,
        Phase::Start,
        Phase::In,
        Phase::NextIn,
        Phase::Out,
        Phase::Filled,
        Phase::Dma,
        Phase::DmaEnd,
        Phase::Reset,
    ];
}

/// The part of a drive that the host sees.
#[derive(Debug, Default)]
pub(super) struct Port {
    // Configuration
    pub(super) tag: u32,
    /// There is a bus master at the other end.
    pub(super) dma: bool,
    // State
    pub(super) regs: TaskFile,
    /// The drive wants to interrupt.
    pub(super) interrupt: bool,
    pub(super) phase: Phase,
    pub(super) command: u8,
    pub(super) buffer: Vec<u8>,
    pos: usize,
}

impl Port {
    /// Goes busy; `phase` says what happens after `ns`.
    pub(super) fn busy(&mut self, cx: &mut DevCx<'_>, phase: Phase, ns: u64) {
        self.phase = phase;
        self.regs.status = BSY;
        let ticks = cx.rate.ticks_in_ns(ns);
        cx.schedule(self.tag, cx.now + ticks);
    }

    /// Has the host read `data`.
    pub(super) fn offer(&mut self, data: Vec<u8>) {
        (self.phase, self.buffer, self.pos) = (Phase::In, data, 0);
        self.regs.status = READY | DRQ;
        self.interrupt = true;
    }

    /// Has the host write `len` bytes.
    pub(super) fn accept(&mut self, len: usize) {
        (self.phase, self.pos) = (Phase::Out, 0);
        self.buffer.clear();
        self.buffer.resize(len.min(BUFFER_MAX), 0);
        self.regs.status = READY | DRQ;
    }

    /// Waits for the bus master.
    pub(super) fn await_dma(&mut self) {
        self.phase = Phase::Dma;
        self.regs.status = READY | DRQ;
    }

    /// The command is done.
    pub(super) fn finish(&mut self) {
        self.idle();
        self.interrupt = true;
    }

    /// The command has failed.
    pub(super) fn fail(&mut self, error: u8) {
        self.finish();
        self.regs.error = error;
        self.regs.status |= ERR;
    }

    /// Ready for the next command.
    pub(super) fn idle(&mut self) {
        self.phase = Phase::Idle;
        self.regs.status = READY;
        self.buffer.clear();
        self.pos = 0;
    }

    /// Takes up to 4 bytes off the buffer; `None` if the host is not to read. The data port is 16 bits wide at least.
    pub(super) fn take(&mut self, size: u8) -> Option<u32> {
        if self.phase != Phase::In {
            return None;
        }
        let n = usize::from(size.clamp(2, 4)).min(self.buffer.len() - self.pos);
        let bytes = &self.buffer[self.pos..self.pos + n];
        self.pos += n;
        Some(bytes.iter().rev().fold(0, |v, &b| v << 8 | u32::from(b)))
    }

    /// Puts up to 4 bytes into the buffer, if the host is to write.
    pub(super) fn put(&mut self, size: u8, value: u32) {
        if self.phase != Phase::Out {
            return;
        }
        let n = usize::from(size.clamp(2, 4)).min(self.buffer.len() - self.pos);
        self.buffer[self.pos..self.pos + n].copy_from_slice(&value.to_le_bytes()[..n]);
        self.pos += n;
    }

    /// How many accesses of `size` bytes move bytes of the buffer without getting it through, of `most`: nothing happens but
    /// at the last one.
    fn quiet_accesses(&self, size: u8, most: usize) -> usize {
        if size == 1 { 0 } else { most.min((self.buffer.len() - self.pos).saturating_sub(1) / usize::from(size)) }
    }

    /// Takes words or doublewords off the buffer, but not the last; returns how many.
    pub(super) fn take_run(&mut self, size: u8, data: &mut [u8]) -> usize {
        if self.phase != Phase::In {
            return 0;
        }
        let n = self.quiet_accesses(size, data.len() / usize::from(size));
        let len = n * usize::from(size);
        data[..len].copy_from_slice(&self.buffer[self.pos..self.pos + len]);
        self.pos += len;
        n
    }

    /// Puts words or doublewords into the buffer, but not the last; returns how many.
    pub(super) fn put_run(&mut self, size: u8, data: &[u8]) -> usize {
        if self.phase != Phase::Out {
            return 0;
        }
        let n = self.quiet_accesses(size, data.len() / usize::from(size));
        let len = n * usize::from(size);
        self.buffer[self.pos..self.pos + len].copy_from_slice(&data[..len]);
        self.pos += len;
        n
    }

    /// Whether the host has moved the whole buffer.
    pub(super) fn is_through(&self) -> bool {
        self.pos == self.buffer.len()
    }
}

impl State for Port {
    const TAG: [u8; 4] = *b"ATAP";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { tag: _, dma: _, regs, interrupt, phase, command, buffer, pos } = self;
        w.part(1, regs);
        w.field(2, interrupt);
        w.field(3, &(*phase as u8));
        w.field(4, command);
        w.field(5, buffer);
        w.field(6, &(*pos as u32));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.regs)?;
        self.interrupt = r.field(2)?;
        let phase: u8 = r.field(3)?;
        self.phase = *Phase::ALL.get(usize::from(phase)).ok_or_else(|| r.invalid("it has an unknown phase"))?;
        self.command = r.field(4)?;
        self.buffer = r.field(5)?;
        self.pos = r.field::<u32>(6)? as usize;
        if self.buffer.len() > BUFFER_MAX || self.pos > self.buffer.len() {
            return Err(r.invalid("its buffer is too long"));
        }
        Ok(())
    }
}
