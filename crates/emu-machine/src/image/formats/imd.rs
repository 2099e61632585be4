//! ImageDisk's diskettes: tracks with their sectors' numbers [IMD 6].
//!
//! The disk is all sectors in the order of cylinder, head and number. Sectors that the file has in full are read and
//! written where they lie, so that a write moves nothing; new images have all of them so. Left out: writing sectors that
//! are stored as one repeated byte or could not be read from the diskette, as all behind them would have to move; tracks
//! whose sectors are not of 512 bytes or not as many as elsewhere, which no PC drive of ours could show; 2880K, whose data
//! rate the format has no number for.

use emu_devices::geometry::Geometry;

use super::super::format::{Extent, Findings, Fix, Format, Kind, Result, Target, Where};
use super::super::store::Store;

/// The longest file: more than any diskette gives.
const LONGEST: u64 = 16 << 20;
const SECTOR: usize = 512;

/// Where a sector's contents are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// In full, at this position.
    At(u64),
    /// This byte, all over.
    Fill(u8),
    /// They could not be read from the diskette.
    Missing,
}

/// An open image.
pub(crate) struct Imd {
    file: Box<dyn Store>,
    sectors: Vec<Stored>,
    comment: String,
    /// Cylinders, heads, sectors per track.
    geometry: (usize, usize, usize),
}

/// Reads the file piece by piece.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> core::result::Result<&'a [u8], &'static str> {
        let bytes = self.bytes.get(self.at..self.at + n).ok_or("the file ends within a track: it is truncated")?;
        self.at += n;
        Ok(bytes)
    }
}

/// A sector: cylinder, head, number, and its contents.
type Sector = ((u8, u8, u8), Stored);

fn read_track(r: &mut Reader<'_>, sectors: &mut Vec<Sector>) -> core::result::Result<(), &'static str> {
    let [mode, cylinder, head, count, size] = *r.take(5)? else { unreachable!("five bytes") };
    if mode > 5 || count == 0 && size != 2 && size > 6 {
        return Err("a track with an unknown mode");
    }
    if count > 0 && size != 2 {
        return Err("a track whose sectors do not have 512 bytes");
    }
    let count = usize::from(count);
    let numbers = r.take(count)?;
    // Maps of what the sectors claim to be: a PC's own diskettes have none, or true ones.
    for bit in [0x80, 0x40] {
        if head & bit != 0 {
            r.take(count)?;
        }
    }
    for &number in numbers {
        let kind = r.take(1)?[0];
        let at = r.at as u64;
        let contents = match kind {
            0 => Stored::Missing,
            1 | 3 | 5 | 7 => {
                r.take(SECTOR)?;
                Stored::At(at)
            }
            2 | 4 | 6 | 8 => Stored::Fill(r.take(1)?[0]),
            _ => return Err("a sector of an unknown kind"),
        };
        sectors.push(((cylinder, head & 1, number), contents));
    }
    Ok(())
}

impl Imd {
    pub(crate) fn open(file: Box<dyn Store>) -> Result<Imd> {
        if file.len() > LONGEST {
            return Err(file.bad(Kind::Imd, "file", 0, "it is longer than any diskette"));
        }
        let bytes = file.read_vec(0, file.len() as usize)?;
        let end = bytes.iter().take(1 << 16).position(|b| *b == 0x1A);
        let Some(end) = end.filter(|_| bytes.starts_with(b"IMD ")) else {
            return Err(file.bad(Kind::Imd, "header", 0, "there is no comment that ends with 1Ah"));
        };
        let comment = String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned();
        let mut r = Reader { bytes: &bytes, at: end + 1 };
        let mut sectors = Vec::new();
        while r.at < bytes.len() {
            let at = r.at as u64;
            read_track(&mut r, &mut sectors).map_err(|why| file.bad(Kind::Imd, "track", at, why))?;
        }
        let (geometry, sectors) = lay_out(sectors).map_err(|why| file.bad(Kind::Imd, "tracks", end as u64 + 1, why))?;
        Ok(Imd { file, sectors, comment, geometry })
    }
}

type Disk = ((usize, usize, usize), Vec<Stored>);

/// Puts the sectors in order; every track must have the same numbers.
fn lay_out(mut sectors: Vec<Sector>) -> core::result::Result<Disk, &'static str> {
    let most = |f: fn(&Sector) -> u8| sectors.iter().map(f).max().unwrap_or(0);
    let first = sectors.iter().map(|s| s.0.2).min().ok_or("there are no sectors")?;
    let geometry =
        (usize::from(most(|s| s.0.0)) + 1, usize::from(most(|s| s.0.1)) + 1, usize::from(most(|s| s.0.2) - first) + 1);
    sectors.sort_by_key(|s| s.0);
    if sectors.len() != geometry.0 * geometry.1 * geometry.2 || sectors.windows(2).any(|p| p[0].0 == p[1].0) {
        return Err("its tracks do not all have the same sectors");
    }
    Ok((geometry, sectors.into_iter().map(|s| s.1).collect()))
}

impl Format for Imd {
    fn kind(&self) -> Kind {
        Kind::Imd
    }
    fn size(&self) -> u64 {
        (self.sectors.len() * SECTOR) as u64
    }
    fn store(&self, _: usize) -> &dyn Store {
        &*self.file
    }

    fn lookup(&mut self, offset: u64, _: u64) -> Result<Extent> {
        let within = offset % SECTOR as u64;
        let place = match self.sectors[offset as usize / SECTOR] {
            Stored::At(pos) => Where::Data { file: 0, pos: pos + within },
            Stored::Fill(0) | Stored::Missing => Where::Zero,
            Stored::Fill(_) => Where::Packed,
        };
        Ok(Extent { len: SECTOR as u64 - within, place })
    }

