//! The Linux/x86 boot protocol, versions 2.00 and later [Documentation/arch/x86/boot.rst], by its 16-bit entry: the
//! kernel's own setup code asks our BIOS for the memory map, the video mode and the disks, as on a real PC.

use super::memory_map::{extended_end, is_ram};
use super::reader::{u8_at, u16_at, u32_at, u64_at};
use super::{BootError, Entry, KernelFiles, LoadPlan, MapEntry, Segment, check_segments};

/// Where the real-mode part goes when the kernel itself goes high.
const SETUP_HIGH: u64 = 0x1_0000;
/// Where it goes for a zImage, whose kernel takes 10000h–90000h.
const SETUP_LOW: u64 = 0x9_0000;
/// Where the kernel goes: at 1 MiB, or for a zImage at 64 KiB.
const KERNEL_HIGH: u64 = 0x10_0000;
const KERNEL_LOW: u64 = 0x1_0000;
/// Heap and stack of the setup code end here, and the command line starts; offsets from its segment.
const HEAP_END_HIGH: u16 = 0xE000;
const HEAP_END_LOW: u16 = 0x9800;
/// Command lines up to this length are passed where the header names no limit (before protocol 2.06).
const OLD_COMMAND_LINE: u64 = 255;
/// `loadflags`: the protected-mode code goes to 1 MiB; the heap end is valid.
const LOADED_HIGH: u8 = 1;
const CAN_USE_HEAP: u8 = 0x80;

/// Whether `image` has a Linux boot header.
pub(super) fn is_linux(image: &[u8]) -> bool {
    image.get(0x202..0x206) == Some(b"HdrS") && image.get(0x1FE..0x200) == Some(&[0x55, 0xAA])
}

/// The header's fields that a loader reads.
struct Header {
    version: u16,
    setup_bytes: u64,
    kernel_bytes: u64,
    high: bool,
    initrd_max: u64,
    command_line_max: u64,
    /// The address range in which the kernel unpacks itself.
    unpack: (u64, u64),
}

impl Header {
    fn read(image: &[u8]) -> Result<Header, BootError> {
        let size = image.len() as u64;
        let short = || BootError::Truncated("its boot header", 0x264, size);
        let version = u16_at(image, 0x206).ok_or_else(short)?;
        if version < 0x200 {
            return Err(BootError::Invalid(format!("boot protocol {:#x} is older than 2.00", version)));
        }
        let sectors = match u8_at(image, 0x1F1).ok_or_else(short)? {
            0 => 4, // a kernel from before the field existed
            n => u64::from(n),
        };
        let setup_bytes = (sectors + 1) * 512;
        // In 16-byte paragraphs; the upper half of the field is valid from 2.04 on.
        let paragraphs = u32_at(image, 0x1F4).ok_or_else(short)?;
        let paragraphs = u64::from(if version >= 0x204 { paragraphs } else { paragraphs & 0xFFFF });
        let least = setup_bytes + paragraphs.saturating_sub(1) * 16;
        if setup_bytes > 0x8000 || size <= setup_bytes || size < least {
            return Err(BootError::Truncated("what its header promises", least.max(setup_bytes + 1), size));
        }
        let kernel_bytes = size - setup_bytes;
        let high = u8_at(image, 0x211).ok_or_else(short)? & LOADED_HIGH != 0;
        let field = |since: u16, at| if version >= since { u32_at(image, at).map(u64::from) } else { None };
        let load = if high { KERNEL_HIGH } else { KERNEL_LOW };
        let unpack = match (field(0x20A, 0x260), u64_at(image, 0x258)) {
            (Some(init_size), Some(preferred)) => (preferred, preferred.saturating_add(init_size)),
            _ => (load, load + kernel_bytes),
        };
        Ok(Header {
            version,
            setup_bytes,
            kernel_bytes,
            high,
            initrd_max: field(0x203, 0x22C).unwrap_or(0x37FF_FFFF),
            command_line_max: field(0x206, 0x238).unwrap_or(OLD_COMMAND_LINE),
            unpack,
        })
    }
}

