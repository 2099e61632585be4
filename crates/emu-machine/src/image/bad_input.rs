//! Images that are not as they should be, structure by structure: cut off within each, wrong in each byte of their headers
//! and tables, with parents that are missing, changed, or their own children. One clear line each time, nothing written,
//! and never a panic, more than half a gigabyte, or more than seconds.

use std::path::Path;

use super::ImageError;
use super::disk::{Disk, Options};
use super::files::Files;
use super::format::{Fix, Kind};
use super::memory::Memory;
use super::model::{Shelf, contents};
use super::ops::{self, Conversion, NewImage};
use super::store::Store;

/// Whether this is the process in which the test `name` of this file does its work: one with little memory and a limit of
/// CPU time, that it starts and waits for. Elsewhere than on Unix it is this one.
fn within_limits(name: &str) -> bool {
    if !cfg!(unix) || std::env::var_os("EMU_TEST_LIMITED").is_some() {
        return true;
    }
    let limits = "ulimit -v 524288 && ulimit -t 300 && exec \"$0\" \"$@\"";
    let program = std::env::current_exe().unwrap();
    let test = format!("image::bad_input::{name}");
    let mut bash = std::process::Command::new("bash");
    let ran = bash.args(["-c", limits]).arg(program).args(["--exact", &test, "--nocapture", "--test-threads=1"]);
    let ran = ran.env("EMU_TEST_LIMITED", "1").env("RUST_BACKTRACE", "0").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{}: {said}", ran.status);
    false
}

/// The longest that any one image may take; far more than it does.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// A checksum that is put right after a change, so that what is behind it is reached.
#[derive(Clone, Copy)]
enum Sum {
    None,
    /// VHD's, of so many bytes, standing there.
    Vhd(usize, usize),
    /// VHDX's, of so many bytes.
    Vhdx(usize),
}

/// A structure: its copies in the file, its bytes, its checksum.
struct Area {
    copies: Vec<u64>,
    len: u64,
    sum: Sum,
}

fn area(at: u64, len: u64) -> Area {
    Area { copies: vec![at], len, sum: Sum::None }
}

/// A family of images, the file in it that gets damaged, and the image that is opened.
struct Case {
    shelf: Shelf,
    file: &'static str,
    top: &'static str,
    areas: Vec<Area>,
    /// Bytes before the end that may read as zeros when they are gone: the last block may be short.
    slack: u64,
}

fn size_of(kind: Kind) -> u64 {
    if kind == Kind::Vhdx { 2 << 20 } else { 192 << 10 }
}

/// Stripes of data over the whole disk, or from `from` on.
fn fill(disk: &mut Disk, from: u64) {
    let step = (disk.size() / 24).next_multiple_of(512);
    for at in (from..disk.size() - step).step_by(step as usize * 2) {
        disk.write(at, &vec![0xA5; step as usize]).unwrap();
    }
    disk.flush().unwrap();
}

fn with(kind: Kind, options: &str) -> NewImage {
    let pairs = options.split(',').filter_map(|o| o.split_once('='));
    pairs.fold(NewImage::new(kind, size_of(kind)), |new, (k, v)| new.with(k, v))
}

/// An image with data.
fn plain(kind: Kind, options: &str, top: &'static str, file: &'static str) -> Case {
    let mut shelf = Shelf::default();
    shelf.make(top, &with(kind, options), None);
    fill(&mut shelf.open(top, true), 0);
    Case { shelf, file, top, areas: Vec::new(), slack: 0 }
}

/// A child with data over a parent with data.
fn child(kind: Kind, options: &str, parent: &'static str, top: &'static str) -> Case {
    let mut shelf = Shelf::default();
    shelf.make(parent, &with(kind, options), None);
    fill(&mut shelf.open(parent, true), 0);
    shelf.make(top, &with(kind, options), Some(parent));
    fill(&mut shelf.open(top, true), 1024);
    Case { shelf, file: top, top, areas: Vec::new(), slack: 0 }
}

fn stream() -> Case {
    let mut shelf = Shelf::default();
    shelf.make("raw.001", &with(Kind::Raw, ""), None);
    fill(&mut shelf.open("raw.001", true), 0);
    shelf.make("a.vmdk", &with(Kind::Vmdk, "subformat=streamOptimized"), None);
    let (mut from, mut to) = (shelf.open("raw.001", false), shelf.open("a.vmdk", true));
    ops::convert(&mut from, &mut to, Conversion::default(), &mut |_, _| Ok(())).unwrap();
    drop((from, to));
    shelf.0.retain(|m| m.path() != Path::new("raw.001"));
    Case { shelf, file: "a.vmdk", top: "a.vmdk", areas: Vec::new(), slack: 0 }
}

