//! Which pages were written since a moment, and what they held at that moment.
//!
//! While memory is tracked, a page that nobody has written since the last [`Tracker::seal`] is *clean*: it has no write
//! tag in any TLB, so that its first write takes the slow path, which keeps the page's contents and opens it. From then on
//! writes cost nothing. Watched pages are never opened, so every write to them is seen.

use std::sync::Arc;

use super::PAGE_SIZE;
use crate::state::StateHash;

/// The contents of a page, shared by all who hold it; a page of zeros takes no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageImage(Option<Arc<[u8]>>);

impl PageImage {
    /// Holds a copy of `bytes`, a page or less.
    #[must_use]
    pub fn of(bytes: &[u8]) -> PageImage {
        PageImage((!is_zero(bytes)).then(|| Arc::from(bytes)))
    }

    /// The page's bytes; `None` if all of them are zero.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }

    /// Bytes of host memory that it holds, with what the allocator adds.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.0.as_ref().map_or(0, |b| b.len() + 32)
    }
}

/// Whether all of `bytes` are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (parts, rest) = bytes.as_chunks::<64>();
    parts.iter().all(|p| *p == [0; 64]) && rest.iter().all(|&b| b == 0)
}

/// The part of page `number` in the hash of a memory: 0 for a page of zeros, so that the parts of all pages, added up,
/// do not depend on where memory ends or which pages were ever touched.
#[must_use]
pub(crate) fn page_hash(number: u64, bytes: &[u8]) -> u128 {
    if is_zero(bytes) { 0 } else { StateHash::of(&number.to_le_bytes()).then(StateHash::of(bytes)).0 }
}

/// An access to a watched range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchHit {
    /// Pool offset of the first byte accessed.
    pub offset: u64,
    /// Bytes accessed.
    pub len: u64,
    /// Whether they were written.
    pub write: bool,
}

/// Nobody has written the page since the last seal.
const CLEAN: u8 = 1;
/// Writes to some of the page are watched.
const WATCHED: u8 = 2;
/// Reads of some of the page are watched.
const READS_WATCHED: u8 = 4;

/// The sum of all pages' hashes, kept up to date from the pages that change.
#[derive(Debug)]
struct Sum {
    /// The part of each page in the sum.
    parts: Vec<u128>,
    sum: u128,
    /// Pages whose part may be wrong, each once.
    stale: Vec<u64>,
    is_stale: bitvec::vec::BitVec,
}

impl Sum {
    fn note(&mut self, page: u64) {
        if !self.is_stale.replace(page as usize, true) {
            self.stale.push(page);
        }
    }
}

/// What [`super::PhysMem`] knows of writes to its pages.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// For each pool page: why a write to it must not happen silently. 0 where it may.
    flags: Vec<u8>,
    on: bool,
    /// Pages written since the last seal, with what they held then.
    written: Vec<(u64, PageImage)>,
    /// Memory that `written` takes.
    cost: usize,
    sum: Option<Sum>,
    /// Ranges of the pool whose writes are watched, and those whose reads are: first and last byte.
    watches: Vec<(u64, u64)>,
    read_watches: Vec<(u64, u64)>,
    hits: Vec<WatchHit>,
}

impl Tracker {
    pub(super) fn new(pages: usize) -> Tracker {
        Tracker { flags: vec![0; pages], ..Tracker::default() }
    }

    /// Whether writes to page `page` need no notice.
    #[inline]
    pub(super) fn is_silent(&self, page: u64) -> bool {
        self.flags[page as usize] == 0
    }

    /// Whether page `page` may be opened for silent writes.
    pub(super) fn is_watched(&self, page: u64) -> bool {
        self.flags[page as usize] & WATCHED != 0
    }

    /// Makes every page clean, and notes writes from here on.
    pub(super) fn start(&mut self) {
        self.on = true;
        self.flags.iter_mut().for_each(|f| *f |= CLEAN);
        self.written.clear();
        self.cost = 0;
    }

    /// Notes nothing any more.
    pub(super) fn stop(&mut self) {
        self.on = false;
        self.flags.iter_mut().for_each(|f| *f &= !CLEAN);
        self.written.clear();
        self.cost = 0;
        self.sum = None;
    }

