//! Debian's Linux in imported machines: the kernel is started from a libvirt domain's or a QEMU command's words, or boots from
//! the imported disk by isolinux; it finds the product that the machine came from, drives the disk, mounts it, and reads a
//! program from it.
#![cfg(unix)]

mod common;
#[path = "../../emu-machine/tests/common/vmcx.rs"]
mod vmcx;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{TempDir, good};

/// The kernel's modules that drive the disk and read its file system, in the order in which they need each other.
const MODULES: &[&str] = &[
    "scsi_common",
    "scsi_mod",
    "libata",
    "ata_piix",
    "crct10dif_common",
    "crc-t10dif",
    "crc64",
    "crc64-rocksoft",
    "t10-pi",
    "sd_mod",
    "cdrom",
    "isofs",
];

/// A file of the guest that `scripts/guests` made, unless it is not there.
fn guest(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests");
    let path = std::env::var_os("EMU_CACHE").map_or(root, PathBuf::from).join("linux-amd64").join(name);
    let there = path.is_file() && !cfg!(debug_assertions);
    if !there {
        println!("skipped: {} is absent (scripts/guests makes it), or this is a debug build", path.display());
    }
    there.then_some(path)
}

/// One file of an initial RAM disk, with its header: "newc" [Linux initramfs buffer format].
fn in_archive(out: &mut Vec<u8>, name: &str, mode: usize, bytes: &[u8]) {
    let mut header = String::from("070701");
    for field in [1, mode, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, name.len() + 1, 0] {
        write!(header, "{field:08x}").expect("a string");
    }
    for part in [[header.as_bytes(), name.as_bytes(), &[0]].concat(), bytes.to_vec()] {
        out.extend(part);
        out.resize(out.len().next_multiple_of(4), 0);
    }
}

/// The guest's initial RAM disk with the modules, and a first program that mounts the disk and runs what is on it.
fn initrd(dir: &TempDir) -> Option<String> {
    let mut bytes = std::fs::read(guest("initrd.gz")?).expect("the initrd");
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let mut start = String::from(
        "#!/bin/busybox sh\nPATH=/bin; busybox mkdir -p /proc /dev /mnt\nbusybox mount -t proc none /proc\n\
         busybox mount -t devtmpfs none /dev\nexec </dev/ttyS0 >/dev/ttyS0 2>&1\n",
    );
    for name in MODULES {
        let module = std::fs::read(guest(&format!("modules/{name}.ko"))?).expect("a module");
        in_archive(&mut bytes, &format!("{name}.ko"), 0o100_644, &module);
        writeln!(start, "busybox insmod /{name}.ko").expect("a string");
    }
    start += "n=0; while [ ! -b /dev/sda ] && [ $n -lt 100 ]; do busybox usleep 50000; n=$((n+1)); done\n\
              busybox mount -o ro /dev/sda /mnt && busybox sh /mnt/mark.sh\nbusybox poweroff -f\n";
    in_archive(&mut bytes, "start", 0o100_755, start.as_bytes());
    in_archive(&mut bytes, "TRAILER!!!", 0, &[]);
    Some(dir.file("initrd", &bytes))
}

/// A folder with what stands on the disk.
fn contents(dir: &TempDir) -> String {
    let folder = dir.path("contents");
    std::fs::create_dir(&folder).unwrap();
    dir.file("contents/mark.sh", b"echo \"@@READ from the disk\"; busybox grep 'sda$' /proc/partitions\n");
    folder
}

/// Runs a program of the host; false if it is not there.
fn ran(program: &str, args: &[&str]) -> bool {
    match Command::new(program).args(args).output() {
        Ok(out) => {
            assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
            true
        }
        Err(_) => {
            println!("skipped: {program} is not installed");
            false
        }
    }
}

/// Imports the machine, runs it until it powers itself off, and returns what came from its serial port.
fn runs(dir: &TempDir, description: &str) -> String {
    let folder = dir.path("made");
    good(&["vm", "import", description, "--output", &folder]);
    let serial = dir.path("serial.txt");
    let target = format!("file:{serial}");
    good(&["run", &folder, "--display", "none", "--timeout", "120", "--serial", &target]);
    let said = String::from_utf8_lossy(&std::fs::read(serial).expect("the serial port's file")).into_owned();
    let lines: Vec<_> = said.lines().map(str::trim).collect();
    let at = lines.iter().position(|l| *l == "@@READ from the disk").unwrap_or_else(|| panic!("no mark: {said}"));
    assert!(lines[at + 1].ends_with("sda"), "{said}");
    said
}

/// Without the tests of its own ciphers and page tables, which take a while.
const APPEND: &str = "console=ttyS0,115200 panic=-1 cryptomgr.notests rodata=off rdinit=/start";

/// A disk that is an ISO 9660 file system, in a format.
fn disk(dir: &TempDir, name: &str) -> Option<()> {
    let raw = dir.path("source.raw");
    if !ran("xorriso", &["-as", "mkisofs", "-quiet", "-R", "-o", &raw, &contents(dir)]) {
        return None;
    }
    good(&["disk", "convert", &raw, &dir.path(name)]);
    std::fs::remove_file(raw).unwrap();
    Some(())
}

