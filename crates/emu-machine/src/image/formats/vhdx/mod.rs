//! VHDX, Hyper-V's format: fixed, dynamic and differencing, sectors of 512 or 4096 bytes [MS-VHDX].
//!
//! A log that its last writer left is replayed: into the file when it is opened for writing, in memory otherwise. We
//! write no log of our own: entries of the block table are changed one sector at a time, after what they point to
//! (docs/adr/0011). Left out: resilient change tracking, and regions or metadata that are not in the specification.

mod create;
mod header;
mod log;

use uuid::Uuid;

use super::super::ImageError;
use super::super::format::{
    Extent, Findings, Fix, Format, Identity, Kind, NewParent, ParentRef, Result, Target, Where,
};
use super::super::marks::Marks;
use super::super::meta::{Meta, Rank};
use super::super::store::Store;
pub(crate) use create::{Create, create};
use header::{Header, MIB, Metadata};

/// States of a block [MS-VHDX 2.5.1.1].
const ABSENT: u64 = 0;
const UNDEFINED: u64 = 1;
const ZERO: u64 = 2;
const UNMAPPED: u64 = 3;
const FULL: u64 = 6;
const PARTIAL: u64 = 7;
/// Sectors whose bits a bitmap block holds.
const BITS: u64 = 1 << 23;

/// How many entries the block table has, and which is which.
#[derive(Clone, Copy, Debug)]
struct Layout {
    blocks: u64,
    /// Blocks between two bitmaps.
    ratio: u64,
    entries: u64,
}

impl Layout {
    fn new(size: u64, block: u64, sector: u64, has_parent: bool) -> Layout {
        let ratio = BITS * sector / block;
        let blocks = size.div_ceil(block);
        let entries = match has_parent {
            true => blocks.div_ceil(ratio) * (ratio + 1),
            false => blocks + (blocks - 1) / ratio,
        };
        Layout { blocks, ratio, entries }
    }
    /// The entry of a block.
    fn payload(&self, block: u64) -> u64 {
        block + block / self.ratio
    }
    /// The entry of the bitmap for a block.
    fn bitmap(&self, block: u64) -> u64 {
        block / self.ratio * (self.ratio + 1) + self.ratio
    }
}

/// An open image.
pub(crate) struct Vhdx {
    store: Box<dyn Store>,
    header: Header,
    regions: [(u64, u64); 2],
    m: Metadata,
    layout: Layout,
    meta: Meta,
    /// Where the next block goes, once something was written.
    end: Option<u64>,
}

impl Vhdx {
    pub(crate) fn open(store: Box<dyn Store>, write: bool) -> Result<Vhdx> {
        let magic: [u8; 8] = store.read_array(0)?;
        if &magic != b"vhdxfile" {
            return Err(store.bad(Kind::Vhdx, "file type identifier", 0, "it has no signature"));
        }
        let mut header = Header::read(&*store)?;
        let replay = log::read(&*store, &header)?;
        let mut store = store;
        if write && !header.log_id.is_nil() {
            replay.apply(&*store)?;
            header.next(&*store, |raw| raw[48..64].fill(0))?;
        } else if !replay.is_empty() {
            store = Box::new(log::Replayed { file: store, replay });
        }
        let regions = header::read_regions(&*store)?;
        let m = Metadata::read(&*store, regions[1])?;
        let layout = Layout::new(m.size, m.block, m.sector, m.has_parent);
        if layout.entries * 8 > regions[0].1 {
            let why = format!("{} entries do not fit into its {} bytes", layout.entries, regions[0].1);
            return Err(store.bad(Kind::Vhdx, "block allocation table", regions[0].0, why));
        }
        Ok(Vhdx { store, header, regions, m, layout, meta: Meta::new(), end: None })
    }

    fn bad(&self, structure: &'static str, at: u64, why: String) -> ImageError {
        self.store.bad(Kind::Vhdx, structure, at, why)
    }

    fn entry(&mut self, index: u64) -> Result<u64> {
        Ok(u64::from_le_bytes(self.meta.get(&*self.store, self.regions[0].0 + index * 8)?))
    }

    fn put_entry(&mut self, index: u64, entry: u64, rank: Rank) -> Result<()> {
        self.meta.write(&*self.store, self.regions[0].0 + index * 8, &entry.to_le_bytes(), rank)
    }

    /// The position in an entry, if it can be true.
    fn position(&self, index: u64, entry: u64) -> Result<u64> {
        let pos = entry >> 20 << 20;
        if pos < MIB || pos >= self.store.len() {
            let why = format!("entry {index} points to {pos:#x}, which is not in the file: is it truncated?");
            return Err(self.bad("block allocation table", self.regions[0].0 + index * 8, why));
        }
        Ok(pos)
    }