impl Case {
    fn memory(&self) -> &Memory {
        self.shelf.0.iter().find(|m| m.path() == Path::new(self.file)).unwrap()
    }

    fn store(&self) -> &dyn Store {
        self.memory()
    }

    fn le32(&self, at: u64) -> u64 {
        u32::from_le_bytes(self.store().read_array(at).unwrap()).into()
    }

    fn le64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.store().read_array(at).unwrap())
    }

    fn be64(&self, at: u64) -> u64 {
        u64::from_be_bytes(self.store().read_array(at).unwrap())
    }

    fn areas(self, areas: impl FnOnce(&Case) -> Vec<Area>) -> Case {
        Case { areas: areas(&self), ..self }
    }

    fn slack(self, slack: u64) -> Case {
        Case { slack, ..self }
    }
}

fn qcow2(case: Case) -> Case {
    case.areas(|c| {
        let (l1, counts) = (c.be64(40), c.be64(48));
        let l2 = c.be64(l1) & 0x00FF_FFFF_FFFF_FE00;
        vec![area(0, 120), area(l1, 16), area(l2, 24), area(counts, 16), area(c.be64(counts), 16)]
    })
}

fn vmdk_sparse(case: Case) -> Case {
    case.areas(|c| {
        let (gd, spare) = (c.le64(56) * 512, c.le64(48) * 512);
        let table = c.le32(gd) * 512;
        vec![area(0, 84), area(512, 500), area(gd, 8), area(spare, 8), area(table, 24)]
    })
}

fn vhd(case: Case) -> Case {
    case.areas(|c| {
        let end = c.memory().len() - 512;
        let footer = Area { copies: vec![0, end], len: 84, sum: Sum::Vhd(512, 64) };
        let header = Area { copies: vec![512], len: 60, sum: Sum::Vhd(1024, 36) };
        let locators = Area { copies: vec![512 + 576], len: 48, sum: Sum::None };
        vec![footer, header, locators, area(1536, 24)]
    })
}

fn vhdx(case: Case) -> Case {
    case.areas(|c| {
        let header = Area { copies: vec![64 << 10, 128 << 10], len: 80, sum: Sum::Vhdx(4096) };
        let regions = Area { copies: vec![192 << 10, 256 << 10], len: 80, sum: Sum::Vhdx(64 << 10) };
        // Two regions, of which the second is the metadata or the first is.
        let places = [0, 1].map(|i| c.le64((192 << 10) + 16 + i * 32 + 16));
        let mut areas = vec![area(0, 16), header, regions];
        for at in places {
            areas.extend([area(at, 224), area(at + (64 << 10), 48)]);
        }
        areas
    })
}

