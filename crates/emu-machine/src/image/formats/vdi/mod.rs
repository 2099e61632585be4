//! VDI, VirtualBox's format: dynamic, static and differencing [VDI].
//!
//! A header, a map with one entry per block, and the blocks in the order in which they were first written. A
//! differencing image knows its parent by its id alone, so it is looked for among the files of its folder. Left out:
//! blocks with extra data before them, and the format's version 0.

mod resize;

use super::super::files::Files;
use super::super::format::{
    Extent, Findings, Fix, Format, Identity, Kind, NewParent, ParentRef, Result, Target, Where,
};
use super::super::marks::Marks;
use super::super::meta::{Meta, Rank};
use super::super::store::Store;

const SIGNATURE: u32 = 0xBEDA_107F;
const VERSION: u32 = 0x0001_0001;
const DYNAMIC: u32 = 1;
const STATIC: u32 = 2;
const DIFFERENCING: u32 = 4;
/// Map entries: nothing was ever written; what was there was discarded, and is zeros.
const UNUSED: u32 = u32::MAX;
const DISCARDED: u32 = u32::MAX - 1;
/// Where the header has the number of blocks that are taken, and its ids.
const TAKEN: u64 = 0x184;
const MODIFY_ID: u64 = 0x198;
const LINK_ID: usize = 0x1A8;
const PARENT_MODIFY_ID: usize = 0x1B8;

/// An open image.
pub(crate) struct Vdi {
    store: Box<dyn Store>,
    meta: Meta,
    raw: [u8; 512],
    kind: u32,
    size: u64,
    map: u64,
    data: u64,
    block: u64,
    blocks: u64,
    taken: u64,
    parent_names: Vec<String>,
    writing: bool,
    /// Whether the number of blocks must be durable before the map: when both do not go in one write.
    count_first: bool,
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*b[at..].first_chunk().expect("in the header"))
}
fn id_at(b: &[u8], at: usize) -> [u8; 16] {
    *b[at..].first_chunk().expect("in the header")
}

impl Vdi {
    pub(crate) fn open(store: Box<dyn Store>, files: &mut Files) -> Result<Vdi> {
        let raw: [u8; 512] = store.read_array(0)?;
        let bad = |at: u64, why: String| store.bad(Kind::Vdi, "header", at, why);
        if u32_at(&raw, 0x40) != SIGNATURE {
            return Err(bad(0x40, "it has no signature".into()));
        }
        if u32_at(&raw, 0x44) != VERSION {
            return Err(bad(0x44, format!("version {:#x} is not 1.1", u32_at(&raw, 0x44))));
        }
        let kind = u32_at(&raw, 0x4C);
        if !matches!(kind, DYNAMIC | STATIC | DIFFERENCING) {
            return Err(bad(0x4C, format!("image type {kind} is none of dynamic, static, differencing")));
        }
        let (map, data) = (u64::from(u32_at(&raw, 0x154)), u64::from(u32_at(&raw, 0x158)));
        let size = u64::from_le_bytes(*raw[0x170..].first_chunk().expect("in the header"));
        let (block, extra) = (u64::from(u32_at(&raw, 0x178)), u32_at(&raw, 0x17C));
        let (blocks, taken) = (u64::from(u32_at(&raw, 0x180)), u64::from(u32_at(&raw, TAKEN as usize)));
        if extra != 0 || u32_at(&raw, 0x168) != 512 {
            return Err(store.no_way("its blocks have extra data, or its sectors not 512 bytes"));
        }
        if !block.is_power_of_two() || !(4096..=1 << 30).contains(&block) {
            return Err(bad(0x178, format!("blocks of {block} bytes")));
        }
        if size == 0 || size % 512 != 0 || size.div_ceil(block) > blocks || blocks >= u64::from(DISCARDED) {
            return Err(bad(0x170, format!("a disk of {size} bytes in {blocks} blocks of {block}")));
        }
        if map % 512 != 0 || map < 512 || map + blocks * 4 > data || data % 512 != 0 || map + blocks * 4 > store.len() {
            return Err(bad(
                0x154,
                format!("a map of {blocks} blocks at {map:#x}, data at {data:#x}: is it truncated?"),
            ));
        }
        // More than there are: what is left where a resize was cut off while it moved blocks.
        if taken > blocks && data + (taken - 1) * block >= store.len() {
            return Err(bad(TAKEN, format!("{taken} of {blocks} blocks are taken: is the file truncated?")));
        }
        let parent_names =
            if kind == DIFFERENCING { find_parents(&*store, id_at(&raw, LINK_ID), files) } else { vec![] };
        let meta = Meta::of_whole_pages(data % 4096 == 0);
        Ok(Vdi {
            store,
            meta,
            raw,
            kind,
            size,
            map,
            data,
            block,
            blocks,
            taken,
            parent_names,
            writing: false,
            count_first: false,
        })
    }

