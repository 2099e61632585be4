//! Tests that every format has to pass: it reads back what was written, its tables stay sound, and a crash at any moment
//! leaves an image with every flushed byte.

use std::path::Path;

use super::disk::{Disk, Options};
use super::files::{Files, Maker};
use super::format::{Fix, Kind, NewParent};
use super::memory::{Memory, Step};
use super::ops::{NewImage, create_with};

/// xorshift64*.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// A family of images in memory.
#[derive(Default)]
pub(crate) struct Shelf(pub(crate) Vec<Memory>);

impl Shelf {
    /// Makes an image.
    pub(crate) fn make(&mut self, name: &str, new: &NewImage, parent: Option<&str>) {
        let mut maker = Maker::on_shelf();
        let parent = parent.map(|name| {
            let disk = self.open(name, false);
            NewParent {
                name: name.into(),
                absolute: name.into(),
                kind: disk.kind(),
                identity: disk.layers()[0].identity(),
                size: disk.size(),
            }
        });
        create_with(Path::new(name), new, parent, &mut maker).unwrap();
        self.0.extend(maker.shelf());
    }

    pub(crate) fn try_open(&self, name: &str, write: bool) -> super::format::Result<Disk> {
        let options = Options { write, ..Options::default() };
        Disk::open_with(Path::new(name), &options, &mut Files::shelf(self.0.iter().cloned()))
    }

    pub(crate) fn open(&self, name: &str, write: bool) -> Disk {
        self.try_open(name, write).unwrap_or_else(|e| panic!("{e}"))
    }

    fn named(&self, name: &str) -> &Memory {
        use super::store::Store;
        self.0.iter().find(|m| m.path() == Path::new(name)).unwrap()
    }
}

pub(crate) fn contents(disk: &mut Disk) -> Vec<u8> {
    let mut all = vec![0xEE; disk.size() as usize];
    disk.read(0, &mut all).unwrap();
    all
}

fn assert_clean(disk: &mut Disk) {
    if let Some(found) = disk.check(Fix::Nothing).unwrap() {
        assert_eq!((found.errors, found.leaks), (vec![], 0));
    }
}

/// A write of whole sectors, as drives do.
fn a_write(r: &mut Random, size: u64, longest: u64) -> (u64, Vec<u8>) {
    let sectors = size / 512;
    let n = (1 + r.below(longest / 512)).min(sectors);
    let at = r.below(sectors - n + 1);
    let mut bytes = vec![0; (n * 512) as usize];
    if r.below(8) > 0 {
        bytes.iter_mut().for_each(|b| *b = r.next() as u8);
    }
    (at * 512, bytes)
}

/// Random writes, zeros, flushes and re-openings against plain bytes.
pub(crate) fn behaves_like_bytes(new: &NewImage, rounds: u64) {
    let mut shelf = Shelf::default();
    shelf.make("a.001", new, None);
    writes_read_back(&shelf, "a.001", rounds);
}

