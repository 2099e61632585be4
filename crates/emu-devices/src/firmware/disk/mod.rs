//! INT 13h: floppies, disks, CD-ROMs [PC/AT TR, "Interrupt 13h"; EDD 3.0; El Torito 1.0].
//!
//! Sectors go straight between the drive's medium and memory: the controllers' registers are not touched, and no time
//! passes.

mod cd;
mod edd;
mod floppy;
mod transfer;

use emu_core::{State, StateError, StateReader, StateWriter};

use super::bda;
use super::guest::{Guest, Served};
use super::post::EBDA;
use crate::fdc::Fdc;
use crate::geometry::Geometry;
pub(super) use floppy::{interrupt as floppy_interrupt, start as start_floppies};
use transfer::Unit;

/// Status codes that AH returns.
mod status {
    pub(super) const OK: u8 = 0x00;
    pub(super) const BAD_COMMAND: u8 = 0x01;
    pub(super) const WRITE_PROTECTED: u8 = 0x03;
    pub(super) const NOT_FOUND: u8 = 0x04;
    pub(super) const CHANGED: u8 = 0x06;
    pub(super) const DMA_BOUNDARY: u8 = 0x09;
    pub(super) const BAD_MEDIA: u8 = 0x0C;
    pub(super) const CONTROLLER: u8 = 0x20;
    pub(super) const NOT_READY: u8 = 0x80;
    pub(super) const DRIVE_NOT_READY: u8 = 0xAA;
    pub(super) const NOT_REMOVABLE: u8 = 0xB2;
    pub(super) const BAD_WRITE: u8 = 0xCC;
}

/// Offset of the disks' parameter tables in the extended data area.
const PARAMETERS: u16 = 0x3D;

/// What INT 13h knows beside the data area.
#[derive(Default)]
pub(super) struct Disks {
    // State
    /// What of a CD stands for a drive since it was booted.
    pub(super) emulation: Option<cd::Emulation>,
}

impl Disks {
    /// Counts the disks.
    pub(super) fn start(&mut self, g: &mut Guest<'_>) -> Served {
        self.emulation = None;
        let disks = transfer::disks(g);
        g.set_bda(bda::DISKS, disks.len() as u8)?;
        for (i, vector) in [0x41u64, 0x46].into_iter().enumerate() {
            let off = PARAMETERS + 16 * i as u16;
            g.poke(4 * vector, u32::from(EBDA) << 16 | u32::from(off))?;
            let Some(&unit) = disks.get(i) else { continue };
            let shape = self.geometry(g, 0x80 + i as u8, Unit::Disk(unit));
            g.poke_bytes(Guest::at(EBDA, off), &shape.map_or([0; 16], parameter_table))?;
        }
        Ok(())
    }

    /// The first sector of BIOS drive `drive`.
    pub(super) fn boot_sector(&self, g: &mut Guest<'_>, drive: u8) -> Option<[u8; 512]> {
        let unit = self.unit(g, drive)?;
        let mut sector = [0; 512];
        transfer::with_medium(g, unit, |m, _| m.read(0, &mut sector).is_ok())?.then_some(sector)
    }

    /// What BIOS drive `drive` is.
    fn unit(&self, g: &mut Guest<'_>, drive: u8) -> Option<Unit> {
        let mut number = usize::from(drive & 0x7F);
        if let Some(e) = &self.emulation
            && e.media != 0
            && (e.drive ^ drive) & 0x80 == 0
        {
            match number.checked_sub(1) {
                None => return Some(Unit::Cd(e.unit)),
                Some(n) => number = n,
            }
        }
        if let Some(cd) = (drive as usize).checked_sub(cd::FIRST_DRIVE) {
            return transfer::cdroms(g).get(cd).copied().map(Unit::Cd);
        }
        if drive & 0x80 != 0 {
            return transfer::disks(g).get(number).copied().map(Unit::Disk);
        }
        let fdc = g.sys.bus.find_mut::<Fdc>()?;
        fdc.drive(number).is_some().then_some(Unit::Floppy(number))
    }

    /// Whether `drive` is the part of a CD that stands for a drive.
    fn emulated(&self, drive: u8) -> Option<&cd::Emulation> {
        self.emulation.as_ref().filter(|e| e.media != 0 && e.drive == drive)
    }