    fn entry(&mut self, index: u64) -> Result<u32> {
        Ok(u32::from_le_bytes(self.meta.get(&*self.store, self.map + index * 4)?))
    }

    fn put_entry(&mut self, index: u64, entry: u32) -> Result<()> {
        self.meta.write(&*self.store, self.map + index * 4, &entry.to_le_bytes(), Rank::Point)
    }

    fn position(&self, index: u64, entry: u32) -> Result<u64> {
        let pos = self.data + u64::from(entry) * self.block;
        if u64::from(entry) >= self.blocks.max(self.taken) || pos >= self.store.len() && !self.writing {
            let (at, taken) = (self.map + index * 4, self.taken);
            let why = format!("block {index} is said to be number {entry}, there are {taken}: is the file truncated?");
            return Err(self.store.bad(Kind::Vdi, "block map", at, why));
        }
        Ok(pos)
    }

    /// Before the first change: the image gets another id of its contents, and loses what a crash left at its end.
    fn begin_writing(&mut self) -> Result<()> {
        if self.writing {
            return Ok(());
        }
        let end = self.data + self.taken * self.block;
        if self.store.len() > end {
            self.store.resize(end)?;
        }
        self.meta.write(&*self.store, MODIFY_ID, uuid::Uuid::new_v4().as_bytes(), Rank::Claim)?;
        self.meta.write_back(&*self.store)?;
        self.writing = true;
        Ok(())
    }

    fn has_parent(&self) -> bool {
        self.kind == DIFFERENCING
    }

    fn fix(&mut self, index: u64, fix: Fix, found: &mut Findings) -> Result<()> {
        if fix == Fix::All {
            self.put_entry(index, UNUSED)?;
            found.fixed += 1;
        }
        Ok(())
    }
}

/// Files of the folder that have this id.
fn find_parents(store: &dyn Store, id: [u8; 16], files: &mut Files) -> Vec<String> {
    let own = store.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut names = files.beside(store.path(), "vdi");
    names.retain(|name| {
        let opened = if *name == own { None } else { files.named(store.path(), name, false).ok() };
        let head = opened.and_then(|s| s.read_array::<512>(0).ok());
        head.is_some_and(|h| u32_at(&h, 0x40) == SIGNATURE && id_at(&h, 0x188) == id)
    });
    if names.is_empty() { vec![format!("(a VDI file with the id {})", Identity::Uuid(id))] } else { names }
}

