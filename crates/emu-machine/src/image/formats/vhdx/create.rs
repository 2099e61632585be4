//! New images, and another parent for an old one.

use uuid::Uuid;

use super::super::super::format::{Identity, NewParent, Result};
use super::super::super::store::Store;
use super::header::{
    BAT, DISK_ID, DISK_SIZE, FILE_PARAMETERS, HEADERS, LOCATOR_TYPE, LOGICAL_SECTOR, METADATA, MIB, PARENT_LOCATOR,
    PHYSICAL_SECTOR, REGIONS, seal,
};
use super::{FULL, Layout};

/// What a new image is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) size: u64,
    pub(crate) fixed: bool,
    pub(crate) block: u64,
    pub(crate) sector: u64,
    pub(crate) parent: Option<NewParent>,
}

/// The log, the metadata, and the block table, in this order.
const LOG: u64 = MIB;
const META: u64 = 2 * MIB;
const TABLE: u64 = 3 * MIB;

/// Writes an empty image into an empty store.
pub(crate) fn create(store: &dyn Store, c: &Create) -> Result<()> {
    if c.size == 0 || !c.size.is_multiple_of(c.sector.max(1)) || c.size > 64 << 40 {
        return Err(store.no_way("a VHDX disk has whole sectors, and at most 64 TiB"));
    }
    if !c.block.is_power_of_two() || !(MIB..=256 * MIB).contains(&c.block) || !matches!(c.sector, 512 | 4096) {
        return Err(store.no_way("block_size is a power of two from 1M to 256M, logical_sector_size 512 or 4096"));
    }
    if c.fixed && c.parent.is_some() {
        return Err(store.no_way("a fixed image can't have a parent"));
    }
    let layout = Layout::new(c.size, c.block, c.sector, c.parent.is_some());
    let table_len = (layout.entries * 8).next_multiple_of(MIB);
    let data = TABLE + table_len;
    store.resize(if c.fixed { data + layout.blocks * c.block } else { data })?;
    if c.fixed {
        let mut bytes = vec![0; (layout.entries * 8) as usize];
        for block in 0..layout.blocks {
            let at = (layout.payload(block) * 8) as usize;
            bytes[at..at + 8].copy_from_slice(&(data + block * c.block | FULL).to_le_bytes());
        }
        store.write(TABLE, &bytes)?;
    }
    put_metadata(store, c)?;
    put_regions(store, table_len)?;
    for (i, at) in HEADERS.into_iter().enumerate() {
        let mut head = vec![0; 4096];
        head[..4].copy_from_slice(b"head");
        head[8..16].copy_from_slice(&(i as u64).to_le_bytes());
        head[16..32].copy_from_slice(&Uuid::new_v4().to_bytes_le());
        head[32..48].copy_from_slice(&Uuid::new_v4().to_bytes_le());
        head[66..68].copy_from_slice(&1u16.to_le_bytes());
        head[68..72].copy_from_slice(&(MIB as u32).to_le_bytes());
        head[72..80].copy_from_slice(&LOG.to_le_bytes());
        seal(&mut head);
        store.write(at, &head)?;
    }
    store.flush()?;
    let mut identifier = b"vhdxfile".to_vec();
    identifier.extend("emu".encode_utf16().flat_map(u16::to_le_bytes));
    store.write(0, &identifier)?;
    store.flush()
}

fn put_regions(store: &dyn Store, table_len: u64) -> Result<()> {
    let mut raw = vec![0; 64 << 10];
    raw[..4].copy_from_slice(b"regi");
    raw[8..12].copy_from_slice(&2u32.to_le_bytes());
    for (i, (id, at, len)) in [(BAT, TABLE, table_len), (METADATA, META, MIB)].into_iter().enumerate() {
        let entry = &mut raw[16 + i * 32..];
        entry[..16].copy_from_slice(&id.to_bytes_le());
        entry[16..24].copy_from_slice(&at.to_le_bytes());
        entry[24..28].copy_from_slice(&(len as u32).to_le_bytes());
        entry[28..32].copy_from_slice(&1u32.to_le_bytes());
    }
    seal(&mut raw);
    REGIONS.into_iter().try_for_each(|at| store.write(at, &raw))
}

fn put_metadata(store: &dyn Store, c: &Create) -> Result<()> {
    let mut parameters = (c.block as u32).to_le_bytes().to_vec();
    parameters.extend_from_slice(&(u32::from(c.fixed) | u32::from(c.parent.is_some()) << 1).to_le_bytes());
    // Required; of the virtual disk too.
    let (file, disk) = (4u32, 6u32);
    let mut items = vec![
        (FILE_PARAMETERS, file, parameters),
        (DISK_SIZE, disk, c.size.to_le_bytes().to_vec()),
        (DISK_ID, disk, Uuid::new_v4().to_bytes_le().to_vec()),
        (LOGICAL_SECTOR, disk, (c.sector as u32).to_le_bytes().to_vec()),
        (PHYSICAL_SECTOR, disk, 4096u32.to_le_bytes().to_vec()),
    ];
    if let Some(parent) = &c.parent {
        items.push((PARENT_LOCATOR, file, locator(store, parent)?));
    }
    let mut table = vec![0; 64 << 10];
    table[..8].copy_from_slice(b"metadata");
    table[10..12].copy_from_slice(&(items.len() as u16).to_le_bytes());
    let mut at: u32 = 64 << 10;
    for (i, (id, flags, bytes)) in items.iter().enumerate() {
        let entry = &mut table[32 + i * 32..];
        entry[..16].copy_from_slice(&id.to_bytes_le());
        entry[16..20].copy_from_slice(&at.to_le_bytes());
        entry[20..24].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        entry[24..28].copy_from_slice(&flags.to_le_bytes());
        store.write(META + u64::from(at), bytes)?;
        at += bytes.len() as u32;
    }
    store.write(META, &table)
}

/// The parent locator: pairs of texts, behind their table.
pub(super) fn locator(store: &dyn Store, parent: &NewParent) -> Result<Vec<u8>> {
    let Identity::Uuid(id) = parent.identity else {
        return Err(store.no_way("the parent of a VHDX image must be one"));
    };
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let windows = |text: &str| text.replace('/', "\\");
    let pairs = [
        ("parent_linkage", format!("{{{}}}", Uuid::from_bytes(id))),
        ("relative_path", format!(".\\{}", windows(&parent.name))),
        ("absolute_win32_path", windows(&parent.absolute.to_string_lossy())),
    ];
    let mut item = LOCATOR_TYPE.to_bytes_le().to_vec();
    item.extend_from_slice(&[0; 2]);
    item.extend_from_slice(&(pairs.len() as u16).to_le_bytes());
    let mut texts = Vec::new();
    let start = 20 + pairs.len() * 12;
    for (key, value) in &pairs {
        let (key, value) = (utf16(key), utf16(value));
        if value.len() > 32768 {
            return Err(store.no_way("the parent's name is too long"));
        }
        let at = (start + texts.len()) as u32;
        item.extend_from_slice(&at.to_le_bytes());
        item.extend_from_slice(&(at + key.len() as u32).to_le_bytes());
        item.extend_from_slice(&(key.len() as u16).to_le_bytes());
        item.extend_from_slice(&(value.len() as u16).to_le_bytes());
        texts.extend(key);
        texts.extend(value);
    }
    item.extend(texts);
    Ok(item)
}
