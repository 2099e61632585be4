//! The entries of page tables that cached translations were read from, so that a store to one of them is noticed.
//!
//! A pool page with such entries is a *table*: it has no write tag in any TLB, like a page with decoded code, and stores to it
//! look here. What they hit is let go of: whoever caches translations drops those that went through it (docs/adr/0035).

use super::{PAGE_SHIFT, PAGE_SIZE};

/// Rounds of many stores to a table, none of which hits what is held, until it is taken for a page of data.
const IDLE: u8 = 4;

/// Where a table stands in the linear address space: bits 47:0 of the first linear address that it maps, and below them log2
/// of what each entry maps, and whether entries have 8 bytes, not 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

const WIDE: u64 = 1 << 6;

impl Place {
    /// That of a table in which `lin` is mapped by an entry for `1 << shift` bytes.
    #[inline]
    pub(crate) fn of(lin: u64, shift: u32, wide: bool) -> Place {
        let below = (1 << (shift + if wide { 9 } else { 10 })) - 1;
        Place(lin & 0xFFFF_FFFF_FFFF & !below | u64::from(shift) | if wide { WIDE } else { 0 })
    }

    fn shift(self) -> u64 {
        self.0 & (WIDE - 1)
    }

    fn is_wide(self) -> bool {
        self.0 & WIDE != 0
    }
}

/// Physical addresses of the entries that a walk has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The last one, which maps the page.
    pub(crate) leaf: u64,
    /// Those above, by the number of levels that lie between; [`Path::NONE`] where there is none.
    pub(crate) above: [u64; 3],
    /// They have 8 bytes.
    pub(crate) wide: bool,
}

impl Path {
    /// No entry.
    pub(crate) const NONE: u64 = u64::MAX;

    /// The beginning of a walk.
    #[inline]
    pub(crate) const fn new(leaf: u64, wide: bool) -> Path {
        Path { leaf, above: [Path::NONE; 3], wide }
    }
}

/// What was translated through an entry that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Bits 47:0 of the first and the last linear address.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Code was translated through it, and not only data.
    pub(crate) code: bool,
}

impl Lost {
    const ALL: Lost = Lost { first: 0, last: u64::MAX, code: true };
}

/// A bit for each 4 bytes of a page.
type Bits = [u64; 16];

#[derive(Debug)]
struct Table {
    /// Number of its pool page.
    page: u64,
    /// `None` if it stands in several places, as a directory that maps itself.
    place: Option<Place>,
    /// Entries that translations were read from, and those of them that translate code.
    held: Bits,
    code: Bits,
    /// The entries above it which are held since `epoch`.
    above: [u64; 3],
    epoch: u64,
    idle: u8,
}

/// All tables.
#[derive(Debug)]
pub(super) struct Tables {
    /// For each pool page: its table's number plus 1, or 0.
    numbers: Vec<u32>,
    tables: Vec<Table>,
    /// What stores have hit since the last look.
    lost: Vec<Lost>,
    /// Rises when entries are let go of that may lead to other tables.
    epoch: u64,
}

/// The words and bits of `[offset, offset + len)`, inside one page.
fn dwords(offset: u64, len: u64) -> core::ops::RangeInclusive<usize> {
    let first = offset % PAGE_SIZE;
    (first / 4) as usize..=((first + len - 1) / 4) as usize
}

fn has(bits: &Bits, dword: usize) -> bool {
    bits[dword / 64] >> (dword % 64) & 1 != 0
}

impl Table {
    /// What the entry at `dword` maps.
    fn lost_by(&self, dword: usize) -> Lost {
        let Some(place) = self.place else { return Lost::ALL };
        let entry = if place.is_wide() { dword / 2 } else { dword } as u64;
        let first = (place.0 & !0xFFF) + (entry << place.shift());
        Lost { first, last: first + ((1 << place.shift()) - 1), code: has(&self.code, dword) }
    }

    fn is_empty(&self) -> bool {
        self.held == [0; 16]
    }