impl Format for Vdi {
    fn kind(&self) -> Kind {
        Kind::Vdi
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn store(&self, _: usize) -> &dyn Store {
        &*self.store
    }
    fn block(&self) -> u64 {
        self.block
    }

    fn lookup(&mut self, offset: u64, len: u64) -> Result<Extent> {
        let (index, within) = (offset / self.block, offset % self.block);
        let len = (self.block - within).min(len);
        let place = match self.entry(index)? {
            UNUSED => Where::Parent,
            DISCARDED => Where::Zero,
            entry => Where::Data { file: 0, pos: self.position(index, entry)? + within },
        };
        Ok(Extent { len, place })
    }

    fn target(&mut self, offset: u64, len: u64) -> Result<Target> {
        self.begin_writing()?;
        let (index, within) = (offset / self.block, offset % self.block);
        let entry = self.entry(index)?;
        let to = (offset + len).min(offset - within + self.block);
        if entry < DISCARDED {
            let pos = self.position(index, entry)? + within;
            return Ok(Target { file: 0, pos, from: offset, to, zeroed: false });
        }
        let pos = self.data + self.taken * self.block;
        self.taken += 1;
        self.store.resize(pos + self.block)?;
        // In the header's page the map changes together with the number, so that readers that compare the two find them
        // equal after a crash too; elsewhere the number goes first.
        self.count_first |= !self.data.is_multiple_of(4096) || (self.map + index * 4) / 4096 > 0;
        let rank = if self.count_first { Rank::Claim } else { Rank::Point };
        self.meta.write(&*self.store, TAKEN, &(self.taken as u32).to_le_bytes(), rank)?;
        let (from, to) = match self.has_parent() && entry == UNUSED {
            true => (offset - within, offset - within + self.block),
            false => (offset, to),
        };
        Ok(Target { file: 0, pos: pos + from % self.block, from, to, zeroed: true })
    }

    fn link(&mut self, target: &Target) -> Result<()> {
        let index = target.from / self.block;
        if self.entry(index)? >= DISCARDED {
            self.put_entry(index, ((target.pos - self.data) / self.block) as u32)?;
        }
        Ok(())
    }

    fn zero(&mut self, offset: u64, len: u64) -> Result<u64> {
        // A block that was never written, or was discarded; one with data keeps its place, as static images want it.
        self.begin_writing()?;
        let (index, within) = (offset / self.block, offset % self.block);
        let n = (self.block - within).min(len);
        let whole = within == 0 && (n == self.block || offset + n == self.size);
        match self.entry(index)? {
            DISCARDED => Ok(n),
            UNUSED if !self.has_parent() => Ok(n),
            UNUSED if whole => {
                self.put_entry(index, DISCARDED)?;
                Ok(n)
            }
            _ => Ok(0),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.store.flush()?;
        self.count_first = false;
        self.meta.write_back(&*self.store)
    }
    fn is_full(&self) -> bool {
        self.meta.is_full()
    }

    fn parent(&self) -> Option<ParentRef> {
        let identity = Identity::Uuid(id_at(&self.raw, LINK_ID));
        self.has_parent().then(|| ParentRef { names: self.parent_names.clone(), kind: Some(Kind::Vdi), identity })
    }
    fn identity(&self) -> Identity {
        Identity::Uuid(id_at(&self.raw, 0x188))
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let kind = match self.kind {
            DYNAMIC => "dynamic",
            STATIC => "static",
            _ => "differencing",
        };
        vec![("subformat", kind.into()), ("id", self.identity().to_string())]
    }

    fn check(&mut self, fix: Fix) -> Result<Findings> {
        let mut found = Findings { blocks: self.blocks, ..Findings::default() };
        if fix != Fix::Nothing {
            self.begin_writing()?;
        }
        let mut taken = Marks::default();
        for index in 0..self.blocks {
            let entry = self.entry(index)?;
            if entry >= DISCARDED {
                continue;
            }
            if u64::from(entry) >= self.taken || self.data + u64::from(entry) * self.block >= self.store.len() {
                found.error(format!("block {index} is said to be number {entry}, which is not in the file"));
                self.fix(index, fix, &mut found)?;
                continue;
            }
            if !taken.add(entry.into()) {
                found.error(format!("block {index} is said to be number {entry}, as another is"));
                self.fix(index, fix, &mut found)?;
                continue;
            }
            found.allocated += 1;
            let used = self.block.min(self.size.saturating_sub(index * self.block));
            let end = self.data + u64::from(entry) * self.block + used;
            if end > self.store.len() {
                found.error(format!("block {index} is cut off by the end of the file: its rest reads as zeros"));
                if fix == Fix::All {
                    self.store.resize(end)?;
                    found.fixed += 1;
                }
            }
        }
        found.leaks = self.taken.saturating_sub(taken.len());
        found.leaked_bytes = found.leaks * self.block;
        let last = taken.last().map_or(0, |n| n + 1);
        if fix != Fix::Nothing && last < self.taken {
            // Blocks at the end that nothing points to.
            found.fixed += self.taken - last;
            found.leaks -= self.taken - last;
            self.taken = last;
            self.meta.write(&*self.store, TAKEN, &(last as u32).to_le_bytes(), Rank::Root)?;
            self.flush()?;
            self.store.resize(self.data + last * self.block)?;
        }
        if fix == Fix::All {
            found.error_count = 0;
            found.errors.clear();
            self.flush()?;
        }
        // Holes between blocks stay: the next writes would have to move others.
        found.leaks = if last == taken.len() { found.leaks } else { 0 };
        found.leaked_bytes = found.leaks * self.block;
        found.end = self.data + self.taken * self.block;
        Ok(found)
    }

    fn resize(&mut self, size: u64) -> Result<()> {
        self.change_size(size)
    }

    fn set_parent(&mut self, parent: Option<&NewParent>) -> Result<()> {
        let Some(Identity::Uuid(id)) = parent.map(|p| p.identity).filter(|_| self.has_parent()) else {
            return Err(self.store.no_way("only a differencing image can get another VDI image as its parent"));
        };
        self.begin_writing()?;
        self.raw[LINK_ID..LINK_ID + 16].copy_from_slice(&id);
        self.meta.write(&*self.store, LINK_ID as u64, &id, Rank::Root)?;
        self.meta.write(&*self.store, PARENT_MODIFY_ID as u64, &[0; 16], Rank::Root)?;
        self.flush()
    }

    fn clear(&mut self) -> Result<()> {
        self.begin_writing()?;
        for index in 0..self.blocks {
            self.put_entry(index, UNUSED)?;
            if self.meta.is_full() {
                self.flush()?;
            }
        }
        self.flush()?;
        self.taken = 0;
        self.meta.write(&*self.store, TAKEN, &[0; 4], Rank::Root)?;
        self.flush()?;
        self.store.resize(self.data)
    }
}

/// What a new image is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) size: u64,
    pub(crate) fixed: bool,
    pub(crate) block: u64,
    pub(crate) parent: Option<NewParent>,
}

/// Writes an empty image into an empty store.
pub(crate) fn create(store: &dyn Store, c: &Create) -> Result<()> {
    if c.size == 0
        || !c.size.is_multiple_of(512)
        || !c.block.is_power_of_two()
        || !(4096..=256 << 20).contains(&c.block)
    {
        return Err(store.no_way("a VDI disk has whole sectors, in blocks of a power of two from 4K to 256M"));
    }
    let blocks = c.size.div_ceil(c.block);
    if blocks >= 1 << 29 || c.fixed && c.parent.is_some() {
        return Err(store.no_way("too large for its blocks, or static with a parent"));
    }
    let data = (512 + blocks * 4).next_multiple_of(1 << 20);
    let mut raw = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"<<< emu disk image >>>\n");
    put(0x40, &SIGNATURE.to_le_bytes());
    put(0x44, &VERSION.to_le_bytes());
    put(0x48, &0x190u32.to_le_bytes());
    let kind = match (&c.parent, c.fixed) {
        (Some(_), _) => DIFFERENCING,
        (None, true) => STATIC,
        (None, false) => DYNAMIC,
    };
    put(0x4C, &kind.to_le_bytes());
    put(0x154, &512u32.to_le_bytes());
    put(0x158, &(data as u32).to_le_bytes());
    put(0x168, &512u32.to_le_bytes());
    put(0x170, &c.size.to_le_bytes());
    put(0x178, &(c.block as u32).to_le_bytes());
    put(0x180, &(blocks as u32).to_le_bytes());
    put(TAKEN as usize, &(if c.fixed { blocks as u32 } else { 0 }).to_le_bytes());
    put(0x188, uuid::Uuid::new_v4().as_bytes());
    put(0x198, uuid::Uuid::new_v4().as_bytes());
    if let Some(parent) = &c.parent {
        let Identity::Uuid(id) = parent.identity else {
            return Err(store.no_way("the parent of a VDI image must be one"));
        };
        put(LINK_ID, &id);
    }
    store.resize(if c.fixed { data + blocks * c.block } else { data })?;
    let entries = (0..blocks).flat_map(|b| (if c.fixed { b as u32 } else { UNUSED }).to_le_bytes());
    store.write(512, &entries.collect::<Vec<u8>>())?;
    store.flush()?;
    store.write(0, &raw)?;
    store.flush()
}

