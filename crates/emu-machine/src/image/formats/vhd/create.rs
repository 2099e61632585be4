//! New images, and changes to an image as a whole.

use std::time::{SystemTime, UNIX_EPOCH};

use super::super::super::format::{Identity, NewParent, Result};
use super::super::super::store::Store;
use super::header::{COOKIE, DIFFERENCING, DYNAMIC, FIXED, Header, LARGEST, SPARSE, read_footer, seal};
use super::{SECTOR, UNUSED, Vhd};

/// What a new image is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) size: u64,
    pub(crate) fixed: bool,
    pub(crate) block: u64,
    pub(crate) parent: Option<NewParent>,
}

/// Seconds between 1970 and 2000, from where the format counts.
const YEAR_2000: u64 = 946_684_800;

fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    now.saturating_sub(YEAR_2000) as u32
}

/// Cylinders, heads and sectors of a disk [VHD appendix: CHS calculation].
fn geometry(sectors: u64) -> (u16, u8, u8) {
    let total = sectors.min(65535 * 16 * 255);
    if total >= 65535 * 16 * 63 {
        return ((total / 255 / 16) as u16, 16, 255);
    }
    let mut track = 17;
    let mut rows = total / track;
    let mut heads = rows.div_ceil(1024).max(4);
    if rows >= heads * 1024 || heads > 16 {
        (track, heads) = (31, 16);
        rows = total / track;
    }
    if rows >= heads * 1024 {
        (track, heads) = (63, 16);
        rows = total / track;
    }
    ((rows / heads) as u16, heads as u8, track as u8)
}

fn footer(size: u64, kind: u32) -> [u8; 512] {
    let mut raw = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, COOKIE);
    put(8, &2u32.to_be_bytes());
    put(12, &0x0001_0000u32.to_be_bytes());
    put(16, &(if kind == FIXED { u64::MAX } else { SECTOR }).to_be_bytes());
    put(24, &now().to_be_bytes());
    // Readers believe the geometry rather than the size, unless they know the creator: this is Windows' name.
    put(28, b"win ");
    put(32, &0x000A_0000u32.to_be_bytes());
    put(36, b"Wi2k");
    put(40, &size.to_be_bytes());
    put(48, &size.to_be_bytes());
    let (c, h, s) = geometry(size / SECTOR);
    put(56, &c.to_be_bytes());
    put(58, &[h, s]);
    put(60, &kind.to_be_bytes());
    put(68, uuid::Uuid::new_v4().as_bytes());
    seal(&mut raw, 64);
    raw
}

/// Writes an empty image into an empty store.
pub(crate) fn create(store: &dyn Store, c: &Create) -> Result<()> {
    if c.size == 0 || !c.size.is_multiple_of(SECTOR) || c.size > LARGEST {
        return Err(store.no_way("a VHD disk has whole sectors, and at most 2040 GiB; VHDX holds more"));
    }
    if !c.block.is_power_of_two() || !(4096..=256 << 20).contains(&c.block) {
        return Err(store.no_way("block_size must be a power of two from 4K to 256M"));
    }
    if c.fixed {
        if c.parent.is_some() {
            return Err(store.no_way("a fixed image can't have a parent"));
        }
        store.write(c.size, &footer(c.size, FIXED))?;
        return store.flush();
    }
    let foot = footer(c.size, if c.parent.is_some() { DIFFERENCING } else { DYNAMIC });
    let entries = c.size.div_ceil(c.block);
    let table = SECTOR + 1024;
    let table_bytes = (entries * 4).next_multiple_of(SECTOR);
    let mut header = [0; 1024];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, SPARSE);
    put(8, &[0xFF; 8]);
    put(16, &table.to_be_bytes());
    put(24, &0x0001_0000u32.to_be_bytes());
    put(28, &(entries as u32).to_be_bytes());
    put(32, &(c.block as u32).to_be_bytes());
    let mut end = table + table_bytes;
    if let Some(parent) = &c.parent {
        end = put_parent(store, &mut header, parent, end)?;
    }
    seal(&mut header, 36);
    store.write(table, &vec![0xFF; table_bytes as usize])?;
    store.write(SECTOR, &header)?;
    store.write(end, &foot)?;
    store.write(0, &foot)?;
    store.flush()
}

