//! The guests of the catalogue: a run, the same run while it is recorded, and its replay end in the same state, to the bit,
//! and the replay is the same at every point of the spine.

mod common;

use std::path::{Path, PathBuf};

use common::{TempDir, told};

/// A guest of `EMU_SHARED`, or of `EMU_CACHE`.
fn guest(variable: &str, default: &str, inner: &str, file: &str) -> Option<String> {
    let root = std::env::var_os(variable)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(default), PathBuf::from);
    let path = root.join(inner).join(file);
    if path.exists() {
        return Some(path.to_string_lossy().into_owned());
    }
    println!("skipped: {file} is not at {} ({variable})", path.display());
    None
}

fn shared(file: &str) -> Option<String> {
    guest("EMU_SHARED", "../shared", "guests", file)
}

fn cached(file: &str) -> Option<String> {
    guest("EMU_CACHE", "target/guests", "", file)
}

/// The line that tells the tick and the state at the end.
fn end_of(said: &str) -> &str {
    said.lines().rfind(|l| l.contains(" state ")).unwrap_or_else(|| panic!("no state in:\n{said}"))
}

/// Runs the guest three times, for `ticks`.
fn three_ways(name: &str, machine: &[&str], ticks: &str) {
    let folder = TempDir::new(&format!("catalogue-{}", name.replace(['/', ' '], "-")));
    let file = folder.path("run.emurec");
    let common = ["--display", "none", "--until-ticks", ticks, "--state-hash"];
    let direct = told(&[&["run"], machine, &common].concat()).1;
    let (_, recorded) = told(&[&["run"], machine, &common, &["--record", &file]].concat());
    let (code, replayed) = told(&["replay", &file, "--display", "none", "--state-hash"]);
    assert_eq!(code, 0, "{name}: {replayed}");
    assert_eq!(end_of(&direct), end_of(&recorded), "{name}: recorded");
    assert_eq!(end_of(&direct), end_of(&replayed), "{name}: replayed");
    assert!(replayed.contains("the same run as recorded"), "{name}: {replayed}");
}

#[test]
fn diskettes() {
    let images = [
        "freedos/freedos722.img",
        "freedos/fd160K.img",
        "freedos/fd180K.img",
        "freedos/fd320K.img",
        "freedos/fd360K.img",
        "freedos/fd640K.img",
        "freedos/fd720K.img",
        "freedos/fd1200K.img",
        "freedos/fd1.4MB.img",
        "svardos/sv86-720.img",
        "mikeos/mikeos.flp",
        "bootos/osall.img",
        "msdos4/d1.img",
        "coherent/coherent3live144.img",
        "linux-0.1x/bootimage-0.11-fd",
        "linux-0.1x/boot012-rootB.img",
    ];
    for image in images {
        if let Some(path) = shared(image) {
            three_ways(image, &[&path], "120000000");
        }
    }
    if let Some(path) = shared("svardos/sv86-720.img") {
        for cpu in ["8086", "80286"] {
            three_ways(&format!("{cpu} sv86"), &[&path, "--cpu", cpu], "40000000");
        }
    }
}

/// It is shorter than any diskette.
fn filled_up(mut machine: Vec<String>) -> Vec<String> {
    machine[1] += ",size=1440K";
    machine
}

#[test]
fn kernels_and_discs() {
    let with = |kernel: &str, file: &str| cached(file).map(|path| vec![kernel.to_owned(), path]);
    let guests = [
        ("memtest ia32", with("--kernel", "memtest/memtest86+ia32.bin")),
        ("memtest x64", with("--kernel", "memtest/memtest86+x64.bin")),
        ("memtest CD", with("--cdrom", "memtest/memtest86+x64.iso")),
        ("GRUB invaders", with("--kernel", "grub-invaders/invaders.exec")),
        ("GRUB rescue floppy", with("--floppy", "grub-rescue/grub-rescue-floppy.img").map(filled_up)),
        ("GRUB rescue CD", with("--cdrom", "grub-rescue/grub-rescue-cdrom.iso")),
        ("iPXE", with("--cdrom", "ipxe/ipxe.iso")),
        ("U-Boot", with("--bios", "u-boot/u-boot-x86.rom")),
        ("U-Boot, 64-bit", with("--bios", "u-boot/u-boot-x86_64.rom")),
        ("GRUB as firmware", with("--bios", "grub-firmware/grub.bin")),
    ];
    for (name, machine) in guests {
        if let Some(machine) = machine {
            let machine: Vec<&str> = machine.iter().map(String::as_str).collect();
            three_ways(name, &machine, "150000000");
        }
    }
}

#[test]
fn freedos_under_seabios() {
    let bios = (cached("seabios/bios-256k.bin"), cached("seabios/vgabios-stdvga.bin"));
    if let ((Some(bios), Some(video)), Some(image)) = (bios, shared("freedos/freedos722.img")) {
        three_ways("SeaBIOS", &[&image, "--bios", &bios, "--vga-bios", &video], "300000000");
    }
}

/// Their workloads are replayed whole by `scripts/bench_travel.py`, and on other hosts by `scripts/cross`.
#[test]
fn linux() {
    for folder in ["linux-i386", "linux-amd64"] {
        let files = (cached(&format!("{folder}/vmlinuz")), cached(&format!("{folder}/initrd.gz")));
        if let (Some(kernel), Some(initrd)) = files {
            let append = "console=tty0 console=ttyS0,115200 panic=-1";
            let machine = ["--kernel", &kernel, "--initrd", &initrd, "--append", append, "--mem", "128M"];
            three_ways(folder, &machine, "600000000");
        }
    }
}
