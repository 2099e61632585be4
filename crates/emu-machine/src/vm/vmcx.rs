//! Hyper-V's `.vmcx` of Windows 10 and Server 2016 on: a key-value store, which is turned into the XML that it replaced.
//!
//! Microsoft publishes no description of the container. What is known is by others' analysis, as the documentation of
//! dissect.hypervisor (Fox-IT) tells it [HyperVStorage]: two headers, an object table at 2000h, key tables whose entries name
//! their parents, values in place or in file objects. Its keys are those of the older XML, as [`super::hyperv`] reads them.
//! Left out: the replay log. A file whose log has entries was not closed; it is refused rather than read as of an earlier
//! time. Checksums are not verified, as their polynomial is not known.
//!
//! All integers are little-endian, and structures are packed:
//! header (at 0 and 1000h): signature u32 01282014h, checksum u32, sequence u16, version u32 (400h), u64, alignment u32, log
//! offset u64, log size u64, header size u32. Log: signature u32 01110003h, checksum u32, entries u32. Object table:
//! signature u32 01110001h, entries u32; each entry: type u8 (1 object table, 2 key table, 3 file), checksum u32, offset u64,
//! size u32, allocated u8. Key table: signature u16 2, index u16, sequence u16, checksum u32; each entry: type u8, flags u8
//! (1: the value is in a file object), size u32, parent's table u16, parent's offset u32, checksum u32, insertion u32, offset
//! of the value behind the name u8; then the name in UTF-8 with a zero, then the value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::VmError;

const HEADER: u32 = 0x0128_2014;
const LOG: u32 = 0x0111_0003;
const OBJECT_TABLE: u32 = 0x0111_0001;
const KEY_TABLE: u16 = 2;
const VERSION: u32 = 0x400;

const HEADERS: [usize; 2] = [0, 0x1000];
const FIRST_TABLE: usize = 0x2000;
const OBJECT_LEN: usize = 18;
const KEY_TABLE_LEN: usize = 10;
const KEY_LEN: usize = 21;

/// Types of keys.
const FREE: u8 = 1;
const INT: u8 = 3;
const UINT: u8 = 4;
const STRING: u8 = 6;
const BOOL: u8 = 8;
const NODE: u8 = 9;
/// The value is in a file object.
const IN_FILE: u8 = 1;

/// The most tables, keys, and levels of keys: a machine has some hundred keys in five levels.
const MOST_TABLES: usize = 1024;
const MOST_KEYS: usize = 100_000;
const DEEPEST: usize = 32;

/// Whether a file begins like such a store.
pub(super) fn is_storage(head: &[u8]) -> bool {
    head.get(..4) == Some(&HEADER.to_le_bytes())
}

/// Where a key is: its table and its offset in it. Table 0 stands for none.
type Place = (u16, u32);

struct Key {
    parent: Place,
    name: String,
    /// `None` for a node.
    value: Option<String>,
}

/// The store as the XML document that older versions wrote.
pub(super) fn to_xml(path: &Path, bytes: &[u8]) -> Result<String, VmError> {
    let bad = |what: String| {
        let help = "list the machine by PowerShell instead, as docs/MIGRATING.md tells";
        VmError::invalid(path, format!("{what}; {help}"))
    };
    let keys = read_keys(bytes).map_err(bad)?;
    document(&keys).map_err(bad)
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn get<const N: usize>(&self, at: usize, what: &str) -> Result<[u8; N], String> {
        let piece = at.checked_add(N).and_then(|end| self.0.get(at..end));
        piece.and_then(|p| p.try_into().ok()).ok_or_else(|| format!("the file ends in {what} (offset {at:#x})"))
    }
    fn u16(&self, at: usize, what: &str) -> Result<u16, String> {
        self.get(at, what).map(u16::from_le_bytes)
    }
    fn u32(&self, at: usize, what: &str) -> Result<u32, String> {
        self.get(at, what).map(u32::from_le_bytes)
    }
    fn u64(&self, at: usize, what: &str) -> Result<u64, String> {
        self.get(at, what).map(u64::from_le_bytes)
    }
    fn piece(&self, at: u64, len: u64, what: &str) -> Result<&[u8], String> {
        let range = usize::try_from(at).ok().zip(usize::try_from(at.saturating_add(len)).ok());
        range.and_then(|(a, b)| self.0.get(a..b)).ok_or_else(|| format!("{what} at {at:#x} lies outside of the file"))
    }
}