    /// The bitmap of the chunk of `block`; `None` if it has none.
    fn bitmap(&mut self, block: u64) -> Result<Option<u64>> {
        let index = self.layout.bitmap(block);
        let entry = self.entry(index)?;
        if entry & 7 == FULL { self.position(index, entry).map(Some) } else { Ok(None) }
    }

    /// Where in its bitmap the bit of a sector is: byte and mask.
    fn bit_place(&self, offset: u64) -> (u64, u8) {
        let bit = offset / self.m.sector % BITS;
        (bit / 8, 1 << (bit % 8))
    }

    /// Sectors with the same bit as the first.
    fn lookup_partial(&mut self, index: u64, entry: u64, offset: u64, len: u64) -> Result<Extent> {
        let pos = self.position(index, entry)? + offset % self.m.block;
        let Some(bitmap) = self.bitmap(offset / self.m.block)? else {
            return Err(self.bad("block allocation table", index * 8, "a partial block without a bitmap".into()));
        };
        let first = self.bit(bitmap, offset)?;
        let mut end = (offset / self.m.sector + 1) * self.m.sector;
        while end < offset + len && self.bit(bitmap, end)? == first {
            end += self.m.sector;
        }
        let place = if first { Where::Data { file: 0, pos } } else { Where::Parent };
        Ok(Extent { len: (end - offset).min(len), place })
    }

    fn bit(&mut self, bitmap: u64, offset: u64) -> Result<bool> {
        let (at, mask) = self.bit_place(offset);
        let [byte] = self.meta.get(&*self.store, bitmap + at)?;
        Ok(byte & mask != 0)
    }

    /// Before the first change: new ids of file and contents.
    fn begin_writing(&mut self) -> Result<()> {
        if self.end.is_none() {
            self.header.next(&*self.store, |raw| {
                raw[16..32].copy_from_slice(&Uuid::new_v4().to_bytes_le());
                raw[32..48].copy_from_slice(&Uuid::new_v4().to_bytes_le());
            })?;
            self.end = Some(self.store.len().next_multiple_of(MIB));
        }
        Ok(())
    }

    /// Space at the end of the file; it reads as zeros.
    fn take(&mut self, len: u64) -> Result<u64> {
        let at = self.end.unwrap_or_else(|| self.store.len().next_multiple_of(MIB));
        let end = at + len.next_multiple_of(MIB);
        self.store.resize(end)?;
        self.end = Some(end);
        Ok(at)
    }

    /// Makes the bitmap for a block, and clears the block's bits in it.
    fn clean_bitmap(&mut self, block: u64) -> Result<()> {
        let bitmap = match self.bitmap(block)? {
            Some(bitmap) => bitmap,
            None => {
                let bitmap = self.take(MIB)?;
                self.put_entry(self.layout.bitmap(block), bitmap | FULL, Rank::ClaimRoot)?;
                bitmap
            }
        };
        let (at, _) = self.bit_place(block * self.m.block);
        let bytes = vec![0; (self.m.block / self.m.sector / 8) as usize];
        self.meta.write(&*self.store, bitmap + at, &bytes, Rank::Claim)
    }

    /// Gives the block table `len` bytes, at the end of the file. Its old place is of no use then.
    fn move_table(&mut self, len: u64) -> Result<()> {
        if len > u64::from(u32::MAX) {
            return Err(self.store.no_way("its blocks are too small for so large a disk: convert it"));
        }
        self.flush()?;
        let (old, old_len) = self.regions[0];
        let new = self.take(len)?;
        for at in (0..old_len).step_by(MIB as usize) {
            let piece = self.store.read_vec(old + at, MIB.min(old_len - at) as usize)?;
            self.store.write(new + at, &piece)?;
        }
        self.store.flush()?;
        header::move_table(&*self.store, (new, len))?;
        self.meta.forget();
        self.regions[0] = (new, len);
        Ok(())
    }

    fn set_bits(&mut self, from: u64, to: u64) -> Result<()> {
        let Some(bitmap) = self.bitmap(from / self.m.block)? else { return Ok(()) };
        for offset in (from..to).step_by(self.m.sector as usize) {
            let (at, mask) = self.bit_place(offset);
            let [byte] = self.meta.get::<1>(&*self.store, bitmap + at)?;
            if byte & mask == 0 {
                self.meta.write(&*self.store, bitmap + at, &[byte | mask], Rank::Point)?;
            }
        }
        Ok(())
    }
}