#[cfg(test)]
mod tests {
    use super::super::super::model::{chains, everything, grows, grows_or_stays, truncations_are_noticed};
    use super::super::super::ops::NewImage;
    use super::*;

    #[test]
    fn dynamic_and_static_images() {
        everything(&NewImage::new(Kind::Vdi, 2 << 20).with("block_size", "64K"));
        everything(&NewImage::new(Kind::Vdi, 2 << 20).with("static", "on"));
        truncations_are_noticed(&NewImage::new(Kind::Vdi, 2 << 20).with("block_size", "64K"), 0);
    }

    #[test]
    fn a_map_that_is_too_small_moves() {
        // 1 MiB of entries of 4 bytes, for blocks of 4 KiB; the new map takes the place of many blocks, or of one.
        for (block, size) in [("4K", 1100 << 20), ("1M", 300 << 30), ("64K", 40 << 20)] {
            grows(&NewImage::new(Kind::Vdi, 2 << 20).with("block_size", block), size);
            grows_or_stays(&NewImage::new(Kind::Vdi, 2 << 20).with("block_size", block), size);
        }
        let whole = NewImage::new(Kind::Vdi, 2 << 20).with("static", "on");
        grows(&whole, 20 << 20);
        grows_or_stays(&whole.with("block_size", "4K"), 8 << 20);
    }

    #[test]
    fn chains_of_parents() {
        chains(Kind::Vdi, 1 << 20, &[("block_size", "64K")], 3);
    }
}