/// Plans the start of a Linux kernel.
pub(super) fn plan(files: &KernelFiles, map: &[MapEntry]) -> Result<LoadPlan, BootError> {
    let image = &files.image;
    let header = Header::read(image)?;
    let (setup_at, kernel_at, heap_end) =
        if header.high { (SETUP_HIGH, KERNEL_HIGH, HEAP_END_HIGH) } else { (SETUP_LOW, KERNEL_LOW, HEAP_END_LOW) };
    if !header.high && kernel_at + header.kernel_bytes > SETUP_LOW {
        let to = kernel_at + header.kernel_bytes;
        return Err(BootError::NoRoom { what: "the kernel below 90000h", from: kernel_at, to });
    }
    let (setup, kernel) = image.split_at(header.setup_bytes as usize);
    let mut setup = setup.to_vec();
    let mut segments = vec![Segment::new(kernel_at, kernel.to_vec())];
    if let Some(initrd) = &files.initrd {
        let at = initrd_address(&header, initrd.len() as u64, map)?;
        put(&mut setup, 0x218, &(at as u32).to_le_bytes());
        put(&mut setup, 0x21C, &(initrd.len() as u32).to_le_bytes());
        segments.push(Segment::new(at, initrd.clone()));
    }
    let line = command_line(&header, &files.command_line)?;
    let line_at = setup_at + u64::from(heap_end);
    put(&mut setup, 0x210, &[0xFF]); // type_of_loader: one without a number of its own
    if header.version >= 0x201 {
        let flags = u8_at(image, 0x211).unwrap_or(0) | CAN_USE_HEAP;
        put(&mut setup, 0x211, &[flags]);
        put(&mut setup, 0x224, &(heap_end - 0x200).to_le_bytes());
    }
    if header.version >= 0x202 {
        put(&mut setup, 0x228, &(line_at as u32).to_le_bytes());
    } else {
        put(&mut setup, 0x20, &0xA33Fu16.to_le_bytes());
        put(&mut setup, 0x22, &heap_end.to_le_bytes());
        put(&mut setup, 0x212, &(heap_end + line.len() as u16).to_le_bytes()); // setup_move_size
    }
    put(&mut setup, 0x1FA, &video_mode(&files.command_line).to_le_bytes());
    segments.push(Segment::new(setup_at, setup));
    segments.push(Segment::new(line_at, line));
    check_segments(&segments, map, "the kernel")?;
    let segment = (setup_at >> 4) as u16;
    let entry = Entry::Real { cs: segment + 0x20, ip: 0, ds: segment, sp: heap_end };
    Ok(LoadPlan { segments, entry, what: describe(image, &header) })
}

