//! Decoded blocks: a run of instructions of one page, decoded for one mode.

use super::chain;
use super::op::{Enters, OpRef};

/// Where an instruction of a block is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InsnPlace {
    /// Bytes from the block's start.
    pub(crate) offset: u16,
    /// Slots from the block's first.
    pub(crate) slot: u16,
    /// It shares its op with the instruction before it.
    pub(crate) fused: bool,
    /// The handler of the instruction before it does it too: the chain must not be stopped here from outside. Its own op
    /// is used by a slow path of that instruction, which goes on here, and may be stopped there.
    pub(crate) joined: bool,
    /// Bytes of the immediate at its end that its op has as `imm`, sign-extended; 0 if it has none, or something else
    /// depends on it.
    pub(crate) immediate: u8,
    /// Flags that the instructions before it should have set are missing: the chain must not stop before it.
    pub(crate) stale: bool,
}

/// How a block stands with the bytes that it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// They have not changed.
    Good,
    /// Something near them was written: compare before the next use.
    Suspect,
    /// They have changed: never used again.
    Dead,
}

/// A decoded block.
pub(crate) struct Block {
    /// Pool offset of its first byte.
    pub(crate) key: u64,
    /// Mode bits that it was decoded under.
    pub(crate) mode: u32,
    pub(crate) health: Health,
    /// Pool page of its second part, if its only instruction crosses a page.
    pub(crate) second_page: Option<u64>,
    /// Its entry op.
    pub(crate) entry: OpRef,
    /// Slots that it takes, the entry's included.
    pub(crate) ops: u16,
    /// Some of them are edges.
    pub(crate) has_edges: bool,
    pub(crate) insns: Box<[InsnPlace]>,
    /// Which loop it may be that only looks (see `polls.rs`).
    pub(crate) polls: super::Polls,
    /// The bytes that it was decoded from.
    pub(crate) bytes: Box<[u8]>,
    /// The edges that lead here.
    pub(crate) edges: Vec<OpRef>,
    /// Next block in the same bucket, and of the same page; `u32::MAX` ends the list.
    pub(crate) next_in_bucket: u32,
    pub(crate) next_in_page: u32,
}

impl Block {
    /// Instructions in it.
    pub(crate) fn len(&self) -> usize {
        self.insns.len()
    }

    /// Has the edges that lead here go past the entry op, if all that it does is to enter; to the entry op if not.
    pub(crate) fn aim_edges(&self) {
        let plain = chain::is_plain_entry(self.mode, self.entry.run());
        let (to, enters) = if plain {
            (self.entry.step(1), Enters::block(self.entry.imm(), self.len()))
        } else {
            (self.entry, Enters::NOTHING)
        };
        self.edges.iter().for_each(|edge| edge.set_edge(to, enters));
    }

    /// Bytes from its start to instruction `index` (to its end, for the one past the last).
    pub(crate) fn offset_of(&self, index: usize) -> u64 {
        match self.insns.get(index) {
            Some(i) => i.offset.into(),
            None => self.bytes.len() as u64,
        }
    }

    /// Index of the instruction that `op` belongs to (the first, if it has several).
    pub(crate) fn instruction_at(&self, op: OpRef) -> usize {
        let slot = op.index_from(self.entry) as u16;
        let after = self.insns.partition_point(|i| i.slot <= slot);
        let mut i = after.saturating_sub(1);
        while i > 0 && self.insns[i].fused {
            i -= 1;
        }
        i
    }

    /// The op of instruction `index`; `None` if the chain can't stop there.
    pub(crate) fn op_of(&self, index: usize) -> Option<OpRef> {
        let place = self.insns.get(index)?;
        if place.fused || place.stale || place.joined { None } else { Some(self.entry.step(place.slot.into())) }
    }

    /// The op behind that of instruction `index`, where a slow path of the latter goes on; `None` if that is in another block.
    pub(crate) fn op_behind(&self, index: usize) -> Option<OpRef> {
        let place = self.insns.get(index + 1).filter(|p| !p.fused)?;
        Some(self.entry.step(place.slot.into()))
    }
}
