//! The cache of an image's tables: bounded, and written back in an order that any crash may cut.
//!
//! A table's bytes are cached in pages. Changed ones stay in memory until [`Meta::write_back`], which writes them rank by
//! rank with a barrier between: first what others will point to (reference counts), then what points. So a crash
//! leaves either the old pointer or a new one whose target is there. The unit of a rank is a sector: no format mixes two
//! structures in one.

use std::collections::{BTreeMap, VecDeque};

use super::ImageError;
use super::store::Store;

const PAGE: usize = 4096;
const SECTOR: usize = 512;
const SECTORS: usize = PAGE / SECTOR;

/// Pages that a cache holds at most: 16 MiB.
const PAGES: usize = 4096;
/// Changed pages at which their owner should write back.
const DIRTY: usize = PAGES / 2;

/// When a changed sector is written: all of a lower rank are durable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// What says that space is taken.
    Claim = 1,
    /// What points to such.
    ClaimRoot = 2,
    /// What points to data.
    Point = 3,
    /// What points to tables.
    Root = 4,
}

const RANKS: [Rank; 4] = [Rank::Claim, Rank::ClaimRoot, Rank::Point, Rank::Root];

struct Page {
    bytes: Box<[u8; PAGE]>,
    /// The rank of each changed sector, 0 for an unchanged one.
    dirty: [u8; SECTORS],
    used: bool,
}

/// The cache.
pub(crate) struct Meta {
    pages: BTreeMap<u64, Page>,
    clock: VecDeque<u64>,
    dirty: usize,
    /// Pages that it may hold; changed ones are held beyond that.
    limit: usize,
    /// Whether nothing else than tables lies in its pages.
    whole_pages: bool,
}

impl Meta {
    pub(crate) fn new() -> Meta {
        Meta { pages: BTreeMap::new(), clock: VecDeque::new(), dirty: 0, limit: PAGES, whole_pages: false }
    }

    /// For tables that share no page with data: changed sectors of a page then go in one write, with what lies between.
    pub(crate) fn of_whole_pages(whole_pages: bool) -> Meta {
        Meta { whole_pages, ..Meta::new() }
    }

    /// Whether so much has changed that it should be written back.
    pub(crate) fn is_full(&self) -> bool {
        self.dirty >= DIRTY
    }

