//! New images of all kinds.

use std::path::Path;

use super::super::super::ImageError;
use super::super::super::files::Maker;
use super::super::super::format::{Identity, NewParent, Result};
use super::super::super::store::Store;
use super::descriptor::NO_PARENT;
use super::sparse::{COMPRESSED, MARKERS, REDUNDANT, SECTOR, ZEROED_GRAINS};

/// The kinds, by the names of the descriptor's createType.
pub(crate) const SUBFORMATS: [&str; 7] = [
    "monolithicSparse",
    "monolithicFlat",
    "twoGbMaxExtentSparse",
    "twoGbMaxExtentFlat",
    "streamOptimized",
    "vmfs",
    "vmfsSparse",
];
/// Sectors of a part: as many as VMware's own parts have.
pub(crate) const PART: u64 = 4_192_256 * SECTOR;
/// The largest disk that the reader takes.
const LARGEST: u64 = 64 << 40;
const GRAIN: u64 = 65536;
const ENTRIES: u64 = 512;
/// Sectors of the room for an embedded descriptor.
const ROOM: u64 = 20;

/// What a new image is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) size: u64,
    pub(crate) subformat: &'static str,
    pub(crate) adapter: &'static str,
    pub(crate) zeroed_grain: bool,
    pub(crate) part: u64,
    pub(crate) parent: Option<NewParent>,
}

/// The header of a hosted sparse extent; its directories still have to be filled in.
pub(super) fn hosted_header(capacity: u64, flags: u32, overhead: u64) -> [u8; 512] {
    let mut h = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| h[at..at + bytes.len()].copy_from_slice(bytes);
    let version: u32 = match flags {
        f if f & COMPRESSED != 0 => 3,
        f if f & ZEROED_GRAINS != 0 => 2,
        _ => 1,
    };
    put(0, b"KDMV");
    put(4, &version.to_le_bytes());
    put(8, &flags.to_le_bytes());
    put(12, &(capacity / SECTOR).to_le_bytes());
    put(20, &(GRAIN / SECTOR).to_le_bytes());
    put(44, &(ENTRIES as u32).to_le_bytes());
    put(64, &overhead.to_le_bytes());
    put(73, b"\n \r\n");
    if flags & COMPRESSED != 0 {
        put(77, &1u16.to_le_bytes());
    }
    h
}

/// Writes the descriptor and all extents.
pub(crate) fn create(path: &Path, c: &Create, maker: &mut Maker) -> Result<()> {
    let no_way = |why: &str| ImageError::NoWay { path: path.to_owned(), why: why.to_owned().into() };
    let split = c.subformat.starts_with("twoGb");
    let parts = || c.part > 0 && c.part.is_multiple_of(GRAIN) && c.size.div_ceil(c.part) <= 999;
    if c.size == 0 || !c.size.is_multiple_of(SECTOR) || split && !parts() {
        return Err(no_way(
            "a VMDK disk has whole sectors; a split one at most 999 parts of whole grains (extent_size)",
        ));
    }
    let flat = matches!(c.subformat, "monolithicFlat" | "twoGbMaxExtentFlat" | "vmfs");
    if c.size > LARGEST {
        return Err(no_way("a VMDK disk holds at most 64 TiB"));
    }
    if c.parent.is_some() && (flat || c.subformat == "streamOptimized") {
        return Err(no_way(
            "only sparse images have parents: subformat=monolithicSparse, twoGbMaxExtentSparse, vmfsSparse",
        ));
    }
    if let "monolithicSparse" | "streamOptimized" = c.subformat {
        let name = file_name(path, "");
        let lines = extent_line(c.size, "SPARSE", &name);
        let text = descriptor(c, &lines)?;
        return sparse(&*maker.make(path)?, c.size, c.zeroed_grain, c.subformat == "streamOptimized", Some(&text));
    }
    let part = if split { c.part } else { c.size };
    let mut lines = String::new();
    for (i, at) in (0..c.size).step_by(part as usize).enumerate() {
        let size = part.min(c.size - at);
        let (tail, kind) = match c.subformat {
            "monolithicFlat" => ("-flat".into(), "FLAT"),
            "vmfs" => ("-flat".into(), "VMFS"),
            "vmfsSparse" => ("-delta".into(), "VMFSSPARSE"),
            "twoGbMaxExtentFlat" => (format!("-f{:03}", i + 1), "FLAT"),
            _ => (format!("-s{:03}", i + 1), "SPARSE"),
        };
        let name = file_name(path, &tail);
        let store = maker.make(&path.with_file_name(&name))?;
        match kind {
            "SPARSE" => sparse(&*store, size, c.zeroed_grain, false, None)?,
            "VMFSSPARSE" => esx(&*store, size)?,
            _ => store.resize(size)?,
        }
        lines.push_str(&extent_line(size, kind, &name));
    }
    let text = descriptor(c, &lines)?;
    let store = maker.make(path)?;
    store.write(0, text.as_bytes())?;
    store.flush()
}

