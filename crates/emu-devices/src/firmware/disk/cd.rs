//! CDs that boot: El Torito [El Torito 1.0].

use emu_core::cpu::seg;

use super::super::guest::{Guest, Served};
use super::transfer::{self, AtaUnit, Unit};
use super::{Disks, status};
use crate::geometry::Geometry;

/// BIOS number of the first CD-ROM drive.
pub(super) const FIRST_DRIVE: usize = 0xE0;
/// Sectors of 512 bytes in one of a CD.
const RATIO: u64 = 4;
/// The CD's sector with the boot record volume descriptor.
const DESCRIPTOR: u64 = 17;
/// Where an image is loaded if the catalogue does not say.
const SEGMENT: u16 = 0x07C0;

/// A CD that was booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Emulation {
    /// BIOS drive that it is.
    pub(super) drive: u8,
    /// 0 = none, 1 to 3 = floppy of 1.2, 1.44, 2.88 MB, 4 = disk.
    pub(super) media: u8,
    /// The CD-ROM drive.
    pub(super) unit: AtaUnit,
    /// The image's first sector, in sectors of 512 bytes.
    pub(super) start: u64,
    /// Its shape.
    pub(super) geometry: Geometry,
    segment: u16,
    count: u16,
}

impl Emulation {
    /// For saved state.
    pub(super) fn to_words(self) -> [u64; 12] {
        let Self { drive, media, unit, start, geometry, segment, count } = self;
        let AtaUnit { channel, device } = unit;
        let Geometry { cylinders, heads, sectors } = geometry;
        let bytes = [drive, media, channel, device, heads, sectors].map(u64::from);
        let [a, b, c, d, e, f] = bytes;
        [a, b, c, d, e, f, start, cylinders.into(), segment.into(), count.into(), 0, 0]
    }

    /// From saved state; `None` if it can't be.
    pub(super) fn from_words(w: [u64; 12]) -> Option<Emulation> {
        let [drive, media, channel, device, heads, sectors, start, cylinders, segment, count, 0, 0] = w else {
            return None;
        };
        let byte = |v: u64| u8::try_from(v).ok();
        let word = |v: u64| u16::try_from(v).ok();
        let geometry = Geometry { cylinders: word(cylinders)?, heads: byte(heads)?, sectors: byte(sectors)? };
        let sane = media <= 4 && channel < 2 && device < 2 && start < 1 << 40 && (media == 0 || geometry.total() > 0);
        sane.then_some(Emulation {
            drive: byte(drive)?,
            media: byte(media)?,
            unit: AtaUnit { channel: byte(channel)?, device: byte(device)? },
            start,
            geometry,
            segment: word(segment)?,
            count: word(count)?,
        })
    }
}

/// A sector of the CD.
fn sector(g: &mut Guest<'_>, unit: AtaUnit, number: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 2048];
    transfer::with_medium(g, Unit::Cd(unit), |m, _| m.read(number * RATIO, &mut bytes).is_ok())?.then_some(bytes)
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 2)) << 16
}

/// The boot catalogue's default entry, of the first CD that has one that boots.
fn find(g: &mut Guest<'_>) -> Option<(usize, AtaUnit, Vec<u8>)> {
    for (i, unit) in transfer::cdroms(g).into_iter().enumerate() {
        let Some(descriptor) = sector(g, unit, DESCRIPTOR) else { continue };
        if descriptor[..7] != *b"\0CD001\x01" || !descriptor[7..39].starts_with(b"EL TORITO SPECIFICATION") {
            continue;
        }
        let Some(catalogue) = sector(g, unit, long(&descriptor, 0x47)) else { continue };
        let sum = (0..32).step_by(2).fold(0u16, |s, at| s.wrapping_add(word(&catalogue, at)));
        let valid = catalogue[0] == 1 && catalogue[30..32] == [0x55, 0xAA] && sum == 0;
        if valid && catalogue[32] == 0x88 {
            return Some((i, unit, catalogue[32..64].to_vec()));
        }
    }
    None
}

impl Disks {
    /// Loads what the first bootable CD names. Gives BIOS drive, segment, and sectors loaded.
    pub(in super::super) fn start_cd(&mut self, g: &mut Guest<'_>) -> Served<Option<(u8, u16, u16)>> {
        let Some((i, unit, entry)) = find(g) else { return Ok(None) };
        let media = entry[1] & 0xF;
        let segment = if word(&entry, 2) == 0 { SEGMENT } else { word(&entry, 2) };
        let count = if media == 0 { word(&entry, 6) } else { 1 };
        let start = long(&entry, 8) * RATIO;
        let buffer = u64::from(segment) << 4;
        let (done, _) = transfer::run(g, Unit::Cd(unit), 2, start, count.into(), buffer)?;
        if done < count.into() || media > 4 {
            return Ok(None);
        }
        let floppy = |cylinders, sectors| Geometry { cylinders, heads: 2, sectors };
        let geometry = match media {
            1 => floppy(80, 15),
            2 => floppy(80, 18),
            3 => floppy(80, 36),
            4 => disk_shape(g, buffer)?,
            _ => Geometry { cylinders: 0, heads: 0, sectors: 0 },
        };
        let drive = match media {
            0 => (FIRST_DRIVE + i) as u8,
            4 => 0x80,
            _ => 0x00,
        };
        self.emulation = Some(Emulation { drive, media, unit, start, geometry, segment, count });
        Ok(Some((drive, segment, count)))
    }

    /// AH = 4Bh: AL = 00h ends the emulation, 01h only tells; the answer goes to DS:SI.
    pub(super) fn cd_status(&mut self, g: &mut Guest<'_>) -> Served<Option<u8>> {
        let Some(e) = self.emulation.filter(|_| g.al() <= 1) else { return Ok(Some(status::BAD_COMMAND)) };
        let at = g.in_segment(seg::DS, g.si());
        let mut packet = [0u8; 19];
        packet[0] = 19;
        packet[1] = e.media;
        packet[2] = e.drive;
        packet[3] = e.unit.channel;
        packet[4..8].copy_from_slice(&((e.start / RATIO) as u32).to_le_bytes());
        packet[8..10].copy_from_slice(&u16::from(e.unit.device).to_le_bytes());
        packet[12..14].copy_from_slice(&e.segment.to_le_bytes());
        packet[14..16].copy_from_slice(&e.count.to_le_bytes());
        if e.media != 0 {
            let last = e.geometry.cylinders.min(1024) - 1;
            packet[16] = last as u8;
            packet[17] = (last >> 2) as u8 & 0xC0 | e.geometry.sectors & 0x3F;
            packet[18] = e.geometry.heads - 1;
        }
        g.poke_bytes(at, &packet)?;
        if g.al() == 0 && (g.dl() == 0x7F || g.dl() == e.drive) {
            self.emulation = Some(Emulation { media: 0, ..e });
        }
        Ok(Some(status::OK))
    }
}

/// The shape of a disk image on a CD: that of its first partition's end.
fn disk_shape(g: &mut Guest<'_>, sector: u64) -> Served<Geometry> {
    let mut end = [0; 3];
    g.peek_bytes(sector + 0x1BE + 5, &mut end)?;
    let [head, sectors, cylinder] = end;
    let cylinders = (u16::from(sectors & 0xC0) << 2 | u16::from(cylinder)) + 1;
    Ok(Geometry { cylinders, heads: head.saturating_add(1), sectors: (sectors & 0x3F).max(1) })
}