    /// The page is about to be written and holds `bytes` now.
    #[cold]
    pub(super) fn open(&mut self, page: u64, bytes: &[u8]) {
        let flags = &mut self.flags[page as usize];
        if *flags & CLEAN != 0 {
            *flags &= !CLEAN;
            let image = PageImage::of(bytes);
            self.cost += image.cost() + size_of::<(u64, PageImage)>();
            self.written.push((page, image));
            if let Some(sum) = &mut self.sum {
                sum.note(page);
            }
        }
    }

    /// Notes a write of `[offset, offset + len)`, inside one page, if it is watched.
    pub(super) fn note(&mut self, offset: u64, len: u64) {
        if self.watches.iter().any(|&(first, last)| offset <= last && offset + len > first) {
            self.hits.push(WatchHit { offset, len, write: true });
        }
    }

    /// Whether reads of some of page `page` are watched.
    #[inline]
    pub(super) fn reads_watched(&self, page: u64) -> bool {
        self.flags[page as usize] & READS_WATCHED != 0
    }

    /// Whether any reads are watched.
    #[inline]
    pub(super) fn watches_reads(&self) -> bool {
        !self.read_watches.is_empty()
    }

    /// Notes a read of `[offset, offset + len)`, inside one page, if it is watched.
    pub(super) fn note_read(&mut self, offset: u64, len: u64) {
        if self.read_watches.iter().any(|&(first, last)| offset <= last && offset + len > first) {
            self.hits.push(WatchHit { offset, len, write: false });
        }
    }

    /// Takes the pages written since the last seal, which are clean from here on.
    pub(super) fn seal(&mut self) -> Vec<(u64, PageImage)> {
        let written = core::mem::take(&mut self.written);
        written.iter().for_each(|(page, _)| self.flags[*page as usize] |= CLEAN);
        self.cost = 0;
        written
    }

    /// Host memory that the pages written since the last seal take.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Page `page` got other contents than by a write of the guest.
    pub(super) fn replaced(&mut self, page: u64) {
        if let Some(sum) = &mut self.sum {
            sum.note(page);
        }
    }

    /// Watches writes to and reads of ranges of the pool (first and last byte), and nothing else.
    pub(super) fn watch(&mut self, writes: &[(u64, u64)], reads: &[(u64, u64)]) {
        self.flags.iter_mut().for_each(|f| *f &= !(WATCHED | READS_WATCHED));
        for (ranges, flag) in [(writes, WATCHED), (reads, READS_WATCHED)] {
            for page in ranges.iter().flat_map(|&(first, last)| first / PAGE_SIZE..=last / PAGE_SIZE) {
                if let Some(f) = self.flags.get_mut(page as usize) {
                    *f |= flag;
                }
            }
        }
        (self.watches, self.read_watches) = (writes.to_vec(), reads.to_vec());
        self.hits.clear();
    }

    /// Takes the accesses to watched ranges since the last call.
    pub(super) fn take_hits(&mut self) -> Vec<WatchHit> {
        core::mem::take(&mut self.hits)
    }

    /// Whether a watched range was accessed.
    #[inline]
    pub(super) fn has_hits(&self) -> bool {
        !self.hits.is_empty()
    }

    /// The sum of all pages' hashes. The first call looks at all of memory, later ones at the pages that changed; only
    /// while memory is tracked.
    pub(super) fn sum<'a>(&mut self, pages: u64, read: impl Fn(u64) -> &'a [u8]) -> u128 {
        let flags = &self.flags;
        let sum = self.sum.get_or_insert_with(|| Sum {
            parts: vec![0; flags.len()],
            sum: 0,
            stale: (0..pages).collect(),
            is_stale: bitvec::vec::BitVec::repeat(true, flags.len()),
        });
        let Sum { parts, sum, stale, is_stale } = sum;
        stale.retain(|&page| {
            let part = page_hash(page, read(page));
            let old = core::mem::replace(&mut parts[page as usize], part);
            *sum = sum.wrapping_sub(old).wrapping_add(part);
            // An open page may change again without notice.
            let open = flags[page as usize] & CLEAN == 0;
            is_stale.set(page as usize, open);
            open
        });
        *sum
    }
}
