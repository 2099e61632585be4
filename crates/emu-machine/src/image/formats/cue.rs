//! CDs as raw sectors: a `.bin` of 2352 bytes per sector, alone or with its cue sheet [ECMA-130 14, CDRWIN].
//!
//! The disk is the first data track, as sectors of 2048 bytes. New images have such a track alone, as MODE1/2048, which is
//! written like a raw file. Left out: audio, subchannels, and writing raw sectors: each carries an error correction of its
//! data, and a CD drive never writes.

use std::path::Path;

use super::super::ImageError;
use super::super::files::{Files, Maker};
use super::super::format::{Extent, Findings, Fix, Format, Kind, Result, Target, Where};
use super::super::store::Store;

/// Bytes of data in a sector.
const DATA: u64 = 2048;
/// The pattern that begins a raw sector.
const SYNC: [u8; 12] = [0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0];
/// The longest sheet.
const LONGEST: u64 = 64 << 10;

/// An open image.
pub(crate) struct Cue {
    sheet: Box<dyn Store>,
    /// The sectors' file, if it is not the sheet itself.
    bin: Option<Box<dyn Store>>,
    track: Track,
}

/// The data track in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    /// Where it begins, in bytes.
    start: u64,
    /// Bytes per sector, and where the data are in one.
    sector: u64,
    skip: u64,
    sectors: u64,
}

/// Bytes per sector and where the data are, by the sheet's name for the track.
fn layout(mode: &str) -> Option<(u64, u64)> {
    Some(match mode {
        "MODE1/2048" => (2048, 0),
        "MODE1/2352" => (2352, 16),
        "MODE2/2336" => (2336, 8),
        "MODE2/2352" => (2352, 24),
        _ => return None,
    })
}

/// What the sheet says of its first data track.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sheet {
    file: String,
    mode: String,
    /// Its first sector in the file, and the next track's in the same file.
    start: Option<u64>,
    end: Option<u64>,
}

fn parse(text: &str) -> core::result::Result<Sheet, String> {
    let mut sheet = Sheet::default();
    let mut file = String::new();
    for (number, line) in text.trim_start_matches('\u{FEFF}').lines().enumerate() {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let bad = |why: &str| format!("line {}: {why}", number + 1);
        match word.to_ascii_uppercase().as_str() {
            "FILE" => {
                if sheet.start.is_some() {
                    break; // the track ends with its file
                }
                let name = rest.trim();
                let quoted = name.strip_prefix('"').and_then(|r| r.split_once('"'));
                let plain = || name.rsplit_once(char::is_whitespace).map_or(name, |n| n.0);
                file = quoted.map_or_else(plain, |q| q.0).to_owned();
                let kind = rest.trim().rsplit(char::is_whitespace).next().unwrap_or_default();
                if !kind.eq_ignore_ascii_case("BINARY") {
                    file.clear(); // audio in a format of its own
                }
            }
            "TRACK" if sheet.mode.is_empty() => {
                let mode = rest.split_whitespace().nth(1).unwrap_or_default().to_ascii_uppercase();
                if layout(&mode).is_some() {
                    (sheet.mode, sheet.file) = (mode, file.clone());
                }
            }
            "INDEX" if !sheet.mode.is_empty() => {
                let mut words = rest.split_whitespace();
                let index: u32 =
                    words.next().and_then(|w| w.parse().ok()).ok_or_else(|| bad("an index that is none"))?;
                let at = words.next().and_then(frames).ok_or_else(|| bad("a time that is not MM:SS:FF"))?;
                match sheet.start {
                    None if index == 1 => sheet.start = Some(at),
                    None => {}
                    Some(_) if sheet.end.is_none() && index <= 1 => sheet.end = Some(at),
                    Some(_) => {}
                }
            }
            _ => {}
        }
    }
    match (sheet.file.is_empty(), sheet.start) {
        (false, Some(_)) => Ok(sheet),
        _ => Err("it has no data track in a binary file".into()),
    }
}

/// `MM:SS:FF` in sectors.
fn frames(text: &str) -> Option<u64> {
    let mut parts = text.split(':').map(|p| p.parse::<u64>().ok().filter(|n| *n < 1000));
    let (m, s, f) = (parts.next()??, parts.next()??, parts.next()??);
    (s < 60 && f < 75 && parts.next().is_none()).then_some((m * 60 + s) * 75 + f)
}

