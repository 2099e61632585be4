//! Physical memory as devices and the CPU's slow paths see it.

use super::layout::{Layout, Target};
use super::ram::{HostPage, Pool, Scalar};
use super::tables::{Lost, Path, Place, Tables};
use super::track::{PageImage, Tracker, WatchHit, is_zero, page_hash};
use super::{PAGE_SHIFT, PAGE_SIZE};
use crate::state::{State, StateError, StateReader, StateWriter};

/// Bytes of memory whose code is invalidated together.
pub(crate) const CODE_GRANULE: u64 = 64;

/// A stretch of a device's memory region that is memory of the pool as it stands: the CPU's stores there change nothing but
/// the pool, and if `reads`, its loads change nothing at all. So the CPU need not ask the device. Whatever else reaches that
/// address (DMA, debuggers, fetches of code) does not see it: what is cached is no part of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// First physical address, of a page.
    pub start: u64,
    /// Bytes, whole pages.
    pub len: u64,
    /// Where it lies in the pool, at the start of a page.
    pub pool: u64,
    /// Bytes that lie together, whole pages, and how far their starts lie apart in the pool.
    pub piece: u64,
    /// See `piece`.
    pub stride: u64,
    /// Loads are as simple as stores.
    pub reads: bool,
}

impl Shortcut {
    /// Pool offset of the byte `at` from its start.
    #[must_use]
    pub fn place(&self, at: u64) -> u64 {
        self.pool + at / self.piece * self.stride + at % self.piece
    }
}

/// Guest physical memory: a pool of host memory, and a map of which part of it, or which device, answers where.
#[derive(Debug)]
pub struct PhysMem {
    pool: Pool,
    /// Bytes of the pool that are RAM; the rest is handed out by [`Self::allocate`].
    ram_len: u64,
    allocated: u64,
    layout: Layout,
    plain: Plain,
    shortcut: Option<Shortcut>,
    a20: bool,
    /// SMRAM's physical range and its place in the pool, if the chipset decodes it.
    smram: Option<(core::ops::Range<u64>, u64)>,
    /// SMRAM is seen by all; else only in system management mode.
    smram_open: bool,
    /// The CPU is in system management mode.
    smm: bool,
    /// Rises with every change of the map or of A20: whoever caches translations compares it.
    map_generation: u32,
    /// A mask for each pool page: which of its 64 granules hold decoded code.
    code: Vec<u64>,
    /// Writes that hit decoded code since the engine last looked: pool offset and length.
    code_writes: Vec<(u64, u32)>,
    /// Pool pages (by number) that got their first code since the engine last looked.
    fresh_code: Vec<u64>,
    /// Pool pages that may have a write tag in some TLB.
    tagged: bitvec::vec::BitVec,
    /// Stores to pages without a write tag that hit neither code nor what is held of page tables.
    data_stores: u32,
    /// Page tables that cached translations were read from.
    tables: Tables,
    /// Which pages were written, for whoever asked.
    track: Tracker,
}

/// The largest stretch of the map that is ordinary memory, which needs no look at the rest of the map.
#[derive(Debug, Default)]
struct Plain {
    start: u64,
    /// 0 while the A20 gate is closed or SMRAM may be seen.
    len: u64,
    /// Its length if not.
    whole: u64,
    pool: u64,
}

impl Plain {
    /// `[start, start + len)` was mapped to `read` and `write`; `None` for what stays as it is.
    fn note(&mut self, start: u64, len: u64, read: Option<Target>, write: Option<Target>) {
        // Whole pages, as in the map.
        let end = start.saturating_add(len).div_ceil(PAGE_SIZE).saturating_mul(PAGE_SIZE);
        let start = start & !(PAGE_SIZE - 1);
        let (len, own_end) = (end - start, self.start + self.whole);
        if let (Some(Target::Pool(pool)), true) = (read, read == write && len > self.whole) {
            (self.start, self.whole, self.pool) = (start, len, pool);
        } else if start < own_end && end > self.start {
            // What is left before or behind.
            let (before, behind) = (start.saturating_sub(self.start), own_end.saturating_sub(end));
            if before >= behind {
                self.whole = before;
            } else {
                self.pool += end - self.start;
                (self.start, self.whole) = (end, behind);
            }
        }
    }

