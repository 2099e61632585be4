//! VHD, of Virtual PC and the older Hyper-V: fixed, dynamic and differencing [VHD].
//!
//! A footer ends the file; dynamic images have a copy of it at the start, a header, and a table of blocks. Each block is
//! a bitmap of its sectors, and the sectors. Left out: saved state, and the footers of 511 bytes of old betas.

mod check;
mod create;
mod header;

use std::sync::Arc;

use super::super::ImageError;
use super::super::files::Files;
use super::super::format::{
    Extent, Findings, Fix, Format, Identity, Kind, NewParent, ParentRef, Result, Target, Where,
};
use super::super::meta::{Meta, Rank};
use super::super::store::Store;
use header::{Footer, Header, read_footer};

pub(crate) use create::{Create, create};
pub(crate) use header::{ends_fixed, portable};

const SECTOR: u64 = 512;
/// An entry of a block that is not there.
const UNUSED: u32 = u32::MAX;

/// An open image.
pub(crate) struct Vhd {
    store: Box<dyn Store>,
    footer: Footer,
    /// The table of blocks; none in a fixed image.
    dynamic: Option<Arc<Header>>,
    meta: Meta,
    /// Where the next block goes, once that was looked for.
    end: Option<u64>,
}

impl Vhd {
    pub(crate) fn open(store: Box<dyn Store>, _: &mut Files) -> Result<Vhd> {
        let footer = read_footer(&*store)?;
        let dynamic = match footer.kind {
            header::FIXED => None,
            _ => Some(Arc::new(Header::read(&*store, &footer)?)),
        };
        let stored = if dynamic.is_none() { footer.size } else { 0 };
        if stored.checked_add(SECTOR).is_none_or(|n| n > store.len()) {
            let why = format!("a disk of {stored} bytes in a file of {}: is it truncated?", store.len());
            return Err(store.bad(Kind::Vhd, "footer", 48, why));
        }
        Ok(Vhd { store, footer, dynamic, meta: Meta::new(), end: None })
    }

    fn bad(&self, structure: &'static str, at: u64, why: String) -> ImageError {
        self.store.bad(Kind::Vhd, structure, at, why)
    }

    /// Where block `index` begins (with its bitmap).
    fn block_at(&mut self, index: u64) -> Result<Option<u64>> {
        let Some(h) = &self.dynamic else { return Ok(None) };
        let (at, bytes) = (h.table + index * 4, h.block);
        let sector = u32::from_be_bytes(self.meta.get(&*self.store, at)?);
        let start = u64::from(sector) * SECTOR;
        match sector {
            UNUSED => Ok(None),
            _ if !h.may_begin(start) || start >= self.store.len() => {
                let why = format!("block {index} of {bytes} bytes at {start:#x} is not in the file");
                Err(self.bad("block allocation table", at, why))
            }
            _ => Ok(Some(start)),
        }
    }

    /// What is at `offset` within one block of a dynamic image.
    fn find(&mut self, h: &Header, offset: u64, len: u64) -> Result<Extent> {
        let within = offset % h.block;
        let left = (h.block - within).min(len);
        let Some(start) = self.block_at(offset / h.block)? else {
            return Ok(Extent { len: left, place: Where::Parent });
        };
        let pos = start + h.bitmap + within;
        if !h.is_differencing() {
            return Ok(Extent { len: left, place: Where::Data { file: 0, pos } });
        }
        // Sectors with the same bit as the first.
        let sector = within / SECTOR;
        let first = self.bit(start, sector)?;
        let mut end = sector + 1;
        while end * SECTOR < within + left && self.bit(start, end)? == first {
            end += 1;
        }
        let place = if first { Where::Data { file: 0, pos } } else { Where::Parent };
        Ok(Extent { len: (end * SECTOR - within).min(left), place })
    }

    fn bit(&mut self, start: u64, sector: u64) -> Result<bool> {
        let [byte] = self.meta.get(&*self.store, start + sector / 8)?;
        Ok(byte >> (7 - sector % 8) & 1 != 0)
    }

    /// Finds the end of all blocks, and cuts off what a crash left behind it.
    fn begin_writing(&mut self, h: &Header) -> Result<u64> {
        if let Some(end) = self.end {
            return Ok(end);
        }
        let mut end = h.tables_end().max(h.locators_end);
        for index in 0..h.entries {
            if let Some(start) = self.block_at(index)? {
                end = end.max(start + h.bitmap + h.block);
            }
        }
        if self.store.len() > end + SECTOR {
            self.store.resize(end)?;
        }
        self.store.write(end, &self.footer.raw)?;
        self.end = Some(end);
        Ok(end)
    }

