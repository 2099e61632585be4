//! Starting a kernel without a boot loader.
//!
//! A loader turns a kernel file into a [`LoadPlan`]: bytes to put into memory, and the state in which the CPU starts.
//! It is a pure function of the files and the memory map, and the files are not trusted: every size and address in them
//! is checked. The plan is carried out when the firmware would load a boot sector, so the BIOS has set up the chips, its
//! data area and its tables, and answers the kernel's calls.

mod elf;
mod linux;
mod memory_map;
pub mod multiboot;
mod reader;
mod start;

pub use memory_map::{MapEntry, MapKind, PCI_HOLE, pc_memory_map};

pub use start::start;

/// The files of a kernel, read.
#[derive(Clone, Debug, Default)]
pub struct KernelFiles {
    /// The kernel.
    pub image: Vec<u8>,
    /// Linux's initial RAM disk.
    pub initrd: Option<Vec<u8>>,
    /// The kernel's command line.
    pub command_line: String,
    /// Multiboot modules with their argument strings.
    pub modules: Vec<(Vec<u8>, String)>,
}

/// Bytes for physical memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address of the first byte.
    pub addr: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Bytes that the segment takes in memory; zeros follow `bytes` up to there.
    pub len: u64,
}

impl Segment {
    fn new(addr: u64, bytes: Vec<u8>) -> Segment {
        let len = bytes.len() as u64;
        Segment { addr, bytes, len }
    }

    fn end(&self) -> u64 {
        self.addr + self.len
    }
}

/// The state in which the CPU starts the kernel. What is not named is zero; interrupts are off and A20 is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Real mode, at `cs:ip`, with DS = ES = FS = GS = SS = `ds`.
    Real {
        /// Code segment.
        cs: u16,
        /// Instruction pointer.
        ip: u16,
        /// All other segments.
        ds: u16,
        /// Stack pointer.
        sp: u16,
    },
    /// 32-bit protected mode with flat segments of 4 GiB and paging off.
    Protected {
        /// Instruction pointer.
        eip: u32,
        /// EAX.
        eax: u32,
        /// EBX.
        ebx: u32,
        /// Stack pointer; 0 where the kernel brings its own stack.
        esp: u32,
    },
    /// 64-bit mode with the lowest 4 GiB mapped one to one.
    Long {
        /// Instruction pointer.
        rip: u64,
        /// Physical address of the page tables.
        cr3: u64,
        /// Stack pointer.
        rsp: u64,
    },
}

/// What to put where, and how to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// In memory order of no importance; they don't overlap.
    pub segments: Vec<Segment>,
    /// How the CPU starts.
    pub entry: Entry,
    /// What was loaded, in a few words: `"Linux 6.1.0-…, boot protocol 2.15"`.
    pub what: String,
}

/// Why a kernel can't be started. Each message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// No header that we know.
    #[error("this is no kernel: it has neither a Linux boot header, nor a multiboot header, nor an ELF header")]
    NotAKernel,
    /// The file ends too early.
    #[error("the kernel is truncated: {0} needs {1} bytes, the file has {2}")]
    Truncated(&'static str, u64, u64),
    /// A field that no kernel has.
    #[error("the kernel's {0}")]
    Invalid(String),
    /// Not enough RAM.
    #[error(
        "{what} does not fit: it needs memory from {from:#x} to {to:#x}, which this machine does not have (see --mem)"
    )]
    NoRoom {
        /// The kernel, the initrd, a module.
        what: &'static str,
        /// First address.
        from: u64,
        /// End.
        to: u64,
    },
    /// Parts that would overwrite each other.
    #[error("the kernel wants two things at address {0:#x}")]
    Overlap(u64),
    /// An option that this kind of kernel has no use for.
    #[error("{0}")]
    Option(&'static str),
}

/// Plans how to start the kernel in `files` on a machine with the memory `map`.
///
/// # Errors
/// Any [`BootError`].
pub fn plan(files: &KernelFiles, map: &[MapEntry]) -> Result<LoadPlan, BootError> {
    let has_modules = !files.modules.is_empty();
    if linux::is_linux(&files.image) {
        if has_modules {
            return Err(BootError::Option("a Linux kernel takes an initrd, not modules"));
        }
        return linux::plan(files, map);
    }
    if files.initrd.is_some() {
        return Err(BootError::Option("only a Linux kernel takes an initrd; others take modules (--module)"));
    }
    if let Some(header) = multiboot::find_header(&files.image) {
        return multiboot::plan(files, map, &header);
    }
    if has_modules {
        return Err(BootError::Option("only a multiboot kernel takes modules"));
    }
    if elf::is_elf(&files.image) { elf::plan(&files.image, map) } else { Err(BootError::NotAKernel) }
}

/// Checks that every segment lies in RAM and that no two overlap.
fn check_segments(segments: &[Segment], map: &[MapEntry], what: &'static str) -> Result<(), BootError> {
    for s in segments {
        let end = s.addr.saturating_add(s.len);
        if !memory_map::is_ram(map, s.addr, end) {
            return Err(BootError::NoRoom { what, from: s.addr, to: end });
        }
    }
    let mut sorted: Vec<(u64, u64)> = segments.iter().filter(|s| s.len > 0).map(|s| (s.addr, s.end())).collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|w| w[0].1 > w[1].0) {
        Some(w) => Err(BootError::Overlap(w[1].0)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::bus::rig::TestRng;
    use proptest::prelude::*;

    #[test]
    fn options_must_fit_the_kernel() {
        let map = pc_memory_map(64 << 20);
        let files = KernelFiles { image: b"hello".to_vec(), ..KernelFiles::default() };
        assert_eq!(plan(&files, &map), Err(BootError::NotAKernel));
        let files = KernelFiles { initrd: Some(vec![1]), ..files };
        assert!(matches!(plan(&files, &map), Err(BootError::Option(_))));
    }

    /// Starts of files that each loader takes for its own, followed by noise.
    fn lure(kind: u8, seed: u64, len: usize) -> Vec<u8> {
        let mut rng = TestRng(seed);
        let mut image: Vec<u8> =
            (0..len).map(|_| if rng.next().is_multiple_of(4) { rng.next() as u8 } else { 0 }).collect();
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = image.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        match kind {
            0 => {
                put(0x202, b"HdrS");
                put(0x1FE, &[0x55, 0xAA]);
                put(0x207, &[2]);
            }
            1 => {
                let flags = 0x1_0003u32 & !(seed as u32 & 1 << 16);
                put(0, &0x1BAD_B002u32.to_le_bytes());
                put(4, &flags.to_le_bytes());
                put(8, &0u32.wrapping_sub(0x1BAD_B002 + flags).to_le_bytes());
            }
            _ => put(0, &[0x7F, b'E', b'L', b'F', 1 + (seed & 1) as u8, 1, 1]),
        }
        image
    }

    proptest! {
        #[test]
        fn hostile_kernels_never_leave_memory(kind in 0u8..3, seed: u64, len in 0usize..20_000) {
            let map = pc_memory_map(16 << 20);
            let files = KernelFiles { image: lure(kind, seed, len), ..KernelFiles::default() };
            if let Ok(p) = plan(&files, &map) {
                prop_assert!(check_segments(&p.segments, &map, "it").is_ok());
                prop_assert!(p.segments.iter().all(|s| s.bytes.len() as u64 <= s.len));
            }
        }
    }
}
