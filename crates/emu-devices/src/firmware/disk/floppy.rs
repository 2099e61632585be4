//! Floppy drives: what only they have.

use emu_core::cpu::seg;

use super::super::bda::{FLOPPY_COUNT, FLOPPY_MEDIA, FLOPPY_MOTOR, FLOPPY_SEEK};
use super::super::guest::{Guest, Served};
use super::super::rom;
use super::status;
use super::transfer::{Unit, with_medium};
use crate::fdc::{DriveKind, Fdc};
use crate::geometry::Geometry;

/// Parameters of a 1.44 MB drive's largest format.
const K1440: Geometry = Geometry { cylinders: 80, heads: 2, sectors: 18 };

/// Data area.
pub(in super::super) fn start(g: &mut Guest<'_>) -> Served {
    g.set_bda(FLOPPY_SEEK, 0u8)?;
    g.set_bda(FLOPPY_MOTOR, 0u8)?;
    g.set_bda(FLOPPY_COUNT, 0u8)?;
    for i in 0..2 {
        // Established, of a drive of its own kind.
        let state: u8 = if kind(g, i).is_some() { 0x17 } else { 0 };
        g.set_bda(FLOPPY_MEDIA + i as u64, state)?;
        was_changed(g, Unit::Floppy(i));
    }
    Ok(())
}

/// IRQ 6.
pub(in super::super) fn interrupt(g: &mut Guest<'_>) -> Served {
    let seek: u8 = g.bda(FLOPPY_SEEK)?;
    g.set_bda(FLOPPY_SEEK, seek | 0x80)
}

fn kind(g: &mut Guest<'_>, i: usize) -> Option<DriveKind> {
    Some(g.sys.bus.find_mut::<Fdc>()?.drive(i)?.kind())
}

/// Number of drives.
pub(super) fn count(g: &mut Guest<'_>) -> u8 {
    (0..2).filter(|&i| kind(g, i).is_some()).count() as u8
}

/// The largest format of drive `i`.
pub(super) fn drive_geometry(g: &mut Guest<'_>, i: usize) -> Geometry {
    let (cylinders, sectors) = match kind(g, i) {
        Some(DriveKind::K360) => (40, 9),
        Some(DriveKind::K1200) => (80, 15),
        Some(DriveKind::K720) => (80, 9),
        Some(DriveKind::K2880) => (80, 36),
        Some(DriveKind::K1440) | None => return K1440,
    };
    Geometry { cylinders, heads: 2, sectors }
}

/// AH = 08h: BL is the drive's kind, ES:DI its parameter table.
pub(super) fn tell_kind(g: &mut Guest<'_>, unit: Unit, shape: Geometry) {
    let number = match unit {
        Unit::Floppy(i) => kind(g, i).map_or(4, DriveKind::cmos_type),
        _ => DriveKind::for_geometry(shape).cmos_type(),
    };
    g.set_bx(number.into());
    g.set_selector(seg::ES, rom::SEGMENT);
    g.set_di(rom::floppy_table(number));
}

/// AH = 15h: 1 = no change line, 2 = has one.
pub(super) fn kind_has_change_line(g: &mut Guest<'_>, i: usize) -> u8 {
    if kind(g, i) == Some(DriveKind::K360) { 1 } else { 2 }
}

/// Whether the disk was changed since the last call.
pub(super) fn was_changed(g: &mut Guest<'_>, unit: Unit) -> bool {
    let Unit::Floppy(i) = unit else { return false };
    g.sys.bus.find_mut::<Fdc>().and_then(|f| f.drive(i)).is_some_and(|d| d.take_change())
}

/// AH = 16h.
pub(super) fn change_line(g: &mut Guest<'_>, unit: Unit) -> u8 {
    if with_medium(g, unit, |_, _| ()).is_none() {
        return if matches!(unit, Unit::Floppy(_)) { status::NOT_READY } else { status::OK };
    }
    if was_changed(g, unit) { status::CHANGED } else { status::OK }
}

/// AH = 18h: a format for AH = 05h, by its last cylinder and sectors.
pub(super) fn set_media(g: &mut Guest<'_>, unit: Unit) -> Served<u8> {
    let cylinder = u16::from(g.ch()) | u16::from(g.cl() & 0xC0) << 2;
    let wanted = (cylinder + 1, g.cl() & 0x3F);
    let Some(shape) = with_medium(g, unit, |_, own| own) else { return Ok(status::NOT_READY) };
    if (shape.cylinders, shape.sectors) != wanted {
        return Ok(status::BAD_MEDIA);
    }
    let number = DriveKind::for_geometry(shape).cmos_type();
    g.set_selector(seg::ES, rom::SEGMENT);
    g.set_di(rom::floppy_table(number));
    Ok(status::OK)
}

/// AH = 05h: fills the sectors that the address fields at ES:BX name with the fill byte of the parameter table.
pub(super) fn format(g: &mut Guest<'_>, unit: Unit) -> Served<u8> {
    if was_changed(g, unit) {
        return Ok(status::CHANGED);
    }
    let Some((shape, read_only)) = with_medium(g, unit, |m, own| (own, m.read_only())) else {
        return Ok(status::NOT_READY);
    };
    if read_only {
        return Ok(status::WRITE_PROTECTED);
    }
    let table: u32 = g.peek(0x1E * 4)?;
    let fill: u8 = g.peek(Guest::at((table >> 16) as u16, table as u16) + 8)?;
    let fields = g.in_segment(seg::ES, g.bx());
    for i in 0..u64::from(shape.sectors) {
        let [c, h, r, _] = g.peek::<u32>(fields + 4 * i)?.to_le_bytes();
        let Some(lba) = shape.lba(c.into(), h, r) else { return Ok(status::NOT_FOUND) };
        with_medium(g, unit, |m, _| m.write(lba, &[fill; 512]).is_ok());
    }
    Ok(status::OK)
}
