//! The answers to IDENTIFY DEVICE [ATA-6 8.15] and IDENTIFY PACKET DEVICE [ATA-6 8.16].

use super::disk::MAX_MULTIPLE;
use crate::geometry::Geometry;

/// What IDENTIFY DEVICE tells of a disk.
pub(super) struct DiskFacts<'a> {
    pub(super) serial: &'a str,
    /// Sectors.
    pub(super) total: u64,
    /// Default translation.
    pub(super) geometry: Geometry,
    /// Heads and sectors of the translation in force.
    pub(super) heads: u8,
    pub(super) sectors: u8,
    pub(super) multiple: u8,
    pub(super) write_cache: bool,
    /// Multiword DMA mode in force, where there is DMA.
    pub(super) dma_mode: Option<u8>,
}

/// 256 words, as they are sent.
struct Words([u16; 256]);

impl Words {
    fn set32(&mut self, at: usize, value: u32) {
        (self.0[at], self.0[at + 1]) = (value as u16, (value >> 16) as u16);
    }

    /// Text stands with the first character of each pair in the upper byte, padded with blanks.
    fn text(&mut self, at: usize, words: usize, text: &str) {
        let mut bytes = text.bytes().filter(|b| (0x20..0x7F).contains(b)).chain(core::iter::repeat(b' '));
        for word in &mut self.0[at..at + words] {
            let (a, b) = (bytes.next().unwrap_or(b' '), bytes.next().unwrap_or(b' '));
            *word = u16::from_be_bytes([a, b]);
        }
    }

    /// Words 62 to 68: multiword DMA modes 0–2, PIO modes 3 and 4, cycle times.
    fn transfer_modes(&mut self, dma_mode: Option<u8>) {
        self.0[63] = dma_mode.map_or(0, |m| 0x0007 | 0x0100 << m.min(2));
        self.0[64] = 0x0003;
        self.0[65..=68].fill(120);
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|w| w.to_le_bytes()).collect()
    }
}

/// The 512 bytes of IDENTIFY DEVICE.
pub(super) fn disk(f: &DiskFacts<'_>) -> Vec<u8> {
    let mut w = Words([0; 256]);
    let g = f.geometry;
    w.0[0] = 0x0040; // fixed disk
    (w.0[1], w.0[3], w.0[6]) = (g.cylinders, g.heads.into(), g.sectors.into());
    (w.0[4], w.0[5]) = (u16::from(g.sectors).wrapping_mul(512), 512); // bytes per track and sector, for ATA-1 hosts
    w.text(10, 10, f.serial);
    (w.0[20], w.0[21], w.0[22]) = (3, 512, 4); // buffer with look-ahead, its sectors; bytes of ECC
    w.text(23, 4, env!("CARGO_PKG_VERSION"));
    w.text(27, 20, "EMU HARDDISK");
    w.0[47] = 0x8000 | u16::from(MAX_MULTIPLE);
    w.0[48] = 1; // dword I/O
    w.0[49] = 0x0E00 | if f.dma_mode.is_some() { 0x0100 } else { 0 }; // LBA, IORDY, DMA
    (w.0[50], w.0[51], w.0[52], w.0[53]) = (0x4000, 0x0200, 0x0200, 0x0003);
    let spc = u64::from(f.heads) * u64::from(f.sectors);
    let cylinders = (f.total / spc.max(1)).min(if (f.heads, f.sectors) == (16, 63) { 16383 } else { 65535 }) as u16;
    let cylinders = if (f.heads, f.sectors) == (g.heads, g.sectors) { g.cylinders } else { cylinders };
    (w.0[54], w.0[55], w.0[56]) = (cylinders, f.heads.into(), f.sectors.into());
    w.set32(57, (spc * u64::from(cylinders)) as u32);
    w.0[59] = if f.multiple > 0 { 0x0100 | u16::from(f.multiple) } else { 0 };
    w.set32(60, f.total.min(0x0FFF_FFFF) as u32);
    w.transfer_modes(f.dma_mode);
    w.0[80] = 0x007E; // ATA-1 to ATA-6
    let cache = if f.write_cache { 0x0020 } else { 0 };
    (w.0[82], w.0[83], w.0[84]) = (0x0060, 0x7400, 0x4000); // cache and look-ahead; flush, flush ext, 48-bit
    (w.0[85], w.0[86], w.0[87]) = (0x0040 | cache, 0x3400, 0x4000);
    w.0[93] = 0x6001 | 0x000A; // device 0 passed diagnostics, cable of 40 wires
    w.set32(100, f.total as u32);
    w.set32(102, (f.total >> 32) as u32);
    w.bytes()
}

/// The 512 bytes of IDENTIFY PACKET DEVICE.
pub(super) fn cdrom(serial: &str, dma_mode: Option<u8>) -> Vec<u8> {
    let mut w = Words([0; 256]);
    w.0[0] = 0x85C0; // packet device, CD-ROM, removable, DRQ within 50 us, packets of 12 bytes
    w.text(10, 10, serial);
    w.text(23, 4, env!("CARGO_PKG_VERSION"));
    w.text(27, 20, "EMU CD-ROM");
    w.0[48] = 1;
    w.0[49] = 0x0E00 | if dma_mode.is_some() { 0x0100 } else { 0 };
    (w.0[51], w.0[52], w.0[53]) = (0x0200, 0x0200, 0x0002);
    w.transfer_modes(dma_mode);
    w.0[80] = 0x007E;
    (w.0[82], w.0[83], w.0[84]) = (0x0210, 0x4000, 0x4000); // PACKET and DEVICE RESET
    (w.0[85], w.0[86], w.0[87]) = (0x0210, 0x0000, 0x4000);
    w.bytes()
}