    /// The place in the pool of `size` bytes at `pa`.
    #[inline(always)]
    fn place(&self, pa: u64, size: u64) -> Option<u64> {
        let at = pa.wrapping_sub(self.start);
        if at < self.len && self.len - at >= size { Some(self.pool + at) } else { None }
    }
}

impl PhysMem {
    /// `ram` bytes of RAM, not mapped anywhere yet, and room for `extra` bytes of ROM and video memory. Both are rounded
    /// up to pages. `None` if the host can't give that much.
    #[must_use]
    pub fn new(ram: u64, extra: u64) -> Option<PhysMem> {
        let ram_len = ram.checked_next_multiple_of(PAGE_SIZE)?;
        let total = ram_len.checked_add(extra.checked_next_multiple_of(PAGE_SIZE)?)?;
        let pool = Pool::new(usize::try_from(total).ok()?)?;
        let code = vec![0; pool.len() >> PAGE_SHIFT];
        let (pages, track, tables) = (code.len(), Tracker::new(code.len()), Tables::new(code.len()));
        Some(PhysMem {
            pool,
            ram_len,
            allocated: ram_len,
            layout: Layout::default(),
            plain: Plain::default(),
            shortcut: None,
            a20: true,
            smram: None,
            smram_open: false,
            smm: false,
            map_generation: 0,
            code,
            code_writes: Vec::new(),
            fresh_code: Vec::new(),
            tagged: bitvec::vec::BitVec::repeat(false, pages),
            data_stores: 0,
            tables,
            track,
        })
    }

    /// Bytes of RAM.
    #[must_use]
    pub fn ram_len(&self) -> u64 {
        self.ram_len
    }

    /// Bytes of the pool that are RAM or have been allocated.
    #[must_use]
    pub fn pool_len(&self) -> u64 {
        self.allocated
    }

    /// Takes `len` bytes (whole pages) of the extra room, for ROM or video memory; returns their pool offset, or `None`
    /// if the room is used up.
    pub fn allocate(&mut self, len: u64) -> Option<u64> {
        let at = self.allocated;
        let end = at.checked_add(len.checked_next_multiple_of(PAGE_SIZE)?)?;
        if end > self.pool.len() as u64 {
            return None;
        }
        self.allocated = end;
        Some(at)
    }

    /// Maps `[start, start + len)` for reads and writes alike.
    pub fn map(&mut self, start: u64, len: u64, target: Target) {
        self.map_split(start, len, Some(target), Some(target));
    }

    /// Maps reads and writes of `[start, start + len)` apart; `None` leaves that direction as it is.
    pub fn map_split(&mut self, start: u64, len: u64, read: Option<Target>, write: Option<Target>) {
        self.layout.set(start, len, read, write);
        self.plain.note(start, len, read, write);
        self.open_plain();
        self.map_generation = self.map_generation.wrapping_add(1);
    }

    /// What answers reads, and what answers writes, of the page at `pa` (after the A20 gate).
    #[must_use]
    #[inline]
    pub fn target(&self, pa: u64) -> (Target, Target) {
        match self.plain.place(pa, 1) {
            Some(place) => (Target::Pool(place & !(PAGE_SIZE - 1)), Target::Pool(place & !(PAGE_SIZE - 1))),
            None => self.target_by_map(pa),
        }
    }

    /// Whether a look at the map is needed has changed.
    fn open_plain(&mut self) {
        let open = self.a20 && !self.smm && !self.smram_open;
        self.plain.len = if open { self.plain.whole } else { 0 };
    }

    #[inline(never)]
    fn target_by_map(&self, pa: u64) -> (Target, Target) {
        let pa = self.gated(pa);
        if (self.smm || self.smram_open)
            && let Some((range, pool)) = &self.smram
            && range.contains(&pa)
        {
            let page = Target::Pool(pool + ((pa - range.start) & !(PAGE_SIZE - 1)));
            return (page, page);
        }
        self.layout.lookup(pa)
    }

