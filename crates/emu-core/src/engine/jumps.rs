//! Where jumps lead that can't be linked: a direct-mapped cache from address and context to the block's entry.

use super::context::NO_KEY;
use super::op::OpRef;

const ENTRIES: usize = 1 << 14;

#[derive(Clone, Copy)]
struct Entry {
    /// The linear address in its context (see [`super::context::Contexts::key`]).
    key: u64,
    to: OpRef,
}

/// The cache.
pub(crate) struct Jumps {
    entries: Box<[Entry; ENTRIES]>,
}

#[inline(always)]
fn slot(lin: u64) -> usize {
    (lin ^ lin >> 12) as usize & (ENTRIES - 1)
}

impl Jumps {
    pub(crate) fn new(nowhere: OpRef) -> Jumps {
        // By way of a vector: on the stack it would be too large.
        let entries = vec![Entry { key: NO_KEY, to: nowhere }; ENTRIES].into_boxed_slice();
        let Ok(entries) = entries.try_into() else { unreachable!("it has that length") };
        Jumps { entries }
    }

    /// Where `lin` leads, whose key is `key`, if that is known.
    #[inline(always)]
    pub(crate) fn find(&self, lin: u64, key: u64) -> Option<OpRef> {
        let e = &self.entries[slot(lin)];
        if e.key == key { Some(e.to) } else { None }
    }

    /// Remembers where `lin` leads, whose key is `key`.
    pub(crate) fn enter(&mut self, lin: u64, key: u64, to: OpRef) {
        self.entries[slot(lin)] = Entry { key, to };
    }

    /// Forgets where `lin` leads, in any context.
    pub(crate) fn forget_one(&mut self, lin: u64) {
        self.entries[slot(lin)].key = NO_KEY;
    }

    /// Forgets the targets themselves: their ops are about to be freed.
    pub(crate) fn clear(&mut self, nowhere: OpRef) {
        self.entries.fill(Entry { key: NO_KEY, to: nowhere });
    }
}