    /// INT 13h.
    pub(super) fn service(&mut self, g: &mut Guest<'_>) -> Served {
        let drive = g.dl();
        let at = if drive & 0x80 != 0 { bda::DISK_STATUS } else { bda::FLOPPY_STATUS };
        if g.ah() == 0x01 {
            let last: u8 = g.bda(at)?;
            g.set_ah(last);
            return g.set_carry(last != status::OK);
        }
        let answer = match self.unit(g, drive) {
            Some(unit) => self.dispatch(g, drive, unit)?,
            None if g.ah() == 0x08 => self.no_such_drive(g, drive)?,
            None if g.ah() == 0x15 => {
                g.set_ah(0);
                return g.set_carry(drive & 0x80 != 0);
            }
            None if g.ah() == 0x4B => self.cd_status(g)?,
            None => Some(if drive & 0x80 != 0 { status::BAD_COMMAND } else { status::NOT_READY }),
        };
        let Some(answer) = answer else { return Ok(()) };
        g.set_bda(at, answer)?;
        g.set_ah(answer);
        g.set_carry(answer != status::OK)
    }

    /// Runs the function in AH; `None` if it has set AH and carry itself.
    fn dispatch(&mut self, g: &mut Guest<'_>, drive: u8, unit: Unit) -> Served<Option<u8>> {
        let floppy = drive & 0x80 == 0;
        Ok(Some(match g.ah() {
            0x00 => {
                if floppy {
                    g.set_bda(bda::FLOPPY_SEEK, 0u8)?;
                }
                status::OK
            }
            0x02..=0x04 => self.chs_transfer(g, drive, unit)?,
            0x05 if floppy => floppy::format(g, unit)?,
            0x05 | 0x09 | 0x0C | 0x0D | 0x10 | 0x11 | 0x14 if !floppy => status::OK,
            0x08 => return self.parameters(g, drive, unit),
            0x15 => return self.kind(g, drive, unit),
            0x16 if floppy => floppy::change_line(g, unit),
            0x17 if floppy => status::OK,
            0x18 if floppy => floppy::set_media(g, unit)?,
            0x41..=0x48 if !floppy => return self.extended(g, drive, unit),
            0x4B => return self.cd_status(g),
            _ => status::BAD_COMMAND,
        }))
    }

    /// The shape in which CHS calls see a drive.
    fn geometry(&self, g: &mut Guest<'_>, drive: u8, unit: Unit) -> Option<Geometry> {
        if let Some(e) = self.emulated(drive) {
            return Some(e.geometry);
        }
        let (sectors, own) = transfer::with_medium(g, unit, |m, own| (m.sectors(), own))?;
        Some(match unit {
            Unit::Floppy(_) => own,
            _ => translation(sectors, own),
        })
    }

    /// AH = 02h, 03h, 04h: read, write, verify.
    fn chs_transfer(&mut self, g: &mut Guest<'_>, drive: u8, unit: Unit) -> Served<u8> {
        if floppy::was_changed(g, unit) {
            return Ok(status::CHANGED);
        }
        let not_ready = if drive & 0x80 != 0 { status::DRIVE_NOT_READY } else { status::NOT_READY };
        let Some(geometry) = self.geometry(g, drive, unit) else {
            g.set_al(0);
            return Ok(not_ready);
        };
        let count = g.al();
        let (mut cylinder, mut sector) = (u16::from(g.ch()), g.cl());
        if drive & 0x80 != 0 || self.emulated(drive).is_some() {
            cylinder |= u16::from(sector & 0xC0) << 2;
            sector &= 0x3F;
        }
        let start = geometry.lba(cylinder, g.dh(), sector);
        let Some(start) = start.filter(|_| count > 0) else {
            g.set_al(0);
            return Ok(if count == 0 { status::BAD_COMMAND } else { status::NOT_FOUND });
        };
        let buffer = g.in_segment(emu_core::cpu::seg::ES, g.bx());
        if drive & 0x80 == 0 && g.ah() != 4 && buffer & 0xFFFF > 0x1_0000 - 512 * u64::from(count).min(128) {
            g.set_al(0);
            return Ok(status::DMA_BOUNDARY);
        }
        // A floppy's transfer ends with the cylinder.
        let per_cylinder = u64::from(geometry.heads) * u64::from(geometry.sectors);
        let room = match unit {
            Unit::Floppy(_) => per_cylinder - start % per_cylinder,
            _ => geometry.total() - start,
        };
        let n = u64::from(count).min(room);
        let offset = self.emulated(drive).map_or(0, |e| e.start);
        let (done, mut answer) = transfer::run(g, unit, g.ah(), start + offset, n, buffer)?;
        if answer == status::OK && n < count.into() {
            answer = status::NOT_FOUND;
        }
        g.set_al(done as u8);
        Ok(answer)
    }

