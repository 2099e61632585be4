//! The memory map of the PC board: RAM around the holes, the firmware twice, video memory.

use emu_core::PhysMem;
use emu_core::mem::Target;
use emu_devices::i440fx::{SEGMENTS, segment};

use crate::boot::PCI_HOLE;
use crate::machine::BuildError;

/// Room for firmware, video BIOS and video memory beside RAM.
const EXTRA: u64 = (16 << 20) + (64 << 10) + (16 << 20) + (64 << 10);
/// How much of the firmware's end is repeated below 1 MiB.
const LEGACY_WINDOW: u64 = 128 << 10;

/// The mapped memory of a board.
pub(super) struct BoardMemory {
    pub(super) mem: PhysMem,
    /// What answers at C0000h–FFFFFh while it is not shadowed.
    pub(super) rom: [Target; SEGMENTS],
    /// RAM below 4 GiB.
    pub(super) low: u64,
}

/// Lays out `ram` bytes of RAM, and the firmware; `video` is a video BIOS for C0000h.
pub(super) fn lay_out(ram: u64, firmware: &[u8], video: &[u8]) -> Result<BoardMemory, BuildError> {
    let no_memory = || BuildError::Memory(ram);
    let mut mem = PhysMem::new(ram, EXTRA).ok_or_else(no_memory)?;
    let low = ram.min(PCI_HOLE);
    mem.map(0, low, Target::Pool(0));
    mem.map(0xA_0000, 0x6_0000, Target::Open);
    if ram > low {
        mem.map(1 << 32, ram - low, Target::Pool(low));
    }
    let size = firmware.len() as u64;
    let at = mem.allocate(size).ok_or_else(no_memory)?;
    mem.pool_write(at, firmware);
    mem.map_split((1 << 32) - size, size, Some(Target::Pool(at)), Some(Target::Open));
    let mut rom = [Target::Open; SEGMENTS];
    for (i, target) in rom.iter_mut().enumerate() {
        let (start, _) = segment(i);
        let from_end = 0x10_0000 - start;
        if from_end <= LEGACY_WINDOW.min(size) {
            *target = Target::Pool(at + size - from_end);
        }
    }
    if !video.is_empty() {
        let segments = (video.len() as u64).div_ceil(0x4000).min(8);
        let at = mem.allocate(segments * 0x4000).ok_or_else(no_memory)?;
        mem.pool_write(at, video);
        for i in 0..segments {
            rom[i as usize] = Target::Pool(at + i * 0x4000);
        }
    }
    Ok(BoardMemory { mem, rom, low })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reset_vector_is_in_the_firmware() {
        let mut firmware = vec![0u8; 256 << 10];
        let end = firmware.len();
        firmware[end - 16..].fill(0xEA);
        firmware[end - (128 << 10)] = 0x55;
        let b = lay_out(4 << 30, &firmware, &[1; 100]).unwrap();
        assert_eq!(b.mem.load::<u8>(0xFFFF_FFF0), 0xEA);
        let Target::Pool(e0000) = b.rom[8] else { panic!("ROM at E0000h") };
        assert_eq!(b.mem.pool(e0000, 1), [0x55]);
        assert_eq!(b.mem.target((1 << 32) + 0x1000).0, Target::Pool(PCI_HOLE + 0x1000));
        assert_eq!(b.mem.target(0xC_0000).0, Target::Open); // until the host bridge is reset
        assert!(matches!(b.rom[0], Target::Pool(_)) && b.rom[1] == Target::Open);
    }
}