    /// Makes room for `next`, another part of the same image: `parts` share what one cache may hold.
    pub(crate) fn share<'a>(parts: impl Iterator<Item = &'a mut Meta>, next: usize) {
        let mut parts: Vec<&mut Meta> = parts.collect();
        let held = |parts: &[&mut Meta]| {
            let others = parts.iter().enumerate().filter(|(i, _)| *i != next);
            others.map(|(_, m)| m.pages.len()).sum::<usize>()
        };
        if held(&parts) > PAGES / 2 {
            parts.iter_mut().enumerate().filter(|(i, _)| *i != next).for_each(|(_, m)| m.drop_clean());
        }
        let limit = PAGES.saturating_sub(held(&parts)).max(16);
        if let Some(next) = parts.get_mut(next) {
            next.limit = limit;
        }
    }

    /// Changed pages of several parts of an image, as one cache's.
    pub(crate) fn are_full<'a>(parts: impl Iterator<Item = &'a Meta>) -> bool {
        parts.map(|m| m.dirty).sum::<usize>() >= DIRTY
    }

    fn drop_clean(&mut self) {
        self.pages.retain(|_, page| page.dirty != [0; SECTORS]);
        self.clock.retain(|number| self.pages.contains_key(number));
    }

    /// Fills `buf` with the table's bytes at `offset`.
    pub(crate) fn read(&mut self, store: &dyn Store, offset: u64, buf: &mut [u8]) -> Result<(), ImageError> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let within = (at % PAGE as u64) as usize;
            let n = (PAGE - within).min(buf.len() - done);
            let page = self.page(store, at / PAGE as u64)?;
            buf[done..done + n].copy_from_slice(&page.bytes[within..within + n]);
            done += n;
        }
        Ok(())
    }

    /// Changes the table's bytes at `offset`, to be written with this rank.
    pub(crate) fn write(&mut self, store: &dyn Store, offset: u64, bytes: &[u8], rank: Rank) -> Result<(), ImageError> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let within = (at % PAGE as u64) as usize;
            let n = (PAGE - within).min(bytes.len() - done);
            let page = self.page(store, at / PAGE as u64)?;
            page.bytes[within..within + n].copy_from_slice(&bytes[done..done + n]);
            let was_clean = page.dirty == [0; SECTORS];
            page.dirty[within / SECTOR..(within + n).div_ceil(SECTOR)].fill(rank as u8);
            self.dirty += usize::from(was_clean);
            done += n;
        }
        Ok(())
    }

    /// Bytes of the table, as an array.
    pub(crate) fn get<const N: usize>(&mut self, store: &dyn Store, offset: u64) -> Result<[u8; N], ImageError> {
        let within = (offset % PAGE as u64) as usize;
        if within + N <= PAGE {
            let page = self.page(store, offset / PAGE as u64)?;
            return Ok(*page.bytes[within..].first_chunk().expect("it fits"));
        }
        let mut bytes = [0; N];
        self.read(store, offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The cached bytes from `offset` to the end of their page, for loops over a table.
    pub(crate) fn rest(&mut self, store: &dyn Store, offset: u64) -> Result<&[u8], ImageError> {
        let within = (offset % PAGE as u64) as usize;
        Ok(&self.page(store, offset / PAGE as u64)?.bytes[within..])
    }

    fn page(&mut self, store: &dyn Store, number: u64) -> Result<&mut Page, ImageError> {
        if !self.pages.contains_key(&number) {
            self.make_room();
            let mut bytes = Box::new([0; PAGE]);
            store.read(number * PAGE as u64, &mut bytes[..])?;
            self.pages.insert(number, Page { bytes, dirty: [0; SECTORS], used: false });
            self.clock.push_back(number);
        }
        let page = self.pages.get_mut(&number).expect("it is there");
        page.used = true;
        Ok(page)
    }

    /// Throws out a page that has not been used for a while. Changed ones stay: their owner writes them back in time.
    fn make_room(&mut self) {
        for _ in 0..self.clock.len() * 2 {
            if self.pages.len() < self.limit {
                return;
            }
            let Some(number) = self.clock.pop_front() else { return };
            let page = self.pages.get_mut(&number).expect("both lists agree");
            if page.used || page.dirty != [0; SECTORS] {
                page.used = false;
                self.clock.push_back(number);
            } else {
                self.pages.remove(&number);
            }
        }
    }

    /// Writes all that changed, with a barrier after each rank. The caller has made the data durable that it points to.
    pub(crate) fn write_back(&mut self, store: &dyn Store) -> Result<(), ImageError> {
        if self.dirty == 0 {
            return Ok(());
        }
        for rank in RANKS {
            let mut wrote = false;
            for (number, page) in self.pages.iter_mut().filter(|(_, p)| p.dirty != [0; SECTORS]) {
                if self.whole_pages {
                    join_sectors(page, rank as u8);
                }
                wrote |= write_sectors(store, number * PAGE as u64, page, rank as u8)?;
            }
            if wrote {
                store.flush()?;
            }
        }
        self.dirty = 0;
        Ok(())
    }

    /// Forgets everything: the file was changed beside the cache. Nothing may have been left to write.
    pub(crate) fn forget(&mut self) {
        debug_assert_eq!(self.dirty, 0, "changes would be lost");
        *self = Meta { limit: self.limit, ..Meta::of_whole_pages(self.whole_pages) };
    }
}

/// Lets unchanged sectors between two of `rank` go along.
fn join_sectors(page: &mut Page, rank: u8) {
    let mut last = None;
    for sector in (0..SECTORS).filter(|s| page.dirty[*s] == rank).collect::<Vec<_>>() {
        if let Some(last) = last.replace(sector)
            && page.dirty[last + 1..sector].iter().all(|d| *d == 0)
        {
            page.dirty[last + 1..sector].fill(rank);
        }
    }
}

/// Writes the sectors of `rank`; neighbours go in one call.
fn write_sectors(store: &dyn Store, at: u64, page: &mut Page, rank: u8) -> Result<bool, ImageError> {
    let mut wrote = false;
    let mut sector = 0;
    while sector < SECTORS {
        let from = sector;
        while sector < SECTORS && page.dirty[sector] == rank {
            sector += 1;
        }
        if sector > from {
            store.write(at + (from * SECTOR) as u64, &page.bytes[from * SECTOR..sector * SECTOR])?;
            page.dirty[from..sector].fill(0);
            wrote = true;
        }
        sector += 1;
    }
    Ok(wrote)
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, Step};
    use super::*;

    #[test]
    fn ranks_are_written_in_order_with_barriers() {
        let store = Memory::new("m", vec![0; 3 * PAGE]);
        store.record();
        let mut meta = Meta::new();
        meta.write(&store, 0, &[1; 8], Rank::Root).unwrap();
        meta.write(&store, 520, &[2; 8], Rank::Point).unwrap();
        meta.write(&store, 2 * PAGE as u64 - 4, &[3; 8], Rank::Claim).unwrap();
        assert_eq!(meta.get::<8>(&store, 2 * PAGE as u64 - 4).unwrap(), [3; 8]);
        assert!(store.steps().is_empty());
        meta.write_back(&store).unwrap();
        let kinds: Vec<u64> = store.steps().iter().map(|s| if let Step::Write(at, _) = s { *at } else { 9 }).collect();
        assert_eq!(kinds, [PAGE as u64 * 2 - 512, PAGE as u64 * 2, 9, 512, 9, 0, 9]);
    }

    #[test]
    fn it_stays_small() {
        let store = Memory::new("m", vec![7; 1 << 20]);
        let mut meta = Meta::new();
        for n in 0..PAGES as u64 * 3 {
            meta.get::<4>(&store, n * PAGE as u64).unwrap();
        }
        assert!(meta.pages.len() <= PAGES);
    }

    #[test]
    fn parts_of_an_image_are_small_together() {
        let store = Memory::new("m", vec![7; 1 << 20]);
        let mut parts: Vec<Meta> = (0..20).map(|_| Meta::new()).collect();
        for round in 0..3 {
            for part in 0..parts.len() {
                Meta::share(parts.iter_mut(), part);
                for n in 0..PAGES as u64 / 4 {
                    parts[part].get::<4>(&store, n * PAGE as u64).unwrap();
                }
                parts[part].write(&store, round * PAGE as u64, &[1; 4], Rank::Root).unwrap();
                let all: usize = parts.iter().map(|m| m.pages.len()).sum();
                assert!(all <= PAGES, "{all} pages");
            }
        }
        assert_eq!(parts.iter().map(|m| m.dirty).sum::<usize>(), 60);
        assert!(!Meta::are_full(parts.iter()));
    }
}
