//! Disk images against qemu-img: what one writes the other reads, bit for bit, and finds no fault in. And against SIGKILL:
//! every flushed byte is there.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use emu_machine::image::ops::{self, Conversion, Difference, NewImage, SnapshotAction};
use emu_machine::image::{Disk, Fix, Kind, Options};

const SIZE: u64 = 4 << 20;

/// A folder that is gone with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("emu-images-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path.canonicalize().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether qemu-img is here; says so if not.
fn has_qemu_img() -> bool {
    let found = Command::new("qemu-img").arg("--version").output().is_ok();
    if !found {
        eprintln!("qemu-img is not installed: nothing is compared");
    }
    found
}

fn qemu(folder: &Folder, program: &str, args: &[&str]) -> String {
    let out = Command::new(program).current_dir(&folder.0).args(args).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {args:?}: {text}");
    text
}

/// One test at a time: a program that another is just starting would hold our files' locks until it runs.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn open(path: &Path, write: bool) -> Disk {
    Disk::open(path, &Options { write, ..Options::default() }).unwrap_or_else(|e| panic!("{e}"))
}

fn is_clean(path: &Path) {
    if let Some(found) = open(path, false).check(Fix::Nothing).unwrap() {
        assert_eq!((found.errors, found.leaks), (vec![], 0), "{}", path.display());
    }
}

fn same(a: &Path, b: &Path) {
    match ops::compare(&mut open(a, false), &mut open(b, false), &mut |_| {}).unwrap() {
        None | Some(Difference::Size(..)) => {}
        Some(difference) => panic!("{} and {}: {difference:?}", a.display(), b.display()),
    }
}

