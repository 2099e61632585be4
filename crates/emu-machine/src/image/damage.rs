//! Using an image of which nothing is known: for fuzzing.

use std::path::Path;

use super::disk::{Disk, Options};
use super::files::Files;
use super::format::{Fix, Kind};
use super::memory::Memory;

/// Opens bytes as an image, reads, checks, repairs and writes it, all in memory. Any error is fine; a panic, a hang or an
/// allocation without bound is not.
pub fn exercise(bytes: &[u8], kind: Option<Kind>) {
    // The names of parents and extents in seeds of the fuzz targets lead here too.
    let files = ["image.001", "parent", "data"].map(|name| Memory::new(name, bytes.to_vec()));
    use_files(&files, "image.001", kind);
}

pub(crate) fn use_files(files: &[Memory], name: &str, format: Option<Kind>) {
    let open = |write: bool, alone: bool| {
        let options = Options { write, alone, format, repair: write && alone, ..Options::default() };
        Disk::open_with(Path::new(name), &options, &mut Files::shelf(files.iter().cloned()))
    };
    let Ok(mut disk) = open(false, false).or_else(|_| open(false, true)) else { return };
    let mut buf = vec![0; 64 << 10];
    for i in 0..8 {
        let _ = disk.read(disk.size() / 8 * i, &mut buf);
    }
    let _ = disk.check(Fix::Nothing);
    let _ = super::ops::info(&mut disk);
    drop(disk);
    if let Ok(mut disk) = open(true, true) {
        let _ = disk.check(Fix::All);
        let _ = disk.write(0, &buf[..4096.min(disk.size() as usize)]);
        let _ = disk.write(disk.size() / 1024 * 512, &[1; 512]);
        let _ = disk.write_zeros(0, 4096.min(disk.size()));
        let _ = disk.flush();
    }
}