/// [`behaves_like_bytes`] of an image that is there.
pub(crate) fn writes_read_back(shelf: &Shelf, name: &str, rounds: u64) {
    let mut r = Random(0x1234_5678 + rounds);
    let mut disk = shelf.open(name, true);
    let size = disk.size();
    let mut model = contents(&mut disk);
    for round in 0..rounds {
        let (at, bytes) = a_write(&mut r, size, 300 << 10);
        match r.below(10) {
            0 => disk.flush().unwrap(),
            1 => {
                drop(disk);
                disk = shelf.open(name, true);
            }
            2 | 3 => {
                let len = bytes.len() as u64;
                disk.write_zeros(at, len).unwrap();
                model[at as usize..(at + len) as usize].fill(0);
            }
            _ => {
                disk.write(at, &bytes).unwrap();
                model[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
            }
        }
        let (at, bytes) = a_write(&mut r, size, 300 << 10);
        let mut got = vec![0xEE; bytes.len()];
        disk.read(at, &mut got).unwrap();
        assert!(got == model[at as usize..at as usize + got.len()], "round {round} at {at:#x}");
    }
    disk.flush().unwrap();
    assert!(contents(&mut disk) == model);
    assert_clean(&mut disk);
    drop(disk);
    let mut disk = shelf.open(name, false);
    assert!(contents(&mut disk) == model);
    assert_clean(&mut disk);
}

/// Crashes: any writes since the last barrier may or may not have reached the disk. The image must open, its tables must
/// be sound but for leaks, and each sector must hold what was flushed last or something written since.
pub(crate) fn survives_crashes(new: &NewImage, crashes: u64) {
    let mut shelf = Shelf::default();
    shelf.make("a.001", new, None);
    let name = "a.001";
    let start = shelf.named(name).bytes();
    shelf.named(name).record();
    let mut r = Random(0xC0FF_EE00 + crashes);
    // The guest's life: which writes, and at which step each flush was done.
    let mut disk = shelf.open(name, true);
    let size = disk.size();
    let mut life: Vec<(usize, u64, Vec<u8>)> = Vec::new();
    let mut flushes: Vec<(usize, usize)> = vec![(0, 0)];
    for _ in 0..60 {
        if r.below(4) == 0 {
            disk.flush().unwrap();
            flushes.push((shelf.named(name).steps().len(), life.len()));
        }
        let (at, bytes) = a_write(&mut r, size, 100 << 10);
        life.push((shelf.named(name).steps().len(), at, bytes.clone()));
        disk.write(at, &bytes).unwrap();
    }
    disk.flush().unwrap();
    drop(disk);
    let steps = shelf.named(name).steps();
    for _ in 0..crashes {
        let crash = r.below(steps.len() as u64 + 1) as usize;
        let left = what_is_left(&start, &steps[..crash], &mut r);
        let after = Shelf(vec![Memory::new(name, left)]);
        judge_crash(&after, name, crash, size, &life, &flushes);
    }
}

/// The bytes after a crash: all up to the last barrier, and some of what came after.
fn what_is_left(start: &[u8], steps: &[Step], r: &mut Random) -> Vec<u8> {
    let barrier = steps.iter().rposition(|s| matches!(s, Step::Sync)).map_or(0, |i| i + 1);
    let mut bytes = start.to_vec();
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Write(at, data) if i < barrier || r.below(2) == 0 => {
                let end = *at as usize + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at as usize..end].copy_from_slice(data);
            }
            Step::SetLen(len) => bytes.resize(*len as usize, 0),
            _ => {}
        }
    }
    bytes
}

fn judge_crash(
    shelf: &Shelf,
    name: &str,
    crash: usize,
    size: u64,
    life: &[(usize, u64, Vec<u8>)],
    flushes: &[(usize, usize)],
) {
    let mut disk = shelf.open(name, false);
    if let Some(found) = disk.check(Fix::Nothing).unwrap() {
        assert_eq!(found.errors, Vec::<String>::new(), "crash at step {crash}");
    }
    let flushed = flushes.iter().rfind(|(step, _)| *step <= crash).unwrap().1;
    let mut sure = vec![0; size as usize];
    for (_, at, bytes) in &life[..flushed] {
        sure[*at as usize..*at as usize + bytes.len()].copy_from_slice(bytes);
    }
    let got = contents(&mut disk);
    let later: Vec<_> = life[flushed..].iter().filter(|(step, ..)| *step <= crash).collect();
    for sector in (0..size as usize).step_by(512) {
        let range = sector..sector + 512;
        let may_be = |(_, at, bytes): &&(usize, u64, Vec<u8>)| {
            let start = sector.wrapping_sub(*at as usize);
            bytes.get(start..start.wrapping_add(512)).is_some_and(|b| *b == got[range.clone()])
        };
        let ok = got[range.clone()] == sure[range.clone()] || later.iter().any(may_be);
        assert!(ok, "crash at step {crash}: sector at {sector:#x} is neither old nor new");
    }
    drop(disk);
    // It can be written, repaired, and is clean then.
    let mut disk = shelf.open(name, true);
    disk.write(0, &[0x5A; 512]).unwrap();
    disk.check(Fix::All).unwrap();
    assert_clean(&mut disk);
    let mut first = [0; 512];
    disk.read(0, &mut first).unwrap();
    assert_eq!(first, [0x5A; 512]);
}