    /// What a device's region is as simple as memory; `None` for nothing, and always at first after a load. There is one at
    /// the most: a board has one window to video memory.
    pub fn set_shortcut(&mut self, shortcut: Option<Shortcut>) {
        if self.shortcut != shortcut {
            self.shortcut = shortcut;
            self.map_generation = self.map_generation.wrapping_add(1);
        }
    }

    /// The shortcut at `pa` (behind the A20 gate), which a device answers: the page in the pool, and whether it holds for
    /// loads.
    pub(crate) fn shortcut(&self, pa: u64) -> Option<(u64, bool)> {
        let s = self.shortcut.as_ref()?;
        let at = pa.wrapping_sub(s.start);
        if at < s.len { Some((s.place(at & !(PAGE_SIZE - 1)), s.reads)) } else { None }
    }

    /// What a chipset decodes as SMRAM: a physical range (whole pages), its place in the pool, and whether it is open to all
    /// accesses or only to those of system management mode.
    pub fn set_smram(&mut self, smram: Option<(core::ops::Range<u64>, u64)>, open: bool) {
        if (&self.smram, self.smram_open) != (&smram, open) {
            (self.smram, self.smram_open) = (smram, open);
            self.open_plain();
            self.map_generation = self.map_generation.wrapping_add(1);
        }
    }

    /// The CPU enters or leaves system management mode.
    pub(crate) fn set_smm(&mut self, on: bool) {
        if self.smm != on {
            self.smm = on;
            self.open_plain();
            self.map_generation = self.map_generation.wrapping_add(1);
        }
    }

    /// `pa` as it leaves the A20 gate.
    #[must_use]
    pub fn gated(&self, pa: u64) -> u64 {
        if self.a20 { pa } else { pa & !(1 << 20) }
    }

    /// Opens or closes the A20 gate.
    pub fn set_a20(&mut self, on: bool) {
        if self.a20 != on {
            self.a20 = on;
            self.open_plain();
            self.map_generation = self.map_generation.wrapping_add(1);
        }
    }

    /// Whether address line 20 passes.
    #[must_use]
    pub fn a20(&self) -> bool {
        self.a20
    }

    /// A number that changes whenever a cached translation may have become stale.
    #[must_use]
    pub fn map_generation(&self) -> u32 {
        self.map_generation
    }

    /// Reads `buf.len()` bytes at `pa`; devices and unmapped pages read as FFh.
    pub fn read(&self, pa: u64, buf: &mut [u8]) {
        let mut done = 0;
        while done < buf.len() {
            let at = pa.wrapping_add(done as u64);
            let n = (buf.len() - done).min((PAGE_SIZE - at % PAGE_SIZE) as usize);
            let part = &mut buf[done..done + n];
            match self.target(at).0 {
                Target::Pool(page) => part.copy_from_slice(self.pool.slice(page + at % PAGE_SIZE, n)),
                Target::Open | Target::Mmio(_) => part.fill(0xFF),
            }
            done += n;
        }
    }