    fn read_packed(&mut self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if let Stored::Fill(byte) = self.sectors[offset as usize / SECTOR] {
            buf.fill(byte);
        }
        Ok(())
    }

    fn target(&mut self, offset: u64, len: u64) -> Result<Target> {
        let within = offset % SECTOR as u64;
        let Stored::At(pos) = self.sectors[offset as usize / SECTOR] else {
            let why = "this sector is stored as one byte, or could not be read from the diskette, so it has no room: \
                       use mode=overlay, or a copy made with emu disk convert, which has all sectors in full";
            return Err(self.file.no_way(why));
        };
        let to = (offset + len).min(offset - within + SECTOR as u64);
        Ok(Target { file: 0, pos: pos + within, from: offset, to, zeroed: false })
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let (c, h, s) = self.geometry;
        vec![
            ("comment", self.comment.escape_debug().to_string()),
            ("geometry", format!("{c} cylinders, {h} heads, {s} sectors")),
            ("unreadable sectors", self.sectors.iter().filter(|s| **s == Stored::Missing).count().to_string()),
        ]
    }
    fn can_check(&self) -> bool {
        false
    }
    fn check(&mut self, _: Fix) -> Result<Findings> {
        Ok(Findings::default())
    }
}

/// Writes an image of a formatted diskette of `size` bytes into an empty store.
pub(crate) fn create(store: &dyn Store, size: u64) -> Result<()> {
    let geometry = Geometry::of_floppy(size / 512).filter(|g| size.is_multiple_of(512) && g.sectors < 36);
    let g = geometry.ok_or_else(|| {
        store
            .no_way("an IMD image holds a diskette: 160K, 180K, 320K, 360K, 640K, 720K, 1200K, 1440K and a little more")
    })?;
    // 500 kbit/s for the high densities, else 250 kbit/s, both MFM.
    let mode = if g.sectors > 11 { 3 } else { 5 };
    let mut bytes = b"IMD 1.18: 01/01/2000 00:00:00\r\nemu\r\n\x1A".to_vec();
    for cylinder in 0..g.cylinders as u8 {
        for head in 0..g.heads {
            bytes.extend_from_slice(&[mode, cylinder, head, g.sectors, 2]);
            bytes.extend(1..=g.sectors);
            for _ in 0..g.sectors {
                bytes.push(1);
                bytes.resize(bytes.len() + SECTOR, 0);
            }
        }
    }
    store.write(0, &bytes)?;
    store.flush()
}

#[cfg(test)]
mod tests {
    use super::super::super::memory::Memory;
    use super::super::super::model::{Shelf, behaves_like_bytes, contents, survives_crashes, survives_damage};
    use super::super::super::ops::NewImage;
    use super::*;

    /// Two cylinders, one head, three interleaved sectors each; some compressed, one unreadable.
    fn image() -> Vec<u8> {
        let mut bytes = b"IMD 1.18: 01/01/2020 00:00:00\r\na test\x1A".to_vec();
        for cylinder in 0..2u8 {
            bytes.extend_from_slice(&[5, cylinder, 0, 3, 2, 1, 3, 2]);
            bytes.push(1);
            bytes.extend_from_slice(&[0x10 + cylinder; SECTOR]);
            bytes.extend_from_slice(&[2, 0x30 + cylinder]);
            bytes.extend_from_slice(if cylinder == 0 { &[2, 0x20] } else { &[0] });
        }
        bytes
    }

    #[test]
    fn sectors_come_in_order() {
        let shelf = Shelf(vec![Memory::new("a.imd", image())]);
        let mut disk = shelf.open("a.imd", false);
        let firsts: Vec<u8> = contents(&mut disk).chunks(SECTOR).map(|s| s[511]).collect();
        assert_eq!(firsts, [0x10, 0x20, 0x30, 0x11, 0, 0x31]);
        survives_damage(&shelf, "a.imd", "a.imd", 200);
    }

    #[test]
    fn truncations_are_errors() {
        let whole = image();
        let start = whole.iter().position(|b| *b == 0x1A).unwrap() + 1;
        let track = 8 + 1 + SECTOR + 2 + 2;
        // Between two tracks nothing shows that one is missing.
        for n in (1..whole.len()).filter(|n| *n != start + track) {
            assert!(Imd::open(Box::new(Memory::new("a", whole[..n].to_vec()))).is_err(), "{n}");
        }
    }

    #[test]
    fn new_images_are_written_in_place() {
        behaves_like_bytes(&NewImage::new(Kind::Imd, 163_840), 60);
        survives_crashes(&NewImage::new(Kind::Imd, 163_840), 10);
        let two_sided = Imd::open(Box::new({
            let store = Memory::new("a.imd", Vec::new());
            create(&store, 1_720_320).unwrap();
            store
        }));
        assert_eq!(two_sided.unwrap().geometry, (80, 2, 21));
        assert!(create(&Memory::new("a", Vec::new()), 1 << 20).is_err());
        assert!(create(&Memory::new("a", Vec::new()), 2880 << 10).is_err());
    }

    #[test]
    fn what_has_no_room_is_not_written() {
        let shelf = Shelf(vec![Memory::new("a.imd", image())]);
        let mut disk = shelf.open("a.imd", true);
        disk.write(0, &[9; SECTOR]).unwrap();
        let error = disk.write(SECTOR as u64, &[9; SECTOR]).unwrap_err().to_string();
        assert!(error.contains("no room") && error.contains("emu disk convert"), "{error}");
        let firsts: Vec<u8> = contents(&mut disk).chunks(SECTOR).map(|s| s[511]).collect();
        assert_eq!(firsts, [9, 0x20, 0x30, 0x11, 0, 0x31]);
    }
}