fn cases() -> Vec<Case> {
    let whole = |n: u64| move |_: &Case| vec![area(0, n)];
    vec![
        qcow2(plain(Kind::Qcow2, "cluster_size=4K", "a.qcow2", "a.qcow2")).slack(4096),
        qcow2(plain(Kind::Qcow2, "cluster_size=16K,extended_l2=on", "a.qcow2", "a.qcow2")).slack(16384),
        qcow2(child(Kind::Qcow2, "cluster_size=4K", "p.qcow2", "a.qcow2")).slack(4096),
        vmdk_sparse(plain(Kind::Vmdk, "", "a.vmdk", "a.vmdk")),
        vmdk_sparse(child(Kind::Vmdk, "", "p.vmdk", "a.vmdk")),
        plain(Kind::Vmdk, "subformat=twoGbMaxExtentSparse", "a.vmdk", "a-s001.vmdk")
            .areas(|c| vec![area(0, 84), area(c.le64(56) * 512, 8), area(c.le32(c.le64(56) * 512) * 512, 24)]),
        plain(Kind::Vmdk, "subformat=twoGbMaxExtentSparse", "a.vmdk", "a.vmdk").areas(whole(300)),
        plain(Kind::Vmdk, "subformat=monolithicFlat", "a.vmdk", "a-flat.vmdk"),
        plain(Kind::Vmdk, "subformat=vmfsSparse", "a.vmdk", "a-delta.vmdk")
            .areas(|c| vec![area(0, 40), area(c.le32(20) * 512, 8), area(c.le32(c.le32(20) * 512) * 512, 24)]),
        child(Kind::Vmdk, "subformat=vmfsSparse", "p.vmdk", "a.vmdk").areas(whole(300)),
        stream().areas(|c| {
            let end = c.memory().len() - 1024;
            vec![area(0, 84), area(end, 84), area(c.le64(64) * 512, 32), area(end + 512, 16), area(end - 512, 16)]
        }),
        vhd(plain(Kind::Vhd, "block_size=16K", "a.vhd", "a.vhd")),
        plain(Kind::Vhd, "subformat=fixed", "a.vhd", "a.vhd")
            .areas(|c| vec![Area { copies: vec![c.memory().len() - 512], len: 84, sum: Sum::Vhd(512, 64) }]),
        vhd(child(Kind::Vhd, "block_size=16K", "p.vhd", "a.vhd")),
        vhdx(plain(Kind::Vhdx, "block_size=1M", "a.vhdx", "a.vhdx")),
        vhdx(child(Kind::Vhdx, "block_size=1M", "p.vhdx", "a.vhdx")),
        plain(Kind::Vdi, "block_size=4K", "a.vdi", "a.vdi").areas(|_| vec![area(0x40, 0x190), area(512, 32)]),
        child(Kind::Vdi, "block_size=4K", "p.vdi", "a.vdi").areas(|_| vec![area(0x40, 0x190), area(512, 32)]),
        plain(Kind::Split, "extent_size=64K", "a.001", "a.002"),
        plain(Kind::Cue, "", "a.cue", "a.cue").areas(whole(60)),
    ]
}

/// One line that says which file; of a file that was cut off also where, or that it is cut off.
fn is_clear(e: &ImageError, file: &str, cut: bool, what: &str) {
    let text = e.to_string();
    assert!(!text.contains('\n') && text.len() < 500, "{what}: {text}");
    let stem = file.split(['.', '-']).next().unwrap();
    // Where a name was changed, it is the file of that name that is not there.
    let named = text.contains(&format!("{stem}.")) || text.contains(&format!("{stem}-")) || text.contains("not found");
    assert!(named, "{what}: {text}");
    let clear = [" at 0x", "empty", "truncated", "bytes", "not found", "names no extents"];
    assert!(!cut || clear.iter().any(|c| text.contains(c)), "{what}: {text}");
}

/// What using the image says: an error, or what a check finds, or nothing.
enum Said {
    Error(ImageError),
    Errors,
    Contents(Vec<u8>),
}

fn use_image(shelf: &Shelf, top: &str, kind: Kind) -> Said {
    let begun = std::time::Instant::now();
    let said = what_it_says(shelf, top, kind);
    assert!(begun.elapsed() < PATIENCE, "{top} took {:?}", begun.elapsed());
    said
}

fn what_it_says(shelf: &Shelf, top: &str, kind: Kind) -> Said {
    let options = Options { format: Some(kind), ..Options::default() };
    let mut disk = match Disk::open_with(Path::new(top), &options, &mut Files::shelf(shelf.0.iter().cloned())) {
        Ok(disk) => disk,
        Err(e) => return Said::Error(e),
    };
    match disk.check(Fix::Nothing) {
        Ok(Some(found)) if found.error_count > 0 => return Said::Errors,
        Ok(_) => {}
        Err(e) => return Said::Error(e),
    }
    // A disk that says to be huge is not read to its end.
    let mut got = vec![0; disk.size().min(4 << 20) as usize];
    match disk.read(0, &mut got) {
        Ok(()) => Said::Contents(got),
        Err(e) => Said::Error(e),
    }
}

