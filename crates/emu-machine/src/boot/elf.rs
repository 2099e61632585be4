//! ELF executables: the loadable segments go to their physical addresses [System V ABI, program header].

use super::reader::{slice, u16_at, u32_at, u64_at};
use super::{BootError, Entry, LoadPlan, MapEntry, Segment, check_segments};

/// More program headers than any kernel has.
const MAX_HEADERS: u16 = 256;
const PT_LOAD: u32 = 1;
const MACHINE_386: u16 = 3;
const MACHINE_X86_64: u16 = 62;
/// Page tables of a 64-bit start: six pages at 70000h, and the stack below them.
const TABLES: u64 = 0x7_0000;

/// An ELF file's segments and entry point.
pub(super) struct Elf {
    pub(super) segments: Vec<Segment>,
    pub(super) entry: u64,
    pub(super) is_64: bool,
}

pub(super) fn is_elf(image: &[u8]) -> bool {
    image.starts_with(b"\x7FELF")
}

/// Where the fields of the two classes lie: ELF header, then program header.
struct Shape {
    table: Option<u64>,
    entry: Option<u64>,
    entry_size: Option<u16>,
    count: Option<u16>,
}

fn shape(image: &[u8], is_64: bool) -> Shape {
    let word = |at| if is_64 { u64_at(image, at) } else { u32_at(image, at).map(u64::from) };
    let (entry, table, size, count) = if is_64 { (24, 32, 54, 56) } else { (24, 28, 42, 44) };
    Shape { table: word(table), entry: word(entry), entry_size: u16_at(image, size), count: u16_at(image, count) }
}

/// Reads an ELF executable for x86.
pub(super) fn read(image: &[u8]) -> Result<Elf, BootError> {
    let size = image.len() as u64;
    let truncated = |what| BootError::Truncated(what, size + 1, size);
    let invalid = |text: &str| BootError::Invalid(text.to_owned());
    let is_64 = match image.get(4..6) {
        Some(&[1, 1]) => false,
        Some(&[2, 1]) => true,
        Some(_) => return Err(invalid("ELF header is not little-endian, 32 or 64 bits")),
        None => return Err(truncated("its ELF header")),
    };
    let machine = u16_at(image, 18).ok_or_else(|| truncated("its ELF header"))?;
    if machine != MACHINE_386 && machine != MACHINE_X86_64 {
        return Err(BootError::Invalid(format!("ELF header is for another CPU (machine {machine})")));
    }
    let Shape { table: Some(table), entry: Some(entry), entry_size: Some(step), count: Some(count) } =
        shape(image, is_64)
    else {
        return Err(truncated("its ELF header"));
    };
    if count == 0 || count > MAX_HEADERS || step < if is_64 { 56 } else { 32 } {
        return Err(invalid("ELF program headers are not those of an executable"));
    }
    let mut segments = Vec::new();
    for i in 0..u64::from(count) {
        let at = table.checked_add(i * u64::from(step)).ok_or_else(|| truncated("its program headers"))?;
        let header = slice(image, at, u64::from(step)).ok_or_else(|| truncated("its program headers"))?;
        segments.extend(load_segment(image, header, is_64)?);
    }
    if segments.is_empty() {
        return Err(invalid("ELF file has nothing to load"));
    }
    Ok(Elf { segments, entry, is_64 })
}

fn load_segment(image: &[u8], header: &[u8], is_64: bool) -> Result<Option<Segment>, BootError> {
    if u32_at(header, 0) != Some(PT_LOAD) {
        return Ok(None);
    }
    let word = |at64, at32| if is_64 { u64_at(header, at64) } else { u32_at(header, at32).map(u64::from) };
    let (Some(offset), Some(addr), Some(in_file), Some(len)) = (word(8, 4), word(24, 12), word(32, 16), word(40, 20))
    else {
        return Ok(None);
    };
    if len == 0 {
        return Ok(None);
    }
    if in_file > len {
        return Err(BootError::Invalid("ELF segment is longer in the file than in memory".into()));
    }
    let end = offset.saturating_add(in_file);
    let bytes =
        slice(image, offset, in_file).ok_or(BootError::Truncated("an ELF segment", end, image.len() as u64))?.to_vec();
    Ok(Some(Segment { addr, bytes, len }))
}

