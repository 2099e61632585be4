//! What the CPU did last, for reports on machines that have died. Not part of the machine's state.

use super::{Interrupt, System};
use crate::cpu::seg;
use crate::time::Ticks;

/// How many interrupts are remembered.
const INTERRUPTS: usize = 8;

/// An interrupt or exception that was delivered, or was to be.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// When.
    pub at: Ticks,
    /// What.
    pub interrupt: Interrupt,
    /// Code segment and instruction pointer that it interrupted.
    pub cs: u16,
    /// See `cs`.
    pub rip: u64,
}

/// The instructions that ran last: those of the last block.
#[derive(Clone, Debug, Default)]
pub struct LastBlock {
    /// Offset in host memory that they were decoded from (the physical address, where RAM is mapped one to one).
    pub location: u64,
    /// Their bytes, an instruction each.
    pub instructions: Vec<Vec<u8>>,
    /// 16, 32 or 64.
    pub bitness: u32,
}

/// The last interrupts, oldest first, and the last halt.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    interrupts: Vec<Delivered>,
    halt: Option<Ticks>,
}

impl System {
    /// Remembers an interrupt that is about to be delivered.
    pub(super) fn remember(&mut self, interrupt: Interrupt) {
        let delivered = Delivered { at: self.now(), interrupt, cs: self.cpu.seg[seg::CS].sel, rip: self.cpu.rip };
        if let Some(profile) = &mut self.engine.profile {
            profile.note_interrupt(interrupt);
        }
        let list = &mut self.trail.interrupts;
        if list.len() == INTERRUPTS {
            list.remove(0);
        }
        list.push(delivered);
    }

    /// Remembers that HLT is being executed.
    pub(crate) fn remember_halt(&mut self) {
        self.trail.halt = Some(self.now());
    }

    /// The tick before the last HLT, if there was one.
    #[must_use]
    pub fn last_halt(&self) -> Option<Ticks> {
        self.trail.halt
    }

    /// The last interrupts and exceptions, oldest first.
    #[must_use]
    pub fn last_interrupts(&self) -> &[Delivered] {
        &self.trail.interrupts
    }

    /// The block that ran last; some of its instructions may not have run, if the last one was a fault.
    #[must_use]
    pub fn last_block(&self) -> LastBlock {
        let Some(block) = self.engine.block_if_any(self.block) else { return LastBlock::default() };
        let ends = (1..=block.len()).map(|i| block.offset_of(i) as usize);
        let starts = (0..block.len()).map(|i| block.offset_of(i) as usize);
        let instructions = starts.zip(ends).map(|(a, b)| block.bytes[a..b.max(a)].to_vec()).collect();
        LastBlock { location: block.key, instructions, bitness: crate::cpu::Mode(block.mode).bitness() }
    }
}