#[test]
fn files_that_end_too_early() {
    if !within_limits("files_that_end_too_early") {
        return;
    }
    for case in cases() {
        let kind = case.shelf.open(case.top, false).kind();
        let whole = contents(&mut case.shelf.open(case.top, false));
        let bytes = case.memory().bytes();
        let starts = case.areas.iter().flat_map(|a| &a.copies).flat_map(|at| [*at, at + 1, at + 7, at + 40]);
        let steps = (0..bytes.len() as u64).step_by((bytes.len() / 100).max(7));
        let end = [511, 512, 1, 1023, 1024].map(|n| (bytes.len() as u64).saturating_sub(n));
        for cut in starts.chain(steps).chain(end).filter(|c| *c < bytes.len() as u64) {
            let what = format!("{} cut at {cut} of {}", case.file, bytes.len());
            let files = case.shelf.0.iter().map(|m| match m.path() == Path::new(case.file) {
                true => Memory::new(case.file, bytes[..cut as usize].to_vec()),
                false => m.clone(),
            });
            let left = Shelf(files.collect());
            match use_image(&left, case.top, kind) {
                Said::Error(e) => is_clear(&e, case.file, true, &what),
                Said::Errors => {}
                Said::Contents(got) => {
                    let lost = whole.iter().zip(&got).filter(|(a, b)| a != b).count() as u64;
                    // A descriptor's last lines, or a table of contents, say nothing of the disk's bytes.
                    assert!(lost <= case.slack, "{what}: {lost} bytes are gone, and nobody says so");
                }
            }
        }
    }
}

/// Puts the checksum of the structure at `at` right.
fn mend(m: &dyn Store, at: u64, sum: Sum) {
    match sum {
        Sum::None => {}
        Sum::Vhd(len, sum_at) => {
            let mut raw = m.read_vec(at, len).unwrap();
            raw[sum_at..sum_at + 4].fill(0);
            let sum = !raw.iter().fold(0u32, |n, b| n.wrapping_add(u32::from(*b)));
            m.write(at + sum_at as u64, &sum.to_be_bytes()).unwrap();
        }
        Sum::Vhdx(len) => {
            let mut raw = m.read_vec(at, len).unwrap();
            raw[4..8].fill(0);
            m.write(at + 4, &crc32c::crc32c(&raw).to_le_bytes()).unwrap();
        }
    }
}

#[test]
fn wrong_bytes_in_every_header_and_table() {
    if !within_limits("wrong_bytes_in_every_header_and_table") {
        return;
    }
    let (mut errors, mut found, mut nothing) = (0, 0, 0);
    for case in cases() {
        let kind = case.shelf.open(case.top, false).kind();
        let (m, store) = (case.memory(), case.store());
        let before = m.bytes();
        for a in &case.areas {
            for i in 0..a.len {
                let olds: Vec<[u8; 1]> = a.copies.iter().map(|at| store.read_array(at + i).unwrap()).collect();
                let put = |at: u64, byte: [u8; 1]| {
                    store.write(at + i, &byte).unwrap();
                    mend(store, at, a.sum);
                };
                for value in [0x00, 0xFF, 0x01, 0x80] {
                    let new = [if value == 1 { olds[0][0] ^ 1 } else { value }];
                    if new == olds[0] {
                        continue;
                    }
                    a.copies.iter().for_each(|at| put(*at, new));
                    m.record();
                    let what = format!("{} with {:#x} at {:#x}", case.file, new[0], a.copies[0] + i);
                    match use_image(&case.shelf, case.top, kind) {
                        Said::Error(e) => {
                            is_clear(&e, case.file, false, &what);
                            errors += 1;
                        }
                        Said::Errors => found += 1,
                        Said::Contents(_) => nothing += 1,
                    }
                    assert!(m.steps().is_empty(), "{what}: a reader wrote");
                    a.copies.iter().zip(&olds).for_each(|(at, old)| put(*at, *old));
                }
            }
        }
        assert!(m.bytes() == before, "{}: this test does not put back what it changes", case.file);
    }
    println!("{errors} errors, {found} found by checks, {nothing} that mean nothing to the disk's contents");
    assert!(errors > 5000 && found > 100, "{errors} {found}");
}