/// Damage anywhere: an error or any contents, but no panic, no hang, no allocation without bound. A check neither, nor a
/// repair; and what a repair leaves is clean.
pub(crate) fn survives_damage(shelf: &Shelf, name: &str, file: &str, rounds: u64) {
    let good = shelf.named(file).bytes();
    let mut r = Random(0xDA_4A6E + rounds);
    for _ in 0..rounds {
        let mut bytes = good.clone();
        let head = bytes.len().min(4096) as u64;
        for _ in 0..1 + r.below(4) {
            let range = if r.below(2) == 0 { head } else { bytes.len() as u64 };
            let at = r.below(range) as usize;
            match r.below(4) {
                0 => bytes[at] ^= 1 << r.below(8),
                1 => bytes[at] = r.next() as u8,
                2 => bytes[at..(at + 8).min(good.len())].fill(if r.below(2) == 0 { 0xFF } else { 0 }),
                _ => bytes[at..(at + 2).min(good.len())].fill(0x7F),
            }
        }
        if r.below(4) == 0 {
            bytes.truncate(r.below(bytes.len() as u64) as usize + 1);
        }
        let files = shelf.0.iter().map(|m| {
            use super::store::Store;
            if m.path() == Path::new(file) {
                Memory::new(file, bytes.clone())
            } else {
                Memory::new(m.path(), m.bytes())
            }
        });
        super::damage::use_files(&files.collect::<Vec<_>>(), name, None);
    }
}

/// A file that ends too early, anywhere: one error that names file, structure and offset, or a check that finds it, or
/// all contents. What `slack` bytes before the end held may read as zeros, for formats whose last block may be short.
pub(crate) fn truncations_are_noticed(new: &NewImage, slack: u64) {
    let mut shelf = Shelf::default();
    shelf.make("a.001", new, None);
    let mut disk = shelf.open("a.001", true);
    let size = disk.size();
    let step = (size / 24).next_multiple_of(512);
    (0..size - step).step_by(step as usize * 2).for_each(|at| disk.write(at, &vec![0xA5; step as usize]).unwrap());
    disk.flush().unwrap();
    let whole = contents(&mut disk);
    drop(disk);
    let bytes = shelf.named("a.001").bytes();
    let is_clear = |e: &super::ImageError, cut: usize| {
        let text = e.to_string();
        let clear = text.contains(" at 0x") || text.contains("empty") || text.contains("truncated");
        assert!(text.starts_with("a.001") && clear && !text.contains('\n'), "cut at {cut}: {text}");
    };
    let cuts = (0..bytes.len()).step_by((bytes.len() / 400).max(256)).chain([bytes.len() - 1]);
    for cut in cuts.filter(|c| *c < bytes.len()) {
        let left = Shelf(vec![Memory::new("a.001", bytes[..cut].to_vec())]);
        let options = Options { format: Some(new.kind), ..Options::default() };
        let mut files = Files::shelf(left.0.iter().cloned());
        let mut disk = match Disk::open_with(Path::new("a.001"), &options, &mut files) {
            Ok(disk) => disk,
            Err(e) => {
                is_clear(&e, cut);
                continue;
            }
        };
        match disk.check(Fix::Nothing) {
            Ok(Some(found)) if found.error_count > 0 => continue,
            Ok(_) => {}
            Err(e) => {
                is_clear(&e, cut);
                continue;
            }
        }
        let mut got = vec![0; size as usize];
        if let Err(e) = disk.read(0, &mut got) {
            is_clear(&e, cut);
            continue;
        }
        let lost = got.iter().zip(&whole).filter(|(a, b)| a != b).count() as u64;
        assert!(
            lost == 0 || lost <= slack,
            "cut at {cut} of {}: {lost} bytes are gone, and nobody says so",
            bytes.len()
        );
    }
}

/// A disk that becomes so large that its tables must: what it held stays, and the new end can be written and read.
pub(crate) fn grows(new: &NewImage, size: u64) {
    let mut shelf = Shelf::default();
    shelf.make("a.001", new, None);
    writes_read_back(&shelf, "a.001", 10);
    let mut disk = shelf.open("a.001", true);
    let before = contents(&mut disk);
    disk.resize(size).unwrap();
    disk.write(size - 512, &[0x77; 512]).unwrap();
    disk.flush().unwrap();
    for mut disk in [disk, shelf.open("a.001", false), shelf.open("a.001", true)] {
        let mut got = vec![0; before.len() + 512];
        disk.read(0, &mut got).unwrap();
        assert!(got[..before.len()] == before && got[before.len()..] == [0; 512]);
        let mut last = [0; 1024];
        disk.read(size - 1024, &mut last).unwrap();
        assert!(last[..512] == [0; 512] && last[512..] == [0x77; 512]);
        assert_clean(&mut disk);
    }
}

