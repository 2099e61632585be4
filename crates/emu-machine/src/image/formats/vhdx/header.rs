//! Headers, regions and metadata [MS-VHDX 2.2, 2.6].

use uuid::Uuid;

use super::super::super::format::{Kind, Result};
use super::super::super::store::Store;
use super::super::vhd::portable;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const HEADERS: [u64; 2] = [64 << 10, 128 << 10];
pub(super) const REGIONS: [u64; 2] = [192 << 10, 256 << 10];
/// The longest log that is looked at.
const LONGEST_LOG: u64 = 64 << 20;

pub(super) const BAT: Uuid = Uuid::from_u128(0x2DC2_7766_F623_4200_9D64_115E_9BFD_4A08);
pub(super) const METADATA: Uuid = Uuid::from_u128(0x8B7C_A206_4790_4B9A_B8FE_575F_050F_886E);
pub(super) const FILE_PARAMETERS: Uuid = Uuid::from_u128(0xCAA1_6737_FA36_4D43_B3B6_33F0_AA44_E76B);
pub(super) const DISK_SIZE: Uuid = Uuid::from_u128(0x2FA5_4224_CD1B_4876_B211_5DBE_D83B_F4B8);
pub(super) const DISK_ID: Uuid = Uuid::from_u128(0xBECA_12AB_B2E6_4523_93EF_C309_E000_C746);
pub(super) const LOGICAL_SECTOR: Uuid = Uuid::from_u128(0x8141_BF1D_A96F_4709_BA47_F233_A8FA_AB5F);
pub(super) const PHYSICAL_SECTOR: Uuid = Uuid::from_u128(0xCDA3_48C7_445D_4471_9CC9_E988_5251_C556);
pub(super) const PARENT_LOCATOR: Uuid = Uuid::from_u128(0xA8D3_5F2D_B30B_454D_ABF7_D3D8_4834_AB0C);
pub(super) const LOCATOR_TYPE: Uuid = Uuid::from_u128(0xB04A_EFB7_D19E_4A81_B789_25B8_E944_5913);

pub(super) fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(*b[at..].first_chunk().expect("in it"))
}
pub(super) fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*b[at..].first_chunk().expect("in it"))
}
pub(super) fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*b[at..].first_chunk().expect("in it"))
}
pub(super) fn id_at(b: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes_le(*b[at..].first_chunk().expect("in it"))
}

/// The CRC-32C of a structure whose own field for it, at 4, counts as zeros.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&bytes[..4]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &[0; 4]), &bytes[8..])
}

/// Puts the checksum in.
pub(super) fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// The header that counts.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) raw: Vec<u8>,
    /// Which of the two it is.
    pub(super) slot: usize,
    pub(super) sequence: u64,
    pub(super) data_id: Uuid,
    pub(super) log_id: Uuid,
    pub(super) log: (u64, u64),
}

impl Header {
    pub(super) fn read(store: &dyn Store) -> Result<Header> {
        let mut best: Option<Header> = None;
        for (slot, at) in HEADERS.into_iter().enumerate() {
            let raw = store.read_vec(at, 4096)?;
            if &raw[..4] != b"head" || checksum(&raw) != u32_at(&raw, 4) || u16_at(&raw, 66) != 1 {
                continue;
            }
            let header = Header {
                slot,
                sequence: u64_at(&raw, 8),
                data_id: id_at(&raw, 32),
                log_id: id_at(&raw, 48),
                log: (u64_at(&raw, 72), u64::from(u32_at(&raw, 68))),
                raw,
            };
            if best.as_ref().is_none_or(|b| b.sequence < header.sequence) {
                best = Some(header);
            }
        }
        let header = best.ok_or_else(|| {
            store.bad(Kind::Vhdx, "header", HEADERS[0], "neither of the two is valid: is the file truncated?")
        })?;
        let (at, len) = header.log;
        if !header.log_id.is_nil() {
            let inside = at.checked_add(len).is_some_and(|end| end <= store.len());
            if u16_at(&header.raw, 64) != 0
                || at % MIB != 0
                || len % MIB != 0
                || len == 0
                || len > LONGEST_LOG
                || !inside
            {
                let why = format!("a log of {len} bytes at {at:#x}");
                return Err(store.bad(Kind::Vhdx, "header", HEADERS[header.slot] + 64, why));
            }
        }
        Ok(header)
    }