/// Puts the parent's name into the header, and its locators at `at` of the file; returns where they end.
fn put_parent(store: &dyn Store, header: &mut [u8; 1024], parent: &NewParent, at: u64) -> Result<u64> {
    let Identity::Uuid(id) = parent.identity else {
        return Err(store.no_way("the parent of a VHD image must be one"));
    };
    header[40..56].copy_from_slice(&id);
    header[56..60].copy_from_slice(&now().to_be_bytes());
    let last = parent.absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name: Vec<u8> = last.encode_utf16().flat_map(u16::to_be_bytes).take(510).collect();
    header[64..576].fill(0);
    header[64..64 + name.len()].copy_from_slice(&name);
    header[576..768].fill(0);
    let relative = format!(".\\{}", parent.name.replace('/', "\\"));
    let absolute = parent.absolute.to_string_lossy().replace('/', "\\");
    let mut at = at;
    for (i, (code, text)) in [(b"W2ru", relative), (b"W2ku", absolute)].into_iter().enumerate() {
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let space = (bytes.len() as u64).next_multiple_of(SECTOR);
        if bytes.len() > 4096 {
            return Err(store.no_way("the parent's name is too long"));
        }
        let entry = &mut header[576 + i * 24..];
        entry[..4].copy_from_slice(code);
        entry[4..8].copy_from_slice(&(space as u32).to_be_bytes());
        entry[8..12].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
        entry[16..24].copy_from_slice(&at.to_be_bytes());
        store.write(at, &bytes)?;
        at += space;
    }
    Ok(at)
}

impl Vhd {
    /// Writes the footer, and its copy at the start of a dynamic image.
    fn put_footer(&mut self, raw: [u8; 512], end: u64) -> Result<()> {
        self.store.write(end, &raw)?;
        self.store.flush()?;
        if self.dynamic.is_some() {
            self.store.write(0, &raw)?;
            self.store.flush()?;
        }
        self.footer = read_footer(&*self.store)?;
        Ok(())
    }

    pub(super) fn change_size(&mut self, size: u64) -> Result<()> {
        if !size.is_multiple_of(SECTOR) || size > LARGEST {
            return Err(self.store.no_way("a VHD disk has whole sectors, and at most 2040 GiB"));
        }
        let mut raw = self.footer.raw;
        raw[48..56].copy_from_slice(&size.to_be_bytes());
        let (c, h, s) = geometry(size / SECTOR);
        raw[56..58].copy_from_slice(&c.to_be_bytes());
        raw[58..60].copy_from_slice(&[h, s]);
        seal(&mut raw, 64);
        let Some(h) = self.dynamic.clone() else {
            // The file ends with a footer at any time; the old one becomes part of the disk when the new one counts.
            let old = self.footer.size;
            self.put_footer(raw, size)?;
            if size > old {
                let zeros = [0; 512];
                self.store.write(old, &zeros[..(size - old).min(SECTOR) as usize])?;
            }
            self.store.resize(size + SECTOR)?;
            return self.store.flush();
        };
        self.flush_tables()?;
        let mut end = self.begin_writing(&h)?;
        if size.div_ceil(h.block) > h.entries {
            end = self.move_table(&h, size.div_ceil(h.block), end)?;
        }
        let h = self.dynamic.clone().unwrap_or(h);
        for index in size.div_ceil(h.block)..self.footer.size.div_ceil(h.block) {
            let unused = UNUSED.to_be_bytes();
            self.meta.write(&*self.store, h.table + index * 4, &unused, super::Rank::Root)?;
        }
        self.flush_tables()?;
        self.put_footer(raw, end)
    }