/// A crash at any step while the disk grows: it has one of both sizes then, is sound but for leaks, and what it held is
/// there. It can be written and grow after all.
pub(crate) fn grows_or_stays(new: &NewImage, size: u64) {
    let name = "a.001";
    let mut shelf = Shelf::default();
    shelf.make(name, new, None);
    writes_read_back(&shelf, name, 10);
    let mut disk = shelf.open(name, true);
    let before = contents(&mut disk);
    disk.flush().unwrap();
    let start = shelf.named(name).bytes();
    shelf.named(name).record();
    disk.resize(size).unwrap();
    let steps = shelf.named(name).steps();
    drop(disk);
    let mut r = Random(0xAB1E_0000 + size);
    for crash in 0..=steps.len() {
        let left = Shelf(vec![Memory::new(name, what_is_left(&start, &steps[..crash], &mut r))]);
        let mut disk = left.open(name, false);
        assert!([before.len() as u64, size].contains(&disk.size()), "step {crash}: {} bytes", disk.size());
        let mut got = vec![0; before.len()];
        disk.read(0, &mut got).unwrap();
        assert!(got == before, "step {crash}: the contents are lost");
        if let Some(found) = disk.check(Fix::Nothing).unwrap() {
            assert_eq!(found.errors, Vec::<String>::new(), "step {crash}");
        }
        drop(disk);
        if crash % 4 == 0 {
            let mut disk = left.open(name, true);
            disk.write(512, &[0x5A; 512]).unwrap();
            disk.resize(size).unwrap();
            disk.flush().unwrap();
            drop(disk);
            let mut disk = left.open(name, false);
            disk.read(0, &mut got).unwrap();
            assert!(got[..512] == before[..512] && got[512..1024] == [0x5A; 512] && got[1024..] == before[1024..]);
        }
    }
}

/// A full disk: the error comes out, and what was flushed before is still there.
pub(crate) fn survives_a_full_disk(new: &NewImage) {
    for room in (0..40).step_by(3) {
        let mut shelf = Shelf::default();
        shelf.make("a.001", new, None);
        let mut disk = shelf.open("a.001", true);
        disk.write(0, &[7; 4096]).unwrap();
        disk.flush().unwrap();
        shelf.named("a.001").fill_up_after(room);
        let mut failed = false;
        for i in 1..20 {
            failed |= disk.write(i * 100 << 10, &[8; 70_000]).is_err() || disk.flush().is_err();
        }
        if !failed {
            break; // there was room for everything
        }
        std::mem::forget(disk);
        let left = Shelf(shelf.0.iter().map(|m| Memory::new("a.001", m.bytes())).collect());
        let mut disk = left.open("a.001", false);
        if let Some(found) = disk.check(Fix::Nothing).unwrap() {
            assert_eq!(found.errors, Vec::<String>::new(), "{room} writes");
        }
        let mut buf = [0; 4096];
        disk.read(0, &mut buf).unwrap();
        assert_eq!(buf, [7; 4096], "{room} writes");
    }
}

/// All of these at once, for an image that can be anything.
pub(crate) fn everything(new: &NewImage) {
    behaves_like_bytes(new, 50);
    survives_crashes(new, 25);
    survives_a_full_disk(new);
    let mut shelf = Shelf::default();
    shelf.make("a.001", new, None);
    writes_read_back(&shelf, "a.001", 10);
    survives_damage(&shelf, "a.001", "a.001", 100);
}

/// A chain of `depth` images of this kind, each with random writes.
pub(crate) fn chains(kind: Kind, size: u64, options: &[(&str, &str)], depth: usize) {
    let mut shelf = Shelf::default();
    let mut new = NewImage::new(kind, size);
    new.options = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let name = |i: usize| format!("{i}.{kind}");
    for i in 0..depth {
        shelf.make(&name(i), &new, i.checked_sub(1).map(name).as_deref());
        writes_read_back(&shelf, &name(i), 10 + i as u64);
    }
}
