//! What memory a PC has, as its BIOS tells it (INT 15h, AX = E820h).

/// What a range of the map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// RAM that the kernel may use.
    Usable,
    /// Anything else.
    Reserved,
}

/// One range of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// What it is.
    pub kind: MapKind,
}

/// Where the PCI hole of the PC board starts: RAM above it continues at 4 GiB.
pub const PCI_HOLE: u64 = 0xC000_0000;
/// Bytes at the end of low RAM that the firmware keeps for its tables.
const TABLES: u64 = 0x1_0000;

/// The map of the PC board with `memory` bytes of RAM.
#[must_use]
pub fn pc_memory_map(memory: u64) -> Vec<MapEntry> {
    let low = memory.min(PCI_HOLE);
    let usable = |base, end: u64| MapEntry { base, len: end - base, kind: MapKind::Usable };
    let reserved = |base, end: u64| MapEntry { base, len: end - base, kind: MapKind::Reserved };
    let mut map = vec![usable(0, 0x9_FC00), reserved(0x9_FC00, 0xA_0000), reserved(0xF_0000, 0x10_0000)];
    if low > 0x10_0000 + TABLES {
        map.push(usable(0x10_0000, low - TABLES));
        map.push(reserved(low - TABLES, low));
    }
    if memory > PCI_HOLE {
        map.push(usable(1 << 32, (1 << 32) + (memory - PCI_HOLE)));
    }
    map
}

/// Whether `[from, to)` is usable RAM.
pub(super) fn is_ram(map: &[MapEntry], from: u64, to: u64) -> bool {
    from <= to && map.iter().any(|e| e.kind == MapKind::Usable && e.base <= from && to <= e.base.saturating_add(e.len))
}

/// The end of the RAM that starts at 1 MiB.
pub(super) fn extended_end(map: &[MapEntry]) -> u64 {
    map.iter().find(|e| e.base == 0x10_0000 && e.kind == MapKind::Usable).map_or(0x10_0000, |e| e.base + e.len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_is_split_by_the_holes() {
        let map = pc_memory_map(4 << 30);
        assert!(is_ram(&map, 0x1000, 0x9_FC00));
        assert!(!is_ram(&map, 0x9_0000, 0x10_0001));
        assert!(is_ram(&map, 1 << 32, 5 << 30));
        assert!(!is_ram(&map, 1 << 32, (5 << 30) + 1));
        assert_eq!(extended_end(&map), PCI_HOLE - TABLES);
        assert_eq!(extended_end(&pc_memory_map(1 << 20)), 1 << 20);
    }
}