fn put(setup: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = setup.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// As high as the kernel and the memory allow: below, the kernel unpacks itself.
fn initrd_address(header: &Header, len: u64, map: &[MapEntry]) -> Result<u64, BootError> {
    let end = extended_end(map).min(header.initrd_max.saturating_add(1)).min(1 << 32);
    let at = end.saturating_sub(len) & !0xFFF;
    let floor = header.unpack.1.max(KERNEL_HIGH + if header.high { header.kernel_bytes } else { 0 });
    if at < floor || !is_ram(map, at, at + len) {
        return Err(BootError::NoRoom { what: "the initrd", from: floor, to: floor.saturating_add(len) });
    }
    Ok(at)
}

/// The command line with its final zero.
fn command_line(header: &Header, text: &str) -> Result<Vec<u8>, BootError> {
    let room = u64::from(u16::MAX - HEAP_END_HIGH).min(0x9_FC00 - SETUP_LOW - u64::from(HEAP_END_LOW) - 1);
    let most = header.command_line_max.min(room);
    if text.len() as u64 > most {
        return Err(BootError::Invalid(format!("command line takes {most} bytes; {} were given", text.len())));
    }
    let mut line = text.as_bytes().to_vec();
    line.push(0);
    Ok(line)
}

/// `vga=` is an option to the boot loader, that every boot loader knows [boot.rst, "Special command line options"].
fn video_mode(command_line: &str) -> u16 {
    let value = command_line.split_whitespace().filter_map(|w| w.strip_prefix("vga=")).next_back();
    match value {
        None | Some("normal") => 0xFFFF,
        Some("ext") => 0xFFFE,
        Some("ask") => 0xFFFD,
        Some(number) => {
            let parsed = match number.strip_prefix("0x") {
                Some(hex) => u16::from_str_radix(hex, 16),
                None => number.parse(),
            };
            parsed.unwrap_or(0xFFFF)
        }
    }
}

/// The kernel's own version string, where it has one.
fn describe(image: &[u8], header: &Header) -> String {
    let at = usize::from(u16_at(image, 0x20E).unwrap_or(0)) + 0x200;
    let text = match image.get(at..) {
        Some(rest) if at > 0x200 => rest.split(|&b| b == 0).next().unwrap_or_default(),
        _ => b"",
    };
    let word = String::from_utf8_lossy(&text[..text.len().min(64)]).split_whitespace().next().map(str::to_owned);
    let name = word.filter(|w| w.chars().all(|c| c.is_ascii_graphic())).unwrap_or_else(|| "kernel".into());
    format!("Linux {name}, boot protocol {}.{:02}", header.version >> 8, header.version & 0xFF)
}

#[cfg(test)]
mod tests {
    use super::super::pc_memory_map;
    use super::*;

    /// A kernel of protocol 2.10 with one sector of setup and 4 KiB of code.
    fn kernel(version: u16, flags: u8) -> Vec<u8> {
        let mut k = vec![0x90; 1024 + 4096];
        k[..1024].fill(0);
        k[0x1F1] = 1;
        k[0x1F4..0x1F8].copy_from_slice(&256u32.to_le_bytes());
        k[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
        k[0x202..0x206].copy_from_slice(b"HdrS");
        k[0x206..0x208].copy_from_slice(&version.to_le_bytes());
        k[0x211] = flags;
        k[0x22C..0x230].copy_from_slice(&0x7FFF_FFFFu32.to_le_bytes());
        k[0x238..0x23C].copy_from_slice(&2047u32.to_le_bytes());
        k[0x258..0x260].copy_from_slice(&0x100_0000u64.to_le_bytes());
        k[0x260..0x264].copy_from_slice(&0x10_0000u32.to_le_bytes());
        k
    }

    fn files(image: Vec<u8>) -> KernelFiles {
        KernelFiles { image, command_line: "quiet vga=0x301".into(), initrd: Some(vec![7; 5000]), modules: vec![] }
    }

    fn segment(p: &LoadPlan, addr: u64) -> &Segment {
        p.segments.iter().find(|s| s.addr == addr).expect("a segment there")
    }

    #[test]
    fn a_bz_image_is_laid_out() {
        let p = plan(&files(kernel(0x20A, 1)), &pc_memory_map(64 << 20)).unwrap();
        assert_eq!(p.entry, Entry::Real { cs: 0x1020, ip: 0, ds: 0x1000, sp: 0xE000 });
        assert_eq!(segment(&p, 0x10_0000).bytes, [0x90; 4096]);
        assert_eq!(segment(&p, 0x1_E000).bytes, b"quiet vga=0x301\0");
        let setup = &segment(&p, 0x1_0000).bytes;
        assert_eq!((setup[0x210], setup[0x211]), (0xFF, 0x81));
        assert_eq!(u16_at(setup, 0x1FA), Some(0x301));
        assert_eq!(u32_at(setup, 0x228), Some(0x1_E000));
        let initrd = u64::from(u32_at(setup, 0x218).unwrap());
        assert_eq!(u32_at(setup, 0x21C), Some(5000));
        assert_eq!((initrd % 4096, segment(&p, initrd).len), (0, 5000));
        assert!(initrd > 0x110_0000 && initrd < 64 << 20);
    }

    #[test]
    fn a_z_image_goes_low() {
        let p = plan(&files(kernel(0x200, 0)), &pc_memory_map(8 << 20)).unwrap();
        assert_eq!(p.entry, Entry::Real { cs: 0x9020, ip: 0, ds: 0x9000, sp: 0x9800 });
        assert_eq!(segment(&p, 0x1_0000).len, 4096);
        let setup = &segment(&p, 0x9_0000).bytes;
        assert_eq!((u16_at(setup, 0x20), u16_at(setup, 0x22)), (Some(0xA33F), Some(0x9800)));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let map = pc_memory_map(8 << 20);
        assert!(matches!(plan(&files(kernel(0x20A, 1)), &map), Err(BootError::NoRoom { what: "the initrd", .. })));
        let mut cut = kernel(0x20A, 1);
        cut.truncate(3000);
        assert!(matches!(plan(&files(cut), &map), Err(BootError::Truncated(..))));
        let long = KernelFiles { command_line: "x".repeat(2048), initrd: None, ..files(kernel(0x20A, 1)) };
        assert!(plan(&long, &map).unwrap_err().to_string().contains("takes 2047 bytes"));
        let old = KernelFiles { initrd: None, ..files(kernel(0x1FF, 1)) };
        assert!(matches!(plan(&old, &map), Err(BootError::Invalid(_))));
    }
}