    /// Writes `bytes` at `pa`; what falls on ROM, devices or unmapped pages vanishes.
    pub fn write(&mut self, pa: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = pa.wrapping_add(done as u64);
            let n = (bytes.len() - done).min((PAGE_SIZE - at % PAGE_SIZE) as usize);
            if let Target::Pool(page) = self.target(at).1 {
                self.pool_write(page + at % PAGE_SIZE, &bytes[done..done + n]);
            }
            done += n;
        }
    }

    /// Reads an integer at `pa`, as [`Self::read`] does.
    #[must_use]
    #[inline]
    pub fn load<T: Scalar>(&self, pa: u64) -> T {
        if pa % PAGE_SIZE + T::SIZE <= PAGE_SIZE
            && let Target::Pool(page) = self.target(pa).0
        {
            return self.pool.host_page(page).read(pa);
        }
        let mut bytes = [0; 8];
        self.read(pa, &mut bytes[..T::SIZE as usize]);
        T::from_u64(u64::from_le_bytes(bytes))
    }

    /// Writes an integer at `pa`, as [`Self::write`] does.
    pub fn store<T: Scalar>(&mut self, pa: u64, v: T) {
        if pa % PAGE_SIZE + T::SIZE <= PAGE_SIZE
            && let Target::Pool(page) = self.target(pa).1
            && !self.hits_code(page + pa % PAGE_SIZE, T::SIZE)
            && !self.tables.is_table(page)
            && self.track.is_silent(page >> PAGE_SHIFT)
        {
            return self.pool.host_page(page).write(pa, v);
        }
        self.write(pa, &v.to_u64().to_le_bytes()[..T::SIZE as usize]);
    }

    /// Bytes of the pool, wherever it is mapped: for devices' own memory, ROM contents, and saved state.
    #[must_use]
    pub fn pool(&self, offset: u64, len: usize) -> &[u8] {
        self.pool.slice(offset, len)
    }

    /// Writes to the pool, wherever it is mapped, ROM included.
    pub fn pool_write(&mut self, offset: u64, bytes: &[u8]) {
        self.note_guarded_write(offset, bytes.len() as u64);
        self.note_write(offset, bytes.len() as u64);
        self.pool.slice_mut(offset, bytes.len()).copy_from_slice(bytes);
    }

    /// Writes an integer to the pool, where it does not leave its page. Returns false, with nothing written, if somebody looks
    /// for writes there, or code lies there: then it is for [`Self::pool_write`].
    #[inline(always)]
    pub fn pool_store<T: Scalar>(&mut self, offset: u64, v: T) -> bool {
        let page = (offset >> PAGE_SHIFT) as usize;
        debug_assert!(offset % PAGE_SIZE + T::SIZE <= PAGE_SIZE);
        if self.is_guarded(offset) || !(self.track.is_silent(page as u64) || self.open_for_write(offset)) {
            return false;
        }
        self.pool.host_page(offset).write(offset, v);
        true
    }

    /// The pages of the pool at `offsets`, all of which are about to be written. `None`, as for [`Self::pool_store`], if
    /// somebody looks for writes to one of them, or code lies there, or if two are the same.
    #[inline]
    pub fn pool_pages<const N: usize>(&mut self, offsets: [u64; N]) -> Option<[&mut [u8; 4096]; N]> {
        let silent = |mem: &mut Self, at: u64| !mem.is_guarded(at) && mem.open_for_write(at);
        if offsets.into_iter().all(|at| silent(self, at)) { self.pool.pages_mut(offsets) } else { None }
    }

    /// Reads an integer of the pool that does not leave its page.
    #[must_use]
    #[inline(always)]
    pub fn pool_load<T: Scalar>(&self, offset: u64) -> T {
        self.pool.host_page(offset).read(offset)
    }

    /// The host's view of the pool page at `offset`.
    pub(crate) fn host_page(&self, offset: u64) -> HostPage {
        self.pool.host_page(offset)
    }

    /// Whether the pool page at `offset` may be written without notice, but for decoded code; opens it if it is only
    /// clean, as a write is about to happen.
    pub(crate) fn open_for_write(&mut self, offset: u64) -> bool {
        let page = offset >> PAGE_SHIFT;
        if !self.track.is_silent(page) {
            self.track.open(page, self.pool.slice(page << PAGE_SHIFT, PAGE_SIZE as usize));
        }
        !self.track.is_watched(page)
    }

    /// Whether the pool page at `offset` may be written without notice, but for decoded code.
    pub(crate) fn is_open(&self, offset: u64) -> bool {
        self.track.is_silent(offset >> PAGE_SHIFT)
    }

    /// Whether the pool page at `offset` holds decoded code.
    pub(crate) fn has_code(&self, offset: u64) -> bool {
        self.code[(offset >> PAGE_SHIFT) as usize] != 0
    }

    /// Whether the pool page at `offset` holds decoded code or is a page table that translations were read from, so that
    /// writes must come through [`Self::pool_write`].
    pub(crate) fn is_guarded(&self, offset: u64) -> bool {
        self.has_code(offset) || self.tables.is_table(offset)
    }

    /// Marks `[offset, offset + len)` of one pool page as decoded.
    pub(crate) fn mark_code(&mut self, offset: u64, len: u64) {
        let page = (offset >> PAGE_SHIFT) as usize;
        if self.tagged.replace(page, false) {
            self.fresh_code.push(offset >> PAGE_SHIFT);
        }
        self.code[page] |= granule_mask(offset, len);
    }

    /// Takes the number of a pool page that has become a code page, whose write tags are to be taken away.
    pub(crate) fn take_fresh_code(&mut self) -> Option<u64> {
        self.fresh_code.pop()
    }

    /// The pool page at `offset`, which holds no code, gets a write tag in a TLB.
    pub(crate) fn note_tag(&mut self, offset: u64) {
        self.tagged.set((offset >> PAGE_SHIFT) as usize, true);
    }

    /// A store goes to a page that has no code, but had some, or is a page table, of which it hits nothing. Whether it is time
    /// to take the page for one of data: code and tables that are written and used again and again would pay for that each
    /// time.
    pub(crate) fn stays_data(&mut self, offset: u64) -> bool {
        self.data_stores = self.data_stores.wrapping_add(1);
        if !self.data_stores.is_multiple_of(64) {
            return false;
        }
        if self.tables.is_table(offset) {
            self.tables.pass_idle(offset);
        }
        !self.is_guarded(offset)
    }

    /// A translation is cached that was read by way of `path`, whose last entry is in a table at `place`; `code` if it is one
    /// of code. Nothing has been done if the answer is false.
    #[inline]
    pub(crate) fn hold_again(&mut self, path: &Path, place: Place, code: bool) -> bool {
        let offset = self.plain.place(path.leaf, 1);
        offset.is_some_and(|offset| self.tables.hold_again(offset, path, place, code))
    }

    /// The entries of `path` are held.
    pub(crate) fn path_is_held(&mut self, path: &Path) {
        if let Target::Pool(page) = self.target(path.leaf).0 {
            self.tables.set_above(page, path);
        }
    }

    /// A translation is cached that was read from the entry at physical address `pa`, in a page table that stands at `place`;
    /// `code` if it is one of code. The caller takes write tags away as for [`Self::take_fresh_code`].
    pub(crate) fn hold_entry(&mut self, pa: u64, place: Place, code: bool) {
        let Target::Pool(page) = self.target(pa).0 else { return };
        if self.tables.hold(page + pa % PAGE_SIZE, place, code)
            && self.tagged.replace((page >> PAGE_SHIFT) as usize, false)
        {
            self.fresh_code.push(page >> PAGE_SHIFT);
        }
    }

    /// A store goes to the pool page at `offset`, which was not silent: if it is a page table of which nothing is held, it is one
    /// no more. What was a table is filled as a whole when it becomes something else.
    pub(crate) fn release_empty_table(&mut self, offset: u64) {
        if self.tables.is_table(offset) {
            self.tables.release_empty(offset);
        }
    }

    /// Nobody holds a translation any more.
    pub(crate) fn let_go_of_tables(&mut self) {
        self.tables.clear();
    }

    /// Whether the pool page at `offset` is a page table that cached translations were read from.
    #[inline]
    pub(crate) fn is_table(&self, offset: u64) -> bool {
        self.tables.is_table(offset)
    }

    /// `[offset, offset + len)` of one pool page was written past [`Self::pool_write`].
    pub(crate) fn note_table_write(&mut self, offset: u64, len: u64) {
        if self.tables.is_table(offset) {
            self.tables.note_write(offset, len);
        }
    }

    /// Whether page tables were written that translations were read from.
    #[inline]
    pub(crate) fn tables_were_written(&self) -> bool {
        self.tables.were_written()
    }

    /// Takes a part of what was translated through those.
    pub(crate) fn take_lost(&mut self) -> Option<Lost> {
        self.tables.take_lost()
    }

    /// Writes an entry of a page table as a walk does, which sets accessed and dirty bits only: no cached translation was read
    /// from an entry without the first, nor one for writes from an entry without the second.
    pub(crate) fn store_entry<T: Scalar>(&mut self, pa: u64, v: T) {
        if let Target::Pool(page) = self.target(pa).1 {
            let offset = page + pa % PAGE_SIZE;
            if self.hits_code(offset, T::SIZE) || !self.track.is_silent(page >> PAGE_SHIFT) {
                self.note_code_write(offset, T::SIZE);
                self.note_write(offset, T::SIZE);
            }
            self.pool.host_page(page).write(pa, v);
        }
    }

    /// Replaces the code marks of the pool page at `offset`.
    pub(crate) fn set_code_mask(&mut self, offset: u64, mask: u64) {
        self.code[(offset >> PAGE_SHIFT) as usize] = mask;
    }

    /// Whether a write of `[offset, offset + len)`, inside one page, hits decoded code.
    pub(crate) fn hits_code(&self, offset: u64, len: u64) -> bool {
        self.code[(offset >> PAGE_SHIFT) as usize] & granule_mask(offset, len) != 0
    }

    /// Takes the writes to decoded code that happened since the last call.
    pub(crate) fn take_code_writes(&mut self) -> Vec<(u64, u32)> {
        core::mem::take(&mut self.code_writes)
    }

    /// Whether decoded code has been written since [`Self::take_code_writes`].
    #[inline]
    pub(crate) fn code_was_written(&self) -> bool {
        !self.code_writes.is_empty()
    }

    /// `[offset, offset + len)` is about to be written.
    fn note_guarded_write(&mut self, offset: u64, len: u64) {
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let n = (end - at).min(PAGE_SIZE - at % PAGE_SIZE);
            self.note_code_write(at, n);
            self.note_table_write(at, n);
            at += n;
        }
    }

    /// `[offset, offset + len)`, inside one page, is about to be written.
    fn note_code_write(&mut self, offset: u64, len: u64) {
        if self.hits_code(offset, len) {
            self.code_writes.push((offset, len as u32));
        }
    }
}

