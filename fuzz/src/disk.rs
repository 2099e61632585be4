//! Disk images as fuzz targets: seeds of every kind that emu makes, and changes to them that get past checksums.

use std::path::Path;

use emu_machine::image::ops::{self, Conversion, NewImage, SnapshotAction};
use emu_machine::image::{Disk, ImageError, Kind, Options};

use crate::Random;

/// A disk image of this format: opened, read, checked, repaired, written.
pub fn disk_image(kind: Kind, data: &[u8]) {
    emu_machine::image::exercise(data, Some(kind));
}

/// [`disk_image`] without a fuzzer: see [`crate::changing`].
///
/// # Errors
/// The host's, of files.
///
/// # Panics
/// As the code under test does; the input is left in `crash-N`.
pub fn disk_image_without_fuzzer(kind: Kind) -> std::io::Result<()> {
    let change = |data: &mut Vec<u8>, random: &mut Random| {
        damage(data, random);
        if random.next() % 2 == 0 {
            mend(kind, data);
        }
    };
    crate::changing(kind.name(), || seeds(kind), change, |data| disk_image(kind, data))
}

/// Values that sizes, counts and offsets take to be absurd, or nearly right.
const VALUES: [u64; 14] =
    [0, 1, 2, 7, 9, 16, 21, 512, 4096, 65536, u32::MAX as u64, 1 << 31, i64::MAX as u64, u64::MAX];

/// A few changes, most of them near the beginning, where headers and tables are.
pub(crate) fn damage(data: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.next() % 6 {
        let len = data.len();
        let range = [len, len.min(4096), len.min(512), len.min(300 << 10)][random.next() as usize % 4];
        let at = random.next() as usize % range.max(1);
        match random.next() % 8 {
            0 => data[at] ^= 1 << (random.next() % 8),
            1 | 2 => data[at] = random.next() as u8,
            3 | 4 => {
                let width = [1, 2, 4, 8][random.next() as usize % 4];
                let value = VALUES[random.next() as usize % VALUES.len()];
                let bytes = if random.next() % 2 == 0 {
                    value.to_le_bytes()
                } else {
                    value.rotate_right(width as u32 * 8).to_be_bytes()
                };
                let at = at / width * width;
                let n = width.min(len - at);
                data[at..at + n].copy_from_slice(&bytes[..n]);
            }
            5 => {
                // One structure's bytes in the place of another: loops and overlaps.
                let n = [4, 8, 16, 512][random.next() as usize % 4].min(len - at);
                let from = random.next() as usize % (len - n + 1);
                data.copy_within(from..from + n, at);
            }
            6 => data[at..(at + 8).min(len)].fill(if random.next() % 2 == 0 { 0 } else { 0xFF }),
            _ if random.next() % 4 == 0 => data.truncate(random.next() as usize % len + 1),
            _ => {}
        }
    }
}

/// Puts checksums right, so that what is behind them is reached.
fn mend(kind: Kind, data: &mut [u8]) {
    let len = data.len();
    match kind {
        Kind::Vhd => {
            for (at, n, sum_at) in [(0, 512, 64), (512, 1024, 36), (len.saturating_sub(512), 512, 64)] {
                let Some(part) = data.get_mut(at..at + n) else { continue };
                if matches!(&part[..8], b"conectix" | b"cxsparse") {
                    part[sum_at..sum_at + 4].fill(0);
                    let sum = !part.iter().fold(0u32, |n, b| n.wrapping_add(u32::from(*b)));
                    part[sum_at..sum_at + 4].copy_from_slice(&sum.to_be_bytes());
                }
            }
        }
        Kind::Vhdx => {
            for (at, n) in [(64 << 10, 4096), (128 << 10, 4096), (192 << 10, 64 << 10), (256 << 10, 64 << 10)] {
                let Some(part) = data.get_mut(at..at + n) else { continue };
                part[4..8].fill(0);
                let sum = crc32c::crc32c(part);
                part[4..8].copy_from_slice(&sum.to_le_bytes());
            }
        }
        _ => {}
    }
}

/// Options of new images that differ in their structures, and whether all blocks are compressed.
fn kinds_of(kind: Kind) -> &'static [(&'static str, bool)] {
    match kind {
        Kind::Qcow2 => &[
            ("cluster_size=512", false),
            ("cluster_size=4K,refcount_bits=1", false),
            ("cluster_size=4K,compat=0.10", false),
            ("cluster_size=16K,extended_l2=on", false),
            ("cluster_size=4K", true),
            ("cluster_size=4K,compression_type=zstd", true),
            ("cluster_size=4K,data_file=data", false),
        ],
        Kind::Vmdk => &[
            ("subformat=monolithicSparse", false),
            ("subformat=monolithicSparse,zeroed_grain=on", false),
            ("subformat=streamOptimized", true),
        ],
        Kind::Vhd => &[("block_size=4K", false), ("block_size=64K", false), ("subformat=fixed", false)],
        Kind::Vhdx => &[("block_size=1M", false), ("block_size=1M,logical_sector_size=4096", false)],
        Kind::Vdi => &[("block_size=4K", false), ("static=on,block_size=64K", false)],
        _ => &[],
    }
}