impl Format for Vhdx {
    fn kind(&self) -> Kind {
        Kind::Vhdx
    }
    fn size(&self) -> u64 {
        self.m.size
    }
    fn store(&self, _: usize) -> &dyn Store {
        &*self.store
    }
    fn block(&self) -> u64 {
        self.m.block
    }

    fn lookup(&mut self, offset: u64, len: u64) -> Result<Extent> {
        let (block, within) = (offset / self.m.block, offset % self.m.block);
        let len = (self.m.block - within).min(len);
        let index = self.layout.payload(block);
        let entry = self.entry(index)?;
        let place = match entry & 7 {
            ABSENT => Where::Parent,
            UNDEFINED | ZERO | UNMAPPED => Where::Zero,
            FULL => Where::Data { file: 0, pos: self.position(index, entry)? + within },
            PARTIAL if self.m.has_parent => return self.lookup_partial(index, entry, offset, len),
            other => {
                let at = self.regions[0].0 + index * 8;
                return Err(self.bad("block allocation table", at, format!("block {block} has the state {other}")));
            }
        };
        Ok(Extent { len, place })
    }

    fn target(&mut self, offset: u64, len: u64) -> Result<Target> {
        self.begin_writing()?;
        let (block, within) = (offset / self.m.block, offset % self.m.block);
        let index = self.layout.payload(block);
        let entry = self.entry(index)?;
        let start = offset - within;
        let to = (offset + len).min(start + self.m.block);
        let whole = |at: u64| at.next_multiple_of(self.m.sector);
        let sectors = (offset / self.m.sector * self.m.sector, whole(to));
        let (pos, (from, to), zeroed) = match entry & 7 {
            FULL => (self.position(index, entry)?, (offset, to), false),
            PARTIAL => (self.position(index, entry)?, sectors, false),
            ABSENT if self.m.has_parent => {
                self.clean_bitmap(block)?;
                (self.take(self.m.block)?, sectors, true)
            }
            _ => (self.take(self.m.block)?, (offset, to), true),
        };
        Ok(Target { file: 0, pos: pos + (from - start), from, to, zeroed })
    }

    fn link(&mut self, target: &Target) -> Result<()> {
        let block = target.from / self.m.block;
        let index = self.layout.payload(block);
        let entry = self.entry(index)?;
        let pos = target.pos - target.from % self.m.block;
        match entry & 7 {
            FULL => Ok(()),
            PARTIAL => self.set_bits(target.from, target.to),
            ABSENT if self.m.has_parent => {
                self.set_bits(target.from, target.to)?;
                self.put_entry(index, pos | PARTIAL, Rank::Root)
            }
            _ => self.put_entry(index, pos | FULL, Rank::Root),
        }
    }