    #[inline]
    fn hold(&mut self, offset: u64, wide: bool, code: bool) {
        let dword = (offset % PAGE_SIZE / 4) as usize;
        let bits = if wide { 3 } else { 1 } << (dword % 64);
        self.held[dword / 64] |= bits;
        if code {
            self.code[dword / 64] |= bits;
        }
        self.idle = 0;
    }
}

impl Tables {
    pub(super) fn new(pages: usize) -> Tables {
        Tables { numbers: vec![0; pages], tables: Vec::new(), lost: Vec::new(), epoch: 1 }
    }

    /// Whether the pool page at `offset` is a table.
    #[inline]
    pub(super) fn is_table(&self, offset: u64) -> bool {
        self.numbers[(offset >> PAGE_SHIFT) as usize] != 0
    }

    fn index(&self, offset: u64) -> Option<usize> {
        let number = self.numbers[(offset >> PAGE_SHIFT) as usize];
        (number != 0).then(|| number as usize - 1)
    }

    /// Holds the last entry of `path`, at pool offset `offset`, if its table stands at `place`, and those above are held.
    #[inline]
    pub(super) fn hold_again(&mut self, offset: u64, path: &Path, place: Place, code: bool) -> bool {
        let number = self.numbers[(offset >> PAGE_SHIFT) as usize];
        match self.tables.get_mut((number as usize).wrapping_sub(1)) {
            Some(t) if t.place == Some(place) && t.epoch == self.epoch && t.above == path.above => {
                t.hold(offset, path.wide, code);
                true
            }
            _ => false,
        }
    }

    /// The entries above the table at pool offset `offset` are those of `path`, and are held.
    pub(super) fn set_above(&mut self, offset: u64, path: &Path) {
        if let Some(index) = self.index(offset) {
            (self.tables[index].above, self.tables[index].epoch) = (path.above, self.epoch);
        }
    }

    /// Holds the entry at pool offset `offset`, in a table at `place`. Returns whether its page was no table before.
    pub(super) fn hold(&mut self, offset: u64, place: Place, code: bool) -> bool {
        let known = self.index(offset);
        let index = known.unwrap_or_else(|| {
            let page = offset >> PAGE_SHIFT;
            let table =
                Table { page, place: Some(place), held: [0; 16], code: [0; 16], above: [0; 3], epoch: 0, idle: 0 };
            self.tables.push(table);
            self.numbers[page as usize] = self.tables.len() as u32;
            self.tables.len() - 1
        });
        let table = &mut self.tables[index];
        if table.place != Some(place) {
            table.place = table.is_empty().then_some(place);
        }
        table.hold(offset, place.is_wide(), code);
        known.is_none()
    }

    /// Whether a write of `[offset, offset + len)`, inside one page, hits what is held.
    #[cfg(test)]
    fn hits(&self, offset: u64, len: u64) -> bool {
        self.index(offset).is_some_and(|i| dwords(offset, len).any(|d| has(&self.tables[i].held, d)))
    }

    /// `[offset, offset + len)`, inside one page, is written: lets go of what that hits.
    pub(super) fn note_write(&mut self, offset: u64, len: u64) {
        let Some(index) = self.index(offset) else { return };
        let table = &mut self.tables[index];
        for dword in dwords(offset, len) {
            if has(&table.held, dword) {
                self.lost.push(table.lost_by(dword));
                if table.place.is_none_or(|p| p.shift() > 12) {
                    self.epoch += 1;
                }
                let entry = match table.place {
                    Some(place) if !place.is_wide() => 1 << (dword % 64),
                    _ => 3 << (dword % 64 & !1),
                };
                table.held[dword / 64] &= !entry;
                table.code[dword / 64] &= !entry;
            }
        }
    }

    /// The pool page at `offset` is no table any more, if nothing is held of it.
    pub(super) fn release_empty(&mut self, offset: u64) {
        if let Some(index) = self.index(offset).filter(|&i| self.tables[i].is_empty()) {
            self.release(index);
        }
    }

