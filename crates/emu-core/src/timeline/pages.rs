//! Sets of pages with what they held: pages of memory and blocks of volumes under one kind of key.

use crate::block::SECTOR_SIZE;
use crate::mem::{PAGE_SHIFT, PAGE_SIZE, PageImage, page_hash};
use crate::system::System;
use crate::volume::SECTORS_PER_BLOCK;

/// A page of the memory pool, or a block of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

/// Bits of a key that are the page's or block's number.
const NUMBER_BITS: u32 = 48;

impl Key {
    /// Pool page `page`.
    pub(super) fn memory(page: u64) -> Key {
        Key(page)
    }

    /// Block `block` of volume number `volume`.
    pub(super) fn block(volume: usize, block: u64) -> Key {
        Key((volume as u64 + 1) << NUMBER_BITS | block)
    }

    /// As a number: in its upper 16 bits 0 for memory, or the volume's number + 1; below, the page or block.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0
    }

    /// From such a number, which need not be that of a page that exists.
    #[must_use]
    pub fn from_raw(raw: u64) -> Key {
        Key(raw)
    }

    pub(super) fn is_block(self) -> bool {
        self.split().0.is_some()
    }

    /// Whether the machine has such a page, and `image` is of its size.
    pub(super) fn takes(self, sys: &System, image: &PageImage) -> bool {
        let bytes = image.bytes().map(<[u8]>::len);
        match self.split() {
            (None, page) => page < sys.mem.pool_len() >> PAGE_SHIFT && bytes.is_none_or(|n| n == PAGE_SIZE as usize),
            (Some(volume), block) => sys.bus.volumes().get(volume).is_some_and(|v| {
                let sectors =
                    v.sectors().saturating_sub(block.saturating_mul(SECTORS_PER_BLOCK)).min(SECTORS_PER_BLOCK);
                sectors > 0 && bytes.is_none_or(|n| n == sectors as usize * SECTOR_SIZE)
            }),
        }
    }

    /// The volume's number, or `None` for memory; and the number of the page or block.
    fn split(self) -> (Option<usize>, u64) {
        ((self.0 >> NUMBER_BITS).checked_sub(1).map(|v| v as usize), self.0 & ((1 << NUMBER_BITS) - 1))
    }

    /// The page's part in the hash of memory, if it holds `image`; blocks have none.
    pub(super) fn hash(self, image: &PageImage) -> u128 {
        match (self.split(), image.bytes()) {
            ((None, page), Some(bytes)) => page_hash(page, bytes),
            _ => 0,
        }
    }

    /// What the machine holds there now.
    pub(super) fn look(self, sys: &System) -> PageImage {
        match self.split() {
            (None, page) => sys.mem.page_image(page),
            (Some(volume), block) => sys.bus.volumes().get(volume).map_or(PageImage::of(&[]), |v| v.block_image(block)),
        }
    }

    /// Puts `image` there. A volume that the host can't write any more keeps what it has: the machine's hash shows it.
    pub(super) fn put(self, sys: &mut System, image: &PageImage) {
        match self.split() {
            (None, page) => sys.mem.restore_page(page, image),
            (Some(volume), block) => {
                if let Some(v) = sys.bus.volumes().get(volume) {
                    let _ = v.restore_block(block, image);
                }
            }
        }
    }
}

/// Pages that were written in some stretch of time, with what they held at its start; in ascending order of their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct PageSet(Vec<(Key, PageImage)>);

impl PageSet {
    /// From pages in any order, each of them once.
    pub(super) fn new(mut pages: Vec<(Key, PageImage)>) -> PageSet {
        pages.sort_unstable_by_key(|p| p.0);
        PageSet(pages)
    }

    pub(super) fn iter(&self) -> core::slice::Iter<'_, (Key, PageImage)> {
        self.0.iter()
    }

    /// What page `key` held, if it was written.
    pub(super) fn get(&self, key: Key) -> Option<&PageImage> {
        self.0.binary_search_by_key(&key, |p| p.0).ok().map(|i| &self.0[i].1)
    }

    /// Host memory that the set takes. Images shared with others count in full.
    pub(super) fn cost(&self) -> usize {
        self.0.iter().map(|p| p.1.cost() + size_of::<(Key, PageImage)>()).sum()
    }

    /// The set of this stretch and the one behind it together.
    pub(super) fn then(self, later: PageSet) -> PageSet {
        let mut all = Vec::with_capacity(self.0.len().max(later.0.len()));
        let (mut a, mut b) = (self.0.into_iter().peekable(), later.0.into_iter().peekable());
        while let Some(next) = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if y.0 < x.0 => b.next(),
            (Some(x), Some(y)) if y.0 == x.0 => {
                b.next();
                a.next()
            }
            (Some(_), _) => a.next(),
            (None, _) => b.next(),
        } {
            all.push(next);
        }
        PageSet(all)
    }
}

/// Takes what was written since the last call, and has every page's next write noticed.
pub(super) fn seal(sys: &mut System) -> PageSet {
    let mut pages: Vec<_> = sys.seal_memory().into_iter().map(|(page, image)| (Key::memory(page), image)).collect();
    for (number, volume) in sys.bus.volumes().iter().enumerate() {
        pages.extend(volume.seal().into_iter().map(|(block, image)| (Key::block(number, block), image)));
    }
    PageSet::new(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pages: &[(u64, u8)]) -> PageSet {
        PageSet::new(pages.iter().map(|&(n, b)| (Key::memory(n), PageImage::of(&[b; 4096]))).collect())
    }

    fn shown(s: &PageSet) -> Vec<(u64, u8)> {
        s.iter().map(|(k, i)| (k.split().1, i.bytes().map_or(0, |b| b[0]))).collect()
    }

    #[test]
    fn the_earlier_stretch_says_what_a_page_held() {
        let both = set(&[(5, 1), (1, 0)]).then(set(&[(9, 4), (5, 2), (3, 3)]));
        assert_eq!(shown(&both), [(1, 0), (3, 3), (5, 1), (9, 4)]);
        assert_eq!(both.get(Key::memory(3)).and_then(PageImage::bytes).map(|b| b[0]), Some(3));
        assert!(both.get(Key::memory(4)).is_none());
        assert!(both.cost() > 3 * 4096 && both.cost() < 4 * 4096);
    }

    #[test]
    fn memory_and_volumes_do_not_mix() {
        assert_eq!(Key::block(0, 7).split(), (Some(0), 7));
        assert_eq!(Key::memory(7).split(), (None, 7));
        assert!(Key::block(1, 0) > Key::block(0, u64::MAX >> 20));
    }
}
