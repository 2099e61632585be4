//! Where jumps lead that can't be linked: a direct-mapped cache from linear address and mode to the block's entry.

use super::op::OpRef;

const ENTRIES: usize = 4096;

#[derive(Clone, Copy)]
struct Entry {
    lin: u64,
    context: u64,
    to: OpRef,
}

/// The cache. An entry holds for one mode and for one epoch; every change of translations starts a new epoch.
pub(crate) struct Jumps {
    entries: Box<[Entry; ENTRIES]>,
    epoch: u64,
}

#[inline(always)]
fn slot(lin: u64) -> usize {
    (lin ^ lin >> 12) as usize & (ENTRIES - 1)
}

impl Jumps {
    pub(crate) fn new(nowhere: OpRef) -> Jumps {
        Jumps { entries: Box::new([Entry { lin: 0, context: 0, to: nowhere }; ENTRIES]), epoch: 1 << 16 }
    }

    #[inline(always)]
    pub(crate) fn find(&self, lin: u64, mode: u16) -> Option<OpRef> {
        let e = &self.entries[slot(lin)];
        if e.lin == lin && e.context == self.epoch | u64::from(mode) { Some(e.to) } else { None }
    }

    pub(crate) fn enter(&mut self, lin: u64, mode: u16, to: OpRef) {
        self.entries[slot(lin)] = Entry { lin, context: self.epoch | u64::from(mode), to };
    }

    pub(crate) fn forget(&mut self) {
        self.epoch = self.epoch.wrapping_add(1 << 16).max(1 << 16);
    }

    /// Forgets where `lin` leads, in any mode.
    pub(crate) fn forget_one(&mut self, lin: u64) {
        self.entries[slot(lin)].context = 0;
    }

    /// Forgets the targets themselves: their ops are about to be freed.
    pub(crate) fn clear(&mut self, nowhere: OpRef) {
        self.entries.fill(Entry { lin: 0, context: 0, to: nowhere });
    }
}
