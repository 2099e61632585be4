//! Machines in the form that the products write them, with their disk in the product's format: each is imported by one
//! command, and boots FreeDOS from that disk. Once with the disk that emu made, and once with qemu-img's.

mod common;
#[path = "../../emu-machine/tests/common/vmcx.rs"]
mod vmcx;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{TempDir, emu, good, tar};

/// Loads the first sector of the first partition and starts it, from 0600h: cli; xor ax,ax; mov ss,ax; mov sp,7C00h; mov
/// ds,ax; mov es,ax; sti; cld; mov si,7C00h; mov di,0600h; mov cx,100h; rep movsw; jmp 0:061Eh; mov si,07BEh; mov dx,[si];
/// mov cx,[si+2]; mov bx,7C00h; mov ax,0201h; int 13h; jc $; jmp 0:7C00h.
const LOADER: [u8; 51] = [
    0xFA, 0x31, 0xC0, 0x8E, 0xD0, 0xBC, 0x00, 0x7C, 0x8E, 0xD8, 0x8E, 0xC0, 0xFB, 0xFC, 0xBE, 0x00, 0x7C, 0xBF, 0x00,
    0x06, 0xB9, 0x00, 0x01, 0xF3, 0xA5, 0xEA, 0x1E, 0x06, 0x00, 0x00, 0xBE, 0xBE, 0x07, 0x8B, 0x14, 0x8B, 0x4C, 0x02,
    0xBB, 0x00, 0x7C, 0xB8, 0x01, 0x02, 0xCD, 0x13, 0x72, 0xFE, 0xEA, 0x00, 0x7C,
];
const HEADS: u16 = 16;
const TRACK: u16 = 63;

/// FreeDOS's diskette as the first partition of a disk of 4 MiB, which boots it.
fn freedos() -> Option<Vec<u8>> {
    let folder = std::env::var_os("EMU_SHARED").map_or_else(|| "../shared".into(), PathBuf::from);
    let path = folder.join("guests/freedos/fd1.4MB.img");
    let Ok(mut part) = std::fs::read(&path) else {
        println!("skipped: {} is absent (set EMU_SHARED)", path.display());
        return None;
    };
    if cfg!(debug_assertions) {
        println!("skipped: this is a debug build");
        return None;
    }
    // The boot sector's parameters: where the partition is, and what the BIOS says of the disk.
    part[0x18..0x1A].copy_from_slice(&TRACK.to_le_bytes());
    part[0x1A..0x1C].copy_from_slice(&HEADS.to_le_bytes());
    part[0x1C..0x20].copy_from_slice(&u32::from(TRACK).to_le_bytes());
    part[0x24] = 0x80;
    let shell = b"SHELL=A:\\COMMAND.COM";
    let at = part.windows(shell.len()).position(|w| w == shell).expect("its CONFIG.SYS names the shell");
    part[at + 6] = b'C';
    let mut disk = vec![0; 4 << 20];
    disk[..LOADER.len()].copy_from_slice(&LOADER);
    let entry: [u8; 16] = [0x80, 1, 1, 0, 1, 14, 45, 2, TRACK as u8, 0, 0, 0, 0x40, 0x0B, 0, 0];
    disk[446..462].copy_from_slice(&entry);
    disk[510..512].copy_from_slice(&[0x55, 0xAA]);
    let start = usize::from(TRACK) * 512;
    disk[start..start + part.len()].copy_from_slice(&part);
    Some(disk)
}

/// Who makes a disk.
#[derive(Clone, Copy, PartialEq)]
enum Maker {
    Emu,
    QemuImg,
}

/// What can make disks here.
fn makers() -> &'static [Maker] {
    if Command::new("qemu-img").arg("--version").output().is_ok() {
        return &[Maker::Emu, Maker::QemuImg];
    }
    println!("skipped: disks made by qemu-img, which is not installed");
    &[Maker::Emu]
}

/// A product's machine in a folder of its own.
struct Place {
    dir: TempDir,
    maker: Maker,
    raw: String,
}

impl Place {
    /// A place for each that can make disks.
    fn all(name: &str) -> Vec<Place> {
        let Some(disk) = freedos() else { return Vec::new() };
        let place = |maker: &Maker| {
            let dir = TempDir::new(&format!("disks-{name}-{}", *maker as u8));
            let raw = dir.file("source.raw", &disk);
            Place { dir, maker: *maker, raw }
        };
        makers().iter().map(place).collect()
    }

