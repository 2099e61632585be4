//! The multiboot specification, version 0.6.96: kernels as ELF or with an explicit layout, with modules.

use super::reader::{slice, u32_at};
use super::{BootError, Entry, KernelFiles, LoadPlan, MapEntry, MapKind, Segment, check_segments, elf, memory_map};

/// What the header starts with, and what EAX holds at the start.
const HEADER_MAGIC: u32 = 0x1BAD_B002;
const LOADER_MAGIC: u32 = 0x2BAD_B002;
/// The header lies in this many bytes from the start of the file.
const SEARCH: usize = 8192;

/// Requirements of the header: modules on pages, memory information, video mode; bit 16: addresses are in the header.
const HAS_ADDRESSES: u32 = 1 << 16;
const KNOWN_REQUIREMENTS: u32 = 0b111;

/// What the information structure holds [multiboot 3.3].
const INFO_MEMORY: u32 = 1;
const INFO_COMMAND_LINE: u32 = 1 << 2;
const INFO_MODULES: u32 = 1 << 3;
const INFO_MAP: u32 = 1 << 6;
const INFO_LOADER_NAME: u32 = 1 << 9;
const INFO_BYTES: usize = 116;

/// Addresses at which the information block is tried: the end of conventional memory, then lower.
const INFO_PLACES: [u64; 3] = [0x8_0000, 0x4_0000, 0x1_0000];

/// A header, where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    at: u64,
    flags: u32,
}

/// Finds a multiboot header in the beginning of a file.
#[must_use]
pub fn find_header(image: &[u8]) -> Option<Header> {
    let head = &image[..image.len().min(SEARCH)];
    (0..head.len() as u64).step_by(4).find_map(|at| {
        let (magic, flags, sum) = (u32_at(head, at)?, u32_at(head, at + 4)?, u32_at(head, at + 8)?);
        let valid = magic == HEADER_MAGIC && magic.wrapping_add(flags).wrapping_add(sum) == 0;
        valid.then_some(Header { at, flags })
    })
}

/// Plans the start of a multiboot kernel.
pub(super) fn plan(files: &KernelFiles, map: &[MapEntry], header: &Header) -> Result<LoadPlan, BootError> {
    let unknown = header.flags & 0xFFFF & !KNOWN_REQUIREMENTS;
    if unknown != 0 {
        return Err(BootError::Invalid(format!("multiboot header requires features {unknown:#x} that nobody knows")));
    }
    let (mut segments, entry) = if header.flags & HAS_ADDRESSES != 0 {
        explicit_layout(&files.image, header)?
    } else {
        let elf = elf::read(&files.image)?;
        (elf.segments, elf.entry as u32)
    };
    check_segments(&segments, map, "the kernel")?;
    let kernel_end = segments.iter().map(Segment::end).max().unwrap_or(0).max(0x10_0000);
    let modules = place_modules(files, kernel_end)?;
    let ranges: Vec<(u64, u64)> = modules.iter().map(|s| (s.addr, s.end())).collect();
    segments.extend(modules);
    check_segments(&segments, map, "a module")?;
    let info = place_info(files, map, &ranges, &segments)?;
    let ebx = info.addr as u32;
    segments.push(info);
    check_segments(&segments, map, "the multiboot information")?;
    let entry = Entry::Protected { eip: entry, eax: LOADER_MAGIC, ebx, esp: 0 };
    Ok(LoadPlan { segments, entry, what: format!("multiboot kernel with {} modules", files.modules.len()) })
}

/// The layout that the header itself gives [multiboot 3.1.3].
fn explicit_layout(image: &[u8], header: &Header) -> Result<(Vec<Segment>, u32), BootError> {
    let size = image.len() as u64;
    let field = |i| u32_at(image, header.at + i).map(u64::from);
    let (Some(header_addr), Some(load), Some(load_end), Some(bss_end), Some(entry)) =
        (field(12), field(16), field(20), field(24), field(28))
    else {
        return Err(BootError::Truncated("its multiboot header", header.at + 32, size));
    };
    let offset = header_addr.checked_sub(load).and_then(|before| header.at.checked_sub(before));
    let Some(offset) = offset else {
        return Err(BootError::Invalid("multiboot addresses start before the file does".into()));
    };
    let len = if load_end == 0 { size - offset } else { load_end.saturating_sub(load) };
    let bytes = slice(image, offset, len).ok_or(BootError::Truncated("its load range", offset + len, size))?.to_vec();
    let len = len.max(bss_end.saturating_sub(load));
    Ok((vec![Segment { addr: load, bytes, len }], entry as u32))
}

/// Puts the modules one after the other on pages above the kernel.
fn place_modules(files: &KernelFiles, kernel_end: u64) -> Result<Vec<Segment>, BootError> {
    let mut at = kernel_end;
    let mut placed = Vec::new();
    for (bytes, _) in &files.modules {
        at = (at + 0xFFF) & !0xFFF;
        placed.push(Segment::new(at, bytes.clone()));
        at += bytes.len() as u64;
    }
    if at > 1 << 32 {
        return Err(BootError::NoRoom { what: "a module", from: kernel_end, to: at });
    }
    Ok(placed)
}