impl Cue {
    pub(crate) fn open(store: Box<dyn Store>, files: &mut Files, write: bool) -> Result<Cue> {
        let head: [u8; 16] = store.read_array(0)?;
        if head[..12] == SYNC {
            let skip = match head[15] {
                1 => 16,
                2 => 24,
                mode => return Err(store.bad(Kind::Cue, "sector header", 15, format!("mode {mode} is not 1 or 2"))),
            };
            if !store.len().is_multiple_of(2352) {
                let (at, why) = (store.len() / 2352 * 2352, "it has no 2352 bytes: is the file truncated?");
                return Err(store.bad(Kind::Cue, "last sector", at, why));
            }
            let track = Track { start: 0, sector: 2352, skip, sectors: store.len() / 2352 };
            return Cue { sheet: store, bin: None, track }.judged();
        }
        if store.len() > LONGEST {
            return Err(store.bad(Kind::Cue, "cue sheet", 0, "it is neither a sheet nor raw sectors"));
        }
        let text = String::from_utf8_lossy(&store.read_vec(0, store.len() as usize)?).into_owned();
        let sheet = parse(&text).map_err(|why| store.bad(Kind::Cue, "cue sheet", 0, why))?;
        let bin = files.named(store.path(), &sheet.file, write)?;
        let (sector, skip) = layout(&sheet.mode).expect("the parser knows it");
        let (first, in_file) = (sheet.start.expect("the parser has it"), bin.len() / sector);
        let end = sheet.end.unwrap_or(in_file);
        if sheet.end.is_none() && !bin.len().is_multiple_of(sector) {
            let why = format!("it has {} bytes, no whole number of sectors of {sector}: is it truncated?", bin.len());
            return Err(bin.bad(Kind::Cue, "last sector", in_file * sector, why));
        }
        if first >= end || end > in_file {
            let why =
                format!("its data track goes from sector {first} to {end}, its file has {in_file}: is it truncated?");
            return Err(store.bad(Kind::Cue, "cue sheet", 0, why));
        }
        let track = Track { start: first * sector, sector, skip, sectors: end - first };
        Cue { sheet: store, bin: Some(bin), track }.judged()
    }

    fn judged(self) -> Result<Cue> {
        if self.track.sectors == 0 {
            return Err(self.sheet.bad(Kind::Cue, "track", 0, "it has no sectors"));
        }
        Ok(self)
    }
}

impl Format for Cue {
    fn kind(&self) -> Kind {
        Kind::Cue
    }
    fn size(&self) -> u64 {
        self.track.sectors * DATA
    }
    fn store(&self, file: usize) -> &dyn Store {
        match &self.bin {
            Some(bin) if file == 1 => &**bin,
            _ => &*self.sheet,
        }
    }
    fn stores(&self) -> usize {
        1 + usize::from(self.bin.is_some())
    }
    fn lookup(&mut self, offset: u64, len: u64) -> Result<Extent> {
        let (t, within) = (self.track, offset % DATA);
        let pos = t.start + offset / DATA * t.sector + t.skip + within;
        let left = if t.sector == DATA { len } else { (DATA - within).min(len) };
        Ok(Extent { len: left, place: Where::Data { file: usize::from(self.bin.is_some()), pos } })
    }
    fn target(&mut self, offset: u64, len: u64) -> Result<Target> {
        if self.track.sector != DATA || self.bin.is_none() {
            let why = "raw CD sectors carry an error correction of their data, so they are not written: \
                       make a copy with emu disk convert -O cue or -O raw";
            return Err(self.sheet.no_way(why));
        }
        Ok(Target { file: 1, pos: self.track.start + offset, from: offset, to: offset + len, zeroed: false })
    }
    fn flush(&mut self) -> Result<()> {
        self.store(1).flush()
    }
    fn facts(&self) -> Vec<(&'static str, String)> {
        vec![("sector size", self.track.sector.to_string()), ("sectors", self.track.sectors.to_string())]
    }
    fn can_check(&self) -> bool {
        false
    }
    fn check(&mut self, _: Fix) -> Result<Findings> {
        Ok(Findings::default())
    }
}