    fn release(&mut self, index: usize) {
        self.epoch += 1;
        let gone = self.tables.swap_remove(index);
        self.numbers[gone.page as usize] = 0;
        if let Some(moved) = self.tables.get(index) {
            self.numbers[moved.page as usize] = index as u32 + 1;
        }
    }

    /// Many stores have gone by, the last one to the page at `offset`, which is a table, and hit nothing that is held. Lets go
    /// of the whole table if nothing is held of it, or if it has been so for long.
    #[cold]
    pub(super) fn pass_idle(&mut self, offset: u64) {
        let Some(index) = self.index(offset) else { return };
        let table = &mut self.tables[index];
        table.idle += 1;
        if table.is_empty() || table.idle >= IDLE {
            self.note_write(offset & !(PAGE_SIZE - 1), PAGE_SIZE);
            self.release(index);
        }
    }

    /// Lets go of everything: nobody holds any translation.
    pub(super) fn clear(&mut self) {
        for table in self.tables.drain(..) {
            self.numbers[table.page as usize] = 0;
        }
        self.lost.clear();
        self.epoch += 1;
    }

    /// Whether something held was written since [`Self::take_lost`] gave the last of it.
    #[inline]
    pub(super) fn were_written(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Takes a part of what was translated through entries that were written.
    pub(super) fn take_lost(&mut self) -> Option<Lost> {
        self.lost.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Place = Place(0x40_0000 | 12);
    const BIG: Place = Place(0x4000_0000 | 21 | WIDE);

    fn lost(t: &mut Tables) -> Vec<(u64, u64, bool)> {
        core::iter::from_fn(|| t.take_lost()).map(|l| (l.first, l.last, l.code)).collect()
    }

    #[test]
    fn a_store_beside_what_is_held_hits_nothing() {
        let mut t = Tables::new(4);
        assert!(t.hold(0x1008, NARROW, false) && !t.hold(0x1014, NARROW, true));
        t.note_write(0x100C, 8);
        assert!(!t.were_written() && !t.hits(0x1010, 4) && t.hits(0x1012, 4));
        t.note_write(0x1006, 4);
        assert_eq!(lost(&mut t), [(0x40_2000, 0x40_2FFF, false)]);
        assert!(!t.hits(0x1008, 4));
        t.note_write(0x1000, 4096);
        assert_eq!(lost(&mut t), [(0x40_5000, 0x40_5FFF, true)]);
    }

    #[test]
    fn either_half_of_a_wide_entry_hits_it_once() {
        for at in [0x2010, 0x2014] {
            let mut t = Tables::new(4);
            t.hold(0x2010, BIG, true);
            t.note_write(at, 1);
            assert_eq!(lost(&mut t), [(0x4040_0000, 0x405F_FFFF, true)]);
            t.note_write(0x2000, 4096);
            assert!(!t.were_written());
        }
    }

    #[test]
    fn a_table_in_two_places_loses_all_that_any_entry_may_map() {
        let mut t = Tables::new(4);
        t.hold(0x1000, NARROW, false);
        t.hold(0x1000, Place::of(0x40_0000, 22, false), false);
        t.note_write(0x1000, 4);
        assert_eq!(lost(&mut t), [(0, u64::MAX, true)]);
    }

    #[test]
    fn a_page_that_is_only_written_is_no_table_any_more() {
        let mut t = Tables::new(4);
        t.hold(0x1000, NARROW, true);
        t.hold(0x2000, BIG, true);
        t.hold(0x3000, NARROW, false);
        (0..IDLE).for_each(|_| t.pass_idle(0x1800));
        assert_eq!(lost(&mut t).len(), 1);
        assert!(!t.is_table(0x1000) && t.is_table(0x2000) && t.hits(0x3000, 4));
        t.note_write(0x3000, 4);
        t.pass_idle(0x3004);
        assert!(!t.is_table(0x3000) && t.hits(0x2000, 8));
    }
}
