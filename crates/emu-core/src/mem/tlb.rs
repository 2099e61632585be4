//! The translation cache of data accesses: linear page to host page.
//!
//! Direct-mapped, one half for supervisor and one for user accesses. An entry has a tag for reads and one for writes; a tag
//! that is not page-aligned never matches. Whatever must not happen silently (a write to decoded code, to ROM, to a clean
//! page; any access to a device) simply has no tag, and takes the slow path. The one compare uses the access's last byte, so
//! that an access which leaves its page does not match either.

use super::ram::{HostPage, Scalar};
use super::{PAGE_SHIFT, PAGE_SIZE};

/// Entries of each half.
const ENTRIES: usize = 2048;
const NO_TAG: u64 = 1;
const PAGE_MASK: u64 = !(PAGE_SIZE - 1);

#[derive(Clone, Copy, Debug)]
struct Entry {
    read: u64,
    write: u64,
    page: HostPage,
    /// Pool page number, and in the top bit whether the page is global.
    info: u64,
}

const EMPTY: Entry = Entry { read: NO_TAG, write: NO_TAG, page: HostPage::NONE, info: 0 };
const GLOBAL: u64 = 1 << 63;

/// The data TLB of one CPU.
#[derive(Debug)]
pub(crate) struct Tlb {
    entries: Box<[Entry; 2 * ENTRIES]>,
    /// 0 for supervisor accesses, `ENTRIES` for user accesses.
    half: usize,
    /// Slots that have been filled since the last flush, so that a flush costs what was used.
    filled: Vec<u16>,
}

impl Default for Tlb {
    fn default() -> Self {
        let entries = vec![EMPTY; 2 * ENTRIES].into_boxed_slice();
        // The length is right by construction; an empty fallback can't happen.
        let entries = entries.try_into().unwrap_or_else(|_| Box::new([EMPTY; 2 * ENTRIES]));
        Tlb { entries, half: 0, filled: Vec::new() }
    }
}

impl Tlb {
    /// Selects the half for accesses of this privilege.
    #[inline]
    pub(crate) fn set_user(&mut self, user: bool) {
        self.half = if user { ENTRIES } else { 0 };
    }

    #[inline(always)]
    fn slot(&self, lin: u64) -> usize {
        (((lin >> PAGE_SHIFT) as usize & (ENTRIES - 1)) | self.half) & (2 * ENTRIES - 1)
    }

    /// Reads if the page is here.
    #[inline(always)]
    pub(crate) fn read<T: Scalar>(&self, lin: u64) -> Option<T> {
        let e = &self.entries[self.slot(lin)];
        if lin.wrapping_add(T::SIZE - 1) & PAGE_MASK == e.read { Some(e.page.read(lin)) } else { None }
    }

    /// Writes if the page is here and may be written without further notice.
    #[inline(always)]
    pub(crate) fn write<T: Scalar>(&self, lin: u64, v: T) -> bool {
        let e = &self.entries[self.slot(lin)];
        if lin.wrapping_add(T::SIZE - 1) & PAGE_MASK == e.write {
            e.page.write(lin, v);
            true
        } else {
            false
        }
    }

    /// Reads if the page may also be written without further notice: the first half of a read-modify-write.
    #[inline(always)]
    pub(crate) fn read_for_write<T: Scalar>(&self, lin: u64) -> Option<T> {
        let e = &self.entries[self.slot(lin)];
        if lin.wrapping_add(T::SIZE - 1) & PAGE_MASK == e.write { Some(e.page.read(lin)) } else { None }
    }

    /// The host page behind `lin`, if it is here for reads (or for writes).
    #[inline]
    pub(crate) fn page(&self, lin: u64, write: bool) -> Option<HostPage> {
        let e = &self.entries[self.slot(lin)];
        (lin & PAGE_MASK == if write { e.write } else { e.read }).then_some(e.page)
    }

    /// Enters a page for the selected privilege.
    pub(crate) fn fill(
        &mut self,
        lin: u64,
        page: HostPage,
        pool_page: u64,
        readable: bool,
        writable: bool,
        global: bool,
    ) {
        let slot = self.slot(lin);
        let tag = lin & PAGE_MASK;
        let e = &mut self.entries[slot];
        if e.page.is_none() {
            self.filled.push(slot as u16);
        }
        let info = pool_page | if global { GLOBAL } else { 0 };
        let read = if readable { tag } else { NO_TAG };
        *e = Entry { read, write: if writable { tag } else { NO_TAG }, page, info };
    }

    /// Drops everything, or everything that is not global.
    pub(crate) fn flush(&mut self, keep_global: bool) {
        let entries = &mut self.entries;
        self.filled.retain(|&slot| {
            let e = &mut entries[slot as usize & (2 * ENTRIES - 1)];
            let keep = keep_global && e.info & GLOBAL != 0;
            if !keep {
                *e = EMPTY;
            }
            keep
        });
    }

    /// Drops the page at `lin`, for both privileges.
    pub(crate) fn flush_page(&mut self, lin: u64) {
        let slot = (lin >> PAGE_SHIFT) as usize & (ENTRIES - 1);
        for i in [slot, slot | ENTRIES] {
            let e = &mut self.entries[i];
            (e.read, e.write) = (NO_TAG, NO_TAG);
        }
    }

    /// Takes the write tag from every entry of a pool page: it holds decoded code now.
    pub(crate) fn protect(&mut self, pool_page: u64) {
        for &slot in &self.filled {
            let e = &mut self.entries[slot as usize & (2 * ENTRIES - 1)];
            if e.info & !GLOBAL == pool_page {
                e.write = NO_TAG;
            }
        }
    }
    /// Takes the write tag from every entry: each page's next write is to be noticed.
    pub(crate) fn protect_all(&mut self) {
        for &slot in &self.filled {
            self.entries[slot as usize & (2 * ENTRIES - 1)].write = NO_TAG;
        }
    }
}
