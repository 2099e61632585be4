//! Cached translations: held as long as a walk of the page tables would give the same, and no longer (docs/adr/0035).
//!
//! Whoever caches a translation holds the entries that its walk read; a store to one of them, by whomever, drops what was
//! translated through it behind that store. A write to CR3 drops what is not global; the rest stays if the new tables
//! begin with the same entries. So no guest sees whether a translation was cached, and it changes nothing where caches are
//! emptied: by checkpoints, jumps in time, turns of CPUs.

use super::{System, Translation};
use crate::cpu::bits::*;
use crate::mem::{PAGE_SIZE, Path, Place};

/// Where the global translations of a CPU begin: a bit for each entry of the uppermost table that one was read through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Globals([u64; 16]);

impl Globals {
    fn note(&mut self, entry: u64) {
        self.0[(entry / 64) as usize & 15] |= 1 << (entry % 64);
    }

    fn entries(self) -> impl Iterator<Item = u64> {
        let bits =
            |(n, word): (usize, u64)| (0..64).filter(move |b| word >> b & 1 != 0).map(move |b| 64 * n as u64 + b);
        self.0.into_iter().enumerate().filter(|w| w.1 != 0).flat_map(bits)
    }
}

/// What the walks of an address space begin with.
pub(super) struct Root {
    cr3: u64,
    pdptrs: [u64; 4],
}

impl System {
    /// What walks begin with now.
    pub(super) fn root(&self) -> Root {
        Root { cr3: self.cpu.cr3, pdptrs: self.cpu.pdptrs }
    }

    /// Whether walks begin with the page-directory pointers.
    fn walks_pae(&self) -> bool {
        self.cpu.cr4 & CR4_PAE != 0 && self.cpu.efer & EFER_LMA == 0
    }

    /// Translation `t` of `lin`, which the last walk gave, is cached, for code or for data: holds the entries that it was read
    /// from.
    #[inline]
    pub(crate) fn hold(&mut self, lin: u64, t: &Translation, code: bool) {
        if self.cpu.cr0 & CR0_PG == 0 {
            return;
        }
        let place = Place::of(lin, t.page_size.trailing_zeros(), self.path.wide);
        if !self.mem.hold_again(&self.path, place, code) {
            self.hold_anew(lin, place, code);
        }
        if t.global {
            self.note_global(lin);
        }
    }

    #[cold]
    #[inline(never)]
    fn hold_anew(&mut self, lin: u64, place: Place, code: bool) {
        let path = self.path;
        self.mem.hold_entry(path.leaf, place, code);
        for (at, level) in path.above.into_iter().zip(1..).filter(|entry| entry.0 != Path::NONE) {
            let shift = 12 + level * if path.wide { 9 } else { 10 };
            // For the sake of what else may be translated through it: also of code.
            self.mem.hold_entry(at, Place::of(lin, shift, path.wide), true);
        }
        self.mem.path_is_held(&path);
        self.protect_fresh_code();
    }

    /// A global translation of `lin` is cached, which the last walk gave.
    fn note_global(&mut self, lin: u64) {
        let Path { leaf, above, wide } = self.path;
        let first = above.into_iter().rev().find(|&at| at != Path::NONE).unwrap_or(leaf) % PAGE_SIZE;
        self.globals.note(match (self.walks_pae(), wide) {
            (true, _) => lin >> 30 & 3,
            (false, true) => first / 8,
            (false, false) => first / 4,
        });
    }

    /// Drops what was translated through page-table entries that have been written since. Returns whether the chain that runs
    /// must end behind the present instruction, as it may be in code that is mapped elsewhere now.
    #[cold]
    #[inline(never)]
    pub(super) fn drop_lost(&mut self) -> bool {
        let mut leave = false;
        while let Some(lost) = self.mem.take_lost() {
            if lost.last - lost.first < PAGE_SIZE {
                self.tlb.flush_page(((lost.first << 16) as i64 >> 16) as u64);
            } else {
                self.tlb.flush_range(lost.first, lost.last);
            }
            if lost.code {
                leave |= self.engine.unmap_code(lost.first, lost.last);
            }
        }
        leave
    }

    /// The walks of the new address space begin with the entries that those of `before` began with, where global translations
    /// were read through them; they are held there too.
    fn globals_stay(&mut self, before: &Root) -> bool {
        let (old, new) = (before.cr3, self.cpu.cr3);
        if self.walks_pae() {
            let pdptrs = &self.cpu.pdptrs;
            return self.globals.entries().all(|e| pdptrs[e as usize & 3] == before.pdptrs[e as usize & 3]);
        }
        let long = self.cpu.efer & EFER_LMA != 0;
        let mask = if long { self.address_mask() } else { 0xFFFF_F000 };
        if (old ^ new) & mask == 0 {
            return true;
        }
        let place = Place::of(0, if long { 39 } else { 22 }, long);
        for e in self.globals.entries() {
            let same = if long {
                let at = |cr3: u64| (cr3 & mask) + 8 * e;
                self.mem.hold_entry(at(new), place, true);
                self.mem.load::<u64>(at(old)) == self.mem.load::<u64>(at(new))
            } else {
                let at = |cr3: u64| (cr3 & mask) + 4 * e;
                self.mem.hold_entry(at(new), place, true);
                self.mem.load::<u32>(at(old)) == self.mem.load::<u32>(at(new))
            };
            if !same {
                return false;
            }
        }
        self.protect_fresh_code();
        true
    }

    /// CR3 was written, where walks began with `before`: drops the translations that that drops.
    pub(super) fn change_space(&mut self, before: &Root) {
        if self.cpu.cr0 & CR0_PG != 0 && self.globals_stay(before) {
            self.tlb.flush(self.cpu.cr4 & CR4_PGE != 0);
            self.engine.contexts.change_space();
        } else {
            self.flush_translations();
        }
    }

    /// Drops all cached translations of the CPU that runs: after a change of CR0, CR4 or EFER.
    pub fn flush_translations(&mut self) {
        self.protect_fresh_code();
        self.tlb.flush(false);
        self.engine.contexts.drop_all();
        self.globals = Globals::default();
        if self.parked.is_empty() {
            self.mem.let_go_of_tables();
        }
    }

    /// Drops those of all CPUs.
    pub(super) fn flush_all_translations(&mut self) {
        self.tlb.flush(false);
        self.globals = Globals::default();
        for other in &mut self.parked {
            other.tlb.flush(false);
            other.globals = Globals::default();
        }
        self.engine.drop_all_contexts();
        self.mem.let_go_of_tables();
    }

    /// INVLPG: drops the translation of the page at `lin`. If large pages are in use the whole of it, as the cache holds
    /// only their 4 KiB parts. Returns whether it may be a page of code.
    pub fn flush_page(&mut self, lin: u64) -> bool {
        if self.cpu.cr4 & (CR4_PSE | CR4_PAE) != 0 && self.page_is_large(lin) {
            self.tlb.flush(false);
            self.engine.contexts.drop_all();
            true
        } else {
            self.tlb.flush_page(lin);
            self.engine.contexts.drop_page(lin)
        }
    }
}
