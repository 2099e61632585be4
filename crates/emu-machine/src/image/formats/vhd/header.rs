//! The footer and the header of dynamic images [VHD Hard Disk Footer Format, Dynamic Disk Header Format].

use super::super::super::format::{Kind, Result};
use super::super::super::store::Store;
use super::SECTOR;

pub(super) const FIXED: u32 = 2;
pub(super) const DYNAMIC: u32 = 3;
pub(super) const DIFFERENCING: u32 = 4;

pub(super) const COOKIE: &[u8; 8] = b"conectix";
pub(super) const SPARSE: &[u8; 8] = b"cxsparse";
/// The largest disk of the format.
pub(super) const LARGEST: u64 = 2040 << 30;

/// The footer.
#[derive(Clone, Debug)]
pub(super) struct Footer {
    pub(super) raw: [u8; 512],
    pub(super) size: u64,
    pub(super) kind: u32,
    pub(super) id: [u8; 16],
    /// Where the header of a dynamic image is.
    data_offset: u64,
}

/// The header of a dynamic image.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) at: u64,
    pub(super) raw: [u8; 1024],
    pub(super) table: u64,
    pub(super) entries: u64,
    pub(super) block: u64,
    /// Bytes of each block's bitmap.
    pub(super) bitmap: u64,
    kind: u32,
    pub(super) parent_id: [u8; 16],
    pub(super) parent_names: Vec<String>,
    /// The end of what the locators of the parent take.
    pub(super) locators_end: u64,
}

pub(super) fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*b[at..].first_chunk().expect("in the header"))
}
fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(*b[at..].first_chunk().expect("in the header"))
}

/// The one's complement of the sum of all bytes but the checksum's own, which stands at `at`.
pub(super) fn checksum(raw: &[u8], at: usize) -> u32 {
    let all: u32 = raw.iter().map(|b| u32::from(*b)).sum();
    let own: u32 = raw[at..at + 4].iter().map(|b| u32::from(*b)).sum();
    !(all - own)
}

/// The checksum of a footer by old writers, which put the id in afterwards.
fn sum_without_id(raw: &[u8; 512]) -> u32 {
    let mut raw = *raw;
    raw[68..84].fill(0);
    checksum(&raw, 64)
}

/// Puts the checksum in.
pub(super) fn seal(raw: &mut [u8], at: usize) {
    let sum = checksum(raw, at);
    raw[at..at + 4].copy_from_slice(&sum.to_be_bytes());
}

/// Whether the end of a file is the whole footer of a fixed image: all before it is the guest's.
pub(crate) fn ends_fixed(tail: &[u8]) -> bool {
    let Some(raw) = tail.first_chunk::<512>().filter(|raw| raw.starts_with(COOKIE)) else { return false };
    let sum = u32_at(raw, 64);
    u32_at(raw, 60) == FIXED && (sum == checksum(raw, 64) || sum == sum_without_id(raw))
}

/// Reads the footer: the one at the end, or its copy at the start.
pub(super) fn read_footer(store: &dyn Store) -> Result<Footer> {
    let end = store.len().saturating_sub(SECTOR);
    let places = [end, 0];
    let found = places.map(|at| Ok((at, store.read_array::<512>(at)?)));
    let mut problem = None;
    for place in found {
        let (at, raw) = place?;
        if &raw[..8] != COOKIE {
            continue;
        }
        if checksum(&raw, 64) == u32_at(&raw, 64) || sum_without_id(&raw) == u32_at(&raw, 64) {
            return judge(store, at, raw);
        }
        problem = Some(store.bad(Kind::Vhd, "footer", at, "its checksum is wrong"));
    }
    Err(problem.unwrap_or_else(|| store.bad(Kind::Vhd, "footer", end, "there is none: is the file truncated?")))
}

fn judge(store: &dyn Store, at: u64, raw: [u8; 512]) -> Result<Footer> {
    let bad = |i: u64, why: String| Err(store.bad(Kind::Vhd, "footer", at + i, why));
    let (size, kind) = (u64_at(&raw, 48), u32_at(&raw, 60));
    if u32_at(&raw, 12) >> 16 != 1 {
        return bad(12, format!("version {:#x} is not known", u32_at(&raw, 12)));
    }
    if !matches!(kind, FIXED | DYNAMIC | DIFFERENCING) {
        return bad(60, format!("disk type {kind} is not known"));
    }
    if size == 0 || size % SECTOR != 0 || size > 64 << 40 {
        return bad(48, format!("a disk of {size} bytes"));
    }
    let id = *raw[68..].first_chunk().expect("in it");
    Ok(Footer { raw, size, kind, id, data_offset: u64_at(&raw, 16) })
}

