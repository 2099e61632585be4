//! Cylinders, heads, and sectors per track.

/// The shape of a disk. Sectors have 512 bytes and count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
}

impl Geometry {
    const fn new(cylinders: u16, heads: u8, sectors: u8) -> Geometry {
        Geometry { cylinders, heads, sectors }
    }

    /// The PC's floppy formats, by their sectors: 160K, 180K, 320K, 360K, 640K, 720K, 1200K, 1440K, 2880K.
    const FLOPPIES: [Geometry; 9] = [
        Geometry::new(40, 1, 8),
        Geometry::new(40, 1, 9),
        Geometry::new(40, 2, 8),
        Geometry::new(40, 2, 9),
        Geometry::new(80, 2, 8),
        Geometry::new(80, 2, 9),
        Geometry::new(80, 2, 15),
        Geometry::new(80, 2, 18),
        Geometry::new(80, 2, 36),
    ];

    /// The floppy format with just this many sectors: one of the PC's own, else one with more sectors or cylinders that
    /// formatting tools of the time made (800 KB, 1680 KB, 1722 KB, …).
    #[must_use]
    pub fn of_floppy(sectors: u64) -> Option<Geometry> {
        let larger = || (80..=83).flat_map(|c| [9, 10, 11, 15, 18, 20, 21, 22, 24].map(|s| Geometry::new(c, 2, s)));
        Self::FLOPPIES.into_iter().chain(larger()).find(|g| g.total() == sectors)
    }

    /// What a hard disk of this many sectors tells as its default translation: 16 heads, 63 sectors, and at most 16383
    /// cylinders [ATA-6 annex C].
    #[must_use]
    pub fn of_hard_disk(sectors: u64) -> Geometry {
        Geometry { cylinders: (sectors / (16 * 63)).clamp(1, 16383) as u16, heads: 16, sectors: 63 }
    }

    /// Sectors in all.
    #[must_use]
    pub fn total(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors)
    }

    /// The linear number of a sector; `None` outside of the geometry.
    #[must_use]
    pub fn lba(self, cylinder: u16, head: u8, sector: u8) -> Option<u64> {
        let inside = cylinder < self.cylinders && head < self.heads && (1..=self.sectors).contains(&sector);
        let track = u64::from(cylinder) * u64::from(self.heads) + u64::from(head);
        inside.then(|| track * u64::from(self.sectors) + u64::from(sector) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floppy_formats_are_told_by_size() {
        for (kib, c, h, s) in [(160, 40, 1, 8), (360, 40, 2, 9), (640, 80, 2, 8), (1200, 80, 2, 15), (2880, 80, 2, 36)]
        {
            assert_eq!(Geometry::of_floppy(kib * 2), Some(Geometry::new(c, h, s)));
        }
        assert_eq!(Geometry::of_floppy(1441), None);
        assert_eq!(Geometry::of_floppy(3444), Some(Geometry::new(82, 2, 21)));
        let g = Geometry::new(80, 2, 18);
        assert_eq!((g.lba(0, 0, 1), g.lba(79, 1, 18), g.lba(0, 1, 1)), (Some(0), Some(2879), Some(18)));
        assert_eq!((g.lba(80, 0, 1), g.lba(0, 2, 1), g.lba(0, 0, 0), g.lba(0, 0, 19)), (None, None, None, None));
    }
}