/// Islands of data, some of which compress, between zeros.
fn pattern(folder: &Folder) -> PathBuf {
    let mut bytes = vec![0; SIZE as usize];
    for (at, n) in [(0, 512), (65_536, 4096), (1 << 20, 70_000), (3 << 20, 131_072), (SIZE as usize - 512, 512)] {
        for (i, b) in bytes[at..at + n].iter_mut().enumerate() {
            let i = (at + i) as u32;
            *b = if i % 4096 < 2048 { (i.wrapping_mul(2_654_435_761) >> 24) as u8 } else { 7 };
        }
    }
    let path = folder.path("p.raw");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn new(kind: Kind, options: &str) -> NewImage {
    let pairs = options.split(',').filter_map(|o| o.split_once('='));
    pairs.fold(NewImage::new(kind, SIZE), |new, (k, v)| new.with(k, v))
}

fn convert(source: &Path, target: &Path, new: &NewImage, compress: bool) {
    ops::create(target, new).unwrap_or_else(|e| panic!("{e}"));
    let how = Conversion { compress, ..Conversion::default() };
    ops::convert(&mut open(source, false), &mut open(target, true), how, &mut |_, _| Ok(())).unwrap();
}

/// Each kind of image: our options, QEMU's name of the format and its options, and whether to compress.
const KINDS: &[(Kind, &str, &str, &str, bool)] = &[
    (Kind::Raw, "", "raw", "", false),
    (Kind::Qcow2, "", "qcow2", "", false),
    (Kind::Qcow2, "", "qcow2", "", true),
    (Kind::Qcow2, "compression_type=zstd", "qcow2", "compression_type=zstd", true),
    (Kind::Qcow2, "compat=0.10,cluster_size=512", "qcow2", "compat=0.10,cluster_size=512", false),
    (Kind::Qcow2, "cluster_size=512,refcount_bits=1", "qcow2", "cluster_size=512,refcount_bits=1", true),
    (Kind::Qcow2, "cluster_size=2M,refcount_bits=64", "qcow2", "cluster_size=2M,refcount_bits=64", true),
    (Kind::Qcow2, "extended_l2=on", "qcow2", "extended_l2=on", false),
    (Kind::Qcow2, "extended_l2=on,cluster_size=16K", "qcow2", "extended_l2=on,cluster_size=16K", true),
    (Kind::Qcow2, "lazy_refcounts=on", "qcow2", "lazy_refcounts=on", false),
    (Kind::Qcow2, "data_file=d.raw,data_file_raw=on", "qcow2", "data_file=e.raw,data_file_raw=on", false),
    (Kind::Vhd, "", "vpc", "", false),
    (Kind::Vhd, "subformat=fixed", "vpc", "subformat=fixed", false),
    (Kind::Vhdx, "", "vhdx", "", false),
    (Kind::Vhdx, "subformat=fixed", "vhdx", "subformat=fixed", false),
    (Kind::Vdi, "", "vdi", "", false),
    (Kind::Vdi, "static=on", "vdi", "static=on", false),
    (Kind::Vmdk, "", "vmdk", "", false),
    (Kind::Vmdk, "zeroed_grain=on", "vmdk", "zeroed_grain=on", false),
    (Kind::Vmdk, "subformat=monolithicFlat", "vmdk", "subformat=monolithicFlat", false),
    (Kind::Vmdk, "subformat=twoGbMaxExtentSparse,extent_size=1M", "vmdk", "subformat=twoGbMaxExtentSparse", false),
    (Kind::Vmdk, "subformat=twoGbMaxExtentFlat,extent_size=1M", "vmdk", "subformat=twoGbMaxExtentFlat", false),
    (Kind::Vmdk, "subformat=streamOptimized", "vmdk", "subformat=streamOptimized", false),
    (Kind::Vmdk, "subformat=vmfsSparse", "vmdk", "", false),
    (Kind::Vmdk, "subformat=vmfs", "vmdk", "", false),
];

#[test]
fn images_go_both_ways() {
    let _alone = alone();
    if !has_qemu_img() {
        return;
    }
    for (kind, ours, format, theirs, compress) in KINDS {
        let folder = Folder::new("both");
        let raw = pattern(&folder);
        let (a, b) = (format!("a.{kind}"), format!("b.{kind}"));
        convert(&raw, &folder.path(&a), &new(*kind, ours), *compress);
        qemu(&folder, "qemu-img", &["compare", "-f", "raw", "-F", format, "p.raw", &a]);
        if matches!(*kind, Kind::Qcow2 | Kind::Vdi | Kind::Vmdk | Kind::Vhdx) {
            qemu(&folder, "qemu-img", &["check", "-f", format, &a]);
        }
        same(&raw, &folder.path(&a));
        is_clean(&folder.path(&a));
        let mut args = vec!["convert", "-f", "raw", "-O", format];
        if *compress {
            args.push("-c");
        }
        if !theirs.is_empty() {
            args.extend(["-o", theirs]);
        }
        args.extend(["p.raw", &b]);
        qemu(&folder, "qemu-img", &args);
        same(&raw, &folder.path(&b));
        is_clean(&folder.path(&b));
        if !ours.contains("streamOptimized") {
            write_in_turn(&folder, &folder.path(&b), format);
        }
    }
}

/// We write into an image of theirs, and they into what we left.
fn write_in_turn(folder: &Folder, image: &Path, format: &str) {
    let name = image.file_name().unwrap().to_str().unwrap();
    let mut disk = open(image, true);
    disk.write(500 << 10, &[0x5A; 200 << 10]).unwrap();
    disk.write_zeros(3 << 20, 64 << 10).unwrap();
    drop(disk);
    is_clean(image);
    let read = ["-f", format, "-c", "read -P 0x5a 500k 200k", "-c", "read -P 0 3M 64k", name];
    qemu(folder, "qemu-io", &read);
    qemu(folder, "qemu-io", &["-f", format, "-c", "write -P 0x33 2M 300k", name]);
    let mut buf = vec![0; 300 << 10];
    open(image, false).read(2 << 20, &mut buf).unwrap();
    assert!(buf.iter().all(|b| *b == 0x33), "{name}");
    is_clean(image);
}

#[test]
fn chains_are_read_by_both() {
    let _alone = alone();
    if !has_qemu_img() {
        return;
    }
    for (kind, options) in [
        (Kind::Qcow2, ""),
        (Kind::Qcow2, "compat=0.10"),
        (Kind::Qcow2, "extended_l2=on"),
        (Kind::Vmdk, ""),
        (Kind::Vmdk, "subformat=vmfsSparse"),
    ] {
        let folder = Folder::new("chain");
        let raw = pattern(&folder);
        let format = kind.name();
        let name = |i: usize| format!("{i}.{format}");
        convert(&raw, &folder.path(&name(0)), &new(kind, options), false);
        for i in 1..4 {
            let parent = Some((name(i - 1), Some(kind)));
            if i == 2 && options.is_empty() {
                let args = ["create", "-q", "-f", format, "-b", &name(i - 1), "-F", format, &name(i)];
                qemu(&folder, "qemu-img", &args);
            } else {
                ops::create(&folder.path(&name(i)), &NewImage { parent, ..new(kind, options) }).unwrap();
            }
            let mut disk = open(&folder.path(&name(i)), true);
            disk.write(i as u64 * 300_032, &vec![i as u8; 150_016]).unwrap();
            disk.write_zeros(1 << 20, 65_536 * i as u64).unwrap();
        }
        qemu(&folder, "qemu-img", &["convert", "-f", format, "-O", "raw", &name(3), "q.raw"]);
        same(&folder.path("q.raw"), &folder.path(&name(3)));
        // Its contents stay when the middle is committed, and when it stands on its own.
        ops::commit(&folder.path(&name(2)), &Options::default(), true, &mut |_| {}).unwrap();
        if kind == Kind::Qcow2 {
            same(&folder.path("q.raw"), &folder.path(&name(3)));
            ops::rebase(&folder.path(&name(3)), &Options::default(), None, true, &mut |_| {}).unwrap();
            same(&folder.path("q.raw"), &folder.path(&name(3)));
            qemu(&folder, "qemu-img", &["compare", "-f", "raw", "-F", format, "q.raw", &name(3)]);
        } else {
            let changed = Disk::open(&folder.path(&name(3)), &Options::default()).unwrap_err().to_string();
            assert!(changed.contains("it was changed since"), "{changed}");
        }
    }
}

#[test]
fn snapshots_are_read_by_both() {
    let _alone = alone();
    if !has_qemu_img() {
        return;
    }
    let folder = Folder::new("snapshots");
    let raw = pattern(&folder);
    let image = folder.path("s.qcow2");
    convert(&raw, &image, &new(Kind::Qcow2, ""), false);
    let act = |action: SnapshotAction| ops::snapshot(&mut open(&image, true), &action).unwrap();
    let check = || {
        qemu(&folder, "qemu-img", &["check", "-q", "s.qcow2"]);
        is_clean(&image);
    };
    act(SnapshotAction::Take("one".into(), 1_000_000_000));
    open(&image, true).write(0, &[1; 300 << 10]).unwrap();
    qemu(&folder, "qemu-img", &["snapshot", "-c", "two", "s.qcow2"]);
    open(&image, true).write(1 << 20, &[2; 300 << 10]).unwrap();
    check();
    for name in ["one", "two"] {
        qemu(&folder, "qemu-img", &["convert", "-l", name, "-O", "raw", "s.qcow2", "q.raw"]);
        let options = Options { snapshot: Some(name.into()), ..Options::default() };
        let mut shown = Disk::open(&image, &options).unwrap();
        let mut theirs = open(&folder.path("q.raw"), false);
        assert_eq!(ops::compare(&mut shown, &mut theirs, &mut |_| {}).unwrap(), None, "{name}");
    }
    act(SnapshotAction::Apply("one".into()));
    check();
    same(&raw, &image);
    act(SnapshotAction::Delete("two".into()));
    act(SnapshotAction::Delete("one".into()));
    check();
    same(&raw, &image);
}

/// Images of other programs: the SHA-256 of their disks, as qemu-img reads them (of image.vhd, once the checksum of its
/// footers counts the id), and those that are rightly refused.
#[test]
fn images_of_other_programs_read_right() {
    let _alone = alone();
    let shared = std::env::var_os("EMU_SHARED").map_or_else(|| PathBuf::from("../../../shared"), PathBuf::from);
    let folder = shared.join("disks/dfvfs");
    if !folder.is_dir() {
        eprintln!("{} is not here: no images of other programs are read", folder.display());
        return;
    }
    for (name, hash) in [
        ("ext2.qcow2", "a6c2f0e39afe6c6ab432ca5465349fcefe8dc944398e97b2d957d3f89dbb5d80"),
        ("ext2.vmdk", "a6c2f0e39afe6c6ab432ca5465349fcefe8dc944398e97b2d957d3f89dbb5d80"),
        ("ext2.vhd", "870be7ae16c1fa8faab05c6eb9205dc9a7ae35c5f552c5cf8a267c0bc6a5cb99"),
        ("windows_volume.qcow2", "44abe9deca9658f331a2bdba2deb53192d04f35d157a1fb3ba0597b03f0524f2"),
        ("image.vhd", "c6db12a7db548e193c29420c1b4533e4708b20c5033db5cc29ef075d48316d25"),
    ] {
        assert_eq!(ops::sha256(&mut open(&folder.join(name), false), &mut |_| {}).unwrap(), hash, "{name}");
        is_clean(&folder.join(name));
    }
    // A parent that is not there, and checksums that were not made again after a change by hand.
    for (name, problem) in
        [("fat-differential.vhd", "fat-parent.vhd: no such file"), ("image-differential.vhd", "checksum")]
    {
        let error = Disk::open(&folder.join(name), &Options::default()).unwrap_err().to_string();
        assert!(error.contains(problem), "{name}: {error}");
    }
}

/// Disks that outgrew their tables: qemu-img finds no fault in them, and reads what was there and the new end.
#[test]
fn larger_disks_are_read_by_both() {
    let _alone = alone();
    if !has_qemu_img() {
        return;
    }
    for (kind, options, format, size) in [
        (Kind::Qcow2, "cluster_size=512", "qcow2", 300u64 << 20),
        (Kind::Vdi, "", "vdi", 600 << 30),
        (Kind::Vmdk, "", "vmdk", 5 << 30),
        (Kind::Vmdk, "subformat=monolithicFlat", "vmdk", 40 << 20),
        (Kind::Vmdk, "subformat=twoGbMaxExtentSparse,extent_size=1M", "vmdk", 1 << 30),
        (Kind::Vmdk, "subformat=vmfsSparse", "vmdk", 300 << 20),
        (Kind::Vhd, "", "vpc", 100 << 30),
        (Kind::Vhd, "subformat=fixed", "vpc", 40 << 20),
        (Kind::Vhdx, "block_size=1M", "vhdx", 140 << 30),
    ] {
        let folder = Folder::new("larger");
        let raw = pattern(&folder);
        let name = format!("a.{kind}");
        convert(&raw, &folder.path(&name), &new(kind, options), false);
        let mut disk = open(&folder.path(&name), true);
        disk.resize(size).unwrap();
        disk.write(size - 65_536, &[0x77; 65_536]).unwrap();
        drop(disk);
        is_clean(&folder.path(&name));
        if matches!(kind, Kind::Qcow2 | Kind::Vdi | Kind::Vmdk | Kind::Vhdx) {
            let said = qemu(&folder, "qemu-img", &["check", "-f", format, &name]);
            assert!(said.contains("No errors"), "{name}: {said}");
        }
        let end = format!("read -P 0x77 {} 64k", size - 65_536);
        let before = format!("read -P 0 {SIZE} {}", 1 << 20);
        qemu(&folder, "qemu-io", &["-f", format, "-c", &end, "-c", &before, &name]);
        if options.contains("vmfsSparse") {
            continue; // they make no tables in ESX's extents: their write would go to the header
        }
        // They write where there was nothing.
        let write = format!("write -P 0x33 {} 300k", size / 2);
        qemu(&folder, "qemu-io", &["-f", format, "-c", &write, &name]);
        let mut buf = vec![0; 300 << 10];
        open(&folder.path(&name), false).read(size / 2, &mut buf).unwrap();
        assert!(buf.iter().all(|b| *b == 0x33), "{name} {options}");
        let mut start = vec![0; SIZE as usize];
        open(&folder.path(&name), false).read(0, &mut start).unwrap();
        assert!(start == std::fs::read(&raw).unwrap(), "{name} {options}");
    }
}

/// Where write `i` goes, and what it writes.
fn a_write(i: u64) -> (u64, Vec<u8>) {
    let hash = |n: u64| (i + n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let len = 512 * (1 + hash(1) % 200);
    let at = hash(2) % ((SIZE - len) / 512) * 512;
    (at, (0..len).map(|j| (hash(3) + j / 512 + j) as u8).collect())
}

/// Not a test of its own: the process that is killed. It says which writes are flushed.
#[test]
fn the_writer() {
    let _alone = alone();
    let Some(image) = std::env::var_os("EMU_TEST_IMAGE") else { return };
    let mut disk = open(Path::new(&image), true);
    let mut out = std::io::stdout();
    for i in 0..100_000 {
        let (at, bytes) = a_write(i);
        disk.write(at, &bytes).unwrap();
        if i % 3 == 2 {
            disk.flush().unwrap();
            writeln!(out, "flushed {}", i + 1).unwrap();
            out.flush().unwrap();
        }
    }
}

/// Runs the writer for a while, kills it, and returns how many writes it had flushed.
fn kill_a_writer(image: &Path, lines: u64, micros: u64) -> u64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_writer", "--nocapture"])
        .env("EMU_TEST_IMAGE", image)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut flushed = 0;
    let mut read = |line: String| {
        if let Some(n) = line.rsplit_once("flushed ") {
            flushed = n.1.trim().parse().unwrap();
        }
    };
    let mut output = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    for line in output.by_ref().take(lines as usize) {
        read(line);
    }
    std::thread::sleep(std::time::Duration::from_micros(micros));
    writer.kill().unwrap();
    writer.wait().unwrap();
    output.for_each(read);
    flushed
}

#[test]
fn a_killed_writer_loses_nothing_that_was_flushed() {
    let _alone = alone();
    // By hand, as in docs/PERFORMANCE.md: EMU_TEST_KILLS=200, and EMU_TEST_KINDS=vdi,vhdx for some formats alone.
    let kills: u64 = std::env::var("EMU_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let kinds = std::env::var("EMU_TEST_KINDS").ok();
    for (kind, options) in [
        (Kind::Raw, ""),
        (Kind::Split, "extent_size=1M"),
        (Kind::Qcow2, "cluster_size=4K"),
        (Kind::Qcow2, "extended_l2=on"),
        (Kind::Vmdk, ""),
        (Kind::Vmdk, "subformat=vmfsSparse"),
        (Kind::Vhd, ""),
        (Kind::Vhdx, "block_size=1M"),
        (Kind::Vdi, ""),
        (Kind::Vdi, "block_size=4K"),
    ] {
        if kinds.as_ref().is_some_and(|k| !k.split(',').any(|k| k == kind.name())) {
            continue;
        }
        for kill in 0..kills {
            let folder = Folder::new("kill");
            let name = if kind == Kind::Split { "k.001".into() } else { format!("k.{kind}") };
            let image = folder.path(&name);
            ops::create(&image, &new(kind, options)).unwrap();
            let flushed = kill_a_writer(&image, 4 + kill % 30, kill * 7919 % 5000);
            judge(&image, flushed, &format!("{kind} {options} kill {kill}"));
            // QEMU knows VDI with blocks of 1 MiB only.
            let is_known =
                matches!(kind, Kind::Qcow2 | Kind::Vmdk | Kind::Vdi | Kind::Vhdx) && !options.contains("=4K");
            if (is_known || kind == Kind::Qcow2) && has_qemu_img() {
                let args = ["check", "-q", "-f", kind.name(), &name];
                let out = Command::new("qemu-img").current_dir(&folder.0).args(args).output().unwrap();
                // 3: space that nothing uses.
                assert!(matches!(out.status.code(), Some(0 | 3)), "{kind} {options}: {out:?}");
            }
        }
    }
}

/// Every sector has what the flushed writes left, or what a later one wrote.
fn judge(image: &Path, flushed: u64, what: &str) {
    let mut disk = open(image, false);
    if let Some(found) = disk.check(Fix::Nothing).unwrap() {
        assert_eq!(found.errors, Vec::<String>::new(), "{what}");
    }
    let mut sure = vec![0; SIZE as usize];
    for (at, bytes) in (0..flushed).map(a_write) {
        sure[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
    }
    let mut got = vec![0; SIZE as usize];
    disk.read(0, &mut got).unwrap();
    let later: Vec<_> = (flushed..flushed + 6).map(a_write).collect();
    for at in (0..SIZE as usize).step_by(512) {
        let sector = &got[at..at + 512];
        let new = |(start, bytes): &(u64, Vec<u8>)| {
            let i = at.wrapping_sub(*start as usize);
            bytes.get(i..i.wrapping_add(512)).is_some_and(|b| b == sector)
        };
        assert!(
            sector == &sure[at..at + 512] || later.iter().any(new),
            "{what}: sector at {at:#x} of {flushed} writes"
        );
    }
}