fn file_name(path: &Path, tail: &str) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match path.extension() {
        Some(extension) => format!("{stem}{tail}.{}", extension.to_string_lossy()),
        None => format!("{stem}{tail}"),
    }
}

fn extent_line(size: u64, kind: &str, name: &str) -> String {
    let offset = if kind == "FLAT" { " 0" } else { "" };
    format!("RW {} {kind} \"{name}\"{offset}\n", size / SECTOR)
}

fn descriptor(c: &Create, extents: &str) -> Result<String> {
    let (parent, hint) = match &c.parent {
        None => (NO_PARENT, String::new()),
        Some(NewParent { name, identity: Identity::Cid(cid), .. }) => {
            (*cid, format!("parentFileNameHint=\"{name}\"\n"))
        }
        Some(p) => {
            return Err(ImageError::NoWay {
                path: p.absolute.clone(),
                why: "the parent of a VMDK image must be one".into(),
            });
        }
    };
    let (heads, track) = if c.adapter == "ide" { (16, 63) } else { (255, 63) };
    let cylinders = (c.size / SECTOR).div_ceil(heads * track).min(65535);
    Ok(format!(
        "# Disk DescriptorFile\nversion=1\nCID={:08x}\nparentCID={parent:08x}\ncreateType=\"{}\"\n{hint}\n\
         # Extent description\n{extents}\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"8\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"{heads}\"\nddb.geometry.sectors = \"{track}\"\n\
         ddb.adapterType = \"{}\"\n",
        new_cid(),
        c.subformat,
        c.adapter
    ))
}

/// A content id that no image has by chance.
pub(super) fn new_cid() -> u32 {
    (uuid::Uuid::new_v4().as_u128() as u32).min(NO_PARENT - 2)
}

/// A hosted sparse extent without grains: header, descriptor, both directories with their tables.
fn sparse(store: &dyn Store, size: u64, zeroed: bool, stream: bool, text: Option<&str>) -> Result<()> {
    let flags =
        1 | if stream { COMPRESSED | MARKERS } else { REDUNDANT } | if zeroed && !stream { ZEROED_GRAINS } else { 0 };
    let tables = size.div_ceil(GRAIN * ENTRIES);
    let (directory, table) = ((tables * 4).div_ceil(SECTOR), ENTRIES * 4 / SECTOR);
    let first = 1 + text.map_or(0, |_| ROOM);
    let second = first + directory + tables * table;
    let end = if stream { first } else { second + directory + tables * table };
    let overhead = end.next_multiple_of(GRAIN / SECTOR);
    let mut header = hosted_header(size, flags, overhead);
    let mut put = |at: usize, sector: u64| header[at..at + 8].copy_from_slice(&sector.to_le_bytes());
    if let Some(text) = text {
        if text.len() as u64 > ROOM * SECTOR {
            return Err(store.no_way("the descriptor has no room for such long names"));
        }
        put(28, 1);
        put(36, ROOM);
        store.write(SECTOR, text.as_bytes())?;
    }
    store.resize(overhead * SECTOR)?;
    if stream {
        put(56, u64::MAX);
        store.write(0, &header)?;
        return super::end_empty_stream(store, size, flags, overhead);
    }
    for at in [first, second] {
        let pointers = (0..tables).map(|t| (at + directory + t * table) as u32);
        store.write(at * SECTOR, &pointers.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())?;
    }
    put(48, first);
    put(56, second);
    store.flush()?;
    store.write(0, &header)?;
    store.flush()
}

/// An ESX sparse extent without grains.
fn esx(store: &dyn Store, size: u64) -> Result<()> {
    let entries = size.div_ceil(SECTOR * 4096);
    let end = 4 + (entries * 4).div_ceil(SECTOR);
    let mut h = [0; 2048];
    let sectors = u32::try_from(size / SECTOR).map_err(|_| store.no_way("an ESX delta holds at most 2 TiB"))?;
    h[..4].copy_from_slice(b"COWD");
    for (at, word) in [(4, 1), (8, 3), (12, sectors), (16, 1), (20, 4), (24, entries as u32), (28, end as u32)] {
        h[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    store.resize(end * SECTOR)?;
    store.write(0, &h)?;
    store.flush()
}
