//! Finding blocks, and throwing them away when their bytes change.

use super::block::{Block, Health};
use super::context::Contexts;
use super::jumps::Jumps;
use super::op::OpRef;
use super::{ARENA_LIMIT, BLOCK_LIMIT, BUCKETS, COLD_LIMIT, Engine, NONE, View, chain};
use crate::mem::{CODE_GRANULE, PAGE_SHIFT, PAGE_SIZE, PhysMem, granule_mask};
use crate::profile::Event;
use crate::system::is_canonical;

fn bucket(key: u64, mode: u32) -> usize {
    let h = (key ^ u64::from(mode) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (h >> 40) as usize & (BUCKETS - 1)
}

impl Engine {
    /// The block at pool offset `key` for `mode`, if it is decoded and its bytes are still right. If it crosses a page, the
    /// caller checks that its second page still follows the first.
    pub(crate) fn find(&mut self, mem: &mut PhysMem, key: u64, mode: u32) -> Option<u32> {
        let i = self.first_of(key, mode)?;
        if self.block(i).health == Health::Suspect && !self.revive(mem, i) {
            return None;
        }
        Some(i)
    }

    /// The first block of `key` and `mode` that is not dead; dead ones on the way leave their bucket's list, which
    /// self-modifying code would make ever longer.
    fn first_of(&mut self, key: u64, mode: u32) -> Option<u32> {
        let slot = bucket(key, mode);
        let (mut i, mut previous) = (self.buckets[slot], NONE);
        while i != NONE {
            let b = &self.blocks[i as usize];
            let next = b.next_in_bucket;
            if b.health == Health::Dead {
                match previous {
                    NONE => self.buckets[slot] = next,
                    p => self.blocks[p as usize].next_in_bucket = next,
                }
            } else if b.key == key && b.mode == mode {
                return Some(i);
            } else {
                previous = i;
            }
            i = next;
        }
        None
    }

    /// Whether a block's bytes are still those that it was decoded from.
    pub(super) fn is_unchanged(&self, mem: &PhysMem, i: u32) -> bool {
        let b = &self.blocks[i as usize];
        let (first, rest) = b.bytes.split_at(b.bytes.len().min((PAGE_SIZE - b.key % PAGE_SIZE) as usize));
        mem.pool(b.key, first.len()) == first && b.second_page.is_none_or(|page| mem.pool(page, rest.len()) == rest)
    }

    /// A suspect block is good again.
    pub(super) fn rehabilitate(&mut self, mem: &mut PhysMem, i: u32) {
        self.mark(mem, i);
        self.sites.end();
        self.blocks[i as usize].health = Health::Good;
        let b = self.block(i);
        let stops = self.breaks_at(b.key % PAGE_SIZE);
        b.entry.set_run(match (stops, b.polls.any() && self.profile.is_none()) {
            (true, _) => chain::break_handler(b.mode),
            (_, true) => chain::poll_handler(b.mode),
            _ => self.entry_handler(b.mode, false),
        });
        b.aim_edges();
    }

    /// Compares a suspect block with memory: either it is good again, or dead.
    fn revive(&mut self, mem: &mut PhysMem, i: u32) -> bool {
        let same = self.is_unchanged(mem, i);
        self.note(if same { Event::Unchanged } else { Event::Changed });
        if same {
            self.rehabilitate(mem, i);
        } else {
            self.blocks[i as usize].health = Health::Dead;
            self.blocks[i as usize].entry.set_run(chain::enter_dead);
        }
        same
    }

    /// Marks a block's bytes as code. Returns through `PhysMem` which pages became code pages.
    fn mark(&self, mem: &mut PhysMem, i: u32) {
        let b = self.block(i);
        let first = (b.bytes.len() as u64).min(PAGE_SIZE - b.key % PAGE_SIZE);
        mem.mark_code(b.key, first);
        if let Some(page) = b.second_page {
            mem.mark_code(page, b.bytes.len() as u64 - first);
        }
    }

    /// Enters a new block.
    pub(crate) fn insert(&mut self, mem: &mut PhysMem, mut block: Block) -> u32 {
        self.note(Event::Built);
        let i = self.blocks.len() as u32;
        if block.health == Health::Dead {
            // Code outside of memory: runs once, and is found by nobody.
            self.blocks.push(block);
            return i;
        }
        self.sites.end();
        let slot = bucket(block.key, block.mode);
        block.next_in_bucket = self.buckets[slot];
        self.buckets[slot] = i;
        let page = (block.key >> PAGE_SHIFT) as usize;
        let last = block.second_page.map_or(page, |p| page.max((p >> PAGE_SHIFT) as usize));
        if self.pages.len() <= last {
            self.pages.resize(last + 1, NONE);
        }
        block.next_in_page = self.pages[page];
        self.pages[page] = i;
        if block.second_page.is_some() {
            self.crossings.push(i);
        }
        self.blocks.push(block);
        self.mark(mem, i);
        i
    }

    /// Decoded code was written: what overlaps becomes suspect, and the marks of its page are made anew.
    pub(crate) fn code_written(&mut self, mem: &mut PhysMem, offset: u64, len: u64) {
        self.note(Event::CodeWritten);
        let page = offset & !(PAGE_SIZE - 1);
        let (from, to) = (offset / CODE_GRANULE * CODE_GRANULE, (offset + len).next_multiple_of(CODE_GRANULE));
        let mut i = self.pages.get((page >> PAGE_SHIFT) as usize).copied().unwrap_or(NONE);
        let mut kept = 0;
        let mut previous = NONE;
        while i != NONE {
            let b = &mut self.blocks[i as usize];
            let next = b.next_in_page;
            if b.health == Health::Good && b.key < to && b.key + b.bytes.len() as u64 > from {
                b.health = Health::Suspect;
                b.entry.set_run(chain::enter_suspect);
                b.aim_edges();
            }
            if b.health == Health::Good {
                kept |= granule_mask(b.key, (b.bytes.len() as u64).min(PAGE_SIZE - b.key % PAGE_SIZE));
            }
            if b.health == Health::Dead {
                // Out of the page's list, or a page of self-modifying code would make it ever longer.
                match previous {
                    NONE => self.pages[(page >> PAGE_SHIFT) as usize] = next,
                    p => self.blocks[p as usize].next_in_page = next,
                }
            } else {
                previous = i;
            }
            i = next;
        }
        mem.set_code_mask(page, kept);
        if !self.crossings.is_empty() {
            self.suspect_crossing(page);
        }
    }

    /// Blocks of the page before that cross into `page`: there is at most a handful, at the very end of that page.
    fn suspect_crossing(&mut self, page: u64) {
        let blocks = &mut self.blocks;
        self.crossings.retain(|&i| {
            let b = &mut blocks[i as usize];
            if b.second_page == Some(page) && b.health == Health::Good {
                b.health = Health::Suspect;
                b.entry.set_run(chain::enter_suspect);
            }
            b.health != Health::Dead
        });
    }

    /// Has the edge here lead to block `index`.
    pub(crate) fn link(&mut self, edge: OpRef, index: u32) {
        let b = &mut self.blocks[index as usize];
        b.edges.push(edge);
        b.aim_edges();
    }

    /// Whether blocks may be decoded anew in their places: nothing holds on to what is in the middle of one.
    pub(super) fn can_rebuild(&self) -> bool {
        self.patched.is_empty() && self.breaks.is_empty() && self.profile.is_none() && self.cold.len() < COLD_LIMIT
    }

    /// Replaces what block `i` is made of, if it fits into its place.
    pub(super) fn replace_ops(
        &mut self,
        i: u32,
        slots: &[super::Slot],
        edges: &[u16],
        places: &[super::InsnPlace],
        bytes: &[u8],
        polls: super::Polls,
    ) -> bool {
        let b = &mut self.blocks[i as usize];
        // Where an edge of it leads, the block there has it on its list.
        if slots.len() > usize::from(b.ops) || b.has_edges || !edges.is_empty() {
            return false;
        }
        b.entry.replace(slots);
        b.ops = slots.len() as u16;
        if *b.bytes != *bytes {
            b.bytes = bytes.into();
        }
        b.insns = places.into();
        b.polls = polls;
        true
    }

    /// Throws one block away.
    pub(crate) fn kill(&mut self, i: u32) {
        let b = &mut self.blocks[i as usize];
        b.health = Health::Dead;
        b.entry.set_run(chain::enter_dead);
        b.aim_edges();
    }

    /// The number that the next block will have.
    pub(crate) fn next_index(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Copies a block's slots into the arena.
    pub(crate) fn push_slots(&mut self, slots: &mut Vec<super::Slot>) -> OpRef {
        self.arena.push(slots)
    }

    /// A decoded instruction and its function.
    #[inline]
    pub(crate) fn cold_insn(&self, index: u32) -> (crate::exec::Exec, iced_x86::Instruction) {
        let cold = &self.cold[index as usize];
        (cold.exec, cold.insn)
    }

    /// Whether decoded code has outgrown its memory.
    pub(crate) fn is_full(&self) -> bool {
        self.arena.bytes() > ARENA_LIMIT || self.blocks.len() > BLOCK_LIMIT || self.cold.len() > COLD_LIMIT
    }

    /// Throws all decoded code away. Only between blocks.
    pub(crate) fn clear(&mut self, mem: &mut PhysMem) {
        self.note(Event::Cleared);
        self.drain_profile();
        for b in self.blocks.iter().filter(|b| b.key != u64::MAX) {
            mem.set_code_mask(b.key, 0);
            if let Some(page) = b.second_page {
                mem.set_code_mask(page, 0);
            }
        }
        self.blocks.clear();
        self.crossings.clear();
        self.buckets.fill(NONE);
        self.pages.fill(NONE);
        self.cold.clear();
        self.arena.clear();
        self.lookup_op = self.arena.push(&mut vec![chain::lookup_slot()]);
        self.jumps.clear(self.lookup_op);
        self.parked.iter_mut().for_each(|view| view.jumps.clear(self.lookup_op));
        self.patched.clear();
        self.sites.end();
        self.generation = self.generation.wrapping_add(1);
        self.trampoline = None;
    }

    /// Remembers where canonical address `lin` leads in the present context.
    pub(crate) fn remember_jump(&mut self, lin: u64, to: OpRef) {
        self.jumps.enter(lin, self.contexts.key(lin), to);
    }

    /// Where a linear address leads in the present context, if that is remembered.
    pub(crate) fn jump_target(&self, lin: u64) -> Option<OpRef> {
        self.landing(lin).filter(|_| is_canonical(lin))
    }

    /// Where a canonical address leads in the present context, if that is remembered.
    #[inline(always)]
    pub(crate) fn landing(&self, lin: u64) -> Option<OpRef> {
        self.jumps.find(lin, self.contexts.key(lin))
    }

    /// Numbers of contexts are used up: drops all keys.
    pub(crate) fn renumber_contexts(&mut self, mem: &mut PhysMem) {
        self.contexts.restart();
        self.parked.iter_mut().for_each(|view| view.contexts.restart());
        self.clear(mem);
    }

    /// One CPU more, which waits for its turn.
    pub(crate) fn add_view(&mut self) {
        self.parked.push(View { jumps: Jumps::new(self.lookup_op), contexts: Contexts::default() });
    }

    /// The turn passes to the CPU parked at `index`, and that of this one ends.
    pub(crate) fn swap_view(&mut self, index: usize) {
        let Some(view) = self.parked.get_mut(index) else { return };
        core::mem::swap(&mut self.jumps, &mut view.jumps);
        core::mem::swap(&mut self.contexts, &mut view.contexts);
        // No two CPUs have a context of the same number: landings, which all of them share, hold its address in a key.
        self.contexts.number_after(&view.contexts);
    }

    /// Drops what was remembered, for any CPU, of code that was translated through page-table entries which have changed.
    /// Returns whether the CPU that runs had some of it.
    pub(crate) fn unmap_code(&mut self, first: u64, last: u64) -> bool {
        self.parked.iter_mut().for_each(|view| _ = view.contexts.unmap(first, last));
        self.contexts.unmap(first, last)
    }

    /// Drops what was remembered under any CPU's translations.
    pub(crate) fn drop_all_contexts(&mut self) {
        self.contexts.drop_all();
        self.parked.iter_mut().for_each(|view| view.contexts.drop_all());
    }
}
