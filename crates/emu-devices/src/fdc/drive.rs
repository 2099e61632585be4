//! A floppy drive: head, motor's disk, change line.

use emu_core::block::BlockBackend;
use emu_core::bus::DevCx;
use emu_core::state::{State, StateError, StateReader, StateWriter};

use crate::geometry::Geometry;
use crate::medium::Tray;

/// The last cylinder that a head can reach.
const LAST_CYLINDER: u8 = 83;

/// What kind of drive it is, by its largest format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveKind {
    /// 5¼", 40 cylinders, 360 KB.
    K360,
    /// 5¼", 80 cylinders, 360 rpm, 1.2 MB.
    K1200,
    /// 3½", 720 KB.
    K720,
    /// 3½", 1.44 MB.
    K1440,
    /// 3½", 2.88 MB.
    K2880,
}

impl DriveKind {
    /// The drive that a disk of this geometry is made for.
    #[must_use]
    pub fn for_geometry(g: Geometry) -> DriveKind {
        match (g.cylinders, g.sectors) {
            (..=45, _) => DriveKind::K360,
            (_, ..=11) => DriveKind::K720,
            (_, ..=15) => DriveKind::K1200,
            (_, ..=24) => DriveKind::K1440,
            _ => DriveKind::K2880,
        }
    }

    /// The largest format that it is made for.
    #[must_use]
    pub fn format(self) -> Geometry {
        let (cylinders, sectors) = match self {
            DriveKind::K360 => (40, 9),
            DriveKind::K1200 => (80, 15),
            DriveKind::K720 => (80, 9),
            DriveKind::K1440 => (80, 18),
            DriveKind::K2880 => (80, 36),
        };
        Geometry { cylinders, heads: 2, sectors }
    }

    /// Its number in CMOS register 10h.
    #[must_use]
    pub fn cmos_type(self) -> u8 {
        match self {
            DriveKind::K360 => 1,
            DriveKind::K1200 => 2,
            DriveKind::K720 => 3,
            DriveKind::K1440 => 4,
            DriveKind::K2880 => 5,
        }
    }
}

/// A drive.
#[derive(Debug)]
pub struct FloppyDrive {
    // Configuration
    name: String,
    kind: DriveKind,
    /// Geometry of the board's own disk, where its size does not tell it.
    own_geometry: Option<Geometry>,
    // Sub-devices
    pub(super) tray: Tray,
    // State
    /// The head's cylinder.
    pub(super) cylinder: u8,
    /// The change line: the disk was taken out since the last step.
    pub(super) changed: bool,
}

impl FloppyDrive {
    /// A drive that inputs call `name` (`"fd0"`), with the disk that lies in it at the start. `geometry` is that disk's
    /// own, if its size does not tell it.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        kind: DriveKind,
        disk: Option<Box<dyn BlockBackend>>,
        geometry: Option<Geometry>,
    ) -> FloppyDrive {
        let own_geometry = geometry.filter(|g| g.total() > 0);
        FloppyDrive { name: name.into(), kind, own_geometry, tray: Tray::new(disk), cylinder: 0, changed: true }
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }

    /// What kind of drive it is.
    #[must_use]
    pub fn kind(&self) -> DriveKind {
        self.kind
    }

    /// The format of the disk: the one with just its size, or the board's. An image that is cut short (boot images often
    /// are) has the drive's own format, and its missing sectors read as zeros. `None` without a disk, or if it is larger
    /// than the drive's format.
    #[must_use]
    pub fn geometry(&self) -> Option<Geometry> {
        let sectors = self.tray.sectors();
        if sectors == 0 {
            return None;
        }
        let own = self.own_geometry.filter(|_| self.tray.is_own());
        let whole = own.or(Geometry::of_floppy(sectors));
        whole.or(Some(self.kind.format()).filter(|g| sectors <= g.total()))
    }

    /// Whether the disk was taken out since the last step or call; clears the change line if there is a disk now.
    pub fn take_change(&mut self) -> bool {
        let changed = self.changed;
        self.changed &= !self.tray.is_loaded();
        changed
    }

    pub(super) fn eject(&mut self, cx: &mut DevCx<'_>) {
        self.changed |= self.tray.eject(cx);
    }

    pub(super) fn insert(&mut self, cx: &mut DevCx<'_>, image: u32) {
        self.changed = true;
        self.tray.insert(cx, image);
    }

    /// Steps by `by` cylinders, outwards if negative. A step with a disk in the drive clears the change line.
    pub(super) fn step(&mut self, by: i16) {
        let to = (i16::from(self.cylinder) + by).clamp(0, LAST_CYLINDER.into()) as u8;
        if by != 0 && self.tray.is_loaded() {
            self.changed = false;
        }
        self.cylinder = to;
    }

    /// The disk's track under the head. In a drive with 80 cylinders, a disk with 40 has its tracks twice as far apart.
    pub(super) fn track(&self, g: Geometry) -> u8 {
        if self.kind == DriveKind::K1200 && g.cylinders <= 45 { self.cylinder / 2 } else { self.cylinder }
    }

    /// Whether the controller's data rate (0 = 500, 1 = 300, 2 = 250, 3 = 1000 kbit/s) is that of the disk in this drive.
    pub(super) fn fits_rate(&self, g: Geometry, rate: u8) -> bool {
        let right = match (g.sectors, self.kind) {
            (..=11, DriveKind::K1200) => 1,
            (..=11, _) => 2,
            (..=24, _) => 0,
            _ => 3,
        };
        right == rate
    }

    /// Nanoseconds of one revolution.
    pub(super) fn revolution_ns(&self) -> u64 {
        if self.kind == DriveKind::K1200 { 60_000_000_000 / 360 } else { 60_000_000_000 / 300 }
    }
}

impl State for FloppyDrive {
    const TAG: [u8; 4] = *b"FDRV";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { name: _, kind: _, own_geometry: _, tray, cylinder, changed } = self;
        w.part(1, tray);
        w.field(2, cylinder);
        w.field(3, changed);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.tray)?;
        self.cylinder = r.field::<u8>(2)?.min(LAST_CYLINDER);
        self.changed = r.field(3)?;
        Ok(())
    }
}
