//! Sectors between media and memory.

use emu_core::block::{BlockBackend, BlockError, SECTOR_SIZE};

use super::super::guest::{Guest, Served};
use super::status;
use crate::ata::AtaChannel;
use crate::fdc::Fdc;
use crate::geometry::Geometry;
use crate::piix3::Piix3Ide;

/// An ATA drive: channel and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct AtaUnit {
    pub(super) channel: u8,
    pub(super) device: u8,
}

/// A drive that sectors come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Unit {
    Floppy(usize),
    Disk(AtaUnit),
    Cd(AtaUnit),
}

const ATA_UNITS: [AtaUnit; 4] = [
    AtaUnit { channel: 0, device: 0 },
    AtaUnit { channel: 0, device: 1 },
    AtaUnit { channel: 1, device: 0 },
    AtaUnit { channel: 1, device: 1 },
];

/// Calls `f` with the drive of `unit`.
fn with_ata<R>(g: &mut Guest<'_>, unit: AtaUnit, f: impl FnOnce(&mut crate::ata::Drive) -> R) -> Option<R> {
    let (channel, device) = (usize::from(unit.channel), usize::from(unit.device));
    if let Some(ide) = g.sys.bus.find_mut::<Piix3Ide>() {
        return ide.drive(channel, device).map(f);
    }
    let ata = g.sys.bus.find_mut::<AtaChannel>().filter(|_| channel == 0)?;
    ata.drive(device).map(f)
}

fn all(g: &mut Guest<'_>, cd: bool) -> Vec<AtaUnit> {
    ATA_UNITS.into_iter().filter(|&u| with_ata(g, u, |d| d.is_cdrom() == cd) == Some(true)).collect()
}

/// All hard disks, in BIOS order.
pub(super) fn disks(g: &mut Guest<'_>) -> Vec<AtaUnit> {
    all(g, false)
}

/// All CD-ROM drives.
pub(super) fn cdroms(g: &mut Guest<'_>) -> Vec<AtaUnit> {
    all(g, true)
}

/// Calls `f` with the medium in `unit` and its own geometry; `None` if there is none.
pub(super) fn with_medium<R>(
    g: &mut Guest<'_>,
    unit: Unit,
    f: impl FnOnce(&mut dyn BlockBackend, Geometry) -> R,
) -> Option<R> {
    match unit {
        Unit::Floppy(i) => {
            let (medium, geometry) = g.sys.bus.find_mut::<Fdc>()?.media(i)?;
            Some(f(medium, geometry))
        }
        Unit::Disk(u) | Unit::Cd(u) => with_ata(g, u, |d| d.media().map(|(m, own)| f(m, own)))?,
    }
}

fn status_of(result: Option<Result<(), BlockError>>) -> u8 {
    match result {
        None => status::NOT_READY,
        Some(Ok(())) => status::OK,
        Some(Err(BlockError::OutOfRange(_))) => status::NOT_FOUND,
        Some(Err(BlockError::ReadOnly)) => status::WRITE_PROTECTED,
        Some(Err(BlockError::Host(_))) => status::CONTROLLER,
    }
}

/// Reads (function 02h or 42h), writes (03h, 43h) or verifies (04h, 44h) `n` sectors from `lba` on, at linear address
/// `buffer`. Gives how many were done, and the status.
pub(super) fn run(g: &mut Guest<'_>, unit: Unit, function: u8, lba: u64, n: u64, buffer: u64) -> Served<(u64, u8)> {
    let mut sector = [0; SECTOR_SIZE];
    for i in 0..n {
        let (lba, at) = (lba.wrapping_add(i), buffer + i * SECTOR_SIZE as u64);
        let answer = match function & 0xF {
            3 => {
                g.peek_bytes(at, &mut sector)?;
                let writable = with_medium(g, unit, |m, _| !m.read_only());
                match writable {
                    Some(false) => status::WRITE_PROTECTED,
                    _ if matches!(unit, Unit::Cd(_)) => status::WRITE_PROTECTED,
                    _ => status_of(with_medium(g, unit, |m, _| m.write(lba, &sector))),
                }
            }
            _ => status_of(with_medium(g, unit, |m, _| m.read(lba, &mut sector))),
        };
        if answer != status::OK {
            return Ok((i, answer));
        }
        if function & 0xF == 2 {
            g.poke_bytes(at, &sector)?;
        }
    }
    Ok((n, status::OK))
}