/// Plans the start of a flat ELF executable: 32-bit ones without paging, 64-bit ones with low memory mapped one to one.
pub(super) fn plan(image: &[u8], map: &[MapEntry]) -> Result<LoadPlan, BootError> {
    let Elf { mut segments, entry, is_64 } = read(image)?;
    let entry = if is_64 {
        segments.push(Segment::new(TABLES, identity_tables(TABLES)));
        Entry::Long { rip: entry, cr3: TABLES, rsp: TABLES }
    } else {
        Entry::Protected { eip: entry as u32, eax: 0, ebx: 0, esp: TABLES as u32 }
    };
    check_segments(&segments, map, "the kernel")?;
    let what = format!("{}-bit ELF", if is_64 { 64 } else { 32 });
    Ok(LoadPlan { segments, entry, what })
}

/// Six pages at `base`: a PML4, a PDPT, and four page directories that map 4 GiB in pages of 2 MiB [SDM-3A 4.5].
fn identity_tables(base: u64) -> Vec<u8> {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 0x80;
    let mut entries = vec![0u64; 6 * 512];
    entries[0] = (base + 0x1000) | PRESENT_WRITABLE;
    for i in 0..4 {
        entries[512 + i] = (base + 0x2000 + 0x1000 * i as u64) | PRESENT_WRITABLE;
    }
    for (i, entry) in entries[1024..].iter_mut().enumerate() {
        *entry = (i as u64) << 21 | LARGE | PRESENT_WRITABLE;
    }
    entries.iter().flat_map(|e| e.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pc_memory_map;
    use super::*;

    /// An ELF32 file with one segment: 4 bytes of code at 1 MiB, 16 in memory.
    pub(super) fn elf32() -> Vec<u8> {
        let mut e = b"\x7FELF\x01\x01\x01".to_vec();
        e.resize(84, 0);
        e[16] = 2;
        e[18] = 3;
        for (at, v) in [(24, 0x10_0002u32), (28, 52), (52, 1), (56, 84), (64, 0x10_0000), (68, 4), (72, 16)] {
            e[at..at + 4].copy_from_slice(&v.to_le_bytes());
        }
        e[42] = 32;
        e[44] = 1;
        e.extend_from_slice(&[0xFA, 0xF4, 0xEB, 0xFD]);
        e
    }

    #[test]
    fn segments_go_to_physical_addresses() {
        let p = plan(&elf32(), &pc_memory_map(4 << 20)).unwrap();
        assert_eq!(p.segments, [Segment { addr: 0x10_0000, bytes: vec![0xFA, 0xF4, 0xEB, 0xFD], len: 16 }]);
        assert!(matches!(p.entry, Entry::Protected { eip: 0x10_0002, .. }));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = elf32();
        for n in 4..whole.len() {
            assert!(plan(&whole[..n], &pc_memory_map(4 << 20)).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn segments_outside_of_ram_are_refused() {
        for addr in [0u32, 0xA_0000, 0xFFFF_FFF8] {
            let mut e = elf32();
            e[64..68].copy_from_slice(&addr.to_le_bytes());
            e[72..76].copy_from_slice(&0xFF00_0000u32.to_le_bytes());
            assert!(matches!(plan(&e, &pc_memory_map(4 << 20)), Err(BootError::NoRoom { .. })), "{addr:#x}");
        }
    }

    #[test]
    fn identity_tables_map_the_last_page_of_4_gib() {
        let t = identity_tables(TABLES);
        assert_eq!(u64_at(&t, 0), Some(0x7_1003));
        assert_eq!(u64_at(&t, 6 * 4096 - 8), Some(0xFFE0_0083));
    }
}
