//! INT 13h extensions: sectors by linear number [EDD 3.0].

use emu_core::cpu::seg;

use super::super::bda;
use super::super::guest::{Guest, Served};
use super::transfer::{self, Unit, with_medium};
use super::{Disks, status};

/// Version 3.0, as AH of function 41h gives it.
const VERSION: u8 = 0x30;
/// Fixed disk access, drive locking and ejecting, EDD.
const SUPPORTED: u16 = 0x07;
/// Sectors of 512 bytes in one of a CD.
const CD_RATIO: u64 = 4;

impl Disks {
    /// AH = 41h to 48h.
    pub(super) fn extended(&mut self, g: &mut Guest<'_>, drive: u8, unit: Unit) -> Served<Option<u8>> {
        let emulated = self.emulated(drive).is_some();
        Ok(Some(match g.ah() {
            0x41 if g.bx() == 0x55AA && !emulated => {
                g.set_bx(0xAA55);
                g.set_ah(VERSION);
                g.set_cx(SUPPORTED);
                g.set_carry(false)?;
                return Ok(None);
            }
            _ if emulated => status::BAD_COMMAND,
            0x42..=0x44 => transfer_packet(g, unit)?,
            0x45 => {
                g.set_al(0);
                status::OK
            }
            0x46 if matches!(unit, Unit::Cd(_)) => status::OK,
            0x46 => status::NOT_REMOVABLE,
            0x47 => status::OK,
            0x48 => self.drive_parameters(g, drive, unit)?,
            _ => status::BAD_COMMAND,
        }))
    }

    /// AH = 48h: fills the caller's table at DS:SI.
    fn drive_parameters(&mut self, g: &mut Guest<'_>, drive: u8, unit: Unit) -> Served<u8> {
        let at = g.in_segment(seg::DS, g.si());
        let size: u16 = g.peek(at)?;
        if size < 0x1A {
            return Ok(status::BAD_COMMAND);
        }
        let sectors = with_medium(g, unit, |m, _| m.sectors());
        let is_cd = matches!(unit, Unit::Cd(_));
        let mut table = [0u8; 0x1E];
        let len = if size >= 0x1E { 0x1E } else { 0x1A };
        table[..2].copy_from_slice(&u16::to_le_bytes(len));
        // CDs: removable, change line, lockable; geometry means nothing.
        let flags: u16 = if is_cd { 0x74 } else { 0x02 };
        table[2..4].copy_from_slice(&flags.to_le_bytes());
        if let (false, Some(shape)) = (is_cd, self.geometry(g, drive, unit)) {
            table[4..8].copy_from_slice(&u32::from(shape.cylinders).to_le_bytes());
            table[8..12].copy_from_slice(&u32::from(shape.heads).to_le_bytes());
            table[12..16].copy_from_slice(&u32::from(shape.sectors).to_le_bytes());
        }
        let total = match sectors {
            Some(n) if is_cd => n / CD_RATIO,
            Some(n) => n,
            None => u64::MAX,
        };
        table[16..24].copy_from_slice(&total.to_le_bytes());
        table[24..26].copy_from_slice(&(if is_cd { 2048u16 } else { 512 }).to_le_bytes());
        table[26..30].fill(0xFF); // no device parameter table
        g.poke_bytes(at, &table[..usize::from(len)])?;
        Ok(status::OK)
    }
}

/// AH = 42h, 43h, 44h, with the packet at DS:SI, whose block count becomes what was done.
fn transfer_packet(g: &mut Guest<'_>, unit: Unit) -> Served<u8> {
    let at = g.in_segment(seg::DS, g.si());
    let (size, count): (u8, u16) = (g.peek(at)?, g.peek(at + 2)?);
    if size < 0x10 {
        return Ok(status::BAD_COMMAND);
    }
    let pointer: u32 = g.peek(at + 4)?;
    let lba: u64 = g.peek(at + 8)?;
    let buffer = if pointer == u32::MAX && size >= 0x18 {
        g.peek::<u64>(at + 16)? & 0xFFFF_FFFF
    } else {
        Guest::at((pointer >> 16) as u16, pointer as u16)
    };
    let ratio = if matches!(unit, Unit::Cd(_)) { CD_RATIO } else { 1 };
    let Some(sectors) = with_medium(g, unit, |m, _| m.sectors()) else {
        g.poke(at + 2, 0u16)?;
        return Ok(status::DRIVE_NOT_READY);
    };
    let n = u64::from(count);
    let end = lba.checked_add(n).and_then(|e| e.checked_mul(ratio));
    if end.is_none_or(|e| e > sectors) {
        g.poke(at + 2, 0u16)?;
        return Ok(status::NOT_FOUND);
    }
    let function = g.ah();
    let (done, answer) = transfer::run(g, unit, function, lba * ratio, n * ratio, buffer)?;
    g.poke(at + 2, (done / ratio) as u16)?;
    let answer = if answer == status::WRITE_PROTECTED { status::BAD_WRITE } else { answer };
    g.set_bda(bda::DISK_STATUS, answer)?;
    Ok(answer)
}