/// Checks the header that counts, and that the log is empty.
fn check_header(b: &Bytes<'_>) -> Result<(), String> {
    let whole = |at: &usize| b.u32(*at, "a header").is_ok_and(|s| s == HEADER);
    let sequence = |at: &usize| b.u16(at + 8, "a header").unwrap_or(0);
    let header = HEADERS.into_iter().filter(whole).max_by_key(|at| (sequence(at), core::cmp::Reverse(*at)));
    let Some(header) = header else { return Err("no header of a Hyper-V store is there".into()) };
    let version = b.u32(header + 10, "the header")?;
    if version != VERSION {
        return Err(format!("version {version:#x} of the store is not known (offset {:#x})", header + 10));
    }
    let log = b.u64(header + 26, "the header")?;
    if log != 0 {
        let at = usize::try_from(log).unwrap_or(usize::MAX);
        if b.u32(at, "the log")? != LOG {
            return Err(format!("no log is at {log:#x}, where the header says"));
        }
        let entries = b.u32(at.saturating_add(8), "the log")?;
        if entries != 0 {
            return Err(format!(
                "the log has {entries} changes that are not in the file yet: shut the machine down properly"
            ));
        }
    }
    Ok(())
}

/// The key tables by their index, the newest of each.
fn key_tables<'a>(b: &'a Bytes<'_>) -> Result<BTreeMap<u16, &'a [u8]>, String> {
    let (mut todo, mut seen) = (vec![FIRST_TABLE], BTreeSet::new());
    let mut tables: BTreeMap<u16, (u16, &[u8])> = BTreeMap::new();
    let mut count = 0;
    while let Some(at) = todo.pop() {
        if !seen.insert(at) {
            continue;
        }
        if b.u32(at, "an object table")? != OBJECT_TABLE {
            return Err(format!("no object table is at {at:#x}"));
        }
        for n in 0..b.u32(at + 4, "an object table")? as usize {
            let entry = b.get::<OBJECT_LEN>(at + 8 + n * OBJECT_LEN, "an object table")?;
            let offset = u64::from_le_bytes(entry[5..13].try_into().unwrap_or_default());
            let size = u32::from_le_bytes(entry[13..17].try_into().unwrap_or_default());
            count += 1;
            if count > MOST_TABLES * 16 || tables.len() > MOST_TABLES {
                return Err("more objects than a machine has".into());
            }
            match (entry[17] != 0, entry[0]) {
                (true, 1) => todo.push(usize::try_from(offset).unwrap_or(usize::MAX)),
                (true, 2) => {
                    let table = b.piece(offset, size.into(), "a key table")?;
                    let t = Bytes(table);
                    if t.u16(0, "a key table")? != KEY_TABLE {
                        return Err(format!("no key table is at {offset:#x}"));
                    }
                    let (index, sequence) = (t.u16(2, "a key table")?, t.u16(4, "a key table")?);
                    let newest = tables.entry(index).or_insert((sequence, table));
                    if sequence > newest.0 {
                        *newest = (sequence, table);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(tables.into_iter().map(|(index, (_, table))| (index, table)).collect())
}

fn read_keys(bytes: &[u8]) -> Result<BTreeMap<Place, Key>, String> {
    let b = Bytes(bytes);
    check_header(&b)?;
    let mut keys = BTreeMap::new();
    for (index, table) in key_tables(&b)? {
        let t = Bytes(table);
        let mut at = KEY_TABLE_LEN;
        while at + KEY_LEN <= table.len() {
            let size = t.u32(at + 2, "a key")? as usize;
            if size == 0 {
                break;
            }
            let entry = t.piece(at as u64, size as u64, "a key")?;
            if size < KEY_LEN {
                return Err(format!("a key of {size} bytes in table {index}, offset {at:#x}"));
            }
            if entry[0] != FREE {
                keys.insert((index, at as u32), read_key(&b, entry)?);
            }
            if keys.len() > MOST_KEYS {
                return Err("more keys than a machine has".into());
            }
            at += size;
        }
    }
    Ok(keys)
}

fn read_key(b: &Bytes<'_>, entry: &[u8]) -> Result<Key, String> {
    let e = Bytes(entry);
    let parent = (e.u16(6, "a key")?, e.u32(8, "a key")?);
    let data = usize::from(entry[20]);
    let body = &entry[KEY_LEN..];
    let name = body.get(..data.saturating_sub(1)).ok_or("a key whose name does not end")?;
    let name = std::str::from_utf8(name).map_err(|_| "a key whose name is not UTF-8")?.to_owned();
    let value = Bytes(body.get(data..).unwrap_or_default());
    let text = |bytes: &[u8]| {
        let units = bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]]));
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        text.trim_end_matches('\0').to_owned()
    };
    let value = match entry[0] {
        NODE => None,
        INT => Some((value.u64(0, "a value")? as i64).to_string()),
        UINT => Some(value.u64(0, "a value")?.to_string()),
        BOOL => Some(if value.u32(0, "a value")? != 0 { "True" } else { "False" }.into()),
        STRING if entry[1] & IN_FILE != 0 => {
            let (len, at) = (value.u32(0, "a value")?, value.u64(4, "a value")?);
            Some(text(b.piece(at, len.into(), "a value")?))
        }
        STRING => {
            let len = value.u32(0, "a value")?;
            Some(text(value.piece(4, len.into(), "a value")?))
        }
        // Numbers with fractions, bytes, and what nobody knows: nothing that a machine is made of.
        _ => Some(String::new()),
    };
    Ok(Key { parent, name, value })
}

/// Writes the tree below the roots; keys whose parents are not there are left out, and so are rings.
fn document(keys: &BTreeMap<Place, Key>) -> Result<String, String> {
    let mut children: BTreeMap<Place, Vec<Place>> = BTreeMap::new();
    for (place, key) in keys {
        let parent = if key.parent.0 == 0 { (0, 0) } else { key.parent };
        children.entry(parent).or_default().push(*place);
    }
    let roots = children.get(&(0, 0)).map(Vec::as_slice).unwrap_or_default();
    let root = roots.iter().find(|p| keys[*p].name == "configuration");
    let root = root.ok_or("the store has no `configuration`: it is not a machine's")?;
    let mut out = String::new();
    element(keys, &children, *root, 0, &mut out)?;
    Ok(out)
}

fn element(
    keys: &BTreeMap<Place, Key>,
    children: &BTreeMap<Place, Vec<Place>>,
    at: Place,
    depth: usize,
    out: &mut String,
) -> Result<(), String> {
    let key = &keys[&at];
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    if depth > DEEPEST {
        return Err("keys within keys without end".into());
    }
    // A name that is no element's can't be one that the reader looks for.
    if key.name.is_empty()
        || !key.name.chars().all(plain)
        || !key.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    {
        return Ok(());
    }
    *out += &format!("<{}>", key.name);
    match &key.value {
        Some(value) => *out += &super::export::xml_text(value),
        None => {
            for child in children.get(&at).map(Vec::as_slice).unwrap_or_default() {
                element(keys, children, *child, depth + 1, out)?;
            }
        }
    }
    *out += &format!("</{}>", key.name);
    Ok(())
}

#[cfg(test)]
#[path = "../../tests/common/vmcx.rs"]
mod vmcx_writer;

#[cfg(test)]
mod tests {
    use super::vmcx_writer::{TABLE, Writer};
    use super::*;
    use crate::testing::TempDir;
    use crate::vm::{DriveKind, Product, read_machine};

    /// A machine of Server 2016, as far as its keys are those of the XML before it.
    fn machine() -> Vec<u8> {
        let mut w = Writer::new();
        let root = w.machine("web & <mail>", "8A4C2C7E", 1, 2048, 4);
        let scsi = w.node(root, "_d422512d-2bf2-4752-809d-7b82b5fcb1b4_");
        let controller = w.node(scsi, "controller0");
        w.drive(controller, 0, r"C:\VMs\web.vhdx", "VHD");
        w.finish()
    }

    #[test]
    fn a_store_is_read_as_the_xml_before_it() {
        let dir = TempDir::new();
        let m = read_machine(&dir.file("8A4C2C7E.vmcx", &machine())).unwrap();
        assert_eq!((m.product, m.name.as_str(), m.memory, m.cpus), (Product::HyperV, "web & <mail>", Some(2 << 30), 4));
        assert_eq!(m.firmware, crate::vm::Firmware::Efi);
        assert_eq!((m.drives[0].place(), m.drives[0].kind), ("scsi0:0".into(), DriveKind::Disk));
        assert_eq!(m.drives[0].image.as_deref(), Some(dir.path().join("web.vhdx").as_path()));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_way_around() {
        let good = machine();
        let refused = |change: &dyn Fn(&mut Vec<u8>), wanted: &str| {
            let mut bytes = good.clone();
            change(&mut bytes);
            let e = to_xml(Path::new("x.vmcx"), &bytes).unwrap_err().to_string();
            assert!(e.contains(wanted) && e.contains("PowerShell") && e.lines().count() == 1, "{e}");
        };
        refused(&|b| b[10] = 1, "version 0x401");
        refused(&|b| b[0x3008] = 3, "3 changes");
        refused(&|b| b.truncate(0x2006), "ends in");
        refused(&|b| b[0x2000] = 0, "no object table");
        refused(&|b| b[TABLE] = 0, "no key table");
        refused(&|b| b[0x2004..0x2008].fill(0xFF), "ends in");
        refused(&|b| b.clear(), "no header");
        refused(&|b| b[TABLE + KEY_TABLE_LEN + 2] = 5, "a key of 5 bytes");
    }

    /// Whatever the bytes, an answer comes: no panic, and nothing without end.
    #[test]
    fn damage_is_survived() {
        let good = machine();
        let mut random = emu_core::bus::rig::TestRng(1);
        for _ in 0..3000 {
            let mut bytes = good.clone();
            for _ in 0..1 + random.next() % 4 {
                // Where something is: headers, tables, keys.
                let places = [(0, 64), (0x1000, 64), (0x2000, 64), (0x3000, 16), (TABLE as u64, 900)];
                let (start, len) = places[(random.next() % 5) as usize];
                bytes[(start + random.next() % len) as usize] = random.next() as u8;
            }
            let _ = to_xml(Path::new("x.vmcx"), &bytes);
        }
    }
}
