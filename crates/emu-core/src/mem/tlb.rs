//! The translation cache of data accesses: linear page to host page.
//!
//! Direct-mapped, one table for supervisor and one for user accesses. An entry has a tag for reads and one for writes; a tag
//! that is not page-aligned never matches. Whatever must not happen silently (a write to decoded code, to ROM, to a clean
//! page; any access to a device) simply has no tag, and takes the slow path. The one compare uses the access's last byte, so
//! that an access which leaves its page does not match either.

use core::marker::PhantomData;

use super::ram::{HostPage, LinearPage, Scalar};
use super::{PAGE_SHIFT, PAGE_SIZE};

/// Entries of each table: they reach 64 MiB.
const ENTRIES: usize = 16384;
const NO_TAG: u64 = 1;
const PAGE_MASK: u64 = !(PAGE_SIZE - 1);

#[derive(Clone, Copy, Debug)]
struct Entry {
    read: u64,
    write: u64,
    page: LinearPage,
    /// Pool page number, [`GLOBAL`] and [`CODE`]; [`NOTHING`] if there is no page.
    info: u64,
}

const GLOBAL: u64 = 1 << 63;
/// Writes are allowed, and take the slow path only because the page holds decoded code, or did.
const CODE: u64 = 1 << 62;
const NOTHING: u64 = u64::MAX;
const EMPTY: Entry = Entry { read: NO_TAG, write: NO_TAG, page: LinearPage::NONE, info: NOTHING };

/// Entries by the low bits of their page number.
type Table = Box<[Entry; ENTRIES]>;

fn empty_table() -> Table {
    // By way of a vector: on the stack it would be too large.
    let Ok(table) = vec![EMPTY; ENTRIES].into_boxed_slice().try_into() else { unreachable!("it has that length") };
    table
}

/// The data TLB of one CPU.
#[derive(Debug)]
pub(crate) struct Tlb {
    /// The table of the selected privilege, and the other one.
    entries: Table,
    others: Table,
    /// The selected privilege is that of a user.
    user: bool,
    /// Slots that have been filled since the last flush, so that a flush costs what was used; those of the user's table
    /// with [`USER_SLOT`].
    filled: Vec<u16>,
}

const USER_SLOT: u16 = 1 << 15;

impl Default for Tlb {
    fn default() -> Self {
        Tlb { entries: empty_table(), others: empty_table(), user: false, filled: Vec::new() }
    }
}

/// Whether a page may be written without further notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writable {
    No,
    /// It may, but for the decoded code in it.
    Code,
    Yes,
}

#[inline(always)]
fn slot_of(lin: u64) -> usize {
    (lin >> PAGE_SHIFT) as usize & (ENTRIES - 1)
}

/// The page of the last byte of an access at `lin`.
#[inline(always)]
fn tag_of<T: Scalar>(lin: u64) -> u64 {
    lin.wrapping_add(T::SIZE - 1) & PAGE_MASK
}

/// Where a read-modify-write may read and write.
pub(crate) struct Place<T> {
    page: LinearPage,
    lin: u64,
    value: PhantomData<T>,
}

impl<T: Scalar> Place<T> {
    /// The value there.
    #[inline(always)]
    pub(crate) fn read(&self) -> T {
        self.page.read(self.lin)
    }

    /// Replaces it.
    #[inline(always)]
    pub(crate) fn write(&self, v: T) {
        self.page.write(self.lin, v);
    }
}

impl Tlb {
    /// Selects the table for accesses of this privilege.
    #[inline]
    pub(crate) fn set_user(&mut self, user: bool) {
        if self.user != user {
            self.user = user;
            core::mem::swap(&mut self.entries, &mut self.others);
        }
    }

    /// Reads if the page is here.
    #[inline(always)]
    pub(crate) fn read<T: Scalar>(&self, lin: u64) -> Option<T> {
        let e = &self.entries[slot_of(lin)];
        if tag_of::<T>(lin) == e.read { Some(e.page.read(lin)) } else { None }
    }

    /// The page of an access that reads at `lin`, if it is here.
    #[inline(always)]
    pub(crate) fn readable<T: Scalar>(&self, lin: u64) -> Option<LinearPage> {
        let e = &self.entries[slot_of(lin)];
        if tag_of::<T>(lin) == e.read { Some(e.page) } else { None }
    }

    /// Writes if the page is here and may be written without further notice.
    #[inline(always)]
    pub(crate) fn write<T: Scalar>(&self, lin: u64, v: T) -> bool {
        let e = &self.entries[slot_of(lin)];
        if tag_of::<T>(lin) == e.write {
            e.page.write(lin, v);
            true
        } else {
            false
        }
    }

    /// Reads if the page may also be written without further notice: the first half of a read-modify-write.
    #[inline(always)]
    pub(crate) fn read_for_write<T: Scalar>(&self, lin: u64) -> Option<T> {
        self.place::<T>(lin).map(|p| p.read())
    }

    /// The place of a value that may be read and written without further notice.
    #[inline(always)]
    pub(crate) fn place<T: Scalar>(&self, lin: u64) -> Option<Place<T>> {
        let e = &self.entries[slot_of(lin)];
        if tag_of::<T>(lin) == e.write { Some(Place { page: e.page, lin, value: PhantomData }) } else { None }
    }

