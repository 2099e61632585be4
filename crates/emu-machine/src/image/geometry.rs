//! The diskette formats of the IBM PC line, known by their size.

/// One diskette format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloppyFormat {
    /// The name under which people know it: `"1440K"`.
    pub name: &'static str,
    /// Tracks per side.
    pub cylinders: u8,
    /// Sides.
    pub heads: u8,
    /// Sectors of 512 bytes per track.
    pub sectors: u8,
}

impl FloppyFormat {
    /// Bytes on a diskette of this format.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.cylinders as u64 * self.heads as u64 * self.sectors as u64 * 512
    }
}

const fn format(name: &'static str, cylinders: u8, heads: u8, sectors: u8) -> FloppyFormat {
    FloppyFormat { name, cylinders, heads, sectors }
}

/// All formats, the smallest first.
pub const FLOPPIES: [FloppyFormat; 9] = [
    format("160K", 40, 1, 8),
    format("180K", 40, 1, 9),
    format("320K", 40, 2, 8),
    format("360K", 40, 2, 9),
    format("640K", 80, 2, 8),
    format("720K", 80, 2, 9),
    format("1200K", 80, 2, 15),
    format("1440K", 80, 2, 18),
    format("2880K", 80, 2, 36),
];

/// The format whose diskettes have `bytes` bytes.
#[must_use]
pub fn floppy_of_size(bytes: u64) -> Option<FloppyFormat> {
    FLOPPIES.into_iter().find(|f| f.bytes() == bytes)
}

/// Whether a drive shows a diskette of `bytes` bytes: one of the PC's own formats, or one with more sectors or cylinders
/// that formatting tools of the time made (1680K, 1722K, …).
#[must_use]
pub fn is_floppy_size(bytes: u64) -> bool {
    bytes.is_multiple_of(512) && emu_devices::geometry::Geometry::of_floppy(bytes / 512).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_size() {
        for f in FLOPPIES {
            assert_eq!(format!("{}K", f.bytes() / 1024), f.name);
            assert_eq!(floppy_of_size(f.bytes()), Some(f));
        }
        assert_eq!(floppy_of_size(1_474_561), None);
        assert!(is_floppy_size(80 * 2 * 21 * 512) && is_floppy_size(82 * 2 * 21 * 512) && !is_floppy_size(1_474_561));
    }
}