/// Good images of a format: of all subformats, with a parent, with snapshots.
///
/// # Errors
/// The host's, of temporary files.
pub fn seeds(kind: Kind) -> std::io::Result<Vec<Vec<u8>>> {
    match kind {
        Kind::Imd => return Ok(vec![diskette()]),
        Kind::Cue => return Ok(vec![sheet().into(), raw_sectors()]),
        _ => {}
    }
    let folder = std::env::temp_dir().join(format!("emu-fuzz-{}-{kind}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let made = make_seeds(kind, &folder).map_err(std::io::Error::other);
    let seeds: std::io::Result<Vec<Vec<u8>>> =
        made.and_then(|names| names.iter().map(|n| std::fs::read(folder.join(n))).collect());
    std::fs::remove_dir_all(&folder)?;
    let mut seeds = seeds?;
    if kind == Kind::Vmdk {
        // Once found: a directory that ends far behind the file.
        let mut delta = seeds[seeds.len() - 1].clone();
        delta[24..28].copy_from_slice(&0x0909_0909_u32.to_le_bytes());
        seeds.push(delta);
    }
    Ok(seeds)
}

fn make_seeds(kind: Kind, folder: &Path) -> Result<Vec<String>, ImageError> {
    let size = if kind == Kind::Vhdx { 2 << 20 } else { 192 << 10 };
    let write = Options { write: true, ..Options::default() };
    let raw = folder.join("source");
    ops::create(&raw, &NewImage::new(Kind::Raw, size))?;
    Disk::open(&raw, &Options { format: Some(Kind::Raw), ..write.clone() })?.write(8192, &[7; 20_000])?;
    let mut names = Vec::new();
    for (i, (options, compress)) in kinds_of(kind).iter().enumerate() {
        let name = format!("{i}");
        let pairs = options.split(',').filter_map(|o| o.split_once('='));
        let new = pairs.fold(NewImage::new(kind, size), |new, (k, v)| new.with(k, v));
        ops::create(&folder.join(&name), &new)?;
        let mut source = Disk::open(&raw, &Options { format: Some(Kind::Raw), ..Options::default() })?;
        let mut target = Disk::open(&folder.join(&name), &write)?;
        let how = Conversion { compress: *compress, ..Conversion::default() };
        ops::convert(&mut source, &mut target, how, &mut |_, _| Ok(()))?;
        if kind == Kind::Qcow2 && i < 5 && !options.contains("refcount_bits=1") {
            ops::snapshot(&mut target, &SnapshotAction::Take("one".into(), 1))?;
            target.write(0, &[3; 9000])?;
        }
        names.push(name);
    }
    if kind != Kind::Vdi {
        std::fs::copy(folder.join("0"), folder.join("parent")).map_err(|e| ImageError::Spec(e.to_string()))?;
        let options = kinds_of(kind)[0].0.split(',').filter_map(|o| o.split_once('='));
        let mut new = options.fold(NewImage::new(kind, size), |new, (k, v)| new.with(k, v));
        new.parent = Some(("parent".into(), Some(kind)));
        ops::create(&folder.join("child"), &new)?;
        let mut child = Disk::open(&folder.join("child"), &write)?;
        child.write(4096, &[9; 5000])?;
        child.write_zeros(64 << 10, 8192)?;
        names.push("child".into());
    }
    if kind == Kind::Vmdk {
        // The descriptor of an ESX disk with its delta, and the delta.
        ops::create(&folder.join("esx"), &NewImage::new(kind, size).with("subformat", "vmfsSparse"))?;
        Disk::open(&folder.join("esx"), &write)?.write(4096, &[9; 5000])?;
        names.extend(["esx".into(), "esx-delta".into()]);
    }
    Ok(names)
}

/// Two cylinders of three sectors, of several kinds.
fn diskette() -> Vec<u8> {
    let mut bytes = b"IMD 1.18: 01/01/2020 00:00:00\r\na seed\x1A".to_vec();
    for cylinder in 0..2u8 {
        bytes.extend_from_slice(&[5, cylinder, 0, 3, 2, 1, 3, 2, 1]);
        bytes.extend_from_slice(&[0x10 + cylinder; 512]);
        bytes.extend_from_slice(&[2, 0x30 + cylinder, 0]);
    }
    bytes
}

fn sheet() -> &'static str {
    "REM x\r\nFILE \"data\" BINARY\r\n  TRACK 01 MODE1/2048\r\n    INDEX 01 00:00:00\r\nTRACK 02 AUDIO\r\n    INDEX 00 00:00:04\r\n"
}

fn raw_sectors() -> Vec<u8> {
    let sector = |i: u8| {
        let mut s = [0xFF; 12].to_vec();
        (s[0], s[11]) = (0, 0);
        s.extend_from_slice(&[0, 2, i, 1]);
        s.resize(2352, i);
        s
    };
    (0..3).flat_map(sector).collect()
}