/// Tracking of writes: for the timeline.
impl PhysMem {
    /// Notes which pages are written from here on. The caller takes the write tags out of all TLBs.
    pub(crate) fn start_tracking(&mut self) {
        self.track.start();
    }

    /// Notes nothing any more.
    pub(crate) fn stop_tracking(&mut self) {
        self.track.stop();
    }

    /// Takes the pages (by number) written since the last call, with what they held then. The caller takes the write tags
    /// out of all TLBs.
    pub(crate) fn seal(&mut self) -> Vec<(u64, PageImage)> {
        self.track.seal()
    }

    /// Host memory that the pages written since [`Self::seal`] take.
    pub(crate) fn written_cost(&self) -> usize {
        self.track.cost()
    }

    /// What pool page `page` holds.
    pub(crate) fn page_image(&self, page: u64) -> PageImage {
        PageImage::of(self.pool.slice(page << PAGE_SHIFT, PAGE_SIZE as usize))
    }

    /// Puts `image` into pool page `page`. For jumps in time: it is no write of the guest's.
    pub(crate) fn restore_page(&mut self, page: u64, image: &PageImage) {
        let offset = page << PAGE_SHIFT;
        self.note_guarded_write(offset, PAGE_SIZE);
        self.track.replaced(page);
        let to = self.pool.slice_mut(offset, PAGE_SIZE as usize);
        match image.bytes() {
            Some(bytes) => to.copy_from_slice(bytes),
            None => to.fill(0),
        }
    }