    /// Writes the next header, into the other slot.
    pub(super) fn next(&mut self, store: &dyn Store, change: impl FnOnce(&mut [u8])) -> Result<()> {
        let mut raw = self.raw.clone();
        raw[8..16].copy_from_slice(&(self.sequence + 1).to_le_bytes());
        change(&mut raw);
        seal(&mut raw);
        let slot = 1 - self.slot;
        store.write(HEADERS[slot], &raw)?;
        store.flush()?;
        (self.slot, self.sequence) = (slot, self.sequence + 1);
        (self.data_id, self.log_id) = (id_at(&raw, 32), id_at(&raw, 48));
        self.raw = raw;
        Ok(())
    }
}

/// The regions: position and length of the block table, and of the metadata.
pub(super) fn read_regions(store: &dyn Store) -> Result<[(u64, u64); 2]> {
    for at in REGIONS {
        let raw = store.read_vec(at, 64 << 10)?;
        let count = u32_at(&raw, 8) as usize;
        if &raw[..4] != b"regi" || checksum(&raw) != u32_at(&raw, 4) || count > 2047 {
            continue;
        }
        let mut regions = [(0, 0); 2];
        for entry in raw[16..].chunks_exact(32).take(count) {
            let (id, place) = (id_at(entry, 0), (u64_at(entry, 16), u64::from(u32_at(entry, 24))));
            let inside = place.0.checked_add(place.1).is_some_and(|end| end <= store.len());
            if place.0 < MIB || place.0 % MIB != 0 || !inside {
                let why = format!("a region of {} bytes at {:#x} is not in the file", place.1, place.0);
                return Err(store.bad(Kind::Vhdx, "region table", at, why));
            }
            match id {
                BAT => regions[0] = place,
                METADATA => regions[1] = place,
                other if u32_at(entry, 28) & 1 != 0 => {
                    return Err(store.no_way(format!("it needs a region that emu does not know: {other}")));
                }
                _ => {}
            }
        }
        if regions.iter().any(|r| r.1 == 0) {
            return Err(store.bad(Kind::Vhdx, "region table", at, "block table or metadata are missing"));
        }
        return Ok(regions);
    }
    Err(store.bad(Kind::Vhdx, "region table", REGIONS[0], "neither of the two is valid"))
}

/// Says in both region tables, one after the other, where the block table is now.
pub(super) fn move_table(store: &dyn Store, (place, len): (u64, u64)) -> Result<()> {
    for at in REGIONS {
        let mut raw = store.read_vec(at, 64 << 10)?;
        let count = (u32_at(&raw, 8) as usize).min(2047);
        if let Some(entry) = raw[16..].chunks_exact_mut(32).take(count).find(|e| id_at(e, 0) == BAT) {
            entry[16..24].copy_from_slice(&place.to_le_bytes());
            entry[24..28].copy_from_slice(&(len as u32).to_le_bytes());
        }
        seal(&mut raw);
        store.write(at, &raw)?;
        store.flush()?;
    }
    Ok(())
}

/// What the metadata say.
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata {
    pub(super) block: u64,
    pub(super) fixed: bool,
    pub(super) has_parent: bool,
    pub(super) size: u64,
    /// Where the size stands in the file.
    pub(super) size_at: u64,
    pub(super) sector: u64,
    pub(super) parent_names: Vec<String>,
    pub(super) parent_id: Uuid,
    /// Where the locator's table entry stands, and where the last item ends within the region.
    pub(super) locator_entry: u64,
    pub(super) items_end: u64,
}