impl Header {
    pub(super) fn read(store: &dyn Store, footer: &Footer) -> Result<Header> {
        let at = footer.data_offset;
        let bad = |i: u64, why: String| store.bad(Kind::Vhd, "dynamic header", at.saturating_add(i), why);
        if at.checked_add(1024).is_none_or(|end| end > store.len()) || !at.is_multiple_of(SECTOR) {
            return Err(bad(0, "it is not in the file".into()));
        }
        let raw: [u8; 1024] = store.read_array(at)?;
        if &raw[..8] != SPARSE {
            return Err(bad(0, "it has no cookie".into()));
        }
        if checksum(&raw, 36) != u32_at(&raw, 36) {
            return Err(bad(36, "its checksum is wrong".into()));
        }
        let (table, entries, block) = (u64_at(&raw, 16), u64::from(u32_at(&raw, 28)), u64::from(u32_at(&raw, 32)));
        if !block.is_power_of_two() || !(SECTOR..=1 << 30).contains(&block) {
            return Err(bad(32, format!("blocks of {block} bytes")));
        }
        if entries < footer.size.div_ceil(block) || entries > 1 << 28 {
            return Err(bad(28, format!("{entries} blocks for a disk of {} bytes", footer.size)));
        }
        let inside = table.checked_add(entries * 4).is_some_and(|end| end <= store.len());
        if !inside || table % SECTOR != 0 {
            return Err(bad(16, format!("the table of {entries} blocks at {table:#x} is not in the file")));
        }
        let mut header = Header {
            at,
            raw,
            table,
            entries,
            block,
            bitmap: (block / SECTOR).div_ceil(8).next_multiple_of(SECTOR),
            kind: footer.kind,
            parent_id: *raw[40..].first_chunk().expect("in it"),
            parent_names: Vec::new(),
            locators_end: 0,
        };
        if header.is_differencing() {
            header.read_locators(store)?;
        }
        Ok(header)
    }

    pub(super) fn is_differencing(&self) -> bool {
        self.kind == DIFFERENCING
    }

    /// The end of header and table.
    pub(super) fn tables_end(&self) -> u64 {
        self.table_end().max(self.at + 1024)
    }

    fn table_end(&self) -> u64 {
        self.table + (self.entries * 4).next_multiple_of(SECTOR)
    }

    /// Whether a block may begin at `start`: not in the header, and not in the table, which may lie anywhere.
    pub(super) fn may_begin(&self, start: u64) -> bool {
        start >= self.at + 1024 && !(self.table..self.table_end()).contains(&start)
    }

    /// Names of the parent: relative ones first, then what is left of absolute ones.
    fn read_locators(&mut self, store: &dyn Store) -> Result<()> {
        let mut absolute = Vec::new();
        for i in 0..8 {
            let entry = &self.raw[576 + i * 24..];
            let (code, space, len, at) = (&entry[..4], u32_at(entry, 4), u32_at(entry, 8), u64_at(entry, 16));
            // Old writers count the space in sectors.
            let space = if u64::from(space) < SECTOR { u64::from(space) * SECTOR } else { u64::from(space) };
            if code == [0; 4] || len > 4096 || at.checked_add(space).is_none_or(|end| end > store.len()) {
                continue;
            }
            self.locators_end = self.locators_end.max(at + space.max(u64::from(len))).next_multiple_of(SECTOR);
            let bytes = store.read_vec(at, len as usize)?;
            match code {
                b"W2ru" => self.parent_names.push(portable(&utf16(&bytes, u16::from_le_bytes))),
                b"W2ku" => absolute.push(utf16(&bytes, u16::from_le_bytes)),
                b"MacX" => {
                    let url = String::from_utf8_lossy(&bytes).into_owned();
                    absolute.push(url.trim_start_matches("file://").trim_start_matches("localhost").to_owned());
                }
                _ => {}
            }
        }
        absolute.push(utf16(&self.raw[64..576], u16::from_be_bytes));
        for name in absolute {
            let name = portable(&name);
            let last = name.rsplit('/').next().unwrap_or_default().to_owned();
            self.parent_names.extend([last, name]);
        }
        self.parent_names.retain(|n| !n.is_empty());
        Ok(())
    }
}

/// Text in UTF-16, up to a zero.
fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|b| unit(*b)).take_while(|u| *u != 0).collect();
    String::from_utf16_lossy(&units)
}

/// A Windows path with the slashes of everyone else.
pub(crate) fn portable(name: &str) -> String {
    let name = name.replace('\\', "/");
    name.strip_prefix("./").unwrap_or(&name).to_owned()
}