    fn zero(&mut self, offset: u64, len: u64) -> Result<u64> {
        self.begin_writing()?;
        let (block, within) = (offset / self.m.block, offset % self.m.block);
        let n = (self.m.block - within).min(len);
        let whole = within == 0 && (n == self.m.block || offset + n == self.m.size);
        let index = self.layout.payload(block);
        match self.entry(index)? & 7 {
            ABSENT if !self.m.has_parent => Ok(n),
            UNDEFINED | ZERO | UNMAPPED => Ok(n),
            ABSENT if whole => {
                self.put_entry(index, ZERO, Rank::Root)?;
                Ok(n)
            }
            _ => Ok(0),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.store.flush()?;
        self.meta.write_back(&*self.store)
    }
    fn is_full(&self) -> bool {
        self.meta.is_full()
    }

    fn parent(&self) -> Option<ParentRef> {
        let identity = Identity::Uuid(self.m.parent_id.into_bytes());
        let names = self.m.parent_names.clone();
        self.m.has_parent.then_some(ParentRef { names, kind: Some(Kind::Vhdx), identity })
    }
    fn identity(&self) -> Identity {
        Identity::Uuid(self.header.data_id.into_bytes())
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let kind = match (self.m.has_parent, self.m.fixed) {
            (true, _) => "differencing",
            (_, true) => "fixed",
            _ => "dynamic",
        };
        vec![
            ("subformat", kind.into()),
            ("logical sector size", self.m.sector.to_string()),
            ("data id", self.identity().to_string()),
            ("log", if self.header.log_id.is_nil() { "empty" } else { "to be replayed" }.into()),
        ]
    }

    fn check(&mut self, fix: Fix) -> Result<Findings> {
        let mut found = Findings { blocks: self.layout.blocks, ..Findings::default() };
        if fix != Fix::Nothing {
            self.begin_writing()?;
        }
        let mut taken = Marks::default();
        let mut end = self.regions.iter().map(|r| r.0 + r.1).max().unwrap_or(0);
        end = end.max(self.header.log.0.saturating_add(self.header.log.1)).min(self.store.len());
        let log = (self.header.log.0, self.header.log.1.min(self.store.len()));
        for (at, len) in self.regions.into_iter().chain([(0, MIB), log]) {
            taken.add_range(at / MIB, len.div_ceil(MIB));
        }
        for index in 0..self.layout.entries {
            let is_bitmap = (index + 1) % (self.layout.ratio + 1) == 0;
            let entry = self.entry(index)?;
            let state = entry & 7;
            if !matches!(state, FULL | PARTIAL) {
                continue;
            }
            let pos = entry >> 20 << 20;
            let len = if is_bitmap { MIB } else { self.m.block };
            let wrong = match () {
                () if self.position(index, entry).is_err() => Some("is not in the file"),
                () if state == PARTIAL && (is_bitmap || !self.m.has_parent) => Some("can't be partial"),
                () if !taken.add_range(pos / MIB, len / MIB) => Some("lies on another, or on tables"),
                () => None,
            };
            if let Some(wrong) = wrong {
                found.error(format!("entry {index}: its block at {pos:#x} {wrong}"));
                if fix == Fix::All {
                    self.put_entry(index, ABSENT, Rank::Root)?;
                    found.fixed += 1;
                }
                continue;
            }
            found.allocated += u64::from(!is_bitmap);
            end = end.max(pos + len);
            if pos + len > self.store.len() {
                found.error(format!(
                    "entry {index}: its block is cut off by the end of the file; the rest reads as zeros"
                ));
                if fix == Fix::All {
                    self.store.resize(pos + len)?;
                    self.end = Some(pos + len);
                    found.fixed += 1;
                }
            }
        }
        found.end = end;
        found.leaks = self.store.len().saturating_sub(end) / MIB;
        if fix != Fix::Nothing && self.store.len() > end {
            self.flush()?;
            self.store.resize(end)?;
            self.end = Some(end);
            found.fixed += core::mem::take(&mut found.leaks);
        }
        if fix == Fix::All {
            found.error_count = 0;
            found.errors.clear();
            self.flush()?;
        }
        found.leaked_bytes = found.leaks * MIB;
        Ok(found)
    }

    fn resize(&mut self, size: u64) -> Result<()> {
        if !size.is_multiple_of(self.m.sector) || size > 64 << 40 {
            return Err(self.store.no_way("a VHDX disk has whole sectors, and at most 64 TiB"));
        }
        let layout = Layout::new(size.max(1), self.m.block, self.m.sector, self.m.has_parent);
        self.begin_writing()?;
        if layout.entries * 8 > self.regions[0].1 {
            self.move_table((layout.entries * 8).next_multiple_of(MIB))?;
        }
        for block in layout.blocks..self.layout.blocks {
            self.put_entry(self.layout.payload(block), ABSENT, Rank::Root)?;
        }
        self.meta.write(&*self.store, self.m.size_at, &size.to_le_bytes(), Rank::Root)?;
        self.flush()?;
        (self.m.size, self.layout) = (size, layout);
        Ok(())
    }

    fn set_parent(&mut self, parent: Option<&NewParent>) -> Result<()> {
        let Some(parent) = parent.filter(|_| self.m.has_parent) else {
            return Err(self.store.no_way("only a differencing image can get another VHDX image as its parent"));
        };
        self.begin_writing()?;
        self.flush()?;
        let item = create::locator(&*self.store, parent)?;
        let (at, len) = self.regions[1];
        let place = self.m.items_end.next_multiple_of(8);
        if place + item.len() as u64 > len {
            return Err(self.store.no_way("its metadata have no room for another parent: convert it"));
        }
        self.store.write(at + place, &item)?;
        self.store.flush()?;
        let mut words = [0; 8];
        words[..4].copy_from_slice(&(place as u32).to_le_bytes());
        words[4..].copy_from_slice(&(item.len() as u32).to_le_bytes());
        self.store.write(self.m.locator_entry + 16, &words)?;
        self.store.flush()?;
        self.m = Metadata::read(&*self.store, self.regions[1])?;
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        self.begin_writing()?;
        for block in 0..self.layout.blocks {
            self.put_entry(self.layout.payload(block), ABSENT, Rank::Root)?;
            if self.meta.is_full() {
                self.flush()?;
            }
        }
        self.flush()
    }
}

#[cfg(test)]
mod tests;
