//! Machines in the form that the products write them, with their disk in the product's format: each is imported by one
//! command, and boots FreeDOS from that disk. Once with the disk that emu made, and once with qemu-img's.

mod common;
#[path = "common/dos_disk.rs"]
mod dos_disk;
#[path = "../../emu-machine/tests/common/vmcx.rs"]
mod vmcx;

use std::path::Path;
use std::process::Command;

use common::{TempDir, emu, good, tar};
use dos_disk::freedos;

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
        let path = format!(r"C:\Hyper-V\{}", child.replace('/', "\\"));
        let vmcx = vmcx::first_generation("FreeDOS", "8A4C2C7E-0000-4000-8000-00AABBCCDDEE", None, 64, &path);
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