/// Tables whose second entry says what the first does: two places of the disk are one in the file.
#[test]
fn tables_that_overlap() {
    if !within_limits("tables_that_overlap") {
        return;
    }
    let qcow2 = plain(Kind::Qcow2, "cluster_size=4K", "a.qcow2", "a.qcow2");
    let vmdk = plain(Kind::Vmdk, "", "a.vmdk", "a.vmdk");
    let esx = plain(Kind::Vmdk, "subformat=vmfsSparse", "a.vmdk", "a-delta.vmdk");
    let vhdx = plain(Kind::Vhdx, "block_size=1M", "a.vhdx", "a.vhdx");
    let tables = [
        (qcow2.be64(qcow2.be64(40)) & 0x00FF_FFFF_FFFF_FE00, 8, qcow2),
        (vmdk.le32(vmdk.le64(56) * 512) * 512, 4, vmdk),
        (esx.le32(esx.le32(20) * 512) * 512, 4, esx),
        (1536, 4, plain(Kind::Vhd, "block_size=16K", "a.vhd", "a.vhd")),
        // The block table is the region of 1 MiB whose entries are no metadata.
        (vhdx_table(&vhdx), 8, vhdx),
        (512, 4, plain(Kind::Vdi, "block_size=4K", "a.vdi", "a.vdi")),
    ];
    for (table, width, case) in tables {
        let kind = case.shelf.open(case.top, false).kind();
        assert!(matches!(use_image(&case.shelf, case.top, kind), Said::Contents(_)));
        let entry = case.store().read_vec(table, width).unwrap();
        assert_ne!(entry, case.store().read_vec(table + width as u64, width).unwrap());
        case.store().write(table + width as u64, &entry).unwrap();
        match use_image(&case.shelf, case.top, kind) {
            Said::Error(e) => is_clear(&e, case.file, false, "overlap"),
            Said::Errors => {}
            Said::Contents(_) => panic!("{}: nobody finds that two blocks are one", case.file),
        }
    }
}

fn vhdx_table(case: &Case) -> u64 {
    let places = [0, 1].map(|i| case.le64((192 << 10) + 16 + i * 32 + 16));
    let is_metadata = |at: u64| case.store().read_vec(at, 8).unwrap() == b"metadata";
    places.into_iter().find(|at| !is_metadata(*at)).unwrap()
}

#[test]
fn parents_that_are_missing_changed_or_in_rings() {
    if !within_limits("parents_that_are_missing_changed_or_in_rings") {
        return;
    }
    let kinds = [
        (Kind::Qcow2, "cluster_size=4K", "p.qcow2", "a.qcow2"),
        (Kind::Vmdk, "", "p.vmdk", "a.vmdk"),
        (Kind::Vmdk, "subformat=vmfsSparse", "p.vmdk", "a.vmdk"),
        (Kind::Vhd, "block_size=16K", "p.vhd", "a.vhd"),
        (Kind::Vhdx, "block_size=1M", "p.vhdx", "a.vhdx"),
        (Kind::Vdi, "block_size=4K", "p.vdi", "a.vdi"),
    ];
    for (kind, options, parent, top) in kinds {
        let case = child(kind, options, parent, top);
        let error = |shelf: &Shelf| shelf.try_open(top, false).map(|_| ()).unwrap_err().to_string();
        let stem = parent.split('.').next().unwrap();
        // It is not there.
        let alone = Shelf(case.shelf.0.iter().filter(|m| m.path() != Path::new(parent)).cloned().collect());
        let text = error(&alone);
        let named = text.contains(parent) || kind == Kind::Vdi && text.contains("with the id {");
        assert!(text.starts_with("the parent of a.") && named && !text.contains('\n'), "{kind}: {text}");
        // It has no bytes.
        let mut emptied = Shelf(alone.0.clone());
        emptied.0.push(Memory::new(parent, Vec::new()));
        let text = error(&emptied);
        assert!(text.starts_with("the parent of a.") && !text.contains('\n'), "{kind}: {text}");
        // Another is in its place. (qcow2 does not know its parent again.)
        let mut other = Shelf::default();
        other.make(parent, &with(kind, options), None);
        other.0.retain(|m| m.path().to_string_lossy().starts_with(stem));
        let files = alone.0.iter().filter(|m| !m.path().to_string_lossy().starts_with(stem));
        other.0.extend(files.cloned().collect::<Vec<_>>());
        match kind {
            Kind::Qcow2 => assert!(other.try_open(top, false).is_ok()),
            Kind::Vdi => assert!(error(&other).contains("with the id {"), "{}", error(&other)),
            _ => {
                let text = error(&other);
                let both = text.matches("CID ").count() == 2 || text.matches('{').count() == 2;
                assert!(text.contains("it was changed since, or is another file") && both, "{kind}: {text}");
            }
        }
        // The parent's place has the child itself: a ring, or not what it should be.
        let own = case.shelf.0.iter().find(|m| m.path() == Path::new(top)).unwrap().bytes();
        let mut ring = Shelf(alone.0.clone());
        ring.0.push(Memory::new(parent, own));
        let text = error(&ring);
        let judged = ["comes back to itself", "it was changed since", "longer than", "the id {", "beyond"];
        assert!(judged.iter().any(|j| text.contains(j)) && !text.contains('\n'), "{kind}: {text}");
    }
}