    /// Puts the table, with room for `entries`, at `at`, the end of all blocks; returns where it ends. The footer goes
    /// behind it first, so that the file always ends with one.
    fn move_table(&mut self, h: &Header, entries: u64, at: u64) -> Result<u64> {
        let len = (entries * 4).next_multiple_of(SECTOR);
        self.store.write(at + len, &self.footer.raw)?;
        let mut table = self.store.read_vec(h.table, (h.entries * 4) as usize)?;
        table.resize(len as usize, 0xFF);
        self.store.write(at, &table)?;
        self.store.flush()?;
        let mut raw = h.raw;
        raw[16..24].copy_from_slice(&at.to_be_bytes());
        raw[28..32].copy_from_slice(&(entries as u32).to_be_bytes());
        seal(&mut raw, 36);
        self.store.write(h.at, &raw)?;
        self.store.flush()?;
        self.meta.forget();
        self.dynamic = Some(Header::read(&*self.store, &self.footer)?.into());
        self.end = Some(at + len);
        Ok(at + len)
    }

    fn flush_tables(&mut self) -> Result<()> {
        self.store.flush()?;
        self.meta.write_back(&*self.store)
    }

    pub(super) fn rename_parent(&mut self, parent: Option<&NewParent>) -> Result<()> {
        let (Some(h), Some(parent)) = (self.dynamic.clone(), parent) else {
            return Err(self.store.no_way("a VHD image can't lose its parent: convert it"));
        };
        if !h.is_differencing() {
            return Err(self.store.no_way("only a differencing image has a parent"));
        }
        self.flush_tables()?;
        let end = self.begin_writing(&h)?;
        let mut raw = h.raw;
        let new_end = put_parent(&*self.store, &mut raw, parent, end)?;
        seal(&mut raw, 36);
        self.store.write(new_end, &self.footer.raw)?;
        self.store.flush()?;
        self.store.write(h.at, &raw)?;
        self.store.flush()?;
        self.dynamic = Some(Header::read(&*self.store, &self.footer)?.into());
        self.end = Some(new_end);
        Ok(())
    }

    pub(super) fn drop_blocks(&mut self) -> Result<()> {
        let Some(h) = self.dynamic.clone() else {
            return Err(self.store.no_way("a fixed image can't be emptied"));
        };
        let bytes = vec![0xFF; (h.entries * 4) as usize];
        for (i, piece) in bytes.chunks(1 << 20).enumerate() {
            self.meta.write(&*self.store, h.table + ((i as u64) << 20), piece, super::Rank::Root)?;
            self.flush_tables()?;
        }
        self.end = None;
        self.begin_writing(&h)?;
        self.flush_tables()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::format::Kind;
    use super::super::super::super::model::{chains, everything, grows, grows_or_stays, truncations_are_noticed};
    use super::super::super::super::ops::NewImage;

    #[test]
    fn dynamic_images() {
        everything(&NewImage::new(Kind::Vhd, 2 << 20).with("block_size", "256K"));
        truncations_are_noticed(&NewImage::new(Kind::Vhd, 2 << 20).with("block_size", "64K"), 0);
        truncations_are_noticed(&NewImage::new(Kind::Vhd, 2 << 20).with("subformat", "fixed"), 0);
    }

    #[test]
    fn a_table_that_is_too_small_moves() {
        grows(&NewImage::new(Kind::Vhd, 2 << 20).with("block_size", "64K"), 300 << 20);
        grows_or_stays(&NewImage::new(Kind::Vhd, 2 << 20).with("block_size", "64K"), 300 << 20);
        let fixed = NewImage::new(Kind::Vhd, 2 << 20).with("subformat", "fixed");
        grows(&fixed, 5 << 20);
        grows_or_stays(&fixed, 5 << 20);
        grows_or_stays(&fixed, (2 << 20) + 512);
    }

    #[test]
    fn fixed_images() {
        everything(&NewImage::new(Kind::Vhd, 2 << 20).with("subformat", "fixed"));
    }

    #[test]
    fn chains_of_parents() {
        chains(Kind::Vhd, 1 << 20, &[("block_size", "64K")], 3);
    }
}