impl Metadata {
    pub(super) fn read(store: &dyn Store, (at, len): (u64, u64)) -> Result<Metadata> {
        let bad = |at: u64, why: String| store.bad(Kind::Vhdx, "metadata", at, why);
        let table = store.read_vec(at, 64 << 10)?;
        let count = usize::from(u16_at(&table, 10));
        if &table[..8] != b"metadata" || count > 2047 || len < 64 << 10 {
            return Err(bad(at, "there is no table".into()));
        }
        let mut m = Metadata { items_end: 64 << 10, ..Metadata::default() };
        for (i, entry) in table[32..].chunks_exact(32).take(count).enumerate() {
            let (id, flags) = (id_at(entry, 0), u32_at(entry, 24));
            let (from, n) = (u64::from(u32_at(entry, 16)), u64::from(u32_at(entry, 20)));
            if n > MIB || from + n > len || (n > 0 && from < 64 << 10) {
                return Err(bad(at + 32 + i as u64 * 32, format!("an item of {n} bytes at {from:#x}")));
            }
            m.items_end = m.items_end.max(from + n);
            let item = store.read_vec(at + from, n as usize)?;
            let needs = |bytes: usize| match item.len() >= bytes {
                true => Ok(()),
                false => Err(bad(at + from, "an item is too short".into())),
            };
            match id {
                FILE_PARAMETERS => {
                    needs(8)?;
                    m.block = u64::from(u32_at(&item, 0));
                    (m.fixed, m.has_parent) = (item[4] & 1 != 0, item[4] & 2 != 0);
                }
                DISK_SIZE => {
                    needs(8)?;
                    (m.size, m.size_at) = (u64_at(&item, 0), at + from);
                }
                LOGICAL_SECTOR => {
                    needs(4)?;
                    m.sector = u64::from(u32_at(&item, 0));
                }
                PARENT_LOCATOR => {
                    m.locator_entry = at + 32 + i as u64 * 32;
                    m.read_locator(&item).map_err(|why| bad(at + from, why.into()))?;
                }
                DISK_ID | PHYSICAL_SECTOR => {}
                other if flags & 4 != 0 => {
                    return Err(store.no_way(format!("it needs metadata that emu does not know: {other}")));
                }
                _ => {}
            }
        }
        m.judge(store, at)?;
        Ok(m)
    }

    fn judge(&self, store: &dyn Store, at: u64) -> Result<()> {
        let bad = |why: String| Err(store.bad(Kind::Vhdx, "metadata", at, why));
        if !self.block.is_power_of_two() || !(MIB..=256 * MIB).contains(&self.block) {
            return bad(format!("blocks of {} bytes", self.block));
        }
        if self.sector != 512 && self.sector != 4096 {
            return bad(format!("sectors of {} bytes", self.sector));
        }
        if self.size == 0 || !self.size.is_multiple_of(self.sector) || self.size > 64 << 40 {
            return bad(format!("a disk of {} bytes", self.size));
        }
        if self.has_parent && self.locator_entry == 0 {
            return bad("a parent, but nothing that says which".into());
        }
        Ok(())
    }

    /// The parent locator: pairs of texts.
    fn read_locator(&mut self, item: &[u8]) -> core::result::Result<(), &'static str> {
        if item.len() < 20 || id_at(item, 0) != LOCATOR_TYPE {
            return Err("a parent locator of an unknown type");
        }
        let text = |at: u32, len: u16| {
            let bytes = item.get(at as usize..(at as usize).saturating_add(usize::from(len)))?;
            let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
            Some(String::from_utf16_lossy(&units))
        };
        let mut absolute = Vec::new();
        for entry in item[20..].chunks_exact(12).take(usize::from(u16_at(item, 18)).min(64)) {
            let key = text(u32_at(entry, 0), u16_at(entry, 8)).ok_or("a key outside of the locator")?;
            let value = text(u32_at(entry, 4), u16_at(entry, 10)).ok_or("a value outside of the locator")?;
            match key.as_str() {
                "parent_linkage" => {
                    self.parent_id = Uuid::try_parse(&value).map_err(|_| "a parent's id that is none")?
                }
                "relative_path" => self.parent_names.push(portable(&value)),
                "absolute_win32_path" | "volume_path" => absolute.push(portable(&value)),
                _ => {}
            }
        }
        for name in absolute {
            let last = name.rsplit('/').next().unwrap_or_default().to_owned();
            self.parent_names.extend([last, name]);
        }
        self.parent_names.retain(|n| !n.is_empty());
        Ok(())
    }
}
