//! ImageDisk's diskettes: tracks with their sectors' numbers, read into memory [IMD 6].
//!
//! The disk is all sectors in the order of cylinder, head and number. Left out: tracks whose sectors are not of 512 bytes
//! or not as many as elsewhere, which no PC drive of ours could show; and writing, as the format must be written as a
//! whole.

use super::super::format::{Extent, Findings, Fix, Format, Kind, Result, Where};
use super::super::memory::Memory;
use super::super::store::Store;

/// The longest file: more than any diskette gives.
const LONGEST: u64 = 16 << 20;
const SECTOR: usize = 512;

/// An open image.
pub(crate) struct Imd {
    file: Box<dyn Store>,
    sectors: Memory,
    comment: String,
    /// Cylinders, heads, sectors per track.
    geometry: (usize, usize, usize),
    unreadable: u64,
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

/// A sector: cylinder, head, number, contents; `None` if it could not be read from the diskette.
type Sector = ((u8, u8, u8), Option<Vec<u8>>);

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
        let contents = match kind {
            0 => None,
            1 | 3 | 5 | 7 => Some(r.take(SECTOR)?.to_vec()),
            2 | 4 | 6 | 8 => Some(vec![r.take(1)?[0]; SECTOR]),
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
        let (geometry, raw, unreadable) =
            lay_out(sectors).map_err(|why| file.bad(Kind::Imd, "tracks", end as u64 + 1, why))?;
        let sectors = Memory::new(file.path(), raw);
        Ok(Imd { file, sectors, comment, geometry, unreadable })
    }
}

type Disk = ((usize, usize, usize), Vec<u8>, u64);

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
    let unreadable = sectors.iter().filter(|s| s.1.is_none()).count() as u64;
    let raw = sectors.into_iter().flat_map(|s| s.1.unwrap_or_else(|| vec![0; SECTOR])).collect();
    Ok((geometry, raw, unreadable))
}

impl Format for Imd {
    fn kind(&self) -> Kind {
        Kind::Imd
    }
    fn size(&self) -> u64 {
        self.sectors.len()
    }
    fn store(&self, file: usize) -> &dyn Store {
        if file == 0 { &*self.file } else { &self.sectors }
    }
    fn lookup(&mut self, offset: u64, len: u64) -> Result<Extent> {
        Ok(Extent { len, place: Where::Data { file: 1, pos: offset } })
    }
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
    fn facts(&self) -> Vec<(&'static str, String)> {
        let (c, h, s) = self.geometry;
        vec![
            ("comment", self.comment.escape_debug().to_string()),
            ("geometry", format!("{c} cylinders, {h} heads, {s} sectors")),
            ("unreadable sectors", self.unreadable.to_string()),
        ]
    }
    fn can_check(&self) -> bool {
        false
    }
    fn check(&mut self, _: Fix) -> Result<Findings> {
        Ok(Findings::default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::model::{Shelf, contents, survives_damage};
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
}
