//! A guest writes its disk, and the machine is killed at any moment: what the disk had acknowledged by a flush is there, and
//! the image is sound, to `emu disk check` and to `qemu-img check`.
//!
//! Twice per kind here. By hand, as in docs/PERFORMANCE.md: EMU_TEST_KILLS=200, and EMU_TEST_KINDS=vdi,extended_l2 for the
//! kinds that have one of these words in their name or options.
#![cfg(unix)]

mod common;

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{TempDir, emu};
use emu_machine::image::{Disk, Fix, Options, Parents};
use test_roms::roms::{writer_floppy, written};

/// Sectors of a disk; of a diskette's image.
const DISK: u32 = 8192;
const DISKETTE: u32 = 2880;

/// Everything that a guest can write into: the disk's name, options of `emu disk create`, and whether it is over a parent.
const IMAGES: &[(&str, &str, bool)] = &[
    ("k.img", "", false),
    ("k.001", "extent_size=1M", false),
    ("k.qcow2", "", false),
    ("k.qcow2", "cluster_size=512,refcount_bits=1", false),
    ("k.qcow2", "compat=0.10,cluster_size=4K", true),
    ("k.qcow2", "extended_l2=on", true),
    ("k.qcow2", "lazy_refcounts=on", false),
    ("k.qcow2", "data_file=d.raw,data_file_raw=on", false),
    ("k.vmdk", "", false),
    ("k.vmdk", "", true),
    ("k.vmdk", "zeroed_grain=on", false),
    ("k.vmdk", "subformat=monolithicFlat", false),
    ("k.vmdk", "subformat=twoGbMaxExtentFlat,extent_size=1M", false),
    ("k.vmdk", "subformat=twoGbMaxExtentSparse,extent_size=1M", false),
    ("k.vmdk", "subformat=vmfs", false),
    ("k.vmdk", "subformat=vmfsSparse", true),
    ("k.vhd", "", false),
    ("k.vhd", "", true),
    ("k.vhd", "subformat=fixed", false),
    ("k.vhdx", "block_size=1M", false),
    ("k.vhdx", "block_size=1M", true),
    ("k.vhdx", "subformat=fixed", false),
    ("k.vhdx", "logical_sector_size=4096", false),
    ("k.vdi", "", false),
    ("k.vdi", "block_size=4K", true),
    ("k.vdi", "static=on", false),
    ("k.cue", "", false),
    ("k.imd", "", false),
];

/// How many sectors an image of this name has.
fn sectors(name: &str) -> u32 {
    if name.ends_with("imd") { DISKETTE } else { DISK }
}

fn create(dir: &TempDir, name: &str, options: &str, over_parent: bool) -> String {
    let image = dir.path(name);
    let options = if options.is_empty() { vec![] } else { vec!["-o", options] };
    let make = |args: &[&str]| {
        let made = emu(&[&["disk", "create", "-q"][..], args, &options].concat());
        assert!(made.status.success(), "{args:?} {options:?}: {}", String::from_utf8_lossy(&made.stderr));
    };
    if over_parent {
        let parent = format!("parent.{}", name.split_once('.').unwrap().1);
        make(&[&dir.path(&parent), "4M"]);
        make(&[&image, "-b", &parent]);
    } else {
        make(&[&image, &(u64::from(sectors(name)) * 512).to_string()]);
    }
    image
}