#[test]
fn libvirt_with_a_kernel() {
    let dir = TempDir::new("linux-libvirt");
    let (Some(kernel), Some(initrd), Some(_)) = (guest("vmlinuz"), initrd(&dir), disk(&dir, "root.qcow2")) else {
        return;
    };
    let xml = format!(
        "<domain type='kvm'><name>deb12</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><kernel>{}</kernel><initrd>{initrd}</initrd>\
         <cmdline>{APPEND}</cmdline></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
         <source file='{}'/><target dev='vda' bus='virtio'/></disk>\
         <interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='default'/><model type='virtio'/>\
         </interface></devices></domain>",
        kernel.display(),
        dir.path("root.qcow2"),
    );
    let said = runs(&dir, &dir.file("deb12.xml", xml.as_bytes()));
    assert!(said.contains("Command line: console=ttyS0,115200") && !said.contains("Hypervisor detected"), "{said}");
}

#[test]
fn qemu_with_a_kernel() {
    let dir = TempDir::new("linux-qemu");
    let (Some(kernel), Some(initrd), Some(_)) = (guest("vmlinuz"), initrd(&dir), disk(&dir, "root.vdi")) else {
        return;
    };
    let command = format!(
        "#!/bin/bash\nexec qemu-system-x86_64 -m 128 -cpu Nehalem -kernel '{}' -initrd '{initrd}' \\\n  -append '{APPEND}' \\\n  \
         -drive file=root.vdi,format=vdi,if=none,id=d0 -device virtio-blk-pci,drive=d0 -nographic\n",
        kernel.display()
    );
    runs(&dir, &dir.file("start.sh", command.as_bytes()));
}

/// A disk that boots the kernel by isolinux, as hybrid CDs do; what is on it is an ISO 9660 file system. As a raw image.
fn isolinux(dir: &TempDir) -> Option<String> {
    let (kernel, initrd) = (guest("vmlinuz")?, initrd(dir)?);
    let (loader, modules) = (Path::new("/usr/lib/ISOLINUX"), Path::new("/usr/lib/syslinux/modules/bios"));
    if !loader.join("isohdpfx.bin").is_file() || !modules.join("ldlinux.c32").is_file() {
        println!("skipped: isolinux and syslinux-common are not installed");
        return None;
    }
    let folder = contents(dir);
    let copy = |from: &Path, name: &str| _ = std::fs::copy(from, Path::new(&folder).join(name)).expect("a copy");
    copy(&kernel, "vmlinuz");
    copy(Path::new(&initrd), "initrd");
    copy(&loader.join("isolinux.bin"), "isolinux.bin");
    copy(&modules.join("ldlinux.c32"), "ldlinux.c32");
    let menu = format!("default l\nprompt 0\nlabel l\n kernel vmlinuz\n append initrd=initrd {APPEND}\n");
    dir.file("contents/isolinux.cfg", menu.as_bytes());
    let raw = dir.path("hybrid.raw");
    let hybrid = loader.join("isohdpfx.bin").display().to_string();
    let boot = ["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"];
    let args =
        [&["-as", "mkisofs", "-quiet", "-R", "-o", &raw, "-isohybrid-mbr", &hybrid][..], &boot, &[&folder]].concat();
    ran("xorriso", &args).then_some(raw)
}

#[test]
fn vmware_from_its_boot_disk() {
    let dir = TempDir::new("linux-vmware");
    let Some(raw) = isolinux(&dir) else { return };
    good(&["disk", "convert", &raw, &dir.path("Debian.vmdk"), "-o", "adapter_type=lsilogic"]);
    let vmx = "config.version = \"8\"\nvirtualHW.version = \"19\"\ndisplayName = \"Debian\"\nguestOS = \"debian12-64\"\n\
               memsize = \"128\"\nscsi0.present = \"TRUE\"\nscsi0.virtualDev = \"lsilogic\"\nscsi0:0.present = \"TRUE\"\n\
               scsi0:0.fileName = \"Debian.vmdk\"\nfloppy0.present = \"FALSE\"\nethernet0.present = \"TRUE\"\n\
               ethernet0.virtualDev = \"vmxnet3\"\n";
    let said = runs(&dir, &dir.file("Debian.vmx", vmx.as_bytes()));
    for line in ["Hypervisor detected: VMware", "vmware: TSC freq read from hypervisor : 100.000 MHz"] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
}

#[test]
fn hyper_v_from_its_boot_disk() {
    let dir = TempDir::new("linux-hyperv");
    let Some(raw) = isolinux(&dir) else { return };
    for folder in ["Virtual Machines", "Virtual Hard Disks"] {
        std::fs::create_dir(dir.0.join(folder)).unwrap();
    }
    good(&["disk", "convert", &raw, &dir.path("Virtual Hard Disks/Debian.vhdx")]);
    let id = "8A4C2C7E-0000-4000-8000-00AABBCCDDEE";
    let machine = vmcx::first_generation("Debian", id, None, 128, r"D:\VMs\Debian.vhdx");
    dir.file(&format!("Virtual Machines/{id}.vmcx"), &machine);
    let said = runs(&dir, &dir.path(""));
    for line in ["Hypervisor detected: Microsoft Hyper-V", "Switched to clocksource hyperv_clocksource_tsc_page"] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
}