    /// Watches writes to and reads of ranges of the pool (first and last byte), and nothing else. The caller takes the write
    /// tags out of all TLBs, and if reads are watched all entries.
    pub(crate) fn watch(&mut self, writes: &[(u64, u64)], reads: &[(u64, u64)]) {
        self.track.watch(writes, reads);
    }

    /// Whether reads of some of the pool page at `offset` are watched.
    #[inline]
    pub(crate) fn reads_watched(&self, offset: u64) -> bool {
        self.track.reads_watched(offset >> PAGE_SHIFT)
    }

    /// Whether any reads are watched.
    #[inline]
    pub(crate) fn watches_reads(&self) -> bool {
        self.track.watches_reads()
    }

    /// The CPU reads `[offset, offset + len)` of the pool, inside one page whose reads are watched.
    #[cold]
    pub(crate) fn note_read(&mut self, offset: u64, len: u64) {
        self.track.note_read(offset, len);
    }

    /// Takes the accesses to watched ranges since the last call.
    pub(crate) fn take_watch_hits(&mut self) -> Vec<WatchHit> {
        self.track.take_hits()
    }

    /// Whether a watched range was accessed since [`Self::take_watch_hits`].
    #[inline]
    pub(crate) fn watch_was_hit(&self) -> bool {
        self.track.has_hits()
    }