/// Finds room for the information block in conventional memory, and builds it there.
fn place_info(
    files: &KernelFiles,
    map: &[MapEntry],
    modules: &[(u64, u64)],
    taken: &[Segment],
) -> Result<Segment, BootError> {
    for base in INFO_PLACES {
        let info = Segment::new(base, information(files, map, modules, base as u32));
        let free = taken.iter().all(|s| s.end() <= base || s.addr >= info.end());
        if free && memory_map::is_ram(map, base, info.end()) {
            return Ok(info);
        }
    }
    Err(BootError::NoRoom { what: "the multiboot information", from: INFO_PLACES[2], to: 0x9_FC00 })
}

/// The information structure at `base`, followed by what it points to.
fn information(files: &KernelFiles, map: &[MapEntry], modules: &[(u64, u64)], base: u32) -> Vec<u8> {
    let mut info = vec![0u8; INFO_BYTES];
    let append = |info: &mut Vec<u8>, bytes: &[u8]| {
        info.resize(info.len().next_multiple_of(4), 0);
        let at = base + info.len() as u32;
        info.extend_from_slice(bytes);
        at
    };
    let string = |text: &str| [text.as_bytes(), &[0]].concat();
    let command_line = append(&mut info, &string(&files.command_line));
    let name = append(&mut info, b"emu\0");
    let mut list = Vec::new();
    for ((start, end), (_, arguments)) in modules.iter().zip(&files.modules) {
        let text = append(&mut info, &string(arguments));
        list.extend([*start as u32, *end as u32, text, 0].iter().flat_map(|v| v.to_le_bytes()));
    }
    let list = append(&mut info, &list);
    let entries: Vec<u8> = map.iter().flat_map(map_entry).collect();
    let entries_at = append(&mut info, &entries);

    let flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MAP | INFO_LOADER_NAME;
    let lower = map.first().map_or(0, |e| e.len / 1024) as u32;
    let upper = (memory_map::extended_end(map) - 0x10_0000) / 1024;
    let fields = [
        (0, flags),
        (4, lower),
        (8, upper as u32),
        (16, command_line),
        (20, modules.len() as u32),
        (24, list),
        (44, entries.len() as u32),
        (48, entries_at),
        (64, name),
    ];
    for (at, value) in fields {
        info[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    info
}

/// One entry of the memory map: its size without this field, then what INT 15h, AX = E820h gives.
fn map_entry(e: &MapEntry) -> Vec<u8> {
    let kind: u32 = if e.kind == MapKind::Usable { 1 } else { 2 };
    [&20u32.to_le_bytes()[..], &e.base.to_le_bytes(), &e.len.to_le_bytes(), &kind.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::pc_memory_map;
    use super::*;

    /// A kernel with an explicit layout: loaded at 1 MiB, with 64 KiB of zeros behind it.
    fn kernel() -> Vec<u8> {
        let mut k = vec![0xF4; 4096];
        let flags = HAS_ADDRESSES | 3;
        let sum = 0u32.wrapping_sub(HEADER_MAGIC.wrapping_add(flags));
        let header = [HEADER_MAGIC, flags, sum, 0x10_0010, 0x10_0000, 0x10_1000, 0x11_1000, 0x10_0030];
        for (i, v) in header.iter().enumerate() {
            k[16 + 4 * i..20 + 4 * i].copy_from_slice(&v.to_le_bytes());
        }
        k
    }

    fn files() -> KernelFiles {
        let modules = vec![(vec![1; 5000], "first".into()), (vec![2; 10], String::new())];
        KernelFiles { image: kernel(), command_line: "a=b".into(), initrd: None, modules }
    }

    #[test]
    fn the_information_leads_to_everything() {
        let map = pc_memory_map(16 << 20);
        let files = files();
        let p = plan(&files, &map, &find_header(&files.image).unwrap()).unwrap();
        let Entry::Protected { eip, eax, ebx, .. } = p.entry else { panic!("protected mode") };
        assert_eq!((eip, eax), (0x10_0030, LOADER_MAGIC));
        let info = p.segments.iter().find(|s| s.addr == u64::from(ebx)).unwrap();
        let field = |at: u32| u32_at(&info.bytes, u64::from(at)).unwrap();
        let text = |at: u32| info.bytes[(at - ebx) as usize..].split(|&b| b == 0).next().unwrap();
        assert_eq!(field(0) & 0x24F, 0x24D);
        assert_eq!((field(4), field(8)), (639, 15 * 1024 - 64));
        assert_eq!((text(field(16)), text(field(64))), (&b"a=b"[..], &b"emu"[..]));
        let module = field(24) - ebx;
        assert_eq!((field(20), field(module), field(module + 4)), (2, 0x11_1000, 0x11_1000 + 5000));
        assert_eq!(text(field(module + 8)), b"first");
        assert_eq!(field(module + 16), 0x11_3000);
        let map_at = field(48) - ebx;
        assert_eq!((field(44) as usize, field(map_at), field(map_at + 20)), (map.len() * 24, 20, 1));
    }

    #[test]
    fn wrong_headers_are_refused() {
        let map = pc_memory_map(16 << 20);
        let mut early = files();
        early.image[28..32].copy_from_slice(&0x10_0000u32.to_le_bytes()); // header_addr below its place in the file
        early.image[32..36].copy_from_slice(&0u32.to_le_bytes());
        let header = find_header(&early.image).unwrap();
        assert!(plan(&early, &map, &header).is_err());
        let needs = Header { flags: header.flags | 0x8000, ..header };
        assert!(matches!(plan(&files(), &map, &needs), Err(BootError::Invalid(_))));
        let mut sum = kernel();
        sum[24] ^= 1;
        assert_eq!(find_header(&sum), None);
    }
}