    /// The host page behind `lin`, if it is here for reads (or for writes).
    #[inline]
    pub(crate) fn page(&self, lin: u64, write: bool) -> Option<HostPage> {
        let e = &self.entries[slot_of(lin)];
        let tag = lin & PAGE_MASK;
        (tag == if write { e.write } else { e.read }).then(|| e.page.host(tag))
    }

    /// The entry of a slot as `filled` has it.
    fn entry(&mut self, slot: u16) -> &mut Entry {
        let table = if (slot & USER_SLOT != 0) == self.user { &mut self.entries } else { &mut self.others };
        &mut table[slot as usize & (ENTRIES - 1)]
    }

    /// The table of the given privilege.
    #[inline(always)]
    fn table(&self, user: bool) -> &Table {
        if user == self.user { &self.entries } else { &self.others }
    }

    /// Reads for accesses of the given privilege if the page is here.
    #[inline(always)]
    pub(crate) fn read_for<T: Scalar>(&self, lin: u64, user: bool) -> Option<T> {
        let e = &self.table(user)[slot_of(lin)];
        if tag_of::<T>(lin) == e.read { Some(e.page.read(lin)) } else { None }
    }

    /// The host page behind `[lin, lin + len)`, if that lies in one page, which is here for writes of the given privilege.
    #[inline(always)]
    pub(crate) fn writable_page(&self, lin: u64, len: u64, user: bool) -> Option<HostPage> {
        let e = &self.table(user)[slot_of(lin)];
        let inside = lin & PAGE_MASK == e.write && lin.wrapping_add(len - 1) & PAGE_MASK == e.write;
        if inside { Some(e.page.host(e.write)) } else { None }
    }

    /// The page of `[lin, lin + len)`, if that lies in one page, which is here for reads of the given privilege.
    #[inline(always)]
    pub(crate) fn readable_page(&self, lin: u64, len: u64, user: bool) -> Option<LinearPage> {
        let e = &self.table(user)[slot_of(lin)];
        let inside = lin & PAGE_MASK == e.read && lin.wrapping_add(len - 1) & PAGE_MASK == e.read;
        if inside { Some(e.page) } else { None }
    }

    /// The page behind `[lin, lin + size)`, and its number in the pool, if it may be written but for the code in it.
    #[inline]
    pub(crate) fn code_page(&self, lin: u64, size: u64) -> Option<(HostPage, u64)> {
        let e = &self.entries[slot_of(lin)];
        let here = lin.wrapping_add(size - 1) & PAGE_MASK == e.read && lin & PAGE_MASK == e.read;
        (here && e.info & CODE != 0).then(|| (e.page.host(e.read), e.info & !(GLOBAL | CODE)))
    }

    /// The page at `lin` holds no code any more: gives it its write tag.
    pub(crate) fn give_write_tag(&mut self, lin: u64) {
        let e = &mut self.entries[slot_of(lin)];
        e.write = lin & PAGE_MASK;
        e.info &= !CODE;
    }

    /// Enters a page for the selected privilege.
    pub(crate) fn fill(
        &mut self,
        lin: u64,
        page: HostPage,
        pool_page: u64,
        readable: bool,
        writable: Writable,
        global: bool,
    ) {
        let slot = slot_of(lin);
        let tag = lin & PAGE_MASK;
        let e = &mut self.entries[slot];
        if e.info == NOTHING {
            self.filled.push(slot as u16 | if self.user { USER_SLOT } else { 0 });
        }
        let code = if writable == Writable::Code { CODE } else { 0 };
        let info = pool_page | code | if global { GLOBAL } else { 0 };
        let read = if readable { tag } else { NO_TAG };
        let page = page.seen_from(tag);
        *e = Entry { read, write: if writable == Writable::Yes { tag } else { NO_TAG }, page, info };
    }

    /// Drops everything, or everything that is not global.
    pub(crate) fn flush(&mut self, keep_global: bool) {
        let mut filled = core::mem::take(&mut self.filled);
        filled.retain(|&slot| {
            let e = self.entry(slot);
            let keep = keep_global && e.info & GLOBAL != 0;
            if !keep {
                *e = EMPTY;
            }
            keep
        });
        self.filled = filled;
    }

    /// Drops the page at `lin`, for both privileges.
    pub(crate) fn flush_page(&mut self, lin: u64) {
        for table in [&mut self.entries, &mut self.others] {
            let e = &mut table[slot_of(lin)];
            (e.read, e.write) = (NO_TAG, NO_TAG);
        }
    }

    /// Takes the write tag from every entry of a pool page: it holds decoded code now.
    pub(crate) fn protect(&mut self, pool_page: u64) {
        for i in 0..self.filled.len() {
            let e = self.entry(self.filled[i]);
            if e.info & !(GLOBAL | CODE) == pool_page && e.write != NO_TAG {
                e.write = NO_TAG;
                e.info |= CODE;
            }
        }
    }

    /// Takes the write tag from every entry: each page's next write is to be noticed.
    pub(crate) fn protect_all(&mut self) {
        for i in 0..self.filled.len() {
            let e = self.entry(self.filled[i]);
            e.write = NO_TAG;
            e.info &= !CODE;
        }
    }
}