/// Found by fuzzing: the first grain would go where an ESX extent's directory of absurd size ends, and the file would become
/// that long.
#[test]
fn an_extent_does_not_begin_far_behind_its_file() {
    for (options, extent, at) in [("subformat=vmfsSparse", "a-delta.vmdk", 24), ("", "a.vmdk", 64)] {
        let mut shelf = Shelf::default();
        shelf.make("a.vmdk", &with(Kind::Vmdk, options), None);
        let file = shelf.0.iter().find(|m| m.path() == Path::new(extent)).expect("its extent");
        file.write_at(at, &0x0909_0909_u32.to_le_bytes()).unwrap();
        let before = file.len();
        let error = shelf.try_open("a.vmdk", true).unwrap_err().to_string();
        assert!(error.contains(extent) && error.contains("far behind its end"), "{error}");
        assert_eq!(file.len(), before);
    }
}

#[test]
fn diskettes_and_cds_that_end_too_early() {
    if !within_limits("diskettes_and_cds_that_end_too_early") {
        return;
    }
    let mut shelf = Shelf::default();
    shelf.make("a.imd", &NewImage::new(Kind::Imd, 163_840), None);
    let bytes = shelf.0[0].bytes();
    let open = |bytes: Vec<u8>| {
        let options = Options { format: Some(Kind::Imd), ..Options::default() };
        Disk::open_with(Path::new("a.imd"), &options, &mut Files::shelf([Memory::new("a.imd", bytes)]))
    };
    assert!(open(bytes.clone()).is_ok());
    for cut in (0..bytes.len()).step_by(bytes.len() / 300 + 1).chain(0..60.min(bytes.len())) {
        if let Err(e) = open(bytes[..cut].to_vec()) {
            is_clear(&e, "a.imd", true, &format!("cut at {cut}"));
        }
    }
    for at in 0..bytes.len().min(300) {
        for value in [0, 1, 0x1A, 0x7F, 0xFF] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            if let Err(e) = open(bytes) {
                is_clear(&e, "a.imd", false, &format!("{value:#x} at {at}"));
            }
        }
    }
    // A CD: less than its volume descriptor promises, but for the empty sectors at its end that many copies lack.
    let mut iso = vec![0; 400 * 2048];
    iso[0x8000..0x8006].copy_from_slice(b"\x01CD001");
    iso[0x8050..0x8054].copy_from_slice(&400u32.to_le_bytes());
    iso[0x8080..0x8082].copy_from_slice(&2048u16.to_le_bytes());
    let dir = crate::testing::TempDir::new();
    let insert = |bytes: &[u8]| {
        let spec = crate::image::ImageSpec::new(dir.file("a.iso", bytes));
        crate::image::open(&spec, crate::image::Medium::Cd).map(|_| ()).map_err(|e| e.to_string())
    };
    insert(&iso).unwrap();
    for cut in [0, 1, 2047, 2048, 0x8000, 0x8400, 0x8800, 20 * 2048, 200 * 2048, iso.len() - 1] {
        let said = insert(&iso[..cut]);
        // Without its descriptor it is any disk of whole sectors.
        let is_told = said.as_ref().is_err_and(|e| e.contains("a.iso") && !e.contains('\n'));
        assert!(is_told || cut % 2048 == 0 && (1..0x8800).contains(&cut), "cut at {cut}: {said:?}");
    }
    // The data of a sheet.
    let case = plain(Kind::Cue, "", "a.cue", "a.cue");
    let data = case.shelf.0.iter().find(|m| m.path() != Path::new("a.cue")).unwrap();
    let (name, bytes) = (data.path().to_owned(), data.bytes());
    for cut in [0, 1, 2047, bytes.len() / 2 + 5, bytes.len() - 1] {
        let files = [case.memory().clone(), Memory::new(&name, bytes[..cut].to_vec())];
        let opened = Disk::open_with(Path::new("a.cue"), &Options::default(), &mut Files::shelf(files));
        is_clear(&opened.map(|_| ()).unwrap_err(), "a.cue", true, &format!("data cut at {cut}"));
    }
}