    /// The disk in a format.
    fn disk(&self, format: &str, options: &str, name: &str) {
        let to = self.dir.path(name);
        let options = if options.is_empty() { vec![] } else { vec!["-o", options] };
        if self.maker == Maker::Emu {
            good(&[&["disk", "convert", "-O", format, &self.raw, &to][..], &options].concat());
            return;
        }
        let format = if format == "vhd" { "vpc" } else { format };
        let args = [&["convert", "-f", "raw", "-O", format][..], &options, &[&*self.raw, &*to]].concat();
        let status = Command::new("qemu-img").args(&args).status().expect("qemu-img runs");
        assert!(status.success(), "qemu-img {args:?}");
    }

    /// A description with its diskette taken out.
    fn product(&self, name: &str, cuts: &[(&str, &str)]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/products").join(name);
        let mut text = std::fs::read_to_string(path).unwrap().replace("@DIR@", &self.dir.0.to_string_lossy());
        for (what, with) in cuts {
            assert!(text.contains(what), "{name}: {what}");
            text = text.replace(what, with);
        }
        text
    }

    fn write(&self, name: &str, text: &str) -> String {
        self.dir.file(name, text.as_bytes())
    }

    /// Imports the description and boots what was made to DOS's prompt of its hard disk. The disk stays as it was, and is
    /// all that the machine has.
    fn boots(&self, description: &str, disk: &str) {
        std::fs::remove_file(&self.raw).unwrap();
        let before = std::fs::read(self.dir.path(disk)).unwrap();
        let folder = self.dir.path("made");
        good(&["vm", "import", description, "--output", &folder]);
        let wait = ["--display", "none", "--timeout", "60", "--wait-for", "C:\\>", "--screen-text", "-"];
        let screen = good(&[&["run", &folder][..], &wait].concat());
        assert!(screen.contains("C:\\>") && screen.contains("FreeDOS"), "{screen}");
        assert!(std::fs::read(self.dir.path(disk)).unwrap() == before, "{disk} was written");
    }
}

const NO_FLOPPY: [(&str, &str); 1] = [("floppy0.fileType = \"file\"", "floppy0.present = \"FALSE\"")];

#[test]
fn vmware_with_one_sparse_file() {
    for p in Place::all("vmx") {
        p.disk("vmdk", "subformat=monolithicSparse", "FreeDOS.vmdk");
        let text = p.product("workstation.vmx", &NO_FLOPPY);
        p.boots(&p.write("FreeDOS.vmx", &text), "FreeDOS.vmdk");
    }
}

#[test]
fn vmware_with_a_split_disk() {
    for p in Place::all("split") {
        p.disk("vmdk", "subformat=twoGbMaxExtentSparse", "FreeDOS.vmdk");
        let text = p.product("workstation.vmx", &NO_FLOPPY);
        p.boots(&p.write("FreeDOS.vmx", &text), "FreeDOS-s001.vmdk");
    }
}

const OVF_FLOPPY: [(&str, &str); 2] = [
    ("<File ovf:href=\"FreeDOS-file1.flp\" ovf:id=\"file2\" ovf:size=\"1474560\"/>", ""),
    ("<rasd:HostResource>ovf:/file/file2</rasd:HostResource>", ""),
];

#[test]
fn a_package_of_ovftool() {
    for p in Place::all("ovf") {
        p.disk("vmdk", "subformat=streamOptimized", "FreeDOS-disk1.vmdk");
        p.boots(&p.write("FreeDOS.ovf", &p.product("ovftool.ovf", &OVF_FLOPPY)), "FreeDOS-disk1.vmdk");
    }
}

#[test]
fn an_archive_of_ovftool() {
    for p in Place::all("ova") {
        p.disk("vmdk", "subformat=streamOptimized", "FreeDOS-disk1.vmdk");
        let ovf = p.product("ovftool.ovf", &OVF_FLOPPY);
        let disk = std::fs::read(p.dir.path("FreeDOS-disk1.vmdk")).unwrap();
        std::fs::remove_file(p.dir.path("FreeDOS-disk1.vmdk")).unwrap();
        let files = [("FreeDOS.ovf", ovf.as_bytes()), ("FreeDOS-disk1.vmdk", &disk[..])]
            .map(|(n, b)| (n, b.len() as u64, b'0', b));
        let ova = p.dir.file("FreeDOS.ova", &tar(&files));
        let as_it_is = emu(&["run", &ova, "--display", "none", "--timeout", "5"]);
        let said = String::from_utf8_lossy(&as_it_is.stderr).into_owned();
        assert!(as_it_is.status.code() == Some(3) && said.ends_with("import it (emu vm import)\n"), "{said}");
        p.boots(&ova, "FreeDOS.ova");
    }
}