/// Makes a sheet, and beside it a `.bin` with one data track of `size` bytes.
pub(crate) fn create(path: &Path, size: u64, maker: &mut Maker) -> Result<()> {
    let no_way = |why: &str| ImageError::NoWay { path: path.to_owned(), why: why.to_owned().into() };
    if size == 0 || !size.is_multiple_of(DATA) || size / DATA > 450_000 {
        return Err(no_way("a CD has whole sectors of 2048 bytes, and at most 99 minutes of them"));
    }
    let bin = path.with_extension("bin");
    let name = bin.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if bin == path || name.contains('"') {
        return Err(no_way("a cue sheet is named like x.cue, beside x.bin"));
    }
    maker.make(&bin)?.resize(size)?;
    let text = format!("FILE \"{name}\" BINARY\r\n  TRACK 01 MODE1/2048\r\n    INDEX 01 00:00:00\r\n");
    let sheet = maker.make(path)?;
    sheet.write(0, text.as_bytes())?;
    sheet.flush()
}

#[cfg(test)]
mod tests {
    use super::super::super::memory::Memory;
    use super::super::super::model::{Shelf, contents, survives_damage};
    use super::*;

    fn raw_sectors(n: u8, mode: u8, skip: usize) -> Vec<u8> {
        let sector = |i: u8| {
            let mut s = SYNC.to_vec();
            s.extend_from_slice(&[0, 2, i, mode]);
            s.resize(skip, 0);
            s.resize(skip + 2048, i + 1);
            s.resize(2352, 0xEE);
            s
        };
        (0..n).flat_map(sector).collect()
    }

    #[test]
    fn the_data_track_is_the_disk() {
        let sheet = "REM x\r\nFILE \"a b.bin\" BINARY\r\n  TRACK 01 MODE1/2352\r\n    INDEX 01 00:00:01\r\n\
                     TRACK 02 AUDIO\r\n    INDEX 00 00:00:04\r\n    INDEX 01 00:00:05\r\n";
        let files = vec![Memory::new("a.cue", sheet.into()), Memory::new("a b.bin", raw_sectors(6, 1, 16))];
        let shelf = Shelf(files);
        let all = contents(&mut shelf.open("a.cue", false));
        assert_eq!(all.chunks(2048).map(|s| (s[0], s[2047])).collect::<Vec<_>>(), [(2, 2), (3, 3), (4, 4)]);
        survives_damage(&shelf, "a.cue", "a.cue", 200);
    }

    #[test]
    fn raw_sectors_need_no_sheet() {
        for (mode, skip) in [(1, 16), (2, 24)] {
            let shelf = Shelf(vec![Memory::new("a.bin", raw_sectors(3, mode, skip))]);
            let all = contents(&mut shelf.open("a.bin", false));
            assert_eq!(all.chunks(2048).map(|s| s[0]).collect::<Vec<_>>(), [1, 2, 3]);
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |text: &str| parse(text).unwrap_err();
        assert!(error("FILE \"a\" BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00").contains("no data track"));
        assert!(error("FILE \"a\" BINARY\nTRACK 01 MODE1/2048\nINDEX 01 0:61:00").starts_with("line 3"));
        let sheet = "FILE \"a.bin\" BINARY\nTRACK 01 MODE1/2352\nINDEX 01 00:01:00\n";
        let shelf = Shelf(vec![Memory::new("a.cue", sheet.into()), Memory::new("a.bin", raw_sectors(3, 1, 16))]);
        assert!(shelf.try_open("a.cue", false).unwrap_err().to_string().contains("truncated"));
        let shelf = Shelf(vec![Memory::new("a.cue", sheet.into())]);
        assert!(shelf.try_open("a.cue", false).unwrap_err().to_string().starts_with("a.bin: "));
    }

    #[test]
    fn new_images_are_written_like_raw_files() {
        use super::super::super::model::writes_read_back;
        use super::super::super::ops::NewImage;
        let mut shelf = Shelf::default();
        shelf.make("a.cue", &NewImage::new(Kind::Cue, 40 * 2048), None);
        writes_read_back(&shelf, "a.cue", 30);
        let shelf = Shelf(vec![Memory::new("a.bin", raw_sectors(3, 1, 16))]);
        let error = shelf.open("a.bin", true).write(0, &[1; 2048]).unwrap_err().to_string();
        assert!(error.contains("error correction"), "{error}");
    }
}