    /// The sum of all pages' hashes, as [`Self::page_sum`], from the pages that changed since the last call. Only while
    /// writes are tracked.
    pub(crate) fn tracked_page_sum(&mut self) -> u128 {
        let pool = &self.pool;
        self.track.sum(self.allocated >> PAGE_SHIFT, |page| pool.slice(page << PAGE_SHIFT, PAGE_SIZE as usize))
    }

    /// The sum of all pages' hashes, mod 2^128.
    pub(crate) fn page_sum(&self) -> u128 {
        let part = |page| page_hash(page, self.pool.slice(page << PAGE_SHIFT, PAGE_SIZE as usize));
        (0..self.allocated >> PAGE_SHIFT).fold(0, |sum: u128, page| sum.wrapping_add(part(page)))
    }

    /// The pages of `[offset, offset + len)` are about to be written.
    fn note_write(&mut self, offset: u64, len: u64) {
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let n = (end - at).min(PAGE_SIZE - at % PAGE_SIZE);
            if !self.is_open(at) {
                self.open_for_write(at);
                self.track.note(at, n);
            }
            at += n;
        }
    }
}

/// A bit for each granule of its page that `[offset, offset + len)` touches.
pub(crate) fn granule_mask(offset: u64, len: u64) -> u64 {
    let first = offset % PAGE_SIZE / CODE_GRANULE;
    let last = ((offset % PAGE_SIZE + len.max(1) - 1) / CODE_GRANULE).min(63);
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// The contents of the pool; the map is wiring and is remade by the devices that own it.
impl State for PhysMem {
    const TAG: [u8; 4] = *b"PMEM";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            pool,
            ram_len,
            allocated,
            layout: _,
            a20,
            // Wiring, and the CPU's state.
            smram: _,
            smram_open: _,
            smm: _,
            map_generation: _,
            code: _,
            code_writes: _,
            fresh_code: _,
            tagged: _,
            data_stores: _,
            tables: _,
            plain: _,
            shortcut: _,
            track: _,
        } = self;
        w.field(1, ram_len);
        w.field(2, allocated);
        w.field(3, a20);
        let pages = *allocated / PAGE_SIZE;
        let used = |p: &u64| !is_zero(pool.slice(p * PAGE_SIZE, PAGE_SIZE as usize));
        let numbers: Vec<u64> = (0..pages).filter(used).collect();
        w.field(4, &numbers);
        w.bytes(5, numbers.iter().map(|p| pool.slice(p * PAGE_SIZE, PAGE_SIZE as usize)));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let (ram_len, allocated): (u64, u64) = (r.field(1)?, r.field(2)?);
        if (ram_len, allocated) != (self.ram_len, self.allocated) {
            return Err(r.invalid("it belongs to a machine with another memory size"));
        }
        let a20 = r.field(3)?;
        let numbers: Vec<u64> = r.field(4)?;
        let bytes = r.bytes(5)?;
        if bytes.len() as u64 != numbers.len() as u64 * PAGE_SIZE || numbers.iter().any(|&p| p >= allocated / PAGE_SIZE)
        {
            return Err(r.invalid("its pages do not match their list"));
        }
        if !numbers.is_sorted() {
            return Err(r.invalid("its pages are out of order"));
        }
        let mut saved = numbers.iter().zip(bytes.chunks(PAGE_SIZE as usize)).peekable();
        for page in 0..allocated / PAGE_SIZE {
            let bytes = saved.next_if(|s| *s.0 == page).map_or(&[0; PAGE_SIZE as usize][..], |s| s.1);
            if self.pool.slice(page * PAGE_SIZE, bytes.len()) != bytes {
                self.pool_write(page * PAGE_SIZE, bytes);
            }
        }
        self.set_a20(a20);
        self.map_generation = self.map_generation.wrapping_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> PhysMem {
        let mut m = PhysMem::new(0x20_0000, 0x1_0000).unwrap();
        m.map(0, 0x20_0000, Target::Pool(0));
        m
    }

    #[test]
    fn a20_wraps_the_second_megabyte() {
        let mut m = memory();
        m.store(0x10_0010, 0xAAu8);
        m.store(0x10u64, 0x55u8);
        m.set_a20(false);
        assert_eq!(m.load::<u8>(0x10_0010), 0x55);
        m.set_a20(true);
        assert_eq!(m.load::<u8>(0x10_0010), 0xAA);
    }

    #[test]
    fn rom_ignores_writes_and_open_bus_reads_ones() {
        let mut m = memory();
        let rom = m.allocate(0x1000).unwrap();
        m.pool_write(rom, &[1, 2, 3]);
        m.map_split(0xF_F000, 0x1000, Some(Target::Pool(rom)), Some(Target::Open));
        m.write(0xF_F000, &[9; 3]);
        assert_eq!(m.load::<u32>(0xF_F000), 0x0003_0201);
        assert_eq!(m.load::<u32>(0x1000_0000), u32::MAX);
        assert_eq!(m.allocate(0x10_0000), None);
    }

    #[test]
    fn writes_to_code_are_noticed_by_granule() {
        let mut m = memory();
        m.note_tag(0x1000);
        m.mark_code(0x1040, 10);
        assert_eq!((m.take_fresh_code(), m.take_fresh_code()), (Some(1), None));
        m.write(0x1000, &[0; 64]);
        assert!(!m.code_was_written());
        m.write(0x103F, &[0; 2]);
        assert_eq!(m.take_code_writes(), [(0x103F, 2)]);
    }

    /// Whatever is mapped over what, the short way to ordinary memory leads where the map does.
    #[test]
    fn the_short_way_is_that_of_the_map() {
        let mut m = PhysMem::new(0x40_0000, 0x10_0000).unwrap();
        let mut seed = 1u64;
        let mut random = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % n
        };
        for round in 0..2000 {
            let (start, pages) = (
                random(0x400) << 12 | random(2) * random(0x1000),
                if random(4) == 0 { 0x200 } else { 1 + random(0x20) },
            );
            let pool = Some(Target::Pool(random(0x200) << 12));
            let (read, write) = match random(5) {
                0 => (Some(Target::Open), Some(Target::Open)),
                1 => (Some(Target::Mmio(3)), None),
                2 => (pool, None),
                _ => (pool, pool),
            };
            m.map_split(start, (pages << 12) - random(2) * random(0x800), read, write);
            m.set_a20(random(3) != 0);
            m.set_smram(Some((0xA_0000..0xC_0000, 0x42_0000)), random(3) == 0);
            m.set_smm(random(3) == 0);
            for pa in (0..0x80_0000).step_by(0x1000) {
                assert_eq!(m.target(pa | 0x123), m.target_by_map(pa | 0x123), "round {round}, {pa:#x}");
            }
        }
    }

    #[test]
    fn contents_survive_saving() {
        let mut m = memory();
        m.store(0x12_3456, 0xDEAD_BEEFu32);
        let mut w = StateWriter::new();
        w.chunk(&m);
        let bytes = w.into_bytes();
        let mut other = memory();
        other.store(0x0u64, 7u8);
        StateReader::new(&bytes).chunk(&mut other).unwrap();
        assert_eq!(other.load::<u32>(0x12_3456), 0xDEAD_BEEF);
        assert_eq!(other.load::<u8>(0), 0);
    }
}