#[test]
fn a_package_of_virtualbox() {
    for p in Place::all("virtualbox") {
        p.disk("vmdk", "subformat=streamOptimized", "FreeDOS-disk001.vmdk");
        p.boots(&p.write("FreeDOS.ovf", &p.product("virtualbox.ovf", &[])), "FreeDOS-disk001.vmdk");
    }
}

/// The two folders of an export.
fn hyper_v_folders(p: &Place) {
    for folder in ["Virtual Machines", "Virtual Hard Disks"] {
        std::fs::create_dir(p.dir.0.join(folder)).unwrap();
    }
}

#[test]
fn hyper_v_2012_with_vhd() {
    for p in Place::all("vhd") {
        hyper_v_folders(&p);
        p.disk("vhd", if p.maker == Maker::Emu { "" } else { "force_size=on" }, "Virtual Hard Disks/FreeDOS.vhd");
        let xml = p.product("hyperv-2012r2.xml", &[(r"C:\Hyper-V\Virtual Hard Disks\freedos.vfd", "")]);
        p.write("Virtual Machines/8A4C2C7E-0000-4000-8000-00AABBCCDDEE.xml", &xml);
        p.boots(&p.dir.path(""), "Virtual Hard Disks/FreeDOS.vhd");
    }
}

/// A machine of Windows Server 2016, of the first generation, with one disk.
fn server_2016(disk: &str) -> Vec<u8> {
    let mut w = vmcx::Writer::new();
    let root = w.machine("FreeDOS", "8A4C2C7E-0000-4000-8000-00AABBCCDDEE", 0, 64, 1);
    let ide = w.node(root, "_83f8638b-8dca-4152-9eda-2ca8b33039b4_");
    for (n, path, kind) in [(0, disk, "VHD"), (1, "", "ISO")] {
        let controller = w.node(ide, &format!("controller{n}"));
        w.drive(controller, 0, path, kind);
    }
    w.finish()
}

/// The machine runs on a checkpoint's differencing disk, and half of DOS is in its parent alone.
#[test]
fn hyper_v_2016_with_a_checkpoint() {
    for p in Place::all("vmcx") {
        hyper_v_folders(&p);
        let whole = std::fs::read(&p.raw).unwrap();
        let mut half = whole.clone();
        half[1 << 20..].fill(0xE5);
        std::fs::write(&p.raw, half).unwrap();
        p.disk("vhdx", "", "Virtual Hard Disks/FreeDOS.vhdx");
        std::fs::write(&p.raw, whole).unwrap();
        let child = "Virtual Hard Disks/FreeDOS_6B2F0C1D-0000-4000-8000-00AABBCCDDEE.avhdx";
        let to = p.dir.path(child);
        good(&["disk", "convert", "-O", "vhdx", "-B", "FreeDOS.vhdx", "-F", "vhdx", &p.raw, &to]);
        let vmcx = server_2016(&format!(r"C:\Hyper-V\{}", child.replace('/', "\\")));
        p.dir.file("Virtual Machines/8A4C2C7E-0000-4000-8000-00AABBCCDDEE.vmcx", &vmcx);
        p.boots(&p.dir.path(""), child);
    }
}

#[test]
fn libvirt_with_qcow2() {
    for p in Place::all("libvirt") {
        p.disk("qcow2", "", "FreeDOS.qcow2");
        let xml = p.product("domain.xml", &[]);
        let source = format!("<source file='{}'/>", p.dir.path("freedos.img"));
        assert!(xml.contains(&source));
        p.boots(&p.write("freedos.xml", &xml.replace(&source, "")), "FreeDOS.qcow2");
    }
}

#[test]
fn qemu_with_qcow2() {
    for p in Place::all("qemu") {
        p.disk("qcow2", "cluster_size=4K", "FreeDOS.qcow2");
        let cut = [("    -drive file=freedos.img,format=raw,if=floppy \\\n", "")];
        p.boots(&p.write("start.sh", &p.product("qemu.sh", &cut)), "FreeDOS.qcow2");
    }
}
