//! The translation cache of data accesses: linear page to host page.
//!
//! Direct-mapped, one table for supervisor and one for user accesses. An entry has a tag for reads and one for writes; a tag
//! that is not page-aligned never matches. Whatever must not happen silently (a write to decoded code, to ROM, to a clean
//! page; any access to a device) simply has no tag, and takes the slow path. The one compare uses the access's last byte, so
//! that an access which leaves its page does not match either.
//!
//! A device's page has tags that no access of the fast path matches, by which the slow path finds it without a translation.
//! Where a device has stores go straight to the pool ([`super::Shortcut`]), the page has a tag for writes alone: so what
//! reads in order to write has a tag of its own.

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
    /// For what reads and writes.
    update: u64,
    page: LinearPage,
}

/// What only the slow paths ask of an entry.
#[derive(Clone, Copy, Debug)]
struct Info {
    /// Pool page number, [`GLOBAL`] and [`GUARDED`]; [`NOTHING`] if there is no entry.
    pool: u64,
    /// The device's page, if it is one.
    device: DevicePage,
}

/// A page that a device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DevicePage {
    /// The region, as the bus numbered it.
    pub(crate) region: u16,
    /// The page's physical address.
    pub(crate) pa: u64,
}

/// What a TLB entry may be used for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    /// The page in the pool, as the host sees it, and its number there. A device's page without a shortcut has none.
    pub(crate) page: Option<(HostPage, u64)>,
    /// The device that answers what may not go to the pool.
    pub(crate) device: Option<DevicePage>,
    /// Reads go to the pool.
    pub(crate) read: bool,
    /// Writes go to the pool.
    pub(crate) write: Writable,
    /// Writes are allowed, so that the device gets them.
    pub(crate) device_write: bool,
    /// The entry stays over writes to CR3.
    pub(crate) global: bool,
}

const GLOBAL: u64 = 1 << 63;
/// Writes are allowed, and take the slow path only because the page holds decoded code or is a page table, or was.
const GUARDED: u64 = 1 << 62;
const NOTHING: u64 = u64::MAX;
/// A page of the pool that nothing has: of an entry that is a device's alone.
const NO_POOL: u64 = 1 << 61;
/// In a tag: a device answers. Such a tag matches no access of the fast path.
const DEVICE: u64 = 2;
const EMPTY: Entry = Entry { read: NO_TAG, write: NO_TAG, update: NO_TAG, page: LinearPage::NONE };
const NO_INFO: Info = Info { pool: NOTHING, device: DevicePage { region: 0, pa: 0 } };

/// Entries by the low bits of their page number.
type Table = Box<[Entry; ENTRIES]>;
type Infos = Box<[Info; ENTRIES]>;

fn empty_table<T: Clone>(empty: T) -> Box<[T; ENTRIES]> {
    // By way of a vector: on the stack it would be too large.
    let Ok(table) = vec![empty; ENTRIES].into_boxed_slice().try_into() else { unreachable!("it has that length") };
    table
}

/// The data TLB of one CPU.
#[derive(Debug)]
pub(crate) struct Tlb {
    /// The table of the selected privilege, and the other one.
    entries: Table,
    others: Table,
    infos: Infos,
    other_infos: Infos,
    /// The selected privilege is that of a user.
    user: bool,
    /// Slots that have been filled since the last flush, so that a flush costs what was used; those of the user's table
    /// with [`USER_SLOT`].
    filled: Vec<u16>,
}

const USER_SLOT: u16 = 1 << 15;

impl Default for Tlb {
    fn default() -> Self {
        Tlb {
            entries: empty_table(EMPTY),
            others: empty_table(EMPTY),
            infos: empty_table(NO_INFO),
            other_infos: empty_table(NO_INFO),
            user: false,
            filled: Vec::new(),
        }
    }
}