    /// AH = 08h.
    fn parameters(&mut self, g: &mut Guest<'_>, drive: u8, unit: Unit) -> Served<Option<u8>> {
        let shape = match unit {
            Unit::Floppy(i) => Some(floppy::drive_geometry(g, i)),
            _ => self.geometry(g, drive, unit),
        };
        let Some(shape) = shape else { return Ok(Some(status::BAD_COMMAND)) };
        let last = shape.cylinders.min(1024) - 1;
        g.set_ch(last as u8);
        g.set_cl((last >> 2) as u8 & 0xC0 | shape.sectors & 0x3F);
        g.set_dh(shape.heads - 1);
        g.set_al(0);
        if drive & 0x80 != 0 {
            let disks = g.bda::<u8>(bda::DISKS)? + u8::from(self.emulated(0x80).is_some());
            g.set_dl(disks);
        } else {
            let count = floppy::count(g) + u8::from(self.emulated(0).is_some());
            g.set_dl(count);
            floppy::tell_kind(g, unit, shape);
        }
        Ok(Some(status::OK))
    }

    /// AH = 08h for a drive that is not there.
    fn no_such_drive(&mut self, g: &mut Guest<'_>, drive: u8) -> Served<Option<u8>> {
        if drive & 0x80 != 0 {
            return Ok(Some(0x07));
        }
        g.set_ax(0);
        g.set_cx(0);
        g.set_bx(0);
        let count = floppy::count(g);
        g.set_dx(count.into());
        Ok(Some(status::OK))
    }

    /// AH = 15h.
    fn kind(&mut self, g: &mut Guest<'_>, drive: u8, unit: Unit) -> Served<Option<u8>> {
        let kind = match unit {
            Unit::Floppy(i) => floppy::kind_has_change_line(g, i),
            _ if drive & 0x80 == 0 => 1,
            _ => {
                let total = self.geometry(g, drive, unit).map_or(0, Geometry::total) as u32;
                g.set_cx((total >> 16) as u16);
                g.set_dx(total as u16);
                3
            }
        };
        g.set_ah(kind);
        g.set_carry(false)?;
        Ok(None)
    }
}

/// The fixed disk parameter table that INT 41h and 46h point at [PC/AT TR, "FD_TBL"].
fn parameter_table(shape: Geometry) -> [u8; 16] {
    let [low, high] = shape.cylinders.to_le_bytes();
    let control = if shape.heads > 8 { 0x08 } else { 0 };
    [low, high, shape.heads, 0, 0, 0xFF, 0xFF, 0, control, 0, 0, 0, low, high, shape.sectors, 0]
}

/// The shape in which programs see a disk: its own up to 1024 cylinders, else 63 sectors and as many heads as needed
/// ("LBA assist").
pub(super) fn translation(sectors: u64, own: Geometry) -> Geometry {
    if own.cylinders <= 1024 && own.total() <= sectors && sectors <= 1024 * 16 * 63 {
        return own;
    }
    let heads = [16u8, 32, 64, 128, 255].into_iter().find(|&h| sectors <= 1024 * 63 * u64::from(h)).unwrap_or(255);
    let cylinders = (sectors / (63 * u64::from(heads))).clamp(1, 1024) as u16;
    Geometry { cylinders, heads, sectors: 63 }
}

impl State for Disks {
    const TAG: [u8; 4] = *b"BI13";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { emulation } = self;
        w.field(1, &emulation.map(cd::Emulation::to_words));
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let words: Option<[u64; 12]> = r.field(1)?;
        self.emulation = match words {
            Some(words) => Some(cd::Emulation::from_words(words).ok_or(r.invalid("it has no such boot image"))?),
            None => None,
        };
        Ok(())
    }
}