/// Runs the guest, kills the machine after its `lines`-th flush and some time, and returns the last write that was flushed.
fn killed(floppy: &str, image: &str, lines: usize, wait: Duration) -> u32 {
    let disk = format!("{image},mode=write,parents=folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_emu"))
        .args(["run", "--floppy", floppy, "--disk", &disk, "--boot", "a", "--display", "none"])
        .args(["--timeline", "off", "--debug-console", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("emu runs");
    let mut output = child.stdout.take().expect("its output");
    let mut told = Vec::new();
    let mut piece = [0; 4096];
    while told.len() < 9 * lines {
        let n = output.read(&mut piece).expect("a pipe");
        assert!(n > 0, "{image}: it ended: {}", String::from_utf8_lossy(&told));
        told.extend_from_slice(&piece[..n]);
    }
    std::thread::sleep(wait);
    child.kill().expect("a child");
    child.wait().expect("a child");
    output.read_to_end(&mut told).expect("a pipe");
    let told = String::from_utf8(told).expect("digits");
    assert!(!told.contains("failed"), "{image}: a write failed");
    let last = told[..told.rfind('\n').expect("a line")].lines().last().expect("a line");
    u32::from_str_radix(last, 16).expect("a number")
}

/// Each sector has what the flushed writes left, or what a later one wrote, as a whole.
fn judge(image: &str, sectors: u32, flushed: u32, what: &str) {
    let options = Options { parents: Parents::Folder, ..Options::default() };
    let mut disk = Disk::open(Path::new(image), &options).unwrap_or_else(|e| panic!("{what}: {e}"));
    if let Some(found) = disk.check(Fix::Nothing).expect("a check") {
        assert_eq!(found.errors, Vec::<String>::new(), "{what}");
    }
    let mut sure = vec![0; sectors as usize];
    for (at, n, number) in (1..=flushed).map(|number| written(number, sectors)) {
        sure[at as usize..(at + u64::from(n)) as usize].fill(number);
    }
    let mut got = vec![0; sectors as usize * 512];
    disk.read(0, &mut got).expect("a read");
    for (at, (sector, sure)) in got.chunks(512).zip(sure).enumerate() {
        let is_later = |number: u32| {
            let (start, n, _) = written(number, sectors);
            number > flushed && (start..start + u64::from(n)).contains(&(at as u64))
        };
        if image.ends_with(".imd") {
            // Its sectors lie anywhere in the host's pages, which are written one by one: as on a diskette, one that was
            // being written may be half of each.
            let later = (flushed + 1..flushed + 500).filter(|n| is_later(*n));
            let could_be: Vec<[u8; 4]> = core::iter::once(sure).chain(later).map(u32::to_le_bytes).collect();
            let known = |(i, byte): (usize, &u8)| could_be.iter().any(|c| c[i % 4] == *byte);
            assert!(sector.iter().enumerate().all(known), "{what}: sector {at}, {sure} of {flushed} was flushed");
            continue;
        }
        let number = u32::from_le_bytes(sector[..4].try_into().expect("four bytes"));
        assert!(
            number == sure || is_later(number),
            "{what}: sector {at} has write {number}, {sure} of {flushed} was flushed"
        );
        assert!(sector.chunks(4).all(|w| w == &sector[..4]), "{what}: sector {at} is torn");
    }
}

/// What qemu-img thinks of it, where it is here and knows the kind.
fn check_by_qemu(dir: &TempDir, name: &str, options: &str, over_parent: bool, what: &str) {
    let format = name.split_once('.').unwrap().1;
    // QEMU knows VDI with blocks of 1 MiB only, VHDX with sectors of 512 bytes, and no parents of both.
    let strange = ["block_size=4K", "logical_sector_size=4096"].iter().any(|o| options.contains(o))
        || over_parent && matches!(format, "vdi" | "vhdx");
    if !matches!(format, "qcow2" | "vmdk" | "vdi" | "vhdx") || strange {
        return;
    }
    let checked = Command::new("qemu-img").current_dir(&dir.0).args(["check", "-q", "-f", format, name]).output();
    let Ok(checked) = checked else { return };
    // 3: space that nothing uses; 63: a kind of image that has nothing to check.
    assert!(matches!(checked.status.code(), Some(0 | 3 | 63)), "{what}: {checked:?}");
}

#[test]
fn a_guest_that_is_killed_loses_nothing_that_was_flushed() {
    if cfg!(debug_assertions) {
        println!("skipped: this is a debug build");
        return;
    }
    let kills: u32 = std::env::var("EMU_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let kinds = std::env::var("EMU_TEST_KINDS").ok();
    for (name, options, over_parent) in IMAGES {
        let told = format!("{name} {options}");
        if kinds.as_ref().is_some_and(|k| !k.split(',').any(|k| told.contains(k))) {
            continue;
        }
        for kill in 0..kills {
            let what = format!("{name} {options} kill {kill}");
            let dir = TempDir::new("kills");
            let floppy = dir.file("writer.img", &writer_floppy(sectors(name)));
            let image = create(&dir, name, options, *over_parent);
            let wait = Duration::from_micros((u64::from(kill) * 7919 + 331) % 5000);
            let flushed = killed(&floppy, &image, 2 + kill as usize * 7 % 40, wait);
            judge(&image, sectors(name), flushed, &what);
            check_by_qemu(&dir, name, options, *over_parent, &what);
        }
        println!("{name} {options}{}: {kills} kills", if *over_parent { ", over a parent" } else { "" });
    }
}

/// DOS flushes nothing, and a diskette drive has nothing to flush: what it wrote is kept a few seconds later all the same, here
/// in an image over a diskette.
#[test]
fn what_dos_wrote_to_a_diskette_is_kept_without_a_flush() {
    let folder = std::env::var_os("EMU_SHARED").map_or_else(|| "../shared".into(), std::path::PathBuf::from);
    let Ok(diskette) = std::fs::read(folder.join("guests/freedos/fd1.4MB.img")) else {
        println!("skipped: FreeDOS is absent (set EMU_SHARED)");
        return;
    };
    if cfg!(debug_assertions) {
        println!("skipped: this is a debug build");
        return;
    }
    let dir = TempDir::new("kept");
    dir.file("fd.img", &diskette);
    let image = dir.path("over.qcow2");
    assert!(emu(&["disk", "create", "-q", &image, "-b", "fd.img", "-F", "raw"]).status.success());
    let floppy = format!("{image},mode=write,parents=folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_emu"))
        .args(["run", "--floppy", &floppy, "--display", "none", "--wait-for", "A:\\>"])
        .args(["--type", "echo kept by emu>kept.txt<enter>", "--until-ticks", "999999999999999"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("emu runs");
    let has = |bytes: &[u8]| bytes.windows(13).any(|w| w == b"kept by emu\r\n");
    let mut waited = 0;
    while !has(&std::fs::read(&image).expect("the image")) {
        waited += 1;
        assert!(waited < 600 && child.try_wait().expect("a child").is_none(), "DOS wrote nothing");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(5));
    child.kill().expect("a child");
    child.wait().expect("a child");
    let mut disk = Disk::open(Path::new(&image), &Options::default()).expect("the image");
    assert_eq!(disk.check(Fix::Nothing).expect("a check").expect("qcow2").errors, Vec::<String>::new());
    let mut got = vec![0; diskette.len()];
    disk.read(0, &mut got).expect("a read");
    assert!(has(&got) && got.windows(11).any(|w| w == b"KEPT    TXT"), "what DOS wrote is gone");
}