/// Whether a page may be written without further notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writable {
    No,
    /// It may, but for the decoded code in it, or what was read from it as a page table.
    Guarded,
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
            core::mem::swap(&mut self.infos, &mut self.other_infos);
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
        if tag_of::<T>(lin) == e.update { Some(Place { page: e.page, lin, value: PhantomData }) } else { None }
    }

    /// The host page behind `lin`, if it is here for reads (or for writes).
    #[inline]
    pub(crate) fn page(&self, lin: u64, write: bool) -> Option<HostPage> {
        let e = &self.entries[slot_of(lin)];
        let tag = lin & PAGE_MASK;
        (tag == if write { e.write } else { e.read }).then(|| e.page.host(tag))
    }

    /// The device's page behind `[lin, lin + size)`, if that lies in one page, whose reads go to a device; with `write`, if
    /// it may be written too.
    #[inline]
    pub(crate) fn device_read(&self, lin: u64, size: u64, write: bool) -> Option<DevicePage> {
        let e = &self.entries[slot_of(lin)];
        let tag = lin & PAGE_MASK | DEVICE;
        let here = tag == e.read && lin.wrapping_add(size - 1) & PAGE_MASK | DEVICE == tag;
        if here && (!write || e.write | DEVICE == tag) { Some(self.infos[slot_of(lin)].device) } else { None }
    }

    /// The device's page behind `[lin, lin + size)`, if that lies in one page, whose writes go to a device.
    #[inline]
    pub(crate) fn device_write(&self, lin: u64, size: u64) -> Option<DevicePage> {
        let e = &self.entries[slot_of(lin)];
        let tag = lin & PAGE_MASK | DEVICE;
        let here = tag == e.write && lin.wrapping_add(size - 1) & PAGE_MASK | DEVICE == tag;
        if here { Some(self.infos[slot_of(lin)].device) } else { None }
    }

    /// The number in the pool of the page at `lin`, which is here.
    #[inline]
    pub(crate) fn pool_page(&self, lin: u64) -> u64 {
        self.infos[slot_of(lin)].pool & !(GLOBAL | GUARDED)
    }

    /// The entry of a slot as `filled` has it.
    fn entry(&mut self, slot: u16) -> (&mut Entry, &mut Info) {
        let own = (slot & USER_SLOT != 0) == self.user;
        let table = if own { &mut self.entries } else { &mut self.others };
        let infos = if own { &mut self.infos } else { &mut self.other_infos };
        let slot = slot as usize & (ENTRIES - 1);
        (&mut table[slot], &mut infos[slot])
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

    /// The page behind `[lin, lin + size)`, and its number in the pool, if it may be written but for that guard.
    #[inline]
    pub(crate) fn guarded_page(&self, lin: u64, size: u64) -> Option<(HostPage, u64)> {
        let e = &self.entries[slot_of(lin)];
        let here = lin.wrapping_add(size - 1) & PAGE_MASK == e.read && lin & PAGE_MASK == e.read;
        if !here {
            return None;
        }
        let info = self.infos[slot_of(lin)].pool;
        (info & GUARDED != 0).then(|| (e.page.host(e.read), info & !(GLOBAL | GUARDED)))
    }

    /// The page at `lin`, which may be read, is not guarded any more: gives it its write tag.
    pub(crate) fn give_write_tag(&mut self, lin: u64) {
        let e = &mut self.entries[slot_of(lin)];
        (e.write, e.update) = (lin & PAGE_MASK, lin & PAGE_MASK);
        self.infos[slot_of(lin)].pool &= !GUARDED;
    }

    /// Enters a page for the selected privilege.
    pub(crate) fn fill(&mut self, lin: u64, fill: &Fill) {
        let slot = slot_of(lin);
        let tag = lin & PAGE_MASK;
        let info = &mut self.infos[slot];
        if info.pool == NOTHING {
            self.filled.push(slot as u16 | if self.user { USER_SLOT } else { 0 });
        }
        let (page, pool_page) = match fill.page {
            Some((page, number)) => (page.seen_from(tag), number),
            None => (LinearPage::NONE, NO_POOL),
        };
        let guarded = if fill.write == Writable::Guarded { GUARDED } else { 0 };
        info.pool = pool_page | guarded | if fill.global { GLOBAL } else { 0 };
        let by_device = |may: bool| if may { tag | DEVICE } else { NO_TAG };
        let device = fill.device.is_some();
        if let Some(device) = fill.device {
            info.device = device;
        }
        let write = if fill.write == Writable::Yes { tag } else { by_device(device && fill.device_write) };
        let read = if fill.read { tag } else { by_device(device) };
        self.entries[slot] = Entry { read, write, update: if read == tag { write } else { NO_TAG }, page };
    }

    /// Drops everything, or everything that is not global.
    pub(crate) fn flush(&mut self, keep_global: bool) {
        let mut filled = core::mem::take(&mut self.filled);
        filled.retain(|&slot| {
            let (e, info) = self.entry(slot);
            let keep = keep_global && info.pool & GLOBAL != 0;
            if !keep {
                (*e, info.pool) = (EMPTY, NOTHING);
            }
            keep
        });
        self.filled = filled;
    }

    /// Drops the pages from `first` to `last` (bits 47:0), for both privileges.
    pub(crate) fn flush_range(&mut self, first: u64, last: u64) {
        for i in 0..self.filled.len() {
            let (e, _) = self.entry(self.filled[i]);
            let lin = if e.read == NO_TAG { e.write } else { e.read } & 0xFFFF_FFFF_F000;
            if lin >= first && lin <= last {
                (e.read, e.write, e.update) = (NO_TAG, NO_TAG, NO_TAG);
            }
        }
    }

    /// Drops the page at `lin`, for both privileges.
    pub(crate) fn flush_page(&mut self, lin: u64) {
        for table in [&mut self.entries, &mut self.others] {
            let e = &mut table[slot_of(lin)];
            (e.read, e.write, e.update) = (NO_TAG, NO_TAG, NO_TAG);
        }
    }

    /// Takes the write tag from every entry of a pool page: it is guarded now.
    pub(crate) fn protect(&mut self, pool_page: u64) {
        for i in 0..self.filled.len() {
            let (e, info) = self.entry(self.filled[i]);
            if info.pool & !(GLOBAL | GUARDED) == pool_page && e.write != NO_TAG {
                (e.write, e.update) = (NO_TAG, NO_TAG);
                info.pool |= GUARDED;
            }
        }
    }

    /// Takes the write tag from every entry of memory: each page's next write is to be noticed.
    pub(crate) fn protect_all(&mut self) {
        for i in 0..self.filled.len() {
            let (e, info) = self.entry(self.filled[i]);
            if e.write & DEVICE == 0 {
                (e.write, e.update) = (NO_TAG, NO_TAG);
            }
            info.pool &= !GUARDED;
        }
    }
}
