//! Machines of other products, taken over and started: each boots a program from its own disk, which is not written.

mod common;

use std::path::{Path, PathBuf};

use common::{TempDir, emu};

/// The exit code of emu when a test program has run to its end: 64 and the program's 42.
const RAN: i32 = 64 + 42;

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A disk of 4 MiB that boots a test program.
fn disk(dir: &TempDir, name: &str) -> (PathBuf, String) {
    let rom = test_roms::roms::all().remove(0);
    let mut bytes = rom.floppy();
    bytes.resize(4 << 20, 0);
    (PathBuf::from(dir.file(name, &bytes)), rom.output)
}

fn convert(dir: &TempDir, from: &Path, format: &str, name: &str) -> PathBuf {
    let to = dir.0.join(name);
    let output = emu(&["disk", "convert", "-O", format, &text(from), &text(&to)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    to
}

/// Imports, runs from the folder, runs as it is, and checks that the original was not touched.
fn works(dir: &TempDir, description: &str, image: &Path, wanted: &str) {
    let before = std::fs::read(image).unwrap();
    let folder = dir.0.join("made");
    let folder_text = text(&folder);
    let made = emu(&["vm", "import", description, "--output", &folder_text]);
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success(), "{said}{}", String::from_utf8_lossy(&made.stderr));
    assert!(said.contains("start it with"), "{said}");
    for machine in [&*folder_text, description] {
        let ran = emu(&["run", machine, "--display", "none", "--timeout", "60", "--debug-console", "stdio"]);
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.code(), Some(RAN), "{machine}: {err}");
        assert!(out.contains(wanted), "{machine}: {out}");
    }
    assert!(std::fs::read(image).unwrap() == before, "the original was written");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_vmware_machine_with_a_floppy() {
    let dir = TempDir::new("vmx");
    let rom = test_roms::roms::all().remove(0);
    let floppy = PathBuf::from(dir.file("boot.flp", &rom.floppy()));
    let vmx = "config.version = \"8\"\ndisplayName = \"old / box\"\nguestOS = \"dos\"\nmemsize = \"16\"\n\
               floppy0.fileType = \"file\"\nfloppy0.fileName = \"boot.flp\"\nethernet0.present = \"TRUE\"\n";
    let vmx = dir.file("box.vmx", vmx.as_bytes());
    works(&dir, &vmx, &floppy, &rom.output);
}

#[test]
fn a_hyper_v_export_with_a_vhd() {
    let dir = TempDir::new("hyperv");
    let (raw, wanted) = disk(&dir, "raw.img");
    let vhd = convert(&dir, &raw, "vhd", "box.vhd");
    let xml = r#"<configuration><_83f8638b-8dca-4152-9eda-2ca8b33039b4_><controller0><drive0>
        <pathname type="string">C:\VMs\box.vhd</pathname><type type="string">VHD</type></drive0></controller0>
        <controller1/></_83f8638b-8dca-4152-9eda-2ca8b33039b4_>
        <properties><name type="string">box</name></properties>
        <settings><memory><bank><size type="integer">32</size></bank></memory></settings></configuration>"#;
    let xml = dir.file("box.xml", xml.as_bytes());
    works(&dir, &xml, &vhd, &wanted);
}

#[test]
fn a_libvirt_domain_with_a_qcow2() {
    let dir = TempDir::new("libvirt");
    let (raw, wanted) = disk(&dir, "raw.img");
    let qcow2 = convert(&dir, &raw, "qcow2", "box.qcow2");
    let xml = format!(
        "<domain type='kvm'><name>box</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os>\
         <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk></devices></domain>",
        qcow2.display()
    );
    let xml = dir.file("box.xml", xml.as_bytes());
    works(&dir, &xml, &qcow2, &wanted);
}

#[test]
fn a_qemu_command_with_a_raw_disk() {
    let dir = TempDir::new("qemu");
    let (raw, wanted) = disk(&dir, "box.img");
    dir.file("start.sh", b"#!/bin/sh\nqemu-system-i386 -m 16 -drive file=box.img,format=raw -nic none\n");
    let folder = text(&dir.0.join("made"));
    let made = emu(&["vm", "import", &text(&dir.0.join("start.sh")), "-o", &folder, "--convert", "qcow2"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::remove_file(raw).unwrap(); // copied: not needed any more
    let ran = emu(&["run", &folder, "--display", "none", "--timeout", "60", "--debug-console", "stdio"]);
    assert_eq!(ran.status.code(), Some(RAN), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(String::from_utf8_lossy(&ran.stdout).contains(&wanted));
}

/// A disk that libvirt and QEMU take for raw stays raw, whatever its guest wrote to its beginning: here a qcow2 header that
/// names a file of the host as its parent.
#[test]
fn raw_disks_are_not_asked_what_they_are() {
    let dir = TempDir::new("forged");
    let (secret, forged) = (dir.file("secret.raw", &[0x5E; 1 << 20]), dir.path("disk.raw"));
    assert!(emu(&["disk", "create", "-q", "-f", "qcow2", &forged, "-b", &secret, "-F", "raw"]).status.success());
    let domain = format!(
        "<domain type='kvm'><name>box</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{forged}'/><target dev='vda' bus='virtio'/>\
         </disk></devices></domain>"
    );
    let command = format!("qemu-system-i386 -m 16 -drive file={forged},format=raw\n");
    let descriptions = [dir.file("box.xml", domain.as_bytes()), dir.file("start.sh", command.as_bytes())];
    let bytes = std::fs::read(&forged).unwrap();
    for description in &descriptions {
        for (options, image) in [(&[][..], "qcow2"), (&["--copy"], "img")] {
            let folder = text(&dir.0.join("made"));
            let made = emu(&[&["vm", "import", description, "--output", &folder][..], options].concat());
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            assert!(String::from_utf8_lossy(&made.stdout).contains("begins like qcow2, and is raw all the same"));
            let files = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
            let of_disk = |p: &PathBuf| p.extension().is_some_and(|e| e == image);
            let disk = text(&files.into_iter().find(of_disk).expect("its disk"));
            let raw = text(&dir.0.join("out.raw"));
            let format = if image == "img" { "raw" } else { image };
            let converted = emu(&["disk", "convert", "--force", "--parents", "anywhere", "-f", format, &disk, &raw]);
            assert!(converted.status.success(), "{}", String::from_utf8_lossy(&converted.stderr));
            let got = std::fs::read(&raw).unwrap();
            assert!(got[..bytes.len()] == bytes[..] && got[bytes.len()..].iter().all(|b| *b == 0), "{description}");
            std::fs::remove_dir_all(&folder).unwrap();
        }
        let run = emu(&["run", description, "--display", "none", "--timeout", "1"]);
        assert!(!String::from_utf8_lossy(&run.stderr).contains("secret"), "{run:?}");
    }
}

/// What a description names beside its disks is found from wherever the description was named.
#[test]
fn a_description_may_be_named_from_its_folder() {
    let dir = TempDir::new("relative");
    dir.file("start.sh", b"qemu-system-i386 -m 16 -kernel vmlinuz -initrd ./initrd -append 'a b' -serial file:log\n");
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_emu"))
        .args(["vm", "import", "start.sh", "-o", "made"])
        .current_dir(&dir.0)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = emu_machine::config::load_files(&[dir.0.join("made/machine.toml")]).unwrap();
    let kernel = config.kernel.unwrap();
    let home = std::path::absolute(&dir.0).unwrap();
    assert_eq!((kernel.image, kernel.initrd), (home.join("vmlinuz"), Some(home.join("initrd"))));
    assert_eq!(config.serials, [emu_machine::config::SerialTarget::File(home.join("log"))]);
}

#[test]
fn mistakes_are_one_clear_line_and_leave_nothing() {
    let dir = TempDir::new("mistakes");
    let cases = [
        ("gone.vmx", "memsize = \"16\"\nide0:0.present = \"TRUE\"\nide0:0.fileName = \"gone.vmdk\"\n", "is not there"),
        ("odd.vmx", "memsize = \"16\"\nmemsize = \"17\"\n", "line 2"),
        ("x.xml", "<domain><memory>", "not good XML"),
        ("y.xml", "<html/>", "describes no machine"),
        ("z.ova", "no tar", "describes no machine"),
    ];
    for (name, content, wanted) in cases {
        let file = dir.file(name, content.as_bytes());
        let folder = dir.0.join("made");
        let output = emu(&["vm", "import", &file, "-o", &text(&folder)]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{name}: {errors}");
        assert!(errors.contains(wanted) && errors.lines().count() == 1, "{name}: {errors}");
        assert!(!folder.exists(), "{name}");
    }
}