    /// A new block at the end. The footer moves first, so that the file always ends with one.
    fn new_block(&mut self, h: &Header, end: u64) -> Result<()> {
        if (end + h.bitmap + h.block) / SECTOR >= u64::from(UNUSED) {
            return Err(self.store.no_way("a VHD file can't grow beyond 2 TiB; convert it to VHDX"));
        }
        self.store.write(end + h.bitmap + h.block, &self.footer.raw)?;
        let bits = if h.is_differencing() { 0 } else { 0xFF };
        self.meta.write(&*self.store, end, &vec![bits; h.bitmap as usize], Rank::Claim)
    }

    /// Marks the sectors of a stretch as this image's own.
    fn set_bits(&mut self, start: u64, from: u64, to: u64) -> Result<()> {
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            let at = start + sector / 8;
            let [byte] = self.meta.get::<1>(&*self.store, at)?;
            let new = byte | 0x80 >> (sector % 8);
            if new != byte {
                self.meta.write(&*self.store, at, &[new], Rank::Point)?;
            }
        }
        Ok(())
    }
}

impl Format for Vhd {
    fn kind(&self) -> Kind {
        Kind::Vhd
    }
    fn size(&self) -> u64 {
        self.footer.size
    }
    fn store(&self, _: usize) -> &dyn Store {
        &*self.store
    }
    fn block(&self) -> u64 {
        self.dynamic.as_ref().map_or(0, |h| h.block)
    }

    fn lookup(&mut self, offset: u64, len: u64) -> Result<Extent> {
        match self.dynamic.clone() {
            Some(h) => self.find(&h, offset, len),
            None => Ok(Extent { len, place: Where::Data { file: 0, pos: offset } }),
        }
    }

    fn target(&mut self, offset: u64, len: u64) -> Result<Target> {
        let Some(h) = self.dynamic.clone() else {
            return Ok(Target { file: 0, pos: offset, from: offset, to: offset + len, zeroed: false });
        };
        let end = self.begin_writing(&h)?;
        let within = offset % h.block;
        let to = (offset + len).min(offset - within + h.block);
        let (from, to) = match h.is_differencing() {
            true => (offset / SECTOR * SECTOR, to.next_multiple_of(SECTOR)),
            false => (offset, to),
        };
        let (start, zeroed) = match self.block_at(offset / h.block)? {
            Some(start) => (start, false),
            None => {
                self.new_block(&h, end)?;
                (end, true)
            }
        };
        Ok(Target { file: 0, pos: start + h.bitmap + from % h.block, from, to, zeroed })
    }

    fn link(&mut self, target: &Target) -> Result<()> {
        let Some(h) = self.dynamic.clone() else { return Ok(()) };
        let index = target.from / h.block;
        let from = target.from % h.block;
        let start = target.pos - from - h.bitmap;
        if h.is_differencing() {
            self.set_bits(start, from, from + (target.to - target.from))?;
        }
        if self.block_at(index)?.is_none() {
            let sector = ((start / SECTOR) as u32).to_be_bytes();
            self.meta.write(&*self.store, h.table + index * 4, &sector, Rank::Root)?;
            self.end = Some(start + h.bitmap + h.block);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.store.flush()?;
        self.meta.write_back(&*self.store)
    }
    fn is_full(&self) -> bool {
        self.meta.is_full()
    }

    fn parent(&self) -> Option<ParentRef> {
        let h = self.dynamic.as_ref().filter(|h| h.is_differencing())?;
        Some(ParentRef { names: h.parent_names.clone(), kind: Some(Kind::Vhd), identity: Identity::Uuid(h.parent_id) })
    }
    fn identity(&self) -> Identity {
        Identity::Uuid(self.footer.id)
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let kind = match self.footer.kind {
            header::FIXED => "fixed",
            header::DYNAMIC => "dynamic",
            _ => "differencing",
        };
        vec![("subformat", kind.into()), ("id", self.identity().to_string())]
    }

    fn can_check(&self) -> bool {
        self.dynamic.is_some()
    }
    fn check(&mut self, fix: Fix) -> Result<Findings> {
        self.check_blocks(fix)
    }
    fn resize(&mut self, size: u64) -> Result<()> {
        self.change_size(size)
    }
    fn set_parent(&mut self, parent: Option<&NewParent>) -> Result<()> {
        self.rename_parent(parent)
    }
    fn clear(&mut self) -> Result<()> {
        self.drop_blocks()
    }
}
