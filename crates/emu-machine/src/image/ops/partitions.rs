//! Partitions of a disk: MBR with logical ones, and GPT.

use super::super::disk::Disk;
use super::super::format::Result;

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number as Linux counts: primary ones 1 to 4, logical ones from 5 on, GPT's by their entry.
    pub number: u32,
    /// Where it begins, in bytes.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
    /// Its type: two hex digits, or a GUID.
    pub kind: String,
}

/// Partitions that are looked at, at most.
const MOST: u32 = 128;
const SECTOR: u64 = 512;

fn u32_at(b: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(*b[at..].first_chunk().expect("in the sector")))
}
fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*b[at..].first_chunk().expect("in the sector"))
}

/// The partitions of the disk; none if it has no table.
///
/// # Errors
/// Any [`super::super::ImageError`] of reading.
pub fn partitions(disk: &mut Disk) -> Result<Vec<Partition>> {
    let mut mbr = [0; SECTOR as usize];
    disk.read(0, &mut mbr)?;
    if mbr[510..] != [0x55, 0xAA] {
        return Ok(Vec::new());
    }
    if (0..4).any(|i| mbr[446 + i * 16 + 4] == 0xEE) {
        return gpt(disk);
    }
    let mut found = Vec::new();
    for i in 0..4 {
        let entry = &mbr[446 + i * 16..];
        let (kind, start, length) = (entry[4], u32_at(entry, 8), u32_at(entry, 12));
        if kind == 0 || length == 0 {
            continue;
        }
        found.push(partition(i as u32 + 1, start, length, kind));
        if matches!(kind, 5 | 0xF | 0x85) {
            logical(disk, start, &mut found)?;
        }
    }
    let size = disk.size();
    found.retain(|p| p.start < size);
    found.iter_mut().for_each(|p| p.length = p.length.min(size - p.start));
    Ok(found)
}

fn partition(number: u32, start: u64, length: u64, kind: u8) -> Partition {
    Partition { number, start: start * SECTOR, length: length * SECTOR, kind: format!("{kind:02x}") }
}

/// Logical partitions: a chain of tables, each with one partition and the way to the next.
fn logical(disk: &mut Disk, extended: u64, found: &mut Vec<Partition>) -> Result<()> {
    let mut at = extended;
    for number in 5..5 + MOST {
        let mut table = [0; SECTOR as usize];
        disk.read(at * SECTOR, &mut table)?;
        if table[510..] != [0x55, 0xAA] {
            break;
        }
        let (first, next) = (&table[446..], &table[462..]);
        if first[4] != 0 {
            found.push(partition(number, at + u32_at(first, 8), u32_at(first, 12), first[4]));
        }
        if next[4] == 0 {
            break;
        }
        at = extended + u32_at(next, 8);
    }
    Ok(())
}

fn gpt(disk: &mut Disk) -> Result<Vec<Partition>> {
    let mut header = [0; SECTOR as usize];
    disk.read(SECTOR, &mut header)?;
    let (table, count, width) = (u64_at(&header, 72), u32_at(&header, 80), u32_at(&header, 84));
    let mut found = Vec::new();
    if &header[..8] != b"EFI PART" || !(128..=4096).contains(&width) || table > disk.size() / SECTOR {
        return Ok(found);
    }
    for i in 0..count.min(u64::from(MOST)) {
        let mut entry = [0; 128];
        disk.read(table * SECTOR + i * width, &mut entry)?;
        let (first, last) = (u64_at(&entry, 32), u64_at(&entry, 40));
        if entry[..16] == [0; 16] || last < first || last >= disk.size() / SECTOR {
            continue;
        }
        let kind = uuid::Uuid::from_bytes_le(*entry.first_chunk().expect("sixteen bytes")).to_string();
        let (start, length) = (first * SECTOR, (last - first + 1) * SECTOR);
        found.push(Partition { number: i as u32 + 1, start, length, kind });
    }
    Ok(found)
}
